"""The archive's tables, and how a database is brought to their newest version.

A change of the tables is one more function at the end of `MIGRATIONS`; those that were released
stay as they are, since every database out there was made by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
    text,
)
from sqlalchemy.types import JSON

from liveroom import ConfigError


__all__ = [
    "MIGRATIONS",
    "check_version",
    "cursors",
    "danmaku",
    "events",
    "gaps",
    "migrate",
    "minutes",
    "records",
    "sessions",
]

METADATA = MetaData()


def _whole(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _key_ms(name: str) -> Column[int]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


sessions = Table(
    "sessions", METADATA,
    _key("room"),
    _key_ms("opened_ms"),
    Column("closed_ms", BigInteger),
    Column("title", Text, nullable=False),
)  # fmt: skip
"""From one opening of a room to the next; named by `room` and `opened_ms`, the store's time."""

events = Table(
    "events", METADATA,
    _key("room"),
    _key("epoch"),
    _key_ms("seq"),
    Column("sub", Integer, primary_key=True, autoincrement=False),
    _whole("ts"),
    _whole("session"),
    Column("name", Text, nullable=False),
    Column("recipient", Text),
    Column("user", Text),
    Column("user_name", Text),
    Column("body", JSON, nullable=False),
    Column("people", JSON(none_as_null=True)),
)  # fmt: skip
"""Durable events. `people`: the fields of the body that name persons, by their path in it."""

danmaku = Table(
    "danmaku", METADATA,
    _key("room"),
    _key("id"),
    _whole("ts"),
    _whole("session"),
    Column("user", Text),
    Column("user_name", Text),
    Column("text", Text, nullable=False),
    Column("extra", JSON, nullable=False),
    Column("deleted_ms", BigInteger),
    Column("deleted_by", Text),
)  # fmt: skip
"""What was said, as it was published: after moderation, before the room's budget.

`deleted_ms` and `deleted_by`: it was taken off the screens then, and by whom.
"""

records = Table(
    "records", METADATA,
    _key("room"),
    _key("id"),
    _whole("ts"),
    _whole("session"),
    Column("kind", Text, nullable=False),
    Column("user", Text),
    Column("body", JSON, nullable=False),
    Column("people", JSON(none_as_null=True)),
)  # fmt: skip
"""What plugins hand over to be kept: what no log holds, and others cannot know."""

minutes = Table(
    "minutes", METADATA,
    _key("room"),
    _key_ms("minute_ms"),
    _key("name"),
    _whole("session"),
    Column("value", Double, nullable=False),
)  # fmt: skip
"""Figures of one minute each."""

gaps = Table(
    "gaps", METADATA,
    _key("room"),
    _key("kind"),
    _key("epoch"),
    _key_ms("seq"),
    Column("sub", Integer, primary_key=True, autoincrement=False),
    _whole("missing"),
    _whole("noted_ms"),
)  # fmt: skip
"""What the archive knows that it does not have: `missing` of a `kind`, after a place."""

cursors = Table(
    "cursors", METADATA,
    _key("room"),
    Column("epoch", Text, nullable=False),
    _whole("seq"),
    Column("sub", Integer, nullable=False),
    _whole("n"),
    Column("digest", Text, nullable=False),
    Column("former", Text, nullable=False),
    _whole("session"),
)  # fmt: skip
"""How far each room's log has been read; moved in the transaction of the rows."""

