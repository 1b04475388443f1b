"""The connection to SQL: on a thread of its own, one transaction at a time, with patience.

The loop never waits for a disk. A database that is away is asked again after a pause that grows; what
was to be written stays where it is until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import orjson
import sqlalchemy
import structlog
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, SQLAlchemyError

from liveroom import Clock, ConfigError
from liveroom_plugins.archive.schema import migrate


__all__ = ["Away", "Database", "connect"]

T = TypeVar("T")

log = structlog.get_logger("liveroom.archive")

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_BUSY_S: Final = 10.0  # how long another process may hold SQLite's write lock
_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
# A server that does not answer must not hold the thread for ever, nor the engine's end.
_PATIENCE: Final = {
    "connect_timeout": 5,
    "tcp_user_timeout": 15_000,
    "options": "-c statement_timeout=15000 -c lock_timeout=10000",
}
_COMMON: Final[dict[str, Any]] = {
    "hide_parameters": True,  # an error's text must not hold what viewers wrote
    "json_serializer": lambda value: orjson.dumps(value).decode(),
    "json_deserializer": orjson.loads,
}
_REASONS: Final = (
    ("full", ("disk is full", "No space left", "disk full", "could not extend")),
    ("locked", ("database is locked", "lock timeout", "deadlock")),
    ("readonly", ("readonly database", "read-only")),
)


class Away(Exception):
    """The database did not take it: nothing was written. `reason` is one word."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Database:
    """Runs transactions for one worker.

    Args:
        url: of SQLite or PostgreSQL.
        clock: for the pauses.
        on_failure: told the reason of each attempt that failed.

    Raises:
        ConfigError: the URL cannot be used.
    """

    def __init__(
        self, url: str, clock: Clock, on_failure: Callable[[str], None] = lambda _: None
    ) -> None:
        self._engine = connect(url, write=True)
        self._clock = clock
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._ready = False
        self._pause_s = 0.0
        self._asked_again = 0.0
        self._away: Away | None = None

    @property
    def away(self) -> Away | None:
        """Why the last transaction failed; None: it did not."""
        return self._away

    async def open(self) -> None:
        """Make or bring forward the tables. A server that cannot be reached yet is asked later.

        Raises:
            ConfigError: the database is a later version's, or the file cannot be made.
        """
        try:
            await self.run(lambda _: None)
        except Away as exc:
            if self._engine.dialect.name == "sqlite":
                raise ConfigError("plugin.archive.url", "a file that can be written", exc) from exc

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run one transaction: all of it is written, or nothing.

        Raises:
            Away: nothing was; at once during the pause after a failure.
            DataError: the database refuses a value.
        """
        if self._away is not None and self._clock.monotonic() < self._asked_again:
            raise Away(self._away.reason, "asked again later")
        try:
            result = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._work, work
            )
        except Away as exc:
            self._failed(exc)
            raise
        self._succeeded()
        return result

    async def close(self) -> None:
        """Wait for the transaction that runs, and disconnect."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._thread.shutdown)
        self._engine.dispose()

    def _work(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._engine.begin() as connection:
                if not self._ready:
                    migrate(connection)
                result = work(connection)
        except DataError:
            raise
        except (SQLAlchemyError, OSError) as exc:
            raise _away(exc) from exc
        self._ready = True
        return result

    def _failed(self, exc: Away) -> None:
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2 or _FIRST_PAUSE_S)
        self._asked_again = self._clock.monotonic() + self._pause_s
        self._away = exc
        self._on_failure(exc.reason)
        log.error("the archive cannot be written", error=str(exc), again_s=self._pause_s)

    def _succeeded(self) -> None:
        if self._away is not None:
            log.info("the archive can be written again")
        self._away, self._pause_s = None, 0.0


def connect(url: str, *, write: bool) -> sqlalchemy.Engine:
    """Return what connects to a database; nothing is asked of it yet.

    Raises:
        ConfigError: not SQLite or PostgreSQL, or the driver is not installed.
    """
    made = _url(url)
    if made.get_backend_name() == "sqlite":
        return _sqlite(made, write=write)
    try:
        return sqlalchemy.create_engine(
            made,
            connect_args=_PATIENCE,
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            **_COMMON,
        )
    except ImportError as exc:
        expected = "the driver of PostgreSQL: pip install 'liveroom[postgres]'"
        raise ConfigError("plugin.archive.url", expected, str(exc)) from exc


def _url(text: str) -> URL:
    expected = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    try:
        made = make_url(text)
    except ArgumentError as exc:  # what came is not shown: there may be a password in it
        raise ConfigError("plugin.archive.url", expected, "something else") from exc
    driver = _DRIVERS.get(made.drivername, made.drivername)
    if driver not in _DRIVERS.values():
        raise ConfigError("plugin.archive.url", expected, made.drivername)
    if driver == "sqlite" and made.database in (None, "", ":memory:"):
        raise ConfigError("plugin.archive.url", "sqlite:///FILE", "a database in memory")
    return made.set(drivername=driver)


def _sqlite(url: URL, *, write: bool) -> sqlalchemy.Engine:
    if write:
        _make_private(str(url.database))
    engine = sqlalchemy.create_engine(
        url,
        connect_args={"timeout": _BUSY_S, "check_same_thread": False},
        poolclass=sqlalchemy.StaticPool,
        **_COMMON,
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: Any, _: Any) -> None:
        raw.isolation_level = None  # transactions are begun here, not by the driver's guess
        # A power cut may take the last transactions, whole: cursors go back with their rows.
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _make_private(file: str) -> None:
    """Make the file, for its owner alone: it holds what people wrote. SQLite's others follow it."""
    with contextlib.suppress(OSError):  # what is wrong with it is told when it is opened
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _away(exc: Exception) -> Away:
    """Return what is told: without the statement, which holds what was to be written."""
    first = _first(exc)
    detail = str(first.orig if isinstance(first, DBAPIError) else first).strip()
    detail = detail.partition("\n")[0][:200] or type(first).__name__
    words = ((reason, word) for reason, texts in _REASONS for word in texts)
    return Away(next((reason for reason, word in words if word in detail), "connection"), detail)


def _first(exc: BaseException) -> BaseException:
    """Return what went wrong before all else: a full disk also takes the savepoints away."""
    found, context = exc, exc.__context__
    while context is not None:
        if isinstance(context, SQLAlchemyError):
            found = context
        context = context.__context__
    return found
