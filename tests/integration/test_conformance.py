"""RFC 6455 and 7692 on the real handler stack, in the order of Autobahn's sections 1-7, 10 and 12.

The server has no echo. The witness that a message was received whole is the answer to the
`sys.ping` in it: the command carries padding to any size, and the reply its number. Every case
runs with the bytes sent whole and cut into small pieces, and a case that does not close ends with
one more command that must be answered.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import msgpack
import orjson
import pytest
import pytest_asyncio

import harness
import rawsocket
from liveroom.protocol.frame_builder import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE_TAIL,
    PING,
    PONG,
    TEXT,
    masked_frame,
)
from liveroom.protocol.handshake import JSON, MSGPACK
from rawsocket import (
    MASK,
    byte_by_byte,
    close_payload,
    fragments,
    open_websocket,
    pieces,
    raw_frame,
)


pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOM = "hall"
LIMIT = 65_536
FRAGMENTS = 64
SETTLING = 1_000_000  # replies from here on answer to the client itself


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(embedded_url: str) -> AsyncIterator[harness.Worker]:
    """One worker for all cases."""
    async with harness.running_worker(embedded_url) as made:
        await made.open_room(ROOM)
        yield made


class Expect(NamedTuple):
    """What the server must do; `close` None: it goes on.

    `late`: more was sent behind the client's own close. When that comes in pieces of its own, a
    reset may meet it and take the answer along, which the sender earned.
    """

    replies: tuple[int, ...] = ()
    pongs: tuple[bytes, ...] = ()
    close: int | None = None
    errors: tuple[str, ...] = ()
    late: bool = False


@dataclass(frozen=True)
class Wire:
    """How one variant of client makes its frames."""

    codec: str
    deflate: bool

    def __str__(self) -> str:
        return self.codec.rpartition(".")[2] + ("-deflate" if self.deflate else "")

    @property
    def opcode(self) -> int:
        return BINARY if self.codec == MSGPACK else TEXT

    def command(self, number: int, size: int = 0, text: str = "") -> bytes:
        """A `sys.ping` of exactly `size` bytes (its natural size if that is 0)."""
        for more in ({}, {"x": 0}, {"xx": 0}):
            for pad in range(max(1, size)) if not size else range(max(0, size - 60), size):
                body = {"op": "sys.ping", "id": number, "d": {"p": text + "a" * pad} | more}
                made = self.encode(body)
                if not size or len(made) == size:
                    return made
                if len(made) > size:
                    break
        raise AssertionError(f"no command has {size} bytes")

    def encode(self, body: Any) -> bytes:
        data: bytes = msgpack.packb(body) if self.codec == MSGPACK else orjson.dumps(body)
        return data

    def pack(self, payload: bytes) -> bytes:
        return rawsocket.deflate(payload) if self.deflate else payload

    def message(self, number: int, size: int = 0, text: str = "") -> bytes:
        """The command as one whole frame."""
        payload = self.pack(self.command(number, size, text))
        return masked_frame(self.opcode, payload, mask=MASK, rsv1=self.deflate)

    def parts(self, number: int, count: int, size: int = 0) -> list[bytes]:
        """The command in `count` frames."""
        payload = self.pack(self.command(number, size))
        edges = [len(payload) * i // count for i in range(count + 1)]
        cut = [payload[a:b] for a, b in pairwise(edges)]
        return fragments(self.opcode, *cut, rsv1=self.deflate)


Build = Callable[[Wire], tuple[bytes, Expect]]
Cases = dict[str, Build]
WIRES = [Wire(codec, deflate) for codec in (JSON, MSGPACK) for deflate in (False, True)]
PLAIN = [wire for wire in WIRES if not wire.deflate]
TEXTS = [wire for wire in WIRES if wire.codec == JSON]
DEFLATED = [wire for wire in WIRES if wire.deflate]


def table(*tables: Cases) -> pytest.MarkDecorator:
    """Parametrize over the cases of some tables."""
    cases = {name: build for cases in tables for name, build in cases.items()}
    return pytest.mark.parametrize("build", cases.values(), ids=cases.keys())


def wires(which: list[Wire]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("wire", which, ids=str)


async def check(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Run a case with the bytes whole, and cut."""
    data, expect = build(wire)
    small = byte_by_byte if len(data) < 600 else pieces
    for cut in (None, small):
        async with open_websocket(worker.port, codec=wire.codec, deflate=wire.deflate) as ws:
            await ws.hello(ROOM)
            known = len(ws.replies())
            await ws.send(data, cut)
            await _finish(ws, expect, cut=cut is not None)
            replies = [number for number in ws.replies()[known:] if number < SETTLING]
            assert tuple(replies) == expect.replies
            assert tuple(ws.pongs()) == expect.pongs
            assert tuple(ws.errors()) == expect.errors


