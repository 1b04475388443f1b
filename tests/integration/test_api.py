"""The HTTP API: who may do what, and that it answers like a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import harness
from liveroom.auth.tokens import mint
from liveroom.errors import StoreUnavailable
from liveroom.plugin.spec import Plugin
from liveroom.web.api import CLAIMS


class Api:
    """Speaks HTTP to one worker with one token."""

    def __init__(self, session: aiohttp.ClientSession, worker: harness.Worker, token: str) -> None:
        self._session = session
        self._worker = worker
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def raw(self, method: str, path: str, **options: Any) -> tuple[int, bytes, Any]:
        """Send a request; return status, body and headers."""
        url = self._worker.http + path
        headers = self._headers | options.pop("headers", {})
        async with self._session.request(method, url, headers=headers, **options) as response:
            return response.status, await response.read(), response.headers

    async def json(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Send a request; return status and the decoded body."""
        url = self._worker.http + path
        async with self._session.request(method, url, headers=self._headers, **options) as response:
            return response.status, await response.json()

    async def run(self, room: str, *commands: dict[str, Any]) -> list[dict[str, Any]]:
        """Send commands that make a well-formed request; return the replies."""
        status, answer = await self.json("POST", f"/api/rooms/{room}/commands", json=list(commands))
        assert status == 200, answer
        replies: list[dict[str, Any]] = answer["replies"]
        return replies

    async def one(self, room: str, op: str, key: str | None = None, **d: Any) -> dict[str, Any]:
        """Send one command; return its reply item."""
        command = {"op": op, "id": 7, "d": d} | ({"key": key} if key else {})
        (reply,) = await self.run(room, command)
        assert reply["re"] == 7
        return reply


Caller = Callable[..., Api]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def caller(session: aiohttp.ClientSession) -> Caller:
    """`caller(worker, room="*", role="service", user="u1")`."""

    def make(
        worker: harness.Worker, room: str = "*", role: str = "service", user: str = "backend"
    ) -> Api:
        return Api(session, worker, worker.token(room, role, user))

    return make


def _code(answer: Any) -> str:
    code: str = answer["err"]["code"]
    return code


# Who may.


@pytest.mark.parametrize(
    "path", ["/api/rooms", "/api/rooms/{room}", "/api/rooms/{room}/commands", "/api/nothing"]
)
@pytest.mark.parametrize("token", ["", "guest:", "not-a-token", "a.b.c", "x" * 5000])
async def test_api_without_a_valid_token_is_refused(
    worker: harness.Worker, session: aiohttp.ClientSession, room: str, path: str, token: str
) -> None:
    """No token and a bad one are 401, and the answer does not repeat the token."""
    method = "POST" if path.endswith("commands") else "GET"

    status, body, headers = await Api(session, worker, token).raw(
        method, path.format(room=room), data=b"[]" if method == "POST" else None
    )

    assert status == 401
    assert b'"unauthorized"' in body
    assert headers["WWW-Authenticate"] == "Bearer"
    assert not token or token.encode() not in body


@pytest.mark.parametrize(
    ("path", "expected"), [("/api/rooms", 401), ("/api/rooms/{room}", 403), ("/api/nothing", 401)]
)
async def test_api_takes_a_guest_of_development_for_a_viewer_of_the_room(
    worker: harness.Worker, session: aiohttp.ClientSession, room: str, path: str, expected: int
) -> None:
    """Where no room is named a guest is nobody; in a room, a viewer, who may not do this."""
    status, _, _ = await Api(session, worker, "guest:ann").raw("GET", path.format(room=room))
    assert status == expected


async def test_api_expired_token_is_refused(
    worker: harness.Worker, session: aiohttp.ClientSession, room: str
) -> None:
    """A token that has ended is 401."""
    past = time.time() - 7200
    token = mint(harness.SECRET, user="u", room="*", role="service", ttl_s=3600, now=past)

    status, answer = await Api(session, worker, token).json("GET", f"/api/rooms/{room}")

    assert (status, _code(answer)) == (401, "unauthorized")


