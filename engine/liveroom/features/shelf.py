"""The product shelf: what is for sale, in which order, what is explained now, and who looked.

The shelf is many small `latest` keys: `shelf` has the order and the pin, `item:<item>` one item with
its SKUs. A change of one stock sends one item again, not the shelf (docs/activities/shelf.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.room import HOST_SURFACES, Version, may
from liveroom.features.sources import lua_of
from liveroom.features.text import WebAddress, plain_text, web_address
from liveroom.features.wallet import MAX_AMOUNT
from liveroom.plugin.context import Call, RoomHandle
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, Result, StateSpec, command
from liveroom.protocol.messages import Body, Empty, Ident
from liveroom.store.port import Op


__all__ = ["MAX_ITEMS", "MAX_SKUS", "MAX_STOCK", "Shelf"]

MAX_ITEMS = 200
MAX_SKUS = 1000
"""The most items and SKUs of a shelf; `shelf.lua` holds them."""
MAX_STOCK = 10**9

_USERS_PER_OP = (
    500  # a script call unpacks them; and one operation must not hold the store for long
)

Price = Annotated[int, Meta(ge=1, description="minor units")]
Stock = Annotated[int, Meta(ge=0, le=MAX_STOCK)]
Title = Annotated[str, Meta(min_length=1, max_length=100)]
SkuTitle = Annotated[str, Meta(min_length=1, max_length=60)]
Label = Annotated[str, Meta(min_length=1, max_length=20)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217")]


class Sku(Struct, frozen=True, kw_only=True):
    """One variant with its price; without `stock` nobody counts it."""

    sku: Ident
    title: SkuTitle | None = None
    price: Price
    stock: Stock | None = None


class ShelfPut(Body, frozen=True, kw_only=True):
    """One item as it shall be, whole."""

    item: Ident
    title: Title
    link: WebAddress | None = None
    image: WebAddress | None = None
    label: Label | None = None
    currency: Currency
    skus: Annotated[list[Sku], Meta(min_length=1, max_length=50)]
    if_version: Version | None = None


class ShelfRemove(Body, frozen=True, kw_only=True):
    """Which item goes."""

    item: Ident
    if_version: Version | None = None


class ShelfOrder(Body, frozen=True, kw_only=True):
    """All items in their new order."""

    items: Annotated[list[Ident], Meta(max_length=MAX_ITEMS)]
    if_version: Version | None = None


class ShelfPin(Body, frozen=True, kw_only=True):
    """The item that is explained now; null: none."""

    item: Ident | None
    if_version: Version | None = None


class ShelfStock(Body, frozen=True, kw_only=True):
    """How many there are of a SKU; `if_version` is that of its item."""

    sku: Ident
    stock: Stock
    if_version: Version | None = None


class ShelfClick(Body, frozen=True, kw_only=True):
    """The viewer looks at an item."""

    item: Ident


class ShelfCart(Body, frozen=True, kw_only=True):
    """The viewer put units of a SKU into the cart."""

    item: Ident
    sku: Ident
    n: Annotated[int, Meta(ge=1, le=999)] = 1


class ShelfChanged(Struct):
    """`d` of `shelf.changed`; of a stock also the SKU, what it is and what it was."""

    what: Literal["added", "updated", "removed", "order", "stock"]
    by: str
    item: str | UnsetType = UNSET
    sku: str | UnsetType = UNSET
    stock: int | UnsetType = UNSET
    was: int | UnsetType = UNSET


class ShelfPinned(Struct):
    """`d` of `shelf.pinned`."""

    item: str | None
    by: str


class ShelfState(Struct):
    """`d` of the state `shelf`; `pinned_ms` is the server's time of the pin."""

    items: list[str]
    pinned: str | None
    pinned_ms: int | UnsetType = UNSET


class SkuShown(Struct):
    """A SKU of `item:<item>`; prices are minor units, no `title`: that of the item."""

    sku: str
    price: int
    title: str | UnsetType = UNSET
    stock: int | UnsetType = UNSET


class ItemState(Struct):
    """`d` of the state `item:<item>`; null when it was removed."""

    item: str
    title: str
    currency: str
    skus: list[SkuShown]
    link: str | UnsetType = UNSET
    image: str | UnsetType = UNSET
    label: str | UnsetType = UNSET


class _Seen:
    """What viewers of this worker did with one item since the last beat."""

    __slots__ = ("carts", "clickers", "clicks", "units")

    def __init__(self) -> None:
        self.clicks = self.carts = self.units = 0
        self.clickers: set[str] = set()

    def ops(self, item: str) -> Iterator[Op]:
        """Yield operations that add it to the room's counters, each of a bounded size."""
        users = list(self.clickers)
        sums = {"clicks": self.clicks, "carts": self.carts, "units": self.units}
        for start in range(0, len(users) or 1, _USERS_PER_OP):
            body: dict[str, Any] = {"item": item, **sums}
            if users:
                body["users"] = users[start : start + _USERS_PER_OP]
            yield Op("shelf.count", "", body)
            sums = dict.fromkeys(sums, 0)


