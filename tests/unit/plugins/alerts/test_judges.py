"""Judges, told the time and the numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from liveroom_plugins.alerts.judges import Firing, Verdict, judge_of, keep_s
from liveroom_plugins.alerts.rules import Change, Deviation, Missing, Rule, Threshold
from liveroom_plugins.alerts.track import Track


T0 = 1000.0


class Bench:
    """Feeds a judge with one sample a second."""

    def __init__(self, rule: Rule, *, rate: bool = False) -> None:
        self.now = T0
        self.track = Track(keep_s(rule, rate=rate), rate=False)
        self.judge = judge_of(rule, rate=rate)
        self.firing: Firing | None = None
        self.verdict = Verdict(None)

    def feed(self, values: Iterable[float | None]) -> list[bool | None]:
        """Return what holds after each."""
        found = []
        for value in values:
            self.now += 1
            self.track.add(self.now, value)
            self.verdict = self.judge.judge(self.track, self.now, self.firing)
            found.append(self.verdict.holds)
        return found

    def seconds_until(self, wanted: bool, value: Callable[[], float], most: int) -> int:
        """Feed until the verdict is there; return after how many seconds."""
        for second in range(1, most + 1):
            if self.feed([value()]) == [wanted]:
                return second
        raise AssertionError(f"not {wanted} after {most} s")


def rule_of(kind: type[Rule], **fields: object) -> Rule:
    """Return a rule."""
    return kind(name="r", series="online.now", **fields)  # type: ignore[arg-type]  # by kind


def test_judges_threshold_holds_for_a_while_before_it_counts() -> None:
    """A shorter time above is no reason; unknown meanwhile, so nothing is taken back."""
    bench = Bench(rule_of(Threshold, above=10, for_s=3))

    assert bench.feed([9, 10, 11, 12, 13]) == [False, False, None, None, None]
    assert bench.feed([14, 15, 9]) == [True, True, False]
    assert bench.feed([None]) == [None]


def test_judges_threshold_below() -> None:
    """The other way round, at once."""
    bench = Bench(rule_of(Threshold, below=5))

    assert bench.feed([5, 4.9, 0]) == [False, True, True]
    assert bench.verdict == Verdict(True, 0, 5)


def test_judges_threshold_of_a_rate_is_held_against_the_mean_of_a_while() -> None:
    """What is counted comes in lumps: one second says nothing."""
    bench = Bench(rule_of(Threshold, above=10), rate=True)

    assert bench.feed([40, 0, 0, 0, 0, 40, 0]) == [None] * 5 + [False, False]
    assert bench.feed([40]) == [True]


def test_judges_change_notices_a_fall_by_half_within_the_window() -> None:
    """Noise of the usual size raises nothing in ten minutes; a fall by half does, in 15 s."""
    noise = random.Random(7)
    bench = Bench(rule_of(Change, fall=40, window_s=10, against_s=60))

    def sales(mean: float) -> float:
        return max(0.0, noise.gauss(mean, mean * 0.3))

    before = bench.feed([sales(100) for _ in range(600)])
    seconds = bench.seconds_until(True, lambda: sales(50), 15)

    assert True not in before
    assert seconds <= 15


def test_judges_change_goes_on_until_it_is_made_good() -> None:
    """The fall does not become the base; most of it must be made good."""
    bench = Bench(rule_of(Change, fall=40, window_s=10, against_s=30))
    bench.feed([100] * 60)
    bench.seconds_until(True, lambda: 50, 15)
    assert bench.verdict.base is not None
    bench.firing = Firing(bench.now, bench.verdict.base)

    assert False not in bench.feed([50] * 300)
    assert False not in bench.feed([65] * 30)
    assert bench.seconds_until(False, lambda: 100, 15) <= 10


def test_judges_change_that_stays_is_what_is_normal_in_the_end() -> None:
    """After `settle_s` it is over, and judged by the new level."""
    bench = Bench(rule_of(Change, fall=40, window_s=10, against_s=30, settle_s=120))
    bench.feed([100] * 60)
    bench.seconds_until(True, lambda: 50, 15)
    bench.firing = Firing(bench.now, bench.verdict.base)

    assert bench.feed([50] * 119)[-1] is True
    assert bench.feed([50]) == [False]
    bench.firing = None
    assert set(bench.feed([50] * 60)) == {False}


def test_judges_change_needs_something_to_compare_with() -> None:
    """Not before it was looked at for long enough, not against nothing, not below `at_least`."""
    bench = Bench(rule_of(Change, fall=40, window_s=10, against_s=60, at_least=20))

    assert set(bench.feed([100] * 39)) == {None}
    assert bench.feed([100]) == [None]
    assert bench.feed([100]) == [False]
    small = Bench(rule_of(Change, fall=40, window_s=10, against_s=60, at_least=20))
    assert True not in small.feed([15] * 100 + [1] * 20)
    zero = Bench(rule_of(Change, rise=50, window_s=10, against_s=60))
    assert True not in zero.feed([0] * 100 + [1] * 5)


def test_judges_rise() -> None:
    """By how much more, in percent."""
    bench = Bench(rule_of(Change, rise=100, window_s=5, against_s=20))

    assert True not in bench.feed([10] * 60)
    assert bench.seconds_until(True, lambda: 25, 10) <= 5


def test_judges_deviation_learns_what_is_usual() -> None:
    """Within the spread is nothing, far beyond it is; both directions."""
    noise = random.Random(3)
    bench = Bench(rule_of(Deviation, z=6, half_life_s=30))
    warm = bench.feed([noise.gauss(200, 10) for _ in range(300)])

    assert set(warm[:30]) == {None}
    assert True not in warm
    assert bench.feed([300]) == [True]
    assert bench.feed([noise.gauss(200, 10) for _ in range(5)]) == [False] * 5
    assert bench.feed([100]) == [True]


def test_judges_deviation_in_one_direction() -> None:
    """Too much may be no reason."""
    bench = Bench(rule_of(Deviation, direction="below", half_life_s=10, min_std=1))
    bench.feed([100] * 60)

    assert bench.feed([150, 50]) == [False, True]


def test_judges_deviation_does_not_learn_from_what_is_odd() -> None:
    """An odd level goes on being odd, and is what is usual after `settle_s`."""
    bench = Bench(rule_of(Deviation, half_life_s=10, settle_s=60))
    bench.feed([100] * 60)

    odd = bench.feed([200] * 61)
    assert odd == [True] * 60 + [False]
    assert True not in bench.feed([200] * 30)


def test_judges_deviation_of_what_never_moved() -> None:
    """A hundredth of the mean is not far off, whatever the spread was."""
    bench = Bench(rule_of(Deviation, z=4, half_life_s=10))
    bench.feed([1000] * 60)

    assert bench.feed([1010, 1039]) == [False, False]


def test_judges_missing_begins_with_the_first() -> None:
    """What never began is not missed; what stops is, after `for_s`."""
    bench = Bench(rule_of(Missing, for_s=5))

    assert set(bench.feed([None] * 20)) == {None}
    assert bench.feed([3.0]) == [False]
    assert bench.feed([None] * 6) == [False] * 4 + [True, True]
    assert bench.verdict.value == 6
    assert bench.feed([1.0]) == [False]


def test_judges_missing_always_counts_from_the_start() -> None:
    """With `always` it need not have begun."""
    bench = Bench(rule_of(Missing, for_s=5, always=True))

    assert bench.feed([None] * 7) == [False] * 5 + [True, True]


def test_judges_missing_of_another_worker_waits_for_a_sign() -> None:
    """Who takes over did not see when it stopped: it neither takes back nor raises."""
    bench = Bench(rule_of(Missing, for_s=5))
    bench.firing = Firing(T0, None)

    assert set(bench.feed([None] * 20)) == {None}
    assert bench.feed([1.0]) == [False]


@pytest.mark.parametrize(
    ("counts", "rates"),
    [
        ([5, 8, 8, 20], [None, 3.0, 0.0, 12.0]),
        ([5, None, 8, 9], [None, None, None, 1.0]),
        ([5, 8, 2, 4], [None, 3.0, 2.0, 2.0]),
    ],
)
def test_judges_rate_is_what_a_counter_grew_by(
    counts: list[float | None], rates: list[float | None]
) -> None:
    """Per second; a counter that begins anew began at 0."""
    track, found = Track(10, rate=True), []
    for second, count in enumerate(counts):
        track.add(T0 + second, count)
        found.append(track.last)

    assert found == rates


def test_judges_rate_over_a_pause_is_spread_over_it() -> None:
    """A worker that was busy for some seconds makes no peak."""
    track = Track(60, rate=True)
    track.add(T0, 0)
    track.add(T0 + 10, 100)

    assert track.last == 10
    assert track.mean(T0, T0 + 10) == 10
    track.add(T0 + 80, 100)
    assert track.mean(T0, T0 + 20) is None
