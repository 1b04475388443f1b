"""The rooms of this worker, and what runs through all of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from liveroom.auth.claims import Claims, Role
from liveroom.config import Settings
from liveroom.core.clock import Clock
from liveroom.core.grid import BeatGrid
from liveroom.core.position import Position
from liveroom.errors import StoreError
from liveroom.hub.room import Room
from liveroom.hub.viewer import Viewer
from liveroom.metrics import Metrics
from liveroom.plugin.context import RoomHandle
from liveroom.plugin.manager import PluginManager
from liveroom.plugin.spec import EventSpec, StateSpec
from liveroom.store.port import Batch, Committed, History, Op, Publication, Store
from liveroom.store.replies import history


__all__ = ["Hub"]

log = structlog.get_logger("liveroom.hub")

SWEEP_S = 2.0
"""How often positions are compared; a hole is filled after at most two sweeps."""
TOUCH_EVERY = 2
"""Sweeps in which a room is asked for its position at least once, if nothing else is asked there."""
_TRIM_EVERY = 30  # sweeps between two looks at the age of a room's log
UNLOAD_AFTER_S = 30.0
_SOON_MS = 120_000
"""A timer that is due within this keeps a room loaded; others are run by whoever looks after it."""

Perform = Callable[[str, Claims, str, dict[str, Any], str], Awaitable[dict[str, Any]]]


class Hub:
    """Implements `Engine` for plugins and `Listener` for the store.

    Args:
        worker: this worker's id, unique among all that share the store.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        manager: PluginManager,
        metrics: Metrics,
        clock: Clock,
        worker: str,
    ) -> None:
        self.settings = settings
        self.store = store
        self.manager = manager
        self.metrics = metrics
        self.clock = clock
        self.worker = worker
        self.grid = BeatGrid(settings.beat_ms / 1000)
        self.rooms: dict[str, Room] = {}
        self.metrics.rooms.set_function(self._shown_rooms)
        self.performer: Perform | None = None
        """Runs commands for plugins; what it needs lies above the hub."""
        self._dirty: list[Viewer] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._jobs: list[asyncio.Task[None]] = []
        self._sweeps = 0
        self._stopping = False

    async def start(self) -> None:
        """Connect to the store and start the plugins."""
        self._loop = asyncio.get_running_loop()
        await self.store.start(self)
        await self.manager.start(self)
        self.every(SWEEP_S, self._sweep)

    async def stop(self) -> None:
        """Finish what is in flight and disconnect."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        await asyncio.gather(*(room.close() for room in list(self.rooms.values())))
        await self.manager.stop()
        await self.store.close()

    async def settle(self) -> None:
        """Wait until every command that was taken is answered."""
        await asyncio.gather(*(room.batcher.drain() for room in list(self.rooms.values())))

    async def answered(self) -> None:
        """Wait until what was taken up to now is answered, whatever else keeps coming."""
        await asyncio.gather(*(room.batcher.answered() for room in list(self.rooms.values())))

    # Engine, for plugins.

    async def commit(self, scope: str, ops: Sequence[Op], *, durable: bool = False) -> Committed:
        """Commit operations to any scope, alone."""
        return await self.store.commit(scope, Batch(ops, durable=durable))

    async def submit(
        self, scope: str, op: Op, *, durable: bool = False, within_s: float = 0.0
    ) -> bytes:
        """Have an operation ride in the scope's next batch; return the script's reply."""
        room = self.room_for(scope)
        return await room.batcher.request(op, durable=durable, within_s=within_s)

    @property
    def plugins(self) -> Sequence[str]:
        """The names of the plugins."""
        return [plugin.name for plugin in self.manager.plugins]

    @property
    def events(self) -> Mapping[str, EventSpec]:
        """What the plugins declare, by name."""
        return self.manager.events

    @property
    def states(self) -> Mapping[str, StateSpec]:
        """The same of states."""
        return self.manager.states

    def record(self, room: RoomHandle, record: Mapping[str, Any]) -> None:
        """Say what happened, for whoever keeps records."""
        self.manager.recorded(room, record)

    async def figures(self, plugin: str, room: RoomHandle) -> Mapping[str, float]:
        """Return the figures that a plugin has of a room."""
        return await self.manager.figures(plugin, room)

    async def history(self, room_id: str, after: Position, limit: int) -> History:
        """Read durable events of any room after a position."""
        op = Op("sys.history", "", {"after": after.stream_id, "limit": limit})
        return history(await self.commit(room_id, [op]))

    async def perform(
        self, room_id: str, claims: Claims, op: str, d: dict[str, Any], key: str = ""
    ) -> dict[str, Any]:
        """Run a command in a room on somebody's behalf; return its answer."""
        assert self.performer is not None, "set by the node"
        return await self.performer(room_id, claims, op, d, key)

    def expect_command(self, op: str, d: dict[str, Any], role: Role) -> None:
        """Check now that a command could be run later on the control surface."""
        self.manager.expect_command(op, d, role)

    def room(self, room_id: str) -> Room | None:
        """Return a room that this worker serves now."""
        return self.rooms.get(room_id)

    def every(self, seconds: float, job: Callable[[], Any]) -> None:
        """Call a function or coroutine function again and again until the hub stops."""
        self._jobs.append(asyncio.create_task(_repeat(seconds, job), name=f"every {seconds} s"))

    # Listener, for the store.

    def on_publication(self, publication: Publication) -> None:
        """Give a publication to its room."""
        room = self.rooms.get(publication.scope)
        if room is not None:
            room.follower.take(publication)

    def on_subscribed(self, scope: str) -> None:
        """Have a room read what may have been missed."""
        room = self.rooms.get(scope)
        if room is not None:
            room.follower.resync()

    # Rooms.

    def room_for(self, room_id: str) -> Room:
        """Return a room, loading it if this worker does not serve it yet."""
        room = self.rooms.get(room_id)
        if room is not None:
            room.idle_since = self.clock.monotonic()
        else:
            room = self.rooms[room_id] = Room(room_id, self)
            task = asyncio.create_task(self._subscribe(room), name=f"load {room_id}")
            self._jobs.append(task)
            task.add_done_callback(self._jobs.remove)
        return room

    def flush_soon(self, viewer: Viewer) -> None:
        """Write a viewer's replies when this turn of the loop is over."""
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(viewer)

    def schedule_due(self, room: Room) -> None:
        """Have the room's next timer run when it is due, by the store's clock."""
        if self.rooms.get(room.id) is not room:  # it was let go
            return
        old = self._timers.pop(room.id, None)
        if old is not None:
            old.cancel()
        if not room.due_ms or self._stopping:
            return
        now = self.clock.monotonic()
        delay = max(0.0, (room.due_ms - self.grid.server_ms(now)) / 1000) + 0.001
        loop = asyncio.get_running_loop()
        self._timers[room.id] = loop.call_later(min(delay, 3600.0), self._run_due, room)

    def _run_due(self, room: Room) -> None:
        self._timers.pop(room.id, None)
        room.due_ms = 0  # so that the same answer schedules anew
        room.batcher.touch()

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for viewer in dirty:
            viewer.flush()

    async def _subscribe(self, room: Room) -> None:
        delay = 0.05
        while True:
            try:
                await self.store.subscribe(room.id)
            except StoreError as exc:
                log.warning("room not subscribed yet", room=room.id, error=str(exc))
                await asyncio.sleep(delay)
                delay = min(1.0, delay * 2)
            else:
                return

    def _shown_rooms(self) -> int:
        """Return how many rooms are served, internal scopes left out."""
        return sum(room_id[0] != "~" for room_id in self.rooms)

    async def _sweep(self) -> None:
        self._sweeps += 1
        now = self.clock.monotonic()
        self.metrics.store.channel_silence_s.set(self.store.silent_for())
        for room in list(self.rooms.values()):
            room.follower.sweep()
            room.count_filled()
            left = room.batcher.answered_at + TOUCH_EVERY * SWEEP_S - now
            if left < SWEEP_S and not room.batcher.busy:  # the next sweep could be too late
                room.batcher.touch(within_s=left)
            if self._sweeps % _TRIM_EVERY == 0:
                room.trim()
            if self._may_unload(room, now):
                await self._unload(room)

    def _may_unload(self, room: Room, now: float) -> bool:
        idle = now - room.idle_since > UNLOAD_AFTER_S
        due = room.due_ms and room.due_ms - self.grid.server_ms(now) < _SOON_MS
        return idle and not room.viewers and not due and room.id[0] != "~"

    async def _unload(self, room: Room) -> None:
        await self.store.unsubscribe(room.id)
        if not self._may_unload(room, self.clock.monotonic()):  # somebody came meanwhile
            await self.store.subscribe(room.id)
            return
        del self.rooms[room.id]
        timer = self._timers.pop(room.id, None)
        if timer is not None:
            timer.cancel()
        await room.close()


async def _repeat(seconds: float, job: Callable[[], Any]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            result = job()
            if inspect.isawaitable(result):
                await result
        except StoreError as exc:
            log.warning("job not done", job=getattr(job, "__qualname__", "?"), error=str(exc))
        except Exception:
            log.exception("job failed", job=getattr(job, "__qualname__", "?"))
