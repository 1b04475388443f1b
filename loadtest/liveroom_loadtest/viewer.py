"""One viewer: a connection that counts and checks what comes, and can ask for things."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from liveroom_loadtest.digest import Digest, Known, Rare
from liveroom_loadtest.oracle import Ledger, Track
from liveroom_loadtest.seconds import Second
from liveroom_loadtest.wire import (
    CLOSE,
    CLOSE_FRAME,
    PING,
    PONG_FRAME,
    encoded,
    frame_size,
    header_size,
)


__all__ = ["Answered", "Crowding", "NotIn", "Viewer"]

Item = dict[str, Any]
Answered = Callable[["Viewer", Item | None], None]
"""Told the reply of a command; None: it was not answered."""


class NotIn(Exception):
    """A viewer did not come in: why, and whether it may try again."""

    def __init__(self, why: str, again: bool = True) -> None:
        super().__init__(why)
        self.again = again


class Crowding(Protocol):
    """What viewers share."""

    known: Known
    ledger: Ledger
    second: Second
    request: bytes

    @property
    def codec(self) -> str:
        """How commands are encoded."""

    def hello(self, viewer: Viewer) -> Item:
        """Return the body of a viewer's hello."""

    def lost(self, viewer: Viewer, why: str) -> None:
        """Be told that a greeted viewer lost its connection."""

    def prompted(self, viewer: Viewer, item: Item) -> None:
        """Be told of an event that viewers act on."""

    def said_no(self, viewer: Viewer, err: Item) -> None:
        """Be told of the refusal of a command that wanted no reply."""

    def waits(self, viewer: Viewer, number: int) -> None:
        """Be told of a command that waits for its reply."""


