"""Money in two places: no way that payments go raises alarm, and a difference shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from liveroom.core.position import Position
from liveroom.errors import StoreError
from liveroom.features.auditor.examiner import Examiner, Purse, money_finding, payout_finding
from liveroom.store.port import Committed, Op


# A payment goes: held, then its effect, then settled; or held, then void. It may stop anywhere.
WAYS = (("hold", "effect", "settle"), ("hold", "void"), ("hold", "effect"), ("hold",))


class Books:
    """What the shards and the room say, at one instant."""

    def __init__(self, shards: int) -> None:
        self.settled = [0] * shards
        self.held = [0] * shards
        self.paid = 0

    def step(self, shard: int, amount: int, step: str) -> None:
        """Take one step of a payment."""
        if step == "hold":
            self.held[shard] += amount
        elif step == "effect":
            self.paid += amount
        else:
            self.held[shard] -= amount
            self.settled[shard] += amount if step == "settle" else 0


Payment = tuple[int, int, Sequence[str]]

payments = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 1000), st.sampled_from(WAYS)), max_size=8
)


@given(payments, st.randoms(use_true_random=False), st.integers(-50, 50))
def test_examiner_money_of_any_interleaving_is_sound(
    ways: list[Payment], random: Any, off: int
) -> None:
    """The reads are spread over whatever the payments do; at rest every difference is found."""
    books = Books(3)
    left = [[shard, amount, list(steps)] for shard, amount, steps in ways]
    reads: list[Any] = ["before"] * 3 + ["paid"] + ["after"] * 3
    before, after, paid = Purse(0, 0), Purse(0, 0), 0
    shard = 0
    while reads or any(steps for _, _, steps in left):
        ready = [one for one in left if one[2]]
        if reads and (not ready or random.random() < 0.4):
            kind = reads.pop(0)
            if kind == "paid":
                paid, shard = books.paid, 0
            elif kind == "before":
                before = Purse(before.settled + books.settled[shard], 0)
                shard += 1
            else:
                after = Purse(after.settled + books.settled[shard], after.held + books.held[shard])
                shard += 1
        else:
            number, amount, steps = random.choice(ready)
            books.step(number, amount, steps.pop(0))
    assert money_finding(before, paid, after) is None

    settled, held = sum(books.settled), sum(books.held)
    assert money_finding(Purse(settled, held), books.paid, Purse(settled, held)) is None
    if not held:
        found = money_finding(Purse(settled, 0), books.paid + off, Purse(settled, 0))
        assert (found is not None) == (off != 0)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 1000), st.integers(1, 3)), max_size=8),
    st.randoms(use_true_random=False),
    st.integers(-50, 50),
)
def test_examiner_payouts_of_any_interleaving_are_sound(
    ways: list[tuple[int, int, int]], random: Any, off: int
) -> None:
    """What is owed, credited and noted while the reads go on is never taken for wrong."""
    out = owed = 0
    credited = [0, 0, 0]
    left = [[shard, amount, 0, last] for shard, amount, last in ways]  # they may stop anywhere
    reads = ["before"] * 3 + ["room"] + ["after"] * 3
    seen = {"before": 0, "after": 0}
    shown, shard = (0, 0), 0
    while reads or any(step < last for _, _, step, last in left):
        ready = [one for one in left if one[2] < one[3]]
        if reads and (not ready or random.random() < 0.4):
            kind = reads.pop(0)
            if kind == "room":
                shown, shard = (out, owed), 0
            else:
                seen[kind] += credited[shard]
                shard += 1
            continue
        one = random.choice(ready)
        where, amount, step, _ = one
        if step == 0:
            out, owed = out + amount, owed + amount
        elif step == 1:
            credited[where] += amount
        else:
            owed -= amount
        one[2] += 1
    before, after = Purse(0, 0, seen["before"]), Purse(0, 0, seen["after"])
    assert payout_finding(before, *shown, after) is None

    rest = Purse(0, 0, sum(credited))
    assert payout_finding(rest, out, owed, rest) is None
    if not owed:
        found = payout_finding(rest, out + off, 0, rest)
        assert (found is not None) == (off != 0)


def test_examiner_money_finding_names_the_end_that_is_passed() -> None:
    """Expected is the nearest figure that could be right."""
    low = money_finding(Purse(100, 0), 90, Purse(120, 5))
    high = money_finding(Purse(100, 0), 130, Purse(120, 5))
    assert low is not None
    assert high is not None
    assert (low["expected"], low["found"]) == (100, 90)
    assert (high["expected"], high["found"]) == (125, 130)


class Store:
    """Answers what a test wrote down, and remembers what was asked."""

    def __init__(self, **answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    async def commit(self, scope: str, ops: Sequence[Op]) -> Committed:
        (op,) = ops
        self.asked.append((scope, op.name))
        reply = b"+" + orjson.dumps(self.answers[op.name.partition(".")[2]])
        return Committed(0, Position("", 0, 0), 0, [reply])


PURSES = {"settled": [5], "held": [0], "credited": [2]}


async def test_examiner_skips_what_has_no_turn() -> None:
    """Its money is not looked at again either."""
    store = Store(round={"skipped": True}, purses=PURSES)
    assert await Examiner(store.commit).examine(["a"], Op("audit.round", "", {})) == {}
    assert [name for _, name in store.asked].count("audit.purses") == 16


async def test_examiner_looks_at_the_wallets_before_and_after_the_room() -> None:
    """In this order, or the comparison means nothing; internal scopes have no money of their own."""
    store = Store(look={"paid": -80, "out": 32, "owed": 0, "counted": {"log": 1}}, purses=PURSES)
    found = await Examiner(store.commit).examine(["a", "~sys"], Op("audit.look", "", {}))
    order = [name for _, name in store.asked]
    assert order == ["audit.purses"] * 16 + ["audit.look"] * 2 + ["audit.purses"] * 16
    assert found["a"].paid == 80
    assert found["a"].broken == []
    assert found["a"].counted == {"log": 1, "money.paid": 1, "money.out": 1}
    assert "money.paid" not in found["~sys"].counted


async def test_examiner_fault_in_the_script_is_told() -> None:
    """It is not taken for a sound room."""

    async def broken(scope: str, ops: Sequence[Op]) -> Committed:
        return Committed(0, Position("", 0, 0), 0, [b"!boom"])

    with pytest.raises(StoreError, match="boom"):
        await Examiner(broken).examine(["~sys"], Op("audit.look", "", {}))
