"""One socket: bytes to commands, replies and frames to bytes (layer 7).

There is no task and no timer per connection. Bytes arrive by `data_received`, commands that need
the store are answered by the batch that they rode in, and one sweep per second (deadlines.py)
looks after silence, hellos that never come and tokens that end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from liveroom.auth.claims import Claims
from liveroom.conversation import Conversation
from liveroom.core.ratelimit import ConnectionLimits, Verdict
from liveroom.errors import CloseError, CommandError
from liveroom.plugin.spec import Surface
from liveroom.protocol.codec import Incoming
from liveroom.protocol.frame_builder import close_frame, pong_frame
from liveroom.protocol.frame_reader import Close, FrameReader, Message, Ping, Pong
from liveroom.protocol.handshake import MSGPACK, Accepted
from liveroom.protocol.items import (
    Item,
    frame_of,
)


if TYPE_CHECKING:
    from liveroom.front import Front

__all__ = ["Connection"]

log = structlog.get_logger("liveroom.connection")

_TEXT = 1
_REFUSE, _CLOSE = Verdict.REFUSE, Verdict.CLOSE  # reading a member off an enum class takes longer
_PEER = "peer"


def _drop(frame: bytes) -> None:
    """Take a frame that nobody will see."""


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
        "_conversation",
        "_front",
        "_limits",
        "_reader",
        "_transport",
        "_variant",
        "last_heard",
        "leaving",
        "write",
    )

    def __init__(self, front: Front, surface: Surface, accepted: Accepted, bucket: str) -> None:
        settings = front.settings
        self._front = front
        self._bucket = bucket
        binary = accepted.subprotocol == MSGPACK
        self._variant = (1 if binary else 0) | (2 if accepted.deflate else 0)
        self._reader = FrameReader(settings.max_message_bytes, inflate=accepted.deflate)
        self._limits = ConnectionLimits(front.quota)
        self._conversation = Conversation(front, self, surface, self._variant)
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self.leaving = False
        """Whether it takes no more commands, so that what it sent is answered before the end."""
        self.last_heard = 0.0
        self.write: Callable[[bytes], None] = _drop
        """Queues one frame; drops it before the connection is attached and once it is closing."""

    # The socket's side.

    def attach(self, transport: asyncio.Transport, early: bytes) -> None:
        """Take over the transport after the 101 was written; `early` came right behind it."""
        self._transport = transport
        self.write = transport.write
        high = self._front.settings.slow_bytes
        transport.set_write_buffer_limits(high=high, low=high // 2)
        self.last_heard = self._front.now()
        self._front.opened(self)
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Handle what the socket gave."""
        if self._reader.closed:
            return
        now = self._front.now()
        frames = self._reader.feed(data)
        if frames:  # a frame that never ends is silence: its sender cannot answer a ping either
            self.last_heard = now
        for frame in frames:
            if (self._closing or self.leaving) and not isinstance(frame, Close):
                continue
            try:
                self._on_frame(frame, now)
            except CloseError as exc:
                self._end(exc.close.number, exc.reason)
        if self._reader.error is not None:
            self._break_off(self._reader.error)

    def pause_writing(self) -> None:
        """More waits to be sent than a viewer that keeps up ever has."""
        self._conversation.choke()

    def resume_writing(self) -> None:
        """Most of it is sent: the next delivery finds that out by itself."""

    def eof_received(self) -> bool:
        """Half-closed by the peer: nothing more can be agreed on."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything; money commands in flight finish without us."""
        self._transport = None
        self._closing = True
        self._hush()
        self._conversation.end()
        self._front.closed(self, self._bucket)

    # What the hub needs (Socket).

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

    def all_claims(self) -> list[Claims]:
        """Return under which tokens it is in its rooms."""
        return [seat.viewer.claims for seat in self._conversation.seats]

    @property
    def gone(self) -> bool:
        """Whether the socket is no more."""
        return self._transport is None

    @property
    def closing(self) -> bool:
        """Whether a close frame was sent or came, or the end of the stream was read."""
        return self._closing or self._transport is None or self._transport.is_closing()

    def _end(self, code: int, reason: str, *, by_peer: bool = False) -> None:
        if self._closing or self._transport is None:
            return
        self._conversation.flush()
        self._transport.write(close_frame(code, reason))
        self._closing = True
        self._hush()
        # A peer's code is its own to choose: counted, it would tell tales of us.
        self._front.ending(self, _PEER if by_peer else str(code))

    def _break_off(self, error: CloseError) -> None:
        """End after broken bytes.

        To close at once would reset a peer that is still sending, and the reset overtakes the
        close code: so only our side ends, and what still comes is read and dropped.
        """
        self._end(error.close.number, error.reason)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _hush(self) -> None:
        """Nothing is written any more."""
        self.write = _drop
        self._conversation.hush(_drop)

    # Frames and messages.

    def _on_frame(self, frame: object, now: float) -> None:
        if isinstance(frame, Message):
            self._on_message(frame, now)
        elif isinstance(frame, Ping):
            self._charge(1, len(frame.data), now)
            self.write(pong_frame(frame.data))
        elif isinstance(frame, Pong):
            self._charge(1, len(frame.data), now)
        elif isinstance(frame, Close):
            self._on_close(frame)

    def _on_close(self, frame: Close) -> None:
        if not self._closing:
            self._end(1000 if frame.code == 1005 else frame.code, "", by_peer=True)
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
            self._conversation.take_garbage(exc)
            return
        verdict = self._charge(max(1, len(commands)), len(message.data), now)
        for incoming in commands:
            if self._closing:
                return
            if verdict is _REFUSE:
                self._refuse_too_fast(incoming, now)
            else:
                self._conversation.take(incoming)

    def _refuse_too_fast(self, incoming: Incoming, now: float) -> None:
        retry_ms = round(self._limits.retry_after(now) * 1000)
        self._conversation.refuse(incoming.id, CommandError("rate_limited", retry_ms=retry_ms))

    def charge(self, messages: int) -> None:
        """Count a costly command as so many messages more. Raises CommandError or CloseError."""
        now = self._front.now()
        if self._charge(messages, 0, now) is _REFUSE:
            retry_ms = round(self._limits.retry_after(now) * 1000)
            raise CommandError("rate_limited", retry_ms=retry_ms)

    def _charge(self, messages: int, size: int, now: float) -> Verdict:
        verdict = self._limits.check(now, messages, size)
        if verdict is _CLOSE:
            raise CloseError("flooding")
        return verdict
