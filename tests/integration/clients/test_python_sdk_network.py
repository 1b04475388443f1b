"""The Python client on bad networks, under a drain, and with servers that lie, stall or talk junk."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

import harness
from fakewire import greeting
from faultproxy import FaultProxy
from liveroom.protocol.frame_builder import binary_frame, close_frame, ping_frame, text_frame
from liveroom.protocol.handshake import JSON, accept_key
from liveroom.protocol.items import event_item
from liveroom_client import Event, Greeting, HostClient, LiveClient, LiveError, connect


PATIENCE_S = 8.0

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Door(FaultProxy):
    """What a client connects to; a test says where it leads."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(f"127.0.0.1:{port}", folder)

    def lead_to(self, port: int) -> None:
        """Take new connections there."""
        self._target = f"127.0.0.1:{port}"

    def viewer(self, room: str, name: str, **options: Any) -> LiveClient:
        """Return a guest who comes back quickly."""
        url = f"ws://{self.address}/ws"
        token = f"guest:{name}"
        return connect(url, room=room, token=token, codec="json", random=lambda: 0.02, **options)


async def until(check: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not check():  # noqa: ASYNC110 -- what is looked at tells nobody
            await asyncio.sleep(0.005)


class Notices:
    """Durable events that a client was shown, and how often it had to begin anew."""

    def __init__(self, live: LiveClient) -> None:
        self.texts: list[str] = []
        self.resets = 0
        live.on("notice", self._take)
        live.on("sdk.reset", self._reset)

    def _take(self, event: Event) -> None:
        self.texts.append(event.d["text"])

    def _reset(self, _: Greeting) -> None:
        self.resets += 1


@asynccontextmanager
async def host_of(worker: harness.Worker, room: str) -> AsyncIterator[HostClient]:
    """Open a room."""
    url = f"ws://127.0.0.1:{worker.port}/control"
    async with HostClient(url, room=room, token=worker.token(room, "host", f"h-{room}")) as host:
        await host.open("Demo")
        yield host


@asynccontextmanager
async def server_of(behave: Behaviour) -> AsyncIterator[int]:
    """Run a server that does what it likes; yield its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await behave(reader, writer)
        writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer an upgrade as one should."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lines = dict(line.lower().split(": ", 1) for line in head.splitlines() if ": " in line)
    key = next(
        line[19:] for line in head.splitlines() if line.lower().startswith("sec-websocket-key")
    )
    assert lines["upgrade"] == "websocket"
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n"
        f"Sec-WebSocket-Protocol: {JSON}\r\n\r\n".encode()
    )


def sends(*chunks: bytes, greet: bool = False, stay: bool = False) -> Behaviour:
    """Return a server that upgrades, maybe greets, sends bytes, and hangs up or stays silent."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        if greet:
            writer.write(text_frame(orjson.dumps([{"re": 1, "d": greeting()}])))
        for chunk in chunks:
            writer.write(chunk)
        await writer.drain()
        if stay:
            while await reader.read(1 << 16):
                pass

    return behave


def says(answer: bytes) -> Behaviour:
    """Return a server that answers the upgrade with these bytes."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return behave


def reply(d: Any) -> bytes:
    """Return an answer to the hello."""
    return text_frame(orjson.dumps([{"re": 1, "d": d}]))


JUNK: dict[str, Behaviour] = {
    "no HTTP": says(b"\x00\xff\xfe what?\r\n\r\n"),
    "half of an answer": says(b"HTTP/1.1 101 Swi"),
    "a wrong accept": says(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAA\r\n\r\n"
    ),
    "503": says(b"HTTP/1.1 503 No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"),
    "an end behind the upgrade": sends(),
    "a frame of 2^62 bytes": sends(b"\x81\x7f" + struct.pack("!Q", 1 << 62) + b"abc", stay=True),
    "a frame of 2^63 bytes": sends(b"\x81\x7f\xff" + bytes(7) + b"abc", stay=True),
    "half a frame": sends(b"\x81\x7e\x10\x00abc"),
    "reserved bits": sends(b"\xf1\x01a"),
    "an unknown opcode": sends(b"\x83\x01a"),
    "a ping of a megabyte": sends(b"\x89\x7f" + struct.pack("!Q", 1 << 20), stay=True),
    "a close of one byte": sends(b"\x88\x01\x03"),
    "a close with a wrong code": sends(b"\x88\x02\x00\x01"),
    "a text that is not UTF-8": sends(text_frame(b'[{"ev":"\xff"}]'), stay=True),
    "no JSON": sends(text_frame(b"[{"), stay=True),
    "no list": sends(text_frame(b'{"re":1}'), stay=True),
    "nested too deep": sends(text_frame(b"[" * 100_000), stay=True),
    "the other codec": sends(binary_frame(b"\x90"), stay=True),
    "a message above the limit": sends(text_frame(b"[" + b" " * 3_000_000 + b"]"), stay=True),
    "a greeting without shape": sends(reply({"epoch": 5}), stay=True),
    "a greeting of nothing": sends(reply(None), stay=True),
    "a resumption of nothing": sends(reply(greeting(resumed=True)), stay=True),
    "junk in front of nothing": sends(text_frame(b'[5,null,"re",{"ev":[]},{"re":[]}]')),
    "a thousand pings": sends(*[ping_frame(b"x")] * 1000),
    "no answer to the hello": sends(stay=True),
    "pings, but no answer": sends(ping_frame(b"x"), stay=True),
    "restart at once": sends(close_frame(1012, "")),
}


async def survive(kind: str, worker: harness.Worker, room: str, folder: Path) -> None:
    """Meet a server of a kind, then one that works."""
    async with server_of(JUNK[kind]) as port, Door(folder, port) as door:
        ann = door.viewer(room, "ann", reply_timeout_s=0.2, max_message_bytes=1 << 20)
        joining = asyncio.ensure_future(ann.join())
        try:
            await until(lambda: ann.state.attempt > 0)
            assert not joining.done()
            door.lead_to(worker.port)
            async with asyncio.timeout(PATIENCE_S):
                assert (await joining).room == room
            assert await ann.balance() > 0
        except BaseException as exc:
            exc.add_note(f"the server: {kind}")
            raise
        finally:
            joining.cancel()
            await ann.close()


async def test_sdk_survives_servers_that_talk_junk(
    embedded_url: str, start_worker: harness.StartWorker, room: str, tmp_path: Path
) -> None:
    """It tries again, and is in as soon as there is a server that works."""
    worker = await start_worker(embedded_url)
    await worker.open_room(room)

    await asyncio.gather(*[survive(kind, worker, room, tmp_path) for kind in JUNK])


async def test_sdk_notices_a_server_that_falls_silent(
    start_worker: harness.StartWorker, embedded_url: str, room: str, tmp_path: Path
) -> None:
    """In the middle of a frame that never ends, too."""
    worker = await start_worker(embedded_url)
    await worker.open_room(room)
    stalling = sends(b"\x81\x7e\x10\x00abc", greet=True, stay=True)
    async with server_of(stalling) as port, Door(tmp_path, port) as door:
        ann = door.viewer(room, "ann", heartbeat_s=0.1, reply_timeout_s=0.2)
        async with ann:
            assert ann.state.position == ("e1", 10, 0)
            door.lead_to(worker.port)
            await until(lambda: ann.state.figures.connects == 2)
            assert ann.state.position[0] != "e1"


async def test_sdk_is_closed_in_time_whatever_the_server_does(tmp_path: Path) -> None:
    """One that never answers the close, and one that never stops talking."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await sends(greet=True)(reader, writer)
        while True:
            writer.write(text_frame(b'[{"ev":"like","d":{"n":1}}]') * 100)
            await writer.drain()

    async with server_of(sends(greet=True, stay=True)) as mute, server_of(flood) as loud:
        clients = [
            connect(f"ws://127.0.0.1:{port}/ws", room="demo", codec="json") for port in (mute, loud)
        ]
        await asyncio.gather(*[client.join() for client in clients])
        async with asyncio.timeout(5):
            await asyncio.gather(*[client.close() for client in clients])


async def test_sdk_gives_up_to_join_after_a_while() -> None:
    """What failed last is told."""
    async with server_of(says(b"")) as port:
        with pytest.raises(LiveError) as caught:
            async with connect(f"ws://127.0.0.1:{port}/ws", room="demo", join_timeout_s=0.3):
                pass
    assert (caught.value.code, caught.value.again) == ("timeout", True)


async def test_sdk_survives_a_token_source_that_fails(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """It is asked again with the next attempt."""
    worker = await start_worker(embedded_url)
    await worker.open_room(room)
    asked: list[int] = []

    def token() -> Any:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("the shop is down")
        return 7 if len(asked) == 2 else "guest:ann"

    url = f"ws://127.0.0.1:{worker.port}/ws"
    async with connect(url, room=room, token=token, random=lambda: 0.02) as ann:
        assert ann.state.status == "live"
    assert len(asked) == 3


async def test_sdk_resumes_over_cut_connections(
    embedded_url: str, start_worker: harness.StartWorker, room: str, tmp_path: Path
) -> None:
    """Nothing missed, nothing doubled, however often it is cut."""
    worker = await start_worker(embedded_url)
    async with (
        host_of(worker, room) as host,
        Door(tmp_path, worker.port) as door,
        door.viewer(room, "ann") as ann,
    ):
        notices = Notices(ann)
        for n in range(40):
            await host.notice(f"n{n}")
            if n % 8 == 0:
                await until(lambda: ann.state.status == "live")
                door.reset()
                await until(lambda: ann.state.status != "live")
        await until(lambda: notices.texts[-1:] == ["n39"])

        assert notices.texts == [f"n{n}" for n in range(40)]
        assert notices.resets == 0
        assert ann.state.figures.connects == 6


async def test_sdk_gift_is_given_once_over_a_cut_connection(
    embedded_url: str, start_worker: harness.StartWorker, room: str, tmp_path: Path
) -> None:
    """The answer is lost on the way; the same key asks for it again."""
    worker = await start_worker(embedded_url)
    async with host_of(worker, room) as host, Door(tmp_path, worker.port) as door:
        gifts: list[Event] = []
        host.on("gift.sent", gifts.append)
        async with door.viewer(room, "ann") as ann:
            before = await ann.balance()
            door.pairs[0].down.hold()
            asked = asyncio.ensure_future(ann.gift("rose", 3))
            unkeyed = asyncio.ensure_future(ann.ask("wallet.get"))
            await until(lambda: len(gifts) == 1)
            door.reset()

            assert (await asked)["balance"] == before - 300
            with pytest.raises(LiveError, match="closed"):
                await unkeyed
            assert await ann.balance() == before - 300
            assert [event.d["n"] for event in gifts if not event.d["combo_end"]] == [3]


@pytest.mark.parametrize("drained", [False, True])
async def test_sdk_moves_to_another_worker_when_told_to(
    embedded_url: str, start_worker: harness.StartWorker, room: str, tmp_path: Path, drained: bool
) -> None:
    """Nothing is missed or doubled; and nothing refused if the first worker lets it time."""
    first, second = [await start_worker(embedded_url) for _ in range(2)]
    async with (
        host_of(second, room) as host,
        Door(tmp_path, first.port) as door,
        door.viewer(room, "ann") as ann,
    ):
        notices = Notices(ann)
        statuses: list[str] = []
        ann.on("sdk.status", statuses.append)
        door.lead_to(second.port)
        going = asyncio.ensure_future(send_away(first, drained))
        numbers: list[str] = []
        while ann.state.figures.connects < 2:
            numbers.append(f"n{len(numbers)}")
            await host.notice(numbers[-1])
            await ann.ask("wallet.get", key=True)
        await going
        await host.notice("last")
        await until(lambda: notices.texts[-1:] == ["last"])

        assert notices.texts == [*numbers, "last"]
        assert notices.resets == 0
        assert drained or (statuses, ann.state.lost_by) == ([], None)
        await until(lambda: len(door.pairs) == 1)


async def send_away(worker: harness.Worker, drained: bool) -> None:
    """Tell all viewers to go elsewhere; a drain closes the first of them at once."""
    if drained:
        await worker.node.drain(0.5)
        return
    for connection in worker.node.front.connections:
        connection.tell(event_item("sys.reconnect", {"after_ms": 100, "spread_ms": 5000}))


async def test_sdk_host_comes_back_into_all_rooms_and_figures(
    embedded_url: str, start_worker: harness.StartWorker, room: str, tmp_path: Path
) -> None:
    """After a cut: joined again, resumed, and watched again."""
    worker = await start_worker(embedded_url)
    other = f"{room}-b"
    async with Door(tmp_path, worker.port) as door:
        token = worker.token(room, "host", "h")
        url = f"ws://{door.address}/control"
        async with HostClient(url, room=room, token=token, random=lambda: 0.02) as host:
            await host.open("a")
            second = await host.join_room(other, token=worker.token(other, "host", "h"))
            await second.open("b")
            await second.watch()
            figures: list[Event] = []
            greetings: list[Greeting] = []
            host.on("sdk.greeting", greetings.append)
            host.on("stats", figures.append)
            door.reset()
            await second.notice("still here")
            await until(lambda: len(greetings) == 2 and len(figures) > 0)

            assert [(greeting.room, greeting.resumed) for greeting in greetings] == [
                (room, True),
                (other, True),
            ]
            assert {event.room for event in figures} == {other}


async def test_sdk_host_is_shown_no_more_what_it_wants_no_more(
    embedded_url: str, start_worker: harness.StartWorker, room: str, tmp_path: Path
) -> None:
    """Also if the connection is lost before that is answered."""
    worker = await start_worker(embedded_url)
    other = f"{room}-b"
    async with Door(tmp_path, worker.port) as door:
        token = worker.token(room, "host", "h")
        url = f"ws://{door.address}/control"
        async with HostClient(url, room=room, token=token, random=lambda: 0.02) as host:
            await host.open("a")
            second = await host.join_room(other, token=worker.token(other, "host", "h"))
            await second.open("b")
            await second.watch()
            await host.watch()
            figures: list[Event] = []
            greetings: list[Greeting] = []
            host.on("sdk.greeting", greetings.append)
            unwatched = asyncio.create_task(second.watch(False))
            await asyncio.sleep(0)
            door.reset()
            with pytest.raises(LiveError, match="lost"):
                await unwatched
            await until(lambda: len(greetings) == 2)
            host.on("stats", figures.append)
            await until(lambda: len(figures) == 2)

            assert {event.room for event in figures} == {room}


async def test_sdk_begins_anew_when_the_history_is_over(
    embedded_url: str, start_worker: harness.StartWorker, room: str, tmp_path: Path
) -> None:
    """Told once, by `sdk.reset`; at most what is behind the snapshot follows."""
    worker = await start_worker(embedded_url, resume_max=3)
    async with (
        host_of(worker, room) as host,
        Door(tmp_path, worker.port) as door,
        door.viewer(room, "ann") as ann,
    ):
        notices = Notices(ann)
        door.refusing = True
        door.reset()
        for n in range(8):
            await host.notice(f"n{n}")
        door.refusing = False
        await until(lambda: notices.resets == 1)

        assert notices.texts == [f"n{n}" for n in range(8)][8 - len(notices.texts) :]
        assert ann.state.states["notice"]["text"] == "n7"
