from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, strategies as st

from liveroom.core.shedding import FADE_S, FairShedder
from liveroom.errors import ConfigError


class Item(NamedTuple):
    user: str
    number: int = 0
    weight: float = 1.0
    must: bool = False


ITEMS = st.builds(
    Item,
    st.sampled_from("abcdefgh"),
    weight=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    must=st.sampled_from([False, False, False, True]),
)
BEATS = st.lists(st.tuples(st.floats(0, 2), st.lists(ITEMS, max_size=25)), max_size=15)
COUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 12), min_size=1)


def numbered(beats: list[tuple[float, list[Item]]]) -> list[tuple[float, list[Item]]]:
    """The same with a number of its own for each item."""
    numbers = iter(range(10**6))
    return [(gap, [i._replace(number=next(numbers)) for i in items]) for gap, items in beats]


def shuffled(counts: dict[str, int], weights: dict[str, float] | None = None) -> list[Item]:
    weight = (weights or {}).get
    items = [Item(u, k, weight(u, 1.0)) for u, count in counts.items() for k in range(count)]
    random.Random(7).shuffle(items)
    return items


@given(BEATS)
def test_shedder_conserves_items_and_their_order(beats: list[tuple[float, list[Item]]]) -> None:
    """Kept and shed are the input, each item once, both in the order of arrival; musts are kept."""
    shedder: FairShedder[Item] = FairShedder(5)
    now = 0.0
    for gap, items in numbered(beats):
        now += gap
        before = list(items)
        kept, shed = shedder.admit(now, items)
        assert items == before
        assert sorted(kept + shed, key=lambda item: item.number) == before
        for part in (kept, shed):
            assert [i.number for i in part] == sorted(i.number for i in part)
        assert not any(item.must for item in shed)


@given(BEATS)
def test_shedder_keeps_its_budget(beats: list[tuple[float, list[Item]]]) -> None:
    """Never more than burst + rate * time; musts do not count."""
    shedder: FairShedder[Item] = FairShedder(5)
    now, kept_count = 0.0, 0
    for gap, items in beats:
        now += gap
        kept_count += sum(not item.must for item in shedder.admit(now, items)[0])
        assert kept_count <= 5 + 5 * now + 1e-6


def test_shedder_returns_the_very_list_when_all_fit() -> None:
    """The usual case costs no copy."""
    items = [Item("a", k) for k in range(30)]
    kept, shed = FairShedder[Item](30).admit(0.0, items)
    assert kept is items
    assert shed == []


def test_shedder_does_not_charge_for_musts() -> None:
    """A thousand paid items leave the whole budget, and their sender's share, untouched."""
    items = [Item("a", k, must=True) for k in range(1000)]
    items += [Item(user, k) for k in range(20) for user in "ab"]
    kept, _ = FairShedder[Item](30).admit(0.0, items)
    assert kept[:1000] == items[:1000]
    assert Counter(item.user for item in kept[1000:]) == {"a": 15, "b": 15}


@given(COUNTS, st.integers(1, 40))
def test_shedder_is_max_min_fair(counts: dict[str, int], budget: int) -> None:
    """Nobody who was shed could get more without one who has no more than it getting less."""
    kept, shed = FairShedder[Item](budget).admit(0.0, shuffled(counts))
    got = Counter(item.user for item in kept)
    assert len(kept) == min(budget, sum(counts.values()))
    for user in {item.user for item in shed}:
        assert max(got.values()) <= got[user] + 1


@given(COUNTS, st.integers(1, 40), st.lists(st.sampled_from([0.5, 1, 2, 3]), min_size=8))
def test_shedder_is_fair_by_weight(
    counts: dict[str, int], budget: int, weights: list[float]
) -> None:
    """The same per unit of weight: a kept item's start tag is never above a shed one's."""
    weight = dict(zip("abcdefgh", weights, strict=False))
    kept, shed = FairShedder[Item](budget).admit(0.0, shuffled(counts, weight))
    got = Counter(item.user for item in kept)
    for loser in {item.user for item in shed}:
        for winner, count in got.items():
            assert (count - 1) / weight[winner] <= got[loser] / weight[loser] + 1e-9


def test_shedder_gives_double_weight_a_double_share() -> None:
    """Over many beats of saturation."""
    shedder: FairShedder[Item] = FairShedder(30)
    got: Counter[str] = Counter()
    for beat in range(600):
        items = [Item(user, k, 2.0 if user == "a" else 1.0) for k in range(9) for user in "bca"]
        got.update(item.user for item in shedder.admit(beat / 10, items)[0])
    assert got["a"] == pytest.approx(got["b"] * 2, rel=0.01)
    assert got["b"] == pytest.approx(got["c"], rel=0.01)


def test_shedder_takes_turns_over_beats() -> None:
    """Ten users with one item per beat and room for three: all get the same in the long run."""
    shedder: FairShedder[Item] = FairShedder(30)
    shedder.admit(0.0, [Item("before", k) for k in range(30)])
    got: Counter[str] = Counter()
    for beat in range(1, 101):
        items = [Item(user, beat) for user in "abcdefghij"]
        got.update(item.user for item in shedder.admit(beat / 10, items)[0])
    assert len(got) == 10
    assert max(got.values()) - min(got.values()) <= 2


