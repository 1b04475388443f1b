"""The load generator: a process of its own that holds the viewers and speaks for them.

`python -m bench.load '{}'`, then requests as in `Swarm`'s `do_…` methods (bench/child.py).
"""

from __future__ import annotations

import asyncio
import base64
import gc
import itertools
import json
import random
import time
from typing import Any

import msgpack
import uvloop

from bench.child import Answer, serve_parent
from bench.machine import raise_file_limit
from bench.wire import BINARY, TEXT, Buyer, Counters, Greeting, Probe, Sink, client_frame, handshake
from liveroom.auth.tokens import mint
from liveroom.protocol.handshake import JSON, MSGPACK


__all__ = ["PHRASES", "SECRET", "Swarm", "stamped"]

SECRET = "bench-only-key-of-at-least-thirty-two-bytes"

PHRASES = (
    "主播今天气色真好", "666666", "这个颜色有货吗", "已下单，坐等发货", "哈哈哈哈哈哈",
    "What size should I take at 175 cm?", "links in the shelf please", "多少钱一件？包邮吗",
    "来了来了", "lol", "第一次来，点个关注", "这件和昨天那件有什么区别", "求返场！！！",
    "Love this one, does it come in black?", "老粉报到", "主播看看我", "买过，质量很好，推荐",
    "how long is shipping to Berlin", "再讲一下尺码", "好看好看好看",
)  # fmt: skip
_TICK_S = 0.004
_LAG_S = 0.02
_DRAIN_S = 8.0
_SPEAKS_PER_S = 1.4  # a viewer is allowed 1.5 messages/s


def stamped(index: int) -> str:
    """Return a message's text with the time in it."""
    return f"@{time.monotonic_ns()}~{PHRASES[index % len(PHRASES)]}"


