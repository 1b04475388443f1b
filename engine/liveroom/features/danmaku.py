"""Danmaku: short messages that fly over the picture."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom.auth.claims import Claims, Role
from liveroom.config import Settings
from liveroom.core.ratelimit import Cooldown
from liveroom.errors import CommandError
from liveroom.features.room import Person, may
from liveroom.features.sources import lua_of
from liveroom.features.text import MAX_LINE, shown_text
from liveroom.plugin.context import Call, Engine
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, Result, command
from liveroom.protocol.messages import Body


__all__ = ["Danmaku"]

_BURST = 3
_STAFF = frozenset(role for role in Role if role.at_least(Role.MODERATOR))
_NAMES = {role: role.value for role in Role}  # `value` is a call, made for every message
_FORGET_EVERY_S = 30.0

Place = Literal["scroll", "top", "bottom"]
Color = Annotated[int, Meta(ge=0, le=0xFFFFFF, description="RGB")]


class DanmakuSend(Body, frozen=True, kw_only=True):
    """One message."""

    text: Annotated[str, Meta(min_length=1, max_length=500)]
    mode: Place = "scroll"
    color: Color = 0xFFFFFF
    reply_to: Annotated[str, Meta(max_length=64)] | None = None


class DanmakuShown(Struct):
    """`d` of `danmaku`."""

    id: str
    user: Person
    text: str
    mode: Place
    color: Color
    reply_to: str | UnsetType = UNSET


class Danmaku(Plugin):
    """Takes, limits, and publishes messages; the newest are kept for late joiners."""

    name = "danmaku"
    lua = lua_of("danmaku")

    def __init__(self, settings: Settings) -> None:
        self.events = (
            EventSpec(
                "danmaku",
                Delivery.EPHEMERAL,
                "A message: `{id, user: {id, name, role}, text, mode, color, reply_to?}`.",
                DanmakuShown,
                keep=settings.recent_danmaku,
            ),
        )
        self._limits: dict[str, Cooldown] = {}
        self._count = itertools.count(1)

    async def start(self, engine: Engine) -> None:
        """Take the engine's handle."""
        self._clock = engine.clock
        self._worker = engine.worker
        engine.every(_FORGET_EVERY_S, self._forget)

    def inspect(self, call: Call[Any]) -> None:
        """Refuse who talks too fast before anybody looks at what is said: looking costs more."""
        if call.op != "danmaku.send":
            return
        claims = call.member.claims
        if claims.role in _STAFF:
            return
        limit = self._limits.get(claims.user)
        if limit is not None and limit.retry_after(self._clock.monotonic()) > 0:
            self._check_rate(claims.user)

    @command("danmaku.send", DanmakuSend)
    def send(self, call: Call[DanmakuSend]) -> Result:
        """Send a message to the room; returns `{id}`."""
        may(call, "talk")
        claims, text = call.member.claims, shown_text(call.body.text, MAX_LINE)
        host = claims.role in _STAFF
        if not host:
            self._check_rate(claims.user)
        message_id = f"{self._worker}-{next(self._count)}"
        d = _body(claims, call.body, message_id, text)
        call.publish("danmaku", d, must=host)
        return {"id": message_id}

    def _check_rate(self, user: str) -> None:
        limit = self._limits.get(user)
        if limit is None:
            limit = self._limits[user] = Cooldown(burst=_BURST)
        now = self._clock.monotonic()
        if not limit.take(now):
            retry_ms = round(limit.retry_after(now) * 1000)
            raise CommandError("rate_limited", "too many messages", retry_ms=retry_ms)

    def _forget(self) -> None:
        """Drop the limits that stand as if nothing had ever been sent."""
        now = self._clock.monotonic()
        used = {u: c for u, c in self._limits.items() if c.retry_after(now, _BURST) > 0}
        self._limits = used


def _body(claims: Claims, body: DanmakuSend, message_id: str, text: str) -> dict[str, Any]:
    d: dict[str, Any] = {
        "id": message_id,
        "user": {"id": claims.user, "name": claims.name, "role": _NAMES[claims.role]},
        "text": text,
        "mode": body.mode,
        "color": body.color,
    }
    if body.reply_to is not None:
        d["reply_to"] = body.reply_to
    return d
