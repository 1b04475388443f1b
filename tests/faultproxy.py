"""A proxy between a worker and its store that breaks connections in the ways networks do.

It lives in the test's own loop. Every connection through it is a `Pair` with a flow in each
direction; a test holds, delays or cuts one flow, or resets or half-closes a whole pair.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.asyncio.connection import AbstractConnection

from liveroom.store.topology import Topology


__all__ = ["FaultProxy", "Flow", "Pair", "ProxiedTopology"]

HOST = "127.0.0.1"
_HEAD = 4096


class Flow:
    """One direction of a connection.

    Attributes:
        latency_s: seconds that each chunk waits.
        cut_after: bytes that still pass before the pair is cut; None: all.
        passed: bytes that passed so far.
    """

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.cut_after: int | None = None
        self.passed = 0
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        """Black hole: the connection stays, nothing passes."""
        self._open.clear()

    def release(self) -> None:
        """Let what was held pass, and what comes after it."""
        self._open.set()

    async def admit(self, data: bytes) -> tuple[bytes, bool]:
        """Return what of a chunk passes now, and whether the pair is cut behind it."""
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        await self._open.wait()
        left = self.cut_after
        if left is not None:
            data = data[:left]
            self.cut_after = left - len(data)
        self.passed += len(data)
        return data, self.cut_after == 0


class Pair:
    """One client's connection and the one to the server behind it.

    Attributes:
        head: the first bytes that the client sent; tell what the connection is for.
        up: from the client to the server.
        down: from the server to the client.
    """

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.head = b""
        self.up = Flow()
        self.down = Flow()
        self._client = client
        self._server = server

    @property
    def subscribes(self) -> bool:
        """Whether it is a channel link."""
        return b"SUBSCRIBE" in self.head

    @property
    def inner(self) -> bool:
        """Whether it is the servers' own: a sentinel's, or that of a replica."""
        return b"sentinel-" in self.head or b"REPLCONF" in self.head

    def hold(self) -> None:
        """Black hole in both directions."""
        self.up.hold()
        self.down.hold()

    def release(self) -> None:
        """End the black hole."""
        self.up.release()
        self.down.release()

    def cut(self) -> None:
        """Drop the client; the server still reads what was sent, so it is executed."""
        _reset(self._client)
        with contextlib.suppress(OSError):
            self._server.write_eof()

    def reset(self) -> None:
        """RST to both ends; what is on its way is lost."""
        _reset(self._client)
        _reset(self._server)

    def half_close(self) -> None:
        """Tell the client that nothing more comes; take what it still sends."""
        with contextlib.suppress(OSError):
            self._client.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    link = transport.get_extra_info("socket")
    if link is not None and link.family != socket.AF_UNIX and not transport.is_closing():
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class FaultProxy:
    """Listens like the server behind it: on TCP for `host:port`, else on a unix socket.

    Args:
        target: `host:port`, or the path of a unix socket.
        folder: where its own unix socket goes.
        port: where it listens on TCP; 0: anywhere.

    Attributes:
        pairs: the connections that are open.
        refusing: whether new connections are dropped at once.
        on_up: sees every chunk from a client before it passes.
        on_pair: sees every new connection before anything passes.
    """

    def __init__(self, target: str, folder: Path, port: int = 0) -> None:
        self._target = target
        self._folder = folder
        self._port = port
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.address = ""
        self.pairs: list[Pair] = []
        self.refusing = False
        self.on_up: Callable[[Pair, bytes], None] = lambda _, __: None
        self.on_pair: Callable[[Pair], None] = lambda _: None

    @property
    def unix(self) -> bool:
        """Whether it speaks over a unix socket."""
        return self._target.startswith("/")

    @property
    def url(self) -> str:
        """Its address for a client."""
        return f"{'unix' if self.unix else 'redis'}://{self.address}"

    async def __aenter__(self) -> Self:
        if self.unix:
            self.address = str(self._folder / f"proxy-{id(self):x}.sock")
            self._server = await asyncio.start_unix_server(self._accept, self.address)
        else:
            self._server = await asyncio.start_server(self._accept, HOST, self._port)
            self.address = f"{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Reset every connection."""
        for pair in list(self.pairs):
            pair.reset()

    def channel_links(self) -> list[Pair]:
        """Return the connections that subscribe."""
        return [pair for pair in self.pairs if pair.subscribes]

    def command_links(self) -> list[Pair]:
        """Return the others."""
        return [pair for pair in self.pairs if not pair.subscribes]

    def lose_reply_to(self, pattern: bytes) -> asyncio.Event:
        """Let the next chunk with these bytes reach the server, and no answer come back.

        Returns:
            An event that is set when that has happened.
        """
        done = asyncio.Event()

        def look(pair: Pair, data: bytes) -> None:
            if pattern in data and not done.is_set():
                done.set()
                pair.down.cut_after = 0

        self.on_up = look
        return done

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.unix:
            return await asyncio.open_unix_connection(self._target)
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            if self.refusing:
                raise ConnectionRefusedError
            answers, server = await self._connect()
        except OSError:
            _reset(client)
            return
        pair = Pair(client, server)
        self.pairs.append(pair)
        self.on_pair(pair)
        try:
            await asyncio.gather(
                self._pump(pair, reader, server, pair.up),
                self._pump(pair, answers, client, pair.down),
            )
        finally:
            self.pairs.remove(pair)
            pair.reset()

    async def _pump(
        self, pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: Flow
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for what is closed
            while data := await reader.read(1 << 16):
                if flow is pair.up:
                    pair.head = (pair.head + data)[:_HEAD]
                    self.on_up(pair, data)
                passing, cut = await flow.admit(data)
                if passing:
                    writer.write(passing)
                    await writer.drain()
                if cut:
                    pair.cut()
                    return
            writer.write_eof()


class ProxiedTopology:
    """A topology whose every node is reached through a proxy of its own."""

    def __init__(self, inner: Topology, folder: Path) -> None:
        self._inner = inner
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self.proxies: dict[str, FaultProxy] = {}

    async def refresh(self) -> None:
        """Learn the nodes and put a proxy before each new one."""
        await self._inner.refresh()
        for address in self._inner.addresses():
            if address not in self.proxies:
                proxy = FaultProxy(address, self._folder)
                self.proxies[address] = await self._stack.enter_async_context(proxy)

    def address(self, key: str) -> str:
        """Return the node that serves a key."""
        return self._inner.address(key)

    def addresses(self) -> list[str]:
        """Return all nodes."""
        return self._inner.addresses()

    def connection(self, address: str) -> AbstractConnection:
        """Return a new connection to the node's proxy."""
        made: Any = self._inner.connection(address)
        proxy = self.proxies[address]
        if proxy.unix:
            made.path = proxy.address
        else:
            made.port = int(proxy.address.rpartition(":")[2])
        link: AbstractConnection = made
        return link

    async def close(self) -> None:
        """Let go of what the topology holds; the proxies go on."""
        await self._inner.close()

    async def aclose(self) -> None:
        """Stop the proxies."""
        await self._stack.aclose()
