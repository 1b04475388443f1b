"""Who gives up while it waits to be let in: nothing is done for it, and the next one is let in."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

import orjson
import pytest
from aiohttp import web

import harness
from faultproxy import FaultProxy
from liveroom import Plugin, json_answer, json_body
from liveroom.protocol.frame_builder import CLOSE, TEXT, masked_frame
from liveroom.web.turnstile import PER_TURN
from rawsocket import close_payload, open_websocket, upgrade_request


_IMPATIENT = 20


class Door(Plugin):
    """Shows each viewer how many have come into the room, as the store has counted them."""

    name = "door"
    lua = "own.door = function() return {came = call('INCR', key('door'))} end"


class Desk(Plugin):
    """Serves HTTP: answers at last, or never ends."""

    name = "desk"

    def __init__(self) -> None:
        self.asked = self.served = 0

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Serve two resources."""
        return [
            web.post("/rooms/{room}/slow", self._slow),
            web.get("/rooms/{room}/endless", self._endless),
        ]

    async def _slow(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await json_body(request)
        while request.transport is not None:  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(0.01)
        self.served += 1
        return json_answer(body)

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))


def _hello(worker: harness.Worker, room: str, user: str) -> bytes:
    token = worker.token(room, user=user)
    command = {"op": "hello", "id": 1, "d": {"room": room, "token": token}}
    return masked_frame(TEXT, orjson.dumps(command))


def _greeted(worker: harness.Worker) -> float | None:
    sample = worker.node.metrics.registry.get_sample_value
    return sample("liveroom_joins_total", {"resumed": "false"})


async def _upgraded(port: int) -> socket.socket:
    """Return a socket after the handshake, whose bytes and end are sent in one turn of the loop."""
    loop = asyncio.get_running_loop()
    made = socket.create_connection(("127.0.0.1", port))
    made.setblocking(False)
    await loop.sock_sendall(made, upgrade_request())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await asyncio.wait_for(loop.sock_recv(made, 4096), harness.PATIENCE_S)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return made


def _end(made: socket.socket) -> None:
    made.close()


def _reset(made: socket.socket) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.close()


def _say_goodbye(made: socket.socket) -> None:
    made.send(masked_frame(CLOSE, close_payload(1001)))
    made.close()


@pytest.mark.parametrize("give_up", [_end, _reset, _say_goodbye])
async def test_who_closed_behind_its_hello_is_not_let_in(
    store_url: str,
    start_worker: harness.StartWorker,
    room: str,
    give_up: Callable[[socket.socket], None],
) -> None:
    """The store is not asked, nothing is written; a viewer who stays is greeted at once."""
    worker = await start_worker(store_url, plugins=[Door()])
    await worker.open_room(room)
    came, greeted = 1, _greeted(worker)  # the host who opened it
    crowd = [await _upgraded(worker.port) for _ in range(_IMPATIENT)]
    for number, made in enumerate(crowd):
        made.send(_hello(worker, room, f"gone{number}"))
        give_up(made)

    ann = await worker.join(room, "ann")

    assert ann.hello["own"]["door"] == {"came": came + 1}
    assert greeted is not None
    assert _greeted(worker) == greeted + 1
    users = [viewer.user for viewer in worker.node.hub.room_for(room).viewers]
    assert users == ["ann"]
    assert len(worker.node.front.connections) == 1


async def test_a_crowd_is_upgraded_little_by_little(
    embedded_url: str, start_worker: harness.StartWorker
) -> None:
    """So many per turn of the loop; who closes while it waits for its turn is not upgraded."""
    worker = await start_worker(embedded_url)
    connections, loop = worker.node.front.connections, asyncio.get_running_loop()
    crowd = [socket.create_connection(("127.0.0.1", worker.port)) for _ in range(6 * PER_TURN)]
    staying, leaving = crowd[: 3 * PER_TURN], crowd[3 * PER_TURN :]
    for _ in range(2 * len(crowd)):
        await asyncio.sleep(0)  # the loop accepts one per turn
    for made in crowd:
        made.send(upgrade_request())
        made.setblocking(False)

    steps = [0]
    async with asyncio.timeout(harness.PATIENCE_S):
        for _ in range(len(crowd)):
            before = len(connections)
            await asyncio.sleep(0)
            steps.append(len(connections) - before)
            if sum(steps):  # the first have passed
                while leaving:
                    leaving.pop().close()
        for made in staying:
            assert (await loop.sock_recv(made, 4096)).startswith(b"HTTP/1.1 101 ")
            made.close()

    assert max(steps) == PER_TURN
    assert sum(steps) == len(staying)


async def test_who_was_sent_away_while_it_waited_is_not_let_in(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """Its hello took too long: it is not greeted behind the close, whether or not it answers that."""
    target = unquote(embedded_url.removeprefix("unix://"))
    async with (
        FaultProxy(target, tmp_path) as proxy,
        harness.running_worker(proxy.url, hello_timeout_ms=200, store_timeout_ms=8000) as worker,
    ):
        await worker.open_room(room)
        greeted = _greeted(worker)
        for link in proxy.command_links():
            link.up.hold()
        async with open_websocket(worker.port) as late:
            await late.send(_hello(worker, room, "late"))
            while (frame := await late.frame()).opcode != CLOSE:
                pass
            assert frame.close_code == 4008
            for link in proxy.command_links():
                link.up.release()

            ann = await worker.join(room, "ann")

            assert greeted is not None
            assert _greeted(worker) == greeted + 1
            users = [viewer.user for viewer in worker.node.hub.room_for(room).viewers]
            assert users == ["ann"]
            assert "now" in await ann.ask("sys.ping")


# Over HTTP.


_BODY = b'{"text": "hello"}'


@pytest.mark.parametrize("give_up", [_end, _reset])
@pytest.mark.parametrize(
    ("method", "path", "length", "served"),
    [
        ("POST", "slow", len(_BODY), 1),
        ("POST", "slow", 2 * len(_BODY), 0),
        ("POST", "commands", 2 * len(_BODY), 0),
        ("GET", "endless", 0, 0),
    ],
    ids=["before the answer", "within the body", "within commands", "within the answer"],
)
async def test_who_hangs_up_over_http_is_no_fault(
    start_worker: harness.StartWorker, embedded_url: str, room: str,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
    give_up: Callable[[socket.socket], None], method: str, path: str, length: int, served: int,
) -> None:  # fmt: skip
    """Nobody is left to be told, so no log says that something failed, and no figure."""
    desk = Desk()
    worker = await start_worker(embedded_url, plugins=(desk,))
    await worker.open_room(room)
    server = worker.web._runner.server
    assert server is not None
    head = (
        f"{method} /api/rooms/{room}/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n"
        f"Authorization: Bearer {worker.token(room, 'service', 'shop')}\r\n\r\n"
    )
    before = server.requests_count or 0
    made = socket.create_connection(("127.0.0.1", worker.port))
    made.sendall(head.encode() + (_BODY if method == "POST" else b""))

    async def is_asked() -> bool:
        return (server.requests_count or 0) > before and bool(desk.asked or path == "commands")

    async def is_over() -> bool:
        return not server.connections and desk.served == served

    await harness.until(is_asked)
    give_up(made)
    await harness.until(is_over)
    await worker.open_room(room)  # one more request: what came before has been seen to its end

    sample = worker.node.metrics.registry.get_sample_value
    assert sample("liveroom_plugin_faults_total", {"plugin": "desk"}) is None
    assert sample("liveroom_api_refused_total", {"status": "500"}) is None
    assert [r for r in caplog.records if r.name == "aiohttp.server"] == []
    assert "Traceback" not in capsys.readouterr().out
