"""Attacks that go past one part: over HTTP, at the ops listener, at what operators look at.

What single frames, messages and tokens may be stands in test_handshake.py, test_conformance.py and
test_bad_input.py.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import msgspec
import orjson
import pytest

import harness
import rawsocket
from faultproxy import FaultProxy
from harness import Worker
from liveroom.auth.tokens import mint
from liveroom.config import load
from liveroom.plugin.manager import Bound
from liveroom.plugin.spec import Surface
from liveroom.protocol.frame_builder import CLOSE, masked_frame
from liveroom.supervisor import _Supervisor
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.moderation import Moderation
from liveroom_plugins.redpackets import RedPackets
from rawsocket import close_payload, open_socket, open_websocket


OLD_SECRET = "an-older-horse-battery-staple-9876543210"


async def ask(
    worker: Worker, path: str, token: str = "", data: Any = None, **headers: str
) -> tuple[int, bytes, Mapping[str, str]]:
    """Ask over HTTP, by POST if there is something to send; return status, body and headers."""
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    method = "GET" if data is None else "POST"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, worker.http + path, data=data, headers=headers) as response,
    ):
        return response.status, await response.read(), dict(response.headers)


def code_of(body: bytes) -> str:
    """Return the code of a refusal."""
    code: str = orjson.loads(body)["err"]["code"]
    return code


# Tokens.


def signed(header: Any, claims: Any, secret: str = harness.SECRET, digest: str = "sha256") -> str:
    """Return a token with any header and claims; bytes go in as they are."""
    parts = (part if isinstance(part, bytes) else orjson.dumps(part) for part in (header, claims))
    text = ".".join(map(_b64, parts))
    return f"{text}.{_b64(hmac.new(secret.encode(), text.encode(), digest).digest())}"


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


HEADER = {"alg": "HS256", "typ": "live+jwt"}
GOOD = {"sub": "u1", "room": "r1", "role": "host", "exp": 4_000_000_000, "iat": 0, "jti": "j"}
NOW = int(time.time())
GOOD |= {"iat": NOW, "exp": NOW + 3600}
FORGED: dict[str, str] = {
    "unsigned": signed({"alg": "none"}, GOOD).rpartition(".")[0] + ".",
    "none with a signature": signed({"alg": "None"}, GOOD),
    "another digest": signed({"alg": "HS512"}, GOOD, digest="sha512"),
    "lower case": signed({"alg": "hs256"}, GOOD),
    "another secret": signed(HEADER, GOOD, "x" * 40),
    "no secret": signed(HEADER, GOOD, ""),
    "kid that climbs": signed(HEADER | {"kid": "../../etc/passwd"}, GOOD),
    "kid for SQL": signed(HEADER | {"kid": "x' OR '1'='1"}, GOOD),
    "jku": signed(HEADER | {"jku": "http://127.0.0.1/keys"}, GOOD),
    "jwk": signed(HEADER | {"jwk": {"kty": "oct", "k": "AAAA"}}, GOOD),
    "crit": signed(HEADER | {"crit": ["exp"]}, GOOD),
    "expiry as text": signed(HEADER, GOOD | {"exp": str(NOW + 600)}),
    "endless": signed(HEADER, GOOD | {"exp": 1e300}),
    "infinite": signed(HEADER, orjson.dumps(GOOD)[:-1] + b',"exp":1e999}'),
    "not a number": signed(HEADER, orjson.dumps(GOOD)[:-1] + b',"exp":NaN}'),
    "beyond any integer": signed(HEADER, orjson.dumps(GOOD)[:-1] + b',"exp":' + b"9" * 400 + b"}"),
    "before all time": signed(HEADER, GOOD | {"iat": -1e300, "exp": NOW + 5}),
    "not yet": signed(HEADER, GOOD | {"nbf": NOW + 600}),
    "every room, for a host": signed(HEADER, GOOD | {"room": "*"}),
    "a role of its own": signed(HEADER, GOOD | {"role": "admin"}),
    "a user with a line": signed(HEADER, GOOD | {"sub": "u1\n"}),
    "a list": signed(HEADER, []),
    "nested": signed(HEADER, b"[" * 2000),
}


async def test_forged_tokens_are_told_apart_by_nobody(alone: Worker, room: str) -> None:
    """Status, body and headers are the same bytes, whatever is wrong; the same token, right, counts."""
    await alone.open_room("r1")
    assert (await ask(alone, "/api/rooms/r1", signed(HEADER, GOOD)))[0] == 200

    answers = {name: await ask(alone, "/api/rooms/r1", token) for name, token in FORGED.items()}

    told = {(status, body) for status, body, _ in answers.values()}
    assert len(told) == 1, answers
    assert {status for status, _ in told} == {401}


async def test_two_secrets_count_while_one_replaces_the_other(embedded_url: str, room: str) -> None:
    """`jwt_secret` may hold both; with the new one alone the old tokens are over."""
    both = f"{harness.SECRET} {OLD_SECRET}"

    def tokens() -> list[str]:
        terms: dict[str, Any] = {"user": "shop", "room": "*", "role": "service", "ttl_s": 60}
        return [mint(key, now=time.time(), **terms) for key in both.split()]

    async with harness.running_worker(embedded_url, jwt_secret=both) as worker:
        assert [(await ask(worker, "/api/rooms", t))[0] for t in tokens()] == [200, 200]
    async with harness.running_worker(embedded_url) as worker:
        assert [(await ask(worker, "/api/rooms", t))[0] for t in tokens()] == [200, 401]


async def test_a_name_in_a_token_hides_nothing(alone: Worker, room: str) -> None:
    """Two names that look alike are alike: what cannot be seen is taken out of both."""
    await alone.open_room(room)
    for number, name in enumerate(("Ada", "\u200bA\u2060da", "Ada\u200d", "\u202eAda\u3164")):
        token = alone.token(room, user=f"u{number}", name=name)
        client = await alone.connect()
        assert (await client.ask("hello", room=room, token=token))["name"] == "Ada"


WRONG_ROOM = "came one for"
TEXTS = ("a1", "https://a/b", "CNY", "h1", "a1" * 32)


def smallest(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    """Return a small value of a JSON schema."""
    if "$ref" in schema:
        return smallest(parts[schema["$ref"].rpartition("/")[2]], parts)
    if "anyOf" in schema:
        return smallest(schema["anyOf"][0], parts)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {name: smallest(fields[name], parts) for name in schema.get("required", ())}
        case "array":
            return [smallest(schema["items"], parts)] * schema.get("minItems", 0)
        case "string":
            return next(text for text in TEXTS if re.search(schema.get("pattern", ""), text))
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        case _:
            return False


def is_reply_to(number: int) -> Callable[[dict[str, Any]], bool]:
    """Return what knows the reply to a command."""
    return lambda item: item.get("re") == number


def body_of(bound: Bound) -> Any:
    """Return a body that a command takes."""
    (root,), parts = msgspec.json.schema_components([bound.spec.body])
    return smallest(root, parts)


@pytest.mark.parametrize("path", ["/ws", "/control"])
async def test_a_command_that_names_another_room_finds_none(
    embedded_url: str, start_worker: harness.StartWorker, room: str, path: str
) -> None:
    """Every command of the socket, whole and right but for its room; and the same over HTTP."""
    worker = await start_worker(embedded_url, plugins=[Moderation(), Coupons(), RedPackets()])
    surface = Surface(path)
    await worker.open_room(room)
    await worker.open_room(f"{room}-b")
    eve = await worker.join(room, "eve", "host", path=path)
    commands = worker.node.manager.commands
    ops = [op for op, bound in commands.items() if surface in bound.spec.surfaces]
    assert len(ops) > 10

    told = {}
    for number, op in enumerate(ops):
        sent = {"op": op, "key": f"k{number}", "room": f"{room}-b", "d": body_of(commands[op])}
        await eve.send({"id": 1000 + number} | sent)
        reply = await eve.item(is_reply_to(1000 + number))
        told[op] = reply["err"]["code"] if "err" in reply else reply
        if path == "/control":
            token = worker.token(room, "host", "eve")
            url = f"/api/rooms/{room}/commands"
            _, body, _ = await ask(worker, url, token, orjson.dumps({"id": 1} | sent))
            (answer,) = orjson.loads(body)["replies"]
            told[f"{op} over HTTP"] = "not_found" if WRONG_ROOM in answer["err"]["msg"] else answer

    assert {op: answer for op, answer in told.items() if answer != "not_found"} == {}


# What does not arrive.


async def test_who_is_shut_out_is_gone_also_when_the_word_of_it_is_lost(
    embedded_url: str, start_worker: harness.StartWorker, room: str, tmp_path: Path
) -> None:
    """A worker that was told nothing of a ban or a revocation finds both in the log."""
    target = unquote(embedded_url.removeprefix("unix://"))
    async with FaultProxy(target, tmp_path) as proxy:
        first = await start_worker(embedded_url, plugins=[Moderation()])
        deaf = await start_worker(proxy.url, plugins=[Moderation()])
        host = await first.open_control(room)
        await host.ask("room.open")
        revoked, banned = f"eve-{room}", f"mallory-{room}"
        eve, mallory = await deaf.join(room, revoked), await deaf.join(room, banned)
        innocent = await deaf.join(room, f"ann-{room}")

        for link in proxy.channel_links():
            link.hold()
        await host.ask("mod.ban", user=banned)
        assert "d" in await harness.service(first, room, "auth.revoke", user=revoked)
        for link in proxy.channel_links():
            link.reset()  # with all that was on its way

        assert [await eve.closed(), await mallory.closed()] == [4401, 4403]
        assert "now" in await innocent.ask("sys.ping")


# HTTP bodies.


def lying(encoding: str) -> dict[str, str]:
    return {"Content-Encoding": encoding}


async def test_a_body_that_is_not_coded_as_it_says_is_refused(alone: Worker, room: str) -> None:
    """It is the sender's fault, and told so."""
    await alone.open_room(room)
    token = alone.token(room, "host")
    path = f"/api/rooms/{room}/commands"

    for encoding in ("gzip", "deflate"):
        status, body, _ = await ask(alone, path, token, b"not packed", **lying(encoding))
        assert status == 400, encoding
        assert encoding == "deflate" or code_of(body) == "bad_message"
    assert (await ask(alone, f"/api/rooms/{room}", token))[0] == 200


