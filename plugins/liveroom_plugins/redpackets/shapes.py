"""What is said about red packets: command bodies, events and states."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom import Body, Delivery, EventSpec, Ident, StateSpec


__all__ = ["EVENTS", "MAX_SHARES", "STATES", "Grab", "PacketList", "PacketSend"]

MAX_SHARES = 2000

Split = Literal["equal", "random"]
Money = Annotated[int, Meta(ge=1, le=2**53 - 1, description="minor units")]


class PacketSend(Body, frozen=True, kw_only=True):
    """Money for the quickest, out of the sender's wallet."""

    packet: Ident
    total: Money
    shares: Annotated[int, Meta(ge=1, le=MAX_SHARES)]
    min_share: Money = 1
    split: Split
    seconds: Annotated[int, Meta(ge=10, le=600)] = 180
    countdown_s: Annotated[int, Meta(ge=0, le=60)] = 0


class Grab(Body, frozen=True, kw_only=True):
    """A share of a packet."""

    packet: Ident


class PacketList(Body, frozen=True, kw_only=True):
    """Who got what: the shares behind one."""

    packet: Ident
    after: Annotated[int, Meta(ge=0, le=MAX_SHARES)] = 0
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Someone(Struct):
    """A user whom others see."""

    id: str
    name: str


class Best(Struct):
    """The largest share that was taken."""

    user: Someone
    amount: int


class PacketSent(Struct, kw_only=True):
    """`d` of `redpacket.sent`."""

    packet: str
    user: Someone
    total: int
    shares: int
    min_share: int
    split: Split
    commitment: str
    starts_ms: int
    ends_ms: int


class PacketDone(PacketSent, kw_only=True):
    """`d` of `redpacket.done`; grabbed + refunded = total."""

    taken: int
    grabbed: int
    refunded: int
    seed: str
    best: Best | UnsetType = UNSET


class PacketState(PacketSent, kw_only=True):
    """`d` of the state `redpacket:<packet>`; when it is done, all of `redpacket.done` as well."""

    status: Literal["countdown", "open", "done"]
    left: int
    taken: int | UnsetType = UNSET
    grabbed: int | UnsetType = UNSET
    refunded: int | UnsetType = UNSET
    seed: str | UnsetType = UNSET
    best: Best | UnsetType = UNSET


class Grabbed(Struct):
    """`d` of `redpacket.grabbed`."""

    packet: str
    amount: int


class SharesTaken(Struct):
    """`d` of `redpacket.taken`: what was grabbed of a packet in one batch, and by whom."""

    packet: str
    worker: str
    users: list[str]
    amounts: list[int]


EVENTS = (
    EventSpec(
        "redpacket.sent",
        Delivery.DURABLE,
        "`{packet, user: {id, name}, total, shares, min_share, split: equal|random, commitment, "
        "starts_ms, ends_ms}`.",
        PacketSent,
    ),
    EventSpec(
        "redpacket.done",
        Delivery.DURABLE,
        "As `redpacket.sent`, and `{taken, grabbed, refunded, best?: {user, amount}, seed}`; "
        "grabbed + refunded = total.",
        PacketDone,
    ),
    EventSpec(
        "redpacket.grabbed",
        Delivery.SYSTEM,
        "To the connections of a user who has several, when one has grabbed: `{packet, amount}`. "
        "Not resumed: `own.redpackets` of every greeting has what there is.",
        Grabbed,
    ),
    EventSpec(
        "redpacket.taken",
        Delivery.DURABLE,
        "The grabs of a batch: `{packet, worker, users, amounts}`.",
        SharesTaken,
        internal=True,
    ),
)

STATES = (
    StateSpec(
        "redpacket",
        "`redpacket:<packet>`: as `redpacket.sent`, `left` shares and `status: countdown|open|done`; "
        "when done as `redpacket.done`; null ten minutes later.",
        PacketState,
    ),
)
