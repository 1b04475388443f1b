"""Bad input on real sockets: the stated refusal or close, and everyone else untouched.

Every test runs beside an innocent viewer of the same room, and ends with that viewer getting a
danmaku. Clocks are injected where time has to pass.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import orjson
import pytest
import pytest_asyncio

import harness
import rawsocket
from harness import Client, Worker
from liveroom.auth.claims import Role
from liveroom.plugin.spec import CommandSpec, Surface
from liveroom.protocol.frame_builder import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    masked_frame,
)
from liveroom.protocol.handshake import JSON, MSGPACK
from liveroom.store.port import Op
from rawsocket import MASK, WebSocket, open_websocket, raw_frame


pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 65_536
BEAT_MS = 20  # the shortest: every test waits for a danmaku


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(embedded_url: str) -> AsyncIterator[Worker]:
    """One worker for the tests that need no settings of their own."""
    async with harness.running_worker(embedded_url, beat_ms=BEAT_MS) as made:
        yield made


@dataclass
class Stage:
    """A room with a host and an innocent viewer in it."""

    worker: Worker
    room: str
    host: Client
    innocent: Client

    def user(self, name: str) -> str:
        """A user that no other test knows: some limits are kept per user."""
        return f"{name}-{self.room[-10:]}"

    def token(self, name: str, role: str = "viewer", **more: Any) -> str:
        """A token for this room."""
        return self.worker.token(self.room, role, self.user(name), **more)

    def socket(self, path: str = "/ws", **options: Any) -> AbstractAsyncContextManager[WebSocket]:
        """A raw socket that has not said hello."""
        return open_websocket(self.worker.port, path, **options)

    @asynccontextmanager
    async def joined(
        self, user: str = "mallory", role: str = "viewer", path: str = "/ws", **options: Any
    ) -> AsyncIterator[WebSocket]:
        """A raw socket in the room."""
        async with self.socket(path, **options) as ws:
            await ws.hello(self.room, self.token(user, role))
            yield ws

    async def assert_untouched(self) -> None:
        """The innocent viewer gets a danmaku, and was never disturbed."""
        text = f"still here {time.monotonic_ns()}"
        await self.host.ask("danmaku.send", text=text)
        await self.innocent.event("danmaku", text=text)
        assert self.innocent.close_code is None
        assert not [item for item in self.innocent.items if "err" in item]

    async def assert_lives(self, ws: WebSocket) -> None:
        """A connection that was refused something is still served."""
        assert "now" in (await ws.ask("sys.ping"))["d"]


@asynccontextmanager
async def staged(worker: Worker, room: str) -> AsyncIterator[Stage]:
    host = await worker.open_control(room)
    await host.ask("room.open")
    innocent = await worker.join(room, "innocent")
    stage = Stage(worker, room, host, innocent)
    yield stage
    await stage.assert_untouched()
    await host.close()
    await innocent.close()


@asynccontextmanager
async def own_stage(url: str, room: str, **settings: Any) -> AsyncIterator[Stage]:
    """A stage on a worker with settings, or a clock, of its own."""
    settings = {"beat_ms": BEAT_MS} | settings
    async with harness.running_worker(url, **settings) as made, staged(made, room) as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def stage(worker: Worker, room: str) -> AsyncIterator[Stage]:
    """A fresh room on the shared worker."""
    async with staged(worker, room) as made:
        yield made


class Clock:
    """Time as a worker's front sees it, moved on by tests."""

    def __init__(self, worker: Worker) -> None:
        self.front = worker.node.front
        self.ahead = 0.0
        now, now_s = self.front.now, self.front._now_s
        self.front.now = lambda: now() + self.ahead
        self.front._now_s = lambda: now_s() + self.ahead

    def pass_seconds(self, seconds: int) -> None:
        """Let the sweep see each of these seconds."""
        for _ in range(seconds):
            self.ahead += 1.0
            self.front.tick()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(rawsocket.PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)


STATUS = Path("/proc/self/status")
SLACK = 16_000_000


def _resident(field: str) -> int:
    """Bytes of memory of this process: VmRSS now, VmHWM at the most."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024


@contextmanager
def flat_memory(most: int = 1_000_000) -> Iterator[None]:
    """What the block allocates stays small: in Python below `most` bytes, resident about none."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    before = _resident("VmRSS")
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak} bytes"
    assert _resident("VmHWM") - before < SLACK


# Messages that cannot be read. ------------------------------------------------------------------

UNREADABLE: dict[str, tuple[str, bytes]] = {
    "empty": (JSON, b""),
    "not json": (JSON, b"hello"),
    "cut": (JSON, b'{"op":"sys.ping"'),
    "two values": (JSON, b'{"op":"sys.ping"}{"op":"sys.ping"}'),
    "depth 1000, lists": (JSON, b"[" * 1000 + b"]" * 1000),
    "depth 1000, objects": (JSON, b'{"op":"sys.ping","d":' + b'{"a":' * 1000 + b"1" + b"}" * 1001),
    "depth without end": (JSON, b"[" * LIMIT),
    "NaN": (JSON, b'{"op":"sys.ping","id":1,"d":{"x":NaN}}'),
    "Infinity": (JSON, b'{"op":"sys.ping","id":Infinity}'),
    "10^400 as a float": (JSON, b'{"op":"sys.ping","id":1e400}'),
    "10^5000": (JSON, b'{"op":"sys.ping","id":1' + b"0" * 5000 + b"}"),
    "half a surrogate": (JSON, b'{"op":"danmaku.send","d":{"text":"\\ud83d"}}'),
    "msgpack: empty": (MSGPACK, b""),
    "msgpack: json": (MSGPACK, b'{"op":"sys.ping"}'),
    "msgpack: reserved byte": (MSGPACK, b"\xc1"),
    "msgpack: text not UTF-8": (MSGPACK, b"\x82\xa2op\xa2\xff\xfe\xa2id\x01"),
    "msgpack: list of 2^32-1": (MSGPACK, b"\xdd\xff\xff\xff\xff"),
    "msgpack: map of 2^32-1": (MSGPACK, b"\xdf\xff\xff\xff\xff"),
    "msgpack: text of 2^32-1": (MSGPACK, b"\xdb\xff\xff\xff\xff"),
    "msgpack: depth 1000": (MSGPACK, b"\x91" * 1000 + b"\xc0"),
    "msgpack: depth without end": (MSGPACK, b"\x91" * LIMIT),
    "msgpack: map as a key": (MSGPACK, b"\x81\x80\x01"),
}
unreadable = pytest.mark.parametrize(
    ("codec", "payload"), UNREADABLE.values(), ids=UNREADABLE.keys()
)