async def _finish(ws: rawsocket.WebSocket, expect: Expect, *, cut: bool) -> None:
    if expect.close is None:
        await ws.settled()
    elif not (cut and expect.late):
        assert await ws.closed() == expect.close
    else:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            assert await ws.closed() == expect.close


def ping(data: bytes = b"") -> bytes:
    return masked_frame(PING, data, mask=MASK)


def pong(data: bytes = b"") -> bytes:
    return masked_frame(PONG, data, mask=MASK)


def close(payload: bytes = b"") -> bytes:
    return masked_frame(CLOSE, payload, mask=MASK)


def part(opcode: int, payload: bytes, *, fin: bool) -> bytes:
    return masked_frame(opcode, payload, mask=MASK, fin=fin)


FAILS = Expect(close=1002)


# 1: framing. ------------------------------------------------------------------------------------


def _of_size(size: int) -> Build:
    return lambda wire: (wire.message(1, size), Expect((1,)))


SIZES: Cases = {
    f"1.1 {size} bytes": _of_size(size)
    for size in (60, 125, 126, 127, 128, 255, 256, 4096, 65535, 65536)
}
FRAMING: Cases = {
    "1.1.1 empty message": lambda wire: (
        masked_frame(wire.opcode, b"", mask=MASK),
        Expect(errors=("bad_message",)),
    ),
    "1.3 many messages at once": lambda wire: (
        b"".join(wire.message(n) for n in range(1, 21)),
        Expect(tuple(range(1, 21))),
    ),
    "1.4 any mask": lambda wire: (
        b"".join(
            masked_frame(wire.opcode, wire.pack(wire.command(n)), mask=mask, rsv1=wire.deflate)
            for n, mask in enumerate((bytes(4), b"\xff" * 4, b"\x00\x01\x02\x03"), 1)
        ),
        Expect((1, 2, 3)),
    ),
    "1.5 65537 bytes": lambda wire: (
        masked_frame(wire.opcode, b" " * (LIMIT + 1), mask=MASK),
        Expect(close=1009),
    ),
    "1.6 unmasked text": lambda wire: (
        bytes((0x80 | wire.opcode, len(wire.command(1)))) + wire.command(1),
        FAILS,
    ),
    "1.6 unmasked ping": lambda _: (b"\x89\x00", FAILS),
    "1.6 unmasked close": lambda _: (b"\x88\x00", FAILS),
    "1.7 16 bit length for 125": lambda wire: (
        raw_frame(0x80 | wire.opcode, b"a" * 125, length=b"\xfe\x00\x7d"),
        FAILS,
    ),
    "1.7 64 bit length for 126": lambda wire: (
        raw_frame(0x80 | wire.opcode, b"a" * 126, length=b"\xff" + (126).to_bytes(8, "big")),
        FAILS,
    ),
    "1.7 64 bit length for 65535": lambda wire: (
        raw_frame(0x80 | wire.opcode, b"", length=b"\xff" + (65535).to_bytes(8, "big")),
        FAILS,
    ),
    "1.8 length of 2^63": lambda wire: (
        raw_frame(0x80 | wire.opcode, b"", length=b"\xff" + (1 << 63).to_bytes(8, "big")),
        FAILS,
    ),
    "1.8 length of 1 TiB": lambda wire: (
        raw_frame(0x80 | wire.opcode, b"", length=b"\xff" + (1 << 40).to_bytes(8, "big")),
        Expect(close=1009),
    ),
}


