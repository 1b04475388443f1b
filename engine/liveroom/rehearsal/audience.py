"""Simulated viewers over real WebSockets (layer 9).

A tenth of them decode all that they are sent; the others only look at replies to what they said, and
act on what the tenth sees. That, and one process, is what lets hundreds of them run beside the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, NamedTuple

import orjson

from liveroom.errors import LiveroomError
from liveroom.rehearsal.moves import Move, Prompt, answer, prompt_of, say
from liveroom.rehearsal.view import Eyes, View
from liveroom.rehearsal.wire import Address, Line, Refused


__all__ = ["Audience", "Crowd", "Outcome"]

_DECODE_ONE_IN = 10
_JOIN_AT_ONCE = 32
_SAYS_EVERY_S = 12.0
"""Each viewer does something unasked this often."""
_MOST_SAID_PER_S = 60.0
_REPLY = b'[{"re":'

Item = dict[str, Any]


class Crowd(NamedTuple):
    """Who comes.

    Args:
        addresses: of the workers; viewers spread over them.
        room: where they go.
        token: returns a viewer's token.
        size: how many.
        speed: they answer so many times sooner.
        seed: of everything that they decide.
    """

    addresses: list[Address]
    room: str
    token: Callable[[str], str]
    size: int
    speed: float = 1.0
    seed: int = 1


class Outcome(NamedTuple):
    """What became of one move: its reply's `d`, or None."""

    user: str
    move: Move
    d: Item | None


class _Viewer:
    """One viewer; comes back when its connection ends."""

    def __init__(self, crowd: Crowd, number: int, view: View) -> None:
        self.user = f"viewer{number}"
        self._crowd = crowd
        self._address = crowd.addresses[number % len(crowd.addresses)]
        self._eyes = Eyes(self.user, view) if number % _DECODE_ONE_IN == 0 else None
        self._line: Line | None = None
        self.connected = False

    async def join(self) -> None:
        """Connect and say hello, with the position if there is one. Raises LiveroomError."""
        line = self._line = await Line.open(self._address, "/ws", self._take)
        hello: Item = {"room": self._crowd.room, "token": self._crowd.token(self.user)}
        if self._eyes is not None and self._eyes.resume is not None:
            hello["resume"] = self._eyes.resume
        await line.ask("hello", hello)
        self.connected = True

    async def gone(self) -> None:
        """Wait for the end of the connection."""
        if self._line is not None:
            await self._line.ended.wait()
        self.connected = False

    async def act(self, move: Move, key: str) -> Item:
        """Do something; return the reply. Raises LiveroomError."""
        assert self._line is not None, "joined"
        d: Item = await self._line.ask(move.op, move.d, key if move.keyed else "")
        return d

    def close(self) -> None:
        """Leave."""
        if self._line is not None:
            self._line.close()

    def _take(self, payload: bytes) -> None:
        """Take a message: a reply always begins one."""
        if self._eyes is None and not payload.startswith(_REPLY):
            return
        for item in orjson.loads(payload):
            if "re" in item:
                self._take_reply(item)
            elif self._eyes is not None:
                self._eyes.take(item)

    def _take_reply(self, item: Item) -> None:
        assert self._line is not None, "it was opened"
        if self._eyes is not None and "epoch" in item.get("d", ()):
            self._eyes.greeted(item["d"])
        self._line.take_reply(item)


class Audience:
    """Everybody.

    Args:
        crowd: who comes, and where.
        on_done: told of every move that was accepted.
    """

    def __init__(self, crowd: Crowd, on_done: Callable[[Outcome], None] = lambda _: None) -> None:
        self._crowd = crowd
        self._on_done = on_done
        self._rng = Random(crowd.seed)  # noqa: S311 -- a rehearsal can be repeated, keeps no secret
        self._keys = itertools.count(1)
        self._prompted: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.view = View(self._on_state)
        self.viewers = [_Viewer(crowd, n, self.view) for n in range(crowd.size)]
        self.done: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.reconnects = 0
        self.failed: list[str] = []

    @property
    def connected(self) -> int:
        """How many are here now."""
        return sum(viewer.connected for viewer in self.viewers)

    async def join(self) -> int:
        """Bring everyone in; return how many came."""
        gate = asyncio.Semaphore(_JOIN_AT_ONCE)

        async def come(viewer: _Viewer) -> None:
            async with gate:
                try:
                    await viewer.join()
                except LiveroomError as exc:
                    self.failed.append(f"{viewer.user}: {exc}")

        await asyncio.gather(*map(come, self.viewers))
        self.viewers = [viewer for viewer in self.viewers if viewer.connected]
        for viewer in self.viewers:
            self._spawn(self._live(viewer))
        return len(self.viewers)

    def begin(self) -> None:
        """Begin to talk, like, give and ask."""
        self._spawn(self._chatter())

    async def settle(self) -> None:
        """Say nothing more, and wait for what is being answered."""
        self._closing = True
        for _ in range(100):
            busy = [task for task in self._tasks if task.get_name() == "move"]
            if not busy:
                return
            await asyncio.wait(busy, timeout=0.2)

    async def leave(self) -> None:
        """Go home."""
        self._closing = True
        for viewer in self.viewers:
            viewer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What they do.

    def _on_state(self, name: str, d: Item) -> None:
        prompt = prompt_of(name, d)
        if prompt is None or prompt.id in self._prompted or self._closing:
            return
        self._prompted.add(prompt.id)
        for viewer in self.viewers:
            if self._rng.random() < prompt.share:
                self._answer(viewer, prompt, d)

    def _answer(self, viewer: _Viewer, prompt: Prompt, d: Item) -> None:
        moves = answer(prompt, d, viewer.user, self._rng)
        if moves:
            delay = self._rng.uniform(0.05, prompt.within_s) / self._crowd.speed
            self._spawn(self._act(viewer, moves, delay), "move")

    async def _act(self, viewer: _Viewer, moves: list[Move], delay_s: float = 0.0) -> None:
        await asyncio.sleep(delay_s)
        for move in moves:
            key = f"r{self._crowd.seed}-{next(self._keys)}"
            try:
                d = await viewer.act(move, key)
            except Refused as exc:
                self.refused[move.op, exc.code] += 1
            except LiveroomError:
                self.unanswered[move.op] += 1
            else:
                self.done[move.op] += 1
                self._on_done(Outcome(viewer.user, move, d))

    async def _chatter(self) -> None:
        """Have one after the other do something, as many a second as so many people would."""
        per_s = min(len(self.viewers) / _SAYS_EVERY_S, _MOST_SAID_PER_S)
        while not self._closing and self.viewers:
            await asyncio.sleep(self._rng.expovariate(max(per_s, 0.5)))
            viewer = self._rng.choice(self.viewers)
            top = self.view.states.get("qa", {}).get("top", [])
            move = say(self._rng, top)
            moves = [Move("wallet.get", {}), move] if move.op == "gift.send" else [move]
            if viewer.connected:
                self._spawn(self._act(viewer, moves), "move")

    async def _live(self, viewer: _Viewer) -> None:
        """Come back whenever the connection ends before it should."""
        while not self._closing:
            await viewer.gone()
            while not self._closing and not viewer.connected:
                await asyncio.sleep(self._rng.uniform(0.1, 1.5))
                with contextlib.suppress(LiveroomError):
                    await viewer.join()
                    self.reconnects += 1

    def _spawn(self, work: Coroutine[Any, Any, None], name: str = "life") -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