class Viewer(asyncio.Protocol):
    """One viewer, over all its connections.

    Args:
        crowd: what it shares with the others.
        number: which of all viewers it is.
        user: who it is.
        room: where it goes.
        probe: whether it looks at the age of every message.
    """

    __slots__ = (
        "_asked", "_crowd", "_ids", "_in", "_rest", "_transport", "_upgraded", "_why", "delivered",
        "here", "judged", "leaving", "number", "probe", "room", "shed", "token", "track", "user",
    )  # fmt: skip

    def __init__(self, crowd: Crowding, number: int, user: str, room: str, *, probe: bool) -> None:
        self._crowd = crowd
        self.number = number
        self.user = user
        self.room = room
        self.probe = probe
        self.token = ""
        self.track = Track(crowd.ledger, user, room)
        self.delivered = self.shed = 0
        self.here = self.judged = self.leaving = False
        self._asked: dict[int, tuple[int, Answered]] = {}
        self._ids = 0
        self._in: asyncio.Future[bool] | None = None
        self._transport: Any = None
        self._reset()

    def _reset(self) -> None:
        self._rest = b""
        self._upgraded = False
        self._why = ""

    # Coming in.

    def begin(self) -> asyncio.Future[bool]:
        """Get ready for a new connection; the future tells whether it was resumed."""
        self._reset()
        self.leaving = False
        self._in = asyncio.get_running_loop().create_future()
        return self._in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = transport
        self._transport.write(self._crowd.request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        why = self._why or f"lost: {exc or 'closed'}"
        greeted, self.here = self.here, False
        self._transport = None
        self._not_in(why)
        asked, self._asked = self._asked, {}
        for _, done in asked.values():
            done(self, None)
        if greeted and not self.leaving:
            self._crowd.lost(self, why)

    def hang_up(self, *, rudely: bool = False) -> None:
        """Leave: with a close frame, or as one whose network is gone."""
        if self._transport is None:
            return
        self.leaving = True
        if rudely:
            self._transport.abort()
        else:
            self._transport.write(CLOSE_FRAME)
            self._transport.close()

    async def gone(self) -> None:
        """Wait until the connection before has ended, if there is one that does."""
        while self._transport is not None:  # noqa: ASYNC110 -- rare, and soon over
            await asyncio.sleep(0.005)

    def _not_in(self, why: str, *, again: bool = True) -> None:
        if self._in is not None and not self._in.done():
            self._in.set_exception(NotIn(why, again))
            self._in.exception()  # seen, even if nobody waits for it any more

    # What is heard.

    def data_received(self, data: bytes) -> None:
        """Take what came: most often one frame that another viewer has had already."""
        self._crowd.second.bytes += len(data)
        if not self._rest:
            digest = self._crowd.known.get(data)
            if digest is not None:
                self._take(digest)
                return
        self._walk(self._rest + data if self._rest else data)

    def _walk(self, data: bytes) -> None:
        """Take whole frames from the front; keep the rest."""
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            if not self._take_head(head):
                return
        at, size = 0, len(data)
        while size - at >= header_size(data, at):
            end_at = at + frame_size(data, at)
            if end_at > size:
                break
            self._take_frame(data[at:end_at])
            at = end_at
        self._rest = data[at:]

    def _take_head(self, head: bytes) -> bool:
        """Take the answer to the upgrade; say hello after a good one."""
        if head.startswith(b"HTTP/1.1 101"):
            self._upgraded = True
            hello = {"op": "hello", "id": 0, "d": self._crowd.hello(self)}
            self._transport.write(encoded(self._crowd.codec, hello))
            return True
        status = head.partition(b"\r\n")[0].decode(errors="replace")
        self._not_in(f"refused: {status}", again=b" 429 " in head or b" 503 " in head)
        self._transport.abort()
        return False

    def _take_frame(self, frame: bytes) -> None:
        digest = self._crowd.known.get(frame)
        if digest is not None:
            self._take(digest)
            return
        opcode = frame[0] & 0x0F
        payload = frame[header_size(frame, 0) :]
        if opcode == PING:
            self._transport.write(PONG_FRAME)
        elif opcode == CLOSE:
            self._take_close(payload)
        elif opcode < CLOSE:
            self._learn(frame, payload)

    def _learn(self, frame: bytes, payload: bytes) -> None:
        try:
            digest = self._crowd.known.learn(frame, payload)
        except (ValueError, KeyError, TypeError) as exc:
            self._crowd.ledger.fault(f"{self.user} was sent junk: {exc!r}")
            return
        self._take(digest)

    def _take_close(self, payload: bytes) -> None:
        code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")
        self._why = f"closed with {code} {reason}".rstrip()
        self._not_in(self._why, again=code < 4400)
        self._transport.write(CLOSE_FRAME)
        self._transport.close()

    def _take(self, digest: Digest) -> None:
        second = self._crowd.second
        second.frames += 1
        second.events += digest.events
        second.danmaku += digest.danmaku
        self.delivered += digest.danmaku
        if self.probe and digest.stamps:
            now, record = time.monotonic_ns(), second.ages.record
            for at in digest.stamps:
                record((now - at) / 1e9)
        if digest.rare is not None:
            self._take_rare(digest.rare)

    def _take_rare(self, rare: Rare) -> None:
        for item in rare.replies:
            self._take_reply(item)
        self.track.take(rare.durable)
        self.shed += rare.shed
        self._crowd.second.shed += rare.shed
        for item in rare.prompts:
            self._crowd.prompted(self, item)
        for item in rare.system:
            if item["ev"] == "sys.gap":
                self._crowd.ledger.fault(f"{self.user} in {self.room}: told of a gap: {item['d']}")
                self.ask("sys.resume", {}, _regreeted)

    # What is said.

    def tell(self, op: str, d: Item) -> None:
        """Send a command that wants no reply."""
        self._transport.write(encoded(self._crowd.codec, {"op": op, "d": d}))

    def ask(self, op: str, d: Item, done: Answered, key: str = "") -> None:
        """Send a command; `done` is told the reply."""
        if not self.here:
            done(self, None)
            return
        self._ids += 1
        command: Item = {"op": op, "id": self._ids, "d": d}
        if key:
            command["key"] = key
        self._asked[self._ids] = (time.monotonic_ns(), done)
        self._crowd.waits(self, self._ids)
        self._transport.write(encoded(self._crowd.codec, command))

    def give_up(self, number: int) -> bool:
        """Wait no longer for a reply; tell whether it had not come."""
        _, done = self._asked.pop(number, (0, None))
        if done is not None:
            done(self, None)
        return done is not None

    @property
    def waiting(self) -> int:
        """How many commands wait for their reply."""
        return len(self._asked)

    def _take_reply(self, item: Item) -> None:
        number = item["re"]
        if number == 0 and not self.here:
            self._greeted(item)
        elif number is None:
            self._crowd.said_no(self, item["err"])
        else:
            sent, done = self._asked.pop(number, (0, None))
            if done is not None:
                self._crowd.second.replies.record((time.monotonic_ns() - sent) / 1e9)
                done(self, item)

    def _greeted(self, item: Item) -> None:
        if "err" in item:
            self._not_in(f"refused: {item['err']['code']}", again="retry_ms" in item["err"])
            return
        resumed = self.track.greeted(item["d"])
        self.here = True
        if self._in is not None and not self._in.done():
            self._in.set_result(resumed)


def _regreeted(viewer: Viewer, item: Item | None) -> None:
    if item is not None and "d" in item:
        viewer.track.greeted(item["d"])