@unreadable
async def test_an_unreadable_message_is_refused(stage: Stage, codec: str, payload: bytes) -> None:
    """An error without an id; the connection goes on."""
    async with stage.joined(codec=codec) as ws:
        await ws.message(payload)
        await stage.assert_lives(ws)
        assert ws.errors() == ["bad_message"]
        assert [item["re"] for item in ws.items if "err" in item] == [None]


@unreadable
async def test_an_unreadable_first_message_ends_it(
    stage: Stage, codec: str, payload: bytes
) -> None:
    """Whoever cannot say hello is told so once and closed."""
    async with stage.socket(codec=codec) as ws:
        await ws.message(payload)
        assert await ws.closed() == 4400
        assert ws.errors() == ["bad_message"]


# Commands of a wrong shape. ---------------------------------------------------------------------

ODD: dict[str, tuple[Any, str]] = {
    "null": (None, "bad_request"),
    "number": (1, "bad_request"),
    "text": ("sys.ping", "bad_request"),
    "empty object": ({}, "bad_request"),
    "list in a list": ([[{"op": "sys.ping"}]], "bad_request"),
    "op a number": ({"op": 5}, "bad_request"),
    "op null": ({"op": None}, "bad_request"),
    "op an object": ({"op": {"op": "sys.ping"}}, "bad_request"),
    "unknown op": ({"op": "room.destroy"}, "unknown_op"),
    "op of the inside": ({"op": "sys.epoch"}, "unknown_op"),
    "op of the script": ({"op": "sys.snapshot"}, "unknown_op"),
    "op __proto__": ({"op": "__proto__"}, "unknown_op"),
    "op of 10,000": ({"op": "x" * 10_000}, "unknown_op"),
    "id negative": ({"op": "sys.ping", "id": -1}, "bad_request"),
    "id 2^53": ({"op": "sys.ping", "id": 2**53}, "bad_request"),
    "id a text": ({"op": "sys.ping", "id": "1"}, "bad_request"),
    "id a float": ({"op": "sys.ping", "id": 1.5}, "bad_request"),
    "id true": ({"op": "sys.ping", "id": True}, "bad_request"),
    "id a list": ({"op": "sys.ping", "id": [1]}, "bad_request"),
    "key a number": ({"op": "gift.send", "key": 5, "d": {"gift": "rose"}}, "bad_request"),
    "key with a newline": ({"op": "gift.send", "key": "k\n", "d": {"gift": "rose"}}, "bad_request"),
    "key with a brace": ({"op": "gift.send", "key": "k}", "d": {"gift": "rose"}}, "bad_request"),
    "key of 65": ({"op": "gift.send", "key": "k" * 65, "d": {"gift": "rose"}}, "bad_request"),
    "no key": ({"op": "gift.send", "d": {"gift": "rose"}}, "key_required"),
    "d null": ({"op": "danmaku.send", "d": None}, "bad_request"),
    "d a list": ({"op": "danmaku.send", "d": ["text"]}, "bad_request"),
    "d missing": ({"op": "danmaku.send"}, "bad_request"),
    "text a number": ({"op": "danmaku.send", "d": {"text": 5}}, "bad_request"),
    "text empty": ({"op": "danmaku.send", "d": {"text": ""}}, "bad_request"),
    "text of blanks": ({"op": "danmaku.send", "d": {"text": " \t\n\u202e"}}, "bad_request"),
    "text of 501": ({"op": "danmaku.send", "d": {"text": "x" * 501}}, "bad_request"),
    "text of 101": ({"op": "danmaku.send", "d": {"text": "x" * 101}}, "bad_request"),
    "colour -1": ({"op": "danmaku.send", "d": {"text": "x", "color": -1}}, "bad_request"),
    "colour a float": ({"op": "danmaku.send", "d": {"text": "x", "color": 1.0}}, "bad_request"),
    "mode unknown": ({"op": "danmaku.send", "d": {"text": "x", "mode": "spin"}}, "bad_request"),
    "likes 0": ({"op": "like.send", "d": {"n": 0}}, "bad_request"),
    "likes -1": ({"op": "like.send", "d": {"n": -1}}, "bad_request"),
    "likes 101": ({"op": "like.send", "d": {"n": 101}}, "bad_request"),
    "likes 2^63": ({"op": "like.send", "d": {"n": 2**63}}, "bad_request"),
    "likes true": ({"op": "like.send", "d": {"n": True}}, "bad_request"),
    "gifts 0": ({"op": "gift.send", "key": "k", "d": {"gift": "rose", "n": 0}}, "bad_request"),
    "gifts -1": ({"op": "gift.send", "key": "k", "d": {"gift": "rose", "n": -1}}, "bad_request"),
    "gifts 1.5": ({"op": "gift.send", "key": "k", "d": {"gift": "rose", "n": 1.5}}, "bad_request"),
    "gifts 10^6": (
        {"op": "gift.send", "key": "k", "d": {"gift": "rose", "n": 10**6}},
        "bad_request",
    ),
    "gift unknown": ({"op": "gift.send", "key": "k", "d": {"gift": "castle"}}, "not_found"),
    "gift a list": ({"op": "gift.send", "key": "k", "d": {"gift": ["rose"]}}, "bad_request"),
    "token empty": ({"op": "sys.token", "d": {"token": ""}}, "bad_request"),
    "token garbage": ({"op": "sys.token", "d": {"token": "x.y.z"}}, "unauthorized"),
    "resume without seq": ({"op": "sys.resume", "d": {"resume": {"epoch": "e"}}}, "bad_request"),
    "resume seq -1": (
        {"op": "sys.resume", "d": {"resume": {"epoch": "e", "seq": -1}}},
        "bad_request",
    ),
}


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
@pytest.mark.parametrize(("sent", "code"), ODD.values(), ids=ODD.keys())
async def test_a_wrong_command_is_refused(stage: Stage, codec: str, sent: Any, code: str) -> None:
    """With its own error, and nothing happens in the room."""
    async with stage.joined(codec=codec) as ws:
        await ws.message(ws.encode(sent))
        await ws.item(lambda item: "err" in item)  # some ask the store first
        await stage.assert_lives(ws)
        assert ws.errors() == [code]
        assert not [item for item in ws.items if item.get("ev") in ("danmaku", "gift.sent", "like")]


