"""What a host may ask of a draw, and the text that everybody can hash (see docs/draw-proof.md)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, structs

from liveroom.auth.claims import MAX_LEVEL
from liveroom.errors import CommandError
from liveroom.features.lottery.draw import METHOD, canonical
from liveroom.features.text import shown_text
from liveroom.features.wallet import MAX_AMOUNT
from liveroom.protocol.messages import Body, Ident


__all__ = [
    "MAX_PRIZES",
    "MAX_PRIZE_VALUE",
    "REDRAWS",
    "RESERVES",
    "Beacon",
    "Conditions",
    "LotteryOpen",
    "Prize",
    "rules_of",
]

MAX_PRIZES: Final = 10_000
"""The most winners of one draw."""
MAX_PRIZE_VALUE: Final = 5_000_000
"""Minor units. 50,000 CNY: the most that a prize of chance may be worth under Chinese law."""
RESERVES: Final = 3
"""How many reserves the published order has for each winner."""
REDRAWS: Final = 3
"""How often what was not claimed goes on to the next in the order."""
WATCH_MARGIN_S: Final = 120
"""Whoever comes in this long after the opening can still meet a watch time."""

_MIN_SECONDS: Final = 10
_MAX_TITLE, _MAX_PRIZE_TITLE, _MAX_KEYWORD = 100, 60, 32

User = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$(?!\n)")]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="SHA-256 in hex")]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the rules: a misspelt condition must not be one that does not hold."""


class Prize(_Part, frozen=True, kw_only=True):
    """`n` prizes of a kind; `value` is minor units."""

    prize: Ident
    title: Annotated[str, Meta(min_length=1, max_length=_MAX_PRIZE_TITLE)]
    n: Annotated[int, Meta(ge=1, le=MAX_PRIZES)]
    value: Annotated[int, Meta(ge=0)] | None = None


class Conditions(_Part, frozen=True, kw_only=True):
    """What an entrant must have done since the draw opened; `follow` and `level` hold at entry."""

    danmaku: (
        Annotated[str, Meta(min_length=1, max_length=_MAX_KEYWORD, description="said in a danmaku")]
        | None
    ) = None
    likes: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    gift: (
        Annotated[
            int, Meta(ge=0, le=MAX_AMOUNT, description="gifts of so much in all; 0: any gift")
        ]
        | None
    ) = None
    follow: bool | None = None
    watch_s: Annotated[int, Meta(ge=1, le=3600)] | None = None
    level: Annotated[int, Meta(ge=1, le=MAX_LEVEL)] | None = None
    bought: bool | None = None


class Exclude(_Part, frozen=True, kw_only=True):
    """Who may not enter. `winners: room` are those of this room's draws of the last 30 days."""

    staff: bool = True
    winners: Literal["none", "room"] = "none"
    users: Annotated[list[User], Meta(max_length=100)] = []


class Beacon(_Part, frozen=True, kw_only=True):
    """A round of a public randomness beacon (drand) that is not out before the entries are fixed."""

    chain: Hash
    round: Annotated[int, Meta(ge=1, le=10**12)]
    genesis: Annotated[int, Meta(ge=0, le=10**10, description="Unix seconds of round 1")]
    period: Annotated[int, Meta(ge=1, le=3600, description="seconds between rounds")]


class LotteryOpen(Body, frozen=True, kw_only=True):
    """A draw, whole: nothing of it can be changed once it is open. `seconds` 0: until frozen."""

    lottery: Ident
    title: Annotated[str, Meta(min_length=1, max_length=_MAX_TITLE)]
    prizes: Annotated[list[Prize], Meta(min_length=1, max_length=20)]
    conditions: Conditions = Conditions()
    seconds: Annotated[int, Meta(ge=0, le=3600)]
    exclude: Exclude = Exclude()
    claim_s: Annotated[int, Meta(ge=60, le=604_800)] = 172_800
    beacon: Beacon | None = None


# The chains that are known by name: hash -> (genesis, period).
_KNOWN_CHAINS: Final = {
    "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971": (1_692_803_367, 3),
    "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce": (1_595_431_050, 30),
}


def rules_of(body: LotteryOpen) -> str:
    """Return the canonical text of a draw's rules, with every default written out.

    Raises:
        CommandError: they contradict themselves, or a prize is worth too much.
    """
    if 0 < body.seconds < _MIN_SECONDS:
        expected = f"0 or at least {_MIN_SECONDS}"
        raise CommandError("bad_request", f"seconds: expected {expected}, came {body.seconds}")
    _check_prizes(body.prizes)
    _check_watch(body)
    if body.beacon is not None:
        _check_beacon(body.beacon)
    rules = {
        "method": METHOD,
        "title": shown_text(body.title, _MAX_TITLE, "title"),
        "prizes": [_prize(prize) for prize in body.prizes],
        "conditions": _conditions(body.conditions),
        "seconds": body.seconds,
        "exclude": structs.asdict(body.exclude) | {"users": sorted(set(body.exclude.users))},
        "claim_s": body.claim_s,
        "reserves": RESERVES,
        "redraws": REDRAWS,
    }
    if body.beacon is not None:
        rules["beacon"] = structs.asdict(body.beacon)
    return canonical(rules)


def _prize(prize: Prize) -> dict[str, Any]:
    fields = {
        "prize": prize.prize,
        "title": shown_text(prize.title, _MAX_PRIZE_TITLE),
        "n": prize.n,
    }
    return fields if prize.value is None else fields | {"value": prize.value}


def _conditions(conditions: Conditions) -> dict[str, Any]:
    given = structs.asdict(conditions).items()
    held = {name: value for name, value in given if value is not None and value is not False}
    if conditions.danmaku is not None:
        held["danmaku"] = shown_text(conditions.danmaku, _MAX_KEYWORD, "danmaku")
    return held


def _check_prizes(prizes: list[Prize]) -> None:
    if len({prize.prize for prize in prizes}) != len(prizes):
        raise CommandError("bad_request", "prizes: expected different ids")
    total = sum(prize.n for prize in prizes)
    if total > MAX_PRIZES:
        raise CommandError("bad_request", f"prizes: expected at most {MAX_PRIZES}, came {total}")
    dearest = max(prize.value or 0 for prize in prizes)
    if dearest > MAX_PRIZE_VALUE:
        detail = f"a prize of chance may be worth at most {MAX_PRIZE_VALUE}, came {dearest}"
        raise CommandError("amount_too_large", detail)


def _check_watch(body: LotteryOpen) -> None:
    watch = body.conditions.watch_s
    if watch is not None and body.seconds and watch > body.seconds - WATCH_MARGIN_S:
        expected = f"{WATCH_MARGIN_S} s less than the {body.seconds} s that the draw is open"
        raise CommandError("bad_request", f"watch_s: expected at least {expected}, came {watch}")


def _check_beacon(beacon: Beacon) -> None:
    known = _KNOWN_CHAINS.get(beacon.chain)
    if known is not None and known != (beacon.genesis, beacon.period):
        expected = f"genesis {known[0]} and period {known[1]} of that chain"
        came = f"{beacon.genesis} and {beacon.period}"
        raise CommandError("bad_request", f"beacon: expected {expected}, came {came}")
