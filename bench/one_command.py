"""Feeds real connections of a real node through a transport that swallows what is written.

Only `data_received` is on the clock: frame, decode, limits, inspection, the handler, the item's
encoding. The commit and the delivery that follow have rows of their own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import msgpack
import orjson
import uvloop

from bench.child import Answer, serve_parent
from bench.engine import SETTINGS, log_to_stderr
from bench.load import SECRET
from bench.machine import pin
from bench.wire import BINARY, TEXT, client_frame
from liveroom.auth.tokens import mint
from liveroom.config import load
from liveroom.connection import Connection
from liveroom.node import Node, tune_collector
from liveroom.plugin.spec import Surface
from liveroom.protocol.handshake import JSON, MSGPACK, Accepted
from liveroom.store.port import Op
from liveroom_plugins.moderation.corpus.measure import benign_lines


__all__: list[str] = []

_ROOM = "bench"
_CHUNK = 100
_ALLOWED = 3  # messages that a viewer may send at once
_LINES = [line for who, line in benign_lines() if who == "viewer"]
"""What people say: moderation looks at each as at a real one."""

_PAUSE_S = 2.2  # after which a viewer may send as many again


class _Nowhere(asyncio.Transport):
    """A transport without a socket."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Swallow."""

    def get_write_buffer_size(self) -> int:
        """Everything is always sent."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def is_closing(self) -> bool:
        """It never ends."""
        return False

    def close(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


class _Bench:
    def __init__(self, node: Node, speakers: int) -> None:
        self._node = node
        self._speakers = speakers
        self._users = 0

    async def handle(self, request: Answer) -> Answer:
        """Measure everything once."""
        await self._measure(await self._join(JSON), lambda n: _frame(n, n))  # warm
        as_json = await self._join(JSON)
        packed = await self._join(MSGPACK)
        one = await self._measure(as_json, lambda n: _frame(n, None))
        await asyncio.sleep(_PAUSE_S)
        other = await self._measure(packed, _packed_frame)
        replied = await self._measure(as_json, lambda n: _frame(n, n))
        # Their three are spent: the next are refused.
        refused = await self._measure(as_json, lambda n: _frame(n, n))
        return {
            "messages": len(as_json) * _ALLOWED,
            "json_us": _mean(one),
            "json_low_us": sorted(one)[len(one) // 4],
            "msgpack_us": _mean(other),
            "reply_us": _mean(replied),
            "refused_us": _mean(refused),
            "codec_us": self._codec_us(),
        }

    async def _join(self, subprotocol: str) -> list[Connection]:
        made = [self._connect(subprotocol) for _ in range(self._speakers)]
        room = self._node.hub.room_for(_ROOM)
        for _ in range(2000):
            if len(room.viewers) == self._users:
                break
            await asyncio.sleep(0.01)
        return made

    def _connect(self, subprotocol: str) -> Connection:
        self._users += 1
        user = f"u{self._users}"
        token = mint(SECRET, user=user, room=_ROOM, role="viewer", ttl_s=3600, now=time.time())
        connection = Connection(
            self._node.front, Surface.VIEWER, Accepted(b"", subprotocol, False), "bench"
        )
        connection.attach(_Nowhere(), b"")
        hello = {"op": "hello", "id": 1, "d": {"room": _ROOM, "token": token}}
        if subprotocol == MSGPACK:
            connection.data_received(client_frame(msgpack.packb(hello), BINARY))
        else:
            connection.data_received(client_frame(orjson.dumps(hello)))
        return connection

    async def _measure(
        self, speakers: list[Connection], frame: Callable[[int], bytes]
    ) -> list[float]:
        """Return CPU microseconds per message, chunk by chunk."""
        costs = []
        turns = speakers * _ALLOWED
        for start in range(0, len(turns), _CHUNK):
            work = [(c, frame(start + i)) for i, c in enumerate(turns[start : start + _CHUNK])]
            began = time.process_time_ns()
            for connection, data in work:
                connection.data_received(data)
            costs.append((time.process_time_ns() - began) / len(work) / 1000)
            await asyncio.sleep(0.005)  # the beat goes on, off the clock
        return costs

    def _codec_us(self) -> float:
        """Return what the two libraries take, without an engine around them."""
        decoder = self._node.front.decoder
        data = _body(1, None)
        item: Any = orjson.loads(data)
        count = 20_000
        began = time.process_time_ns()
        for _ in range(count):
            decoder.decode(data, binary=False)
            orjson.dumps(item)
        return (time.process_time_ns() - began) / count / 1000


def _mean(costs: list[float]) -> float:
    return sum(costs) / len(costs)


def _command(number: int, reply: int | None) -> dict[str, Any]:
    command: dict[str, Any] = {"op": "danmaku.send", "d": {"text": _LINES[number % len(_LINES)]}}
    return command if reply is None else command | {"id": reply}


def _body(number: int, reply: int | None) -> bytes:
    return orjson.dumps(_command(number, reply))


def _frame(number: int, reply: int | None) -> bytes:
    return client_frame(_body(number, reply), TEXT)


def _packed_frame(number: int) -> bytes:
    return client_frame(msgpack.packb(_command(number, None)), BINARY)


async def _main(spec: Answer) -> None:
    settings = load(environ={}, overrides=SETTINGS)
    node = Node(settings, spec["url"])
    await node.start()
    await node.hub.submit(_ROOM, Op("room.open", "host", {}))
    tune_collector()
    await serve_parent({}, _Bench(node, spec["speakers"]).handle)
    await node.hub.stop()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    pin(given["core"])
    log_to_stderr()
    uvloop.run(_main(given))
