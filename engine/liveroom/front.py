"""What all connections of a worker share, and what happens to all of them (layer 7)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from liveroom.auth.claims import Claims
from liveroom.auth.clients import AddressLimits
from liveroom.config import Settings
from liveroom.connection import Connection
from liveroom.conversation import Conversation
from liveroom.core.ratelimit import ConnectionQuota
from liveroom.deadlines import Deadlines, Heartbeat, Peer
from liveroom.errors import ConfigError
from liveroom.gate import Gate
from liveroom.hub.hub import Hub
from liveroom.hub.viewer import ViewerLimits
from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Result
from liveroom.protocol.codec import CommandDecoder, Incoming
from liveroom.protocol.items import event_item
from liveroom.protocol.messages import (
    Body,
    Empty,
    Hello,
    JoinBody,
    LeaveBody,
    ResumeBody,
    TokenBody,
)


__all__ = ["SYSTEM_BODIES", "Front"]

SYSTEM_BODIES: dict[str, type[Body]] = {
    "hello": Hello,
    "sys.join": JoinBody,
    "sys.leave": LeaveBody,
    "sys.ping": Empty,
    "sys.resume": ResumeBody,
    "sys.token": TokenBody,
}

_BURST_S = 2.0
_CLOSE_GRACE_S = 5.0
_TOKEN_WARNING_S = 60
_TOKEN_SPREAD_S = 30
_EXPIRY_GRACE_S = 5

_B = TypeVar("_B", bound=Body)
System = Callable[[Conversation, Incoming], Awaitable[Any] | Result]


class Front:
    """The connections of a worker.

    Args:
        hub: the rooms.
        gate: who may come in.
        now_s: Unix seconds, for tokens.
    """

    def __init__(
        self, settings: Settings, hub: Hub, gate: Gate, now_s: Callable[[], float]
    ) -> None:
        self.settings = settings
        self.hub = hub
        self.gate = gate
        self._now_s = now_s
        self.now = hub.clock.monotonic
        commands = hub.manager.commands
        if taken := SYSTEM_BODIES.keys() & commands.keys():
            raise ConfigError("plugins", "commands other than the engine's own", sorted(taken))
        bodies = SYSTEM_BODIES | {op: b.spec.body for op, b in commands.items()}
        self.decoder = CommandDecoder(bodies, settings.max_commands)
        self.quota = ConnectionQuota(
            settings.messages_per_s,
            settings.messages_per_s * _BURST_S,
            settings.bytes_per_s,
            max(settings.bytes_per_s * _BURST_S, settings.max_message_bytes),
        )
        self.viewer_limits = ViewerLimits(
            slow_bytes=settings.slow_bytes,
            close_bytes=settings.slow_close_bytes,
            close_s=settings.slow_close_s,
        )
        self.addresses = AddressLimits(
            max_connections_per_ip=settings.max_per_ip or 1 << 30,
            handshakes_per_s=settings.handshakes_per_s or 1e9,
            burst=max(1, round((settings.handshakes_per_s or 1e9) * _BURST_S)),
        )
        self.connections: set[Connection] = set()
        self.hub.metrics.queue_bytes.set_function(self._unsent)  # asked when somebody looks
        self._heartbeat = Heartbeat(settings.heartbeat_s, settings.dead_after_s, self._on_dead)
        self._deadlines = Deadlines()
        self._wall_deadlines = Deadlines()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.system = self._system_commands()

    def start(self) -> None:
        """Begin the sweep; the hub stops it."""
        self.hub.every(1.0, self.tick)

    def tick(self) -> None:
        """Look after silence, hellos that never come, tokens that end, closes never answered."""
        now = self.now()
        self._heartbeat.tick(now)
        self._deadlines.tick(now)
        self._wall_deadlines.tick(self._now_s())
        self.hub.metrics.connections.set(len(self.connections))

    def _unsent(self) -> int:
        """Return how many bytes wait to be sent to all connections."""
        return sum(connection.unsent() for connection in self.connections)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that outlives the connection that asked for it."""
        task = asyncio.create_task(work, name="command")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until every command that was taken is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.hub.settle()

    async def answered(self) -> None:
        """Wait until the commands taken up to now are answered, whatever else keeps coming."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self.hub.answered()

    async def committed(self, call: Call[Any], commit: Commit) -> bytes:
        """Commit what a handler returned that had to wait for something."""
        operation = call.operation(commit.op, commit.body)
        return await call.room.submit(operation, durable=commit.durable)

    def _system_commands(self) -> dict[str, System]:
        """Return the commands of the connection itself, with what answers them."""
        return {
            "sys.ping": lambda _, __: {"now": self.hub.grid.server_ms(self.now())},
            "sys.join": lambda conversation, incoming: conversation.join(
                incoming.id, _body(incoming, JoinBody)
            ),
            "sys.leave": lambda conversation, incoming: conversation.leave(
                _body(incoming, LeaveBody).room
            ),
            "sys.resume": lambda conversation, incoming: conversation.resync(
                incoming.id, _body(incoming, ResumeBody).resume, incoming.room
            ),
            "sys.token": lambda conversation, incoming: conversation.refresh(
                _body(incoming, TokenBody).token, incoming.room
            ),
        }

    # The life of a connection.

    def opened(self, connection: Connection) -> None:
        """Take a connection after its handshake."""
        self.connections.add(connection)
        self._heartbeat.add(connection)
        due = self.now() + self.settings.hello_timeout_ms / 1000
        self._deadlines.set(connection, due, lambda: connection.close("hello_timeout"))

    def joined(self, connection: Connection, claims: Claims) -> None:
        """Take that a connection is in its room, or has a new token."""
        if connection.closing:
            return
        self._deadlines.cancel(connection)
        if any(map(self.gate.revocations.revoked, connection.all_claims())):
            connection.close("bad_token", "the token was revoked")
            return
        self._warn_later(connection, claims)

    def ending(self, connection: Connection, code: str) -> None:
        """Take that the close handshake began; whoever does not answer it is dropped.

        Args:
            connection: which one.
            code: with which code we end it; `peer`: the other side does.
        """
        self.hub.metrics.closes.labels(code).inc()
        self._wall_deadlines.cancel(connection)
        self._deadlines.set(connection, self.now() + _CLOSE_GRACE_S, connection.abort)

    def closed(self, connection: Connection, bucket: str) -> None:
        """Let a connection go."""
        if connection in self.connections:
            self.connections.discard(connection)
            self._heartbeat.discard(connection)
            self._deadlines.cancel(connection)
            self._wall_deadlines.cancel(connection)
            self.addresses.release(bucket)

    def recheck(self) -> None:
        """Close every connection whose token was revoked."""
        for connection in list(self.connections):
            if any(map(self.gate.revocations.revoked, connection.all_claims())):
                connection.close("bad_token", "the token was revoked")

    def _warn_later(self, connection: Connection, claims: Claims) -> None:
        def warn() -> None:
            connection.tell(event_item("sys.token", {"expires_ms": claims.exp * 1000}))
            end = claims.exp + _EXPIRY_GRACE_S
            self._wall_deadlines.set(connection, end, lambda: connection.close("token_expired"))

        # Tokens that were issued together are not renewed in one moment.
        early = random.uniform(0, _TOKEN_SPREAD_S)  # noqa: S311 -- spreads load, keeps no secret
        self._wall_deadlines.set(connection, claims.exp - _TOKEN_WARNING_S - early, warn)

    def _on_dead(self, peer: Peer) -> None:
        self.hub.metrics.closes.labels("4009").inc()


def _body(incoming: Incoming, kind: type[_B]) -> _B:
    assert incoming.command is not None, "decoded"
    return cast("_B", incoming.command.d)
