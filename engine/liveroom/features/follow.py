"""Followers of the room, and shares of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import orjson
from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom.core.ratelimit import TokenBucket
from liveroom.errors import CommandError
from liveroom.features.room import Person, may
from liveroom.features.sources import lua_of
from liveroom.features.text import plain_text
from liveroom.plugin.context import Call, Engine, RoomHandle
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, Result, StateSpec, command
from liveroom.protocol.messages import Body
from liveroom.store.port import Op


__all__ = ["Follow"]

_SHOWN_PER_S = 5.0
_SHARES_PER_S, _SHARES_BURST = 0.1, 3  # six a minute: more is a script that wants to be seen
_FORGET_EVERY_S = 30.0


class ViewerFollow(Body, frozen=True, kw_only=True):
    """Follow, or with `on` false follow no more."""

    on: bool = True


class ViewerShare(Body, frozen=True, kw_only=True):
    """The viewer passed the room on; `to` names where, if it is known."""

    to: Annotated[str, Meta(min_length=1, max_length=32)] | None = None


class Followed(Struct):
    """`d` of `viewer.follow`."""

    user: Person


class Shared(Struct):
    """`d` of `viewer.share`."""

    user: Person
    to: str | UnsetType = UNSET


class Total(Struct):
    """`d` of the states `followers` and `shares`."""

    total: int


class Follow(Plugin):
    """Who follows is committed at once; shares are summed, like likes."""

    name = "follow"
    lua = lua_of("follow")
    events = (
        EventSpec(
            "viewer.follow",
            Delivery.EPHEMERAL,
            "Someone follows for the first time: `{user: {id, name, role}}`; a sample.",
            Followed,
            per_s=_SHOWN_PER_S,
            rides=True,
        ),
        EventSpec(
            "viewer.share",
            Delivery.EPHEMERAL,
            "Someone passed the room on: `{user: {id, name, role}, to?}`; a sample.",
            Shared,
            per_s=_SHOWN_PER_S,
            rides=True,
        ),
    )
    states = (
        StateSpec("followers", "Who follows the room now: `{total}`.", Total, rides=True),
        StateSpec("shares", "How often it was passed on: `{total}`.", Total, rides=True),
    )

    def __init__(self) -> None:
        self._shares: Counter[str] = Counter()
        self._limits: dict[str, TokenBucket] = {}

    async def start(self, engine: Engine) -> None:
        """Take the engine's clock."""
        self._clock = engine.clock
        engine.every(_FORGET_EVERY_S, self._forget)

    @command("viewer.follow", ViewerFollow)
    async def follow(self, call: Call[ViewerFollow]) -> Result:
        """Follow the room or stop to; returns `{following, new, total}`."""
        may(call, "follow")  # no mode says so: an open room may be followed
        body = {"on": call.body.on, "name": call.member.claims.name}
        reply = await call.room.submit(call.operation("viewer.follow", body))
        if reply[:1] == b"+" and orjson.loads(reply[1:])["new"]:
            call.room.publish("viewer.follow", {"user": _person(call)}, member=call.member)
        return reply

    @command("viewer.share", ViewerShare)
    def share(self, call: Call[ViewerShare]) -> Result:
        """Tell that the sender passed the room on; returns `{}`."""
        may(call, "share")
        d: dict[str, Any] = {"user": _person(call)}
        if call.body.to is not None:
            d["to"] = plain_text(call.body.to, "to")
        self._check_rate(call.user)
        self._shares[call.room.id] += 1
        call.room.publish("viewer.share", d, member=call.member)
        call.room.mark()
        return None

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Commit the shares of the beat."""
        n = self._shares.pop(room.id, 0)
        return [Op("viewer.share", "", {"n": n})] if n else ()

    def _check_rate(self, user: str) -> None:
        """Raise CommandError, `rate_limited`, when somebody shares all the time."""
        limit = self._limits.get(user)
        if limit is None:
            limit = self._limits[user] = TokenBucket(_SHARES_PER_S, _SHARES_BURST)
        now = self._clock.monotonic()
        if not limit.take(now):
            retry_ms = round(limit.retry_after(now) * 1000)
            raise CommandError("rate_limited", "shared too often", retry_ms=retry_ms)

    def _forget(self) -> None:
        """Drop the limits that stand as if nothing had ever been shared."""
        now = self._clock.monotonic()
        full = {u for u, b in self._limits.items() if not b.retry_after(now, _SHARES_BURST)}
        for user in full:
            del self._limits[user]


def _person(call: Call[Any]) -> dict[str, str]:
    claims = call.member.claims
    return {"id": claims.user, "name": claims.name, "role": claims.role.value}
