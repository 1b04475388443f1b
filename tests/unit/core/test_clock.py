from __future__ import annotations

import pytest

from liveroom.core.clock import Clock, FakeClock


def test_fake_clock_stands_still_until_advanced() -> None:
    """Asking does not move it."""
    clock: Clock = FakeClock(5.0, 1000)
    assert [clock.monotonic(), clock.monotonic()] == [5.0, 5.0]
    assert clock.wall_ms() == 1000


def test_fake_clock_advances_both_times_together() -> None:
    """A second is a thousand wall milliseconds, also in small steps."""
    clock = FakeClock(5.0, 1000)
    for _ in range(10):
        clock.advance(0.1)
    assert clock.monotonic() == pytest.approx(6.0)
    assert clock.wall_ms() == 2000
    assert clock.advance(2.0) == clock.monotonic() == pytest.approx(8.0)


def test_fake_clock_refuses_to_go_back() -> None:
    """Monotonic time never falls, so a negative step is an error of the test."""
    with pytest.raises(ValueError, match="expected seconds >= 0, came -1"):
        FakeClock().advance(-1)


def test_fake_clock_wall_time_can_jump_alone() -> None:
    """Setting the wall clock leaves monotonic time, and the two go on together."""
    clock = FakeClock(5.0, 1000)
    clock.advance(1.0)
    clock.set_wall_ms(500)
    assert (clock.monotonic(), clock.wall_ms()) == (6.0, 500)
    clock.advance(1.0)
    assert (clock.monotonic(), clock.wall_ms()) == (7.0, 1500)