@wires(WIRES)
@table(SIZES, FRAMING)
async def test_framing(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Section 1: lengths in every form, masks, limits."""
    await check(worker, wire, build)


# 2: pings and pongs. ----------------------------------------------------------------------------

PINGS: Cases = {
    "2.1 empty": lambda _: (ping(), Expect(pongs=(b"",))),
    "2.2 text": lambda _: (ping(b"Hello, world!"), Expect(pongs=(b"Hello, world!",))),
    "2.3 binary": lambda _: (
        ping(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
        Expect(pongs=(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff",)),
    ),
    "2.4 125 bytes": lambda _: (ping(b"\xfe" * 125), Expect(pongs=(b"\xfe" * 125,))),
    "2.5 126 bytes": lambda _: (ping(b"\xfe" * 126), FAILS),
    "2.7 pong unasked": lambda _: (pong(), Expect()),
    "2.8 pong unasked with data": lambda _: (pong(b"unasked"), Expect()),
    "2.9 pong unasked, then ping": lambda _: (pong(b"a") + ping(b"b"), Expect(pongs=(b"b",))),
    "2.10 ten pings": lambda _: (
        b"".join(ping(b"%d" % n) for n in range(10)),
        Expect(pongs=tuple(b"%d" % n for n in range(10))),
    ),
    "2.12 pong of 126 bytes": lambda _: (pong(b"a" * 126), FAILS),
    "2.13 ping with a 16 bit length": lambda _: (
        raw_frame(0x89, b"a", length=b"\xfe\x00\x01"),
        FAILS,
    ),
    "2.14 pings between messages": lambda wire: (
        wire.message(1) + ping(b"x") + wire.message(2) + ping(b"y"),
        Expect((1, 2), (b"x", b"y")),
    ),
}


@wires(WIRES)
@table(PINGS)
async def test_pings(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Section 2: each ping gets its pong, with its data; pongs get nothing."""
    await check(worker, wire, build)


# 3: reserved bits. ------------------------------------------------------------------------------


def _reserved(opcode: int, rsv: int, payload: bytes = b"") -> bytes:
    return raw_frame(0x80 | rsv << 4 | opcode, payload)


def _on_control(opcode: int, rsv: int) -> Build:
    return lambda _: (_reserved(opcode, rsv), FAILS)


def _on_data(rsv: int) -> Build:
    return lambda wire: (
        wire.message(1) + _reserved(wire.opcode, rsv, wire.command(2)) + ping(),
        Expect((1,), close=1002),
    )


def _on_continuation(rsv: int) -> Build:
    return lambda wire: (
        part(wire.opcode, b"x", fin=False) + _reserved(CONTINUATION, rsv, b"y"),
        FAILS,
    )


RESERVED: Cases = {
    f"3 rsv {rsv} on {name}": _on_control(opcode, rsv)
    for rsv in range(1, 8)
    for name, opcode in (("ping", PING), ("pong", PONG), ("close", CLOSE))
}
RESERVED |= {f"3 rsv {rsv} on data": _on_data(rsv) for rsv in (1, 2, 3, 5, 6, 7)}
RESERVED |= {f"3 rsv {rsv} on a continuation": _on_continuation(rsv) for rsv in (1, 2, 4)}
RSV1_UNASKED: Cases = {"3 rsv 4 on data": _on_data(4)}


@wires(WIRES)
@table(RESERVED)
async def test_reserved_bits(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Section 3: no bit without a meaning; RSV1 never on control frames or continuations."""
    await check(worker, wire, build)


@wires(PLAIN)
@table(RSV1_UNASKED)
async def test_rsv1_needs_an_agreement(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Without permessage-deflate RSV1 means nothing either."""
    await check(worker, wire, build)


# 4: opcodes. ------------------------------------------------------------------------------------


def _of_opcode(opcode: int, payload: bytes) -> Build:
    return lambda wire: (
        wire.message(1) + raw_frame(0x80 | opcode, payload) + ping(),
        Expect((1,), close=1002),
    )


OPCODES: Cases = {
    f"4 opcode {opcode} {name}": _of_opcode(opcode, payload)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    for name, payload in (("empty", b""), ("with data", b"reserved"))
}


@wires(PLAIN)
@table(OPCODES)
async def test_opcodes(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Section 4: what has no meaning ends the connection, what came before it counts."""
    await check(worker, wire, build)


# 5: fragmentation. ------------------------------------------------------------------------------


def _woven(frames: Iterable[bytes], between: bytes) -> bytes:
    first, *rest = frames
    return first + b"".join(between + frame for frame in rest)


FRAGMENTED: Cases = {
    "5.1 ping in two": lambda _: (part(PING, b"a", fin=False) + part(0, b"b", fin=True), FAILS),
    "5.2 pong in two": lambda _: (part(PONG, b"a", fin=False) + part(0, b"b", fin=True), FAILS),
    "5.2 close in two": lambda _: (part(CLOSE, b"", fin=False) + part(0, b"", fin=True), FAILS),
    "5.3 two": lambda wire: (b"".join(wire.parts(1, 2)), Expect((1,))),
    "5.4 one, and nothing in the last": lambda wire: (
        b"".join(fragments(wire.opcode, wire.pack(wire.command(1)), b"", rsv1=wire.deflate)),
        Expect((1,)),
    ),
    "5.5 nothing in the first": lambda wire: (
        b"".join(fragments(wire.opcode, b"", wire.pack(wire.command(1)), rsv1=wire.deflate)),
        Expect((1,)),
    ),
    "5.6 ping between": lambda wire: (
        _woven(wire.parts(1, 2), ping(b"x")),
        Expect((1,), (b"x",)),
    ),
    "5.7 pings between five": lambda wire: (
        _woven(wire.parts(1, 5), ping(b"x")),
        Expect((1,), (b"x",) * 4),
    ),
    "5.8 pongs between": lambda wire: (_woven(wire.parts(1, 5), pong(b"x")), Expect((1,))),
    "5.9 continuation of nothing": lambda wire: (part(0, wire.command(1), fin=True), FAILS),
    "5.10 continuation of nothing, unfinished": lambda wire: (
        part(0, wire.command(1), fin=False),
        FAILS,
    ),
    "5.11 continuation after a whole message": lambda wire: (
        wire.message(1) + part(0, b"x", fin=True),
        Expect((1,), close=1002),
    ),
    "5.15 continuation after two fragments": lambda wire: (
        b"".join(wire.parts(1, 2)) + part(0, b"x", fin=False) + wire.message(2),
        Expect((1,), close=1002),
    ),
    "5.16 continuation first, again and again": lambda wire: (
        (part(0, b"x", fin=False) + part(wire.opcode, b"x", fin=False)) * 2,
        FAILS,
    ),
    "5.18 message inside a message": lambda wire: (
        part(wire.opcode, b"[", fin=False) + part(wire.opcode, b"]", fin=True),
        FAILS,
    ),
    "5.18 the other kind inside a message": lambda wire: (
        part(wire.opcode, b"[", fin=False) + part(3 - wire.opcode, b"]", fin=True),
        FAILS,
    ),
    "5.19 two messages with pings": lambda wire: (
        _woven(wire.parts(1, 5), ping(b"x")) + ping(b"y") + _woven(wire.parts(2, 3), ping(b"z")),
        Expect((1, 2), (b"x",) * 4 + (b"y",) + (b"z",) * 2),
    ),
    "5.20 as many as are allowed": lambda wire: (
        b"".join(wire.parts(1, FRAGMENTS, 1000)),
        Expect((1,)),
    ),
    "5.20 one too many": lambda wire: (
        b"".join(wire.parts(1, FRAGMENTS + 1, 1000)),
        Expect(close=1008),
    ),
    "5.21 sum above the limit": lambda wire: (
        part(wire.opcode, b" " * 40_000, fin=False) + part(0, b" " * 40_000, fin=True),
        Expect(close=1009),
    ),
}


@wires(WIRES)
@table(FRAGMENTED)
async def test_fragmentation(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Section 5: fragments make one message, control frames may come between, nothing else."""
    await check(worker, wire, build)


# 6: UTF-8. --------------------------------------------------------------------------------------

VALID = (
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "弹幕",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\ufffe",
    "\uffff",
    "\U00010000",
    "\U0001fffe",
    "\U0010ffff",
    "\u2028\u202e",
    "👩‍👩‍👧‍👦",
)
INVALID = (
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\xc0\x80",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xc2",
    b"\xc2\x41",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
)


def _spelled(wire: Wire, inside: bytes, size: int) -> bytes:
    """A command with these bytes in its text, in fragments of `size` bytes."""
    payload = wire.command(1).replace(b'"p":"', b'"p":"' + inside)
    packed = wire.pack(payload)
    return b"".join(fragments(wire.opcode, *pieces(packed, size), rsv1=wire.deflate))


@wires(TEXTS)
@pytest.mark.parametrize("size", [LIMIT, 2])
@pytest.mark.parametrize("text", VALID, ids=ascii)
async def test_valid_utf8(worker: harness.Worker, wire: Wire, text: str, size: int) -> None:
    """Section 6: every kind of character arrives, wherever fragments cut it."""
    data = _spelled(wire, text.encode(), size)
    await check(worker, wire, lambda _: (data, Expect((1,))))


@wires(TEXTS)
@pytest.mark.parametrize("size", [LIMIT, 3])
@pytest.mark.parametrize("inside", INVALID, ids=bytes.hex)
async def test_invalid_utf8(worker: harness.Worker, wire: Wire, inside: bytes, size: int) -> None:
    """Section 6: what is not UTF-8 ends with 1007, also where a JSON reader would not mind."""
    data = _spelled(wire, inside, size)
    await check(worker, wire, lambda _: (data, Expect(close=1007)))


def _unfinished(bad: bytes) -> Build:
    return lambda _: (part(TEXT, b'{"op":"' + bad, fin=False), Expect(close=1007))


FAIL_FAST: Cases = {
    f"6.4 {bad.hex()}": _unfinished(bad)
    for bad in (b"\xff", b"\xc0", b"\xed\xa0", b"\xf4\x90", b"\xce\xba\xf5", b"\x80")
}


@wires(TEXTS)
@table(FAIL_FAST)
async def test_invalid_utf8_fails_in_its_first_fragment(
    worker: harness.Worker, wire: Wire, build: Build
) -> None:
    """Section 6.4: without waiting for the end of the message."""
    await check(worker, wire, build)


async def test_binary_messages_are_not_judged_as_utf8(worker: harness.Worker) -> None:
    """A MessagePack text that is not UTF-8 is a bad message, not a broken stream."""
    wire = Wire(MSGPACK, deflate=False)
    data = masked_frame(BINARY, b"\x81\xa2op\xa2\xff\xfe", mask=MASK)
    await check(worker, wire, lambda _: (data, Expect(errors=("bad_message",))))


# 7: closing. ------------------------------------------------------------------------------------

VALID_CLOSES = (
    *(1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014),
    *(3000, 3999, 4000, 4999),
)
INVALID_CLOSES = (
    *(0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999),
    *(5000, 9999, 65535),
)
CLOSES: Cases = {
    "7.1.1 message, then close": lambda wire: (
        wire.message(1) + close(close_payload(1000)),
        Expect((1,), close=1000),
    ),
    "7.1.2 two closes": lambda _: (
        close(close_payload(1000)) + close(close_payload(1001)),
        Expect(close=1000, late=True),
    ),
    "7.1.3 ping after close": lambda _: (
        close(close_payload(1000)) + ping(),
        Expect(close=1000, late=True),
    ),
    "7.1.4 message after close": lambda wire: (
        close(close_payload(1000)) + wire.message(1),
        Expect(close=1000, late=True),
    ),
    "7.1.4 garbage after close": lambda _: (close() + b"\xff" * 100, Expect(close=1000, late=True)),
    "7.1.5 close inside a message": lambda wire: (
        _woven(wire.parts(1, 2), close(close_payload(1000))),
        Expect(close=1000, late=True),
    ),
    "7.1.6 large message, close, ping": lambda wire: (
        wire.message(1, LIMIT) + close() + ping(b"late"),
        Expect((1,), close=1000, late=True),
    ),
    "7.3.1 empty": lambda _: (close(), Expect(close=1000)),
    "7.3.2 one byte": lambda _: (close(b"\x03"), FAILS),
    "7.3.4 reason": lambda _: (close(close_payload(1000, b"bye")), Expect(close=1000)),
    "7.3.5 123 bytes of reason": lambda _: (
        close(close_payload(1000, b"a" * 123)),
        Expect(close=1000),
    ),
    "7.3.6 124 bytes of reason": lambda _: (close(close_payload(1000, b"a" * 124)), FAILS),
    "7.5.1 reason not UTF-8": lambda _: (
        close(close_payload(1000, b"\xce\xba\xed\xa0\x80")),
        Expect(close=1007),
    ),
}


def _with_code(code: int, expect: Expect) -> Build:
    return lambda _: (close(close_payload(code)), expect)


CLOSES |= {f"7.7 code {code}": _with_code(code, Expect(close=code)) for code in VALID_CLOSES}
CLOSES |= {f"7.9 code {code}": _with_code(code, FAILS) for code in INVALID_CLOSES}


@wires(PLAIN)
@table(CLOSES)
async def test_closing(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Section 7: the close is answered with its code, nothing is read after it."""
    await check(worker, wire, build)


async def test_half_closed_connections_end(worker: harness.Worker) -> None:
    """A FIN without a close frame: nothing more can be agreed on."""
    async with open_websocket(worker.port) as ws:
        await ws.hello(ROOM)
        ws.socket.writer.write_eof()
        await ws.socket.rest()


async def test_a_reset_leaves_nothing_behind(worker: harness.Worker) -> None:
    """Neither while joining nor after it."""
    front = worker.node.front
    for wait in (False, True):
        async with open_websocket(worker.port) as ws:
            await ws.command("hello", id=1, d={"room": ROOM})
            if wait:
                await ws.reply(1)
            ws.socket.writer.transport.abort()
    async with asyncio.timeout(rawsocket.PATIENCE_S):
        while front.connections:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)
    hall = worker.node.hub.rooms[ROOM]
    assert list(hall.viewers) == []


# 10: a message cut by the sender. ---------------------------------------------------------------


@wires(WIRES)
@pytest.mark.parametrize("size", [1300, 4096, 65_000])
async def test_automatic_fragmentation(worker: harness.Worker, wire: Wire, size: int) -> None:
    """Section 10: the largest message in frames of a fixed size."""
    packed = wire.pack(wire.command(1, LIMIT))
    frames = fragments(wire.opcode, *pieces(packed, size), rsv1=wire.deflate)
    await check(worker, wire, lambda _: (b"".join(frames), Expect((1,))))


# 12: permessage-deflate. ------------------------------------------------------------------------


def _deflated(
    payload: bytes, *, level: int = 9, wbits: int = -15, flush: int | None = None
) -> bytes:
    stream = zlib.compressobj(level, wbits=wbits)
    half = len(payload) // 2
    data = stream.compress(payload[:half])
    data += stream.flush(flush) if flush is not None else b""
    data += stream.compress(payload[half:]) + stream.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(DEFLATE_TAIL)


def _compressed(wire: Wire, data: bytes) -> bytes:
    return masked_frame(wire.opcode, data, mask=MASK, rsv1=True)


def _second_leans_on_first(wire: Wire) -> bytes:
    """Two messages of one deflate context: what we agreed not to do."""
    stream = zlib.compressobj(9, wbits=-15)
    packed = []
    for number in (1, 2):
        data = stream.compress(wire.command(number, 2000)) + stream.flush(zlib.Z_SYNC_FLUSH)
        packed.append(data.removesuffix(DEFLATE_TAIL))
    return b"".join(_compressed(wire, data) for data in packed)


DEFLATES: Cases = {
    "stored": lambda wire: (
        _compressed(wire, _deflated(wire.command(1, 900), level=0)),
        Expect((1,)),
    ),
    "fast": lambda wire: (
        _compressed(wire, _deflated(wire.command(1, 900), level=1)),
        Expect((1,)),
    ),
    "small window": lambda wire: (
        _compressed(wire, _deflated(wire.command(1, 9000), wbits=-9)),
        Expect((1,)),
    ),
    "sync flush inside": lambda wire: (
        _compressed(wire, _deflated(wire.command(1, 900), flush=zlib.Z_SYNC_FLUSH)),
        Expect((1,)),
    ),
    "full flush inside": lambda wire: (
        _compressed(wire, _deflated(wire.command(1, 900), flush=zlib.Z_FULL_FLUSH)),
        Expect((1,)),
    ),
    "final block": lambda wire: (
        _compressed(wire, rawsocket.deflate(wire.command(1), final=True)),
        Expect((1,)),
    ),
    "tail left on": lambda wire: (
        _compressed(wire, rawsocket.deflate(wire.command(1)) + DEFLATE_TAIL),
        Expect(close=1007),
    ),
    "plain and deflated in turn": lambda wire: (
        wire.message(1) + masked_frame(wire.opcode, wire.command(2)) + wire.message(3),
        Expect((1, 2, 3)),
    ),
    "every message a fresh context": lambda wire: (
        b"".join(wire.message(n, 5000) for n in range(1, 9)),
        Expect(tuple(range(1, 9))),
    ),
    "context kept in spite of the agreement": lambda wire: (
        _second_leans_on_first(wire),
        Expect((1,), close=1007),
    ),
    "garbage": lambda wire: (_compressed(wire, b"\xff\xfe\xfd garbage"), Expect(close=1007)),
    "cut short": lambda wire: (
        _compressed(wire, _deflated(wire.command(1, 900))[:-3]),
        Expect(close=1007),
    ),
    "garbage behind the final block": lambda wire: (
        _compressed(wire, rawsocket.deflate(wire.command(1), final=True) + b"\xff\xff\xff"),
        Expect(close=1007),
    ),
    "preset dictionary and zlib header": lambda wire: (
        _compressed(wire, zlib.compress(wire.command(1))),
        Expect(close=1007),
    ),
    "inflates above the limit": lambda wire: (
        _compressed(wire, _deflated(b" " * (LIMIT + 1))),
        Expect(close=1009),
    ),
}


@wires(DEFLATED)
@table(DEFLATES)
async def test_deflate(worker: harness.Worker, wire: Wire, build: Build) -> None:
    """Section 12: any deflate stream that ends with its message, and no other."""
    await check(worker, wire, build)


def shown(item: dict[str, Any]) -> str:
    text: str = item["d"]["text"]
    return text


@wires(WIRES)
async def test_server_frames_can_be_read_by_any_client(worker: harness.Worker, wire: Wire) -> None:
    """Unmasked, whole, in the shortest form (asserted for all frames), each inflatable alone."""
    host = await worker.control(ROOM, f"host-{wire}")
    async with open_websocket(worker.port, codec=wire.codec, deflate=wire.deflate) as ws:
        await ws.hello(ROOM)
        text = "a rather long line of danmaku, " * 3
        texts = [f"{n} {wire} {text}"[:99].strip() for n in range(30)]
        await asyncio.gather(*(host.ask("danmaku.send", text=text) for text in texts))
        missing = set(texts)
        while missing:
            item = await ws.item(
                lambda item: item.get("ev") == "danmaku" and shown(item) in missing
            )
            missing.remove(shown(item))
        assert any(frame.rsv1 for frame in ws.frames) is wire.deflate
    await host.close()
