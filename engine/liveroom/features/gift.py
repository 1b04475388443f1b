"""Gifts: bought with the wallet, shown to everyone, combined into combos."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.room import HOST_SURFACES, Version, may
from liveroom.features.sources import lua_of
from liveroom.features.wallet import MAX_AMOUNT, Payments
from liveroom.plugin.context import Call, Engine
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, StateSpec, command
from liveroom.protocol.messages import Body
from liveroom.store.port import Op


__all__ = ["CATALOGUE", "Gift", "Gifts"]


class Gift(Struct, frozen=True, kw_only=True):
    """One kind of gift; the price is in minor units."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}$(?!\n)")]
    name: Annotated[str, Meta(min_length=1, max_length=32)]
    price: Annotated[int, Meta(ge=1, le=10**9)]


CATALOGUE = (
    Gift(id="rose", name="Rose", price=100),
    Gift(id="heart", name="Heart", price=990),
    Gift(id="rocket", name="Rocket", price=50_000),
)
"""What a room offers until its host sets something else."""


class GiftSend(Body, frozen=True, kw_only=True):
    """A gift, `n` at once; with `combo` it counts on from the sender's last one."""

    gift: Annotated[str, Meta(max_length=32)]
    n: Annotated[int, Meta(ge=1, le=9999)] = 1
    combo: bool = True


class GiftCatalogue(Body, frozen=True, kw_only=True):
    """All gifts of the room."""

    gifts: Annotated[list[Gift], Meta(min_length=1, max_length=100)]
    if_version: Version | None = None


class Giver(Struct):
    """Who sent a gift."""

    id: str
    name: str


class GiftSent(Struct):
    """`d` of `gift.sent`; `combo` counts this gift of this sender, `value` is minor units."""

    gift: str
    n: int
    combo: int
    combo_end: bool
    value: int
    user: Giver


class GiftsState(Struct):
    """`d` of the state `gifts`."""

    gifts: list[Gift]


class Gifts(Plugin):
    """A gift is a charge, the host's credit and an event: all or nothing."""

    name = "gift"
    lua = lua_of("gift")
    events = (
        EventSpec(
            "gift.sent",
            Delivery.DURABLE,
            "`{gift, n, combo, combo_end, user: {id, name}, value}`; when a combo ends, one with "
            "`n` 0, `value` 0 and `combo_end` true.",
            GiftSent,
        ),
    )
    states = (StateSpec("gifts", "The catalogue: `{gifts: [{id, name, price}]}`.", GiftsState),)

    async def start(self, engine: Engine) -> None:
        """Take the engine's handle."""
        self._payments = Payments(engine)

    @command("gift.send", GiftSend, keyed=True)
    async def send(self, call: Call[GiftSend]) -> Any:
        """Send a gift; returns `{gift, n, combo, value, balance}`."""
        body = call.body
        try:
            price = _price_to_pay(call)
        except CommandError:
            if not await self._payments.begun(call):
                raise
            price = 0  # the room has its answer, or refuses
        d = {
            "gift": body.gift,
            "n": body.n,
            "combo": body.combo,
            "price": price,
            "name": call.member.claims.name,
            "staff": call.role.at_least(Role.MODERATOR),
        }
        op = Op("gift.send", call.user, d, call.key, call.digest)
        return await self._payments.pay(call, price * body.n, op)

    @command("gift.catalogue", GiftCatalogue, role=Role.HOST, surfaces=HOST_SURFACES)
    def catalogue(self, call: Call[GiftCatalogue]) -> Commit:
        """Set the room's gifts."""
        gifts = [structs.asdict(gift) for gift in call.body.gifts]
        if len({gift["id"] for gift in gifts}) != len(gifts):
            raise CommandError("bad_request", "gifts: expected different ids")
        return Commit("gift.catalogue", {"gifts": gifts, "if_version": call.body.if_version})


def _price_to_pay(call: Call[GiftSend]) -> int:
    """Return the price of one, if this many can be sent now. Raises CommandError."""
    may(call, "gift")
    price = _price(call)
    value = price * call.body.n
    if value > MAX_AMOUNT:
        raise CommandError("amount_too_large", f"expected at most {MAX_AMOUNT}, came {value}")
    return price


def _price(call: Call[GiftSend]) -> int:
    shown = call.room.state("gifts")
    offered = shown["gifts"] if shown else [structs.asdict(gift) for gift in CATALOGUE]
    for gift in offered:
        if gift["id"] == call.body.gift:
            price: int = gift["price"]
            return price
    raise CommandError("not_found", f"there is no gift {call.body.gift!r} in this room")
