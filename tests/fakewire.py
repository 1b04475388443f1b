"""A session of the Python client without sockets, for tests: the clock, the wire and chance are here."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

import orjson

from liveroom_client.codec import codec_of
from liveroom_client.errors import LiveError
from liveroom_client.inbox import Inbox
from liveroom_client.outlet import Outlet
from liveroom_client.reconnect import LOST, Loss
from liveroom_client.room import RoomView
from liveroom_client.session import Session
from liveroom_client.terms import Terms


__all__ = ["FakeClock", "FakeIo", "Stage", "greeting"]

Item = dict[str, Any]


class _Call:
    """A call that is still to come."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.cancelled = False

    def cancel(self) -> None:
        """Do not make it."""
        self.cancelled = True


class FakeClock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._calls: list[tuple[float, int, _Call]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        """Return now."""
        return self.now

    def call_later(self, delay: float, callback: Callable[..., Any], /, *args: Any) -> _Call:
        """Call back when it is turned so far."""
        call = _Call(lambda: callback(*args))
        heapq.heappush(self._calls, (self.now + delay, next(self._numbers), call))
        return call

    def pass_s(self, seconds: float) -> None:
        """Let time pass; what falls into it is called at its moment."""
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            when, _, call = heapq.heappop(self._calls)
            self.now = max(self.now, when)
            if not call.cancelled:
                call.make()
        self.now = end

    @property
    def waiting(self) -> int:
        """How many calls are still to come."""
        return sum(not call.cancelled for _, _, call in self._calls)


class FakeIo:
    """Records what a session has done for it."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.sent: list[tuple[int, Item]] = []
        self.closed: list[tuple[int, int]] = []
        self.tokens: dict[str, str | None] = {}
        self.asked_tokens: list[str] = []

    def open(self, link: int) -> None:
        """Record it."""
        self.opened.append(link)

    def send(self, link: int, command: bytes) -> None:
        """Record it, decoded."""
        self.sent.append((link, orjson.loads(command)))

    def close(self, link: int, code: int) -> None:
        """Record it."""
        self.closed.append((link, code))

    def fetch_token(self, room: str, done: Callable[[str | None], None]) -> None:
        """Give the token that the test put there."""
        self.asked_tokens.append(room)
        done(self.tokens.get(room))


def greeting(**changes: Any) -> Item:
    """Return the `d` of a greeting."""
    return {
        "session": "s1", "user": "ann", "name": "Ann", "role": "viewer", "room": "demo",
        "epoch": "e1", "seq": 10, "sub": 0, "resumed": False, "now": 1_760_000_000_000,
        "beat_ms": 100, "snapshot": {"danmaku": []}, "states": [], "own": {},
    } | changes  # fmt: skip


class Stage:
    """A session, what it did, and what it showed.

    Attributes:
        shown: name -> what listeners were given, in order.
        answers: what commands came to: the reply's `d`, or the error.
    """

    def __init__(self, *, inbox: int = 0, part: float = 0.5, **terms: Any) -> None:
        self.clock = FakeClock()
        self.io = FakeIo()
        self.outlet = Outlet()
        self.answers: list[Any] = []
        self.shown: dict[str, list[Any]] = {}
        self.session = Session(
            "demo", Terms(codec_of("json"), **terms), self.io, self.clock, self.outlet, lambda: part
        )
        if inbox:
            self.outlet.inbox = Inbox(inbox, self.session.lobby.catch_up)
        self.listen("sdk.error", "sdk.status", "sdk.greeting")

    @property
    def status(self) -> str:
        """Where it stands."""
        return self.session.status

    @property
    def main(self) -> RoomView:
        """The hello's room."""
        return self.session.lobby.main

    def listen(self, *names: str) -> None:
        """Record what is shown under these names."""
        for name in names:
            self.outlet.on(name, self.shown.setdefault(name, []).append)

    def live(self, **changes: Any) -> None:
        """Connect and be greeted."""
        if self.session.status == "idle":
            self.session.start()
        self.arrive(**changes)

    def arrive(self, *missed: Item, **changes: Any) -> None:
        """The connection that is being opened opens, and is greeted."""
        link = self.io.opened[-1]
        self.session.opened(link, "tok")
        self.reply(link, "hello", greeting(**changes), *missed)

    def feed(self, *items: Any, link: int | None = None) -> None:
        """A message comes, on the newest connection unless another is named."""
        self.session.feed(link or self.io.opened[-1], orjson.dumps(list(items)), binary=False)

    def reply(self, link: int, op: str, d: Any, *behind: Item) -> None:
        """Answer the last command of a name that was sent on a connection."""
        self.feed({"re": self.last(op, link)["id"], "d": d}, *behind, link=link)

    def refuse(self, op: str, code: str, **more: Any) -> None:
        """Refuse the last command of a name."""
        err = {"code": code, "msg": "no"} | more
        self.feed({"re": self.last(op)["id"], "err": err})

    def lose(self, code: int = LOST, **more: Any) -> None:
        """The newest connection ends."""
        self.session.lost(self.io.opened[-1], Loss(code, **more))

    def ask(self, op: str, key: str | None = None, room: str | None = None, **d: Any) -> None:
        """Send a command; its answer goes to `answers`."""
        self.session.ask(op, d, self.answer, key=key, room=room)

    def answer(self, d: Any, error: LiveError | None) -> None:
        """Take an answer."""
        self.answers.append(d if error is None else error)

    def ops(self, link: int | None = None) -> list[str]:
        """Return the names of all commands that were sent, on one connection or on all."""
        return [command["op"] for on, command in self.io.sent if link in (None, on)]

    def last(self, op: str, link: int | None = None) -> Item:
        """Return the last command of a name that was sent."""
        found = [
            command for on, command in self.io.sent if command["op"] == op and link in (None, on)
        ]
        assert found, f"no {op} in {self.ops(link)}"
        return found[-1]
