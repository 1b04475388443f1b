"""What the engine has to do, in plain Python: the law that runs are judged by.

A `World` is the whole truth of a room and its wallets at one instant. A command is carried out in
*steps*; each step is atomic, and between two steps anything else may happen: another command, a
timer, the end of the worker. `futures` walks through every order of the steps of commands that run
at the same time, and through every place where one can have been cut off. What was observed must be
one of those futures: a reply that no order explains, or a state that no prefix explains, is a bug.

Commands of the wallet, gifts and the room itself stand here; each further feature adds its own to
`COMMANDS` (polls.py, …).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import orjson

from liveroom.auth.claims import Role
from liveroom.features.gift import CATALOGUE
from liveroom.features.wallet import MAX_AMOUNT, STALE_MS, shard_of, transfer_id


__all__ = [
    "COMMANDS",
    "DUE",
    "HEEDS",
    "ROOM",
    "Command",
    "Future",
    "No",
    "Reply",
    "Run",
    "Told",
    "World",
    "futures",
    "in_room",
    "later",
    "no",
    "ok",
]  # fmt: skip

ROOM = "room"
HOST = "host"
COMBO_MS = 5000

Told = tuple[Any, ...]
"""A durable event of the room, as (name, field, …)."""


class Command(NamedTuple):
    """What somebody sends."""

    user: str
    role: Role
    op: str
    d: dict[str, Any]
    key: str = ""

    @property
    def digest(self) -> str:
        """What tells two bodies of one key apart."""
        return self.op + orjson.dumps(self.d, option=orjson.OPT_SORT_KEYS).decode()


@dataclass(frozen=True)
class Reply:
    """An answer: `code` is "" if it was done. A `final` one is the answer of its key for ever."""

    code: str = ""
    d: dict[str, Any] = field(default_factory=dict)
    final: bool = False

    def matches(self, item: dict[str, Any]) -> bool:
        """Tell whether a reply item says this; of a refusal the fields that are named here."""
        if not self.code:
            return bool(item.get("d") == self.d)
        err = item.get("err", {})
        return bool(err.get("code") == self.code and self.d.items() <= err.items())


def ok(**d: Any) -> Reply:
    """Return the answer of a command that was done."""
    return Reply("", d, True)


def no(code: str, *, final: bool = False, **values: Any) -> Reply:
    """Return a refusal."""
    return Reply(code, values, final)


class No(Exception):
    """Refuses out of a handler, which has changed nothing yet."""

    def __init__(self, code: str, *, final: bool = False, **values: Any) -> None:
        super().__init__(code)
        self.reply = no(code, final=final, **values)


class Hold(NamedTuple):
    """Money that is on its way into the room."""

    user: str
    amount: int
    key: str
    digest: str
    since: int


@dataclass
class World:
    """All that is true. Values are never changed in place, only replaced."""

    now: int
    accounts: dict[str, int] = field(default_factory=dict)
    holds: dict[tuple[str, str], Hold] = field(default_factory=dict)
    ended: dict[tuple[str, str], str] = field(default_factory=dict)
    """(user, key) of a payment that was settled or given back -> digest."""
    topups: dict[tuple[str, str], tuple[str, Reply]] = field(default_factory=dict)
    status: str = ""
    gifts_on: bool = True
    catalogue: dict[str, int] | None = None
    versions: dict[str, int] = field(default_factory=dict)
    answers: dict[tuple[str, str], tuple[str, Reply]] = field(default_factory=dict)
    """(user, key) -> digest and answer: the room's record."""
    credit: int = 0
    combos: dict[tuple[str, str], int] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)
    told: tuple[Told, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)
    """What other features keep: name -> their part, which has `clone()` and `visible()`."""

    def clone(self) -> World:
        """Return a copy that can be changed by itself."""
        other = copy.copy(self)
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, dict):
                setattr(other, item.name, dict(value))
        other.more = {name: part.clone() for name, part in self.more.items()}
        return other

    def post(self, source: str, target: str, amount: int) -> None:
        """Move money."""
        self.accounts[source] = self.accounts.get(source, 0) - amount
        self.accounts[target] = self.accounts.get(target, 0) + amount

    def balance(self, user: str) -> int:
        """Return what a user has."""
        return self.accounts.get(user, 0)

    def tell(self, *event: Any) -> None:
        """Add a durable event."""
        self.told = (*self.told, event)

    def prices(self) -> dict[str, int]:
        """Return gift -> price."""
        if self.catalogue is not None:
            return self.catalogue
        return {gift.id: gift.price for gift in CATALOGUE}

    def run_due(self) -> None:
        """Run the room's timers, as every commit to the room does first."""
        due = sorted((at, name) for name, at in self.timers.items() if at <= self.now)
        for at, name in due:
            del self.timers[name]
            kind, _, ident = name.partition("|")
            DUE[kind](self, ident, at)

    def visible(self) -> dict[str, Any]:
        """Return what can be read back from a store, comparable with `Books.visible()`."""
        shown: dict[str, Any] = {
            "accounts": {name: amount for name, amount in self.accounts.items() if amount},
            "held": {place: hold.amount for place, hold in self.holds.items()},
            "credit": self.credit,
            "told": self.told,
        }
        for part in self.more.values():
            shown |= part.visible()
        return shown


