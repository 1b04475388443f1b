"""WebSocket frames as bytes: what a server sends, and what a client does (protocol layer).

RFC 6455, section 5, and RFC 7692. A frame is built once and the same bytes are written to every
viewer, so nothing here belongs to a connection: no mask, no compression context that lives on.
The names and numbers of the wire that the reader needs too stand here as well.
"""

from __future__ import annotations

import secrets
import struct
import zlib


__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "DEFLATE_LEVEL",
    "DEFLATE_MIN",
    "DEFLATE_TAIL",
    "FIN",
    "MAX_CONTROL",
    "NO_STATUS",
    "PING",
    "PONG",
    "RSV1",
    "TEXT",
    "binary_frame",
    "close_frame",
    "deflated_frame",
    "is_sendable_close",
    "masked_frame",
    "ping_frame",
    "pong_frame",
    "text_frame",
    "xor_mask",
]

# Opcodes (RFC 6455, 5.2).
CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

# Bits of the first byte.
FIN = 0x80
RSV1 = 0x40

MAX_CONTROL = 125
"""Bytes of payload in a control frame (RFC 6455, 5.5)."""

NO_STATUS = 1005
"""Stands for "a close frame without a code"; never on the wire (RFC 6455, 7.4.1)."""

DEFLATE_MIN = 256
"""Bytes of payload under which a frame goes plain: deflating it costs more than it saves."""

DEFLATE_LEVEL = 3
"""zlib level of shared frames: on 17 kB of danmaku 6 % larger than level 6, at half the time."""

DEFLATE_TAIL = b"\x00\x00\xff\xff"
"""What Z_SYNC_FLUSH ends with and the wire leaves out (RFC 7692, 7.2.1)."""

_MASK_BIT = 0x80
_INT_XOR_MAX = 2048  # bytes; above it four table look-ups beat one long integer


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked final text frame; `payload` is UTF-8."""
    return _header(FIN | TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return one unmasked final binary frame."""
    return _header(FIN | BINARY, len(payload)) + payload


def ping_frame(data: bytes = b"") -> bytes:
    """Return a ping of at most 125 bytes."""
    return _control_frame(PING, data)


def pong_frame(data: bytes = b"") -> bytes:
    """Return a pong that carries its ping's data, at most 125 bytes."""
    return _control_frame(PONG, data)


def close_frame(code: int = NO_STATUS, reason: str = "") -> bytes:
    """Return a close frame; the reason is cut to what fits, at a character's edge.

    `NO_STATUS` gives the empty close frame, so a received `Close.code` can be sent back as it is.
    """
    if code == NO_STATUS:
        return _control_frame(CLOSE, b"")
    if not is_sendable_close(code):
        raise ValueError(f"expected a close code of RFC 6455, 7.4, came {code}")
    text = reason.encode(errors="replace")[: MAX_CONTROL - 2].decode(errors="ignore")
    return _control_frame(CLOSE, code.to_bytes(2, "big") + text.encode())


def is_sendable_close(code: int) -> bool:
    """Tell whether `code` may stand in a close frame (RFC 6455, 7.4 and the IANA registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def deflated_frame(opcode: int, payload: bytes, level: int = DEFLATE_LEVEL) -> bytes:
    """Return a data frame that every client with permessage-deflate can read (RFC 7692, 7.2.1).

    The deflate context is fresh, hence the handshake's `server_no_context_takeover`. A payload
    that is short, or does not shrink, goes plain: RSV1 is chosen message by message.
    """
    if len(payload) >= DEFLATE_MIN:
        deflated = _deflate(payload, level)
        if len(deflated) < len(payload):
            return _header(FIN | RSV1 | opcode, len(deflated)) + deflated
    return _header(FIN | opcode, len(payload)) + payload


def _deflate(payload: bytes, level: int) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
    return deflated.removesuffix(DEFLATE_TAIL)


def masked_frame(
    opcode: int,
    payload: bytes,
    *,
    mask: bytes | None = None,
    fin: bool = True,
    rsv1: bool = False,
) -> bytes:
    """Return a client's frame (RFC 6455, 5.3).

    Args:
        opcode: any opcode, valid or not: tests send wrong ones on purpose.
        payload: as it is before masking, already deflated if `rsv1`.
        mask: four bytes; fresh random ones if left out.
        fin: whether the message ends here.
        rsv1: whether the message is deflated; on its first frame only.
    """
    key = secrets.token_bytes(4) if mask is None else mask
    first = opcode | (FIN if fin else 0) | (RSV1 if rsv1 else 0)
    return _header(first, len(payload), _MASK_BIT) + key + xor_mask(key, payload)


def xor_mask(mask: bytes, payload: bytes) -> bytes:
    """Mask or unmask a payload with its four-byte key (RFC 6455, 5.3)."""
    size = len(payload)
    if size > _INT_XOR_MAX:
        return _xor_by_table(mask, payload)
    keys = (mask * ((size >> 2) + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(keys, "little")
    return number.to_bytes(size, "little")


def _xor_by_table(mask: bytes, payload: bytes) -> bytes:
    out = bytearray(payload)
    for i, key in enumerate(mask):
        out[i::4] = out[i::4].translate(_XOR_TABLES[key])
    return bytes(out)


_XOR_TABLES = [xor_mask(bytes([key]) * 4, bytes(range(256))) for key in range(256)]


def _control_frame(opcode: int, data: bytes) -> bytes:
    if len(data) > MAX_CONTROL:
        raise ValueError(f"expected at most {MAX_CONTROL} bytes of control data, came {len(data)}")
    return bytes((FIN | opcode, len(data))) + data


def _header(first: int, size: int, mask_bit: int = 0) -> bytes:
    if size < 126:
        return bytes((first, mask_bit | size))
    if size < 65536:
        return struct.pack("!BBH", first, mask_bit | 126, size)
    return struct.pack("!BBQ", first, mask_bit | 127, size)
