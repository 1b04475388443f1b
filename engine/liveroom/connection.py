"""One socket: bytes to commands, replies and frames to bytes (layer 7).

There is no task and no timer per connection. Bytes arrive by `data_received`, commands that need
the store are answered by the batch that they rode in, and one sweep per second (deadlines.py)
looks after silence, hellos that never come and tokens that end.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import secrets
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from liveroom.auth.claims import Claims, TokenError
from liveroom.core.ratelimit import ConnectionLimits, Verdict
from liveroom.errors import CloseError, CommandError, OutcomeUnknown, StoreError
from liveroom.hub.room import Room
from liveroom.hub.viewer import Viewer
from liveroom.plugin.context import Call
from liveroom.plugin.manager import Bound
from liveroom.plugin.spec import Commit, Result, Surface
from liveroom.protocol.codec import Incoming
from liveroom.protocol.frame_builder import close_frame, pong_frame
from liveroom.protocol.frame_reader import Close, FrameReader, Message, Ping
from liveroom.protocol.handshake import MSGPACK, Accepted
from liveroom.protocol.items import (
    Item,
    frame_of,
    refusal_item,
    reply_item,
    stored_reply_item,
)
from liveroom.protocol.messages import Hello, Resume
from liveroom.protocol.session import Act, Session
from liveroom.store.port import Op
from liveroom.store.replies import refusal


if TYPE_CHECKING:
    from liveroom.front import Front

__all__ = ["HANDLED", "Connection"]

log = structlog.get_logger("liveroom.connection")

_TEXT = 1
HANDLED = object()
"""What a system command returns that has answered by itself."""


class Connection(asyncio.Protocol):
    """A viewer's or host's WebSocket after the handshake.

    Args:
        front: what all connections of the worker share.
        surface: viewer or control.
        accepted: what the handshake agreed on.
        bucket: the address's bucket, given back when the connection ends.
    """

    __slots__ = (
        "_bucket",
        "_closing",
        "_entered",
        "_front",
        "_joining",
        "_limits",
        "_reader",
        "_room",
        "_session",
        "_surface",
        "_transport",
        "_variant",
        "claims",
        "last_heard",
        "viewer",
    )

    def __init__(self, front: Front, surface: Surface, accepted: Accepted, bucket: str) -> None:
        settings = front.settings
        self._front = front
        self._surface = surface
        self._bucket = bucket
        binary = accepted.subprotocol == MSGPACK
        self._variant = (1 if binary else 0) | (2 if accepted.deflate else 0)
        self._reader = FrameReader(settings.max_message_bytes, inflate=accepted.deflate)
        self._limits = ConnectionLimits(front.quota)
        self._session = Session()
        self._transport: asyncio.Transport | None = None
        self._room: Room | None = None
        self._joining: asyncio.Task[None] | None = None
        self._closing = False
        self._entered = False
        self.viewer: Viewer | None = None
        self.claims: Claims | None = None
        self.last_heard = 0.0

    # The socket's side.

    def attach(self, transport: asyncio.Transport, early: bytes) -> None:
        """Take over the transport after the 101 was written; `early` came right behind it."""
        self._transport = transport
        self.last_heard = self._front.now()
        self._front.opened(self)
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Handle what the socket gave."""
        self.last_heard = now = self._front.now()
        frames = self._reader.feed(data)
        for frame in frames:
            if self._closing and not isinstance(frame, Close):
                continue
            try:
                self._on_frame(frame, now)
            except CloseError as exc:
                self._end(exc.close.number, exc.reason)
        if self._reader.error is not None and not self._closing:
            error = self._reader.error
            self._end(error.close.number, error.reason)
        if self._reader.error is not None and self._transport is not None:
            self._transport.close()

    def eof_received(self) -> bool:
        """Half-closed by the peer: nothing more can be agreed on."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything; money commands in flight finish without us."""
        self._transport = None
        self._closing = True
        if self._joining is not None:
            self._joining.cancel()
        if self._room is not None and self.viewer is not None:
            self._room.remove(self.viewer)
        if self._entered and self.claims is not None:
            self._front.gate.leave(self.claims.user)
        self._front.closed(self, self._bucket)

    # What the hub needs (Socket).

    def write(self, frame: bytes) -> None:
        """Queue one frame; dropped once the connection is closing."""
        if self._transport is not None and not self._closing:
            self._transport.write(frame)

    def unsent(self) -> int:
        """Return how many bytes wait to be sent."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self, name: str, detail: str = "") -> None:
        """Close with a row of the close-code table."""
        error = CloseError(name, detail)
        self._end(error.close.number, error.reason)

    def tell(self, item: Item) -> None:
        """Send one system item."""
        self.write(frame_of([item], self._variant & 1))

    def abort(self) -> None:
        """Drop the TCP connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def closing(self) -> bool:
        """Whether a close frame was sent or came."""
        return self._closing

    def _end(self, code: int, reason: str) -> None:
        if self._closing or self._transport is None:
            return
        if self.viewer is not None:
            self.viewer.flush()
        self._transport.write(close_frame(code, reason))
        self._closing = True
        self._front.ending(self, code)

    # Frames and messages.

    def _on_frame(self, frame: object, now: float) -> None:
        if isinstance(frame, Message):
            self._on_message(frame, now)
        elif isinstance(frame, Ping):
            self._charge(1, len(frame.data), now)
            self.write(pong_frame(frame.data))
        elif isinstance(frame, Close):
            self._on_close(frame)

    def _on_close(self, frame: Close) -> None:
        if not self._closing:
            self._end(1000 if frame.code == 1005 else frame.code, "")
        if self._transport is not None:
            self._transport.close()

    def _on_message(self, message: Message, now: float) -> None:
        binary = message.opcode != _TEXT
        if binary != bool(self._variant & 1):
            raise CloseError("unsupported", "expected the agreed subprotocol's kind of message")
        try:
            commands = self._front.decoder.decode(message.data, binary=binary)
        except CommandError as exc:
            self._charge(1, len(message.data), now)
            self._refuse(None, exc)
            self._session.bad()
            return
        verdict = self._charge(len(commands), len(message.data), now)
        for incoming in commands:
            if self._closing:
                return
            self._on_command(incoming, verdict)

    def _charge(self, messages: int, size: int, now: float) -> Verdict:
        verdict = self._limits.check(now, messages, size)
        if verdict is Verdict.CLOSE:
            raise CloseError("flooding")
        return verdict

    def _on_command(self, incoming: Incoming, verdict: Verdict) -> None:
        if incoming.error is not None:
            self._refuse(incoming.id, incoming.error)
            self._session.bad()
            return
        if verdict is Verdict.REFUSE:
            retry_ms = round(self._limits.retry_after(self._front.now()) * 1000)
            self._refuse(incoming.id, CommandError("rate_limited", retry_ms=retry_ms))
            return
        try:
            act = self._session.judge(incoming)
            if act is Act.JOIN:
                self._joining = asyncio.create_task(self._join(incoming), name="join")
            elif act is Act.RUN:
                self._run(incoming)
        except CommandError as exc:
            self._refuse(incoming.id, exc)

    # Joining.

    async def _join(self, incoming: Incoming) -> None:
        hello = incoming.command.d if incoming.command is not None else None
        assert isinstance(hello, Hello), "the session lets only a hello through"
        try:
            await self._enter(incoming.id, hello)
        except CloseError as exc:
            self.close(exc.close.name, exc.detail)
        except CommandError as exc:
            self._refuse(incoming.id, exc)
            self._close_after_refusal(exc)
        except StoreError as exc:
            self.close("try_later", str(exc)[:80])
        except Exception:
            log.exception("join failed")
            self.close("internal")
        else:
            self._joining = None
            for held in self._session.joined():
                self._on_held(held)

    def _on_held(self, incoming: Incoming) -> None:
        try:
            self._run(incoming)
        except CommandError as exc:
            self._refuse(incoming.id, exc)

    async def _enter(self, hello_id: int | None, hello: Hello) -> None:
        front = self._front
        claims = await front.gate.admit(hello, self._surface)
        front.gate.enter(claims.user)
        self.claims, self._entered = claims, True
        session = secrets.token_hex(8)
        self.viewer = Viewer(self, session, claims, self._variant, front.viewer_limits)
        self._room = front.hub.room_for(hello.room)
        await self._room.joining.join(self.viewer, hello_id, hello.resume)
        front.joined(self, claims)

    def _close_after_refusal(self, error: CommandError) -> None:
        names = {"no_room": "no_room", "room_closed": "no_room", "forbidden": "banned"}
        self.close(names.get(error.code.name, "try_later"), error.detail)

    # Commands.

    def _run(self, incoming: Incoming) -> None:
        command, room, viewer = incoming.command, self._room, self.viewer
        assert command is not None
        assert room is not None
        assert viewer is not None
        system = self._front.system.get(incoming.op)
        if system is not None:
            self._start(system(self, incoming), incoming.id)
            return
        bound = self._front.hub.manager.commands[incoming.op]
        self._check(bound, incoming)
        digest = _digest(incoming.op, command.d) if incoming.key else ""
        call = Call(incoming.op, command.d, viewer, room, incoming.key or "", digest)
        waits = self._front.hub.manager.inspect(call) if bound.spec.inspected else ()
        self._session.good()
        if waits:
            self._start(self._inspected(waits, bound, call), incoming.id)
        else:
            self._answer(self._handle(bound, call), call, incoming.id)

    def _check(self, bound: Bound, incoming: Incoming) -> None:
        spec, claims = bound.spec, self.claims
        assert claims is not None
        if self._surface not in spec.surfaces:
            raise CommandError("unknown_op", f"{spec.op} is not a command of {self._surface.value}")
        if not claims.role.at_least(spec.role):
            raise CommandError("forbidden", f"{spec.op} needs the role {spec.role.value}")
        if spec.keyed and not incoming.key:
            raise CommandError("key_required")

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
        if isinstance(result, Commit):
            op = Op(result.op, call.user, result.body, call.key, call.digest)
            assert self._room is not None
            self._room.batcher.submit(
                op,
                partial(self._on_reply, reply_id),
                durable=result.durable,
                repeatable=result.idempotent,
            )
        elif inspect.isawaitable(result):
            self._start(result, reply_id)
        else:
            self._reply(reply_id, result)

    def _start(self, result: Awaitable[Result] | Result, reply_id: int | None) -> None:
        """Have an awaited result answered when it is there; it outlives the connection."""
        if inspect.isawaitable(result):
            self._front.spawn(self._await(result, reply_id))
        else:
            self._reply(reply_id, result)

    async def _await(self, result: Awaitable[Any], reply_id: int | None) -> None:
        try:
            value = await result
        except CommandError as exc:
            self._refuse(reply_id, exc)
        except StoreError as exc:
            self._on_reply(reply_id, exc)
        except CloseError as exc:
            self.close(exc.close.name, exc.detail)
        except Exception:
            log.exception("command failed")
            self._refuse(reply_id, CommandError("internal"))
        else:
            if value is HANDLED:
                return
            if isinstance(value, bytes):
                self._on_reply(reply_id, value)
            else:
                self._reply(reply_id, value)

    # Replies.

    def _on_reply(self, reply_id: int | None, reply: bytes | StoreError) -> None:
        if isinstance(reply, OutcomeUnknown):
            self._refuse(reply_id, CommandError("outcome_unknown", retry_ms=500))
        elif isinstance(reply, StoreError):
            self._refuse(reply_id, CommandError("unavailable", retry_ms=500))
        elif reply[:1] == b"!" or (reply[:1] == b"-" and b'"msg"' not in reply):
            self._refuse(reply_id, refusal(reply))
        else:
            self._count(reply[:1] == b"+")
            if reply_id is not None:
                self._queue(stored_reply_item(reply_id, reply))

    def _reply(self, reply_id: int | None, d: Any) -> None:
        self._count(True)
        if reply_id is not None:
            self._queue(reply_item(reply_id, d or {}))

    def _refuse(self, reply_id: int | None, error: CommandError) -> None:
        self._count(False)
        self._queue(refusal_item(reply_id, error))

    def _count(self, accepted: bool) -> None:
        metrics = self._front.hub.metrics
        (metrics.accepted if accepted else metrics.refused).inc()

    def _queue(self, item: Item) -> None:
        """Have an item leave with the viewer's next write."""
        if self.viewer is None or self.viewer.index < 0:
            self.tell(item)
        else:
            if not self.viewer.waiting:
                self._front.hub.flush_soon(self.viewer)
            self.viewer.waiting.append(item)

    # System commands (front.py has their table).

    async def refresh(self, token: str) -> Result:
        """Go on under a new token."""
        assert self.claims is not None
        assert self.viewer is not None
        try:
            claims = await self._front.gate.refresh(self.claims, token)
        except TokenError as exc:
            raise CommandError(exc.code.name, exc.detail, retry_ms=exc.retry_ms) from exc
        self.claims = self.viewer.claims = claims
        self._front.joined(self, claims)
        return {"expires_ms": claims.exp * 1000}

    async def resync(self, reply_id: int | None, resume: Resume | None) -> object:
        """Greet the viewer once more: the answer to `sys.resume` is that of a hello."""
        assert self._room is not None
        assert self.viewer is not None
        room, viewer = self._room, self.viewer
        own = await room.joining.enter(viewer)
        room.remove(viewer)
        await room.joining.greet(viewer, reply_id, resume, own)
        return HANDLED


def _digest(op: str, body: msgspec.Struct) -> str:
    """Return what tells two bodies of one idempotency key apart."""
    encoded = msgspec.json.encode(body, order="deterministic")
    return hashlib.blake2b(op.encode() + b"\n" + encoded, digest_size=12).hexdigest()
