"""How far a room's log was read, and what a piece of it adds: pure decisions.

A log is trimmed by length. So that nothing is lost unseen a cursor counts: `n` is the number of
entries up to and with the one at the cursor, since the log began; if the log has dropped more than
that, the difference is missing. And it remembers the digest of its last entry: another entry at the
same place means that the store went back in time (a failover that lost writes).
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from liveroom import History, LogEntry, Position
from liveroom_plugins.archive.rows import event_row


__all__ = ["Cursor", "Gap", "Page", "Shown", "diverged", "judge", "lost"]

_LAST_SUB = 2**53 - 1
_BEGIN = (0, 0)


class Cursor(NamedTuple):
    """A place in a room's log. `former`: the epoch whose rows the log may still repeat."""

    epoch: str = ""
    seq: int = 0
    sub: int = 0
    n: int = 0
    digest: str = ""
    former: str = ""
    session: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Seq and sub."""
        return self.seq, self.sub

    @property
    def before(self) -> Position:
        """Where to read on from so that the entry at the cursor, if it is there, comes first."""
        if self.sub:
            return Position(self.epoch, self.seq, self.sub - 1)
        if self.seq:
            return Position(self.epoch, self.seq - 1, _LAST_SUB)
        return Position(self.epoch, 0, 0)

    def into(self, epoch: str) -> Cursor:
        """Return the cursor at the beginning of another life of the log."""
        return Cursor(epoch, n=self.n, former=self.epoch, session=self.session)

    @property
    def broken_off(self) -> Gap:
        """What is noted when a life of the log ended here: the store lost it, nobody knows what."""
        return Gap("epoch", self.epoch, self.seq, self.sub, 0)


class Gap(NamedTuple):
    """How many of a kind are missing after a place."""

    kind: str
    epoch: str
    seq: int
    sub: int
    missing: int


class Shown(NamedTuple):
    """What the room shows of itself now: since when it is open, and its title."""

    opened_ms: int
    title: str


class Change(NamedTuple):
    """A session began, was given another title, or ended: what is None stays."""

    opened_ms: int
    title: str | None = None
    closed_ms: int | None = None


class Page(NamedTuple):
    """What one step adds to the archive."""

    end: Cursor
    rows: list[dict[str, Any]]
    changes: list[Change]
    gaps: list[Gap]


def diverged(cursor: Cursor, history: History) -> bool:
    """Tell whether the log is not the one any more that was read up to the cursor."""
    if history.end.epoch != cursor.epoch or cursor.place == _BEGIN:
        return False
    if (history.end.seq, history.end.sub) < cursor.place:
        return True
    first = history.entries[0] if history.entries else None
    if first is not None and (first.seq, first.sub) == cursor.place:
        return bool(cursor.digest) and _digest(first) != cursor.digest
    return history.dropped < cursor.n  # not trimmed, and yet not there


def lost(cursor: Cursor, history: History) -> int:
    """Return how many entries were dropped before they could be read."""
    return max(0, history.dropped - cursor.n)


def judge(room: str, cursor: Cursor, history: History, shown: Shown | None = None) -> Page:
    """Return what a piece of the log, read from `cursor.before`, adds.

    Args:
        room: whose log it is.
        cursor: how far it was read; of the same epoch.
        history: the piece.
        shown: what the room shows now, if entries were lost: its opening may be among them.
    """
    entries = [entry for entry in history.entries if (entry.seq, entry.sub) > cursor.place]
    gaps = _gaps(cursor, entries, history)
    reader = _Reader(room, cursor, shown)
    for entry in entries:
        reader.read(entry)
    if not entries:
        reader.skip()
    n = history.dropped if cursor.place == _BEGIN else max(cursor.n, history.dropped)
    end = cursor._replace(n=n + len(entries), session=reader.session)
    if entries:
        last = entries[-1]
        end = end._replace(seq=last.seq, sub=last.sub, digest=_digest(last))
    return Page(end, reader.rows, list(reader.changes.values()), gaps)


class _Reader:
    """Goes through entries, and knows to which session each belongs."""

    def __init__(self, room: str, cursor: Cursor, shown: Shown | None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.changes: dict[int, Change] = {}
        self.session = cursor.session
        self._room = room
        self._epoch = cursor.epoch
        self._shown = shown

    def read(self, entry: LogEntry) -> None:
        row = event_row(self._room, self._epoch, self.session, entry)
        if row["name"] == "room.opened":
            self._begin(row["ts"], row["body"])
        elif self._shown is not None and self._shown.opened_ms <= row["ts"]:
            self._begin(self._shown.opened_ms, {"title": self._shown.title})
        row["session"] = self.session
        if row["name"] == "room.updated" and self.session:
            self._change(Change(self.session, title=_title(row["body"])))
        elif row["name"] == "room.closed" and self.session:
            self._change(Change(self.session, closed_ms=row["ts"]))
        self.rows.append(row)

    def skip(self) -> None:
        """Take it that what comes next belongs to the session that the room shows."""
        if self._shown is not None:
            self._begin(self._shown.opened_ms, {"title": self._shown.title})

    def _begin(self, opened_ms: int, body: Any) -> None:
        self._shown = None
        self.session = opened_ms
        self._change(Change(opened_ms, title=_title(body)))

    def _change(self, change: Change) -> None:
        given = {name: value for name, value in change._asdict().items() if value is not None}
        known = self.changes.setdefault(change.opened_ms, change)
        self.changes[change.opened_ms] = known._replace(**given)


def _gaps(cursor: Cursor, entries: list[LogEntry], history: History) -> list[Gap]:
    dropped = lost(cursor, history)
    gaps = [Gap("trimmed", cursor.epoch, *cursor.place, dropped)] if dropped else []
    # What was between the cursor and the first entry is known by count if it may have been dropped.
    whole = not history.dropped if cursor.place == _BEGIN else len(entries) < len(history.entries)
    before = cursor.place if whole or not entries else (entries[0].seq, entries[0].sub)
    for entry in entries if whole else entries[1:]:
        here = entry.seq, entry.sub
        missing = _hole(before, here)
        if missing:
            gaps.append(Gap("hole", cursor.epoch, *before, missing))
        before = here
    return gaps


def _hole(before: tuple[int, int], here: tuple[int, int]) -> int:
    """Return at least how many entries are missing between two that follow each other."""
    if here in ((before[0], before[1] + 1), (before[0] + 1, 0)):
        return 0
    return max(1, here[0] - before[0] - (0 if here[1] else 1))


def _digest(entry: LogEntry) -> str:
    return hashlib.blake2b(entry.item, digest_size=8).hexdigest()


def _title(body: Any) -> str:
    title = body.get("title") if isinstance(body, dict) else None
    return title.replace("\0", "") if isinstance(title, str) else ""