async def test_a_packed_body_that_swells_is_refused_at_the_limit(alone: Worker, room: str) -> None:
    """50 kB that are 50 MB: 413, and nothing is done."""
    await alone.open_room(room)
    bomb = gzip.compress(b'[{"op":"room.close"}' + b" " * 50_000_000 + b"]")

    path, token = f"/api/rooms/{room}/commands", alone.token(room, "host")
    status, body, _ = await ask(alone, path, token, bomb, **lying("gzip"))

    assert (status, code_of(body)) == (413, "bad_message")
    _, shown, _ = await ask(alone, f"/api/rooms/{room}", token)
    (state,) = [s for s in orjson.loads(shown)["states"] if s["st"] == "room"]
    assert state["d"]["status"] == "open"


@pytest.mark.parametrize(
    "tail",
    [b"X: y\r\n" * 20_000, b"X: " + b"y" * 100_000 + b"\r\n"],
    ids=["many", "long"],
)
async def test_trailers_without_end_are_refused(alone: Worker, room: str, tail: bytes) -> None:
    """Behind a chunked body as before it."""
    await alone.open_room(room)
    head = (
        f"POST /api/rooms/{room}/commands HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: Bearer {alone.token(room, 'host')}\r\n\r\n"
    ).encode()
    async with open_socket(alone.port) as wire:
        await wire.send(head + b"2\r\n[]\r\n0\r\n" + tail + b"\r\n")
        assert (await wire.response()).status == 400


