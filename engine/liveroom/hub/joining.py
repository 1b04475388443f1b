"""How a viewer comes into a room: snapshot, what it missed, then the live stream without a gap.

A viewer is put into the fan-out only at a moment when everything that was applied was also cut for
delivery. Then its catch-up ends exactly where the next frame begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import orjson
import structlog

from liveroom.core.position import Position
from liveroom.core.ring import Entry
from liveroom.errors import CommandError
from liveroom.hub.viewer import Viewer
from liveroom.protocol.items import Item
from liveroom.protocol.messages import Resume
from liveroom.store.port import Op
from liveroom.store.replies import refusal


if TYPE_CHECKING:
    from liveroom.hub.hub import Hub
    from liveroom.hub.room import Room

__all__ = ["Joining"]

log = structlog.get_logger("liveroom.hub")


_TRIES = 5


class Snapshot(NamedTuple):
    """What everyone who joins is shown: JSON parts as of a position."""

    position: Position
    parts: bytes
    taken_at: float


class _Joiner(NamedTuple):
    viewer: Viewer
    from_position: Position
    older: Sequence[Entry]  # what follows the position and is not in the ring any more
    greet: Callable[[], Item]
    done: asyncio.Future[bool]


class _Raw(msgspec.Struct):
    epoch: str
    seq: int
    sub: int
    parts: msgspec.Raw


class Joining:
    """The joins of one room."""

    def __init__(self, room: Room, hub: Hub) -> None:
        self._room = room
        self._hub = hub
        self._waiting: list[_Joiner] = []
        self._snapshot: Snapshot | None = None
        self._taking: asyncio.Task[Snapshot] | None = None

    async def join(self, viewer: Viewer, hello_id: int | None, resume: Resume | None) -> None:
        """Bring a viewer in: returns when it has its greeting and is in the fan-out.

        Raises:
            CommandError: the room refuses it (no such room, banned, …).
            StoreError: the store does not answer.
        """
        own = await self.enter(viewer)
        await self.greet(viewer, hello_id, resume, own)

    async def enter(self, viewer: Viewer) -> bytes:
        """Commit the join; return the parts that only this viewer is shown, as JSON."""
        try:
            return await self._commit_join(viewer)
        except CommandError as exc:
            if exc.code.name != "no_room" or not self._hub.settings.auto_open:
                raise
        await self._room.submit(Op("room.open", "", {}))
        return await self._commit_join(viewer)

    async def _commit_join(self, viewer: Viewer) -> bytes:
        claims = viewer.claims
        body = {"name": claims.name, "role": claims.role.value, "session": viewer.session}
        reply = await self._room.submit(Op("sys.join", claims.user, body))
        if reply[:1] != b"+":
            raise refusal(reply)
        return reply[1:]

    async def greet(
        self, viewer: Viewer, hello_id: int | None, resume: Resume | None, own: bytes
    ) -> None:
        """Send the greeting and what was missed, and put the viewer into the fan-out."""
        await self._room.follower.loaded.wait()
        for _ in range(_TRIES):
            if await self._greet_once(viewer, hello_id, resume, own):
                return
            self._snapshot = None  # the ring moved past it while the viewer waited
        raise CommandError("unavailable", "the room moves on faster than it can be joined")

    async def _greet_once(
        self, viewer: Viewer, hello_id: int | None, resume: Resume | None, own: bytes
    ) -> bool:
        older = await self._resumable(resume)
        snapshot = await self._current_snapshot()
        resumed = resume is not None and older is not None
        parts = b"{}" if resumed else snapshot.parts

        start = _position_of(resume) if resume is not None and resumed else snapshot.position

        def greeting() -> Item:
            head = self._head(viewer, start, resumed)
            rest = b',"snapshot":%b,"states":%b,"own":%b}' % (parts, self._states(), own)
            return Item(b'{"re":%b,"d":%b}' % (_number(hello_id), head[:-1] + rest))

        done = asyncio.get_running_loop().create_future()
        joiner = _Joiner(viewer, start, older or (), greeting, done)
        if not self._attach(joiner):
            self._waiting.append(joiner)
        greeted: bool = await done
        if greeted:
            self._hub.metrics.joined[resumed].inc()
        return greeted

    def settled(self) -> None:
        """Take that the lanes were just cut: who waited for that may come in now."""
        waiting, self._waiting = self._waiting, []
        self._waiting += [joiner for joiner in waiting if not self._attach(joiner)]

    async def close(self) -> None:
        """Stop taking snapshots."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)

    def _attach(self, joiner: _Joiner) -> bool:
        """Greet and add a viewer, if its position is in what was cut. False: later."""
        if joiner.done.done():  # it has gone meanwhile
            return True
        room, start = self._room, joiner.from_position
        if not room.settled:
            return False
        position = room.position
        if (start.epoch and not position.epoch) or (
            start.epoch == position.epoch and start > position
        ):
            return False  # the snapshot is ahead of what came through the channel
        user, older = joiner.viewer.user, joiner.older
        missed = room.follower.ring.after(older[-1].position if older else start, user)
        if missed is None:
            joiner.done.set_result(False)
            return True
        known = [entry.item for entry in older if entry.user in (None, user)]
        joiner.viewer.send([joiner.greet(), *map(Item, known), *map(Item, missed)])
        if joiner.viewer.index < 0:
            room.add(joiner.viewer)
        room.release(joiner.viewer)
        joiner.done.set_result(True)
        return True

    async def _resumable(self, resume: Resume | None) -> Sequence[Entry] | None:
        """Return what was missed before the ring begins, or None where it cannot be continued."""
        if resume is None:
            return None
        since = _position_of(resume)
        limit = self._hub.settings.resume_max
        if await self._is_beyond_the_log(since):
            return None
        older = await self._room.follower.backfill(since, limit)
        missed = self._room.follower.ring.after(since, None)
        return None if missed is not None and len(missed) > limit else older

    async def _is_beyond_the_log(self, since: Position) -> bool:
        """Whether the store itself does not reach a position: it lost what led up to it."""
        here = self._room.position
        if since.epoch != here.epoch or since <= here:
            return False
        return since > (await self._take_snapshot()).position

    async def _current_snapshot(self) -> Snapshot:
        """Return a snapshot not older than a beat; those who join together share one."""
        now, held = self._hub.clock.monotonic(), self._snapshot
        fresh = held is not None and now - held.taken_at < self._hub.grid.beat_s
        if held is not None and fresh and held.position.epoch == self._room.position.epoch:
            return held
        if self._taking is None:
            self._taking = asyncio.create_task(self._take_snapshot(), name="snapshot")
        return await asyncio.shield(self._taking)

    async def _take_snapshot(self) -> Snapshot:
        try:
            now = self._hub.clock.monotonic()
            reply = await self._room.submit(Op("sys.snapshot", "", {}))
            raw = msgspec.json.decode(reply[1:], type=_Raw)
            position = Position(raw.epoch, raw.seq, raw.sub)
            self._snapshot = Snapshot(position, bytes(raw.parts), now)
            return self._snapshot
        finally:
            self._taking = None

    def _states(self) -> bytes:
        states = self._room.follower.states.values()
        return b"[" + b",".join([s.item for s in states if not s.gone]) + b"]"

    def _head(self, viewer: Viewer, position: Position, resumed: bool) -> bytes:
        claims, hub = viewer.claims, self._hub
        return orjson.dumps(
            {
                "session": viewer.session,
                "user": claims.user,
                "name": claims.name,
                "role": claims.role.value,
                "room": self._room.id,
                "epoch": position.epoch,
                "seq": position.seq,
                "sub": position.sub,
                "resumed": resumed,
                "now": hub.grid.server_ms(hub.clock.monotonic()),
                "beat_ms": hub.settings.beat_ms,
            }
        )


def _position_of(resume: Resume) -> Position:
    return Position(resume.epoch, resume.seq, resume.sub)


def _number(value: int | None) -> bytes:
    return b"null" if value is None else b"%d" % value
