"""Which messages were deleted afterwards: an event of the log says so, and the rows are marked.

Messages and events come into the archive on different ways, maybe from different workers, so whichever
is written second does it: an event marks the rows that are there, and rows look for events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, select, text

from liveroom_plugins.archive.rows import joined
from liveroom_plugins.archive.schema import danmaku, events


__all__ = ["mark_deleted", "mark_written"]

_EVENT: Final = "danmaku.deleted"
_MOST_IDS: Final = 500

Row = Mapping[str, Any]


def mark_deleted(connection: Connection, room: str, rows: Iterable[Row]) -> None:
    """Mark what events that are just written delete.

    Args:
        connection: in its transaction.
        room: whose log it is.
        rows: of the table of events.
    """
    deletions = [row for row in rows if row["name"] == _EVENT]
    if deletions:
        _take_turns(connection, [room])
    for row in deletions:
        _mark(connection, room, row)


def mark_written(connection: Connection, rows: Sequence[Row]) -> None:
    """Mark messages that are just written and were deleted before that."""
    since: dict[str, int] = {}
    for row in rows:
        since[row["room"]] = min(row["ts"], since.get(row["room"], row["ts"]))
    _take_turns(connection, since)
    c = events.c
    for room, ts in since.items():
        mine = (c.room == room) & (c.ts >= ts) & (c.name == text(f"'{_EVENT}'"))  # as the index
        wanted = select(c.ts, c.body, c.people).where(mine).order_by(c.ts)
        for event in connection.execute(wanted).mappings().all():
            _mark(connection, room, dict(event))


def _mark(connection: Connection, room: str, row: Row) -> None:
    d = joined({**row["body"]}, row["people"])
    known = {"deleted_ms": row["ts"], "deleted_by": d.get("by")}
    for meant in _meant(d, row["ts"]):
        mine = (danmaku.c.room == room) & danmaku.c.deleted_ms.is_(None) & meant
        connection.execute(danmaku.update().where(mine).values(known))


def _meant(d: dict[str, Any], ts: int) -> Iterable[ColumnElement[bool]]:
    """Yield which messages an event is about: those of its ids, or all of a user's until then."""
    ids = d.get("ids") or []
    for first in range(0, len(ids), _MOST_IDS):
        yield danmaku.c.id.in_(ids[first : first + _MOST_IDS])
    if d.get("user"):
        yield (danmaku.c.user == d["user"]) & (danmaku.c.ts <= ts)


def _take_turns(connection: Connection, rooms: Iterable[str]) -> None:
    """Have who writes messages and who writes events of a room see each other's rows.

    SQLite has one writer at a time. In PostgreSQL a transaction does not see what another one has not
    committed: from here on they wait for each other, in one order.
    """
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(hashtext(:room))")
        for room in sorted(rooms):
            connection.execute(lock, {"room": room})
