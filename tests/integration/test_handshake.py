"""The opening handshake on real sockets: every row of the catalogue, limits, time.

The rules themselves are tested in tests/unit/protocol/test_handshake.py; here it is shown that
they hold with the HTTP server in front, whichever of the two refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

import harness
import rawsocket
from liveroom.protocol.frame_builder import TEXT, masked_frame
from liveroom.protocol.handshake import JSON, MSGPACK, accept_key
from rawsocket import KEY, Response, open_socket, open_websocket, upgrade_request


pytestmark = pytest.mark.asyncio(loop_scope="module")

Changes = Mapping[str, str | list[str] | None]
ROOM = "hall"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(embedded_url: str) -> AsyncIterator[harness.Worker]:
    """One worker for all tests that need no settings of their own."""
    origins = ("https://shop.example", "https://m.shop.example:8443")
    async with harness.running_worker(embedded_url, origins=origins) as made:
        await made.open_room(ROOM)
        yield made


async def answered(port: int, request: bytes) -> Response:
    """Send a request that is refused; the answer is all, and then the connection ends."""
    async with open_socket(port) as socket:
        await socket.send(request)
        response = await socket.response()
        if response.status != 101:
            assert await socket.rest() == b"", "the connection of a refused request ends"
        return response


async def assert_serves(worker: harness.Worker) -> None:
    """Others are not concerned: a viewer still gets in and is answered."""
    async with open_websocket(worker.port) as other:
        await other.hello(ROOM)
        assert "now" in (await other.ask("sys.ping"))["d"]


def with_headers(*lines: bytes) -> bytes:
    """A valid upgrade request with raw lines added as they are."""
    return upgrade_request()[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


# Requests that become no WebSocket: name -> (request, status).
REFUSED: dict[str, tuple[bytes, int]] = {
    "no key": (upgrade_request({"Sec-WebSocket-Key": None}), 400),
    "short key": (upgrade_request({"Sec-WebSocket-Key": "c2hvcnQ="}), 400),
    "key not base64": (upgrade_request({"Sec-WebSocket-Key": "!" * 22 + "=="}), 400),
    "two equal keys": (upgrade_request({"Sec-WebSocket-Key": [KEY, KEY]}), 400),
    "two keys": (upgrade_request({"Sec-WebSocket-Key": [KEY, "x3JJHMbDL1EzLkh9GBhXDw=="]}), 400),
    "no version": (upgrade_request({"Sec-WebSocket-Version": None}), 426),
    "version 8": (upgrade_request({"Sec-WebSocket-Version": "8"}), 426),
    "two versions": (upgrade_request({"Sec-WebSocket-Version": ["13", "13"]}), 400),
    "no upgrade": (upgrade_request({"Upgrade": None}), 400),
    "upgrade to h2c": (upgrade_request({"Upgrade": "h2c"}), 400),
    "no connection": (upgrade_request({"Connection": None}), 400),
    "connection keep-alive": (upgrade_request({"Connection": "keep-alive"}), 400),
    "HTTP/1.0": (upgrade_request(line="GET /ws HTTP/1.0"), 400),
    "HTTP/0.9": (b"GET /ws\r\n\r\n", 400),
    "POST": (upgrade_request(line="POST /ws HTTP/1.1"), 405),
    "HEAD": (upgrade_request(line="HEAD /ws HTTP/1.1"), 405),
    "OPTIONS": (upgrade_request(line="OPTIONS /ws HTTP/1.1"), 405),
    "method of controls": (upgrade_request(line="G\x01T /ws HTTP/1.1"), 400),
    "no host": (upgrade_request({"Host": None}), 400),
    "two hosts": (upgrade_request({"Host": ["127.0.0.1", "127.0.0.1"]}), 400),
    "two other hosts": (upgrade_request({"Host": ["127.0.0.1", "evil.example"]}), 400),
    "empty host": (upgrade_request({"Host": ""}), 400),
    "TE and CL": (
        upgrade_request({"Transfer-Encoding": "chunked", "Content-Length": "5"}) + b"0\r\n\r\n",
        400,
    ),
    "chunked body": (upgrade_request({"Transfer-Encoding": "chunked"}) + b"0\r\n\r\n", 400),
    "body": (upgrade_request({"Content-Length": "5"}) + b"hello", 400),
    "two lengths": (upgrade_request({"Content-Length": ["0", "5"]}), 400),
    "length of letters": (upgrade_request({"Content-Length": "five"}), 400),
    "length below zero": (upgrade_request({"Content-Length": "-1"}), 400),
    "folded header": (with_headers(b"X-Folded: a", b" b"), 400),
    "NUL in a value": (with_headers(b"X-Nul: a\x00b"), 400),
    "NUL in a name": (with_headers(b"X\x00: a"), 400),
    "CR alone": (with_headers(b"X-Cr: a\rb"), 400),
    "space before the colon": (with_headers(b"X-Space : a"), 400),
    "no colon": (with_headers(b"nonsense"), 400),
    "header over 8190": (with_headers(b"X-Long: " + b"a" * 9000), 400),
    "path over 8190": (upgrade_request(line="GET /ws?" + "a" * 9000 + " HTTP/1.1"), 400),
    "over 128 headers": (with_headers(*[b"X-%d: a" % n for n in range(200)]), 400),
    "evil origin": (upgrade_request({"Origin": "https://evil.example"}), 403),
    "null origin": (upgrade_request({"Origin": "null"}), 403),
    "two origins": (upgrade_request({"Origin": ["https://shop.example"] * 2}), 400),
    "foreign subprotocol": (upgrade_request({"Sec-WebSocket-Protocol": "graphql-ws"}), 400),
    "subprotocol in capitals": (upgrade_request({"Sec-WebSocket-Protocol": JSON.upper()}), 400),
    "subprotocol not ASCII": (upgrade_request({"Sec-WebSocket-Protocol": "\xe9\xe8"}), 400),
    "subprotocol of blanks": (upgrade_request({"Sec-WebSocket-Protocol": "a b"}), 400),
    "subprotocols without end": (
        upgrade_request({"Sec-WebSocket-Protocol": "a, " * 2000 + "b"}),
        400,
    ),
}


@pytest.mark.parametrize(("request_", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_handshake_refuses(worker: harness.Worker, request_: bytes, status: int) -> None:
    """Each with its status, and the connection ends; the next one is served."""
    response = await answered(worker.port, request_)
    assert response.status == status
    await assert_serves(worker)


@pytest.mark.parametrize("path", ["/ws", "/control"])
async def test_both_sockets_judge_alike(worker: harness.Worker, path: str) -> None:
    """The control socket has no weaker door."""
    for changes in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        request = upgrade_request(changes, line=f"GET {path} HTTP/1.1")
        assert (await answered(worker.port, request)).status == 403
    request = upgrade_request(line=f"GET {path} HTTP/1.0")
    assert (await answered(worker.port, request)).status == 400


async def test_refusals_say_what_was_expected(worker: harness.Worker) -> None:
    """426 names the version, 405 the method; no word about what is inside."""
    version = await answered(worker.port, upgrade_request({"Sec-WebSocket-Version": "8"}))
    assert version.headers["sec-websocket-version"] == "13"
    assert version.headers["upgrade"] == "websocket"
    method = await answered(worker.port, upgrade_request(line="POST /ws HTTP/1.1"))
    assert method.headers["allow"] == "GET"
    for response in (version, method):
        assert b"expected" in response.body
        assert b"Traceback" not in response.body
        assert "close" in response.headers["connection"]


async def test_nothing_behind_a_refused_upgrade_is_served(worker: harness.Worker) -> None:
    """A request that hides behind a refused upgrade is not answered."""
    hidden = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for changes in (
        {"Origin": "https://evil.example"},
        {"Sec-WebSocket-Version": "8"},
        {"Content-Length": str(len(hidden))},
    ):
        async with open_socket(worker.port) as socket:
            await socket.send(upgrade_request(changes) + hidden)
            assert (await socket.response()).status in (400, 403, 426)
            assert await socket.rest() == b""


ACCEPTED: dict[str, Changes] = {
    "plain": {},
    "allowed origin": {"Origin": "https://shop.example"},
    "allowed origin with port": {"Origin": "https://m.shop.example:8443"},
    "no origin": {"Origin": None},
    "upgrade in capitals": {"Upgrade": "WebSocket", "Connection": "UPGRADE"},
    "upgrade list": {"Upgrade": "websocket, h2c"},
    "connection list": {"Connection": "keep-alive, Upgrade"},
    "connection twice": {"Connection": ["keep-alive", "Upgrade"]},
    "length zero": {"Content-Length": "0"},
    "unknown extension": {"Sec-WebSocket-Extensions": "x-webkit-deflate-frame"},
    "second subprotocol": {"Sec-WebSocket-Protocol": f"chat, {JSON}"},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_handshake_takes(worker: harness.Worker, changes: Changes) -> None:
    """What is valid becomes a socket that speaks."""
    async with open_socket(worker.port) as socket:
        await socket.send(upgrade_request(changes))
        response = await socket.response()
        assert response.status == 101
        assert response.headers["sec-websocket-accept"] == accept_key(KEY)
        await rawsocket.WebSocket(socket, response).hello(ROOM)


async def test_a_later_http_version_is_taken(worker: harness.Worker) -> None:
    """RFC 6455, 4.2.1: HTTP/1.1 or higher."""
    async with open_socket(worker.port) as socket:
        await socket.send(upgrade_request(line="GET /ws HTTP/2.0"))
        assert (await socket.response()).status == 101


NEARLY = (
    "https://shop.example.evil.example",
    "https://evil.example/https://shop.example",
    "https://evilshop.example",
    "https://sub.shop.example",
    "http://shop.example",
    "https://shop.example:444",
    "https://SHOP.example",
    "https://shop.example/",
    "https://shop.example@evil.example",
    "https://m.shop.example",
    "shop.example",
    "https://shop.example, https://evil.example",
    "file://",
    "",
)


@pytest.mark.parametrize("origin", NEARLY)
async def test_origins_are_compared_whole(worker: harness.Worker, origin: str) -> None:
    """Nearly right is wrong."""
    response = await answered(worker.port, upgrade_request({"Origin": origin}))
    assert response.status == 403


async def test_without_a_list_pages_of_the_same_host_come_in(embedded_url: str) -> None:
    """The default: the demo page works, no other page does."""
    async with harness.running_worker(embedded_url) as own:
        host = f"127.0.0.1:{own.port}"
        for origin, status in (
            (f"http://{host}", 101),
            ("http://127.0.0.1", 403),
            ("http://localhost", 403),
            ("null", 403),
        ):
            request = upgrade_request({"Host": host, "Origin": origin})
            assert (await _status(own.port, request)) == status


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        (None, None),
        (JSON, JSON),
        (MSGPACK, MSGPACK),
        (f"{MSGPACK}, {JSON}", MSGPACK),
        (f"{JSON},{MSGPACK}", JSON),
        (f"unknown, {MSGPACK}", MSGPACK),
    ],
)
async def test_subprotocol_is_the_first_known_one(
    worker: harness.Worker, offer: str | None, chosen: str | None
) -> None:
    """In the client's order; without an offer JSON is spoken and none is named."""
    async with open_socket(worker.port) as socket:
        await socket.send(upgrade_request({"Sec-WebSocket-Protocol": offer}))
        response = await socket.response()
        assert response.headers.get("sec-websocket-protocol") == chosen
        await rawsocket.WebSocket(socket, response).hello(ROOM)


