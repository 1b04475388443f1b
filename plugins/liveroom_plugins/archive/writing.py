"""What is done inside one transaction (on the database's thread)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError

from liveroom_plugins.archive.cursor import Change, Cursor, Gap, Page
from liveroom_plugins.archive.deleting import mark_deleted, mark_written
from liveroom_plugins.archive.rows import minute_rows
from liveroom_plugins.archive.schema import cursors, danmaku, events, gaps, minutes, sessions


__all__ = ["Stored", "all_cursors", "cursor_of", "store_fleeting", "store_page"]

Row = dict[str, Any]
_INSERTS: dict[str, Callable[..., Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


class Stored(NamedTuple):
    """Where the cursor is, whether this page has moved it there, its rows, and what is missing."""

    cursor: Cursor
    moved: bool
    rows: int
    gaps: list[Gap]


def cursor_of(connection: Connection, room: str) -> Cursor:
    """Return how far a room was read, and keep others from moving it until this is committed."""
    fields = [cursors.c[name] for name in Cursor._fields]
    held = select(*fields).where(cursors.c.room == room).with_for_update()
    row = connection.execute(held).first()
    if row is None:
        _insert(connection, cursors, [{"room": room, **Cursor()._asdict()}])
        row = connection.execute(held).one()
    return Cursor(*row)


def all_cursors(connection: Connection) -> dict[str, tuple[str, int, int]]:
    """Return epoch, seq and sub of every room's cursor."""
    found = connection.execute(
        select(cursors.c.room, cursors.c.epoch, cursors.c.seq, cursors.c.sub)
    )
    return {room: (epoch, seq, sub) for room, epoch, seq, sub in found}


def store_page(connection: Connection, room: str, start: Cursor, page: Page, now_ms: int) -> Stored:
    """Write rows and move the cursor, if nobody else has moved it.

    Args:
        connection: in its transaction.
        room: whose log it is.
        start: where the cursor was when the page was read.
        page: what to write.
        now_ms: when a gap is noted.
    """
    held = cursor_of(connection, room)
    if held != start:
        return Stored(held, False, 0, [])
    end, rows = page.end, page.rows
    if end.former:
        rows = _unknown(connection, room, end.former, rows)
        if rows:  # from the first event on that is another one
            end = end._replace(former="")
    refused = _insert_each(connection, events, rows)
    missing = page.gaps + [
        Gap("refused", row["epoch"], row["seq"], row["sub"], 1) for row in refused
    ]
    _insert(connection, minutes, [row for event in rows for row in minute_rows(event)])
    mark_deleted(connection, room, rows)
    for change in page.changes:
        _change(connection, room, change)
    _note(connection, room, missing, now_ms)
    moved = cursors.update().where(cursors.c.room == room).values(end._asdict())
    connection.execute(moved)
    return Stored(end, True, len(rows), missing)


def store_fleeting(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    missing: Iterable[tuple[str, Gap]],
    now_ms: int,
) -> None:
    """Write what is in no log, and how many rows of each room could not be kept until now."""
    for row in _insert_each(connection, table, rows):
        _note(connection, row["room"], [Gap("refused", row["id"], row["ts"], 0, 1)], now_ms)
    if table is danmaku:
        mark_written(connection, rows)
    for room, gap in missing:
        _note(connection, room, [gap], now_ms)


def _insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        statement = _INSERTS[connection.dialect.name](table).on_conflict_do_nothing()
        connection.execute(statement, rows)


def _insert_each(connection: Connection, table: Table, rows: Sequence[Row]) -> Sequence[Row]:
    """Insert rows; return those that the database refuses: they do not hold up the others."""
    try:
        with connection.begin_nested():
            _insert(connection, table, rows)
    except DataError:
        if len(rows) == 1:
            return rows
        half = len(rows) // 2
        refused = _insert_each(connection, table, rows[:half])
        return [*refused, *_insert_each(connection, table, rows[half:])]
    return []


def _unknown(connection: Connection, room: str, former: str, rows: list[Row]) -> list[Row]:
    """Return the rows that are not those of the former life of the log, which it may repeat."""
    if not rows:
        return rows
    c = events.c
    known = select(c.seq, c.sub, c.ts, c.name).where(
        c.room == room, c.epoch == former, c.seq.between(rows[0]["seq"], rows[-1]["seq"])
    )
    there = {tuple(row) for row in connection.execute(known)}
    return [r for r in rows if (r["seq"], r["sub"], r["ts"], r["name"]) not in there]


def _change(connection: Connection, room: str, change: Change) -> None:
    new = {"room": room, "opened_ms": change.opened_ms, "title": change.title or ""}
    _insert(connection, sessions, [new])
    fields = {"title": change.title, "closed_ms": change.closed_ms}
    given = {name: value for name, value in fields.items() if value is not None}
    mine = (sessions.c.room == room) & (sessions.c.opened_ms == change.opened_ms)
    connection.execute(sessions.update().where(mine).values(given))


def _note(connection: Connection, room: str, missing: Iterable[Gap], now_ms: int) -> None:
    _insert(
        connection,
        gaps,
        [{"room": room, "noted_ms": now_ms, **gap._asdict()} for gap in missing],
    )
