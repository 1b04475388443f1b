"""The archive as a plugin: who reads which room, and when."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import orjson
import structlog

from liveroom import ConfigError, Engine, LogEntry, Op, Plugin, RoomHandle, StoreError
from liveroom_plugins.archive.consumer import Consumer
from liveroom_plugins.archive.database import Away, Database
from liveroom_plugins.archive.fleeting import Fleeting
from liveroom_plugins.archive.metrics import ArchiveMetrics
from liveroom_plugins.archive.options import Options
from liveroom_plugins.archive.rows import danmaku_row, record_row
from liveroom_plugins.archive.schema import danmaku, records


__all__ = ["Archive"]

log = structlog.get_logger("liveroom.archive")

_SYSTEM: Final = "~sys"
_TURN_S: Final = 0.5
_LEASE_PART: Final = 0.9
"""Of a turn: whoever has a room does not have to wait for its own lease."""
_SWEEP_S: Final = 30.0
_SWEEP_LEASE_S: Final = 25.0
_LAST_S: Final = 5.0
"""How long the end of the engine waits for what is left to be written."""
_AT_ONCE: Final = 8
_PAUSE_S: Final = 30.0
"""After a fault of its own a room is left alone for so long."""


class Archive(Plugin):
    """Writes durable events, danmaku and the figures of minutes to SQL.

    A room in which something happened is read by one of the workers that serve it, in turns of half a
    second. Rooms that nobody serves are looked after every half minute, by one worker for all.

    Args:
        every_s: how long a turn is.
    """

    name = "archive"
    lua = "heed('archiving', function(_, _, asked) asked.yes = true end)"

    def __init__(self, every_s: float = _TURN_S) -> None:
        self._every_s = every_s
        self._unread: dict[str, float] = {}
        self._paused: dict[str, float] = {}
        self._swept = -_SWEEP_S
        self._count = itertools.count(1)

    async def start(self, engine: Engine) -> None:
        """Open the database and begin."""
        options = Options.of(engine.settings)
        self._engine = engine
        self.metrics = ArchiveMetrics(engine.metrics.registry)
        self.database = Database(options.url, engine.clock, self.metrics.failed)
        try:
            await self.database.open()
        except ConfigError:
            await self.database.close()
            raise
        self.consumer = Consumer(engine, self.database, self.metrics)
        queue = engine.worker, self.database, self.metrics, options.queue
        self._said, self._recorded = Fleeting(danmaku, *queue), Fleeting(records, *queue)
        engine.every(self._every_s, self.read)
        engine.every(self._every_s, self.write)
        engine.every(self._every_s, self.sweep)

    async def stop(self) -> None:
        """Write what is left."""
        try:
            async with asyncio.timeout(_LAST_S):
                await self.write()
                await self._read_all(list(self._unread))
        except TimeoutError:
            log.warning("the archive was not caught up with", rooms=len(self._unread))
        await self.database.close()

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Take note of a room whose log has grown."""
        if room.id[0] != "~":
            self._unread.setdefault(room.id, self._engine.clock.monotonic())

    def published(self, room: RoomHandle, event: str, d: dict[str, Any], ts: int) -> None:
        """Take a message."""
        if event == "danmaku":
            self._said.add(danmaku_row(room.id, _session(room), d, ts))

    def recorded(self, room: RoomHandle, record: Mapping[str, Any]) -> None:
        """Take what another plugin wants kept."""
        name = f"{self._engine.worker}-{next(self._count):09d}"  # in order as text
        self._recorded.add(record_row(room.id, _session(room), name, record))

    async def read(self) -> None:
        """Read the rooms in which something happened, where it is this worker's turn."""
        self._note_age()
        if not self._unread:
            return
        now = self._engine.clock.monotonic()
        due = [room for room in self._unread if self._paused.get(room, now) <= now]
        rooms = [room for room in due if await self._is_mine(room, self._every_s * _LEASE_PART)]
        await self._read_all(rooms)
        self._note_age()

    async def write(self) -> None:
        """Write what this worker took and no log has."""
        try:
            await self._said.flush(self._engine.clock.wall_ms())
            await self._recorded.flush(self._engine.clock.wall_ms())
        except Away as exc:
            log.debug("messages wait", error=str(exc))

    async def sweep(self) -> None:
        """At the start and every half minute: have rooms read that no worker serves."""
        now = self._engine.clock.monotonic()
        if now >= self._swept + _SWEEP_S:
            self._swept = now
            if await self._is_mine(_SYSTEM, _SWEEP_LEASE_S):
                await self.read_unserved()

    async def read_unserved(self) -> None:
        """Read what happened in any room, whether somebody noticed or not."""
        listed = await self._engine.submit(_SYSTEM, Op("rooms.list", "", {}))
        try:
            behind = await self.consumer.behind(orjson.loads(listed[1:])["rooms"])
        except Away as exc:
            log.debug("rooms wait", error=str(exc))
        else:
            await self._read_all(behind)

    @property
    def unread(self) -> Collection[str]:
        """Rooms in which something happened that this worker has not seen archived."""
        return self._unread.keys()

    async def _is_mine(self, scope: str, seconds: float) -> bool:
        body = {"name": "archive", "worker": self._engine.worker, "ms": round(seconds * 1000)}
        try:
            committed = await self._engine.commit(scope, [Op("lease.take", "", body)])
        except StoreError as exc:
            log.warning("no turn", scope=scope, error=str(exc))
            return False
        mine: bool = committed.replies[0] == b'+{"mine":true}'
        return mine

    async def _read_all(self, rooms: Iterable[str]) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(room: str) -> None:
            async with slots:
                await self._read(room)

        await asyncio.gather(*map(one, rooms))

    async def _read(self, room: str) -> None:
        since = self._unread.pop(room, self._engine.clock.monotonic())
        self._paused.pop(room, None)
        try:
            await self.consumer.consume(room)
        except (Away, StoreError) as exc:
            log.debug("a room waits", room=room, error=str(exc))
            self._unread[room] = since
        except Exception:  # one room's fault: the others go on, and it is tried again
            log.exception("a room cannot be archived", room=room)
            self.metrics.failed("fault")
            self._unread[room] = since
            self._paused[room] = self._engine.clock.monotonic() + _PAUSE_S

    def _note_age(self) -> None:
        oldest = min(self._unread.values(), default=None)
        now = self._engine.clock.monotonic()
        self.metrics.behind_s.set(0.0 if oldest is None else now - oldest)


def _session(room: RoomHandle) -> int:
    opened_ms: int = (room.state("room") or {}).get("opened_ms", 0)
    return opened_ms
