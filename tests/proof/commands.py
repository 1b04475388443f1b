"""Commands that a room could be sent, few enough that they meet: five users, four keys."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from liveroom.auth.claims import Role
from liveroom.features.wallet import MAX_AMOUNT
from proof.model import HOST, Command


__all__ = ["PARTS", "SHELF", "USERS", "any_command", "begun", "crashing_command"]

# One is called so that `user:key` of one pair reads like that of another.
USERS = ("ann", "bob", "cy", "dee", "ann:k1")
KEYS = ("k1", "k2", "k3", "k1:k2")

users = st.sampled_from(USERS)
keys = st.sampled_from(KEYS)
some_key = st.just("") | keys

CATALOGUES = (
    [{"id": "rose", "name": "Rose", "price": 100}],
    [{"id": "rose", "name": "Rose", "price": 300}, {"id": "moon", "name": "Moon", "price": 10**9}],
)


def viewer(op: str, key: st.SearchStrategy[str], **d: st.SearchStrategy[Any]) -> Any:
    """Return commands of viewers."""
    return st.builds(
        Command, users, st.just(Role.VIEWER), st.just(op), st.fixed_dictionaries(d), key
    )


def host(op: str, key: st.SearchStrategy[str], **d: st.SearchStrategy[Any]) -> Any:
    """Return commands of the host."""
    body = st.fixed_dictionaries(d)
    return st.builds(Command, st.just(HOST), st.just(Role.HOST), st.just(op), body, key)


def service(op: str, key: st.SearchStrategy[str], **d: st.SearchStrategy[Any]) -> Any:
    """Return commands of the commerce back end."""
    body = st.fixed_dictionaries(d)
    return st.builds(Command, st.just("shop"), st.just(Role.SERVICE), st.just(op), body, key)


gift = viewer(
    "gift.send",
    keys,
    gift=st.sampled_from(("rose", "rose", "heart", "moon", "unicorn")),
    n=st.sampled_from((1, 1, 2, 9999)),
    combo=st.booleans(),
)
rose = viewer("gift.send", keys, gift=st.just("rose"), n=st.just(1), combo=st.booleans())
# Two of these are more than a host may be credited.
moons = viewer("gift.send", keys, gift=st.just("moon"), n=st.just(9999), combo=st.just(False))
moon_listed = host(
    "gift.catalogue", st.just(""), gifts=st.just(CATALOGUES[1]), if_version=st.none()
)
topup = service(
    "wallet.topup",
    keys,
    user=users,
    amount=st.sampled_from((100, 1000, 50_000, MAX_AMOUNT - 1000)),
)
balance = viewer("wallet.get", st.just(""))
balance_of = service("wallet.of", st.just(""), user=users)

mode = host("room.mode", some_key, gift=st.sampled_from((True, True, False)))
open_room = host("room.open", st.just(""))
close_room = host("room.close", some_key)
catalogue = host(
    "gift.catalogue",
    some_key,
    gifts=st.sampled_from(CATALOGUES),
    if_version=st.sampled_from((None, None, 0, 1, 2)),
)

polls = st.sampled_from(("p1", "p1", "p2"))
poll_open = host(
    "poll.open",
    keys,
    poll=polls,
    title=st.just("Which?"),
    options=st.sampled_from((["a", "b"], ["a", "b", "c"])),
    multiple=st.booleans(),
    seconds=st.sampled_from((0, 15, 60)),
    change=st.booleans(),
)
poll_vote = viewer(
    "poll.vote",
    some_key,
    poll=polls,
    options=st.lists(st.integers(0, 2), min_size=1, max_size=2, unique=True),
)
poll_close = host("poll.close", some_key, poll=polls)
poll_result = host("poll.result", st.just(""), poll=polls)

# Tea is counted on the shelf, cake is not.
SHELF: list[dict[str, Any]] = [
    {"sku": "tea", "title": "Tea", "price": 500, "stock": 6},
    {"sku": "cake", "title": "Cake", "price": 900},
]
skus = st.sampled_from(("tea", "tea", "cake"))
_sale: dict[str, Any] = {
    "sale": st.sampled_from(("s1", "s1", "s2")),
    "sku": skus,
    "price": st.just(300),
    "total": st.sampled_from((2, 4, 6)),
    "per_user": st.sampled_from((1, 2, 3)),
    "hold_s": st.just(30),
    "starts_in_s": st.just(0),
    "run_s": st.just(0),
}
running_sale = host("flash.arm", keys, **_sale)
flash_arm = host(
    "flash.arm",
    keys,
    **_sale
    | {
        "price": st.sampled_from((300, 300, 300, 600)),
        "total": st.sampled_from((2, 4, 7)),
        "starts_in_s": st.sampled_from((0, 0, 15, None)),
        "run_s": st.sampled_from((0, 60)),
    },
)
flash_start = host("flash.start", some_key, sku=skus)
flash_stop = host("flash.stop", some_key, sku=skus)
flash_stock = host("flash.stock", some_key, sku=skus, total=st.sampled_from((1, 3, 5)))
flash_reserve = viewer("flash.reserve", keys, sku=skus, n=st.sampled_from((1, 1, 2)))

# Which reservation is said by a number; the machine puts in what there is.
which = st.integers(0, 5)
flash_cancel = viewer("flash.cancel", some_key, reservation=which)
flash_confirm = service(
    "flash.confirm",
    some_key,
    reservation=which,
    amount=st.sampled_from(("right", "right", "wrong")),
    order=st.sampled_from(("o1", "o2")),
)
flash_release = service("flash.release", some_key, reservation=which)
flash_ask = service("flash.reservation", st.just(""), reservation=which)

lotteries = st.sampled_from(("d1", "d1", "d1", "d2"))
_prizes = (
    [{"prize": "cup", "title": "Cup", "n": 1}],
    [{"prize": "cup", "title": "Cup", "n": 1}, {"prize": "pin", "title": "Pin", "n": 2}],
)
lottery_open = host(
    "lottery.open",
    keys,
    lottery=lotteries,
    title=st.just("Draw"),
    prizes=st.sampled_from(_prizes),
    conditions=st.sampled_from(({}, {}, {"gift": 0}, {"gift": 200})),
    seconds=st.sampled_from((0, 0, 10)),
    exclude=st.sampled_from(({"winners": "none"}, {"winners": "room"})),
    claim_s=st.just(60),
)
lottery_enter = viewer("lottery.enter", some_key, lottery=lotteries) | viewer(
    "lottery.enter", some_key, lottery=lotteries, nonce=st.sampled_from(("ab", "0123"))
)
lottery_freeze = host("lottery.freeze", some_key, lottery=lotteries)
lottery_cancel = host("lottery.cancel", some_key, lottery=lotteries)
lottery_claim = viewer("lottery.claim", keys, lottery=lotteries)

# How often, relative to each other. Each run has its eye on one part.
_MONEY = {gift: 10, rose: 4, moons: 3, topup: 5, balance: 1, balance_of: 1, catalogue: 2, mode: 1}
_POLLS = {poll_open: 3, poll_vote: 10, poll_close: 1, poll_result: 1}
_STOCK = {
    flash_arm: 3, flash_start: 1, flash_stop: 1, flash_stock: 2, flash_reserve: 12,
    flash_cancel: 4, flash_confirm: 5, flash_release: 1, flash_ask: 1,
}  # fmt: skip
_DRAWS = {
    lottery_open: 3, lottery_enter: 12, lottery_freeze: 4, lottery_cancel: 1, lottery_claim: 6,
    rose: 2,
}  # fmt: skip
_ANY = {open_room: 2, close_room: 1, **_MONEY, **_POLLS, **_STOCK, **_DRAWS}
PARTS = {"money": _MONEY, "polls": _POLLS, "stock": _STOCK, "draws": _DRAWS, "all": _ANY}


def _weighted(weights: dict[Any, int]) -> list[Any]:
    return [kind for kind, weight in weights.items() for _ in range(weight)]


def any_command(part: str = "all") -> Any:
    """Return commands, most of them of one part."""
    kinds = _weighted(PARTS[part]) * 6 + _weighted(_ANY)
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


def crashing_command(part: str) -> Any:
    """Return commands of which more get as far as to take money."""
    return st.sampled_from((rose, rose, topup, any_command(part))).flatmap(lambda kind: kind)


def begun(part: str) -> Any:
    """Return what was begun before a run begins."""
    if part == "draws":
        entered = [_entry(user) for user in USERS]
        return st.tuples(_simple_draw, *entered).map(lambda made: [c for c in made if c])
    first = {"stock": running_sale, "polls": poll_open, "money": moon_listed}.get(part, st.none())
    others = [st.none() | kind for kind in (running_sale | flash_arm, poll_open, lottery_open)]
    return st.tuples(first, *others).map(lambda made: [c for c in made if c])


_simple_draw = host(
    "lottery.open",
    keys,
    lottery=st.just("d1"),
    title=st.just("Draw"),
    prizes=st.sampled_from(_prizes),
    conditions=st.just({}),
    seconds=st.sampled_from((0, 10)),
    exclude=st.just({"winners": "none"}),
    claim_s=st.just(60),
)


def _entry(user: str) -> Any:
    made = Command(user, Role.VIEWER, "lottery.enter", {"lottery": "d1"})
    return st.sampled_from((None, made, made))