@pytest.mark.parametrize("scheme", ["Basic {}", "{}", "Bearer", "Bearer  "])
async def test_api_other_authorization_schemes_are_refused(
    worker: harness.Worker, session: aiohttp.ClientSession, scheme: str
) -> None:
    """Only a bearer token counts."""
    header = scheme.format(worker.token("*", "service"))
    api = Api(session, worker, "")

    status, _, _ = await api.raw("GET", "/api/rooms", headers={"Authorization": header})

    assert status == 401


@pytest.mark.parametrize("role", ["viewer", "assistant"])
async def test_api_below_moderator_is_refused_everywhere(
    worker: harness.Worker, caller: Caller, room: str, role: str
) -> None:
    """A viewer's token opens no route."""
    api = caller(worker, room, role)

    for method, path in (
        ("GET", "/api/rooms"),
        ("GET", f"/api/rooms/{room}"),
        ("POST", f"/api/rooms/{room}/commands"),
    ):
        status, answer = await api.json(method, path)
        assert (status, _code(answer)) == (403, "forbidden")


@pytest.mark.parametrize("role", ["moderator", "host", "service"])
async def test_api_token_of_one_room_cannot_touch_another(
    worker: harness.Worker, caller: Caller, room: str, role: str
) -> None:
    """Neither reading nor commands; nothing is executed."""
    await worker.open_room(room)
    api = caller(worker, f"{room}-other", role)

    for method, path in (("GET", f"/api/rooms/{room}"), ("POST", f"/api/rooms/{room}/commands")):
        status, answer = await api.json(method, path, json={"op": "room.close"})
        assert (status, _code(answer)) == (403, "forbidden")

    _, shown = await caller(worker).json("GET", f"/api/rooms/{room}")
    assert _states(shown)["room"]["status"] == "open"


@pytest.mark.parametrize("scope", ["~sys", "~w00", "a%2Fb", "-x", "x" * 65, "%00"])
async def test_api_internal_scopes_are_no_rooms(
    worker: harness.Worker, caller: Caller, scope: str
) -> None:
    """What is not a room's name is 404, even for a service."""
    api = caller(worker)

    for method, path in (("GET", f"/api/rooms/{scope}"), ("POST", f"/api/rooms/{scope}/commands")):
        status, _, _ = await api.raw(method, path, data=b'{"op":"wallet.of","d":{"user":"u"}}')
        assert status == 404


async def test_api_commands_follow_surface_and_role(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """Each role may send what it may send on a socket, a service what is open to services."""
    await worker.open_room(room)
    moderator, host = caller(worker, room, "moderator"), caller(worker, room, "host")
    service = caller(worker)
    topup = {"user": "someone", "amount": 5}

    assert _code(await moderator.one(room, "room.update", title="no")) == "forbidden"
    assert "d" in await moderator.one(room, "room.mode", like=True)
    assert "d" in await host.one(room, "room.update", title="yes")
    assert "d" in await host.one(room, "danmaku.send", text="from a bot")
    assert _code(await host.one(room, "wallet.topup", "k", **topup)) == "unknown_op"
    assert _code(await host.one(room, "auth.revoke", user="u")) == "unknown_op"
    assert "d" in await service.one(room, "room.update", title="service")
    assert "d" in await service.one(room, "wallet.topup", "k", **topup)
    assert _code(await service.one(room, "danmaku.send", text="hi")) == "unknown_op"


@pytest.mark.parametrize("op", ["hello", "sys.ping", "sys.token", "sys.resume", "no.such"])
async def test_api_unknown_and_system_commands_are_refused(
    worker: harness.Worker, caller: Caller, room: str, op: str
) -> None:
    """The commands of a socket's own life have no meaning here."""
    for role in ("host", "service"):
        command = {"op": op, "d": {"room": room, "token": "t"}}
        (reply,) = await caller(worker, room, role).run(room, command)
        assert _code(reply) == "unknown_op"


# What comes in.


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_message"),
        (b"{", "bad_message"),
        (b"\xff\xfe", "bad_message"),
        (b'{"op":"room.close"} x', "bad_message"),
        (b"[" * 5000, "bad_message"),
        (b"[" + b",".join([b'{"op":"room.close"}'] * 65) + b"]", "bad_request"),
    ],
)
async def test_api_bad_body_is_400(
    worker: harness.Worker, caller: Caller, room: str, body: bytes, code: str
) -> None:
    """What is no message of commands is refused whole, typed."""
    await worker.open_room(room)
    api = caller(worker, room)

    status, answer = await api.json("POST", f"/api/rooms/{room}/commands", data=body)

    assert (status, _code(answer)) == (400, code)
    _, shown = await api.json("GET", f"/api/rooms/{room}")
    assert _states(shown)["room"]["status"] == "open"


