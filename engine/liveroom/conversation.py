"""What one connection says and is told: hello, commands, replies (layer 7, under `Connection`).

A command that needs the store is answered by the batch that it rode in; one that has to wait for
something else runs as a task that outlives the connection, so that money in flight is finished.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from liveroom.auth.claims import Claims
from liveroom.errors import CloseError, CommandError, OutcomeUnknown, StoreError
from liveroom.hub.viewer import Viewer
from liveroom.plugin.context import Call
from liveroom.plugin.manager import Bound
from liveroom.plugin.spec import Commit, Result, Surface
from liveroom.protocol.codec import Incoming, body_digest
from liveroom.protocol.items import (
    Item,
    refusal_item,
    reply_item,
    room_item,
    stored_reply_item,
)
from liveroom.protocol.messages import Hello, JoinBody, Resume
from liveroom.protocol.session import Act, Session
from liveroom.seats import Seat, Seats, check_seat
from liveroom.store.replies import refusal


if TYPE_CHECKING:
    from liveroom.connection import Connection
    from liveroom.front import Front

__all__ = ["HANDLED", "Conversation"]

log = structlog.get_logger("liveroom.connection")

_JOIN, _RUN = Act.JOIN, Act.RUN  # reading a member off an enum class takes longer
_RESUME_COST = 9  # messages, beside its own: up to `resume_max` events are read and sent

HANDLED = object()
"""What a system command returns that has answered by itself."""


class Conversation:
    """The commands of one connection.

    Args:
        front: what all connections of the worker share.
        connection: where replies go.
        surface: viewer or control.
        variant: the frame variant (bit 0: MessagePack, bit 1: deflate).
    """

    __slots__ = (
        "_connection",
        "_entered",
        "_front",
        "_joining",
        "_session",
        "_surface",
        "_variant",
        "claims",
        "seats",
        "viewer",
    )

    def __init__(
        self, front: Front, connection: Connection, surface: Surface, variant: int
    ) -> None:
        self._front = front
        self._connection = connection
        self._surface = surface
        self._variant = variant
        self._session = Session()
        self.seats = Seats()
        self._joining: asyncio.Task[None] | None = None
        self._entered = False
        self.viewer: Viewer | None = None
        self.claims: Claims | None = None

    def take(self, incoming: Incoming) -> None:
        """Handle one command. Raises CloseError when the connection must end."""
        if incoming.error is not None:
            self.refuse(incoming.id, self._denied(incoming) or incoming.error)
            self._session.bad()
            return
        try:
            act = self._session.judge(incoming)
            if act is _RUN:
                self._run(incoming)
            elif act is _JOIN:
                self._joining = asyncio.create_task(self._join(incoming), name="join")
        except CommandError as exc:
            self.refuse(incoming.id, exc)

    def take_garbage(self, error: CommandError) -> None:
        """Handle a message that could not be read. Raises CloseError when patience is at its end."""
        self.refuse(None, error)
        self._session.bad()

    def flush(self) -> None:
        """Write the replies that wait."""
        if self.viewer is not None:
            self.viewer.flush()
            for seat in self.seats:
                seat.viewer.flush()

    def choke(self) -> None:
        """Take that more waits to be sent than a viewer that keeps up ever has."""
        for seat in self.seats:
            seat.viewer.careful = True

    def hush(self, drop: Callable[[bytes], None]) -> None:
        """Drop what the room still writes, and the join if it is on its way: it is closing."""
        joining = self._joining
        if joining is not None and joining is not asyncio.current_task():  # a refused one closes
            joining.cancel()
        if self.viewer is not None:
            self.viewer.write = drop
        for seat in self.seats:
            seat.viewer.write = drop

    def end(self) -> None:
        """Leave the room; commands in flight finish without us."""
        for seat in self.seats:
            seat.room.remove(seat.viewer)
        if self._entered and self.claims is not None:
            self._front.gate.leave(self.claims.user)

    def _denied(self, incoming: Incoming) -> CommandError | None:
        """Return why the caller may not send this command at all, however its body is shaped."""
        bound = self._front.hub.manager.commands.get(incoming.op)
        if bound is None or self.claims is None:
            return None
        return bound.denial(self._surface, self.claims.role)

    # Joining.

    async def _join(self, incoming: Incoming) -> None:
        await asyncio.sleep(0)  # whoever gave up has closed behind its hello: that is read first
        if self._connection.closing:
            return
        hello = incoming.command.d if incoming.command is not None else None
        assert isinstance(hello, Hello), "the session lets only a hello through"
        try:
            await self._enter(incoming.id, hello)
        except CloseError as exc:
            self._connection.close(exc.close.name, exc.detail)
        except CommandError as exc:
            self.refuse(incoming.id, exc)
            self._close_after_refusal(exc)
        except StoreError as exc:
            self._connection.close("try_later", str(exc)[:80])
        except Exception:
            log.exception("join failed")
            self._connection.close("internal")
        else:
            self._joining = None
            for held in self._session.joined():
                self._on_held(held)

    def _on_held(self, incoming: Incoming) -> None:
        try:
            self._run(incoming)
        except CommandError as exc:
            self.refuse(incoming.id, exc)

    async def _enter(self, hello_id: int | None, hello: Hello) -> None:
        front = self._front
        claims = await front.gate.admit(hello, self._surface)
        front.gate.enter(claims.user)
        self.claims, self._entered = claims, True
        session = secrets.token_hex(8)
        limits, source = front.viewer_limits, hello.source
        room = front.hub.room_for(hello.room)
        claims = front.hub.manager.named(room, claims)
        viewer = Viewer(self._connection, session, claims, self._variant, limits, source=source)
        self.viewer = viewer
        self.seats.first = Seat(room, viewer)
        await self.seats.first.room.joining.join(viewer, hello_id, hello.resume)
        front.joined(self._connection, claims)

    def _close_after_refusal(self, error: CommandError) -> None:
        names = {"no_room": "no_room", "room_closed": "no_room", "forbidden": "banned"}
        self._connection.close(names.get(error.code.name, "try_later"), error.detail)

    # Commands.

    def _run(self, incoming: Incoming) -> None:
        system = self._front.system.get(incoming.op)
        if system is not None:
            self._start(system(self, incoming), incoming.id, incoming.op)
            return
        manager = self._front.hub.manager
        bound = manager.commands[incoming.op]
        call = self._call(incoming, bound)
        waits = manager.inspect(call) if bound.spec.inspected else ()
        self._session.good()
        if waits:
            self._start(self._inspected(waits, bound, call), incoming.id, call.op, call)
        else:
            self._answer(self._handle(bound, call), call, incoming.id)

    def _call(self, incoming: Incoming, bound: Bound) -> Call[Any]:
        command, key = incoming.command, incoming.key
        assert command is not None, "decoded"
        seat = self.seats.at(incoming.room)
        claims = seat.viewer.claims
        bound.check(self._surface, claims.role, key)
        digest = body_digest(incoming.op, command.d) if key else ""
        audit = bound.audit(claims, self._surface)
        return Call(incoming.op, command.d, seat.viewer, seat.room, key or "", digest, audit)

    def _handle(self, bound: Bound, call: Call[Any]) -> Result | Awaitable[Result]:
        try:
            return bound.handle(call)
        except CommandError:
            raise
        except Exception as exc:
            self._front.hub.manager.fault(bound.plugin, bound.spec.op)
            raise CommandError("internal") from exc

    async def _inspected(
        self, waits: list[Awaitable[None]], bound: Bound, call: Call[Any]
    ) -> Result:
        for wait in waits:
            await wait
        result = self._handle(bound, call)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, Commit):
            return await self._front.committed(call, result)
        return result

    def _answer(
        self, result: Result | Awaitable[Result], call: Call[Any], reply_id: int | None
    ) -> None:
        if isinstance(result, dict):  # the usual first: what is said is answered at once
            self._reply(reply_id, result, call)
        elif isinstance(result, Commit):
            self.seats.at(call.room.id).room.batcher.submit(
                call.operation(result.op, result.body),
                partial(self._on_reply, reply_id, call.op, call),
                durable=result.durable,
                repeatable=result.idempotent,
            )
        else:
            self._start(result, reply_id, call.op, call)

    def _start(
        self,
        result: Awaitable[Result] | Result,
        reply_id: int | None,
        op: str,
        call: Call[Any] | None = None,
    ) -> None:
        """Have an awaited result answered when it is there; it outlives the connection."""
        if result is None or isinstance(result, dict):
            self._reply(reply_id, result, call)
        elif isinstance(result, bytes):
            self._on_reply(reply_id, op, call, result)
        elif inspect.isawaitable(result):
            self._front.spawn(self._await(result, reply_id, op, call))
        else:
            self._reply(reply_id, result, call)

    async def _await(
        self, result: Awaitable[Any], reply_id: int | None, op: str, call: Call[Any] | None
    ) -> None:
        try:
            value = await result
        except CommandError as exc:
            self.refuse(reply_id, exc)
        except StoreError as exc:
            self._on_reply(reply_id, op, call, exc)
        except CloseError as exc:
            self._connection.close(exc.close.name, exc.detail)
        except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
            self._front.hub.manager.failed(op)
            self.refuse(reply_id, CommandError("internal"))
        else:
            if value is HANDLED:
                return
            if isinstance(value, bytes):
                self._on_reply(reply_id, op, call, value)
            else:
                self._reply(reply_id, value, call)

    # Replies.

    def _on_reply(
        self, reply_id: int | None, op: str, call: Call[Any] | None, reply: bytes | StoreError
    ) -> None:
        if isinstance(reply, OutcomeUnknown):
            self.refuse(reply_id, CommandError("outcome_unknown", retry_ms=500))
        elif isinstance(reply, StoreError):
            self.refuse(reply_id, CommandError("unavailable", retry_ms=500))
        elif reply[:1] == b"!" or (reply[:1] == b"-" and b'"msg"' not in reply):
            if reply[:1] == b"!":
                self._front.hub.manager.failed(op)
            self.refuse(reply_id, refusal(reply))
        else:
            accepted = reply[:1] == b"+"
            self._count(accepted)
            if accepted and call is not None:
                self._front.hub.manager.accepted(call)
            if reply_id is not None:
                self._queue(stored_reply_item(reply_id, reply))

    def _reply(self, reply_id: int | None, d: Any, call: Call[Any] | None = None) -> None:
        hub = self._front.hub
        hub.metrics.accepted.inc()
        if call is not None:
            hub.manager.accepted(call)
        if reply_id is not None:
            self._queue(reply_item(reply_id, d or {}))

    def refuse(self, reply_id: int | None, error: CommandError) -> None:
        """Answer a command with an error."""
        self._count(False)
        self._queue(refusal_item(reply_id, error))

    def _count(self, accepted: bool) -> None:
        metrics = self._front.hub.metrics
        (metrics.accepted if accepted else metrics.refused).inc()

    def _queue(self, item: Item) -> None:
        """Have an item leave with the viewer's next write."""
        if self._connection.unsent() > self._front.settings.slow_close_bytes:
            self._connection.close("slow", "replies are not read")
        elif self.viewer is None or self.viewer.index < 0:
            self._connection.tell(item)
        else:
            if not self.viewer.waiting:
                self._front.hub.flush_soon(self.viewer)
            self.viewer.waiting.append(item)

    # System commands (front.py has their table).

    async def refresh(self, token: str, room: str | None) -> Result:
        """Go on under a new token."""
        seat = self.seats.at(room)
        claims = await self._front.gate.refresh(seat.viewer.claims, token)
        claims = self._front.hub.manager.named(seat.room, claims)
        seat.viewer.claims = claims
        if seat is self.seats.first:
            self.claims = claims
        self._front.joined(self._connection, self.seats.soonest())
        return {"expires_ms": claims.exp * 1000}

    async def join(self, reply_id: int | None, body: JoinBody) -> object:
        """Bring a control connection into one more room; answered as a hello is."""
        if self._surface is not Surface.CONTROL:
            raise CommandError("unknown_op", f"sys.join is not a command of {self._surface.value}")
        self.seats.expect_space(body.room)
        first = self.seats.at(None).viewer
        claims = await self._front.gate.claims_of(body.token) if body.token else first.claims
        check_seat(first.claims, claims, body.room)
        room = self._front.hub.room_for(body.room)
        viewer = Viewer(
            self._connection,
            first.session,
            self._front.hub.manager.named(room, claims),
            self._variant,
            self._front.viewer_limits,
            room_item(body.room),
        )
        seat = Seat(room, viewer)
        self.seats.expect_space(body.room)  # it was not held while the token was looked at
        self.seats.add(seat)
        try:
            await seat.room.joining.join(viewer, reply_id, body.resume)
        except BaseException:
            self.seats.discard(body.room)
            raise
        if self._connection.gone:
            seat.room.remove(viewer)
        self._front.joined(self._connection, self.seats.soonest())
        return HANDLED

    def leave(self, room: str) -> Result:
        """Take a control connection out of one of its further rooms."""
        seat = self.seats.discard(room)
        seat.room.remove(seat.viewer)
        return None

    async def resync(self, reply_id: int | None, resume: Resume | None, at: str | None) -> object:
        """Greet the viewer once more: the answer to `sys.resume` is that of a hello."""
        if self._surface is not Surface.CONTROL:  # a host has up to 64 rooms to bring up to date
            self._connection.charge(_RESUME_COST)
        seat = self.seats.at(at)
        room, viewer = seat.room, seat.viewer
        own = await room.joining.enter(viewer)
        room.hold(viewer)
        try:
            await room.joining.greet(viewer, reply_id, resume, own)
        except BaseException:
            room.remove(viewer)
            raise
        if self._connection.gone:  # it went while it was greeted
            room.remove(viewer)
        return HANDLED
