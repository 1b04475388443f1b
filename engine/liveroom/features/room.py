"""The room itself: opening, updating, its mode, closing."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.sources import lua_of
from liveroom.features.text import web_address
from liveroom.plugin.context import Call, Engine, RoomHandle
from liveroom.plugin.spec import (
    Commit,
    Delivery,
    EventSpec,
    Plugin,
    StateSpec,
    Surface,
    command,
)
from liveroom.protocol.messages import MAX_SAFE, Body, Empty
from liveroom.store.port import LogEntry, Op


__all__ = ["Person", "RoomFeature", "Version", "may"]

HOST_SURFACES = (Surface.CONTROL, Surface.SERVICE)

_LOOK_AFTER_S = 30.0
_STAFF = frozenset(role for role in Role if role.at_least(Role.MODERATOR))

Version = Annotated[
    int, Meta(ge=0, le=MAX_SAFE, description="refuse if the state has another version")
]
Talk = Literal["all", "hosts"]
Stream = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^(?:https://[!#-;=?-\[\]-~]+)?$(?!\n)",
        description="https, percent-encoded; empty: none",
    ),
]


class RoomFields(Body, frozen=True, kw_only=True):
    """What a room shows of itself."""

    title: Annotated[str, Meta(max_length=100)] | None = None
    cover: Annotated[str, Meta(max_length=500)] | None = None
    stream: Stream | None = None
    tags: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=10)] | None = None
    if_version: Version | None = None


class Mode(Body, frozen=True, kw_only=True):
    """What viewers may do; fields left out stay as they are."""

    talk: Talk | None = None
    like: bool | None = None
    gift: bool | None = None
    if_version: Version | None = None


class Person(Struct):
    """Whom others see."""

    id: str
    name: str
    role: Role


class Opened(Struct):
    """`d` of `room.opened`; `by` is a user id."""

    title: str
    by: str


class Updated(Struct):
    """`d` of `room.updated`."""

    title: str
    cover: str
    by: str
    stream: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET


class Closed(Struct):
    """`d` of `room.closed`."""

    by: str


class RoomState(Struct):
    """`d` of the state `room`; `opened_ms` is the store's time."""

    status: Literal["open", "closed"]
    title: str
    cover: str
    opened_ms: int
    stream: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET


class ModeState(Struct):
    """`d` of the state `mode`; moderators and hosts may always."""

    talk: Talk
    like: bool
    gift: bool


class RoomFeature(Plugin):
    """Rooms open, change and close; `may` is asked by the other features."""

    name = "room"
    lua = lua_of("room")
    events = (
        EventSpec("room.opened", Delivery.DURABLE, "The room is open: `{title, by}`.", Opened),
        EventSpec(
            "room.updated",
            Delivery.DURABLE,
            "Title, cover, stream or tags changed: `{title, cover, stream?, tags?, by}`.",
            Updated,
        ),
        EventSpec("room.closed", Delivery.DURABLE, "The room is closed: `{by}`.", Closed),
    )
    states = (
        StateSpec(
            "room",
            "`{status: open|closed, title, cover, stream?, tags?, opened_ms}`; `stream` is the "
            "https address of what a player shows.",
            RoomState,
        ),
        StateSpec("mode", "What viewers may do: `{talk: all|hosts, like, gift}`.", ModeState),
    )

    async def start(self, engine: Engine) -> None:
        """Begin looking after rooms that no worker serves."""
        self._engine = engine
        self._opened: set[str] = set()
        self._listing = asyncio.Event()
        engine.every(0.0, self._list)
        engine.every(_LOOK_AFTER_S, self._look_after)

    async def _look_after(self) -> None:
        """Run what is due in rooms without viewers: nobody else would notice."""
        listed = await self._engine.submit("~sys", Op("rooms.list", "", {}))
        for room_id in orjson.loads(listed[1:])["rooms"]:
            if self._engine.room(room_id) is None:
                await self._engine.commit(room_id, [])

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Put a room that was opened on the list; whoever serves it does, once is enough."""
        if entry.item.startswith(b'{"ev":"room.opened"'):
            self._opened.add(room.id)
            self._listing.set()

    async def _list(self) -> None:
        await self._listing.wait()
        for room_id in list(self._opened):
            await self._engine.submit("~sys", Op("rooms.add", "", {"room": room_id}))
            self._opened.discard(room_id)
        if not self._opened:
            self._listing.clear()

    @command("room.open", RoomFields, role=Role.HOST, surfaces=HOST_SURFACES)
    def open(self, call: Call[RoomFields]) -> Commit:
        """Open the room; opening an open room changes nothing."""
        return Commit("room.open", _checked(call.body), idempotent=True)

    @command("room.update", RoomFields, role=Role.HOST, surfaces=HOST_SURFACES)
    def update(self, call: Call[RoomFields]) -> Commit:
        """Change what the room shows of itself."""
        return Commit("room.update", _checked(call.body))

    @command("room.mode", Mode, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def mode(self, call: Call[Mode]) -> Commit:
        """Change what viewers may do."""
        return Commit("room.mode", _given(call.body))

    @command("room.close", Empty, role=Role.HOST, surfaces=HOST_SURFACES)
    def close(self, call: Call[Empty]) -> Commit:
        """Close the room: viewers stay connected, nothing more can be sent."""
        return Commit("room.close", {})


def may(call: Call[Any], action: str) -> None:
    """Check that the room's mode lets the sender do something now.

    Judged by what this worker knows: a change reaches every worker within milliseconds. What moves
    money is judged once more in the script.

    Raises:
        CommandError: `room_closed` or `not_allowed`.
    """
    room = call.room.state("room")
    if room is None or room["status"] != "open":
        raise CommandError("room_closed")
    if call.member.claims.role in _STAFF:
        return
    mode = call.room.state("mode") or {}
    allowed = mode.get("talk") == "all" if action == "talk" else mode.get(action, True)
    if not allowed:
        raise CommandError("not_allowed", f"the room's mode does not allow viewers to {action} now")


def _checked(body: RoomFields) -> dict[str, Any]:
    """Return what the script stores. Raises CommandError."""
    if body.stream:
        web_address(body.stream, "stream")
    return _given(body)


def _given(body: msgspec.Struct) -> dict[str, Any]:
    return {k: v for k, v in msgspec.structs.asdict(body).items() if v is not None}
