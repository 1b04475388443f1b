"""The last stretch of a room's durable log, kept in memory (layer: core).

Viewers that come back after a short break are served from here without asking the store. The ring
knows how far back it reaches without a hole (`reach`); a question from further back is answered
with None, never with a part.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from liveroom.core.position import Position
from liveroom.errors import ConfigError


__all__ = ["Entry", "Ring"]

_position = itemgetter(0)


class Entry(NamedTuple):
    """One durable event as it stands in the log."""

    position: Position
    user: str | None
    """The only viewer that may see it; None: everyone."""
    item: bytes
    """The encoded item, ready for a frame."""


class Ring:
    """Contiguous log entries of one epoch, bounded by count and by bytes; the oldest go first.

    Args:
        max_entries: most entries held, at least 1.
        max_bytes: most bytes of items held, at least 1.

    Raises:
        ConfigError: a bound is below 1.
    """

    __slots__ = (
        "_bytes",
        "_entries",
        "_head",
        "_max_bytes",
        "_max_entries",
        "_newest",
        "_private",
        "_reach",
    )

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        if max_entries < 1:
            raise ConfigError("max_entries", "an integer of at least 1", max_entries)
        if max_bytes < 1:
            raise ConfigError("max_bytes", "an integer of at least 1", max_bytes)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        # Entries before the head are dropped already; the list is cut only now and then.
        self._head = 0
        self._bytes = 0
        self._private = 0
        self._reach: Position | None = None
        self._newest: Position | None = None

    def __len__(self) -> int:
        return len(self._entries) - self._head

    @property
    def size(self) -> int:
        """Bytes of the items held."""
        return self._bytes

    @property
    def reach(self) -> Position | None:
        """The earliest position from which `after` can answer; None: nothing is known yet."""
        return self._reach

    @property
    def oldest(self) -> Position | None:
        """The position of the oldest entry held."""
        return self._entries[self._head].position if len(self) else None

    @property
    def newest(self) -> Position | None:
        """The position up to which the log is known here; None: nothing is known yet."""
        return self._newest

    def reset(self, position: Position) -> None:
        """Forget everything and go on from `position`: what is appended next follows it."""
        self._entries.clear()
        self._head = self._bytes = self._private = 0
        self._reach = self._newest = position

    def append(self, position: Position, user: str | None, item: bytes) -> None:
        """Add the entry that follows the newest one.

        Raises:
            ValueError: it is not after the newest, or of another epoch (`reset` first).
        """
        if self._newest is None:
            self._reach = position
        else:
            _expect_order(self._newest, position)
        self._newest = position
        self._entries.append(Entry(position, user, item))
        self._bytes += len(item)
        if user is not None:
            self._private += 1
        if len(self._entries) - self._head > self._max_entries or self._bytes > self._max_bytes:
            self._drop_oldest()

    def prepend(self, entries: Sequence[Entry], reach: Position | None = None) -> bool:
        """Add older entries, read from the log, in log order: as many of the last as there is room.

        Args:
            entries: what stands in the log right before the oldest entry held; where none is held,
                what stands there up to `newest`.
            reach: the position after which `entries` was read, if nothing was left out from there.

        Returns:
            False, and nothing is added, if there is a hole between them and what is held: more was
            dropped here while they were read.

        Raises:
            ValueError: they reach into what is held, or are of another epoch.
        """
        if not entries:
            if self._newest is None:
                self._reach = self._newest = reach
            return True
        if not self._touches(entries[-1].position):
            return False
        self._entries[: self._head] = entries
        self._head = 0
        self._bytes += sum(len(entry.item) for entry in entries)
        self._private += sum(entry.user is not None for entry in entries)
        self._reach = reach or entries[0].position
        self._newest = self._newest or entries[-1].position
        self._drop_oldest()
        return True

    def after(self, position: Position, user: str | None) -> list[bytes] | None:
        """Return the items after `position` that `user` may see, oldest first.

        Args:
            position: the last position the viewer has seen.
            user: whose private entries to include; None: only what everyone may see.

        Returns:
            None if the ring does not reach back that far, or holds another epoch.
        """
        reach = self._reach
        if reach is None or reach.epoch != position.epoch or position < reach:
            return None
        first = bisect_right(self._entries, position, lo=self._head, key=_position)
        entries = self._entries[first:]
        if not self._private:
            return [entry[2] for entry in entries]
        return [item for _, target, item in entries if target is None or target == user]

    def _touches(self, last: Position) -> bool:
        """Whether nothing is missing between `last` and what is held."""
        if self._reach is None:
            return True
        oldest = self.oldest
        if oldest is not None:
            _expect_order(last, oldest)
        elif last != self._reach:
            _expect_order(last, self._reach)
        # The reach is the oldest entry itself only while nobody said what comes before it.
        return last >= self._reach or self._reach == oldest

    def _drop_oldest(self) -> None:
        entries = self._entries
        while len(self) > self._max_entries or self._bytes > self._max_bytes:
            dropped = entries[self._head]
            self._head += 1
            self._bytes -= len(dropped.item)
            self._private -= dropped.user is not None
            self._reach = dropped.position
        # At most an eighth of the list is dead; each append pays for moving eight pointers.
        if self._head * 8 > len(entries):
            del entries[: self._head]
            self._head = 0


def _expect_order(earlier: Position, later: Position) -> None:
    if earlier.epoch != later.epoch:
        raise ValueError(f"ring: expected epoch {earlier.epoch!r}, came {later.epoch!r}")
    if later <= earlier:
        raise ValueError(
            f"ring: expected an entry after {earlier.stream_id}, came {later.stream_id}"
        )