class Run:
    """A command on its way: which step comes next, and what the steps before have found.

    Args:
        command: what was sent.
        shaken: whether the store may fail meanwhile.
    """

    __slots__ = ("_choice", "chose", "command", "found", "pc", "reply", "shaken")

    def __init__(self, command: Command, shaken: bool = False) -> None:
        self.command = command
        self.shaken = shaken
        self.pc = 0
        self.found: Any = None
        self.reply: Reply | None = None
        self._choice = self.chose = False

    def clone(self, choice: bool = False) -> Run:
        """Return a copy that will choose so, if its next step has a choice."""
        other = copy.copy(self)
        other._choice, other.chose = choice, False
        return other

    def choose(self) -> bool:
        """Decide what the engine may do as it likes: both ways are looked at."""
        self.chose = True
        return self._choice


Steps = Callable[[World, Run], None]
"""Does the next step of a run: moves `pc`, or sets `reply` if it was the last."""
COMMANDS: dict[str, Steps] = {}
DUE: dict[str, Callable[[World, str, int], None]] = {}
HEEDS: dict[str, Callable[[World, str, int], None]] = {}
"""What other features do in the same step, when they hear of something."""


class Future(NamedTuple):
    """A way that things may have gone: the world after it and what each command was told."""

    world: World
    replies: tuple[Reply | None, ...]


def futures(world: World, runs: list[Run], cut: frozenset[int] = frozenset()) -> Iterator[Future]:
    """Yield every outcome of commands that run at the same time, step by step in any order.

    Args:
        world: the truth before; left as it is.
        runs: the commands.
        cut: those that may have stopped anywhere, without a reply.
    """
    if all(run.reply is not None or index in cut for index, run in enumerate(runs)):
        yield Future(world, tuple(run.reply for run in runs))
    for index, run in enumerate(runs):
        for after, moved in _next(world, run) if run.reply is None else ():
            yield from futures(after, [*runs[:index], moved, *runs[index + 1 :]], cut)


def _next(world: World, run: Run) -> Iterator[tuple[World, Run]]:
    """Yield what the next step of a command may lead to."""
    for before, choice in itertools.product(later(world), (False, True)):
        after, moved = before.clone(), run.clone(choice)
        COMMANDS[run.command.op](after, moved)
        if moved.chose or not choice:
            yield after, moved


def later(world: World) -> Iterator[World]:
    """Yield a world as it is, and as it is when whatever commits have had its timers run.

    A timer may set another one that is due at once: each needs a commit of its own.
    """
    yield world
    for _ in range(3):
        if all(at > world.now for at in world.timers.values()):
            return
        world = world.clone()
        world.run_due()
        yield world


# What steps are made of.

Handler = Callable[[World, Command], Reply]


def record(
    book: dict[tuple[str, str], tuple[str, Reply]], place: tuple[str, str], digest: str
) -> Reply | None:
    """Return what was answered under a key before, if it was used."""
    if place not in book:
        return None
    before, reply = book[place]
    return reply if before == digest else no("key_mismatch")


def in_room(world: World, command: Command, handler: Handler) -> Reply:
    """Do one operation of the room under the command's key."""
    world.run_due()
    place = (command.user, command.key)
    if command.key:
        old = record(world.answers, place, command.digest)
        if old is not None:
            return old
    try:
        reply = handler(world, command)
    except No as refused:
        reply = refused.reply
    if command.key and reply.final:
        world.answers[place] = (command.digest, reply)
    return reply


def one_step(handler: Handler) -> Steps:
    """Return the steps of a command that is one operation of the room."""

    def steps(world: World, run: Run) -> None:
        run.reply = in_room(world, run.command, handler)

    return steps


def looked_up(look: Handler, handler: Handler) -> Steps:
    """Return the steps of a command that its worker judges by what it knows of the room first.

    A worker may know less than is true: that is a look at an earlier moment.
    """

    def steps(world: World, run: Run) -> None:
        if run.pc == 0:
            run.pc = 1
            run.reply = _refusal(look, world, run.command)
        else:
            run.reply = in_room(world, run.command, handler)

    return steps


