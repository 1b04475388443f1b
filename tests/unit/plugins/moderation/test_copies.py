"""Sanctions that a worker never heard of."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson

from liveroom import Engine, Member, Op, Role, RoomHandle
from liveroom_plugins.moderation.asking import Errands
from liveroom_plugins.moderation.copies import READ_AGAIN_S, RIDE_S, Copies
from liveroom_plugins.moderation.plugin import Moderation


class Room:
    """A room whose store can be changed behind the worker's back."""

    id = "r"

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {"rev": 0, "mute": [], "ban": [], "shadow": []}
        self.asked: list[Op] = []
        self.here: list[Viewer] = []

    def submit(self, op: Op, *, within_s: float) -> asyncio.Future[bytes]:
        self.asked.append(op)
        future = asyncio.get_running_loop().create_future()
        future.set_result(b"+" + orjson.dumps(self.answer))
        return future

    def of_user(self, user: str) -> list[Viewer]:
        return [viewer for viewer in self.here if viewer.user == user]


class Viewer:
    """Somebody in the room."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.claims = self
        self.role = Role.VIEWER
        self.closed: list[str] = []

    def close(self, name: str, detail: str) -> None:
        self.closed.append(name)


class Worker:
    """An engine whose clock and jobs are the test's."""

    def __init__(self, room: Room | None) -> None:
        self.clock = self
        self.settings = self
        self.plugin: dict[str, Any] = {}
        self.jobs: dict[Any, float] = {}
        self._room = room

    def monotonic(self) -> float:
        return 0.0

    def room(self, room_id: str) -> Room | None:
        return self._room

    def every(self, seconds: float, job: Any) -> None:
        self.jobs[job] = seconds


def row(user: str) -> dict[str, Any]:
    """Return a sanction by a moderator."""
    return {"user": user, "until_ms": 0, "by": "mod", "rank": 2}


async def test_copies_what_was_never_heard_holds_after_the_next_reading() -> None:
    """No message came; a mute holds and who is banned goes, as soon as the store is read again."""
    room, ann, bob = Room(), Viewer("ann"), Viewer("bob")
    room.here = [ann, bob]
    copies = Copies(cast("Engine", Worker(room)), Errands())
    copy = copies.begin(cast("RoomHandle", room))
    await asyncio.sleep(0)
    assert copy.loaded
    room.answer = {"rev": 2, "mute": [row("ann")], "ban": [row("bob")], "shadow": []}

    copies.read_again()
    await asyncio.sleep(0)

    assert copy.under("mute", cast("Member", ann)) is not None
    assert (ann.closed, bob.closed) == ([], ["banned"])
    assert [op.body["rev"] for op in room.asked] == [-1, 0]


async def test_copies_are_read_again_within_ten_seconds() -> None:
    """The engine is asked for it when the plugin starts."""
    worker, plugin = Worker(None), Moderation()
    await plugin.start(cast("Engine", worker))
    try:
        assert worker.jobs[plugin.read_again] + RIDE_S == READ_AGAIN_S + RIDE_S <= 5
    finally:
        await plugin.stop()


async def test_copies_of_rooms_that_went_are_forgotten() -> None:
    """Their store is not asked any more."""
    room = Room()
    copies = Copies(cast("Engine", Worker(None)), Errands())
    copies.of(cast("RoomHandle", room))
    copies.read_again()
    await asyncio.sleep(0)
    assert room.asked == []