DEFLATE_OFFERS = {
    "permessage-deflate": True,
    "permessage-deflate; client_max_window_bits": True,
    "permessage-deflate; client_max_window_bits=10": True,
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover": True,
    "permessage-deflate; server_max_window_bits=15": True,
    "permessage-deflate; server_max_window_bits=8, permessage-deflate": True,
    "x-unknown, permessage-deflate": True,
    "permessage-deflate; server_max_window_bits=99": False,
    "permessage-deflate; server_max_window_bits=8": False,
    "permessage-deflate; server_max_window_bits=abc": False,
    "permessage-deflate; server_max_window_bits": False,
    "permessage-deflate; client_max_window_bits=7": False,
    "permessage-deflate; unknown=1": False,
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover": False,
    "permessage-deflate;;;": False,
    "\xff\xfe": False,
    ",": False,
}


@pytest.mark.parametrize(("offer", "agreed"), DEFLATE_OFFERS.items(), ids=DEFLATE_OFFERS.keys())
async def test_deflate_is_agreed_on_only_when_it_can_be_kept(
    worker: harness.Worker, offer: str, agreed: bool
) -> None:
    """An offer that cannot be kept is declined; the socket opens in any case."""
    async with open_socket(worker.port) as socket:
        await socket.send(upgrade_request({"Sec-WebSocket-Extensions": offer}))
        response = await socket.response()
        assert response.status == 101
        answer = response.headers.get("sec-websocket-extensions", "")
        assert ("server_no_context_takeover" in answer) is agreed
        ws = rawsocket.WebSocket(socket, response)
        await ws.hello(ROOM)


