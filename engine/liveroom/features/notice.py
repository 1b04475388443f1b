"""The notice: one line that every screen shows until it is replaced, taken away or over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from liveroom.auth.claims import Role
from liveroom.features.room import HOST_SURFACES, Version
from liveroom.features.sources import lua_of
from liveroom.features.text import shown_text
from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, StateSpec, command
from liveroom.protocol.messages import Body


__all__ = ["Notice"]

MAX_TEXT = 200
"""Characters, after what cannot be shown was taken out."""

Level = Literal["info", "warn"]


class NoticeSet(Body, frozen=True, kw_only=True):
    """What to show, for how long (`seconds` left out: until replaced); an empty text takes it away."""

    text: Annotated[str, Meta(max_length=2 * MAX_TEXT)]
    level: Level = "info"
    seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    if_version: Version | None = None


class Noticed(Struct):
    """`d` of `notice`; an empty text: it was taken away."""

    text: str
    by: str


class NoticeState(Struct):
    """`d` of the state `notice`; `until_ms` 0: until it is replaced."""

    text: str
    level: Level
    until_ms: int


class Notice(Plugin):
    """One notice per room; the newest holds."""

    name = "notice"
    lua = lua_of("notice")
    events = (
        EventSpec(
            "notice",
            Delivery.DURABLE,
            "`{text, by}`; an empty text: the notice was taken away.",
            Noticed,
        ),
    )
    states = (
        StateSpec(
            "notice",
            "`{text, level: info|warn, until_ms}`, `until_ms` 0: until replaced; null when over.",
            NoticeState,
        ),
    )

    @command("notice.set", NoticeSet, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def set(self, call: Call[NoticeSet]) -> Commit:
        """Show a notice, or with an empty text none; returns `{until_ms}`."""
        body = call.body
        d: dict[str, Any] = {"text": "", "level": body.level}
        if body.text:
            d["text"] = shown_text(body.text, MAX_TEXT)
        if body.seconds is not None:
            d["seconds"] = body.seconds
        if body.if_version is not None:
            d["if_version"] = body.if_version
        return Commit("notice.set", d, durable=True)
