"""Flash sales: few units at a low price, reserved by the quickest, paid in time or given back.

The script decides (`flash.lua`, `reservations.lua`); what is sold out is refused here, without asking
it, until units come back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import orjson
from aiohttp.web import AbstractRouteDef
from msgspec import Meta, Struct, structs
from prometheus_client import Counter

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.reservations import (
    Confirm,
    OfReservation,
    Paid,
    Reservation,
    ReservationRoutes,
    Taken,
)
from liveroom.features.room import HOST_SURFACES, Version
from liveroom.features.soldout import SoldOut, user_of
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call, Engine, RoomHandle
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, StateSpec, Surface, command
from liveroom.protocol.messages import MAX_SAFE, Body, Ident
from liveroom.store.port import LogEntry


__all__ = ["MAX_PER_USER", "MAX_TOTAL", "FlashSales"]

MAX_TOTAL = 1_000_000
MAX_PER_USER = 100
_DAY_S = 86_400

Price = Annotated[int, Meta(ge=1, le=MAX_SAFE, description="of one unit, minor units")]
Total = Annotated[int, Meta(ge=0, le=MAX_TOTAL)]
Status = Literal["armed", "running", "sold_out", "ended"]


class FlashArm(Body, frozen=True, kw_only=True):
    """A sale; without `starts_…` it waits for `flash.start`, with `run_s` 0 it runs until stopped."""

    sale: Ident
    sku: Ident
    price: Price
    total: Annotated[int, Meta(ge=1, le=MAX_TOTAL)]
    per_user: Annotated[int, Meta(ge=1, le=MAX_PER_USER)] = 1
    hold_s: Annotated[int, Meta(ge=30, le=3600)] = 300
    starts_in_s: Annotated[int, Meta(ge=0, le=_DAY_S)] | None = None
    starts_ms: Annotated[int, Meta(ge=1, le=MAX_SAFE)] | None = None
    run_s: Annotated[int, Meta(ge=0, le=_DAY_S)] = 600
    if_version: Version | None = None


class OfSku(Body, frozen=True, kw_only=True):
    """The newest sale of a SKU."""

    sku: Ident


class FlashStock(Body, frozen=True, kw_only=True):
    """How many units a sale shall have, those held and sold included."""

    sku: Ident
    total: Total
    if_version: Version | None = None


class Reserve(Body, frozen=True, kw_only=True):
    """`n` units; with `price`, only at this price."""

    sku: Ident
    n: Annotated[int, Meta(ge=1, le=MAX_PER_USER)] = 1
    price: Price | None = None


class Armed(Struct):
    """`d` of `flash.armed`; a time that is not known yet is 0."""

    sale: str
    sku: str
    price: int
    currency: str
    list_price: int
    total: int
    per_user: int
    hold_s: int
    starts_ms: int
    ends_ms: int
    by: str
    nth: int


class Started(Struct):
    """`d` of `flash.started`."""

    sale: str
    sku: str
    starts_ms: int
    ends_ms: int


class AllTaken(Struct):
    """`d` of `flash.sold_out`."""

    sale: str
    sku: str
    total: int
    reserved: int
    sold: int


class Ended(Struct):
    """`d` of `flash.ended`; what is still reserved may yet be paid."""

    sale: str
    sku: str
    total: int
    sold: int
    reserved: int
    unsold: int


class StockChanged(Struct):
    """`d` of `flash.stock`: an entry of the sale's ledger."""

    sale: str
    sku: str
    total: int
    was: int
    by: str


class StockState(Struct):
    """`d` of the state `stock:<sku>`; available + reserved + sold = total."""

    sale: str
    sku: str
    price: int
    currency: str
    list_price: int
    total: int
    available: int
    reserved: int
    sold: int
    per_user: int
    status: Status
    starts_ms: int
    ends_ms: int