async def test_deflate_can_be_switched_off(embedded_url: str) -> None:
    """Then no offer is taken."""
    async with (
        harness.running_worker(embedded_url, deflate=False) as own,
        open_websocket(own.port, deflate=True) as ws,
    ):
        assert "sec-websocket-extensions" not in ws.accepted.headers


async def test_frames_right_behind_the_request_are_read(worker: harness.Worker) -> None:
    """Also when the request itself comes byte by byte."""
    hello = masked_frame(TEXT, b'{"op":"hello","id":1,"d":{"room":"%b"}}' % ROOM.encode())
    for cut in (None, rawsocket.byte_by_byte):
        async with open_socket(worker.port) as socket:
            await socket.send(upgrade_request() + hello, cut)
            ws = rawsocket.WebSocket(socket, await socket.response())
            assert (await ws.reply(1))["d"]["room"] == ROOM


async def test_much_behind_the_request_is_read(
    embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HTTP server may have stopped reading meanwhile; then reading goes on."""
    runner = partial(web.AppRunner, read_bufsize=1)
    monkeypatch.setattr("liveroom.web.app.web.AppRunner", runner)
    async with harness.running_worker(embedded_url) as own:
        await own.open_room(ROOM)
        hello = masked_frame(TEXT, b'{"op":"hello","id":1,"d":{"room":"%b"}}' % ROOM.encode())
        ping = masked_frame(TEXT, b'{"op":"sys.ping"}' + b" " * 60_000)
        last = masked_frame(TEXT, b'{"op":"sys.ping","id":2}')
        async with open_socket(own.port) as socket:
            await socket.send(upgrade_request())
            await socket.send(hello + ping * 20 + last)
            ws = rawsocket.WebSocket(socket, await socket.response())
            assert "d" in await ws.reply(2)


# Time.


@pytest.fixture
def short_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten seconds of an unfinished request, shortened."""
    monkeypatch.setattr("liveroom.web.app.HTTP_IDLE_S", 0.2)


async def _eof(socket: rawsocket.RawSocket, drip: bytes) -> bool:
    """Drip a byte whenever nothing happens for a moment; tell whether the other side closed."""
    try:
        async with asyncio.timeout(rawsocket.PATIENCE_S):
            while True:
                reading = asyncio.ensure_future(socket.reader.read(1000))
                done, _ = await asyncio.wait([reading], timeout=0.02)
                if done:
                    return reading.result() == b""
                reading.cancel()
                await asyncio.wait([reading])
                socket.writer.write(drip)
    except ConnectionError:
        return True


@pytest.mark.usefixtures("short_idle")
@pytest.mark.parametrize(
    ("start", "drip"),
    [
        (b"", b""),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n", b""),
        (b"GET /ws HTTP/1.1\r\nX: ", b"a"),
        (b"GET /ws HTTP/1.1\r\n", b"X: a\r\n"),
    ],
    ids=["nothing", "half a request", "dripped value", "dripped lines"],
)
async def test_unfinished_requests_end_in_time(
    embedded_url: str, start: bytes, drip: bytes
) -> None:
    """From the connect on, whatever drips: a slow sender cannot hold a connection."""
    async with harness.running_worker(embedded_url) as own, open_socket(own.port) as socket:
        await socket.send(start)
        assert await _eof(socket, drip)


@pytest.mark.usefixtures("short_idle")
async def test_the_request_deadline_does_not_touch_open_sockets(embedded_url: str) -> None:
    """It ends with the handshake: a viewer may be silent for longer."""
    async with harness.running_worker(embedded_url) as own:
        await own.open_room(ROOM)
        async with open_websocket(own.port) as ws, open_socket(own.port) as idle:
            await ws.hello(ROOM)
            assert await _eof(idle, b"")
            assert await _eof_of_second(own.port)
            assert "d" in await ws.ask("sys.ping")


async def _eof_of_second(port: int) -> bool:
    async with open_socket(port) as socket:
        return await _eof(socket, b"")


async def test_the_request_deadline_is_ten_seconds(worker: harness.Worker) -> None:
    """What the server in front was really given."""
    server = worker.web._runner.server
    assert server is not None
    async with open_socket(worker.port) as socket:
        await socket.send(b"GET")
        await assert_serves(worker)
        (handler,) = server.connections
        assert handler.keepalive_timeout == 10.0


# Limits.


async def _status(port: int, request: bytes, *, hold: list[Any] | None = None) -> int:
    socket = await rawsocket.RawSocket.open(port)
    await socket.send(request)
    response = await socket.response()
    if response.status == 101 and hold is not None:
        hold.append(socket)
    else:
        await socket.close()
    if response.status in (429, 503):
        assert int(response.headers["retry-after"]) > 0
    return response.status


async def _close_all(sockets: list[rawsocket.RawSocket]) -> None:
    for socket in sockets:
        await socket.close()
    sockets.clear()


async def _until_gone(worker: harness.Worker, count: int = 0) -> None:
    """Wait until the worker has let its connections go."""
    async with asyncio.timeout(rawsocket.PATIENCE_S):
        while len(worker.node.front.connections) > count:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)


