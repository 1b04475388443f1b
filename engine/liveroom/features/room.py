"""The room itself: opening, updating, its mode, closing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call, Engine
from liveroom.plugin.spec import (
    Commit,
    Delivery,
    EventSpec,
    Plugin,
    StateSpec,
    Surface,
    command,
)
from liveroom.protocol.messages import Body, Empty
from liveroom.store.port import Op


__all__ = ["RoomFeature", "may"]

HOST_SURFACES = (Surface.CONTROL, Surface.SERVICE)

Version = Annotated[int, Meta(ge=0, description="refuse if the state has another version")]
Talk = Literal["all", "hosts"]


class RoomFields(Body, frozen=True, kw_only=True):
    """What a room shows of itself."""

    title: Annotated[str, Meta(max_length=100)] | None = None
    cover: Annotated[str, Meta(max_length=500)] | None = None
    tags: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=10)] | None = None
    if_version: Version | None = None


class Mode(Body, frozen=True, kw_only=True):
    """What viewers may do; fields left out stay as they are."""

    talk: Talk | None = None
    like: bool | None = None
    gift: bool | None = None
    if_version: Version | None = None


class RoomFeature(Plugin):
    """Rooms open, change and close; `may` is asked by the other features."""

    name = "room"
    lua = lua_of("room")
    events = (
        EventSpec("room.opened", Delivery.DURABLE, "The room is open."),
        EventSpec("room.updated", Delivery.DURABLE, "Title, cover or tags changed."),
        EventSpec("room.closed", Delivery.DURABLE, "The room is closed."),
    )
    states = (
        StateSpec("room", "`{status, title, cover, tags, opened_ms}`"),
        StateSpec("mode", "What viewers may do: `{talk: all|hosts, like, gift}`."),
    )

    async def start(self, engine: Engine) -> None:
        """Take the engine's handle."""
        self._engine = engine

    @command("room.open", RoomFields, role=Role.HOST, surfaces=HOST_SURFACES)
    async def open(self, call: Call[RoomFields]) -> Any:
        """Open the room; opening an open room changes nothing."""
        reply = await call.room.submit(
            Op("room.open", call.user, _given(call.body), call.key, call.digest)
        )
        if reply[:1] == b"+":
            await self._engine.submit("~sys", Op("rooms.add", "", {"room": call.room.id}))
        return reply

    @command("room.update", RoomFields, role=Role.HOST, surfaces=HOST_SURFACES)
    def update(self, call: Call[RoomFields]) -> Commit:
        """Change what the room shows of itself."""
        return Commit("room.update", _given(call.body))

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
    if call.role.at_least(Role.MODERATOR):
        return
    mode = call.room.state("mode") or {}
    allowed = mode.get("talk") == "all" if action == "talk" else mode.get(action, True)
    if not allowed:
        raise CommandError("not_allowed", f"the room's mode does not allow viewers to {action} now")


def _given(body: msgspec.Struct) -> dict[str, Any]:
    return {k: v for k, v in msgspec.structs.asdict(body).items() if v is not None}
