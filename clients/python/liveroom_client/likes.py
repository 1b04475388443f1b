"""Taps gathered into one command. Pure."""

from __future__ import annotations

from collections.abc import Callable

from liveroom_client.clock import Clock, Timer


__all__ = ["Likes"]

_MOST = 100
"""What one command may hold."""
_MOST_KEPT = 1000


class Likes:
    """Sends the sum of all taps once in a while.

    Args:
        every_s: how often.
        tell: sends so many likes; returns whether there was a connection.
    """

    __slots__ = ("_clock", "_every_s", "_taps", "_tell", "_timer")

    def __init__(self, every_s: float, tell: Callable[[int], bool], clock: Clock) -> None:
        self._every_s = every_s
        self._tell = tell
        self._clock = clock
        self._taps = 0
        self._timer: Timer | None = None

    def tap(self, n: int) -> None:
        """Like so many times."""
        if n < 1:
            raise ValueError(f"expected at least one like, came {n}")
        self._taps = min(self._taps + n, _MOST_KEPT)
        if self._timer is None:
            self._arm()

    def stop(self) -> None:
        """Send what there is, and nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = self._clock.call_later(self._every_s, self._flush)

    def _flush(self) -> None:
        """Send what one command holds; without a connection the taps wait for the next time."""
        self._timer = None
        n = min(self._taps, _MOST)
        if self._tell(n):
            self._taps -= n
        if self._taps:
            self._arm()
