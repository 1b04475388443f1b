"""Listening to one node's sharded channels, with loss made visible (layer 4).

Redis pub/sub is at most once and says nothing when it drops a message. Three things reveal it: the
positions inside the publications, the confirmation that comes again after every reconnect, and a
canary that this worker sends itself: a link on which it stops coming back is dead, whatever TCP
says.

Subscriptions are sent one by one: a batched SSUBSCRIBE over several slots is refused by a cluster.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import MovedError, RedisError, ResponseError

from liveroom.errors import StoreError
from liveroom.store.link import Link, next_reply


__all__ = ["CANARY_SILENCE_S", "ChannelLink"]

CANARY_EVERY_S = 1.0
CANARY_SILENCE_S = 4.0

# RuntimeError: what uvloop says of a socket that it has closed.
_LOST = (RedisError, OSError, TimeoutError, RuntimeError)

log = structlog.get_logger("liveroom.store")


class ChannelLink:
    """The subscriptions that one node serves.

    Args:
        make: returns a fresh, unconnected connection to the node.
        commands: the node's command link; the canary is published over it.
        canary: name of this worker's canary channel.
        on_message: takes (channel, payload).
        on_subscribed: takes a channel whose subscription (again) holds.
        on_moved: takes a channel that this node does not serve any more.
    """

    def __init__(
        self,
        make: Callable[[], AbstractConnection],
        commands: Link,
        canary: str,
        *,
        on_message: Callable[[bytes, bytes], None],
        on_subscribed: Callable[[bytes], None],
        on_moved: Callable[[str], None],
    ) -> None:
        self._make = make
        self._commands = commands
        self._canary = canary
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        self._on_moved = on_moved
        self.channels: set[str] = set()
        self.last_heard = time.monotonic()
        self.reconnects = 0
        self._connection: AbstractConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin listening; reconnects by itself until `close`."""
        self._tasks = [
            asyncio.create_task(self._listen(), name="channel-listen"),
            asyncio.create_task(self._sing(), name="channel-canary"),
        ]

    async def close(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def subscribe(self, channel: str) -> None:
        """Add a channel; it is (re)subscribed on every connection from now on."""
        self.channels.add(channel)
        await self._send("SSUBSCRIBE", channel)

    async def unsubscribe(self, channel: str) -> None:
        """Drop a channel."""
        self.channels.discard(channel)
        await self._send("SUNSUBSCRIBE", channel)

    async def _send(self, *command: str) -> None:
        connection = self._connection
        if connection is None or not connection.is_connected:
            return  # the next connection subscribes everything
        try:
            await connection.send_command(*command, check_health=False)
        except _LOST:
            await connection.disconnect(nowait=True)

    async def _listen(self) -> None:
        delay = 0.05
        while True:
            try:
                await self._one_connection()
                delay = 0.05
            except _LOST as exc:
                log.warning("channel link lost", error=str(exc), channels=len(self.channels))
            self.reconnects += 1
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            delay = min(1.0, delay * 2)

    async def _one_connection(self) -> None:
        connection = self._make()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # untyped in redis-py
            await connection.send_command("SUBSCRIBE", self._canary, check_health=False)
            self._connection = connection  # before the rest: a channel may be added meanwhile
            self.last_heard = time.monotonic()
            for channel in list(self.channels):
                await connection.send_command("SSUBSCRIBE", channel, check_health=False)
            while True:
                self._handle(await next_reply(connection))
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)

    def _handle(self, reply: Any) -> None:
        self.last_heard = time.monotonic()
        if isinstance(reply, MovedError):
            self._moved(str(reply))
            return
        if isinstance(reply, ResponseError):  # which subscription it was is not said: all anew
            raise reply
        kind, channel = reply[0], reply[1]
        if kind == b"smessage":
            self._on_message(channel, reply[2])
        elif kind == b"ssubscribe":
            self._on_subscribed(channel)
        elif kind == b"sunsubscribe" and channel.decode() in self.channels:
            self._moved(channel.decode())  # the slot went to another node

    def _moved(self, reason: str) -> None:
        """The node does not serve a channel of ours: have the owner of the map place them anew."""
        log.info("channel moved", reason=reason)
        self._on_moved(reason)

    async def _sing(self) -> None:
        while True:
            await asyncio.sleep(CANARY_EVERY_S)
            try:
                await self._commands.exchange(("PUBLISH", self._canary, b"1"))
            except StoreError:
                continue  # the silence tells
            if time.monotonic() - self.last_heard > CANARY_SILENCE_S and self._connection:
                log.warning("channel link silent", seconds=CANARY_SILENCE_S)
                await self._connection.disconnect(nowait=True)
