"""What the engine asks of a store: seven verbs and their shapes (layer 4).

A *scope* is everything that one script call may change together: a room (`demo`) or an internal
scope (`~sys`, `~w07`). A store promises:

- `commit` is atomic: the effects of a batch, its durable events in the log, its idempotency
  records and its publication happen together or not at all. Ops run in order.
- Publications of a scope arrive in commit order, at most once. One may be lost; then the next
  one's `start` shows the hole, and so does the position that every commit answers.
- `StoreUnavailable` means certainly not executed; `OutcomeUnknown` means nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from liveroom.core.position import Position


__all__ = [
    "Batch",
    "Committed",
    "History",
    "Listener",
    "LogEntry",
    "Op",
    "Publication",
    "StateItem",
    "Store",
]


@dataclass(slots=True)
class Op:
    """One operation of a batch: handled by the Lua function `ops[name]`.

    Args:
        name: the handler's name.
        user: on whose behalf; scopes the idempotency key.
        body: JSON-able arguments.
        key: idempotency key, or "" for none.
        digest: digest of the client's body, compared when the key is used again.
        audit: `user|role|command|surface` of whoever steers the room: recorded in the room's trail.
    """

    name: str
    user: str
    body: dict[str, Any]
    key: str = ""
    digest: str = ""
    audit: str = ""


@dataclass(slots=True)
class Batch:
    """What one script call carries. An empty batch runs due timers and answers the position.

    Args:
        ops: operations in order.
        ephemeral: opaque bytes passed through to the scope's channel.
        kept: (list name, most entries, items) remembered for late joiners.
        durable: whether the configured durability level must be reached before the answer.
    """

    ops: Sequence[Op] = ()
    ephemeral: bytes = b""
    kept: Sequence[tuple[str, int, Sequence[bytes]]] = ()
    durable: bool = False


class Committed(NamedTuple):
    """The answer to a batch: server time, position after it, next timer (0: none), replies, changes.

    A reply is b"+" and JSON (the answer), b"-" and JSON (the refusal) or b"!" and text (a fault).
    """

    now_ms: int
    position: Position
    due_ms: int
    replies: list[bytes]
    changes: int = 0


class LogEntry(NamedTuple):
    """One durable event: its place, whom it is for (None: everyone) and its JSON item."""

    seq: int
    sub: int
    user: str | None
    item: bytes


class History(NamedTuple):
    """Durable events after a place, and where the log ended at that instant.

    Attributes:
        end: the position of the last event there is; its epoch is that of the entries.
        dropped: how many entries the log has had and keeps no more, since it began.
        entries: oldest first, no more than were asked for.
    """

    end: Position
    dropped: int
    entries: list[LogEntry]


class StateItem(NamedTuple):
    """The newest value of a `latest` key as its JSON item."""

    name: str
    version: int
    item: bytes

    @property
    def gone(self) -> bool:
        """Whether the key was taken away (`forget` in a handler): its value is null."""
        return self.item.endswith(b'"d":null}')


@dataclass(slots=True)
class Publication:
    """What one commit has to say to every worker that serves the scope.

    `changes` counts the batches that changed a state, this one included: one that is missing was
    lost on the way, though states leave no hole in the log.
    """

    scope: str
    start: Position
    end: Position
    now_ms: int
    worker: str
    durables: list[LogEntry] = field(default_factory=list)
    states: list[StateItem] = field(default_factory=list)
    ephemeral: bytes = b""
    changes: int = 0


class Listener(Protocol):
    """Who is told what the store's channels say. Called on the event loop; must not block."""

    def on_publication(self, publication: Publication) -> None:
        """Take one publication of a subscribed scope."""

    def on_subscribed(self, scope: str) -> None:
        """Take that the subscription (again) holds: what came before may have been missed."""


class Store(Protocol):
    """The port. One instance serves one worker."""

    async def start(self, listener: Listener) -> None:
        """Connect, load the script, start listening. Raises StoreError or ConfigError."""

    async def commit(self, scope: str, batch: Batch) -> Committed:
        """Execute one batch. Raises StoreUnavailable or OutcomeUnknown."""

    async def read_log(self, scope: str, after: Position, limit: int) -> list[LogEntry]:
        """Return durable events after a position, oldest first; the epoch is not checked."""

    async def subscribe(self, scope: str) -> None:
        """Ask for a scope's publications; `on_subscribed` tells when it holds."""

    async def unsubscribe(self, scope: str) -> None:
        """Stop a scope's publications."""

    def silent_for(self) -> float:
        """Return for how many seconds the quietest channel link has shown no sign of life."""

    async def close(self) -> None:
        """Stop listening and disconnect."""