@pytest.mark.parametrize(
    ("text", "errors", "replies"),
    [
        (b'{"op":"sys.ping","op":"room.close","id":1}', ["unknown_op"], []),
        (b'{"op":"room.close","op":"sys.ping","id":1}', [], [1]),
        (b'{"op":"sys.ping","id":1,"id":2}', [], [2]),
        (b'{"op":"danmaku.send","d":{"text":"x"},"d":{"text":5},"id":1}', ["bad_request"], []),
        (b'{"op":"danmaku.send","key":"k","key":"}","d":{"text":"x"}}', ["bad_request"], []),
        (b'{"op":"sys.ping","id":' + b"9" * 400 + b"}", ["bad_request"], []),
    ],
)
async def test_of_repeated_fields_the_last_counts(
    stage: Stage, text: bytes, errors: list[str], replies: list[int]
) -> None:
    """As in every JSON reader that takes them; what is judged is what is done."""
    async with stage.joined() as ws:
        await ws.message(text)
        await stage.assert_lives(ws)
        assert ws.errors() == errors
        assert ws.replies()[1:-1] == replies


async def test_bad_commands_of_a_list_leave_the_good_ones(stage: Stage) -> None:
    """Each is answered by itself."""
    async with stage.joined() as ws:
        await ws.message(
            orjson.dumps(
                [
                    {"op": "sys.ping", "id": 1},
                    {"op": "nope", "id": 2},
                    {"op": "like.send", "id": 3, "d": {"n": "many"}},
                    7,
                    {"op": "sys.ping", "id": 4},
                ]
            )
        )
        await stage.assert_lives(ws)
        assert ws.replies()[1:-1] == [1, 4]
        assert ws.errors() == ["unknown_op", "bad_request", "bad_request"]


async def test_too_many_commands_in_a_list_are_refused_whole(stage: Stage) -> None:
    """64 are taken, of 65 none."""
    async with stage.joined() as ws:
        await ws.message(orjson.dumps([{"op": "sys.ping", "id": n} for n in range(65)]))
        await stage.assert_lives(ws)
        assert ws.errors() == ["bad_request"]
        await ws.message(orjson.dumps([{"op": "sys.ping", "id": n} for n in range(64)]))
        await stage.assert_lives(ws)
        assert ws.replies()[2:-1] == list(range(64))


async def test_patience_with_bad_commands_ends(stage: Stage) -> None:
    """Twenty are refused, the next closes with 1008; a good one in between forgives one."""
    async with stage.joined() as ws:
        for _ in range(20):
            await ws.command("nope")
        await ws.ask("like.send")
        await ws.command("nope")
        await stage.assert_lives(ws)
        await ws.command("nope")
        assert await ws.closed() == 1008
        assert ws.errors() == ["unknown_op"] * 22


# Hello. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["sys.ping", "danmaku.send", "gift.send", "sys.resume", "nope"])
async def test_what_is_not_hello_first_ends_it(stage: Stage, op: str) -> None:
    """Whatever it is, well formed or not."""
    async with stage.socket() as ws:
        await ws.command(op, key="k", d={"text": "x", "gift": "rose"})
        assert await ws.closed() == 4400


HELLOS: dict[str, Any] = {
    "no d": None,
    "no room": {},
    "room empty": {"room": ""},
    "room of dots": {"room": "../etc"},
    "room of the inside": {"room": "~sys"},
    "room with a brace": {"room": "a}{b"},
    "room with a newline": {"room": "hall\n"},
    "room of 65": {"room": "x" * 65},
    "room a number": {"room": 5},
    "token a number": {"room": "hall", "token": 5},
    "token of 5000": {"room": "hall", "token": "x" * 5000},
    "resume a text": {"room": "hall", "resume": "here"},
    "client of 65": {"room": "hall", "client": "x" * 65},
}


@pytest.mark.parametrize("d", HELLOS.values(), ids=HELLOS.keys())
async def test_a_wrong_hello_ends_it(stage: Stage, d: Any) -> None:
    """It is told what was wrong, then closed for good."""
    async with stage.socket() as ws:
        await ws.command("hello", id=1, d=d)
        assert await ws.closed() == 4400
        assert ws.errors() == ["bad_request"]


