"""Who is there: online now, peak, distinct viewers, entry effects."""

from __future__ import annotations

import contextlib

from msgspec import Struct

from liveroom.config import Settings
from liveroom.errors import StoreError
from liveroom.features.room import Person
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Engine, Member, RoomHandle
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, StateSpec
from liveroom.store.port import Op


__all__ = ["Presence"]

_REPORT_S = 1.0
_REFRESH = 10  # reports after which a count is told again though it has not changed


class Entered(Struct):
    """`d` of `viewer.enter`."""

    user: Person


class OnlineState(Struct):
    """`d` of the state `online`; `viewers` counts distinct users ever, approximately."""

    now: int
    peak: int
    viewers: int


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
        self._rooms: dict[str, RoomHandle] = {}
        self._told: dict[str, int] = {}
        self._rounds = 0

    async def start(self, engine: Engine) -> None:
        """Begin reporting."""
        self._engine = engine
        engine.every(_REPORT_S, self._report)

    async def stop(self) -> None:
        """Take this worker's counts back: its viewers are on others by now."""
        gone = Op("presence.report", "", {"worker": self._engine.worker, "n": 0})
        with contextlib.suppress(StoreError):  # then they expire
            for room_id in list(self._told):
                await self._engine.commit(room_id, [gone])

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Count a viewer in and show that it came."""
        self._rooms[room.id] = room
        claims = member.claims
        user = {"id": claims.user, "name": claims.name, "role": claims.role.value}
        room.publish("viewer.enter", {"user": user}, member=member)

    async def _report(self) -> None:
        self._rounds += 1
        refresh = self._rounds % _REFRESH == 0
        for room_id, room in list(self._rooms.items()):
            online = room.online
            if refresh or self._told.get(room_id) != online:
                body = {"worker": self._engine.worker, "n": online}
                await self._engine.submit(room_id, Op("presence.report", "", body))
                self._told[room_id] = online
            if not online and not room.online:  # nobody came while it was told
                del self._rooms[room_id]
                del self._told[room_id]
