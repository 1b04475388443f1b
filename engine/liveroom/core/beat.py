"""When a room may deliver next (layer: core).

A room that was quiet delivers its first event at once; a busy one delivers once per beat, so that
each viewer's socket is written once per beat however much happens. When writing itself takes more
than seven tenths of the beat, the beat is stretched until it does not: the rest belongs to reading,
committing and the other rooms (docs/decisions/0007-writing-share.md).
"""

from __future__ import annotations

from liveroom.errors import ConfigError


__all__ = ["BeatPolicy"]

_WRITING_SHARE = 0.7
# Weight of the newest measurement: a lasting change is followed within about five deliveries, a
# single slow one (a garbage collection) stretches the beat only briefly.
_NEWEST = 0.3


class BeatPolicy:
    """The delivery times of one room.

    Args:
        beat_s: seconds between deliveries of a busy room.
        min_s: shortest beat that is accepted, in seconds.
        max_s: longest interval that stretching may reach, in seconds.

    Raises:
        ConfigError: not 0 < min_s <= beat_s <= max_s.
    """

    __slots__ = ("_beat_s", "_interval", "_last", "_max_s", "_write_s")

    def __init__(self, beat_s: float, min_s: float = 0.02, max_s: float = 0.5) -> None:
        if not 0 < min_s <= max_s:
            raise ConfigError("min_s", f"seconds above 0 and at most max_s = {max_s}", min_s)
        if not min_s <= beat_s <= max_s:
            raise ConfigError("beat_s", f"seconds from {min_s} to {max_s}", beat_s)
        self._beat_s = beat_s
        self._max_s = max_s
        self._interval = beat_s
        self._write_s = 0.0
        self._last = float("-inf")

    @property
    def interval(self) -> float:
        """Seconds from the start of one delivery to the start of the next, while busy."""
        return self._interval

    def next_delivery(self, now: float, pending: bool) -> float | None:
        """Return when to deliver (`now` itself means at once), or None if there is nothing to."""
        if not pending:
            return None
        return max(now, self._last + self._interval)

    def delivered(self, now: float, write_seconds: float) -> None:
        """Take note of a delivery that began at `now` and spent `write_seconds` in writing.

        Only time spent in writing counts, not the turns that other tasks had between two slices.
        """
        self._last = now
        self._write_s += _NEWEST * (write_seconds - self._write_s)
        stretched = max(self._beat_s, self._write_s / _WRITING_SHARE)
        self._interval = min(stretched, self._max_s)
