"""The store on Redis: single server, Sentinel group or cluster (layer 4)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from redis.exceptions import NoScriptError, ResponseError

from liveroom.core.position import Position
from liveroom.errors import ConfigError, OutcomeUnknown, StoreError, StoreUnavailable
from liveroom.store.channels import ChannelLink
from liveroom.store.clockwatch import ClockWatch
from liveroom.store.durability import WaitPlan
from liveroom.store.link import Command, Link
from liveroom.store.packing import entry_of, pack_kept, publication_of, request_of
from liveroom.store.port import Batch, Committed, Listener, LogEntry, Op
from liveroom.store.script import Script
from liveroom.store.topology import Topology


__all__ = ["RedisStore", "base_key"]

log = structlog.get_logger("liveroom.store")

# Error replies that say: not executed here, not now. ASK is one of them: half of the scope's keys are
# still on the node that says so, and on the other one the script would find none of them.
_NOT_NOW = (
    "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "BUSY", "READONLY", "NOREPLICAS", "OOM",
    "MISCONF",
)  # fmt: skip
_ELSEWHERE = ("MOVED", "ASK", "TRYAGAIN")
"""Those that say so of the slot alone."""
_MIGRATING = "Script attempted to access a non local key"
"""What the script's first call is answered on a node that gives the slot away: nothing was done."""

_PREFIX = b"lr:{"


def base_key(scope: str) -> str:
    """Return the base key of a scope, which is also its channel."""
    return f"lr:{{{scope}}}"


def _scope_of(channel: bytes) -> str:
    return channel[len(_PREFIX) : -1].decode()


