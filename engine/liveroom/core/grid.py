"""The beat's grid: moments that all workers share without talking to each other (layer: core).

Workers publish at multiples of the beat in the *store's* time and deliver a little later. So what
was said on one worker is on its way to the viewers of another in the same beat instead of waiting
for two of them.
"""

from __future__ import annotations

import math


__all__ = ["BeatGrid"]

_FORGET_PER_S = 0.0005  # the best offset is distrusted by 0.5 ms per second: clocks drift


class BeatGrid:
    """Maps local monotonic time onto the grid.

    Args:
        beat_s: distance between grid points, in seconds.
    """

    __slots__ = ("_beat_s", "_observed_at", "_offset")

    def __init__(self, beat_s: float) -> None:
        self._beat_s = beat_s
        self._offset = 0.0
        self._observed_at = -math.inf

    @property
    def beat_s(self) -> float:
        """Seconds between two grid points."""
        return self._beat_s

    def observe(self, server_ms: int, now: float) -> None:
        """Take an answer that carried the store's time, received at `now`.

        The answer with the least delay tells the offset best: it is the largest difference.
        """
        offset = server_ms / 1000 - now
        aged = self._offset - (now - self._observed_at) * _FORGET_PER_S
        if offset > aged or self._observed_at == -math.inf:
            self._offset, self._observed_at = offset, now

    def next(self, after: float, lag: float = 0.0) -> float:
        """Return the first grid point plus `lag` that is later than `after` (local seconds)."""
        cells = math.floor((after + self._offset - lag) / self._beat_s) + 1
        return cells * self._beat_s - self._offset + lag

    def server_ms(self, now: float) -> int:
        """Return the store's time as far as it is known here, in milliseconds."""
        return round((now + self._offset) * 1000)