async def test_api_oversized_body_is_413(
    store_url: str, start_worker: harness.StartWorker, caller: Caller, room: str
) -> None:
    """A body above the limit is refused, announced or not."""
    worker = await start_worker(store_url, max_message_bytes=2048)
    api, path = caller(worker, room), f"/api/rooms/{room}/commands"
    body = b'{"op":"room.open","d":{"title":"' + b"x" * 3000 + b'"}}'

    async def unannounced() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 500):
            yield body[start : start + 500]

    for data in (body, unannounced()):
        status, raw, _ = await api.raw("POST", path, data=data)
        assert status == 413
        assert b'"bad_message"' in raw


async def test_api_bad_commands_are_refused_one_by_one(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """Each command of a list has its own reply, in order; the good ones count."""
    replies = await caller(worker, room).run(
        room,
        {"op": "room.open", "id": 1, "d": {"title": "t"}},
        {"op": "room.update", "id": 2, "d": {"title": 5}},
        {"op": "no.such"},
        {"id": 4},
        {"op": "room.update", "d": {"title": "new"}},
    )

    assert [reply["re"] for reply in replies] == [1, 2, None, None, None]
    assert replies[0]["d"] == {"opened": True}
    assert [_code(reply) for reply in replies[1:4]] == ["bad_request", "unknown_op", "bad_request"]
    assert replies[4]["d"] == {}


async def test_api_single_command_and_empty_list(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """A bare object is a list of one; nothing is answered with nothing."""
    api, path = caller(worker, room), f"/api/rooms/{room}/commands"

    assert await api.json("POST", path, json={"op": "room.open", "id": 0}) == (
        200,
        {"replies": [{"re": 0, "d": {"opened": True}}]},
    )
    assert await api.json("POST", path, json=[]) == (200, {"replies": []})


async def test_api_unknown_path_and_method_are_typed(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """404 and 405 come as JSON too."""
    api = caller(worker, room)

    status, answer = await api.json("GET", "/api/no/such/path")
    assert (status, _code(answer)) == (404, "not_found")
    status, body, headers = await api.raw("DELETE", f"/api/rooms/{room}/commands")
    assert (status, headers["Allow"]) == (405, "POST")
    assert b'"bad_request"' in body


# Money and keys.


async def test_api_money_commands_need_a_key(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """A top-up without a key is refused and moves nothing."""
    api = caller(worker)

    assert _code(await api.one(room, "wallet.topup", user=room, amount=5)) == "key_required"
    assert (await api.one(room, "wallet.of", user=room))["d"] == {"balance": 0}


@pytest.mark.parametrize(
    ("op", "d"),
    [
        ("wallet.topup", {"user": "u", "amount": 5}),
        ("wallet.of", {"user": "u"}),
        ("auth.revoke", {"user": "u"}),
    ],
)
async def test_api_a_room_token_reaches_nothing_beyond_its_room(
    worker: harness.Worker, caller: Caller, room: str, op: str, d: dict[str, Any]
) -> None:
    """Wallets and tokens belong to no room: only a service for every room may touch them."""
    reply = await caller(worker, room).one(room, op, "k", **d)

    assert _code(reply) == "forbidden"


async def test_api_repeated_key_gives_equal_bytes(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """The stored answer comes back byte for byte; another body under the key is refused."""
    api, path = caller(worker), f"/api/rooms/{room}/commands"
    command = {"op": "wallet.topup", "id": 1, "key": "k", "d": {"user": room, "amount": 500}}

    answers = [await api.raw("POST", path, json=command) for _ in range(3)]

    assert {body for _, body, _ in answers} == {b'{"replies":[{"re":1,"d":{"balance":500}}]}'}
    other = await api.one(room, "wallet.topup", "k", user=room, amount=501)
    assert _code(other) == "key_mismatch"
    assert (await api.one(room, "wallet.of", user=room))["d"] == {"balance": 500}


async def test_api_topup_pays_for_a_gift(worker: harness.Worker, caller: Caller, room: str) -> None:
    """Money of the back end buys a gift on the socket."""
    await worker.open_room(room)
    buyer = f"buyer-{room}"
    viewer = await worker.join(room, buyer)

    reply = await caller(worker).one(room, "wallet.topup", "t1", user=buyer, amount=1990)
    assert reply["d"] == {"balance": 1990}
    sent = await viewer.ask("gift.send", key="g1", gift="heart", n=2)

    assert sent["value"] == 1980
    assert (await caller(worker).one(room, "wallet.of", user=buyer))["d"] == {"balance": 10}
    assert (await viewer.event("gift.sent", gift="heart"))["d"]["value"] == 1980


async def test_api_and_socket_share_a_key(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """What was sent on a socket is not done again when it is repeated over HTTP."""
    user = f"host-{room}"
    host = await worker.control(room, user)
    await host.ask("room.open")
    await caller(worker).one(room, "wallet.topup", "t", user=user, amount=300)
    first = await host.ask("gift.send", key="same", gift="rose")

    reply = await caller(worker, room, "host", user).one(room, "gift.send", "same", gift="rose")

    assert reply["d"] == first
    await host.ask("room.update", title="afterwards")
    await host.event("room.updated")
    assert len(host.events("gift.sent")) == 1


# Reading.


def _states(shown: Any) -> dict[str, Any]:
    return {state["st"]: state["d"] for state in shown["states"]}


@pytest.mark.parametrize("role", ["moderator", "host", "service"])
async def test_api_room_shows_snapshot_states_and_position(
    worker: harness.Worker, caller: Caller, room: str, role: str
) -> None:
    """The picture of a room that a late joiner is given."""
    await worker.open_room(room, title="晚间直播")
    viewer = await worker.join(room)
    await viewer.ask("danmaku.send", text="hello")
    await viewer.event("danmaku", text="hello")

    status, shown = await caller(worker, room, role).json("GET", f"/api/rooms/{room}")

    assert status == 200
    assert shown["room"] == room
    assert (shown["epoch"], shown["seq"]) == (viewer.hello["epoch"], 1)
    assert _states(shown)["room"]["title"] == "晚间直播"
    assert [item["d"]["text"] for item in shown["snapshot"]["danmaku"]] == ["hello"]


async def test_api_unknown_room_is_404_and_stays_unknown(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """Asking about a room does not make it."""
    api = caller(worker)

    for _ in range(2):
        status, answer = await api.json("GET", f"/api/rooms/{room}")
        assert (status, _code(answer)) == (404, "no_room")
    assert _code(await api.one(room, "room.update", title="x")) == "no_room"


async def test_api_rooms_lists_what_the_token_is_for(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """A service for any room sees all, one for a room only that; a host may not ask."""
    await worker.open_room(f"{room}-a")
    await worker.open_room(f"{room}-b")

    async with asyncio.timeout(harness.PATIENCE_S):
        status, every = await caller(worker).json("GET", "/api/rooms")
        while not {f"{room}-a", f"{room}-b"} <= set(every["rooms"]):  # listed as it is published
            status, every = await caller(worker).json("GET", "/api/rooms")
    assert status == 200
    assert every["rooms"] == sorted(every["rooms"])
    _, one = await caller(worker, f"{room}-b").json("GET", "/api/rooms")
    assert one == {"rooms": [f"{room}-b"]}
    status, answer = await caller(worker, f"{room}-b", "host").json("GET", "/api/rooms")
    assert (status, _code(answer)) == (403, "forbidden")


async def test_api_answers_are_not_cached(
    worker: harness.Worker, caller: Caller, room: str
) -> None:
    """Neither good nor bad answers are kept or sniffed."""
    for path in ("/api/rooms", f"/api/rooms/{room}"):
        _, _, headers = await caller(worker).raw("GET", path)
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Type"] == "application/json; charset=utf-8"


# Revocation.


async def test_api_revoke_closes_a_live_socket_on_another_worker(
    store_url: str, start_worker: harness.StartWorker, caller: Caller, room: str
) -> None:
    """Every worker ends the user's connections and refuses the token on both surfaces."""
    first, second = await start_worker(store_url), await start_worker(store_url)
    await first.open_room(room)
    user = f"user-{room}"
    target, bystander = await second.join(room, user), await second.join(room, f"{user}-2")
    host = caller(second, room, "host", user)
    assert (await host.json("GET", f"/api/rooms/{room}"))[0] == 200

    assert "d" in await caller(first).one(room, "auth.revoke", user=user)

    assert await target.closed() == 4401
    assert "now" in await bystander.ask("sys.ping")
    status, answer = await host.json("GET", f"/api/rooms/{room}")
    assert (status, _code(answer)) == (401, "unauthorized")


# Plugins.


class Routed(Plugin):
    """Has routes: one that answers, some that raise."""

    name = "routed"

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.get("/routed/{room}/who", self._who),
            web.get("/routed/fault", self._fault),
            web.get("/routed/down", self._down),
            web.get("/routed/gone", self._gone),
        ]

    async def _who(self, request: web.Request) -> web.Response:
        return web.json_response({"user": request[CLAIMS].user})

    async def _fault(self, request: web.Request) -> web.Response:
        raise ZeroDivisionError

    async def _down(self, request: web.Request) -> web.Response:
        raise StoreUnavailable("no store")

    async def _gone(self, request: web.Request) -> web.Response:
        raise web.HTTPGone


@pytest.fixture
async def routed(store_url: str) -> AsyncIterator[harness.Worker]:
    async with harness.running_worker(store_url, [Routed()]) as worker:
        yield worker


async def test_api_plugin_routes_need_the_service_role_and_the_room(
    routed: harness.Worker, caller: Caller, room: str
) -> None:
    """They stand under /api behind the same guard."""
    path = f"/api/routed/{room}/who"

    assert await caller(routed).json("GET", path) == (200, {"user": "backend"})
    for token_room, role in ((room, "host"), (f"{room}-other", "service"), (room, "viewer")):
        status, answer = await caller(routed, token_room, role).json("GET", path)
        assert (status, _code(answer)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("fault", 500, "internal"), ("down", 503, "unavailable"), ("gone", 410, "bad_request")],
)
async def test_api_plugin_routes_that_raise_are_isolated(
    routed: harness.Worker, caller: Caller, name: str, status: int, code: str
) -> None:
    """Whatever they raise becomes a typed answer; a fault is counted under the plugin's name."""
    before = routed.node.metrics.plugin_faults.labels("routed")._value.get()

    came, answer = await caller(routed).json("GET", f"/api/routed/{name}")

    assert (came, _code(answer)) == (status, code)
    after = routed.node.metrics.plugin_faults.labels("routed")._value.get()
    assert after - before == (1 if name == "fault" else 0)
