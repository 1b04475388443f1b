"""A WebSocket client without manners, for tests: any bytes, any split, nothing hidden.

It sends what it is given, right or wrong, and shows what came back: HTTP responses, frames, the
items in them, the close code, the end of the stream.
"""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import msgpack
import orjson

from liveroom.protocol.frame_builder import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE_TAIL,
    NO_STATUS,
    PING,
    PONG,
    TEXT,
    masked_frame,
    xor_mask,
)
from liveroom.protocol.handshake import JSON, MSGPACK, accept_key


__all__ = [
    "CODECS",
    "MASK",
    "Frame",
    "RawSocket",
    "Response",
    "WebSocket",
    "byte_by_byte",
    "close_payload",
    "deflate",
    "fragments",
    "open_socket",
    "open_websocket",
    "pieces",
    "raw_frame",
    "upgrade_request",
]

PATIENCE_S = 8.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x37\xfa\x21\x3d"
CODECS = (JSON, MSGPACK)
DEFLATE_OFFER = "permessage-deflate; client_max_window_bits"


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came, inflated."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False

    @property
    def close_code(self) -> int:
        """The code of a close frame."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big") if self.payload else NO_STATUS


# What is sent.


def upgrade_request(
    changes: Mapping[str, str | list[str] | None] | None = None,
    *,
    line: str = "GET /ws HTTP/1.1",
) -> bytes:
    """Return an upgrade request; a header changed to None is left out, to a list repeated."""
    fields: dict[str, str | list[str] | None] = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    fields |= changes or {}
    lines = [line]
    for name, value in fields.items():
        values = [value] if isinstance(value, str) else value or []
        lines += [f"{name}: {one}" for one in values]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def raw_frame(first: int, payload: bytes = b"", *, length: bytes | None = None) -> bytes:
    """Return a masked frame whose first byte, and if need be length bytes, are as given."""
    if length is None:
        return bytes([first]) + masked_frame(0, payload, mask=MASK)[1:]
    return bytes([first]) + length + MASK + xor_mask(MASK, payload)


def fragments(opcode: int, *parts: bytes, rsv1: bool = False) -> list[bytes]:
    """Return one message in as many frames as there are parts."""
    last = len(parts) - 1
    return [
        masked_frame(
            CONTINUATION if i else opcode, part, mask=MASK, fin=i == last, rsv1=rsv1 and not i
        )
        for i, part in enumerate(parts)
    ]


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """Return the payload of a close frame."""
    return code.to_bytes(2, "big") + reason


def deflate(payload: bytes, *, final: bool = False) -> bytes:
    """Return a message's payload as RFC 7692 has it; `final` ends it with a BFINAL block."""
    stream = zlib.compressobj(9, wbits=-15)
    data = stream.compress(payload)
    if final:
        return data + stream.flush() + b"\x00"
    return (data + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(DEFLATE_TAIL)


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    """Cut into single bytes."""
    return (data[i : i + 1] for i in range(len(data)))


def pieces(data: bytes, size: int = 997) -> Iterator[bytes]:
    """Cut into pieces."""
    return (data[i : i + size] for i in range(0, len(data), size))


class RawSocket:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port))

    async def send(
        self, data: bytes, cut: Callable[[bytes], Iterable[bytes]] | None = None
    ) -> None:
        """Send bytes, whole or cut; between two pieces the other side gets a turn to read.

        A peer that has closed meanwhile is no error: what it said first is still to be read.
        """
        try:
            for piece in (data,) if cut is None else cut(data):
                if self.writer.is_closing():
                    return
                self.writer.write(piece)
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_S):
                await self.writer.drain()
        except ConnectionError:
            pass

    async def response(self) -> Response:
        """Read one HTTP response."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines if line)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            try:
                body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            except asyncio.IncompleteReadError as exc:  # the answer to HEAD ends with its headers
                body = exc.partial
        return Response(int(first.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Read until the other side closes; a reset counts as the end."""
        data = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while chunk := await self.reader.read(65536):
                    data += chunk
        except ConnectionError:
            pass
        return data

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class WebSocket:
    """What follows a successful handshake on a raw socket."""

    socket: RawSocket
    accepted: Response
    frames: list[Frame] = field(default_factory=list)
    """Every frame that came, in order."""
    items: list[dict[str, Any]] = field(default_factory=list)
    """The items of all data frames that came, in order."""

    def __post_init__(self) -> None:
        self._ids = itertools.count(1_000_000)
        self.binary = self.accepted.headers.get("sec-websocket-protocol") == MSGPACK
        self.deflate = "permessage-deflate" in self.accepted.headers.get(
            "sec-websocket-extensions", ""
        )

    # What is sent.

    async def send(
        self, data: bytes, cut: Callable[[bytes], Iterable[bytes]] | None = None
    ) -> None:
        """Send bytes as they are."""
        await self.socket.send(data, cut)

    async def message(self, payload: bytes) -> None:
        """Send one whole message of the agreed kind."""
        await self.send(masked_frame(self.opcode, payload))

    async def command(self, op: str, **fields: Any) -> None:
        """Send a command; `id`, `key` and `d` as given."""
        await self.message(self.encode({"op": op} | fields))

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send a command and return its reply item."""
        number = next(self._ids)
        await self.command(op, id=number, **fields)
        return await self.reply(number)

    async def hello(self, room: str, token: str = "", **fields: Any) -> dict[str, Any]:
        """Join a room; return the reply's `d`."""
        reply = await self.ask("hello", d={"room": room, "token": token} | fields)
        assert "err" not in reply, reply
        answer: dict[str, Any] = reply["d"]
        return answer

    @property
    def opcode(self) -> int:
        """The opcode of the agreed codec's messages."""
        return BINARY if self.binary else TEXT

    def encode(self, body: Any) -> bytes:
        """Return a body in the agreed codec."""
        data: bytes = msgpack.packb(body) if self.binary else orjson.dumps(body)
        return data

    # What comes.

    async def frame(self) -> Frame:
        """Read one frame; asserts what a server owes: no mask, no unknown bits, minimal length."""
        reader = self.socket.reader
        async with asyncio.timeout(PATIENCE_S):
            first, second = await reader.readexactly(2)
            assert not second & 0x80, "a server does not mask"
            assert not first & 0x30, "reserved bits without a meaning"
            size = second & 0x7F
            if size > 125:
                wide = 2 if size == 126 else 8
                size = int.from_bytes(await reader.readexactly(wide), "big")
                assert size > (125 if wide == 2 else 65535), "not the shortest form"
            payload = await reader.readexactly(size)
        frame = Frame(first & 0x0F, payload, bool(first & 0x80), bool(first & 0x40))
        return self._keep(frame)

    async def reply(self, number: int | None) -> dict[str, Any]:
        """Read until the reply to a command is there."""
        return await self.item(lambda item: "re" in item and item["re"] == number)

    async def item(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read until a wanted item is there, looking at those that came too."""
        seen = 0
        while True:
            for item in self.items[seen:]:
                if wanted(item):
                    return item
            seen = len(self.items)
            frame = await self.frame()
            assert frame.opcode != CLOSE, (frame, self.items[-3:])

    async def closed(self) -> int:
        """Read until the close frame and then the end of the stream; return the code."""
        while True:
            frame = await self.frame()
            if frame.opcode == CLOSE:
                break
        await self.send(masked_frame(CLOSE, frame.payload[:2]))
        assert await self.socket.rest() == b"", "nothing may follow a close frame"
        return frame.close_code

    async def settled(self) -> list[Frame]:
        """Return every frame that came, once all that was sent before was looked at."""
        reply = await self.ask("sys.ping")
        assert "d" in reply, reply
        return self.frames

    def pongs(self) -> list[bytes]:
        """Return the payloads of the pongs that came."""
        return [frame.payload for frame in self.frames if frame.opcode == PONG]

    def replies(self) -> list[int]:
        """Return the numbers of the commands that were answered well, in order."""
        return [item["re"] for item in self.items if "re" in item and "d" in item]

    def errors(self) -> list[str]:
        """Return the codes of the error replies that came."""
        return [item["err"]["code"] for item in self.items if "err" in item]

    def _keep(self, frame: Frame) -> Frame:
        if frame.rsv1:
            assert self.deflate, "deflated without an agreement"
            data = zlib.decompressobj(-15).decompress(frame.payload + DEFLATE_TAIL)
            frame = Frame(frame.opcode, data, frame.fin, rsv1=True)
        self.frames.append(frame)
        if frame.opcode in (TEXT, BINARY):
            assert frame.fin, "the server does not fragment"
            assert (frame.opcode == BINARY) == self.binary
            decode = msgpack.unpackb if self.binary else orjson.loads
            self.items += decode(frame.payload)
        elif frame.opcode == PING:
            self.socket.writer.write(masked_frame(PONG, frame.payload))
        return frame


@asynccontextmanager
async def open_socket(port: int) -> AsyncIterator[RawSocket]:
    """A TCP connection for the length of a block."""
    socket = await RawSocket.open(port)
    try:
        yield socket
    finally:
        await socket.close()


@asynccontextmanager
async def open_websocket(
    port: int,
    path: str = "/ws",
    *,
    codec: str = JSON,
    deflate: bool = False,
    headers: Mapping[str, str | list[str] | None] | None = None,
) -> AsyncIterator[WebSocket]:
    """A WebSocket, not yet in a room, for the length of a block."""
    changes: dict[str, str | list[str] | None] = {"Sec-WebSocket-Protocol": codec}
    if deflate:
        changes["Sec-WebSocket-Extensions"] = DEFLATE_OFFER
    async with open_socket(port) as socket:
        await socket.send(
            upgrade_request(changes | dict(headers or {}), line=f"GET {path} HTTP/1.1")
        )
        accepted = await socket.response()
        assert accepted.status == 101, accepted
        assert accepted.headers["sec-websocket-accept"] == accept_key(KEY)
        yield WebSocket(socket, accepted)