_FIRST = (
    """CREATE TABLE sessions (
        room TEXT NOT NULL, opened_ms BIGINT NOT NULL, closed_ms BIGINT, title TEXT NOT NULL,
        PRIMARY KEY (room, opened_ms)){rowless}""",
    """CREATE TABLE events (
        room TEXT NOT NULL, epoch TEXT NOT NULL, seq BIGINT NOT NULL, sub INTEGER NOT NULL,
        ts BIGINT NOT NULL, session BIGINT NOT NULL, name TEXT NOT NULL,
        recipient TEXT, "user" TEXT, user_name TEXT, body {json} NOT NULL, people {json},
        PRIMARY KEY (room, epoch, seq, sub)){rowless}""",
    "CREATE INDEX events_session ON events (room, session, epoch, seq, sub)",
    """CREATE TABLE danmaku (
        room TEXT NOT NULL, id TEXT NOT NULL, ts BIGINT NOT NULL, session BIGINT NOT NULL,
        "user" TEXT, user_name TEXT, text TEXT NOT NULL, extra {json} NOT NULL,
        PRIMARY KEY (room, id)){rowless}""",
    "CREATE INDEX danmaku_session ON danmaku (room, session, ts, id)",
    """CREATE TABLE records (
        room TEXT NOT NULL, id TEXT NOT NULL, ts BIGINT NOT NULL, session BIGINT NOT NULL,
        kind TEXT NOT NULL, "user" TEXT, body {json} NOT NULL,
        PRIMARY KEY (room, id)){rowless}""",
    "CREATE INDEX records_session ON records (room, session, ts, id)",
    """CREATE TABLE minutes (
        room TEXT NOT NULL, minute_ms BIGINT NOT NULL, name TEXT NOT NULL,
        session BIGINT NOT NULL, value DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (room, minute_ms, name)){rowless}""",
    """CREATE TABLE gaps (
        room TEXT NOT NULL, kind TEXT NOT NULL, epoch TEXT NOT NULL, seq BIGINT NOT NULL,
        sub INTEGER NOT NULL, missing BIGINT NOT NULL, noted_ms BIGINT NOT NULL,
        PRIMARY KEY (room, kind, epoch, seq, sub)){rowless}""",
    """CREATE TABLE cursors (
        room TEXT NOT NULL PRIMARY KEY, epoch TEXT NOT NULL, seq BIGINT NOT NULL,
        sub INTEGER NOT NULL, n BIGINT NOT NULL, digest TEXT NOT NULL, former TEXT NOT NULL,
        session BIGINT NOT NULL){rowless}""",
)
_WORDS = {
    "sqlite": {"json": "JSON", "rowless": " WITHOUT ROWID"},
    "postgresql": {"json": "JSON", "rowless": ""},
}


def _tables(connection: Connection) -> None:
    for statement in _FIRST:
        connection.execute(text(statement.format(**_WORDS[connection.dialect.name])))


def _people(connection: Connection) -> None:
    """Find what belongs to a user: who wants it erased, or shown, must not read all of it."""
    connection.execute(text('CREATE INDEX events_user ON events ("user")'))
    connection.execute(text('CREATE INDEX danmaku_user ON danmaku ("user")'))
    connection.execute(text('CREATE INDEX records_user ON records ("user")'))


def _deleted(connection: Connection) -> None:
    """Say which messages were deleted, and keep persons apart in records as in events."""
    json = _WORDS[connection.dialect.name]["json"]
    for column in ("deleted_ms BIGINT", "deleted_by TEXT"):
        connection.execute(text(f"ALTER TABLE danmaku ADD COLUMN {column}"))
    connection.execute(text(f"ALTER TABLE records ADD COLUMN people {json}"))
    connection.execute(
        text(
            "CREATE INDEX events_danmaku_deleted ON events (room, ts) "
            "WHERE name = 'danmaku.deleted'"
        )
    )


Migration = Callable[[Connection], None]

MIGRATIONS: tuple[Migration, ...] = (_tables, _people, _deleted)
"""Number 1 first. The version of a database is how many of them it has had."""

_LOCK = 0x6C72_6172  # any number that other programs do not take


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a database to the newest version, in the running transaction.

    Raises:
        ConfigError: it was made by a later version of the program.
    """
    if connection.dialect.name == "postgresql":  # SQLite's write transactions wait for each other
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    connection.execute(text("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"))
    version = _version(connection)
    if version > len(migrations):
        raise ConfigError("plugin.archive", f"a database of version {len(migrations)}", version)
    for step in migrations[version:]:
        step(connection)
    if version < len(migrations):
        connection.execute(text("DELETE FROM schema_version"))
        insert = text("INSERT INTO schema_version (version) VALUES (:version)")
        connection.execute(insert, {"version": len(migrations)})


def check_version(connection: Connection) -> None:
    """Check that a database can be read as it is. Raises ConfigError."""
    there = inspect(connection).has_table("schema_version")
    version = _version(connection) if there else 0
    if version != len(MIGRATIONS):
        expected = f"a database of version {len(MIGRATIONS)} (the engine brings older ones there)"
        raise ConfigError("archive", expected, version or "one without the archive's tables")


def _version(connection: Connection) -> int:
    return connection.execute(text("SELECT version FROM schema_version")).scalar() or 0
