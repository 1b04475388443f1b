"""The lanes: order kept, newest kept, shed counted, nothing in two places."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from liveroom.core.lanes import Ephemeral, Lanes
from liveroom.core.shedding import FairShedder


def lanes(**rates: float) -> Lanes[str]:
    """Return lanes whose kinds have these budgets per second; others have plenty."""
    return Lanes(lambda kind: FairShedder[Any](rates.get(kind, 1e6)))


def waits(made: Lanes[str]) -> tuple[bool, bool]:
    """Return whether anything waits, and whether something durable does."""
    return made.pending, made.durable_pending


def loose(item: str, kind: str = "talk", *, user: str = "u", must: bool = False) -> Ephemeral[str]:
    return Ephemeral(kind, user, f"session of {user}", 1.0, must, item)


def test_lanes_cut_empties_everything() -> None:
    """What waited is in the delivery, once; then there is nothing."""
    made = lanes()
    made.add_durable(None, "d1")
    made.add_durable("a", "d2")
    made.add_latest("stock", "s1")
    made.add_ephemeral(loose("e1"))
    made.add_shed({"talk": 2})
    assert waits(made) == (True, True)

    cut = made.cut(0.0)

    assert cut.durable == [(None, "d1"), ("a", "d2")]
    assert cut.latest == ["s1"]
    assert [e.item for e in cut.ephemeral] == ["e1"]
    assert cut.shed == []
    assert cut.counts == {"talk": 2}
    assert waits(made) == (False, False)
    empty = made.cut(0.0)
    assert (empty.durable, empty.latest, empty.ephemeral, empty.counts) == ([], [], [], {})


def test_lanes_latest_keeps_the_newest_of_each_key() -> None:
    """A value that was replaced is never sent."""
    made = lanes()
    for value in ("a1", "a2", "a3"):
        made.add_latest("a", value)
        made.add_latest("b", value.replace("a", "b"))

    assert made.cut(0.0).latest == ["a3", "b3"]


def test_lanes_durable_pending_is_about_durable_events_only() -> None:
    """Whoever joins waits for these, not for chatter."""
    made = lanes()
    made.add_ephemeral(loose("e"))
    made.add_latest("a", "1")
    assert waits(made) == (True, False)

    made.add_durable("a", "d")
    assert waits(made) == (True, True)
    made.cut(0.0)
    assert waits(made) == (False, False)


def test_lanes_shed_each_kind_under_its_own_budget() -> None:
    """A flood of one kind takes nothing from another."""
    made = lanes(talk=5, enter=2)
    for number in range(20):
        made.add_ephemeral(loose(f"t{number}", "talk"))
        made.add_ephemeral(loose(f"e{number}", "enter"))
        made.add_ephemeral(loose(f"l{number}", "like"))

    cut = made.cut(0.0)

    kinds = [e.kind for e in cut.ephemeral]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"talk": 5, "enter": 2, "like": 20}
    assert cut.counts == {"talk": 15, "enter": 18}
    assert len(cut.shed) == 33


def test_lanes_shed_adds_to_what_was_shed_upstream() -> None:
    """Counts of this worker and of the sender's come in one number."""
    made = lanes(talk=1)
    made.add_shed({"talk": 4, "enter": 1})
    for number in range(3):
        made.add_ephemeral(loose(f"{number}"))
    made.add_shed({"talk": 1})

    assert made.cut(0.0).counts == {"talk": 7, "enter": 1}


def test_lanes_must_items_are_never_shed() -> None:
    """Paid and host messages stand outside the budget."""
    made = lanes(talk=1)
    for number in range(10):
        made.add_ephemeral(loose(f"free {number}"))
        made.add_ephemeral(loose(f"must {number}", must=True))

    kept = [e.item for e in made.cut(0.0).ephemeral]

    assert [item for item in kept if item.startswith("must")] == [f"must {n}" for n in range(10)]
    assert len(kept) == 11


def test_lanes_take_counts_clears_them() -> None:
    """A count is told once."""
    made = lanes(talk=1)
    made.add_ephemeral(loose("1"))
    made.add_ephemeral(loose("2"))
    kept, shed = made.shed(0.0)

    assert (len(kept), len(shed)) == (1, 1)
    assert made.take_counts() == {"talk": 1}
    assert made.take_counts() == {}
    assert waits(made) == (False, False)


items = st.builds(
    loose,
    st.text(max_size=3),
    st.sampled_from(["talk", "enter"]),
    user=st.sampled_from("abc"),
    must=st.booleans(),
)
beats = st.lists(st.lists(items, max_size=12), max_size=6)


@given(beats)
def test_lanes_lose_nothing_uncounted(flood: list[list[Ephemeral[str]]]) -> None:
    """Of each kind: taken = shown + counted as shed; both in the order of arrival."""
    made = lanes(talk=3, enter=1)
    for number, beat in enumerate(flood):
        for item in beat:
            made.add_ephemeral(item)
        cut = made.cut(number * 0.1)
        for kind in ("talk", "enter"):
            shown = sum(e.kind == kind for e in cut.ephemeral)
            assert shown + cut.counts.get(kind, 0) == sum(e.kind == kind for e in beat)
        assert len(cut.ephemeral) + len(cut.shed) == len(beat)
        places = {id(item): place for place, item in enumerate(beat)}
        order = [places[id(e)] for e in cut.ephemeral]
        assert order == sorted(order)
