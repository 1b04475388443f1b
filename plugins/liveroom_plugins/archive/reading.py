"""Reads an archive: sessions, their rows with the persons put back, and records in order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, Table, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from liveroom import ConfigError, StoreError
from liveroom_plugins.archive.database import connect
from liveroom_plugins.archive.rows import joined
from liveroom_plugins.archive.schema import (
    check_version,
    danmaku,
    events,
    minutes,
    records as handed,
    sessions,
)


__all__ = [
    "Session",
    "danmaku_of",
    "events_of",
    "find_session",
    "minutes_of",
    "reading",
    "records",
    "records_of",
]

_PAGE: Final = 2000
_NAMED: Final = 5

Row = dict[str, Any]


class Session(NamedTuple):
    """A room from one opening to the next."""

    room: str
    opened_ms: int
    closed_ms: int | None
    title: str

    @property
    def name(self) -> str:
        """What it is called: `demo@1760000000000`."""
        return f"{self.room}@{self.opened_ms}"


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """Connect for reading: what is seen is the archive of one instant.

    Raises:
        ConfigError: there is no archive of this version.
        StoreError: the database could not be read.
    """
    engine = connect(url, write=False)
    file = engine.url.database or ""
    if engine.dialect.name == "sqlite" and not Path(file).is_file():
        raise ConfigError("archive", "the file of an archive", file)
    try:
        with engine.connect() as connection:
            options = connection.execution_options(yield_per=_PAGE)
            if engine.dialect.name == "postgresql":
                options = options.execution_options(isolation_level="REPEATABLE READ")
            check_version(options)
            yield options
    except SQLAlchemyError as exc:
        detail = str(exc.orig if isinstance(exc, DBAPIError) else exc).strip().splitlines()
        raise StoreError(f"the archive cannot be read: {detail[0] if detail else exc}") from exc
    finally:
        engine.dispose()


def find_session(connection: Connection, name: str | None, room: str | None) -> Session:
    """Return the session of a name, or the newest of a room. Raises ConfigError."""
    wanted = (name or "").partition("@")[0] or room or ""
    found = _sessions(connection, wanted)
    if name is None and found:
        return found[0]
    for session in found:
        if session.name == name:
            return session
    there = ", ".join(session.name for session in found[:_NAMED])
    expected = f"one of {there}" if there else "the name of a session, such as demo@1760000000000"
    raise ConfigError("session", expected, name or f"the room {wanted}")


def _sessions(connection: Connection, room: str) -> list[Session]:
    c = sessions.c
    newest_first = (
        select(c.room, c.opened_ms, c.closed_ms, c.title)
        .where(c.room == room)
        .order_by(c.opened_ms.desc())
    )
    return [Session(*row) for row in connection.execute(newest_first)]


def events_of(connection: Connection, session: Session) -> Iterator[Row]:
    """Yield the durable events in their order, as they were sent."""
    c = events.c
    for row in _rows(connection, _of(events, session).order_by(c.epoch, c.seq, c.sub)):
        row["body"] = joined(row["body"], row.pop("people"))
        yield row


def danmaku_of(connection: Connection, session: Session) -> Iterator[Row]:
    """Yield the messages in the order of their time."""
    c = danmaku.c
    return _rows(connection, _of(danmaku, session).order_by(c.ts, c.id))


def minutes_of(connection: Connection, session: Session) -> Iterator[Row]:
    """Yield the figures of the minutes."""
    c = minutes.c
    return _rows(connection, _of(minutes, session).order_by(c.minute_ms, c.name))


def records_of(connection: Connection, session: Session) -> Iterator[Row]:
    """Yield what plugins handed over, in the order of its time."""
    c = handed.c
    for row in _rows(connection, _of(handed, session).order_by(c.ts, c.id)):
        row["body"] = joined(row["body"], row.pop("people"))
        yield row


def records(url: str, session: str) -> Iterator[Row]:
    """Yield all that happened in a session, one record each, in the archive's order.

    A record has `ts`, `kind` (an event's name, or `danmaku`), `user`, `name`, `to` (whom it was for;
    None: everyone) and `d`, the body as it was sent; those of durable events `epoch`, `seq`, `sub`, of
    messages `id`, `deleted_ms` and `deleted_by`. What plugins handed over has its own fields instead of `d`. Durable events come in
    the order of the log, the rest by its time among them.

    Args:
        url: of the archive.
        session: its name, `demo@1760000000000`.

    Raises:
        ConfigError: there is no such archive or session.
        StoreError: it could not be read.
    """
    with reading(url) as connection:
        found = find_session(connection, session, None)
        happened = map(_event_record, events_of(connection, found))
        said = map(_danmaku_record, danmaku_of(connection, found))
        told = map(_told_record, records_of(connection, found))
        yield from heapq.merge(happened, said, told, key=lambda record: record["ts"])


def _event_record(row: Row) -> Row:
    return {
        "ts": row["ts"],
        "kind": row["name"],
        "user": row["user"],
        "name": row["user_name"],
        "to": row["recipient"],
        "d": row["body"],
        "epoch": row["epoch"],
        "seq": row["seq"],
        "sub": row["sub"],
    }


def _danmaku_record(row: Row) -> Row:
    return {
        "ts": row["ts"],
        "kind": "danmaku",
        "user": row["user"],
        "name": row["user_name"],
        "to": None,
        "d": {"text": row["text"], **row["extra"]},
        "id": row["id"],
        "deleted_ms": row["deleted_ms"],
        "deleted_by": row["deleted_by"],
    }


def _told_record(row: Row) -> Row:
    known: Row = {"ts": row["ts"], "kind": row["kind"]}
    if row["user"]:
        known["user"] = row["user"]
    known |= row["body"]
    return known


def _of(table: Table, session: Session) -> Select[Any]:
    mine = (table.c.room == session.room) & (table.c.session == session.opened_ms)
    return select(table).where(mine)


def _rows(connection: Connection, query: Select[Any]) -> Iterator[Row]:
    for row in connection.execute(query).mappings():
        yield dict(row)
