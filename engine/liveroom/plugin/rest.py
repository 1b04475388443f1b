"""What plugins' REST routes are made of: who asks, the body, a command's answer (layer 4)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from aiohttp import web

from liveroom.auth.claims import Claims
from liveroom.errors import CommandError
from liveroom.plugin.context import Engine


__all__ = ["CLAIMS", "answer_command", "json_answer", "json_body", "read_body"]

CLAIMS = web.RequestKey("claims", Claims)
"""Who sent a request that has passed the guard: `request[CLAIMS]`."""

_BODY_S: Final = 10.0  # a body that is not here after this is not waited for
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def read_body(request: web.Request) -> bytes:
    """Return the whole body of a request.

    Raises:
        CommandError: `bad_message`: it does not come, or is not coded as it says.
    """
    try:
        async with asyncio.timeout(_BODY_S):
            return await request.read()
    except web.RequestPayloadError as exc:
        raise CommandError("bad_message", "the body cannot be decoded") from exc
    except TimeoutError as exc:
        raise CommandError("bad_message", f"expected the body within {_BODY_S:.0f} s") from exc


async def json_body(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that a request brings.

    Raises:
        CommandError: `bad_message`, `bad_request`: it brings something else.
    """
    try:
        found = orjson.loads(await read_body(request))
    except ValueError as exc:
        raise CommandError("bad_message", f"expected JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise CommandError("bad_request", "expected an object")
    return found


def json_answer(body: Any) -> web.Response:
    """Return the answer that is this as JSON; nobody may keep it."""
    return web.Response(body=orjson.dumps(body), headers=_HEADERS, content_type="application/json")


async def answer_command(
    engine: Engine, request: web.Request, op: str, d: dict[str, Any]
) -> web.Response:
    """Run a command for whoever asks, in the `{room}` of the path; answer with its reply.

    An `Idempotency-Key` header is the command's key.

    Args:
        engine: runs it.
        request: has passed the guard.
        op: a declared command.
        d: its body.

    Raises:
        CommandError: it was refused.
        StoreError: it was not done, or nobody knows.
    """
    room, key = request.match_info["room"], request.headers.get("Idempotency-Key", "")
    return json_answer(await engine.perform(room, request[CLAIMS], op, d, key))
