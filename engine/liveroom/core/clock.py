"""The two clocks that pure code is given (layer: core).

`core` and `protocol` never ask what time it is: they are told, as a float of monotonic seconds or an
int of Unix milliseconds. Whoever does ask holds a `Clock`. The real one is made by the node; tests
own a `FakeClock`.
"""

from __future__ import annotations

from typing import Protocol


__all__ = ["Clock", "FakeClock"]


class Clock(Protocol):
    """What tells the time."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump when the machine's clock is set."""
        ...


class FakeClock:
    """A clock that moves only when it is told to.

    Args:
        monotonic: what `monotonic()` says at the start, in seconds.
        wall_ms: what `wall_ms()` says at the start, in Unix milliseconds.
    """

    __slots__ = ("_began", "_now", "_wall_ms")

    def __init__(self, monotonic: float = 1000.0, wall_ms: int = 1_760_000_000_000) -> None:
        self._began = monotonic
        self._now = monotonic
        self._wall_ms = wall_ms

    def monotonic(self) -> float:
        """Seconds, as far as `advance` has brought them."""
        return self._now

    def wall_ms(self) -> int:
        """Unix milliseconds, moving together with `monotonic`."""
        return self._wall_ms + round((self._now - self._began) * 1000)

    def advance(self, seconds: float) -> float:
        """Let `seconds` pass on both clocks and return the new monotonic time.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"advance: expected seconds >= 0, came {seconds!r}")
        self._now += seconds
        return self._now

    def set_wall_ms(self, wall_ms: int) -> None:
        """Set the wall clock alone, as an operator or NTP does; monotonic time stays."""
        self._wall_ms = wall_ms - round((self._now - self._began) * 1000)