def test_shedder_lets_those_shed_lately_go_first() -> None:
    """One who always comes last in the beat is not beaten for ever by newcomers before it."""
    shedder: FairShedder[Item] = FairShedder(30)
    shedder.admit(0.0, [Item("before", k) for k in range(30)])
    first, _ = shedder.admit(0.1, [*(Item(f"new{k}") for k in range(10)), Item("late")])
    assert "late" not in {item.user for item in first}
    second, _ = shedder.admit(0.2, [*(Item(f"newer{k}") for k in range(10)), Item("late")])
    assert "late" in {item.user for item in second}


def test_shedder_forgets_charges_in_time() -> None:
    """After some minutes an old charge does not put its user behind a newcomer."""
    shedder: FairShedder[Item] = FairShedder(30)
    shedder.admit(0.0, [Item("old", k) for k in range(60)])
    later = FADE_S * 8
    kept, _ = shedder.admit(later, [Item("old"), *(Item(f"new{k}") for k in range(40))])
    assert "old" in {item.user for item in kept}


def test_shedder_survives_a_long_pause() -> None:
    """After a day the price begins anew, without overflow."""
    shedder: FairShedder[Item] = FairShedder(30)
    for now in (0.0, 86_400.0, 9e8):
        kept, shed = shedder.admit(now, [Item("ab"[k % 2], k) for k in range(100)])
        assert Counter(item.user for item in kept) == {"a": 15, "b": 15}
        assert len(shed) == 70
        kept, _ = shedder.admit(now + 0.1, [Item("ab"[k % 2], k) for k in range(100)])
        assert len(kept) == 3


def traffic(users: int, per_s: float, flooded: bool, seconds: int) -> Iterator[list[Item]]:
    """Poisson arrivals per 100 ms; flooded: 1 % more users send nine times as much on top."""
    ordinary, flood = random.Random(1), random.Random(2)
    for _ in range(seconds * 10):
        arrivals = list(_arrivals(ordinary, per_s, "user", users))
        if flooded:
            arrivals += _arrivals(flood, per_s * 9, "flood", users // 100)
        yield [Item(user) for _, user in sorted(arrivals)]


def _arrivals(
    rng: random.Random, per_s: float, name: str, users: int
) -> Iterator[tuple[float, str]]:
    at = rng.expovariate(per_s)
    while at < 0.1:
        yield at, f"{name}{rng.randrange(users)}"
        at += rng.expovariate(per_s)


def delivery_rate(users: int, per_s: float, flooded: bool) -> float:
    """Share of the ordinary users' items that are kept, under 30 per second."""
    shedder: FairShedder[Item] = FairShedder(30)
    sent = kept = 0
    for beat, items in enumerate(traffic(users, per_s, flooded, seconds=60)):
        sent += sum(item.user.startswith("user") for item in items)
        shown, _ = shedder.admit(beat / 10, items)
        kept += sum(item.user.startswith("user") for item in shown)
    return kept / sent


@pytest.mark.parametrize("per_s", [5, 20, 28, 35, 60, 100])
def test_shedder_shields_others_from_a_flood(per_s: float) -> None:
    """1 % of the users send 90 % of the traffic: the others lose at most 5 %.

    From far below the budget of 30/s over just below it to three times above.
    """
    assert delivery_rate(1000, per_s, flooded=True) >= 0.95 * delivery_rate(1000, per_s, False)


def test_shedder_gives_a_lone_flooder_what_nobody_else_wants() -> None:
    """The rate is used up: fairness is no reason to show less than the room can take."""
    shedder: FairShedder[Item] = FairShedder(30)
    kept = [
        len(shedder.admit(beat / 10, [Item("a", k) for k in range(20)])[0]) for beat in range(200)
    ]
    assert sum(kept[50:]) == pytest.approx(30 * 15, abs=2)


def test_shedder_memory_is_bounded() -> None:
    """Every item from a user never seen before: the users remembered stay under the maximum."""
    shedder: FairShedder[Item] = FairShedder(30, max_users=500)
    for beat in range(300):
        shedder.admit(beat / 10, [Item(f"{beat}-{k}") for k in range(40)])
        assert shedder.remembered <= 500


def test_shedder_forgets_users_without_being_full() -> None:
    """Faint charges go at a sweep: of 48,000 users in ten minutes, those of the last few stay."""
    shedder: FairShedder[Item] = FairShedder(30, max_users=100_000)
    for beat in range(1200):
        shedder.admit(beat * 0.5, [Item(f"{beat}-{k}") for k in range(40)])
    assert shedder.remembered < 10_000


@given(BEATS)
def test_shedder_is_deterministic(beats: list[tuple[float, list[Item]]]) -> None:
    """Two shedders fed alike answer alike."""
    left: FairShedder[Item] = FairShedder(5)
    right: FairShedder[Item] = FairShedder(5)
    now = 100.0
    for gap, items in beats:
        now += gap
        assert left.admit(now, items) == right.admit(now, list(items))


@pytest.mark.parametrize(
    ("rate", "burst_s", "max_users", "wrong"),
    [
        (0, 1, 10, "rate_per_s"),
        (math.nan, 1, 10, "rate_per_s"),
        (0.5, 1, 10, "burst_s"),
        (5, 1, 1, "max_users"),
    ],
)
def test_shedder_refuses_a_bad_setting(
    rate: float, burst_s: float, max_users: int, wrong: str
) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match=f"^{wrong}: expected"):
        FairShedder(rate, burst_s, max_users)