async def test_a_second_hello_is_refused(stage: Stage) -> None:
    """While joining and after it; the first one counts."""
    async with stage.socket() as ws:
        hello = {"op": "hello", "d": {"room": stage.room}}
        await ws.message(orjson.dumps([hello | {"id": 1}, hello | {"id": 2}]))
        assert (await ws.reply(2))["err"]["code"] == "bad_request"
        assert (await ws.reply(1))["d"]["room"] == stage.room
        reply = await ws.ask("hello", d={"room": stage.room})
        assert reply["err"]["code"] == "bad_request"
        await stage.assert_lives(ws)


async def test_commands_behind_the_hello_are_held_up_to_a_limit(stage: Stage) -> None:
    """32 wait for the join, the others are told to come again."""
    async with stage.socket() as ws:
        ping = masked_frame(TEXT, b'{"op":"sys.ping","id":7}')
        hello = {"op": "hello", "id": 1, "d": {"room": stage.room}}
        await ws.send(masked_frame(TEXT, orjson.dumps(hello)) + ping * 50)
        await ws.reply(1)
        await stage.assert_lives(ws)
        assert ws.replies().count(7) == 32
        assert ws.errors() == ["rate_limited"] * 18


async def test_a_room_that_is_not_there_ends_it(stage: Stage) -> None:
    """With the code that says: do not come back."""
    async with stage.socket() as ws:
        await ws.command("hello", id=1, d={"room": stage.room + "-other"})
        assert await ws.closed() == 4404
        assert ws.errors() == ["no_room"]


async def test_a_socket_that_never_says_hello_is_closed(embedded_url: str, room: str) -> None:
    """After five seconds by the worker's clock; half a hello is none."""
    async with own_stage(embedded_url, room) as stage:
        clock = Clock(stage.worker)
        async with stage.socket() as silent, stage.socket() as slow, stage.socket() as pinging:
            await slow.send(masked_frame(TEXT, b'{"op":"hello"')[:-1])
            await pinging.send(masked_frame(PING, b"x"))
            assert (await pinging.frame()).opcode == PONG
            clock.pass_seconds(4)
            await stage.assert_untouched()
            assert len(stage.worker.node.front.connections) == 5
            clock.pass_seconds(3)
            for ws in (silent, pinging):
                assert await ws.closed() == 4008
            assert await _close_frame(slow) == 4008
            clock.pass_seconds(7)
            assert await slow.socket.rest() == b""


async def _close_frame(ws: WebSocket) -> int:
    """Read up to the close frame and do not answer it."""
    while (frame := await ws.frame()).opcode != CLOSE:
        pass
    return frame.close_code


# Sizes. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
@pytest.mark.parametrize("size", [LIMIT + 1, 4_000_000])
async def test_a_message_above_the_limit_ends_it(stage: Stage, codec: str, size: int) -> None:
    """At its header: 1009 arrives although the sender is still sending; nothing is kept of it."""
    async with stage.joined(codec=codec) as ws:
        data = masked_frame(ws.opcode, b" " * size)
        with flat_memory():
            await ws.send(data)
            assert await ws.closed() == 1009


async def test_a_declared_length_allocates_nothing(stage: Stage) -> None:
    """1 TiB in ten bytes."""
    async with stage.joined() as ws:
        with flat_memory():
            await ws.send(raw_frame(0x81, b"", length=b"\xff" + (1 << 40).to_bytes(8, "big")))
            assert await ws.closed() == 1009


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
async def test_a_deflate_bomb_ends_it_with_flat_memory(stage: Stage, codec: str) -> None:
    """60 kB that inflate to 60 MB: 1009 after the first 64 KiB of them."""
    bomb = rawsocket.deflate(b" " * 60_000_000)
    assert len(bomb) < LIMIT
    async with stage.joined(codec=codec, deflate=True) as ws:
        frame = masked_frame(ws.opcode, bomb, rsv1=True)
        with flat_memory():
            await ws.send(frame)
            assert await ws.closed() == 1009


async def test_ten_thousand_empty_fragments_end_it(stage: Stage) -> None:
    """At the 65th, with flat memory."""
    flood = masked_frame(TEXT, b"", mask=MASK, fin=False)
    flood += masked_frame(CONTINUATION, b"", mask=MASK, fin=False) * 10_000
    async with stage.joined() as ws:
        with flat_memory():
            await ws.send(flood)
            assert await ws.closed() == 1008


@pytest.mark.parametrize(
    ("codec", "opcode"),
    [(JSON, BINARY), (MSGPACK, TEXT)],
    ids=["binary on json", "text on msgpack"],
)
async def test_the_other_kind_of_message_ends_it(stage: Stage, codec: str, opcode: int) -> None:
    """The subprotocol is agreed on, not guessed."""
    body = {"op": "sys.ping", "id": 1}
    for payload in (orjson.dumps(body), b""):
        async with stage.joined(codec=codec) as ws:
            await ws.send(masked_frame(opcode, payload))
            assert await ws.closed() == 1003
    async with stage.socket(codec=codec) as ws:
        await ws.send(masked_frame(opcode, msgpack.packb(body) if opcode == BINARY else b"{}"))
        assert await ws.closed() == 1003


# Speed. -----------------------------------------------------------------------------------------

USUAL = {"messages_per_s": 20.0, "bytes_per_s": 32_768.0}
"""What a connection may send by default; the harness lifts it for other tests."""


@pytest.mark.parametrize("opcode", [PING, PONG], ids=["pings", "pongs"])
async def test_five_thousand_control_frames_end_it(
    embedded_url: str, room: str, opcode: int
) -> None:
    """They count as messages: 40 at once and three seconds' worth more."""
    async with own_stage(embedded_url, room, **USUAL) as stage, stage.joined() as ws:
        await ws.send(masked_frame(opcode, b"x", mask=MASK) * 5000)
        assert await ws.closed() == 4029
        assert len(ws.pongs()) <= 100


