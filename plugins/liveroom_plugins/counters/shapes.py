"""Bodies of the commands and events of the counters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom import Body, Delivery, EventSpec, Ident


__all__ = [
    "EVENTS",
    "MAX_AMOUNT",
    "CountersWatch",
    "ExposurePut",
    "OrderPut",
    "SegmentMark",
    "SurveyAnswer",
]

MAX_AMOUNT = 10**13
"""The most minor units of one order."""

User = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$(?!\n)")]
OrderId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$(?!\n)")]
Place = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$(?!\n)")]
Window = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{0,32}$(?!\n)")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217")]
Source = Annotated[str, Meta(max_length=32, description="channel")]


class CountersWatch(Body, frozen=True, kw_only=True):
    """Begin or stop being told."""

    on: bool = True


class SegmentMark(Body, frozen=True, kw_only=True):
    """What begins now."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]


class SurveyAnswer(Body, frozen=True, kw_only=True):
    """How satisfied a viewer is."""

    score: Annotated[int, Meta(ge=1, le=5)]
    text: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None


class OrderPut(Body, frozen=True, kw_only=True):
    """An order as it stands; without `source` it is that of the viewer."""

    order: OrderId
    user: User
    item: Ident | None = None
    sku: Ident | None = None
    amount: Annotated[int, Meta(ge=0, description="minor units")]
    currency: Currency | None = None
    status: Literal["created", "paid", "refunded"]
    source: Source | None = None


class ExposurePut(Body, frozen=True, kw_only=True):
    """The room, or an item of it, was shown somewhere: to whom, or to how many in all."""

    placement: Place
    viewers: Annotated[list[User], Meta(min_length=1, max_length=1000)] | None = None
    count: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    window: Window = ""
    item: Ident | None = None
    source: Source | None = None


class CountersTold(Struct):
    """`d` of `counters`; `metrics` are those of docs/counters.md."""

    session: int
    opened_ms: int
    now: int
    metrics: dict[str, Any]
    closed_ms: int | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    segment: str | UnsetType = UNSET


class MinuteTold(Struct):
    """`d` of `counters.minute`, beside the sums of the minute by their names in the store."""

    session: int
    minute: int
    online_max: int
    online_s: int
    active: int


class SessionTold(Struct):
    """`d` of `counters.session`: what the session added up to."""

    session: int
    opened_ms: int
    closed_ms: int
    now: int
    totals: dict[str, int]
    dwell: dict[str, int]
    online: dict[str, int]


class SegmentTold(Struct):
    """`d` of `segment.marked`."""

    session: int
    segment: str
    at_ms: int
    by: str


class DoneTold(Struct):
    """`d` of `counters.did`: who took part in what; `values` are a gift's, or a survey's score."""

    session: int
    users: list[str]
    kinds: list[str]
    values: list[int]


class OrderTold(Struct):
    """`d` of `counters.order`: how an order stands."""

    session: int
    user: str
    amount: int
    status: Literal["created", "paid", "refunded"]
    order: str | UnsetType = UNSET
    item: str | UnsetType = UNSET
    source: str | UnsetType = UNSET


EVENTS = (
    EventSpec(
        "counters",
        Delivery.SYSTEM,
        "Once a second to those who asked with `counters.watch`: `{session, opened_ms, "
        "closed_ms?, now, currency?, segment?, metrics}`.",
        CountersTold,
    ),
    EventSpec(
        "counters.minute",
        Delivery.DURABLE,
        "A minute of the session, when it has been over for one.",
        MinuteTold,
        internal=True,
    ),
    EventSpec(
        "counters.session",
        Delivery.DURABLE,
        "A session, when it is over and all is told.",
        SessionTold,
        internal=True,
    ),
    EventSpec(
        "counters.did",
        Delivery.DURABLE,
        "If there is an archive: what the store counted.",
        DoneTold,
        internal=True,
    ),
    EventSpec(
        "counters.order",
        Delivery.DURABLE,
        "If there is an archive: an order was told of, or went on.",
        OrderTold,
        internal=True,
    ),
    EventSpec(
        "segment.marked",
        Delivery.DURABLE,
        "A segment of the show began.",
        SegmentTold,
        internal=True,
    ),
)
