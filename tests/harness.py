"""A worker in this process and a client that speaks the wire, for tests.

The client is deliberately plain: it shows the bytes' meaning and hides nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import msgpack
import orjson

from liveroom.auth.tokens import mint
from liveroom.config import Settings, load
from liveroom.node import Node
from liveroom.plugin.spec import Plugin
from liveroom.store.port import Op
from liveroom.web.app import Web


__all__ = [
    "SECRET",
    "Client",
    "Pair",
    "StartWorker",
    "Worker",
    "bearer",
    "check",
    "commit",
    "pass_time",
    "run",
    "running_worker",
    "service",
    "until",
]

SECRET = "correct-horse-battery-staple-0123456789"
JSON, MSGPACK = "liveroom.v1.json", "liveroom.v1.msgpack"
PATIENCE_S = 8.0

# Tests talk faster than people; each limit has tests of its own, and so has each shipped plugin.
DEFAULTS: dict[str, Any] = {
    "plugins": (),
    "dev": True,
    "jwt_secret": SECRET,
    "port": 0,
    "messages_per_s": 10_000.0,
    "bytes_per_s": 100_000_000.0,
    "handshakes_per_s": 0.0,
    "max_per_ip": 0,
    "max_per_user": 0,
}


class Worker:
    """A node that serves on a port of its own."""

    def __init__(self, node: Node, web: Web, port: int) -> None:
        self.node = node
        self.web = web
        self.port = port
        self.http = f"http://127.0.0.1:{port}"
        self._clients: list[Client] = []

    def token(self, room: str, role: str = "viewer", user: str = "u1", **more: Any) -> str:
        """Mint a token that this worker accepts."""
        ttl = more.pop("ttl_s", 3600)
        return mint(SECRET, user=user, room=room, role=role, ttl_s=ttl, now=time.time(), **more)

    async def connect(self, path: str = "/ws", **options: Any) -> Client:
        """Open a WebSocket without saying hello."""
        client = await Client.open(f"ws://127.0.0.1:{self.port}{path}", **options)
        self._clients.append(client)
        return client

    async def join(
        self, room: str, user: str | None = None, role: str = "viewer", **options: Any
    ) -> Client:
        """Open a WebSocket and join; a guest when no user is named."""
        resume = options.pop("resume", None)
        client = await self.connect(**options)
        token = "" if user is None else self.token(room, role, user)
        client.hello = await client.ask("hello", room=room, token=token, resume=resume)
        return client

    async def control(self, room: str, user: str = "host", role: str = "host") -> Client:
        """Open a control socket as a host."""
        return await self.join(room, user, role, path="/control")

    async def open_room(self, room: str, **fields: Any) -> None:
        """Open a room as its host."""
        host = await self.open_control(room)
        await host.ask("room.open", **fields)
        await host.close()

    async def open_control(self, room: str, user: str = "host") -> Client:
        """Return a control socket into a room that may not exist yet."""
        return await self.join(room, user, "host", path="/control")

    async def aclose(self) -> None:
        """Stop the clients, then the worker."""
        for client in self._clients:
            await client.close()
        await self.web.stop_accepting()
        await self.node.stop()
        await self.web.close()


Pair = tuple[Worker, Worker]
StartWorker = Callable[..., Awaitable[Worker]]


@asynccontextmanager
async def running_worker(
    store_url: str, plugins: Iterable[Plugin] = (), **settings: Any
) -> AsyncIterator[Worker]:
    """Run a worker in this process."""
    made: Settings = load(environ={}, overrides=DEFAULTS | settings)
    node = Node(made, store_url, list(plugins))
    await node.start()
    web = Web(node)
    worker = Worker(node, web, await web.start())
    try:
        yield worker
    finally:
        await worker.aclose()


# What a test does at the store, past the wire, and as the back end.


async def commit(worker: Worker, room: str, *ops: Op) -> list[Any]:
    """Commit operations as features do; return their answers."""
    committed = await worker.node.hub.commit(room, ops)
    assert all(reply[:1] == b"+" for reply in committed.replies), committed.replies
    return [orjson.loads(reply[1:]) for reply in committed.replies]


async def run(worker: Worker, room: str, op: str, user: str = "", /, **d: Any) -> Any:
    """Have the script do something; return its answer."""
    (answer,) = await commit(worker, room, Op(op, user, d))
    return answer


async def check(worker: Worker, room: str) -> dict[str, int]:
    """Recompute every invariant of the room; return how often each was."""
    found = await run(worker, room, "sys.check")
    assert "broken" not in found, found
    counted: dict[str, int] = found["counted"]
    return counted


async def pass_time(workers: Worker | Sequence[Worker], room: str, ms: int) -> None:
    """Let time pass at the store, and run what is due."""
    several = (workers,) if isinstance(workers, Worker) else workers
    for worker in several:
        worker.node.store.skew_ms += ms
    while True:
        committed = await several[0].node.hub.commit(room, [])
        if not committed.due_ms or committed.due_ms > committed.now_ms:
            return


def bearer(worker: Worker) -> dict[str, str]:
    """Return the headers of the commerce back end."""
    return {"Authorization": f"Bearer {worker.token('*', 'service', 'shop')}"}


async def service(
    worker: Worker, room: str, op: str, *, key: str | None = None, **d: Any
) -> dict[str, Any]:
    """Send a command as the commerce back end; return the reply item."""
    command = {"op": op, "id": 1, "d": d} | ({} if key is None else {"key": key})
    url = f"{worker.http}/api/rooms/{room}/commands"
    async with (
        aiohttp.ClientSession(headers=bearer(worker)) as session,
        session.post(url, json=command) as response,
    ):
        reply: dict[str, Any] = (await response.json())["replies"][0]
        return reply


async def until(true: Callable[[], Awaitable[object]]) -> None:
    """Ask until the answer is yes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await true():
                return
            await asyncio.sleep(0.01)


