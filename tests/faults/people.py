"""Who is in the room while something breaks: givers and buyers who pay, and all others' connections.

All come back by themselves, at whatever worker there is, and go on where they were: that is what the
protocol asks of a client, and nothing more. Whoever pays asks again with the same key until it is
told for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import orjson

import harness
from liveroom.auth.tokens import mint


__all__ = ["AGAIN_S", "Buyer", "Giver", "Item", "Ledger", "Person"]

Item = dict[str, Any]
Place = tuple[str, int, int]

AGAIN_S = 0.05
_BASE_S, _LONGEST_S = 0.2, 5.0
_PATIENCE_S = 3.0
_LOST = (aiohttp.ClientError, OSError, TimeoutError, AssertionError)
UNITS = 95  # of one buyer: a sale allows a hundred


class Ledger:
    """What was acknowledged, what was seen, and what must not be.

    Attributes:
        backward: values of `latest` keys that were older than those before them.
        seen: durable events that viewers were shown.
        again: answers that were asked for once more.
        tried: what somebody said, or may have said.
        said: what was accepted of it -> the worker that accepted it.
    """

    def __init__(self) -> None:
        self.acked: dict[tuple[str, str], float] = {}
        self.answers: dict[tuple[str, str], Item] = {}
        self.moments: list[float] = []
        self.codes: dict[str, int] = {}
        self.payloads: dict[Place, Item] = {}
        self.wrong: list[str] = []
        self.silent: list[str] = []
        self.differing: list[str] = []
        self.backward: list[str] = []
        self.told = self.seen = self.again = 0
        self.tried: set[str] = set()
        self.said: dict[str, str] = {}

    def ack(self, user: str, what: str, answer: Item) -> None:
        """Take that something was acknowledged; a second time it has to be the same."""
        now = time.monotonic()
        self.moments.append(now)
        self.again += (user, what) in self.acked
        self.acked.setdefault((user, what), now)
        if self.answers.setdefault((user, what), answer) != answer:
            self.wrong.append(f"{user} {what}: {answer} after {self.answers[user, what]}")

    def refused(self, code: str) -> None:
        """Count what was not done, or is not known to be."""
        self.codes[code] = self.codes.get(code, 0) + 1


class Person:
    """One user with one connection, made anew whenever it ends.

    Args:
        ledger: what all write into.
        room: where.
        user: who.
        fronts: returns the workers' addresses, `host:port`.

    Attributes:
        awake: while it is cleared, nothing is read.
        pace_s: the pause between two of its commands.
        turn: which of them is taken first, so that all have somebody; later ones by chance.
    """

    turn = 0
    pace_s = 0.0
    role = "viewer"

    def __init__(
        self, ledger: Ledger, room: str, user: str, fronts: Callable[[], Sequence[str]]
    ) -> None:
        self.ledger = ledger
        self.room = room
        self.user = user
        self.fronts = fronts
        self.ended = False
        self.back = -1
        self.closes: list[int | None] = []
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Item]] = {}
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self.here = asyncio.Event()
        self.awake = asyncio.Event()
        self.awake.set()

    async def live(self, session: aiohttp.ClientSession) -> None:
        """Be there until `ended`; wait longer after each attempt that failed, all of it at random."""
        attempt = 0
        while not self.ended:
            with contextlib.suppress(*_LOST):
                await self._one_connection(session)
            attempt = 0 if self.here.is_set() else attempt + 1
            self.here.clear()
            self._ws = None
            for future in self._replies.values():
                future.cancel()
            self._replies.clear()
            await asyncio.sleep(random.uniform(0, min(_LONGEST_S, _BASE_S * 2**attempt)))

    async def leave(self) -> None:
        """End the connection for good."""
        self.ended = True
        if self._ws is not None:
            await self._ws.close()

    def resume(self) -> Item | None:
        """Return where to go on from."""
        return None

    def take(self, item: Item) -> None:
        """Take an item."""

    async def command(self, op: str, key: str | None = None, **d: Any) -> Item | None:
        """Send a command; return the reply, None if none came."""
        await self.here.wait()
        if self._ws is None:
            return None
        number = next(self._numbers)
        future = self._replies[number] = asyncio.get_running_loop().create_future()
        sent: Item = {"op": op, "id": number, "d": d} | ({"key": key} if key else {})
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._ws.send_str(orjson.dumps(sent).decode())
                reply: Item = await future
                return reply
        except (*_LOST, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None
        finally:
            self._replies.pop(number, None)

    async def until_done(self, op: str, key: str, **d: Any) -> Item:
        """Ask with one key until it is done or refused for good; return the reply."""
        while True:
            reply = await self.command(op, key, **d)
            if reply is not None:
                if "d" in reply or ("retry_ms" not in reply["err"] and not _again(reply)):
                    return reply
                self.ledger.refused(reply["err"]["code"])
            await asyncio.sleep(AGAIN_S)

    def token(self) -> str:
        """Return a token of the user."""
        return mint(
            harness.SECRET, user=self.user, room=self.room, role=self.role, ttl_s=3600,
            now=time.time(),
        )  # fmt: skip

    async def _one_connection(self, session: aiohttp.ClientSession) -> None:
        addresses = self.fronts()
        address = (
            random.choice(addresses) if self.back >= 0 else addresses[self.turn % len(addresses)]
        )
        path = "/ws" if self.role == "viewer" else "/control"
        async with asyncio.timeout(_PATIENCE_S):
            ws = await session.ws_connect(f"ws://{address}{path}", protocols=[harness.JSON])
        async with ws:
            hello: Item = {"room": self.room, "token": self.token()}
            hello |= {"resume": self.resume()} if self.resume() else {}
            await ws.send_str(orjson.dumps({"op": "hello", "id": 0, "d": hello}).decode())
            first = orjson.loads((await ws.receive(timeout=_PATIENCE_S)).data)
            assert "d" in first[0], first
            self._ws = ws
            self.back += 1
            self._take_all(first)
            self.here.set()
            async for message in ws:
                await self.awake.wait()
                self._take_all(orjson.loads(message.data))
            self.closes.append(ws.close_code)

    def _take_all(self, items: list[Item]) -> None:
        for item in items:
            future = self._replies.get(item.get("re", -1))
            if future is not None and not future.done():
                future.set_result(item)
            self.take(item)


def _again(reply: Item) -> bool:
    return reply["err"]["code"] in ("outcome_unknown", "unavailable", "internal", "overloaded")


class Giver(Person):
    """Gives roses one after the other: `n` tells them apart."""

    pace_s = 0.03

    async def work(self, working: Callable[[], bool]) -> None:
        """Give while there is work; now and then ask for an earlier answer again."""
        for n in itertools.count(1):
            if not working():
                return
            await self.give(n)
            if n % 10 == 0:
                await self.give(random.randint(1, n))
            await asyncio.sleep(self.pace_s)

    async def give(self, n: int) -> None:
        """Give `n` roses until it is acknowledged."""
        reply = await self.until_done("gift.send", f"g{n}", gift="rose", n=n, combo=False)
        if "d" in reply:
            self.ledger.ack(self.user, f"gift {n}", reply["d"])
        else:
            self.ledger.refused(reply["err"]["code"])
            self.ledger.wrong.append(f"{self.user} gift {n}: {reply['err']}")


class Buyer(Person):
    """Reserves a unit, and has the shop confirm the payment."""

    pace_s = 0.1

    async def work(self, working: Callable[[], bool], session: aiohttp.ClientSession) -> None:
        """Buy while there is work, up to the sale's limit for one user."""
        for n in range(1, UNITS):
            if not working():
                return
            reply = await self.until_done("flash.reserve", f"r{n}", sku="k1")
            if "d" not in reply:
                self.ledger.wrong.append(f"{self.user} reserve {n}: {reply['err']}")
                continue
            self.ledger.ack(self.user, f"reserve {n}", reply["d"])
            await self._pay(session, reply["d"]["reservation"], f"{self.user}-{n}")
            await asyncio.sleep(self.pace_s)

    async def _pay(self, session: aiohttp.ClientSession, reservation: str, order: str) -> None:
        body = {"reservation": reservation, "amount": 900, "order": order}
        while True:
            reply = await self._ask(session, "flash.confirm", body)
            if reply is not None and "d" in reply:
                # Its answer may be told anew, with what the sale is by then.
                self.ledger.ack(self.user, f"order {order}", {})
                return
            if reply is not None and not _again(reply):
                self.ledger.refused(reply["err"]["code"])
                self.ledger.wrong.append(f"{order}: {reply['err']}")
                return
            await asyncio.sleep(AGAIN_S)

    async def _ask(self, session: aiohttp.ClientSession, op: str, d: Item) -> Item | None:
        token = mint(
            harness.SECRET, user="shop", room="*", role="service", ttl_s=3600, now=time.time()
        )
        url = f"http://{random.choice(self.fronts())}/api/rooms/{self.room}/commands"
        with contextlib.suppress(*_LOST, ValueError, KeyError):
            async with session.post(
                url, json={"op": op, "id": 1, "d": d},
                headers={"Authorization": f"Bearer {token}"},
                timeout=aiohttp.ClientTimeout(total=_PATIENCE_S),
            ) as response:  # fmt: skip
                answer: Item = (await response.json())["replies"][0]
                return answer
        return None