def _refusal(look: Handler, world: World, command: Command) -> Reply | None:
    try:
        look(world, command)
    except No as refused:
        return refused.reply
    return None


def expect_open(world: World) -> None:
    """Refuse unless the room is open."""
    if world.status != "open":
        raise No("room_closed" if world.status else "no_room")


def may(world: World, command: Command, action: str = "") -> None:
    """Judge by the room's mode, as `features.room.may`."""
    if world.status != "open":
        raise No("room_closed")
    if action == "gift" and not world.gifts_on and not command.role.at_least(Role.MODERATOR):
        raise No("not_allowed")


# The room.


def _open(world: World, command: Command) -> Reply:
    if world.status == "open":
        return ok(opened=False)
    world.status = "open"
    world.tell("room.opened")
    return ok(opened=True)


def _close(world: World, command: Command) -> Reply:
    expect_open(world)
    world.status = "closed"
    world.tell("room.closed")
    return ok()


def _mode(world: World, command: Command) -> Reply:
    expect_open(world)
    world.gifts_on = command.d["gift"]
    return ok(talk="all", like=True, gift=world.gifts_on)


def expect_version(world: World, name: str, wanted: int | None) -> None:
    """Refuse an edit of something that has changed meanwhile."""
    version = world.versions.get(name, 0)
    if wanted is not None and wanted != version:
        raise No("version_conflict", version=version)


def _catalogue(world: World, command: Command) -> Reply:
    expect_open(world)
    expect_version(world, "gifts", command.d.get("if_version"))
    world.catalogue = {gift["id"]: gift["price"] for gift in command.d["gifts"]}
    world.versions["gifts"] = world.versions.get("gifts", 0) + 1
    return ok()


COMMANDS["room.open"] = one_step(_open)
COMMANDS["room.close"] = one_step(_close)
COMMANDS["room.mode"] = one_step(_mode)
COMMANDS["gift.catalogue"] = one_step(_catalogue)


# The wallet.


def _topup(world: World, run: Run) -> None:
    command = run.command
    user, amount = command.d["user"], command.d["amount"]
    place = (user, command.key)
    run.reply = record(world.topups, place, command.digest)
    if run.reply is not None:
        return
    balance = world.balance(user) + amount
    if amount > MAX_AMOUNT or balance > MAX_AMOUNT:
        run.reply = no("amount_too_large")
        return
    world.post("~outside", user, amount)
    run.reply = ok(balance=balance)
    world.topups[place] = (command.digest, run.reply)


def _balance(world: World, run: Run) -> None:
    run.reply = ok(balance=world.balance(run.command.d.get("user", run.command.user)))


COMMANDS["wallet.topup"] = _topup
COMMANDS["wallet.of"] = COMMANDS["wallet.get"] = _balance


# Payments: hold in the wallet, effect in the room, then settle or give back.


class Payment(NamedTuple):
    """What a command that pays does beside paying: its look, its price and its effect."""

    look: Callable[[World, Command], int]
    effect: Callable[[World, Command, int, int], Reply]


def paid(payment: Payment) -> Steps:
    """Return the steps of a command that pays for something in the room."""

    def steps(world: World, run: Run) -> None:
        _PAY[run.pc](world, run, payment)

    return steps


NOT_NOW = -1
"""The price of what cannot be had now: the room refuses it, if it has no answer."""


class _Paying(NamedTuple):
    amount: int
    balance: int = 0
    done: bool = False
    reply: Reply | None = None


def _pay_look(world: World, run: Run, payment: Payment) -> None:
    try:
        run.found = _Paying(payment.look(world, run.command))
        run.pc = 1
    except No as refused:
        run.found = _Paying(NOT_NOW, reply=refused.reply)
        run.pc = 6


def _pay_hold(world: World, run: Run, payment: Payment) -> None:
    command, amount = run.command, run.found.amount
    place = (command.user, command.key)
    hold = world.holds.get(place)
    digest = hold.digest if hold else world.ended.get(place)
    if digest is not None:
        if digest != command.digest:
            run.reply = no("key_mismatch")
        run.found = run.found._replace(balance=world.balance(command.user))
        run.pc = 3 if hold else 2
        return
    balance = world.balance(command.user)
    if balance < amount:
        run.reply = no("insufficient_funds", balance=balance, price=amount)
        return
    world.post(command.user, "~held", amount)
    world.holds[place] = Hold(command.user, amount, command.key, command.digest, world.now)
    run.found = run.found._replace(balance=balance - amount)
    run.pc = 3


def _pay_ask(world: World, run: Run, payment: Payment) -> None:
    outcome(world, run.command.user, run.command.key, run.command.digest)
    run.pc = 3