class Swarm:
    """The viewers."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.viewers: dict[str, list[tuple[Sink, bool]]] = {}
        self.probes = 0
        self.sent = 0
        self._users = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._worst_lag = 0.0
        self._lag_task = asyncio.create_task(self._watch_lag())
        self._tokens: dict[str, list[tuple[str, str]]] = {}

    async def handle(self, request: Answer) -> Answer:
        """Do what the parent asks."""
        do = request.pop("do")
        answer: Answer = await getattr(self, f"do_{do}")(**request)
        return answer

    async def do_tokens(self, room: str, count: int) -> Answer:
        """Mint tokens before the clock runs."""
        made = self._tokens.setdefault(room, [])
        now = time.time()
        for number in itertools.islice(self._users, count):
            user = f"u{number}"
            name = f"Viewer {number}"
            made.append(
                (user, mint(SECRET, user=user, room=room, role="viewer", ttl_s=3600, now=now,
                            name=name))
            )  # fmt: skip
        return {}

    async def do_join(
        self,
        port: int,
        room: str,
        count: int,
        parallel: int = 64,
        probe_every: int = 50,
        variants: list[int] | None = None,
        limit_s: float = 60.0,
    ) -> Answer:
        """Bring viewers in; variant bits as the engine's: 1 MessagePack, 2 deflate.

        Those whose turn has not come after `limit_s` stay away.
        """
        missing = count - len(self._tokens.get(room, ()))
        if missing > 0:
            await self.do_tokens(room, missing)
        chosen = variants or [2]
        began = time.monotonic()
        gate = _Door(parallel, began + limit_s)
        results = await asyncio.gather(
            *(
                self._join(gate, port, room, chosen[i % len(chosen)], i % probe_every == 0)
                for i in range(count)
            )
        )
        seconds = time.monotonic() - began
        failed = [why for why in results if why]
        joined = count - len(failed) - gate.away
        gc.collect()
        gc.freeze()
        return {"joined": joined, "seconds": seconds, "failed": failed[:3]}

    async def do_spread(
        self, port: int, rooms: list[str], each: int, probe_every: int, parallel: int = 64
    ) -> Answer:
        """Bring the same number of viewers into each of many rooms, all at once (JSON, deflated)."""
        for room in rooms:
            await self.do_tokens(room, each)
        gate = _Door(parallel, time.monotonic() + 60)
        results = await asyncio.gather(
            *(
                self._join(gate, port, room, 2, number % probe_every == 0)
                for room in rooms
                for number in range(each)
            )
        )
        gc.collect()
        gc.freeze()
        failed = [why for why in results if why]
        return {"joined": len(results) - len(failed) - gate.away, "failed": failed[:3]}

    async def do_connect(self, port: int, count: int) -> Answer:
        """Open plain TCP connections that frames are written to (the C loop's)."""
        loop = asyncio.get_running_loop()
        held = self.viewers.setdefault("", [])
        for _ in range(count):
            transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
            sink = Sink(self.counters, transport)
            transport.set_protocol(sink)
            held.append((sink, False))
        return {}

    async def do_talk(self, rates: dict[str, float], scattered: bool = False) -> Answer:
        """Begin to talk: room -> messages/s; scattered: at random moments, one at a time."""
        await self.do_hush()
        for room, rate in rates.items():
            work = self._scatter(room, rate) if scattered else self._talk(room, rate)
            self._tasks.append(asyncio.create_task(work))
        return {}

    async def do_hush(self) -> Answer:
        """Be silent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        return {}

    async def do_stats(self) -> Answer:
        """Return counters since the start, and latencies and the worst lag since the last call."""
        counters = self.counters
        latencies, counters.latencies = sorted(counters.latencies), []
        lag, self._worst_lag = self._worst_lag, 0.0
        return {
            "at": time.monotonic(),
            "cpu": time.process_time(),
            "sent": self.sent,
            "frames": counters.frames,
            "bytes": counters.bytes,
            "hits": counters.hits,
            "probes": self.probes,
            "closed": counters.closed,
            "last_close": counters.last_close[4:].decode(errors="replace"),
            "accepted": counters.accepted,
            "refused": counters.refused,
            "lag": lag,
            "latency": _quantiles(latencies),
        }

    async def do_frame(self) -> Answer:
        """Return the last frame that a probe saw."""
        return {"frame": base64.b64encode(self.counters.last_frame).decode()}

    async def do_buy(
        self, port: int, room: str, buyers: int, depth: int, attempts: int, sku: str, seconds: float
    ) -> Answer:
        """Let buyers reserve, each with `depth` commands on their way, until one limit is met."""
        counters = self.counters
        accepted, refused = counters.accepted, counters.refused
        orders = _Orders(sku, attempts)
        held = await self._buyers(port, room, buyers, orders)
        began = time.monotonic()
        orders.until = began + seconds
        for buyer in held:
            buyer.send(depth)
        answered = accepted + refused
        while counters.accepted + counters.refused - answered < orders.sent:
            if time.monotonic() > orders.until + _DRAIN_S:
                break
            await asyncio.sleep(0.002)
        return {
            "sent": orders.sent,
            "accepted": counters.accepted - accepted,
            "refused": counters.refused - refused,
            "seconds": time.monotonic() - began,
            "latency": _quantiles(sorted(orders.waited)),
        }

    async def do_leave(self) -> Answer:
        """Close every connection."""
        await self.do_hush()
        for sinks in self.viewers.values():
            for sink, _ in sinks:
                sink.leaving = True
                sink.transport.abort()
        self.viewers.clear()
        self.probes = 0
        await asyncio.sleep(0.1)
        return {}

    # Talking.

    async def _talk(self, room: str, rate: float) -> None:
        speakers = itertools.cycle(self._speakers(room, rate))
        began, sent = time.monotonic(), 0
        while True:
            await asyncio.sleep(_TICK_S)
            due = int((time.monotonic() - began) * rate)
            for _ in range(due - sent):
                self._say(next(speakers))
            sent = due

    async def _scatter(self, room: str, rate: float) -> None:
        speakers = itertools.cycle(self._speakers(room, rate))
        while True:
            await asyncio.sleep(random.uniform(0.5, 1.5) / rate)
            self._say(next(speakers))

    def _speakers(self, room: str, rate: float) -> list[tuple[Sink, bool]]:
        held = self.viewers[room]
        if rate > len(held) * _SPEAKS_PER_S:
            raise ValueError(f"{len(held)} viewers may not send {rate} messages/s")
        return held

    def _say(self, speaker: tuple[Sink, bool]) -> None:
        sink, binary = speaker
        if sink.transport.is_closing():  # counted in `closed`
            return
        command = {"op": "danmaku.send", "d": {"text": stamped(self.sent)}}
        self.sent += 1
        if binary:
            sink.transport.write(client_frame(msgpack.packb(command), BINARY))
        else:
            text = json.dumps(command, ensure_ascii=False, separators=(",", ":"))
            sink.transport.write(client_frame(text.encode()))

    # Joining.

    async def _join(self, gate: _Door, port: int, room: str, variant: int, probe: bool) -> str:
        async with gate.places:
            if gate.shut():
                return ""
            transport, rest = await self._greet(port, room, variant)
        if transport is None:
            return repr(rest)
        made = (Probe if probe else Sink)(self.counters, transport)
        self._take(made, room, variant, rest)
        self.probes += probe
        return ""

    def _take(self, sink: Sink, room: str, variant: int, rest: bytes) -> None:
        sink.transport.set_protocol(sink)
        sink.transport.resume_reading()
        self.viewers.setdefault(room, []).append((sink, bool(variant & 1)))
        if rest:
            sink.data_received(rest)

    async def _greet(
        self, port: int, room: str, variant: int
    ) -> tuple[asyncio.Transport | None, bytes]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[asyncio.Transport | None, bytes]] = loop.create_future()

        def finish(transport: asyncio.Transport | None, rest: bytes) -> None:
            if transport is not None:
                transport.pause_reading()  # until the next protocol is there
            if not done.done():
                done.set_result((transport, rest))

        request = handshake("/ws", MSGPACK if variant & 1 else JSON, bool(variant & 2))
        hello = self._hello(room, bool(variant & 1))
        try:
            await loop.create_connection(
                lambda: Greeting(request, hello, finish), "127.0.0.1", port
            )
            async with asyncio.timeout(15):
                transport, rest = await done
        except (OSError, TimeoutError) as exc:
            return None, repr(exc).encode()
        return transport, rest

    def _hello(self, room: str, binary: bool) -> bytes:
        _, token = self._tokens[room].pop()
        command = {"op": "hello", "id": 1, "d": {"room": room, "token": token, "client": "bench/1"}}
        if binary:
            return client_frame(msgpack.packb(command), BINARY)
        return client_frame(json.dumps(command).encode())

    async def _buyers(self, port: int, room: str, count: int, orders: _Orders) -> list[Buyer]:
        await self.do_tokens(room, max(0, count - len(self._tokens.get(room, ()))))
        greeted = await asyncio.gather(*(self._greet(port, room, 0) for _ in range(count)))
        made = []
        for transport, rest in greeted:
            if transport is None:
                raise ConnectionError(repr(rest))
            buyer = Buyer(self.counters, transport, orders.next, orders.waited)
            self._take(buyer, room, 0, rest)
            made.append(buyer)
        return made

    async def _watch_lag(self) -> None:
        while True:
            due = time.monotonic() + _LAG_S
            await asyncio.sleep(_LAG_S)
            self._worst_lag = max(self._worst_lag, time.monotonic() - due)


class _Door:
    """How many come in at once, and until when."""

    def __init__(self, places: int, until: float) -> None:
        self.places = asyncio.Semaphore(places)
        self.away = 0
        self._until = until

    def shut(self) -> bool:
        """Tell whether it is too late, and count who stays away."""
        late = time.monotonic() > self._until
        self.away += late
        return late


class _Orders:
    """The commands of a sale, each with its own key, until there were enough or time is up."""

    def __init__(self, sku: str, attempts: int) -> None:
        self._sku = sku
        self._attempts = attempts
        self.sent = 0
        self.until = 0.0
        self.waited: list[float] = []

    def next(self) -> bytes | None:
        """Return a frame, or None."""
        if self.sent >= self._attempts or time.monotonic() >= self.until:
            return None
        self.sent += 1
        text = '{"op":"flash.reserve","id":%d,"key":"%s-%d","d":{"sku":"%s","n":1}}'
        return client_frame((text % (self.sent, self._sku, self.sent, self._sku)).encode(), TEXT)


def _quantiles(ordered: list[float]) -> dict[str, Any]:
    if not ordered:
        return {"n": 0}
    last = len(ordered) - 1
    picked = {name: ordered[round(last * q)] for name, q in (("p50", 0.5), ("p99", 0.99))}
    return {"n": len(ordered), "max": ordered[-1], **picked}


async def _main() -> None:
    raise_file_limit()
    swarm = Swarm()
    await serve_parent({"ready": True}, swarm.handle)


if __name__ == "__main__":
    uvloop.run(_main())