async def test_connections_per_address_are_limited(embedded_url: str) -> None:
    """The third of two gets 429 and when to come back; when one has gone, the next comes in."""
    async with harness.running_worker(embedded_url, max_per_ip=2) as own:
        held: list[Any] = []
        statuses = [await _status(own.port, upgrade_request(), hold=held) for _ in range(4)]
        assert statuses == [101, 101, 429, 429]
        await held.pop().close()
        await _until_gone(own, 1)
        assert await _status(own.port, upgrade_request(), hold=held) == 101
        await _close_all(held)
        await _until_gone(own)
        assert own.node.front.addresses.connections("127.0.0.1") == 0


async def test_handshakes_per_second_are_limited(embedded_url: str) -> None:
    """A burst of two seconds' worth; refused ones leave nothing behind."""
    async with harness.running_worker(embedded_url, handshakes_per_s=0.01) as own:
        statuses = [await _status(own.port, upgrade_request()) for _ in range(3)]
        assert statuses == [101, 429, 429]
        await _until_gone(own)
        assert own.node.front.addresses.connections("127.0.0.1") == 0


async def test_refused_requests_do_not_count_as_connections(embedded_url: str) -> None:
    """A page of a foreign origin cannot use up an address."""
    async with harness.running_worker(embedded_url, max_per_ip=1) as own:
        for _ in range(5):
            bad = upgrade_request({"Origin": "https://evil.example"})
            assert await _status(own.port, bad) == 403
        assert await _status(own.port, upgrade_request()) == 101


