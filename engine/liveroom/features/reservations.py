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

from aiohttp import web
from msgspec import Meta, Struct

from liveroom.plugin.context import Engine
from liveroom.plugin.rest import answer_command, json_body
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
        return await self._perform(request, "flash.confirm", await json_body(request))

    async def _release(self, request: web.Request) -> web.Response:
        return await self._perform(request, "flash.release", {})

    async def _perform(self, request: web.Request, op: str, d: dict[str, Any]) -> web.Response:
        named = {"reservation": request.match_info["id"]}
        return await answer_command(self.engine, request, op, d | named)
