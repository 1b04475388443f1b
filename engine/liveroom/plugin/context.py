"""What a plugin may touch: the call, the room, the engine (layer 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from liveroom.auth.claims import ANY_ROOM, Claims, Role
from liveroom.config import Settings
from liveroom.core.clock import Clock
from liveroom.core.position import Position
from liveroom.errors import CommandError
from liveroom.protocol.messages import Body
from liveroom.store.port import Committed, Op


__all__ = ["Call", "Engine", "Member", "RoomHandle", "expect_any_room"]

B = TypeVar("B", bound=Body)


class Member(Protocol):
    """A connection that is in a room."""

    session: str
    claims: Claims

    @property
    def user(self) -> str:
        """The user's id."""

    def close(self, name: str, detail: str = "") -> None:
        """End the connection with a row of the close-code table."""


class RoomHandle(Protocol):
    """A room on this worker."""

    id: str

    @property
    def position(self) -> Position:
        """The last durable event that this worker has applied."""

    @property
    def members(self) -> Sequence[Member]:
        """The connections in the room on this worker."""

    @property
    def online(self) -> int:
        """Distinct users in the room on this worker."""

    def state(self, name: str) -> Any:
        """Return the newest known value of a `latest` key, or None."""

    def publish(
        self,
        event: str,
        d: dict[str, Any],
        *,
        member: Member | None = None,
        weight: float = 1.0,
        must: bool = False,
    ) -> None:
        """Send an ephemeral event with the next beat.

        Args:
            event: a declared ephemeral event.
            d: its body.
            member: the sender; fairness is per user, and the sender always sees it.
            weight: its user's share against others' when the room is over its budget.
            must: never shed, and outside the budget.
        """

    def submit(self, op: Op, *, durable: bool = False) -> asyncio.Future[bytes]:
        """Put an operation into the room's next batch; the future holds the script's reply."""

    def mark(self) -> None:
        """Have the `flush` hooks called with the next beat."""


class Call(Generic[B]):
    """One command on its way: who sent it, where, and its body (inspect hooks may replace it)."""

    __slots__ = ("body", "digest", "key", "member", "op", "room")

    def __init__(
        self, op: str, body: B, member: Member, room: RoomHandle, key: str, digest: str
    ) -> None:
        self.op = op
        self.body = body
        self.member = member
        self.room = room
        self.key = key
        self.digest = digest

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
    worker: str

    async def commit(self, scope: str, ops: Sequence[Op], *, durable: bool = False) -> Committed:
        """Commit operations to any scope, alone. Raises StoreError."""

    async def submit(self, scope: str, op: Op, *, durable: bool = False) -> bytes:
        """Have an operation ride in the scope's next batch; return the script's reply."""

    def room(self, room_id: str) -> RoomHandle | None:
        """Return a room that this worker serves now."""

    def every(self, seconds: float, job: Callable[[], Any]) -> None:
        """Call a function or coroutine function again and again until the engine stops."""