class RedisStore:
    """Implements the `Store` port.

    Args:
        topology: where keys live.
        script: the assembled commit script.
        worker: this worker's id; it is in every publication.
        log_max_entries: the room log's length, approximately.
        key_ttl_ms: how long idempotency records live.
        timeout_s: deadline of one call, retries included.
        waits: what follows a durable batch on its connection; None: nothing.
        hooks: whether handlers put webhooks into the outbox.
    """

    def __init__(
        self,
        topology: Topology,
        script: Script,
        *,
        worker: str,
        log_max_entries: int = 10_000,
        key_ttl_ms: int = 90_000_000,
        timeout_s: float = 2.0,
        waits: WaitPlan | None = None,
        hooks: bool = False,
    ) -> None:
        self._topology = topology
        self._script = script
        self._worker = worker
        self._options = {"w": worker, "log": log_max_entries, "ttl": key_ttl_ms, "skew": 0}
        if hooks:
            self._options["hooks"] = True
        self._timeout_s = timeout_s
        self.waits = waits
        self._links: dict[str, Link] = {}
        self._channels: dict[str, ChannelLink] = {}
        self.reloads = self.redirects = 0
        self._clock = ClockWatch()
        self._bygone = 0  # reconnects of links to nodes that are none of ours any more
        self._scopes: set[str] = set()
        self._listener: Listener | None = None
        self._placing: asyncio.Task[None] | None = None
        self._learning: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def skew_ms(self) -> int:
        """Milliseconds added to the server's clock by this worker's commits (tests only)."""
        return self._options["skew"]  # type: ignore[return-value]  # the dict is mixed

    @skew_ms.setter
    def skew_ms(self, value: int) -> None:
        self._options["skew"] = value

    @property
    def reconnects(self) -> int:
        """How often a channel link had to be made anew."""
        return self._bygone + sum(link.reconnects for link in self._channels.values())

    @property
    def clock_jumps(self) -> int:
        """How often the server's clock did not go on as this machine's does."""
        return self._clock.jumps

    async def start(self, listener: Listener) -> None:
        """Connect to every node and load the script. Raises StoreError."""
        self._listener = listener
        await self._topology.refresh()
        for address in self._topology.addresses():
            await self._load_script(address)
            self._channel_link(address)

    async def commit(self, scope: str, batch: Batch) -> Committed:
        """Execute one batch (see `Store.commit`)."""
        sha, key, request = self.command_for(scope, batch.ops)
        kept = pack_kept(batch)
        command: Command = ("EVALSHA", sha, 1, key, request, batch.ephemeral, kept)
        began = time.monotonic()
        reply = await self._execute(key, command, batch.durable)
        self._clock.look(reply[0], began, time.monotonic())
        position = Position(reply[1].decode(), reply[2], reply[3])
        return Committed(reply[0], position, reply[4], reply[6:], reply[5])

    def command_for(self, scope: str, ops: Sequence[Op]) -> tuple[str, str, bytes]:
        """Return the script's SHA-1, its key and its first argument for these operations."""
        request = orjson.dumps({"o": [request_of(op) for op in ops], **self._options})
        return self._script.sha, base_key(scope), request

    async def read_log(self, scope: str, after: Position, limit: int) -> list[LogEntry]:
        """Return durable events after a position (see `Store.read_log`)."""
        key = base_key(scope)
        start = f"({after.seq}-{after.sub}"
        reply = await self._execute(key, ("XRANGE", key + ":log", start, "+", "COUNT", limit))
        return [entry_of(item_id, flat) for item_id, flat in reply]

    async def subscribe(self, scope: str) -> None:
        """Ask for a scope's publications."""
        self._scopes.add(scope)
        await self._place(scope)

    async def unsubscribe(self, scope: str) -> None:
        """Stop a scope's publications."""
        self._scopes.discard(scope)
        channel = base_key(scope)
        for link in self._channels.values():
            if channel in link.channels:
                await link.unsubscribe(channel)

    def silent_for(self) -> float:
        """Return the longest silence of a channel link, in seconds."""
        now = time.monotonic()
        return max((now - link.last_heard for link in self._channels.values()), default=0.0)

    def addresses(self) -> list[str]:
        """Return the nodes that take writes."""
        return self._topology.addresses()

    async def ask(self, address: str, *command: str) -> Any:
        """Send one read-only command to one node (probes). Raises StoreError on an error reply."""
        (reply,) = await self._link(address).exchange(command)
        if isinstance(reply, ResponseError):
            raise StoreError(str(reply))
        return reply

    async def close(self) -> None:
        """Stop listening and disconnect; who still waits for an answer gets none."""
        self._closed = True
        tasks = [task for task in (self._placing, self._learning) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channels in self._channels.values():
            await channels.close()
        for link in self._links.values():
            await link.close()
        await self._topology.close()

    # How one command gets through.

    async def _execute(self, key: str, command: Command, durable: bool = False) -> Any:
        """Send until it was executed, refused for good, or the deadline has passed."""
        deadline = time.monotonic() + self._timeout_s
        delay = 0.01
        while True:
            try:
                address = self._topology.address(key)
                reply = await self._send(address, command, durable)
                if not isinstance(reply, ResponseError):
                    return reply
                if isinstance(reply, NoScriptError):  # the whole script cannot be unknown
                    self.reloads += 1
                    command = ("EVAL", self._script.source, *command[2:])
                    continue
                await self._after_refusal(address, reply)
                last = str(reply)
            except StoreUnavailable as exc:
                last = str(exc)
                with contextlib.suppress(StoreUnavailable, TimeoutError):
                    async with asyncio.timeout(deadline - time.monotonic()):
                        await self._learn_nodes()
            if time.monotonic() + delay > deadline:
                raise StoreUnavailable(last)
            await asyncio.sleep(delay)
            delay = min(0.25, delay * 2)

    async def _send(self, address: str, command: Command, durable: bool) -> Any:
        plan = self.waits if durable else None
        commands = [command] if plan is None else [command, *plan.commands]
        reply, *waited = await self._link(address).exchange(*commands)
        if plan is not None and not isinstance(reply, ResponseError):
            self._check_waits(plan, waited)
        return reply

    @staticmethod
    def _check_waits(plan: WaitPlan, replies: list[Any]) -> None:
        failed = [str(reply) for reply in replies if isinstance(reply, ResponseError)]
        if failed or not plan.reached(replies):
            raise OutcomeUnknown(f"level {plan.level.value} not reached in time: {replies}")

    async def _after_refusal(self, address: str, error: ResponseError) -> None:
        """Do what an error reply asks for before the next try; raise if there is to be none."""
        text = _error_text(error)
        word = text.partition(" ")[0]
        migrating = text.startswith(_MIGRATING)
        self.redirects += word in _ELSEWHERE or migrating
        if word == "MOVED":
            await self._learn_nodes()
            self._place_all()
        elif word == "READONLY":  # a demoted master
            if link := self._links.pop(address, None):  # several scopes are told at once
                await link.close()
            await self._learn_nodes()
        elif word not in _NOT_NOW and not migrating:
            raise OutcomeUnknown(text)  # the script broke off: what it wrote before, it wrote

    async def _learn_nodes(self) -> None:
        """Learn the nodes anew, all who want to know at once. Raises StoreUnavailable."""
        if self._closed:
            raise StoreUnavailable("closed")
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._learn(), name="store-learn")
            self._learning.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            await asyncio.shield(self._learning)
        except asyncio.CancelledError as exc:
            if self._learning.cancelled():  # by `close`, and not we who ask
                raise StoreUnavailable("closed") from exc
            raise

    async def _learn(self) -> None:
        await self._topology.refresh()
        if set(self._topology.addresses()) != set(self._channels):
            self._place_all()  # channels are listened to at those nodes now

    async def _load_script(self, address: str) -> None:
        (reply,) = await self._link(address).exchange(("SCRIPT", "LOAD", self._script.source))
        if isinstance(reply, ResponseError):
            if _error_text(reply).partition(" ")[0] in _NOT_NOW:
                raise StoreUnavailable(str(reply))
            raise ConfigError("redis", "a server that takes the commit script", str(reply))

    # Which node is listened to for what.

    def _link(self, address: str) -> Link:
        if self._closed:
            raise StoreUnavailable("closed")
        link = self._links.get(address)
        if link is None:
            link = Link(lambda: self._topology.connection(address), self._timeout_s)
            self._links[address] = link
        return link

    def _channel_link(self, address: str) -> ChannelLink:
        channels = self._channels.get(address)
        if channels is None:
            channels = ChannelLink(
                lambda: self._topology.connection(address),
                self._link(address),
                f"lr!canary:{self._worker}",
                on_message=self._on_message,
                on_subscribed=self._on_subscribed,
                on_moved=lambda _: self._place_all(),
            )
            self._channels[address] = channels
            channels.start()
        return channels

    async def _place(self, scope: str) -> None:
        channel = base_key(scope)
        owner = self._channel_link(self._topology.address(channel))
        for link in self._channels.values():
            if link is not owner and channel in link.channels:
                await link.unsubscribe(channel)
        if channel not in owner.channels:
            await owner.subscribe(channel)

    def _place_all(self) -> None:
        """Have every scope subscribed where it lives now; one such pass at a time."""
        if self._placing is None or self._placing.done():
            self._placing = asyncio.create_task(self._place_all_soon(), name="store-place")

    async def _place_all_soon(self) -> None:
        while True:
            try:
                await self._topology.refresh()
                for address in set(self._channels) - set(self._topology.addresses()):
                    gone = self._channels.pop(address)
                    self._bygone += gone.reconnects + 1
                    await gone.close()
                for scope in list(self._scopes):
                    await self._place(scope)
            except StoreError as exc:
                log.warning("channels not placed yet", error=str(exc))
                await asyncio.sleep(0.2)
            else:
                return

    def _on_message(self, channel: bytes, payload: bytes) -> None:
        if self._listener is not None:
            self._listener.on_publication(publication_of(_scope_of(channel), payload))

    def _on_subscribed(self, channel: bytes) -> None:
        if self._listener is not None:
            self._listener.on_subscribed(_scope_of(channel))


def _error_text(error: ResponseError) -> str:
    """Return the server's own words: redis-py strips the first of those that it has a class for."""
    kind = type(error).__name__
    text = str(error)
    words = {
        "MovedError": "MOVED",
        "AskError": "ASK",
        "TryAgainError": "TRYAGAIN",
        "ClusterDownError": "CLUSTERDOWN",
        "BusyLoadingError": "LOADING",
        "MasterDownError": "MASTERDOWN",
        "ReadOnlyError": "READONLY",
        "OutOfMemoryError": "OOM",
    }
    word = words.get(kind)
    return text if word is None or text.startswith(word) else f"{word} {text}"