@pytest.mark.parametrize(
    "payload", [b"[]", b'{"op":"sys.ping"}', b"?"], ids=["empty", "ping", "bad"]
)
async def test_a_flood_of_messages_ends_it(embedded_url: str, room: str, payload: bytes) -> None:
    """Also of lists with nothing in them, and of what cannot be read."""
    async with own_stage(embedded_url, room, **USUAL) as stage, stage.joined() as ws:
        await ws.send(masked_frame(TEXT, payload, mask=MASK) * 2000)
        assert await ws.closed() in ((1008,) if payload == b"?" else (4029,))


async def test_too_fast_is_refused_first_and_closed_later(embedded_url: str, room: str) -> None:
    """Refusals say when to come back; who does is let in, who does not is closed."""
    async with own_stage(embedded_url, room, **USUAL) as stage:
        clock = Clock(stage.worker)
        async with stage.joined() as ws:
            await ws.send(masked_frame(TEXT, b'{"op":"sys.ping","id":1}') * 60)
            await ws.item(lambda item: "err" in item)
            error = next(item["err"] for item in ws.items if "err" in item)
            assert error["code"] == "rate_limited"
            assert 0 < error["retry_ms"] <= 1500
            clock.ahead += 10
            await stage.assert_lives(ws)
            assert 1 <= len(ws.errors()) <= 21
            await ws.send(masked_frame(TEXT, b'{"op":"sys.ping","id":1}') * 200)
            assert await ws.closed() == 4029


async def test_commands_of_a_list_count_each(embedded_url: str, room: str) -> None:
    """A list is no way around the limit."""
    async with own_stage(embedded_url, room, **USUAL) as stage, stage.joined() as ws:
        many = [{"op": "sys.ping", "id": n} for n in range(60)]
        await ws.message(orjson.dumps(many))
        await ws.item(lambda item: item.get("re") == 59)
        assert ws.errors() == ["rate_limited"] * 60


async def test_too_many_bytes_are_refused_first_and_closed_later(
    embedded_url: str, room: str
) -> None:
    """One message of the largest size is always let in."""
    settings = USUAL | {"bytes_per_s": 4096.0, "messages_per_s": 10_000.0}
    async with own_stage(embedded_url, room, **settings) as stage, stage.joined() as ws:
        await ws.send(_ping_of(LIMIT - 2000, 1))
        assert "d" in await ws.reply(1)
        await ws.send(_ping_of(8000, 2))
        assert (await ws.reply(2))["err"]["code"] == "rate_limited"
        await ws.send(_ping_of(20_000, 3))
        assert await ws.closed() == 4029


def _ping_of(size: int, number: int) -> bytes:
    return masked_frame(TEXT, b'{"op":"sys.ping","id":%d}' % number + b" " * size)


async def test_one_viewers_danmaku_flood_is_refused(stage: Stage) -> None:
    """Three at once, then a cool-off; the innocent viewer's own message is shown."""
    async with stage.joined() as ws:
        replies = [await ws.ask("danmaku.send", d={"text": f"spam {n}"}) for n in range(50)]
        assert [("err" in reply) for reply in replies] == [False] * 3 + [True] * 47
        assert {reply["err"]["code"] for reply in replies[3:]} == {"rate_limited"}
        assert replies[-1]["err"]["retry_ms"] > 5000
        await stage.innocent.ask("danmaku.send", text="a calm word")
        await ws.item(
            lambda item: item.get("ev") == "danmaku" and item["d"]["text"] == "a calm word"
        )


# Time. ------------------------------------------------------------------------------------------


async def _others_speak(stage: Stage) -> None:
    """What keeps the others alive while the clock is moved on."""
    await stage.host.ask("sys.ping")
    await stage.innocent.ask("sys.ping")


@pytest.mark.parametrize("drip", [b"", b" "], ids=["silent", "slow loris"])
async def test_a_silent_viewer_is_dropped_within_35_seconds(
    embedded_url: str, room: str, drip: bytes
) -> None:
    """One that answers no ping; dripping a frame that never ends is silence too."""
    async with own_stage(embedded_url, room) as stage:
        clock = Clock(stage.worker)
        async with stage.joined() as ws:
            await ws.send(masked_frame(TEXT, b" " * 60_000)[:100])
            for _ in range(36):
                clock.pass_seconds(1)
                await ws.send(drip)
                await _others_speak(stage)
            assert len(stage.worker.node.front.connections) == 2


async def test_a_viewer_that_answers_pings_stays(embedded_url: str, room: str) -> None:
    """For as long as it likes, without a word of its own."""
    async with own_stage(embedded_url, room) as stage:
        clock = Clock(stage.worker)
        quiet = await stage.worker.join(room, "quiet")
        for _ in range(120):
            clock.pass_seconds(1)
            await _others_speak(stage)
        assert "now" in await quiet.ask("sys.ping")


async def test_a_close_that_is_never_answered_ends_anyway(embedded_url: str, room: str) -> None:
    """After five seconds, however much the other side still sends, also when it was joining."""
    async with own_stage(embedded_url, room) as stage:
        clock = Clock(stage.worker)
        async with stage.socket() as ws, stage.socket() as joining:
            await ws.command("sys.ping")
            hello = {"op": "hello", "id": 1, "d": {"room": room}}
            await joining.send(masked_frame(TEXT, orjson.dumps(hello)) + b"\xff\xff")
            assert await _close_frame(ws) == 4400
            assert await _close_frame(joining) == 1002
            for _ in range(8):
                clock.pass_seconds(1)
                await ws.command("sys.ping")
                await joining.send(b"x")
                await _others_speak(stage)
            assert len(stage.worker.node.front.connections) == 2


