"""The client's side of the wire as cheap as Python allows: bytes of requests and frames (pure)."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgpack
import orjson

from liveroom.protocol.handshake import JSON, MSGPACK


__all__ = [
    "CLOSE",
    "PING",
    "PONG_FRAME",
    "Address",
    "address_of",
    "encoded",
    "frame_size",
    "header_size",
    "upgrade",
]

_TEXT, _BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
_NO_MASK = b"\0\0\0\0"  # valid, and free; the server unmasks all the same
PONG_FRAME = b"\x8a\x80" + _NO_MASK
CLOSE_FRAME = b"\x88\x82" + _NO_MASK + (1000).to_bytes(2, "big")


class Address(NamedTuple):
    """Where an engine listens."""

    host: str
    port: int
    secure: bool = False

    @property
    def http(self) -> str:
        """The URL of its HTTP side."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}"


def address_of(url: str) -> Address:
    """Return the address of a ws, wss, http or https URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss", "http", "https") or not parts.hostname:
        raise ValueError(f"expected ws://host:port or wss://host:port, came {url}")
    secure = parts.scheme in ("wss", "https")
    return Address(parts.hostname, parts.port or (443 if secure else 80), secure)


def upgrade(address: Address, codec: str, *, deflate: bool) -> bytes:
    """Return the request for a WebSocket."""
    lines = [
        "GET /ws HTTP/1.1",
        f"Host: {address.host}:{address.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Protocol: {MSGPACK if codec == 'msgpack' else JSON}",
    ]
    if deflate:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def encoded(codec: str, command: Any) -> bytes:
    """Return the frame of a command, or of a list of them."""
    if codec == "msgpack":
        return _frame(_BINARY, msgpack.packb(command))
    return _frame(_TEXT, orjson.dumps(command))


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + _NO_MASK + payload
    return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size) + _NO_MASK + payload


def header_size(data: bytes, at: int) -> int:
    """Return the size of the header of a server's frame; it needs two bytes to be known."""
    if len(data) - at < 2:
        return 2
    short = data[at + 1]
    return 2 if short < 126 else 4 if short == 126 else 10


def frame_size(data: bytes, at: int) -> int:
    """Return the size of a server's frame whose header is complete."""
    short = data[at + 1]
    if short < 126:
        return 2 + short
    if short == 126:
        return 4 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 10 + int.from_bytes(data[at + 2 : at + 10], "big")