async def test_a_full_worker_says_503(embedded_url: str) -> None:
    """Before the upgrade, with a time to come back; and it recovers."""
    async with harness.running_worker(embedded_url, max_connections=2) as own:
        held: list[Any] = []
        statuses = [await _status(own.port, upgrade_request(), hold=held) for _ in range(3)]
        assert statuses == [101, 101, 503]
        await held.pop().close()
        await _until_gone(own, 1)
        assert await _status(own.port, upgrade_request(), hold=held) == 101
        await _close_all(held)


async def test_a_draining_worker_says_503(embedded_url: str) -> None:
    """To whoever was connected already but had not asked yet."""
    async with harness.running_worker(embedded_url) as own, open_socket(own.port) as socket:
        await socket.send(b"GET /ws HTTP/1.1\r\n")
        assert await _status(own.port, upgrade_request()) == 101  # it was read
        await own.web.stop_accepting()
        await socket.send(upgrade_request().partition(b"\r\n")[2])
        assert (await socket.response()).status == 503


def _forwarded(*values: str) -> bytes:
    return upgrade_request({"X-Forwarded-For": list(values)})


async def test_forwarded_addresses_are_believed_from_trusted_proxies(embedded_url: str) -> None:
    """The rightmost untrusted hop is the caller; what stands left of it changes nothing."""
    settings: dict[str, Any] = {"trusted_proxies": ("127.0.0.1/32", "10.0.0.0/8"), "max_per_ip": 2}
    async with harness.running_worker(embedded_url, **settings) as own:
        held: list[Any] = []
        tries = [
            (("203.0.113.7",), 101),
            (("203.0.113.7", "10.1.2.3"), 101),
            (("203.0.113.7",), 429),
            (("198.51.100.1, 203.0.113.7",), 429),
            (("198.51.100.2", "203.0.113.7, 10.1.2.3"), 429),
            (("garbage, 203.0.113.7",), 429),
            (("203.0.113.7, 203.0.113.8",), 101),
            (("2001:db8::1",), 101),
            (("[2001:db8::2]:443",), 101),
            (("2001:db8::3",), 429),
            (("2001:db8:0:1::1",), 101),
        ]
        for values, status in tries:
            assert await _status(own.port, _forwarded(*values), hold=held) == status, values
        assert own.node.front.addresses.connections("203.0.113.7") == 2
        assert own.node.front.addresses.connections("2001:db8::/64") == 2
        assert own.node.front.addresses.connections("127.0.0.1") == 0
        await _close_all(held)


async def test_garbage_from_a_trusted_proxy_counts_for_the_proxy(embedded_url: str) -> None:
    """What cannot be read gives nobody a bucket of his own."""
    settings: dict[str, Any] = {"trusted_proxies": ("127.0.0.1/32",), "max_per_ip": 2}
    async with harness.running_worker(embedded_url, **settings) as own:
        held: list[Any] = []
        garbage = ("x", "1.2.3.4.5", "unknown", "' or 1=1")
        statuses = [await _status(own.port, _forwarded(v), hold=held) for v in garbage]
        assert statuses == [101, 101, 429, 429]
        await _close_all(held)


async def test_forwarded_addresses_of_strangers_are_ignored(embedded_url: str) -> None:
    """Without a trusted proxy the header is the caller's own invention."""
    async with harness.running_worker(embedded_url, max_per_ip=2) as own:
        held: list[Any] = []
        statuses = [
            await _status(own.port, _forwarded(f"203.0.113.{n}"), hold=held) for n in range(4)
        ]
        assert statuses == [101, 101, 429, 429]
        await _close_all(held)
