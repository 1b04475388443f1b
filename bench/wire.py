"""The client's side of the wire as cheap as Python allows: the load must not be the limit.

Most connections only count frames (`Sink`). A few look into them (`Probe`, `Buyer`). Each class is
an asyncio protocol that the transport is handed to after the greeting.
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any


__all__ = ["Buyer", "Counters", "Greeting", "Probe", "Sink", "client_frame", "handshake"]

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
_NO_MASK = b"\0\0\0\0"  # a valid mask; the server unmasks all the same
_PONG = b"\x8a\x80" + _NO_MASK
_STAMP = re.compile(rb"@(\d{9,})~")
_TAIL = b"\0\0\xff\xff"
_KEEP_LATENCIES = 2_000_000


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a final, masked frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + _NO_MASK + payload
    return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size) + _NO_MASK + payload


def handshake(path: str, subprotocol: str, deflate: bool) -> bytes:
    """Return an upgrade request as a browser would send it, less what nobody reads."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Protocol: {subprotocol}",
    ]
    if deflate:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class Counters:
    """What all connections of the load have seen together."""

    __slots__ = (
        "accepted", "bytes", "closed", "frames", "hits", "last_close", "last_frame", "latencies",
        "refused",
    )  # fmt: skip

    def __init__(self) -> None:
        self.frames = self.bytes = self.hits = self.closed = 0
        self.accepted = self.refused = 0
        self.latencies: list[float] = []
        self.last_frame = self.last_close = b""


class Sink(asyncio.Protocol):
    """Counts frames and bytes; answers pings."""

    __slots__ = ("_counters", "_head", "_skip", "leaving", "transport")

    def __init__(self, counters: Counters, transport: asyncio.Transport) -> None:
        self._counters = counters
        self._head = b""
        self._skip = 0  # bytes of the present frame that are still to come
        self.transport = transport
        self.leaving = False

    def data_received(self, data: bytes) -> None:
        """Walk over the frames without looking into them."""
        counters = self._counters
        counters.bytes += len(data)
        if self._head:
            data, self._head = self._head + data, b""
        size, at = len(data), self._skip
        while at < size:
            if size - at < 10 and size - at < _header_size(data, at):
                self._head, self._skip = data[at:], 0
                return
            counters.frames += 1
            end = at + _frame_size(data, at)
            if data[at] & 0x08:
                self._on_control(data[at:end])
            at = end
        self._skip = at - size

    def _on_control(self, frame: bytes) -> None:
        if frame[0] & 0x0F == PING:
            self.transport.write(_PONG)
        elif frame[0] & 0x0F == CLOSE:
            self._counters.last_close = frame

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that the server ended."""
        if not self.leaving:
            self._counters.closed += 1


class _Reader(Sink, ABC):
    """Takes whole frames out of what comes."""

    __slots__ = ("_buffer",)

    def __init__(self, counters: Counters, transport: asyncio.Transport) -> None:
        super().__init__(counters, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Hand on every frame that is complete."""
        now = time.monotonic_ns()
        counters = self._counters
        counters.bytes += len(data)
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while len(buffer) - at >= _header_size(buffer, at):
            size = _frame_size(buffer, at)
            if len(buffer) - at < size:
                break
            counters.frames += 1
            if buffer[at] & 0x08:
                self._on_control(buffer[at : at + size])
            else:
                self._on_frame(buffer[at : at + size], now)
            at += size
        self._buffer = buffer[at:]

    @abstractmethod
    def _on_frame(self, frame: bytes, now: int) -> None: ...


class Probe(_Reader):
    """Looks into every frame: counts messages and takes their age from the time in the text."""

    __slots__ = ()

    def _on_frame(self, frame: bytes, now: int) -> None:
        counters = self._counters
        stamps = _STAMP.findall(_payload(frame))
        if stamps:
            counters.hits += len(stamps)
            counters.last_frame = frame
            if len(counters.latencies) < _KEEP_LATENCIES:
                counters.latencies += [(now - int(stamp)) / 1e9 for stamp in stamps]


class Buyer(_Reader):
    """Sends a command for every answer, so that a fixed number is always on its way.

    Args:
        make: returns the next command's frame, or None to stop.
        waited: takes the seconds from each command to its answer; they come in order.
    """

    __slots__ = ("_make", "_sent_at", "_waited")

    def __init__(
        self,
        counters: Counters,
        transport: asyncio.Transport,
        make: Callable[[], bytes | None],
        waited: list[float],
    ) -> None:
        super().__init__(counters, transport)
        self._make = make
        self._waited = waited
        self._sent_at: deque[int] = deque()

    def send(self, count: int) -> None:
        """Send so many commands."""
        frames = [frame for _ in range(count) if (frame := self._make()) is not None]
        if frames:
            self._sent_at.extend([time.monotonic_ns()] * len(frames))
            self.transport.write(b"".join(frames))

    def _on_frame(self, frame: bytes, now: int) -> None:
        answered = frame.count(b'{"re":')
        if answered:
            refused = frame.count(b'"err":{"code":"')
            self._counters.accepted += answered - refused
            self._counters.refused += refused
            self._waited += [(now - self._sent_at.popleft()) / 1e9 for _ in range(answered)]
            self.send(answered)


class Greeting(asyncio.Protocol):
    """From the TCP connection to the reply to hello; then the transport goes to another protocol.

    Args:
        request: the upgrade request.
        hello: the first frame.
        done: takes the transport and what came behind the greeting, or None and why.
    """

    def __init__(
        self, request: bytes, hello: bytes, done: Callable[[asyncio.Transport | None, bytes], None]
    ) -> None:
        self._request = request
        self._hello = hello
        self._done: Callable[[asyncio.Transport | None, bytes], None] | None = done
        self._buffer = b""
        self._upgraded = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Say hello after the 101; done with the first frame."""
        self._buffer += data
        if not self._upgraded:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._finish(None, head[:200])
                return
            self._upgraded, self._buffer = True, rest
            self._transport.write(self._hello)
        self._look_for_greeting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that it failed, if nothing was told yet."""
        self._finish(None, f"lost: {exc}".encode())

    def _look_for_greeting(self) -> None:
        frame = self._buffer
        if len(frame) < 2 or len(frame) < _header_size(frame, 0):
            return
        size = _frame_size(frame, 0)
        if len(frame) < size:
            return
        if frame[0] & 0x0F == PING:
            self._transport.write(_PONG)
            self._buffer = frame[size:]
            self._look_for_greeting()
        elif frame[0] & 0x0F == CLOSE or b'"err"' in frame[:40]:
            self._finish(None, frame[:size])
        else:
            self._finish(self._transport, frame[size:])

    def _finish(self, transport: asyncio.Transport | None, rest: bytes) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(transport, rest)


def _header_size(data: bytes, at: int) -> int:
    if len(data) - at < 2:
        return 2
    short = data[at + 1]
    return 2 if short < 126 else 4 if short == 126 else 10


def _frame_size(data: bytes, at: int) -> int:
    short = data[at + 1]
    if short < 126:
        return 2 + short
    if short == 126:
        return 4 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 10 + int.from_bytes(data[at + 2 : at + 10], "big")


def _payload(frame: bytes) -> bytes:
    payload = frame[_header_size(frame, 0) :]
    if frame[0] & 0x40:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + _TAIL)
    return payload
