"""What a plugin may touch: the call, the room, the engine (layer 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from liveroom.auth.claims import ANY_ROOM, Claims, Role
from liveroom.config import Settings
from liveroom.core.clock import Clock
from liveroom.core.position import Position
from liveroom.errors import CommandError
from liveroom.metrics import Metrics
from liveroom.protocol.messages import Body
from liveroom.store.port import Committed, History, Op


if TYPE_CHECKING:
    from liveroom.plugin.spec import EventSpec, StateSpec

__all__ = ["Call", "Engine", "Member", "RoomHandle", "expect_any_room"]

B = TypeVar("B", bound=Body)


class Member(Protocol):
    """A connection that is in a room."""

    session: str
    claims: Claims
    source: str
    """The channel that led into the room, as the hello says it: anybody's text, "" if it does not."""

    @property
    def user(self) -> str:
        """The user's id."""

    def close(self, name: str, detail: str = "") -> None:
        """End the connection with a row of the close-code table."""

    def tell(self, event: str, d: dict[str, Any]) -> None:
        """Send a system event to this connection alone."""


class RoomHandle(Protocol):
    """A room on this worker."""

    id: str

    @property
    def position(self) -> Position:
        """The last durable event that this worker has applied."""

    @property
    def current(self) -> bool:
        """Whether every durable event that is known to exist has been applied and observed."""

    @property
    def heard(self) -> Mapping[str, int]:
        """How many ephemeral items of each kind the room has had while this worker served it.

        Those that were shed are included: it is what was said, not what was shown.
        """

    @property
    def members(self) -> Sequence[Member]:
        """The connections in the room on this worker."""

    @property
    def online(self) -> int:
        """Distinct users in the room on this worker."""

    def of_user(self, user: str) -> Sequence[Member]:
        """Return the connections of a user in the room on this worker."""

    def state(self, name: str) -> Any:
        """Return the newest known value of a `latest` key, or None."""

    def states(self, prefix: str) -> Sequence[str]:
        """Return the `latest` keys that begin so and have a value."""

    def publish(
        self,
        event: str,
        d: dict[str, Any],
        *,
        member: Member | None = None,
        weight: float = 1.0,
        must: bool = False,
        only: bool = False,
        counted: bool = False,
    ) -> None:
        """Send an ephemeral event with the next beat.

        Args:
            event: a declared ephemeral event.
            d: its body.
            member: the sender; fairness is per user, and the sender always sees it.
            weight: its user's share against others' when the room is over its budget.
            must: never shed, and outside the budget.
            only: the sender alone sees it, on its connections to this worker: as long after as the
                others would, and without a trace in the store, the history and the hooks.
            counted: with `only`: the `published` hooks are told of it all the same.
        """

    def submit(
        self, op: Op, *, durable: bool = False, within_s: float = 0.0
    ) -> asyncio.Future[bytes]:
        """Put an operation into the room's next batch; the future holds the script's reply.

        What is not urgent says within how many seconds it is to leave: it rides with others, so
        that a quiet room is not committed for it alone.
        """

    def mark(self) -> None:
        """Have the `flush` hooks called with the next beat."""


class Call(Generic[B]):
    """One command on its way: who sent it, where, and its body (inspect hooks may replace it).

    An inspect hook may set `hidden`: what comes of the command is for the sender alone; or `divert`,
    which is given what the handler publishes in place of the room.
    """

    __slots__ = ("audit", "body", "digest", "divert", "hidden", "key", "member", "op", "room")

    def __init__(
        self,
        op: str,
        body: B,
        member: Member,
        room: RoomHandle,
        key: str,
        digest: str,
        audit: str = "",
    ) -> None:
        self.op = op
        self.body = body
        self.member = member
        self.room = room
        self.key = key
        self.digest = digest
        self.audit = audit
        self.hidden = False
        self.divert: Callable[[str, dict[str, Any]], None] | None = None

    def publish(
        self, event: str, d: dict[str, Any], *, weight: float = 1.0, must: bool = False
    ) -> None:
        """Send an ephemeral event in the sender's name (see `RoomHandle.publish`).

        Where it goes is what the inspect hooks have said.
        """
        if self.divert is not None:
            self.divert(event, d)
            return
        self.room.publish(event, d, member=self.member, weight=weight, must=must, only=self.hidden)

    def operation(self, name: str, body: dict[str, Any]) -> Op:
        """Return an operation on the sender's behalf, under the command's key, for the trail."""
        return Op(name, self.user, body, self.key, self.digest, self.audit)

    @property
    def user(self) -> str:
        """The sender's id."""
        return self.member.claims.user

    @property
    def role(self) -> Role:
        """The sender's role."""
        return self.member.claims.role


def expect_any_room(call: Call[Any]) -> None:
    """Check that the token is for every room: what the command changes is not the room's own.

    Raises:
        CommandError: `forbidden`.
    """
    if call.member.claims.room != ANY_ROOM:
        raise CommandError("forbidden", f"{call.op} needs a token for every room")


class Engine(Protocol):
    """The worker that a plugin runs in."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    worker: str

    @property
    def plugins(self) -> Sequence[str]:
        """The names of this engine's plugins."""

    @property
    def events(self) -> Mapping[str, EventSpec]:
        """What the plugins of this engine declare, by name."""

    @property
    def states(self) -> Mapping[str, StateSpec]:
        """The same of states; a key's name may go on behind a colon."""

    async def commit(self, scope: str, ops: Sequence[Op], *, durable: bool = False) -> Committed:
        """Commit operations to any scope, alone. Raises StoreError."""

    async def submit(
        self, scope: str, op: Op, *, durable: bool = False, within_s: float = 0.0
    ) -> bytes:
        """Have an operation ride in the scope's next batch; return the script's reply.

        `within_s` as in `RoomHandle.submit`.
        """

    async def history(self, room_id: str, after: Position, limit: int) -> History:
        """Read durable events of any room after a position, served here or not. Raises StoreError.

        The epoch of `after` is not compared: that of the answer may be another one. Positions are
        continued where `dropped` is not more than the number of entries that one has read.
        """

    def room(self, room_id: str) -> RoomHandle | None:
        """Return a room that this worker serves now."""

    async def perform(
        self, room_id: str, claims: Claims, op: str, d: dict[str, Any], key: str = ""
    ) -> dict[str, Any]:
        """Run a command in a room on somebody's behalf, as the HTTP API does; return its answer.

        Args:
            room_id: the room.
            claims: whose role and name hold; of a service: the service surface, else the control's.
            op: a declared command.
            d: its body.
            key: idempotency key.

        Raises:
            CommandError: it was refused.
            StoreError: it was not done, or nobody knows.
        """

    def expect_command(self, op: str, d: dict[str, Any], role: Role) -> None:
        """Check now that a command could be run later on the control surface.

        What only its handler or the room can tell is not known by this. A field that the body does
        not have is refused, too: it would be ignored when nobody is looking.

        Raises:
            CommandError: `unknown_op`, `forbidden` or `bad_request`.
        """

    def record(self, room: RoomHandle, record: Mapping[str, Any]) -> None:
        """Say what happened, for whoever keeps records: `ts` (server ms), `kind`, maybe `user`, more.

        For what is in no log and shown to nobody; without an archive it is lost.
        """

    async def figures(self, plugin: str, room: RoomHandle) -> Mapping[str, float]:
        """Return the figures that a plugin has of a room; none if it cannot tell now.

        Raises:
            LookupError: there is no such plugin, or it has none to tell.
        """

    def every(self, seconds: float, job: Callable[[], Any]) -> None:
        """Call a function or coroutine function again and again until the engine stops."""