async def test_resuming_many_times_at_once_does_no_harm(stage: Stage) -> None:
    """A viewer is in the room once: it sees everything once, and leaves nothing behind."""
    hall = stage.worker.node.hub.rooms[stage.room]
    async with stage.joined() as ws:
        resumes = [{"op": "sys.resume", "id": n} for n in range(1, 6)]
        await ws.message(orjson.dumps(resumes))
        for number in range(1, 6):
            assert (await ws.reply(number))["d"]["resumed"] is False
        assert len(hall.viewers) == 3
        await stage.assert_untouched()
        await stage.assert_lives(ws)
        shown = [item["d"]["id"] for item in ws.items if item.get("ev") == "danmaku"]
        assert len(shown) == len(set(shown)) == 1
    await until(lambda: len(hall.viewers) == 2)


async def test_resuming_costs_ten_messages(embedded_url: str, room: str) -> None:
    """Each reads and sends up to `resume_max` events: who asks too often waits, then goes."""
    async with own_stage(embedded_url, room, **USUAL) as stage, stage.joined() as ws:
        now, replies = stage.worker.node.front.now(), []
        stage.worker.node.front.now = lambda: now
        for number in range(1, 8):
            await ws.command("sys.resume", id=number, d={})
            replies.append(await ws.reply(number))
        assert ["d" in reply for reply in replies] == [True] * 3 + [False] * 4
        assert {reply["err"]["code"] for reply in replies[3:]} == {"rate_limited"}
        assert all(reply["err"]["retry_ms"] > 0 for reply in replies[3:])
        await ws.message(orjson.dumps([{"op": "sys.resume", "id": 9}] * 64))
        assert await ws.closed() == 4029