class Shelf(Plugin):
    """Hosts arrange it, the back end tells its stock, viewers look and put into carts."""

    name = "shelf"
    lua = lua_of("shelf")
    events = (
        EventSpec(
            "shelf.changed",
            Delivery.DURABLE,
            "`{what, item?, by}`, what: added, updated, removed, order or stock; of a stock "
            "`{sku, stock, was?}` too.",
            ShelfChanged,
        ),
        EventSpec(
            "shelf.pinned", Delivery.DURABLE, "What is explained now: `{item, by}`.", ShelfPinned
        ),
    )
    states = (
        StateSpec(
            "shelf", "Order and pin: `{items: […], pinned: item or null, pinned_ms?}`.", ShelfState
        ),
        StateSpec(
            "item",
            "`item:<item>`: `{item, title, link?, image?, label?, currency, "
            "skus: [{sku, title?, price, stock?}]}`; null when removed.",
            ItemState,
        ),
    )

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, _Seen]] = defaultdict(lambda: defaultdict(_Seen))

    # The host's side.

    @command("shelf.put", ShelfPut, role=Role.HOST, surfaces=HOST_SURFACES)
    def put(self, call: Call[ShelfPut]) -> Commit:
        """Add an item or replace it; returns `{changed, added}`."""
        return Commit("shelf.put", _checked(call.body), durable=True, idempotent=True)

    @command("shelf.remove", ShelfRemove, role=Role.HOST, surfaces=HOST_SURFACES)
    def remove(self, call: Call[ShelfRemove]) -> Commit:
        """Take an item off the shelf; returns `{}`."""
        return Commit("shelf.remove", _given(call.body), durable=True)

    @command("shelf.order", ShelfOrder, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    def order(self, call: Call[ShelfOrder]) -> Commit:
        """Put the items into another order; returns `{changed}`."""
        items = call.body.items
        if len(set(items)) != len(items):
            raise CommandError("bad_request", "items: expected each once")
        return Commit("shelf.order", _given(call.body), durable=True, idempotent=True)

    @command("shelf.pin", ShelfPin, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    def pin(self, call: Call[ShelfPin]) -> Commit:
        """Say which item is explained now; returns `{changed}`."""
        return Commit("shelf.pin", _given(call.body), durable=True, idempotent=True)

    @command("shelf.stock", ShelfStock, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    def stock(self, call: Call[ShelfStock]) -> Commit:
        """Say how many there are of a SKU; returns `{changed, stock}`."""
        return Commit("shelf.stock", _given(call.body), durable=True, idempotent=True)

    @command("shelf.stats", Empty, role=Role.ASSISTANT, surfaces=HOST_SURFACES, audited=False)
    def stats(self, call: Call[Empty]) -> Commit:
        """Tell what was counted; returns `{items: [{item, clicks, clickers, carts, units}]}`."""
        return Commit("shelf.stats", {}, idempotent=True)

    # The viewers' side: counted here, committed once a beat.

    @command("shelf.click", ShelfClick)
    def click(self, call: Call[ShelfClick]) -> Result:
        """Count that the sender looks at an item; returns `{}`."""
        seen = self._seen_of(call, call.body.item)
        seen.clicks += 1
        seen.clickers.add(call.user)
        return None

    @command("shelf.cart", ShelfCart)
    def cart(self, call: Call[ShelfCart]) -> Result:
        """Count that the sender put units of a SKU into the cart; returns `{}`."""
        body = call.body
        shown = call.room.state(f"item:{body.item}")
        if shown is not None and not any(row["sku"] == body.sku for row in shown["skus"]):
            raise CommandError("not_found", f"{body.item} has no SKU {body.sku}")
        seen = self._seen_of(call, body.item)
        seen.carts += 1
        seen.units += body.n
        return None

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Commit the sums of the beat."""
        for item, seen in self._seen.pop(room.id, {}).items():
            yield from seen.ops(item)

    def _seen_of(self, call: Call[Any], item: str) -> _Seen:
        """Return where to count. Raises CommandError: the room is closed, or has no such item."""
        may(call, "shop")  # no mode says so: whoever is in an open room may look
        if call.room.state(f"item:{item}") is None:
            raise CommandError("not_found", f"there is no item {item} on the shelf")
        call.room.mark()
        return self._seen[call.room.id][item]


def _checked(body: ShelfPut) -> dict[str, Any]:
    """Return what the script stores. Raises CommandError."""
    d = _given(body)
    d["title"] = plain_text(body.title, "title")
    if body.label is not None:
        d["label"] = plain_text(body.label, "label")
    for field in ("link", "image"):
        if field in d:
            web_address(d[field], field)
    d["skus"] = [_checked_sku(sku) for sku in body.skus]
    if len({sku.sku for sku in body.skus}) != len(body.skus):
        raise CommandError("bad_request", "skus: expected different ids")
    return d


def _checked_sku(sku: Sku) -> dict[str, Any]:
    if sku.price > MAX_AMOUNT:
        raise CommandError("amount_too_large", f"expected at most {MAX_AMOUNT}, came {sku.price}")
    d = _given(sku)
    if sku.title is not None:
        d["title"] = plain_text(sku.title, f"title of {sku.sku}")
    return d


def _given(body: Struct) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(body).items() if value is not None}
