"""Bytes of one client into WebSocket messages, without I/O (protocol layer).

The server's side of RFC 6455, section 5, and RFC 7692, strict where the RFC says MUST. What comes
out depends on the bytes alone, never on how TCP cut them. A frame is judged by its header, before
its payload is kept, so that one connection never holds more than one message's limit.
"""

from __future__ import annotations

import codecs
import zlib
from dataclasses import dataclass
from typing import TypeAlias

from liveroom.errors import CloseError
from liveroom.protocol.frame_builder import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE_TAIL,
    FIN,
    MAX_CONTROL,
    NO_STATUS,
    PING,
    PONG,
    RSV1,
    TEXT,
    is_sendable_close,
    xor_mask,
)


__all__ = ["Close", "Frame", "FrameReader", "Message", "Ping", "Pong"]


# Not frozen: that alone would double what making one costs.
@dataclass(slots=True)
class Message:
    """One whole data message; the data of a TEXT is valid UTF-8, kept as bytes for the decoder."""

    opcode: int
    data: bytes


@dataclass(slots=True)
class Ping:
    """A ping; to be answered by a pong with the same data."""

    data: bytes


@dataclass(slots=True)
class Pong:
    """A pong, asked for or not."""

    data: bytes


@dataclass(slots=True)
class Close:
    """The client's close; `code` is 1005 when its frame was empty (RFC 6455, 7.1.5)."""

    code: int
    reason: str


Frame: TypeAlias = Message | Ping | Pong | Close

_OPCODE_BITS = 0x0F
_LENGTH_BITS = 0x7F
_MASK_BIT = 0x80
_CONTROL_BIT = 0x08
_SHORT_HEADER = 6  # two bytes and the mask

# Every first byte that may come, by state: FIN, RSV and opcode are judged by one look-up.
_CONTROLS = frozenset(FIN | opcode for opcode in (CLOSE, PING, PONG))
_BETWEEN = _CONTROLS | {fin | opcode for fin in (0, FIN) for opcode in (TEXT, BINARY)}
_BETWEEN_DEFLATED = _BETWEEN | {
    fin | RSV1 | opcode for fin in (0, FIN) for opcode in (TEXT, BINARY)
}
_INSIDE = _CONTROLS | {CONTINUATION, FIN | CONTINUATION}

# Completes what the wire left out and ends the stream, so that a cut-off block is noticed.
_DEFLATE_END = DEFLATE_TAIL + b"\x03\x00"
_MAX_FINAL_BLOCKS = 16  # per fragment; each BFINAL costs a new inflater (RFC 7692, 7.2.3.4)

# The codec waits for the third byte of these, though none can make it valid.
_HALF_SURROGATES = tuple(bytes((0xED, second)) for second in range(0xA0, 0xC0))