# Who may come in. -------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict_worker(embedded_url: str) -> AsyncIterator[Worker]:
    """A worker without guests."""
    async with harness.running_worker(embedded_url, dev=False, beat_ms=BEAT_MS) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def strict(strict_worker: Worker, room: str) -> AsyncIterator[Stage]:
    """A fresh room on it."""
    async with staged(strict_worker, room) as made:
        yield made


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def forged(claims: dict[str, Any], header: dict[str, Any], secret: str | None) -> str:
    """A token made by hand, signed with HS256 or not at all."""
    body = f"{_part(header)}.{_part(claims)}"
    if secret is None:
        return body + "."
    mac = hmac.digest(secret.encode(), body.encode(), hashlib.sha256)
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def claims_for(room: str, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    base = {"sub": "eve", "room": room, "role": "host", "iat": now, "exp": now + 600, "jti": "j"}
    return {key: value for key, value in (base | changes).items() if value is not None}


def _expired(stage: Stage) -> str:
    then = int(time.time()) - 3600
    return forged(claims_for(stage.room, iat=then, exp=then + 600), HS256, harness.SECRET)


def _with_role(token: str, role: str) -> str:
    head, body, signature = token.split(".")
    claims = orjson.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{_part(claims | {'role': role})}.{signature}"


HS256 = {"alg": "HS256", "typ": "live+jwt"}
Forge = Callable[[Stage], str]
TOKENS: dict[str, tuple[Forge, int]] = {
    "none": (lambda _: "", 4401),
    "garbage": (lambda _: "a.b.c", 4401),
    "guest": (lambda _: "guest:eve", 4401),
    "expired": (_expired, 4001),
    "another secret": (lambda s: forged(claims_for(s.room), HS256, "x" * 40), 4401),
    "cut signature": (lambda s: s.token("eve")[:-4], 4401),
    "changed role": (lambda s: _with_role(s.token("eve"), "host"), 4401),
    "alg none": (lambda s: forged(claims_for(s.room), {"alg": "none"}, None), 4401),
    "alg None": (lambda s: forged(claims_for(s.room), {"alg": "None"}, None), 4401),
    "alg missing": (lambda s: forged(claims_for(s.room), {}, harness.SECRET), 4401),
    "alg HS512": (lambda s: forged(claims_for(s.room), {"alg": "HS512"}, harness.SECRET), 4401),
    "own key": (
        lambda s: forged(
            claims_for(s.room), HS256 | {"jwk": {"kty": "oct", "k": "eA"}}, harness.SECRET
        ),
        4401,
    ),
    "critical header": (
        lambda s: forged(claims_for(s.room), HS256 | {"crit": ["exp"]}, harness.SECRET),
        4401,
    ),
    "another type": (
        lambda s: forged(claims_for(s.room), HS256 | {"typ": "at+jwt"}, harness.SECRET),
        4401,
    ),
    "another room": (lambda s: s.worker.token(s.room + "x", "viewer", "eve"), 4401),
    "any room for a viewer": (
        lambda s: forged(claims_for("*", role="viewer"), HS256, harness.SECRET),
        4401,
    ),
    "no end": (lambda s: forged(claims_for(s.room, exp=None), HS256, harness.SECRET), 4401),
    "an endless life": (
        lambda s: forged(claims_for(s.room, exp=int(time.time()) + 10**8), HS256, harness.SECRET),
        4401,
    ),
    "no user": (lambda s: forged(claims_for(s.room, sub=None), HS256, harness.SECRET), 4401),
    "a user with a brace": (
        lambda s: forged(claims_for(s.room, sub="a}b"), HS256, harness.SECRET),
        4401,
    ),
    "an unknown role": (
        lambda s: forged(claims_for(s.room, role="root"), HS256, harness.SECRET),
        4401,
    ),
    "from tomorrow": (
        lambda s: forged(claims_for(s.room, iat=int(time.time()) + 86_000), HS256, harness.SECRET),
        4401,
    ),
}


@pytest.mark.parametrize("path", ["/ws", "/control"])
@pytest.mark.parametrize(("forge", "code"), TOKENS.values(), ids=TOKENS.keys())
async def test_a_bad_token_ends_it(strict: Stage, forge: Forge, code: int, path: str) -> None:
    """4001 says: come back with a new one; 4401 says: do not. Nothing of the room is shown."""
    async with strict.socket(path) as ws:
        await ws.command("hello", id=1, d={"room": strict.room, "token": forge(strict)})
        assert await ws.closed() == code
        assert ws.items == []


async def test_a_viewer_may_not_control(strict: Stage) -> None:
    """Its token opens /ws and not /control."""
    token = strict.token("eve")
    async with strict.socket("/control") as ws:
        await ws.command("hello", id=1, d={"room": strict.room, "token": token})
        assert await ws.closed() == 4401
    async with strict.socket("/ws") as ws:
        await ws.hello(strict.room, token)


def _smallest(kind: Any) -> Any:
    """The smallest valid value of a type, so that nothing but the role stands in the way."""
    info = msgspec.inspect
    match kind:
        case info.StructType(fields=fields):
            return {f.encode_name: _smallest(f.type) for f in fields if f.required}
        case info.StrType(pattern=pattern, min_length=least):
            return "a" * max(1, least or 0) if pattern is None else "a"
        case info.IntType(ge=least) | info.FloatType(ge=least):
            return least or 0
        case info.BoolType():
            return True
        case info.LiteralType(values=values):
            return values[0]
        case (
            info.ListType(item_type=item, min_length=least)
            | info.VarTupleType(item_type=item, min_length=least)
        ):
            return [_smallest(item) for _ in range(least or 0)]
        case info.DictType() | info.AnyType():
            return {}
        case info.UnionType(types=types):
            return _smallest(types[0])
        case info.Metadata(type=inner):
            return _smallest(inner)
        case _:
            raise AssertionError(f"teach this test to make a {kind}")


def _refusal(spec: CommandSpec, surface: Surface, role: Role) -> str | None:
    if surface not in spec.surfaces:
        return "unknown_op"
    return None if role.at_least(spec.role) else "forbidden"


@pytest.mark.parametrize(
    ("surface", "role"),
    [(Surface.VIEWER, role) for role in Role]
    + [(Surface.CONTROL, role) for role in Role if role is not Role.VIEWER],
    ids=lambda value: value.name.lower(),
)
async def test_every_command_is_refused_below_its_role(
    strict: Stage, surface: Surface, role: Role
) -> None:
    """Role by command: what is not allowed is refused as such, with a body that is valid."""
    commands = strict.worker.node.manager.commands
    judged = 0
    async with strict.joined("eve", role.value, surface.value) as ws:
        for op, bound in commands.items():
            code = _refusal(bound.spec, surface, role)
            if code is None:
                continue
            d = _smallest(msgspec.inspect.type_info(bound.spec.body))
            reply = await ws.ask(op, key="k-1", d=d)
            assert reply.get("err", {}).get("code") == code, (op, reply)
            judged += 1
        await strict.assert_lives(ws)
    hosts_only = sum(Surface.VIEWER not in bound.spec.surfaces for bound in commands.values())
    assert hosts_only >= 6
    assert judged >= (hosts_only if surface is Surface.VIEWER else 1)


async def test_viewers_see_nothing_of_refused_commands(strict: Stage) -> None:
    """The room is as it was: open, and everyone may talk."""
    async with strict.joined("eve") as ws:
        for op, d in (("room.close", {}), ("room.mode", {"talk": "hosts"}), ("room.update", {})):
            assert "err" in await ws.ask(op, d=d)
        assert (await ws.ask("danmaku.send", d={"text": "free"}))["d"]["id"]
    await strict.assert_untouched()
    seen = {item["ev"] for item in strict.innocent.items if "seq" in item}
    assert seen <= {"room.opened"}


# Tokens that end, are renewed, are revoked. -------------------------------------------------------


async def test_a_token_that_ends_closes_the_connection_unless_renewed(
    embedded_url: str, room: str
) -> None:
    """A warning a minute or a little more before, 4001 a moment after; a new token keeps the connection."""
    async with own_stage(embedded_url, room) as stage:
        clock = Clock(stage.worker)
        async with stage.socket() as ends, stage.socket() as renewed:
            await ends.hello(room, stage.token("eve", ttl_s=300))
            await renewed.hello(room, stage.token("bob", ttl_s=300))
            clock.ahead += 245
            clock.pass_seconds(1)
            for ws in (ends, renewed):
                await ws.item(lambda item: item.get("ev") == "sys.token")
            reply = await renewed.ask("sys.token", d={"token": stage.token("bob", ttl_s=3000)})
            assert reply["d"]["expires_ms"] > (time.time() + 2900) * 1000
            clock.ahead += 60
            clock.pass_seconds(2)
            assert await ends.closed() == 4001
            await stage.assert_lives(renewed)


async def test_tokens_that_were_issued_together_are_not_renewed_in_one_moment(
    embedded_url: str, room: str
) -> None:
    """The warnings are spread over half a minute: not everybody asks the issuer at once."""
    async with own_stage(embedded_url, room) as stage, AsyncExitStack() as stack:
        clock, token = Clock(stage.worker), stage.token("eve", ttl_s=300)
        sockets = [await stack.enter_async_context(stage.socket()) for _ in range(24)]
        for ws in sockets:
            await ws.hello(room, token)

        async def told_after(seconds: float) -> int:
            clock.ahead += seconds
            clock.pass_seconds(1)
            for ws in sockets:
                await stage.assert_lives(ws)
            return sum(any(item.get("ev") == "sys.token" for item in ws.items) for ws in sockets)

        assert await told_after(205) == 0
        assert 0 < await told_after(18) < len(sockets)
        assert await told_after(18) == len(sockets)


@pytest.mark.parametrize(
    "change",
    [{"user": "mallet"}, {"role": "host"}, {"role": "moderator"}, {"room": "elsewhere"}],
    ids=["user", "host", "moderator", "room"],
)
async def test_a_renewal_gives_nothing_more(strict: Stage, change: dict[str, str]) -> None:
    """Another user, role or room is refused, and the old token still counts."""
    async with strict.joined("eve") as ws:
        asked = {"user": strict.user("eve"), "role": "viewer", "room": strict.room} | change
        token = strict.worker.token(asked["room"], asked["role"], asked["user"])
        assert (await ws.ask("sys.token", d={"token": token}))["err"]["code"] == "unauthorized"
        assert (await ws.ask("room.close"))["err"]["code"] == "unknown_op"
        assert "d" in await ws.ask("danmaku.send", d={"text": "still a viewer"})


@pytest.mark.parametrize("what", ["token", "user"])
async def test_a_revoked_token_is_closed_and_stays_out(strict: Stage, what: str) -> None:
    """On live connections and at the next hello."""
    token = strict.token("eve", jti=f"jti-{strict.room}")
    entry: dict[str, Any] = {"user": strict.user("eve")}
    if what == "token":
        entry = {"jti": f"jti-{strict.room}", "until": int(time.time()) + 7200}
    async with strict.socket() as one, strict.socket() as other:
        await one.hello(strict.room, token)
        await other.hello(strict.room, strict.token("bob"))
        await strict.worker.node.hub.submit("~sys", Op("auth.revoke", "", entry))
        assert await one.closed() == 4401
        await strict.assert_lives(other)
    async with strict.socket() as again:
        await again.command("hello", id=1, d={"room": strict.room, "token": token})
        assert await again.closed() == 4401


# Keys and counts. -------------------------------------------------------------------------------


async def test_a_replayed_key_does_nothing_more(stage: Stage) -> None:
    """The same body gets the same answer, another body a refusal, on any connection of the user."""
    async with stage.joined("payer") as one, stage.joined("payer") as two:
        before = (await one.ask("wallet.get"))["d"]["balance"]
        first = await one.ask("gift.send", key="k-1", d={"gift": "rose", "n": 1})
        for ws in (one, two):
            again = await ws.ask("gift.send", key="k-1", d={"n": 1, "gift": "rose"})
            assert again["d"] == first["d"]
            for d in ({"gift": "rose", "n": 2}, {"gift": "heart", "n": 1}):
                reply = await ws.ask("gift.send", key="k-1", d=d)
                assert reply["err"]["code"] == "key_mismatch"
        assert (await two.ask("wallet.get"))["d"]["balance"] == before - 100
    await stage.assert_untouched()
    gifts = stage.innocent.events("gift.sent")
    assert len([item for item in gifts if item["d"]["value"]]) == 1


async def test_a_key_belongs_to_its_user(stage: Stage) -> None:
    """Someone else's key is free."""
    for user in ("ann", "ben"):
        async with stage.joined(user) as ws:
            await ws.ask("wallet.get")
            reply = await ws.ask("gift.send", key="k-1", d={"gift": "rose"})
            assert "d" in reply, reply


async def test_a_captured_frame_replayed_elsewhere_does_nothing(strict: Stage) -> None:
    """Without that user's hello it is a first message that is no hello, or another's command."""
    captured = masked_frame(
        TEXT, b'{"op":"gift.send","id":1,"key":"k-9","d":{"gift":"rose"}}', mask=MASK
    )
    async with strict.socket() as ws:
        await ws.send(captured)
        assert await ws.closed() == 4400
    async with strict.joined("poor") as ws:
        await ws.send(captured * 3)
        await ws.item(lambda _: len(ws.errors()) == 3)
        assert ws.errors() == ["insufficient_funds"] * 3


async def test_connections_of_a_user_are_limited(embedded_url: str, room: str) -> None:
    """The third of two is closed for good; when one has gone, the next comes in."""
    async with own_stage(embedded_url, room, max_per_user=2) as stage, stage.joined("eve"):
        async with stage.joined("eve"), stage.socket() as third:
            await third.command("hello", id=1, d={"room": room, "token": stage.token("eve")})
            assert await third.closed() == 4409
        await until(lambda: len(stage.worker.node.front.connections) == 3)
        async with stage.joined("eve") as again:
            await stage.assert_lives(again)


async def test_connections_of_an_address_are_limited_before_the_upgrade(
    embedded_url: str, room: str
) -> None:
    """Who is in stays in."""
    async with (
        own_stage(embedded_url, room, max_per_ip=3) as stage,
        stage.joined() as ws,
        rawsocket.open_socket(stage.worker.port) as socket,
    ):
        await socket.send(rawsocket.upgrade_request())
        assert (await socket.response()).status == 429
        await stage.assert_lives(ws)


async def test_a_crowd_of_bad_clients_leaves_nothing_behind(stage: Stage) -> None:
    """A hundred at once, each bad in its own way: afterwards the worker is as it was."""
    bad = [
        b"\xff" * 50,
        b"\x89\x00",
        masked_frame(TEXT, b"{"),
        masked_frame(TEXT, b'{"op":"sys.ping"}'),
        masked_frame(BINARY, b"\x80"),
        masked_frame(TEXT, b"x" * 70_000),
        masked_frame(TEXT, b'{"op":"hello","d":{"room":"nowhere"}}'),
        raw_frame(0x83),
        masked_frame(8, b"\x03"),
    ]
    front = stage.worker.node.front
    before = len(front.connections)

    async def misbehave(number: int) -> None:
        async with stage.socket() as ws:
            await ws.send(bad[number % len(bad)])
            assert await ws.closed() in (1002, 1003, 1009, 4400, 4404)

    await asyncio.gather(*(misbehave(number) for number in range(100)))
    await until(lambda: len(front.connections) == before)
    assert len(stage.worker.node.hub.rooms[stage.room].viewers) == 2
