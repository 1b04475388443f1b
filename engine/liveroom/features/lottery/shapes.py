"""What of a draw goes over the wire: commands, events, states."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom.features.lottery.rules import Conditions, Hash, Prize, User
from liveroom.plugin.spec import Delivery, EventSpec, StateSpec
from liveroom.protocol.messages import Body, Ident


__all__ = [
    "EVENTS",
    "STATES",
    "LotteryBeacon",
    "LotteryClaim",
    "LotteryEnter",
    "LotteryOf",
    "LotteryWinners",
]

Nonce = Annotated[
    str, Meta(pattern=r"^[0-9a-fA-F]{1,64}$(?!\n)", description="goes into the draw, if you like")
]
Ms = Annotated[int, Meta(ge=0, description="server ms")]
Count = Annotated[int, Meta(ge=0)]


class LotteryOf(Body, frozen=True, kw_only=True):
    """Which draw."""

    lottery: Ident


class LotteryEnter(Body, frozen=True, kw_only=True):
    """Take part in a draw."""

    lottery: Ident
    nonce: Nonce | None = None


class LotteryClaim(Body, frozen=True, kw_only=True):
    """Claim what was won; a back end may do it for a `user`."""

    lottery: Ident
    contact: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    user: User | None = None


class LotteryBeacon(Body, frozen=True, kw_only=True):
    """The beacon's round that the rules name, as the beacon's API shows it."""

    lottery: Ident
    round: Annotated[int, Meta(ge=1, le=10**12)]
    randomness: Hash
    signature: Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){32,128}$(?!\n)")]


class LotteryWinners(Body, frozen=True, kw_only=True):
    """Which draw's winners, from which slot on."""

    lottery: Ident
    at: Annotated[int, Meta(ge=0, le=10_000)] = 0
    limit: Annotated[int, Meta(ge=1, le=200)] = 100


class Winner(Struct):
    """Who gets a prize."""

    prize: str
    user: str
    name: str


class Opened(Struct):
    """`d` of `lottery.opened`; `rules` is the text that `rules_hash` is the SHA-256 of."""

    lottery: str
    title: str
    rules: str
    rules_hash: Hash
    commitment: Hash
    opened_ms: Ms
    ends_ms: Ms | UnsetType = UNSET


class Frozen(Struct):
    """`d` of `lottery.frozen`."""

    lottery: str
    entrants: Count
    frozen_ms: Ms


class Sealed(Struct):
    """`d` of `lottery.sealed`; `root` is the Merkle root over all entrants."""

    lottery: str
    entrants: Count
    root: Hash


class BeaconTaken(Struct):
    """`d` of `lottery.beacon`."""

    lottery: str
    round: int
    randomness: Hash
    signature: str


class Drawn(Struct):
    """`d` of `lottery.drawn`; at most 100 of the `of` winners."""

    lottery: str
    entrants: Count
    of: Count
    seed: Hash
    root: Hash
    draw_key: Hash
    digest: Hash
    claim_by_ms: Ms
    proof: str
    winners: list[Winner] | UnsetType = UNSET


class Redrawn(Struct):
    """`d` of `lottery.redrawn`; at most 100 of the `of` new winners."""

    lottery: str
    round: Annotated[int, Meta(ge=1)]
    of: Count
    claim_by_ms: Ms
    winners: list[Winner] | UnsetType = UNSET


class Settled(Struct):
    """`d` of `lottery.settled`."""

    lottery: str
    of: Count
    claimed: Count


class Cancelled(Struct):
    """`d` of `lottery.cancelled`; `was` tells whether the entries were fixed already."""

    lottery: str
    was: Literal["open", "frozen"]
    entrants: Count
    by: str


class Won(Struct):
    """`d` of `lottery.won`."""

    lottery: str
    prize: str
    title: str
    claim_by_ms: Ms


class BeaconShown(Struct):
    """Which round a draw waits for, and what it was."""

    chain: Hash
    round: int
    at_ms: Ms
    randomness: Hash | UnsetType = UNSET


class LotteryState(Struct):
    """`d` of a state `lottery:<id>`; at most 100 of the `of` winners."""

    lottery: str
    title: str
    prizes: list[Prize]
    conditions: Conditions
    status: Literal["open", "frozen", "drawn", "settled", "cancelled"]
    opened_ms: Ms
    entrants: Count
    rules_hash: Hash
    commitment: Hash
    ends_ms: Ms | UnsetType = UNSET
    root: Hash | UnsetType = UNSET
    beacon: BeaconShown | UnsetType = UNSET
    overdue: bool | UnsetType = UNSET
    seed: Hash | UnsetType = UNSET
    of: Count | UnsetType = UNSET
    winners: list[Winner] | UnsetType = UNSET
    claim_by_ms: Ms | UnsetType = UNSET
    proof: str | UnsetType = UNSET


class LotteriesState(Struct):
    """`d` of the state `lotteries`."""

    running: str


EVENTS = (
    EventSpec(
        "lottery.opened",
        Delivery.DURABLE,
        "A draw takes entries: its rules and what its seed is bound to.",
        Opened,
    ),
    EventSpec("lottery.frozen", Delivery.DURABLE, "The entries of a draw are fixed.", Frozen),
    EventSpec(
        "lottery.sealed",
        Delivery.DURABLE,
        "The root over all entrants: from here on nobody can be added or left out.",
        Sealed,
    ),
    EventSpec(
        "lottery.beacon",
        Delivery.DURABLE,
        "The beacon's round that a draw waited for.",
        BeaconTaken,
    ),
    EventSpec(
        "lottery.drawn", Delivery.DURABLE, "A draw has its winners, and its seed is shown.", Drawn
    ),
    EventSpec(
        "lottery.redrawn",
        Delivery.DURABLE,
        "What was not claimed went on to the next of the order.",
        Redrawn,
    ),
    EventSpec("lottery.settled", Delivery.DURABLE, "Nothing is left to claim.", Settled),
    EventSpec("lottery.cancelled", Delivery.DURABLE, "A draw was given up.", Cancelled),
    EventSpec("lottery.won", Delivery.DURABLE, "To a winner alone.", Won),
)
STATES = (
    StateSpec("lottery", "One draw; ten minutes after its last change it is gone.", LotteryState),
    StateSpec("lotteries", "Which draw is not over: `{running}`.", LotteriesState),
)
