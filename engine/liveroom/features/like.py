"""Likes: summed on the worker, committed once a beat, shown as a total and as sampled effects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from liveroom.features.room import may
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call, RoomHandle
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, Result, StateSpec, command
from liveroom.protocol.messages import Body
from liveroom.store.port import Op


__all__ = ["Likes"]


class LikeSend(Body, frozen=True, kw_only=True):
    """How often the viewer tapped since the last such command."""

    n: Annotated[int, Meta(ge=1, le=100)] = 1


class LikeShown(Struct):
    """`d` of `like`; `user` is an id."""

    user: str
    n: int


class LikesState(Struct):
    """`d` of the state `likes`."""

    total: int


class Likes(Plugin):
    """Approximate by contract: a worker that dies loses at most one beat of likes."""

    name = "like"
    lua = lua_of("like")
    events = (
        EventSpec(
            "like", Delivery.EPHEMERAL, "A viewer's taps: `{user, n}`.", LikeShown, per_s=20.0
        ),
    )
    states = (StateSpec("likes", "All likes of the room: `{total}`.", LikesState),)

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, int]] = defaultdict(dict)

    @command("like.send", LikeSend)
    def send(self, call: Call[LikeSend]) -> Result:
        """Like the room."""
        may(call, "like")
        sums = self._sums[call.room.id]
        sums[call.user] = sums.get(call.user, 0) + call.body.n
        call.room.publish("like", {"user": call.user, "n": call.body.n}, member=call.member)
        call.room.mark()
        return None

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Commit the sum of the beat."""
        sums = self._sums.pop(room.id, None)
        return [Op("like.add", "", {"n": sum(sums.values())})] if sums else ()