_EVENTS = (
    EventSpec(
        "flash.armed",
        Delivery.DURABLE,
        "`{sale, sku, price, currency, list_price, total, per_user, hold_s, starts_ms, ends_ms, by, "
        "nth}`; `nth` counts the SKU's sales; "
        "`starts_ms` 0: when the host says so, `ends_ms` 0: when it is stopped.",
        Armed,
    ),
    EventSpec("flash.started", Delivery.DURABLE, "`{sale, sku, starts_ms, ends_ms}`.", Started),
    EventSpec(
        "flash.sold_out",
        Delivery.DURABLE,
        "`{sale, sku, total, reserved, sold}`; once, and again after the host added units.",
        AllTaken,
    ),
    EventSpec(
        "flash.ended", Delivery.DURABLE, "`{sale, sku, total, sold, reserved, unsold}`.", Ended
    ),
    EventSpec(
        "flash.stock",
        Delivery.DURABLE,
        "The host changed the number of units: `{sale, sku, total, was, by}`.",
        StockChanged,
    ),
    EventSpec(
        "flash.reserved",
        Delivery.SYSTEM,
        "To the connections of a user who has several, when one has reserved: `{reservation, sale, sku, "
        "user, n, price, amount, currency, expires_ms}`. Not resumed: `own.flash` of every greeting "
        "has what is held.",
        Reservation,
    ),
    EventSpec(
        "flash.paid",
        Delivery.DURABLE,
        "To the owner: `{reservation, …, order}`, as in `flash.reserved`.",
        Paid,
    ),
    EventSpec(
        "flash.released",
        Delivery.DURABLE,
        "To the owner: given up, by the owner or the shop.",
        Reservation,
    ),
    EventSpec("flash.expired", Delivery.DURABLE, "To the owner: not paid in time.", Reservation),
    EventSpec(
        "flash.taken",
        Delivery.DURABLE,
        "The reservations of a batch: `{sale, sku, worker, price, currency, expires_ms, units, "
        "taken}`.",
        Taken,
        internal=True,
    ),
)


