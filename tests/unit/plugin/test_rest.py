"""What REST routes share: a body that is an object, and the command behind a route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from liveroom.auth.claims import Claims, Role
from liveroom.errors import CommandError
from liveroom.plugin import rest
from liveroom.plugin.context import Engine
from liveroom.plugin.rest import CLAIMS, answer_command, json_body


SHOP = Claims("shop", "Shop", Role.SERVICE, "*", exp=2_000_000_000, iat=1, jti="j", issuer="")

Ask = Callable[..., Awaitable[tuple[dict[str, str], Any]]]


class Ran:
    """An engine that tells which command it was asked to run."""

    async def perform(
        self, room_id: str, claims: Claims, op: str, d: dict[str, Any], key: str = ""
    ) -> dict[str, Any]:
        """Answer with what was asked."""
        return {"room": room_id, "user": claims.user, "op": op, "d": d, "key": key}


async def _echo(request: web.Request) -> web.Response:
    try:
        d = await json_body(request)
    except CommandError as exc:
        return web.json_response({"refused": exc.code.name})
    return await answer_command(cast("Engine", Ran()), request, "thing.do", d)


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """`await ask(data, key="k")`: send it to a route of room `r`; return headers and answer."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[CLAIMS] = SHOP
        return await handler(request)

    app = web.Application(middlewares=[guard])
    app.router.add_post("/rooms/{room}/thing", _echo)
    async with TestClient(TestServer(app)) as client:

        async def send(data: Any, **headers: str) -> tuple[dict[str, str], Any]:
            async with client.post("/rooms/r/thing", data=data, headers=headers) as response:
                return dict(response.headers), await response.json()

        yield send


async def test_rest_command_is_run_for_whoever_asks_under_the_key_of_the_request(ask: Ask) -> None:
    """Room, sender, body and key reach the engine; its answer is the response, and not kept."""
    headers, answer = await ask(b'{"n": 1}', **{"Idempotency-Key": "k-1"})

    assert answer == {
        "room": "r", "user": "shop", "op": "thing.do", "d": {"n": 1}, "key": "k-1",
    }  # fmt: skip
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert (await ask(b"{}"))[1]["key"] == ""


@pytest.mark.parametrize(
    ("data", "code"), [(b"{", "bad_message"), (b"", "bad_message"), (b"[1]", "bad_request")]
)
async def test_rest_body_must_be_an_object(ask: Ask, data: bytes, code: str) -> None:
    """Anything else is refused."""
    assert (await ask(data))[1] == {"refused": code}


async def test_rest_body_that_does_not_come_is_not_waited_for(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that never ends its body is refused."""
    monkeypatch.setattr(rest, "_BODY_S", 0.01)
    answered = asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield b"{"
        await answered.wait()

    try:
        assert (await ask(halting()))[1] == {"refused": "bad_message"}
    finally:
        answered.set()
