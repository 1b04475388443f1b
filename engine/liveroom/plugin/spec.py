"""Everything a feature may declare and every hook it may implement (layer 4).

This file is the whole contract. The engine's own features use nothing else, and what is missing
here for one of them is missing for everyone. A plugin that raises is isolated: the command is
answered with `internal`, the hook is skipped, the fault is logged and counted.

A plugin is a class with declarations (`name`, `events`, `lua`), commands (methods under
`@command`) and hooks (the methods of `Plugin` that it overrides).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from liveroom.auth.claims import Claims, Role
from liveroom.protocol.messages import Body
from liveroom.store.port import LogEntry, Op


if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

    from liveroom.plugin.context import Call, Engine, Member, RoomHandle

__all__ = [
    "CommandSpec",
    "Commit",
    "Delivery",
    "EventSpec",
    "Plugin",
    "Result",
    "StateSpec",
    "Surface",
    "command",
    "open_to",
]


class Delivery(Enum):
    """How an event travels; see docs/guarantees.md."""

    DURABLE = "durable"  # sequenced, logged, resumable, seen exactly once
    LATEST = "latest"  # only the newest value of a key matters; converges
    EPHEMERAL = "ephemeral"  # may be shed under a budget, fairly and counted
    SYSTEM = "system"  # from this worker to this connection


class Surface(StrEnum):
    """Where a command may be sent."""

    VIEWER = "/ws"
    CONTROL = "/control"
    SERVICE = "/api"


@dataclass(frozen=True, slots=True)
class EventSpec:
    """An event that the plugin emits.

    Args:
        name: its `ev` on the wire.
        delivery: its class.
        doc: one line for the protocol's text.
        body: the shape of `d`, for the AsyncAPI document.
        keep: for ephemeral events: how many a late joiner is given; 0 none.
        per_s: for ephemeral events: how many are shown to a viewer per second; None: the room's
            danmaku budget.
        rides: it may wait up to half a second for something else to be delivered with.
        internal: it stays between workers; clients never see it.
    """

    name: str
    delivery: Delivery
    doc: str
    body: type | None = None
    keep: int = 0
    per_s: float | None = None
    rides: bool = False
    internal: bool = False


@dataclass(frozen=True, slots=True)
class StateSpec:
    """A `latest` key: `name` is its `st` on the wire, or the part before the colon.

    With `rides` a change may wait up to half a second for something else to be delivered with.
    """

    name: str
    doc: str
    body: type | None = None
    rides: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """What a command handler returns to have its answer decided by the store.

    Args:
        op: the Lua handler.
        body: its arguments.
        durable: whether the configured durability level is reached before the reply.
        idempotent: whether sending it twice does no harm even without a key.
    """

    op: str
    body: dict[str, Any]
    durable: bool = False
    idempotent: bool = False


Result = dict[str, Any] | Commit | bytes | None
"""A reply at once, an operation whose answer is the reply, a script's reply, or an empty reply."""

Handler = Callable[[Any, "Call[Any]"], Result | Awaitable[Result]]
_H = TypeVar("_H", bound=Handler)
_R = TypeVar("_R", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command: its name, body, the least role, where it may be sent, and its handler."""

    op: str
    body: type[Body]
    role: Role
    surfaces: frozenset[Surface]
    keyed: bool
    inspected: bool
    audited: bool
    handler: str
    doc: str


def command(
    op: str,
    body: type[Body],
    *,
    role: Role = Role.VIEWER,
    surfaces: Iterable[Surface] = (Surface.VIEWER, Surface.CONTROL),
    keyed: bool = False,
    inspected: bool = True,
    audited: bool = True,
) -> Callable[[_H], _H]:
    """Declare a method as the handler of a command.

    Args:
        op: the command's name on the wire.
        body: the shape of its `d`.
        role: the least role that may send it; denied below.
        surfaces: where it may be sent.
        keyed: whether it needs an idempotency key (money or goods move).
        inspected: whether the `inspect` hooks see it first.
        audited: whether the room's trail records it, if its role is above the viewer's; no for what
            only reads.
    """

    def mark(method: _H) -> _H:
        doc = (method.__doc__ or "").strip().split("\n")[0]
        spec = CommandSpec(
            op, body, role, frozenset(surfaces), keyed, inspected, audited, method.__name__, doc
        )
        method.__command__ = spec  # type: ignore[attr-defined]  # read back by the manager
        return method

    return mark


def open_to(role: Role) -> Callable[[_R], _R]:
    """Let a lesser role than the service's call the REST route of this handler."""

    def mark(handler: _R) -> _R:
        handler.__least_role__ = role  # type: ignore[attr-defined]  # read back by the API
        return handler

    return mark


class Plugin:
    """Base of every feature. Override what is needed; an absent hook costs nothing."""

    name: ClassVar[str]
    events: Sequence[EventSpec] = ()
    states: Sequence[StateSpec] = ()
    lua: ClassVar[str] = ""
    """Source of the op handlers: fills `ops`, `due`, `parts`, `own`, `joins` (store/lua)."""

    async def start(self, engine: Engine) -> None:
        """Take the engine's handle; called once before the first connection."""

    async def stop(self) -> None:
        """Let go of everything; called after the last connection has gone."""

    def inspect(self, call: Call[Any]) -> Awaitable[None] | None:
        """Look at a command before its handler; raise CommandError to refuse it.

        May replace `call.body`. Return an awaitable only when a wait cannot be avoided.
        """
        return None

    def shown_name(self, room: RoomHandle, claims: Claims) -> str:
        """Return under which name somebody is known in the room, before they come in."""
        return claims.name

    def joined(self, room: RoomHandle, member: Member) -> None:
        """A viewer is in the room and has its snapshot."""

    def left(self, room: RoomHandle, member: Member) -> None:
        """A viewer has gone."""

    def accepted(self, call: Call[Any]) -> None:
        """A command was carried out: by its handler, or by the store if it had to be asked.

        Called on the worker that took the command; an operation whose key was repeated counts again.
        """

    def published(self, room: RoomHandle, event: str, d: dict[str, Any], ts: int) -> None:
        """An ephemeral event was published on this worker (server ms), whether it is shed or not."""

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Return operations gathered since the last beat; called once a beat after `room.mark()`."""
        return ()

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """A durable event of a room that this worker serves, in order, exactly once."""

    def recorded(self, room: RoomHandle, record: Mapping[str, Any]) -> None:
        """Another plugin says what happened, to be kept (`Engine.record`)."""

    async def figures(self, room: RoomHandle) -> Mapping[str, float]:
        """Return figures of a room that other plugins may read (`Engine.figures`)."""
        return {}

    def routes(self) -> Iterable[AbstractRouteDef]:
        """Return REST routes; they are served under /api.

        They need the service role, or what `open_to` says of the handler, and a token that covers
        the `{room}` of their path.
        """
        return ()