class FlashSales(Plugin):
    """At every instant available + reserved + sold = total, and a reservation ends once."""

    name = "flash"
    lua = f"{lua_of('flash')}\n{lua_of('reservations')}"
    events = _EVENTS
    states = (
        StateSpec(
            "stock",
            "`stock:<sku>`, the newest sale of a SKU: `{sale, sku, price, currency, list_price, "
            "total, available, reserved, sold, per_user, status: armed|running|sold_out|ended, "
            "starts_ms, ends_ms}`; null ten minutes after its end.",
            StockState,
        ),
    )

    def __init__(self) -> None:
        self._sold_out = SoldOut()
        self._routes = ReservationRoutes()

    async def start(self, engine: Engine) -> None:
        """Take the engine's handle."""
        self._worker = engine.worker
        self._routes.engine = engine
        self._unasked = Counter(
            "liveroom_flash_refused_unasked",
            "Reservations refused as sold out without asking the store",
            registry=engine.metrics.registry,
        )

    def routes(self) -> Iterable[AbstractRouteDef]:
        """Return the routes of the commerce back end."""
        return self._routes.all()

    # The host.

    @command("flash.arm", FlashArm, role=Role.HOST, surfaces=HOST_SURFACES, keyed=True)
    def arm(self, call: Call[FlashArm]) -> Commit:
        """Arm a sale; returns `{armed, sale, sku, status, total, starts_ms, ends_ms}`."""
        body = call.body
        if body.starts_in_s is not None and body.starts_ms is not None:
            raise CommandError("bad_request", "expected starts_in_s or starts_ms, came both")
        d = _given(body) | {"_salt": secrets.token_hex(16)}
        return Commit("flash.arm", d, durable=True)

    @command("flash.start", OfSku, role=Role.HOST, surfaces=HOST_SURFACES)
    def begin(self, call: Call[OfSku]) -> Commit:
        """Start an armed sale now; one that has started stays as it is."""
        return Commit("flash.start", {"sku": call.body.sku}, durable=True, idempotent=True)

    @command("flash.stop", OfSku, role=Role.HOST, surfaces=HOST_SURFACES)
    def end(self, call: Call[OfSku]) -> Commit:
        """End a sale now: what is held may still be paid, the rest goes back to the shelf."""
        return Commit("flash.stop", {"sku": call.body.sku}, durable=True, idempotent=True)

    @command("flash.stock", FlashStock, role=Role.HOST, surfaces=HOST_SURFACES)
    def stock(self, call: Call[FlashStock]) -> Commit:
        """Change a sale's number of units; returns `{changed, sale, sku, total, was, available}`."""
        return Commit("flash.stock", _given(call.body), durable=True)

    # The viewer.

    @command("flash.reserve", Reserve, keyed=True)
    def reserve(self, call: Call[Reserve]) -> Commit:
        """Reserve; returns `{reservation, sku, n, price, amount, currency, expires_ms}`."""
        if self._sold_out.refuses(call, call.body.sku):
            self._unasked.inc()
            raise CommandError("sold_out", "there are not so many left", available=0)
        body = call.body
        d: dict[str, Any] = {"sku": body.sku, "n": body.n}
        if body.price is not None:
            d["price"] = body.price
        return Commit("flash.reserve", d, durable=True)

    @command("flash.cancel", OfReservation)
    def cancel(self, call: Call[OfReservation]) -> Commit:
        """Give a reservation of one's own up."""
        d = {"reservation": call.body.reservation}
        return Commit("flash.cancel", d, durable=True, idempotent=True)

    # The commerce back end.

    @command("flash.confirm", Confirm, role=Role.SERVICE, surfaces=(Surface.SERVICE,))
    def confirm(self, call: Call[Confirm]) -> Commit:
        """Say that a reservation was paid; repeated with the same order it is answered alike."""
        return Commit("flash.confirm", _given(call.body), durable=True, idempotent=True)

    @command("flash.release", OfReservation, role=Role.SERVICE, surfaces=(Surface.SERVICE,))
    def release(self, call: Call[OfReservation]) -> Commit:
        """Give a reservation back that will not be paid."""
        d = {"reservation": call.body.reservation}
        return Commit("flash.release", d, durable=True, idempotent=True)

    @command("flash.reservation", OfReservation, role=Role.SERVICE, surfaces=(Surface.SERVICE,))
    def reservation(self, call: Call[OfReservation]) -> Commit:
        """Ask what became of a reservation."""
        return Commit("flash.reservation", {"reservation": call.body.reservation}, idempotent=True)

    # What the worker remembers.

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Learn who has reserved."""
        if not entry.item.startswith(b'{"ev":"flash.'):
            return
        event = orjson.loads(entry.item)
        name, d = event["ev"], event["d"]
        if name == "flash.armed" and d["nth"] == 1:
            # Of a SKU all sales or none: a key of an earlier one may come again.
            self._sold_out.began(room, d["sku"])
        elif name == "flash.taken":
            users = [user_of(taken) for taken in d["taken"]]
            self._sold_out.took(room, d["sku"], users)
            self._tell_tabs(room, d, users)

    def _tell_tabs(self, room: RoomHandle, d: dict[str, Any], users: list[str]) -> None:
        """Tell those who reserved at their other connections; the one that asked has the answer."""
        least = 2 if d["worker"] == self._worker else 1
        for number, user in enumerate(users):
            tabs = room.of_user(user)
            if len(tabs) >= least:
                told = _reservation(d, number, user)
                for member in tabs:
                    member.tell("flash.reserved", told)


def _reservation(d: dict[str, Any], number: int, user: str) -> dict[str, Any]:
    """Return one of the reservations of `flash.taken`."""
    n, price = d["units"][number], d["price"]
    made = Reservation(
        reservation=d["taken"][number],
        sale=d["sale"],
        sku=d["sku"],
        user=user,
        n=n,
        price=price,
        amount=price * n,
        currency=d["currency"],
        expires_ms=d["expires_ms"],
    )
    return structs.asdict(made)


def _given(body: Body) -> dict[str, Any]:
    return {k: v for k, v in structs.asdict(body).items() if v is not None}