class Client:
    """One WebSocket; everything that came is kept in `items`, in order."""

    def __init__(self, session: aiohttp.ClientSession, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self.ws = ws
        self.items: list[dict[str, Any]] = []
        self.messages: list[list[dict[str, Any]]] = []
        self.hello: dict[str, Any] = {}
        self.close_code: int | None = None
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, subprotocol: str = JSON, **options: Any) -> Self:
        """Connect."""
        session = aiohttp.ClientSession()
        try:
            ws = await session.ws_connect(url, protocols=[subprotocol], **options)
        except BaseException:
            await session.close()
            raise
        return cls(session, ws)

    async def send(self, *commands: dict[str, Any]) -> None:
        """Send one message with these commands."""
        body: Any = commands[0] if len(commands) == 1 else list(commands)
        if self.ws.protocol == MSGPACK:
            await self.ws.send_bytes(msgpack.packb(body))
        else:
            await self.ws.send_str(orjson.dumps(body).decode())

    async def command(self, op: str, *, key: str | None = None, **d: Any) -> dict[str, Any]:
        """Send a command and return its reply item (`d` or `err`)."""
        number = next(self._ids)
        sent: dict[str, Any] = {"op": op, "id": number, "d": d}
        if key is not None:
            sent["key"] = key
        await self.send(sent)
        return await self.item(lambda item: item.get("re") == number)

    async def ask(self, op: str, *, key: str | None = None, **d: Any) -> dict[str, Any]:
        """Send a command and return the reply's `d`; an error reply fails the test."""
        reply = await self.command(op, key=key, **d)
        assert "err" not in reply, reply
        answer: dict[str, Any] = reply["d"]
        return answer

    async def refused(self, op: str, *, key: str | None = None, **d: Any) -> str:
        """Send a command and return the code of its error reply."""
        reply = await self.command(op, key=key, **d)
        assert "err" in reply, reply
        code: str = reply["err"]["code"]
        return code

    async def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """Wait for an event whose `d` has these fields; return the whole item."""
        return await self.item(
            lambda item: item.get("ev") == name and fields.items() <= item["d"].items()
        )

    async def state(self, name: str, check: Callable[[Any], bool] = lambda _: True) -> Any:
        """Wait for a value of a `latest` key that satisfies the check; return its `d`."""
        item = await self.item(lambda item: item.get("st") == name and check(item["d"]))
        return item["d"]

    async def item(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an item, among those that came and those to come."""
        seen = 0
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for item in self.items[seen:]:
                    if wanted(item):
                        return item
                seen = len(self.items)
                self._changed.clear()
                if seen == len(self.items):
                    assert not self._task.done(), f"closed ({self.close_code}): {self.items[-5:]}"
                    await self._changed.wait()

    async def closed(self) -> int:
        """Wait for the end of the connection; return the close code."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([self._task])
        assert self.close_code is not None
        return self.close_code

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a name that came so far."""
        return [item for item in self.items if item.get("ev") == name]

    def durable(self) -> list[tuple[int, int]]:
        """Return (seq, sub) of every durable event that came, in order."""
        return [(item["seq"], item.get("sub", 0)) for item in self.items if "seq" in item]

    async def close(self) -> None:
        """Close the connection, if it is open."""
        await self.ws.close()
        await asyncio.wait([self._task])
        await self._session.close()

    async def _read(self) -> None:
        async for message in self.ws:
            decode = msgpack.unpackb if message.type == aiohttp.WSMsgType.BINARY else orjson.loads
            self.messages.append(decode(message.data))
            self.items += self.messages[-1]
            self._changed.set()
        self.close_code = self.ws.close_code
        self._changed.set()
