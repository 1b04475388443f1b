"""When attempts stop because the receiver takes nothing, and how they begin again."""

from __future__ import annotations

from liveroom.core.clock import FakeClock
from liveroom.features.webhooks.sender import Breaker


def failing(breaker: Breaker, times: int) -> None:
    """Have so many attempts fail."""
    for _ in range(times):
        breaker.took(ok=False)


def test_breaker_bears_some_failures() -> None:
    """Single failures are the schedule's business; a success starts the count anew."""
    breaker = Breaker(FakeClock())
    for _ in range(3):
        failing(breaker, Breaker.PATIENCE - 1)
        assert breaker.allowance(8) == 8
        breaker.took(ok=True)


def test_breaker_pauses_then_tries_one_at_a_time() -> None:
    """The pauses grow to a minute; what was on its way when it broke does not lengthen them."""
    clock = FakeClock()
    breaker = Breaker(clock)
    failing(breaker, Breaker.PATIENCE)
    assert (breaker.allowance(8), breaker.wait_s) == (0, Breaker.FIRST_S)
    failing(breaker, 5)
    assert breaker.wait_s == Breaker.FIRST_S

    pauses = []
    for _ in range(10):
        clock.advance(breaker.wait_s)
        assert breaker.allowance(8) == 1
        failing(breaker, 1)
        pauses.append(breaker.wait_s)
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == Breaker.LONGEST_S


def test_breaker_closes_with_the_first_success() -> None:
    """Everything goes out again, and the next pause is a short one."""
    clock = FakeClock()
    breaker = Breaker(clock)
    failing(breaker, Breaker.PATIENCE)
    clock.advance(60)
    failing(breaker, 1)
    clock.advance(60)
    breaker.took(ok=True)
    assert breaker.allowance(8) == 8
    failing(breaker, Breaker.PATIENCE)
    assert breaker.wait_s == Breaker.FIRST_S
