"""A series' last samples: pure."""

from __future__ import annotations

from collections import deque


__all__ = ["Track"]


class Track:
    """Samples of one series, newest last. A rate is what a counter has grown by, per second.

    Args:
        keep_s: how far back means are asked for.
        rate: whether the increase is what counts.
    """

    def __init__(self, keep_s: float, *, rate: bool) -> None:
        self._keep_s = keep_s
        self._rate = rate
        self._samples: deque[tuple[float, float]] = deque()
        self._before: tuple[float, float] | None = None
        self.began: float | None = None
        self.last: float | None = None
        self.last_seen: float | None = None
        """When there was a value, of a rate one above 0, for the last time."""

    def add(self, now: float, value: float | None) -> None:
        """Take what was read now; None: there is no value."""
        sample = self._grown(now, value) if self._rate else value
        self.last = sample
        if self.began is None and value is not None:
            self.began = now
        if sample is not None:
            self._samples.append((now, sample))
            if not self._rate or sample:
                self.last_seen = now
        while self._samples and self._samples[0][0] <= now - self._keep_s:
            self._samples.popleft()

    def mean(self, start: float, end: float) -> float | None:
        """Return the mean of the samples after `start` and up to `end`."""
        found = [value for at, value in self._samples if start < at <= end]
        return sum(found) / len(found) if found else None

    def covers(self, start: float) -> bool:
        """Tell whether it was looked at since then."""
        return self.began is not None and self.began <= start

    def _grown(self, now: float, value: float | None) -> float | None:
        before, self._before = self._before, None if value is None else (now, value)
        if before is None or value is None or now <= before[0]:
            return None
        # A counter that is less than it was has begun anew.
        grown = value - before[1] if value >= before[1] else value
        return grown / (now - before[0])