def _pay_effect(world: World, run: Run, payment: Payment) -> None:
    amount, balance = run.found.amount, run.found.balance
    reply = in_room(
        world, run.command, lambda w, command: payment.effect(w, command, amount, balance)
    )
    run.found = run.found._replace(done=not reply.code, reply=reply)
    run.pc = 4 if reply.code else 5


def _pay_resolve(world: World, run: Run, payment: Payment) -> None:
    command = run.command
    done = outcome(world, command.user, command.key, command.digest)
    run.found = run.found._replace(done=done)
    run.pc = 5


def _pay_finish(world: World, run: Run, payment: Payment) -> None:
    if not (run.shaken and run.choose()):  # the answer does not wait for a store that is away
        finish(world, (run.command.user, run.command.key), done=run.found.done)
    run.reply = run.found.reply


def _pay_begun(world: World, run: Run, payment: Payment) -> None:
    """A key that was used before is never refused because of what is so now."""
    place = (run.command.user, run.command.key)
    if place in world.holds or place in world.ended:
        run.pc = 1
    else:
        run.reply = run.found.reply


_PAY = (
    _pay_look, _pay_hold, _pay_ask, _pay_effect, _pay_resolve, _pay_finish, _pay_begun,
)  # fmt: skip


def outcome(world: World, user: str, key: str, digest: str) -> bool:
    """Return whether the room had the effect of a payment; if it had not, it never will."""
    world.run_due()
    if (user, key) in world.answers:
        before, reply = world.answers[user, key]
        return before == digest and not reply.code
    world.answers[user, key] = (digest, no("aborted", final=True))
    return False


def finish(world: World, place: tuple[str, str], *, done: bool) -> None:
    """Settle or give back what is held; nothing if nothing is."""
    hold = world.holds.pop(place, None)
    if hold is not None:
        world.post("~held", "~room" if done else hold.user, hold.amount)
        world.ended[place] = hold.digest


def _recover(world: World, run: Run) -> None:
    """Finish what was cut off: two steps for each payment that is held for too long."""
    if run.found is None:
        stale = [p for p, hold in world.holds.items() if hold.since <= world.now - STALE_MS]
        run.found = (sorted(stale, key=lambda place: _turn(world, place)), False)
    places, done = run.found
    if run.pc // 2 < len(places):
        user, key = places[run.pc // 2]
        hold = world.holds.get((user, key))
        digest = hold.digest if hold is not None else world.ended[user, key]
        if run.pc % 2 == 0:
            run.found = (places, outcome(world, user, key, digest))
        else:
            finish(world, (user, key), done=done)
        run.pc += 1
    if run.pc // 2 >= len(places):
        run.reply = ok()


def _turn(world: World, place: tuple[str, str]) -> tuple[str, int, str]:
    """Return what says when a held payment has its turn in the recovery."""
    user, key = place
    return shard_of(user), world.holds[place].since, transfer_id(ROOM, user, key)


COMMANDS["recover"] = _recover


def _clock(world: World, run: Run) -> None:
    """Time passes in the middle of something."""
    world.now = run.command.d["now"]
    run.reply = ok()


COMMANDS["clock"] = _clock


# Gifts.


def _gift_look(world: World, command: Command) -> int:
    may(world, command, "gift")
    prices = world.prices()
    if command.d["gift"] not in prices:
        raise No("not_found")
    value = prices[command.d["gift"]] * int(command.d["n"])
    if value > MAX_AMOUNT:
        raise No("amount_too_large")
    return value


def _gift_effect(world: World, command: Command, value: int, balance: int) -> Reply:
    gift, n = command.d["gift"], command.d["n"]
    staff = command.role.at_least(Role.MODERATOR)
    if world.status != "open" or not (staff or world.gifts_on):
        raise No("not_allowed", final=True)
    price = world.prices().get(gift, 0)
    if price * n != value:
        raise No("version_conflict", final=True, price=price)
    if world.credit + value > MAX_AMOUNT:
        raise No("amount_too_large", final=True)
    combo = n
    if command.d["combo"]:
        combo = world.combos[command.user, gift] = world.combos.get((command.user, gift), 0) + n
        world.timers[f"gift.combo|{command.user}|{gift}"] = world.now + COMBO_MS
    world.credit += value
    world.tell("gift.sent", command.user, gift, n, combo, not command.d["combo"], value)
    HEEDS["gift"](world, command.user, value)
    return ok(gift=gift, n=n, combo=combo, value=value, balance=balance)


def _combo_over(world: World, ident: str, at: int) -> None:
    user, _, gift = ident.rpartition("|")
    combo = world.combos.pop((user, gift), 0)
    if combo:
        world.tell("gift.sent", user, gift, 0, combo, True, 0)


COMMANDS["gift.send"] = paid(Payment(_gift_look, _gift_effect))
DUE["gift.combo"] = _combo_over
