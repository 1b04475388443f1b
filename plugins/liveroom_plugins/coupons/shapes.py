"""What is said about coupons: command bodies, events and states."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom import (
    Body,
    CommandError,
    Delivery,
    EventSpec,
    Ident,
    StateSpec,
    Version,
    plain_text,
)


__all__ = [
    "EVENTS",
    "MAX_DROPS",
    "MAX_QUOTA",
    "STATES",
    "Claim",
    "CouponDrop",
    "CouponRain",
    "OfCoupon",
    "OfDrop",
    "OfOrder",
    "StopDrop",
    "Terms",
    "code_of",
    "expect_terms",
]

MAX_QUOTA = 1_000_000
MAX_DROPS = 50
"""Drops of a rain."""
_MAX_VALUE = 10**13  # what the script's JSON keeps
_YEAR_S = 366 * 86_400
_MAX_MS = 10**14 - 1

Kind = Literal["amount", "percent"]
Status = Literal["planned", "running", "sold_out", "ended"]
Money = Annotated[int, Meta(ge=1, le=2**53 - 1, description="minor units")]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
Order = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$(?!\n)", description="the back end's order")
]


class Conditions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may claim; all that are named must be met."""

    level: Annotated[int, Meta(ge=1, le=1000, description="of the token, at least")] | None = None
    watch_s: Annotated[int, Meta(ge=1, le=36_000, description="watched so long")] | None = None
    follow: bool | None = None


