"""The back end's routes under /api, for the role `service`.

    GET  /api/rooms/{room}/coupons/{code}
    POST /api/rooms/{room}/coupons/{code}/lock      {"order": …}
    POST /api/rooms/{room}/coupons/{code}/use       {"order": …}
    POST /api/rooms/{room}/coupons/{code}/release   {"order": …}

They run the commands `coupon.ask`, `coupon.lock`, `coupon.use` and `coupon.release`; an
`Idempotency-Key` header is the command's key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from aiohttp import web

from liveroom import CLAIMS, CommandError, Engine


__all__ = ["CouponRoutes"]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_ONE = "/rooms/{room}/coupons/{code}"


class CouponRoutes:
    """The routes; the plugin hands them its engine when it starts."""

    engine: Engine

    def all(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        steps = ("lock", "use", "release")
        posts = [web.post(f"{_ONE}/{step}", self._step(f"coupon.{step}")) for step in steps]
        return [web.get(_ONE, self._ask, allow_head=False), *posts]

    async def _ask(self, request: web.Request) -> web.Response:
        return await self._perform(request, "coupon.ask", {})

    def _step(self, op: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            return await self._perform(request, op, _object(await request.read()))

        return handle

    async def _perform(self, request: web.Request, op: str, d: dict[str, Any]) -> web.Response:
        match, key = request.match_info, request.headers.get("Idempotency-Key", "")
        body = d | {"code": match["code"]}
        answer = await self.engine.perform(match["room"], request[CLAIMS], op, body, key)
        return web.Response(
            body=orjson.dumps(answer), headers=_HEADERS, content_type="application/json"
        )


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except ValueError as exc:
        raise CommandError("bad_message", f"expected JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise CommandError("bad_request", "expected an object")
    return found
