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

from aiohttp import web

from liveroom import Engine, answer_command, json_body


__all__ = ["CouponRoutes"]

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
            return await self._perform(request, op, await json_body(request))

        return handle

    async def _perform(self, request: web.Request, op: str, d: dict[str, Any]) -> web.Response:
        named = {"code": request.match_info["code"]}
        return await answer_command(self.engine, request, op, d | named)