class FrameReader:
    """Reads one client's frames.

    Args:
        max_message: bytes of one message, both on the wire and inflated; above it 1009.
        inflate: whether permessage-deflate was negotiated, with `client_no_context_takeover`.
        max_fragments: frames of one message; above it 1008.

    Attributes:
        closed: nothing more is read: a close frame came or the stream broke.
        error: what broke the stream, with the code to close with.
    """

    __slots__ = (
        "_buffer",
        "_inflate",
        "_max_fragments",
        "_max_message",
        "_need",
        "_unfinished",
        "closed",
        "error",
    )

    def __init__(self, max_message: int, *, inflate: bool, max_fragments: int = 64) -> None:
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._inflate = inflate
        self._buffer: bytearray | None = None  # the start of a frame that is not all here yet
        self._need = 0  # bytes of it without which looking again tells nothing new
        self._unfinished: _Assembly | None = None
        self.closed = False
        self.error: CloseError | None = None

    @property
    def mid_message(self) -> bool:
        """Whether part of a frame or of a message is held: for a limit on how long that may be."""
        return self._buffer is not None or self._unfinished is not None

    def feed(self, data: bytes) -> list[Frame]:
        """Take what the socket gave; return what it completed, in order.

        Never raises for bad input: look at `error` after handling what was returned.
        """
        # Nearly every call is one short whole message: no state to look at, none to keep.
        size = len(data) - _SHORT_HEADER
        if (
            0 <= size <= MAX_CONTROL
            and size <= self._max_message
            and data[1] == _MASK_BIT | size
            and ((first := data[0]) == FIN | TEXT or first == FIN | BINARY)
            and self._buffer is None
            and self._unfinished is None
            and not self.closed
        ):
            payload = xor_mask(data[2:6], data[6:])
            if first == FIN | BINARY or payload.isascii() or _is_utf8(payload):
                return [Message(first ^ FIN, payload)]
        return self._feed(data)

    def _feed(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        if self.closed:
            return frames
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._need:
                return frames
            data = bytes(self._buffer)
            self._buffer = None
        try:
            rest = self._take_frames(data, frames)
        except CloseError as error:
            self.error = error.with_traceback(None)  # it would keep the input alive
            self._shut()
        else:
            if rest < len(data) and not self.closed:
                self._buffer = bytearray(memoryview(data)[rest:])
        return frames

    def _shut(self) -> None:
        self.closed = True
        self._unfinished = None

    def _take_frames(self, data: bytes, frames: list[Frame]) -> int:
        """Append the whole frames of `data` to `frames`; return where the rest begins."""
        position, size = 0, len(data)
        while not self.closed:
            start, end = self._payload_span(data, position)
            if end > size:
                self._need = end - position
                break
            frame = self._open_frame(
                data[position], xor_mask(data[start - 4 : start], data[start:end])
            )
            if frame is not None:
                frames.append(frame)
            position = end
        return position

    def _payload_span(self, data: bytes, position: int) -> tuple[int, int]:
        """Judge the header at `position`; return where its payload starts and ends.

        While the header itself is cut off, the end is that of the part which tells more.
        """
        start = position + _SHORT_HEADER
        if len(data) < position + 2:
            return start, position + 2
        first, second = data[position], data[position + 1]
        self._check_first(first, second)
        length = second & _LENGTH_BITS
        if length > 125:
            wide = 2 if length == 126 else 8
            start += wide
            if len(data) < start - 4:
                return start, start - 4
            length = int.from_bytes(data[position + 2 : start - 4], "big")
            _check_minimal(length, wide)
        if not first & _CONTROL_BIT:
            self._check_limits(length)
        return start, start + length

    def _check_first(self, first: int, second: int) -> None:
        if self._unfinished is not None:
            allowed = _INSIDE
        else:
            allowed = _BETWEEN_DEFLATED if self._inflate else _BETWEEN
        if first not in allowed:
            raise CloseError("protocol_error", self._why_not(first))
        if second < _MASK_BIT:
            raise CloseError("protocol_error", "expected a masked frame, came one without a mask")
        if first & _CONTROL_BIT and second & _LENGTH_BITS > MAX_CONTROL:
            raise CloseError("protocol_error", "expected at most 125 bytes in a control frame")

    def _why_not(self, first: int) -> str:
        opcode = first & _OPCODE_BITS
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            return f"expected an opcode of RFC 6455, came {opcode}"
        if opcode & _CONTROL_BIT and not first & FIN:
            return "expected a whole control frame, came a fragment"
        if opcode == CONTINUATION and self._unfinished is None:
            return "expected a new message, came a continuation"
        if opcode in (TEXT, BINARY) and self._unfinished is not None:
            return "expected a continuation, came a new message"
        return f"expected no such reserved bits here, came {first >> 4 & 7:03b}"

    def _check_limits(self, length: int) -> None:
        unfinished = self._unfinished
        total = length if unfinished is None else length + unfinished.wire_size
        if total > self._max_message:
            raise _too_big(self._max_message)
        if unfinished is not None and unfinished.fragments >= self._max_fragments:
            raise CloseError("policy", f"expected at most {self._max_fragments} fragments")

    def _open_frame(self, first: int, payload: bytes) -> Frame | None:
        opcode = first & _OPCODE_BITS
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        if opcode == CLOSE:
            self._shut()
            return _read_close(payload)
        if first in (FIN | TEXT, FIN | BINARY):
            return _whole_message(opcode, payload)
        return self._assemble(first, payload)

    def _assemble(self, first: int, payload: bytes) -> Message | None:
        assembly = self._unfinished
        if assembly is None:
            assembly = _Assembly(first & _OPCODE_BITS, bool(first & RSV1), self._max_message)
        final = bool(first & FIN)
        assembly.add(payload, final)
        if not final:
            self._unfinished = assembly
            return None
        self._unfinished = None
        return Message(assembly.opcode, bytes(assembly.data))


class _Assembly:
    """One message in the making: fragments, deflated or both."""

    __slots__ = ("_inflater", "_limit", "_utf8", "data", "fragments", "opcode", "wire_size")

    def __init__(self, opcode: int, deflated: bool, limit: int) -> None:
        self.opcode = opcode
        self.data = bytearray()
        self.fragments = 0
        self.wire_size = 0
        self._limit = limit
        self._inflater = _Inflater() if deflated else None
        self._utf8 = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None

    def add(self, payload: bytes, final: bool) -> None:
        """Take one more fragment's payload; every rule is judged now, not at the end."""
        self.fragments += 1
        self.wire_size += len(payload)
        if self._inflater is not None:
            payload = self._inflater.inflate(payload, final, self._limit - len(self.data))
        if len(self.data) + len(payload) > self._limit:
            raise _too_big(self._limit)
        if self._utf8 is not None and not _decodes(self._utf8, payload, final):
            raise _not_utf8()
        self.data += payload


class _Inflater:
    """Raw deflate of one message (RFC 7692, 7.2.2)."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)

    def inflate(self, data: bytes, final: bool, room: int) -> bytes:
        """Return what `data` inflates to: at most `room + 1` bytes, the one more tells of a bomb."""
        out = b""
        source = data + _DEFLATE_END if final else data
        for _ in range(_MAX_FINAL_BLOCKS):
            out += self._inflate_block(source, room + 1 - len(out))
            source = self._stream.unused_data  # what stands behind a final block
            if not source or len(out) > room:
                break
        if len(out) <= room and (source or (final and not self._stream.eof)):
            raise CloseError("bad_payload", "expected deflate data that ends with its message")
        return out

    def _inflate_block(self, source: bytes, room: int) -> bytes:
        if self._stream.eof:
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            return self._stream.decompress(source, room)
        except zlib.error as error:
            came = str(error)
        raise CloseError("bad_payload", f"expected deflate data: {came}")


def _check_minimal(length: int, wide: int) -> None:
    if length < (126 if wide == 2 else 65536):
        raise CloseError("protocol_error", f"expected {length} in its shortest form")
    if length >> 63:
        raise CloseError("protocol_error", "expected a length below 2^63")


def _whole_message(opcode: int, payload: bytes) -> Message:
    if opcode == TEXT and not payload.isascii() and not _is_utf8(payload):
        raise _not_utf8()
    return Message(opcode, payload)


def _read_close(payload: bytes) -> Close:
    """Judge a close frame's payload (RFC 6455, 5.5.1 and 7.4)."""
    if not payload:
        return Close(NO_STATUS, "")
    if len(payload) == 1:
        raise CloseError("protocol_error", "expected a close code of two bytes, came one")
    code = int.from_bytes(payload[:2], "big")
    if not is_sendable_close(code):
        raise CloseError("protocol_error", f"expected a close code of RFC 6455, 7.4, came {code}")
    if not _is_utf8(payload[2:]):
        raise _not_utf8()
    return Close(code, payload[2:].decode())


def _too_big(limit: int) -> CloseError:
    return CloseError("too_big", f"expected at most {limit} bytes in a message")


def _not_utf8() -> CloseError:
    return CloseError("bad_payload", "expected UTF-8")


# Both give a bool: an exception kept as the error's context would keep the payload alive.
def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decodes(decoder: codecs.IncrementalDecoder, data: bytes, final: bool) -> bool:
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError:
        return False
    return not decoder.getstate()[0].startswith(_HALF_SURROGATES)