async def test_who_reads_no_answers_holds_no_connection(
    embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response has a minute; what was not read by then is dropped with its connection."""
    monkeypatch.setattr("liveroom.web.app._SEND_S", 0.2)
    async with harness.running_worker(embedded_url) as worker:
        server = worker.web._runner.server
        assert server is not None
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", worker.port))
            deaf.setblocking(False)
            request = b"GET /sdk/liveroom.js HTTP/1.1\r\nHost: a\r\n\r\n"
            assert deaf.send(request * 1000) > 400 * len(request)

            async def let_go() -> bool:
                return not server.connections

            async def taken() -> bool:
                return bool(server.connections)

            await harness.until(taken)
            await harness.until(let_go)
        assert (await ask(worker, "/"))[0] == 200


# How much over HTTP.


async def in_a_second(worker: Worker, seconds: float) -> None:
    """Let time pass for a worker's rates."""
    now = worker.node.front.now
    worker.node.front.now = lambda: now() + seconds


async def test_commands_over_http_have_a_rate(embedded_url: str, room: str) -> None:
    """A service's own, per user: 429, `rate_limited`, `Retry-After`, and counted; then again served."""
    async with harness.running_worker(embedded_url, api_per_s=2.0, max_commands=4) as worker:
        await worker.open_room(room)
        await in_a_second(worker, 0.0)
        frozen = worker.node.front.now()
        worker.node.front.now = lambda: frozen
        token, path = worker.token("*", "service", "shop"), f"/api/rooms/{room}/commands"
        three = orjson.dumps([{"op": "room.close", "id": n, "d": {}} for n in range(3)])

        assert (await ask(worker, path, token, three))[0] == 200
        status, body, headers = await ask(worker, path, token, three)
        assert (status, code_of(body)) == (429, "rate_limited")
        assert headers["Retry-After"] == "1"
        assert (await ask(worker, "/api/rooms", token))[0] == 429
        other = worker.token("*", "service", "till")
        assert (await ask(worker, "/api/rooms", other))[0] == 200

        worker.node.front.now = lambda: frozen + 1.0
        assert (await ask(worker, "/api/rooms", token))[0] == 200
        assert b'liveroom_api_refused_total{status="429"} 2.0' in worker.node.metrics.render()


async def test_hosts_have_no_more_over_http_than_on_a_socket(embedded_url: str, room: str) -> None:
    """`messages_per_s`, with one full list at once; a service may do more at the same time."""
    settings: dict[str, Any] = {"messages_per_s": 1.0, "max_commands": 4}
    async with harness.running_worker(embedded_url, **settings) as worker:
        frozen = worker.node.front.now()
        worker.node.front.now = lambda: frozen
        path, token = f"/api/rooms/{room}", worker.token(room, "moderator", "mo")
        shop = worker.token("*", "service", "mo")

        tries = [(await ask(worker, path, token))[0] for _ in range(6)]

        assert tries == [404] * 4 + [429] * 2
        assert (await ask(worker, path, shop))[0] == 404


# What operators look at.


async def test_a_peers_close_code_is_not_counted_as_ours(alone: Worker, room: str) -> None:
    """Any of 2,000 codes is the peer's to send; a metric has none of them."""
    for code in (4029, 4401, 3999, 1001):
        async with open_websocket(alone.port) as ws:
            await ws.send(masked_frame(CLOSE, close_payload(code)))
            assert await ws.closed() == code

    shown = [
        line
        for line in alone.node.metrics.render().decode().splitlines()
        if line.startswith("liveroom_closes_total{")
    ]
    assert shown == ['liveroom_closes_total{code="peer"} 4.0']


@pytest.mark.parametrize("path", ["/metrics", "/status", "/healthz", "/readyz", "/debug"])
async def test_operations_are_not_on_the_public_listener(alone: Worker, path: str) -> None:
    """They have one of their own, on loopback unless told otherwise."""
    assert (await ask(alone, path))[0] == 404
    assert load(environ={}).ops_host == "127.0.0.1"


@pytest.mark.parametrize("start", [b"", b"GET /metrics HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"])
async def test_unfinished_requests_end_at_the_ops_listener_too(
    monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    """Its connections are as few as any."""
    monkeypatch.setattr("liveroom.supervisor.HTTP_IDLE_S", 0.2)
    settings = load(environ={}, overrides={"ops_port": 0, "workers": 1})
    supervisor = _Supervisor(settings, None, "/nowhere", False, lambda said: None)
    async with supervisor._ops() as address, open_socket(_port_of(address)) as wire:
        await wire.send(start)
        async with asyncio.timeout(rawsocket.PATIENCE_S):
            await wire.rest()


def _port_of(address: str) -> int:
    return int(address.rstrip("/").rpartition(":")[2])