class Terms(Body, frozen=True, kw_only=True):
    """What a coupon is worth, how long, and who may have how many of them."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    quota: Annotated[int, Meta(ge=1, le=MAX_QUOTA, description="coupons of a drop")]
    per_user: Annotated[int, Meta(ge=1, le=10)] = 1
    kind: Kind
    value: Annotated[Money, Meta(description="off, minor units; or percent off, 1 to 99")]
    min_spend: Money | None = None
    stacking: Annotated[Ident, Meta(description="an order takes one coupon of a class")] | None = (
        None
    )
    valid_s: Annotated[int, Meta(ge=1, le=_YEAR_S, description="after the claim")] | None = None
    valid_until_ms: Annotated[int, Meta(ge=1, le=_MAX_MS, description="server time")] | None = None
    seconds: Annotated[int, Meta(ge=0, le=3600, description="to claim; 0: until stopped")] = 300
    conditions: Conditions | None = None


class CouponDrop(Terms, frozen=True, kw_only=True):
    """A drop, now or later; until it begins it may be dropped anew with another content."""

    drop: Ident
    starts_in_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    if_version: Version | None = None


class CouponRain(Terms, frozen=True, kw_only=True):
    """Many small drops over `over_s` seconds, called `<rain>-1` and so on."""

    rain: Ident
    drops: Annotated[int, Meta(ge=2, le=MAX_DROPS)]
    over_s: Annotated[int, Meta(ge=1, le=600)]
    starts_in_s: Annotated[int, Meta(ge=0, le=3600)] = 0


class OfDrop(Body, frozen=True, kw_only=True):
    """Which drop."""

    drop: Ident


class StopDrop(OfDrop, frozen=True, kw_only=True):
    """Which drop, as it was seen."""

    if_version: Version | None = None


class Claim(OfDrop, frozen=True, kw_only=True):
    """One coupon of a drop."""


class OfCoupon(Body, frozen=True, kw_only=True):
    """Which coupon."""

    code: Code


class OfOrder(OfCoupon, frozen=True, kw_only=True):
    """Which coupon, for which order."""

    order: Order


class _Shown(Struct, kw_only=True):
    """A drop as everybody sees it; a time that is not known is 0."""

    drop: str
    title: str
    quota: int
    per_user: int
    kind: Kind
    value: int
    starts_ms: int
    ends_ms: int
    min_spend: int | UnsetType = UNSET
    stacking: str | UnsetType = UNSET
    conditions: Conditions | UnsetType = UNSET
    valid_s: int | UnsetType = UNSET
    valid_until_ms: int | UnsetType = UNSET
    rain: str | UnsetType = UNSET


class Dropped(_Shown, kw_only=True):
    """`d` of `coupon.dropped`."""

    by: str


class DropState(_Shown, kw_only=True):
    """`d` of the state `coupon:<drop>`."""

    status: Status
    left: int
    claimed: int


class DropEnded(Struct, kw_only=True):
    """`d` of `coupon.ended`."""

    drop: str
    quota: int
    claimed: int
    rain: str | UnsetType = UNSET


class RainDrop(Struct):
    """One drop of a rain."""

    drop: str
    starts_ms: int


class Rain(Struct):
    """`d` of `coupon.rain` and of the state `rain:<rain>`; `quota` and the value are of one drop."""

    rain: str
    title: str
    drops: list[RainDrop]
    quota: int
    kind: Kind
    value: int
    spread_ms: int
    starts_ms: int
    ends_ms: int


class Granted(Struct):
    """`d` of `coupon.granted`."""

    coupon: str
    drop: str
    valid_until_ms: int


class CouponUsed(Struct):
    """`d` of `coupon.used`."""

    coupon: str
    drop: str


class CouponsTaken(Struct):
    """`d` of `coupon.taken`: what was claimed of a drop in one batch, and by whom."""

    drop: str
    worker: str
    valid_until_ms: int
    users: list[str]
    coupons: list[str]


class Live(Struct):
    """`d` of the state `coupons`."""

    live: list[str]
    watch: bool


EVENTS = (
    EventSpec(
        "coupon.dropped",
        Delivery.DURABLE,
        "A drop has begun: `{drop, title, quota, per_user, kind: amount|percent, value, min_spend?, "
        "stacking?, conditions?, valid_s?, valid_until_ms?, starts_ms, ends_ms, rain?, by}`.",
        Dropped,
    ),
    EventSpec("coupon.ended", Delivery.DURABLE, "`{drop, quota, claimed, rain?}`.", DropEnded),
    EventSpec(
        "coupon.rain",
        Delivery.DURABLE,
        "Many drops are to come: `{rain, title, drops: [{drop, starts_ms}], quota, kind, value, "
        "spread_ms, starts_ms, ends_ms}`; claim up to `spread_ms` after a drop's start, at random.",
        Rain,
    ),
    EventSpec(
        "coupon.granted",
        Delivery.SYSTEM,
        "To the connections of a user who has several, when one has claimed: `{coupon, drop, "
        "valid_until_ms}`. Not resumed: `own.coupons` of every greeting has what there is.",
        Granted,
    ),
    EventSpec("coupon.used", Delivery.DURABLE, "To the owner: `{coupon, drop}`.", CouponUsed),
    EventSpec(
        "coupon.taken",
        Delivery.DURABLE,
        "The claims of a batch: `{drop, worker, valid_until_ms, users, coupons}`.",
        CouponsTaken,
        internal=True,
    ),
)

STATES = (
    StateSpec(
        "coupon",
        "`coupon:<drop>`: `{drop, title, quota, left, claimed, per_user, kind, value, min_spend?, "
        "stacking?, conditions?, valid_s?, valid_until_ms?, starts_ms, ends_ms, rain?, status: "
        "planned|running|sold_out|ended}`; null ten minutes after its end.",
        DropState,
    ),
    StateSpec("coupons", "Drops that are not over: `{live, watch}`; null if none is.", Live),
    StateSpec("rain", "`rain:<rain>`, as `coupon.rain`; null when it is over.", Rain),
)

_LOOK_ALIKES = str.maketrans("OIL", "011")


def code_of(typed: str) -> str:
    """Return a code as it was issued, however it was typed."""
    return typed.strip().upper().translate(_LOOK_ALIKES)


def expect_terms(body: Terms) -> dict[str, Any]:
    """Return the fields of the terms as the script takes them.

    Raises:
        CommandError: `bad_request` or `amount_too_large`: they cannot be held together.
    """
    if (body.valid_s is None) == (body.valid_until_ms is None):
        raise CommandError("bad_request", "expected either valid_s or valid_until_ms")
    if body.kind == "percent" and body.value > 99:
        raise CommandError("bad_request", f"value: expected 1 to 99 percent, came {body.value}")
    for field, money in (("value", body.value), ("min_spend", body.min_spend or 0)):
        if money > _MAX_VALUE:
            raise CommandError(
                "amount_too_large", f"{field}: expected at most {_MAX_VALUE}, came {money}"
            )
    if body.kind == "amount" and body.min_spend is not None and body.value > body.min_spend:
        raise CommandError("bad_request", "value: expected at most min_spend")
    return _given(body)


def _given(body: Terms) -> dict[str, Any]:
    fields = {
        "title": plain_text(body.title, "title"),
        "quota": body.quota,
        "per_user": body.per_user,
        "kind": body.kind,
        "value": body.value,
        "min_spend": body.min_spend,
        "stacking": body.stacking,
        "valid_s": body.valid_s,
        "valid_until_ms": body.valid_until_ms,
        "seconds": body.seconds,
        "conditions": _conditions(body.conditions),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _conditions(wanted: Conditions | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    fields = {"level": wanted.level, "watch_s": wanted.watch_s, "follow": wanted.follow}
    return {name: value for name, value in fields.items() if value} or None
