"""Who is there: online now, peak, distinct viewers, entry effects."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from msgspec import Struct

from liveroom.config import Settings
from liveroom.errors import StoreError
from liveroom.features.room import Person
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Engine, Member, RoomHandle
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, StateSpec
from liveroom.store.port import Op


__all__ = ["Presence"]

log = structlog.get_logger("liveroom.presence")

_REPORT_S = 1.0
_SOON_S = 0.4  # a new count leaves within this
# One that has not changed is told again after so long, and leaves within that: it is valid for 30 s.
_REFRESH_S, _LATER_S = 8.0, 4.0


class Entered(Struct):
    """`d` of `viewer.enter`."""

    user: Person


class OnlineState(Struct):
    """`d` of the state `online`; `viewers` counts distinct users ever, approximately."""

    now: int
    peak: int
    viewers: int


@dataclass(slots=True)
class _Told:
    """A room with viewers, and what the store was told of it last, or is being told."""

    room: RoomHandle
    online: int = -1
    at: float = 0.0


class Presence(Plugin):
    """Workers report their counts; one that is silent for 30 s counts no more.

    `now` counts a user once per worker, `viewers` is a HyperLogLog of user ids (0.81 % standard
    error).
    """

    name = "presence"
    lua = lua_of("presence")
    states = (
        StateSpec("online", "The audience: `{now, peak, viewers}`.", OnlineState, rides=True),
    )

    def __init__(self, settings: Settings) -> None:
        self.events = (
            EventSpec(
                "viewer.enter",
                Delivery.EPHEMERAL,
                "Someone came in: `{user: {id, name, role}}`; a sample.",
                Entered,
                per_s=settings.enter_per_s,
                rides=True,
            ),
        )
        self._rooms: dict[str, _Told] = {}
        self._telling: set[asyncio.Task[None]] = set()

    async def start(self, engine: Engine) -> None:
        """Begin reporting."""
        self._engine = engine
        engine.every(_REPORT_S, self._report)

    async def stop(self) -> None:
        """Take this worker's counts back: its viewers are on others by now."""
        gone = [self._engine.commit(room_id, [self._report_of(0)]) for room_id in self._rooms]
        await asyncio.gather(*gone, return_exceptions=True)  # what is not taken back expires

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Count a viewer in and show that it came."""
        told = self._rooms.setdefault(room.id, _Told(room))
        told.room = room  # it may have been loaded anew
        claims = member.claims
        user = {"id": claims.user, "name": claims.name, "role": claims.role.value}
        room.publish("viewer.enter", {"user": user}, member=member)

    def _report(self) -> None:
        """Tell all counts that are due; what one room waits for is not the others' trouble."""
        now = self._engine.clock.monotonic()
        for told in self._rooms.values():
            online = told.room.online
            if online != told.online or now - told.at >= _REFRESH_S:
                within_s = _LATER_S if online == told.online else _SOON_S
                told.online, told.at = online, now
                task = asyncio.create_task(self._tell(told, online, within_s))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)

    async def _tell(self, told: _Told, online: int, within_s: float) -> None:
        room = told.room
        try:
            await self._engine.submit(room.id, self._report_of(online), within_s=within_s)
        except StoreError as exc:
            log.warning("audience not told yet", room=room.id, error=str(exc))
            told.online = -1
            return
        if not online and not told.room.online:  # nobody came while it was told
            self._rooms.pop(room.id, None)

    def _report_of(self, online: int) -> Op:
        return Op("presence.report", "", {"worker": self._engine.worker, "n": online})
