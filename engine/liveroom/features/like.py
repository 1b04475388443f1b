"""Likes: summed on the worker, committed once a beat, shown as a total and as sampled effects."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated

import structlog
from msgspec import Meta, Struct

from liveroom.errors import StoreError
from liveroom.features.room import may
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call, Engine, RoomHandle
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, Result, StateSpec, command
from liveroom.protocol.messages import Body
from liveroom.store.port import Op


__all__ = ["Likes"]

_TELL_EVERY_S = 2.0
_PAGE = 250
"""Users per operation: holds the store for about two milliseconds."""

log = structlog.get_logger("liveroom.like")


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


class _Taps:
    """What the users of a room tapped and other features were not yet told."""

    def __init__(self) -> None:
        self._by_user: dict[str, tuple[int, str]] = {}

    def __len__(self) -> int:
        return len(self._by_user)

    def add(self, user: str, n: int, name: str) -> None:
        """Count taps of a user who is called so now."""
        before = self._by_user.get(user)
        self._by_user[user] = (n if before is None else before[0] + n, name)

    def pages(self) -> Iterator[Op]:
        """Take out all that is here now, oldest first, in operations of a bounded size."""
        for _ in range(-(-len(self._by_user) // _PAGE)):
            users = list(itertools.islice(self._by_user, _PAGE))
            rows = {user: self._by_user.pop(user) for user in users}
            taps = {user: n for user, (n, _) in rows.items()}
            names = {user: name for user, (_, name) in rows.items()}
            yield Op("like.users", "", {"taps": taps, "names": names})


class Likes(Plugin):
    """Approximate by contract: a worker that dies takes the last beat's likes along.

    Who liked how often is told to the other features (the board, draws) every two seconds, which is
    what of that dies with a worker.
    """

    name = "like"
    lua = lua_of("like")
    events = (
        EventSpec(
            "like", Delivery.EPHEMERAL, "A viewer's taps: `{user, n}`.", LikeShown, per_s=20.0
        ),
    )
    states = (StateSpec("likes", "All likes of the room: `{total}`.", LikesState),)

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}
        self._taps: dict[str, _Taps] = defaultdict(_Taps)

    async def start(self, engine: Engine) -> None:
        """Begin telling who liked."""
        self._engine = engine
        engine.every(_TELL_EVERY_S, self._tell)

    async def stop(self) -> None:
        """Tell what is left; the rooms are gone, so it goes to the store by itself."""
        for room, taps in self._taps.items():
            for page in taps.pages():
                try:
                    await self._engine.commit(room, [page])
                except StoreError as exc:
                    log.warning("likes of users lost", room=room, error=str(exc))
                    return

    @command("like.send", LikeSend)
    def send(self, call: Call[LikeSend]) -> Result:
        """Like the room."""
        may(call, "like")
        room, n = call.room, call.body.n
        self._sums[room.id] = self._sums.get(room.id, 0) + n
        self._taps[room.id].add(call.user, n, call.member.claims.name)
        room.publish("like", {"user": call.user, "n": n}, member=call.member)
        room.mark()
        return None

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Commit the sum of the beat."""
        total = self._sums.pop(room.id, 0)
        return [Op("like.add", "", {"n": total})] if total else ()

    async def _tell(self) -> None:
        rooms = list(self._taps)
        done = await asyncio.gather(*map(self._tell_room, rooms), return_exceptions=True)
        for room, error in zip(rooms, done, strict=True):
            if isinstance(error, StoreError):
                log.warning("likes of users lost", room=room, error=str(error))
            elif error is not None:
                raise error

    async def _tell_room(self, room: str) -> None:
        """Tell page by page, so that no batch holds two of them."""
        for page in self._taps[room].pages():
            reply = await self._engine.submit(room, page)
            if reply[:1] != b"+":
                log.error("likes of users lost", room=room, reply=reply[:200])
        if not self._taps[room]:
            del self._taps[room]
