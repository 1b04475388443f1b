"""The beat's grid: shared moments from clocks that disagree."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from liveroom.core.grid import BeatGrid


BEAT = 0.1
times = st.floats(0, 1e6, allow_nan=False)
offsets = st.integers(-(10**9), 10**12)


@given(after=times, server_ms=offsets, seen_at=times, lag=st.sampled_from([0.0, 0.012]))
def test_grid_next_is_the_first_point_after(
    after: float, server_ms: int, seen_at: float, lag: float
) -> None:
    """Later than asked, by at most one beat, and a multiple of the beat in the store's time."""
    grid = BeatGrid(BEAT)
    grid.observe(server_ms, seen_at)

    moment = grid.next(after, lag)

    assert after - 1e-4 < moment <= after + BEAT + 1e-4
    cells = (moment - lag + server_ms / 1000 - seen_at) / BEAT
    assert cells == pytest.approx(round(cells), abs=1e-2)


@given(first=times, second=times, gap=st.floats(-1e3, 1e3, allow_nan=False))
def test_grid_is_the_same_on_workers_whose_clocks_differ(
    first: float, second: float, gap: float
) -> None:
    """Two that heard the store at the same moment meet at the same moment."""
    one, two = BeatGrid(BEAT), BeatGrid(BEAT)
    one.observe(5_000_000, first)
    two.observe(5_000_000, second)

    apart = (one.next(first + 1) - first) - (two.next(second + 1) - second)

    # Equal, up to rounding at the very edge of a beat.
    assert min(abs(apart), abs(abs(apart) - BEAT)) < 1e-4


def test_grid_before_any_answer_uses_local_time() -> None:
    """A worker that has heard nothing yet beats all the same."""
    assert BeatGrid(BEAT).next(10.05) == pytest.approx(10.1)


def test_grid_trusts_the_answer_with_the_least_delay() -> None:
    """A late answer would make the store's time look earlier: it is not believed."""
    grid = BeatGrid(BEAT)
    grid.observe(100_000, 50.000)
    grid.observe(101_000, 51.300)  # came 300 ms late

    assert grid.server_ms(51.0) == 101_000


def test_grid_believes_a_quicker_answer_at_once() -> None:
    """One that was less late tells the offset better."""
    grid = BeatGrid(BEAT)
    grid.observe(100_000, 50.300)
    grid.observe(101_000, 51.000)

    assert grid.server_ms(52.0) == 102_000


def test_grid_follows_a_clock_that_drifts() -> None:
    """The best offset is trusted less and less, so that a slower store is followed in the end."""
    grid = BeatGrid(BEAT)
    grid.observe(0, 0.0)
    for second in range(1, 2001):
        grid.observe(round(second * 999.8), float(second))  # 0.2 ms per second slower

    assert grid.server_ms(2000.0) == pytest.approx(2000 * 999.8, abs=5)


def test_grid_says_its_beat() -> None:
    """The distance that it was made with."""
    assert BeatGrid(0.05).beat_s == 0.05
