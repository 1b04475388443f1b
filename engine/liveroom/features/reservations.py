"""Reservations as the commerce back end and their owners see them: shapes, and routes under /api.

    GET  /api/rooms/{room}/reservations/{id}
    POST /api/rooms/{room}/reservations/{id}/confirm   {"amount": …, "order": …}
    POST /api/rooms/{room}/reservations/{id}/release

The routes run the commands `flash.reservation`, `flash.confirm` and `flash.release`; an
`Idempotency-Key` header is the command's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from aiohttp import web
from msgspec import Meta, Struct

from liveroom.errors import CommandError
from liveroom.plugin.context import Engine
from liveroom.plugin.rest import CLAIMS
from liveroom.protocol.messages import KEY_PATTERN, Body


__all__ = [
    "Confirm",
    "OfReservation",
    "Paid",
    "Reservation",
    "ReservationId",
    "ReservationRoutes",
    "Taken",
]

ReservationId = Annotated[str, Meta(min_length=1, max_length=128)]
Order = Annotated[str, Meta(pattern=KEY_PATTERN, description="the back end's order")]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class OfReservation(Body, frozen=True, kw_only=True):
    """Which reservation."""

    reservation: ReservationId


class Confirm(OfReservation, frozen=True, kw_only=True):
    """It was paid: so much, for this order."""

    amount: Annotated[int, Meta(ge=0, description="minor units")]
    order: Order


class Reservation(Struct):
    """`d` of the private events about a reservation; `price` is of one unit, minor units."""

    reservation: str
    sale: str
    sku: str
    user: str
    n: int
    price: int
    amount: int
    currency: str
    expires_ms: int


class Paid(Reservation):
    """`d` of `flash.paid`."""

    order: str


class Taken(Struct):
    """`d` of `flash.taken`: reservations of one batch, and how many units each of them holds."""

    sale: str
    sku: str
    worker: str
    price: int
    currency: str
    expires_ms: int
    units: list[int]
    taken: list[str]


class ReservationRoutes:
    """The routes; the plugin hands them its engine when it starts."""

    engine: Engine

    def all(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        one = "/rooms/{room}/reservations/{id}"
        return (
            web.get(one, self._show, allow_head=False),
            web.post(one + "/confirm", self._confirm),
            web.post(one + "/release", self._release),
        )

    async def _show(self, request: web.Request) -> web.Response:
        return await self._perform(request, "flash.reservation", {})

    async def _confirm(self, request: web.Request) -> web.Response:
        return await self._perform(request, "flash.confirm", _object(await request.read()))

    async def _release(self, request: web.Request) -> web.Response:
        return await self._perform(request, "flash.release", {})

    async def _perform(self, request: web.Request, op: str, d: dict[str, Any]) -> web.Response:
        match, key = request.match_info, request.headers.get("Idempotency-Key", "")
        body = d | {"reservation": match["id"]}
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
