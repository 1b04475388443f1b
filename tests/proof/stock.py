"""The law of flash sales: at every instant available + reserved + sold = total, and each
reservation ends once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from proof.books import Books
from proof.model import (
    COMMANDS,
    DUE,
    Command,
    No,
    Reply,
    Run,
    World,
    expect_open,
    in_room,
    no,
    ok,
    one_step,
)


__all__ = ["Held", "Stock"]

KEEP_MS = 600_000


class Row(NamedTuple):
    """A SKU on the shelf; `stock` None: nobody counts it."""

    price: int
    stock: int | None


class Sale(NamedTuple):
    """A sale; its number is its place in the room."""

    name: str
    sku: str
    price: int
    total: int
    available: int
    per_user: int
    hold: int
    run: int
    starts: int
    ends: int
    content: tuple[Any, ...]
    tracked: bool
    over: int = 0
    started: bool = False
    told: bool = False
    reserved: int = 0
    sold: int = 0
    made: int = 0
    due: int = 0
    forgotten: bool = False


class Held(NamedTuple):
    """A reservation."""

    number: int
    user: str
    n: int
    till: int
    state: str = "reserved"
    order: str = ""


@dataclass
class Stock:
    """What a room keeps of its sales.

    `salts` is chance: what a worker drew when a sale was armed, read from the store. From it follow
    the ids of the reservations.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    sales: dict[int, Sale] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    salts: dict[int, str] = field(default_factory=dict)

    def clone(self) -> Stock:
        """Return a copy; chance is the same for all."""
        return Stock(dict(self.rows), dict(self.sales), dict(self.held), self.salts)

    def learn(self, books: Books) -> None:
        """Take the salts of sales that are new."""
        for number, salt in salts(books).items():
            self.salts[number] = salt

    def newest(self, sku: str) -> int:
        """Return the number of the newest sale of a SKU that is not forgotten, 0 for none."""
        shown = [number for number, sale in self.sales.items() if sale.sku == sku]
        return shown[-1] if shown and not self.sales[shown[-1]].forgotten else 0

    def units(self, number: int, user: str) -> int:
        """Return how many units of a sale a user holds or has bought."""
        ours = (h for h in self.held.values() if (h.number, h.user) == (number, user))
        return sum(h.n for h in ours if h.state in ("reserved", "paid"))

    def visible(self) -> dict[str, Any]:
        """Return what can be read back."""
        return {
            "stock": {sku: row.stock for sku, row in self.rows.items()},
            "sales": {
                number: (s.name, s.total, s.available, s.reserved, s.sold, s.started, s.over > 0)
                for number, s in self.sales.items()
            },
            "reservations": {
                name: (h.state, h.n, h.till, h.order) for name, h in self.held.items()
            },
        }


def salts(books: Books) -> dict[int, str]:
    """Return the salts of all sales."""
    return {number: sale["salt"] for number, sale in sales_of(books).items()}


def sales_of(books: Books) -> dict[int, dict[str, Any]]:
    """Return the sales as they are stored."""
    found = books.texts("flash:s:")
    return {int(number): orjson.loads(text) for number, text in sorted(found.items())}


def _part(world: World) -> Stock:
    part: Stock = world.more["stock"]
    return part


def status_of(sale: Sale, now: int) -> str:
    """Return what a sale is at an instant, whatever timers have run."""
    if sale.over or 0 < sale.ends <= now:
        return "ended"
    if not sale.started and (sale.starts == 0 or now < sale.starts):
        return "armed"
    return "running" if sale.available else "sold_out"


def _change(world: World, number: int, **changes: Any) -> Sale:
    part = _part(world)
    sale = part.sales[number] = part.sales[number]._replace(**changes)
    return sale


def _newest(world: World, sku: str) -> tuple[int, Sale]:
    part = _part(world)
    number = part.newest(sku)
    if not number:
        raise No("not_found")
    return number, part.sales[number]


def _shelf(world: World, sku: str, delta: int) -> None:
    part = _part(world)
    row = part.rows[sku]
    if row.stock is not None:
        part.rows[sku] = row._replace(stock=row.stock + delta)


def _expect_stock(world: World, sku: str, wanted: int) -> None:
    stock = _part(world).rows[sku].stock
    if stock is not None and stock < wanted:
        raise No("sold_out", sku=sku, stock=stock, wanted=wanted)


# Steering.


def _arm(world: World, command: Command) -> Reply:
    expect_open(world)
    d, part = command.d, _part(world)
    fields = ("sku", "price", "total", "per_user", "hold_s", "starts_in_s", "run_s")
    content = tuple(d.get(name) for name in fields)
    for number, known in part.sales.items():
        if known.name == d["sale"] and not known.forgotten:
            if known.content != content:
                raise No("exists", sku=known.sku)
            return _armed(world, number, new=False)
    if d["sku"] not in part.rows:
        raise No("not_found")
    row = part.rows[d["sku"]]
    if d["price"] > row.price:
        raise No("bad_request", list_price=row.price)
    running = part.newest(d["sku"])
    if running and not part.sales[running].over:
        raise No("already_running", sale=part.sales[running].name)
    _expect_stock(world, d["sku"], d["total"])
    number = len(part.sales) + 1
    _add(world, number, d, content, row)
    return _armed(world, number, new=True)


def _add(world: World, number: int, d: dict[str, Any], content: Any, row: Row) -> None:
    delay = d.get("starts_in_s")
    starts = 0 if delay is None else world.now + delay * 1000
    run = d["run_s"] * 1000
    sale = _part(world).sales[number] = Sale(
        d["sale"], d["sku"], d["price"], d["total"], d["total"], d["per_user"], d["hold_s"] * 1000,
        run, starts, starts + run if starts and run else 0, content, row.stock is not None,
    )  # fmt: skip
    if starts > world.now:
        world.timers[f"flash.begin|{number}"] = starts
    if sale.ends:
        world.timers[f"flash.end|{number}"] = sale.ends
    world.tell("flash.armed", sale.name, sale.total)
    _shelf(world, sale.sku, -sale.total)
    if status_of(sale, world.now) == "running":
        _change(world, number, started=True)
        world.tell("flash.started", sale.name)


def _armed(world: World, number: int, *, new: bool) -> Reply:
    sale = _part(world).sales[number]
    return ok(
        armed=new, sale=sale.name, sku=sale.sku, status=status_of(sale, world.now),
        total=sale.total, starts_ms=sale.starts, ends_ms=sale.ends,
    )  # fmt: skip


def _phase(world: World, number: int, name: str, done: bool) -> Reply:
    sale = _part(world).sales[number]
    return ok(
        **{name: done}, sale=sale.name, sku=sale.sku, status=status_of(sale, world.now),
        starts_ms=sale.starts, ends_ms=sale.ends,
    )  # fmt: skip


def _start(world: World, command: Command) -> Reply:
    expect_open(world)
    number, sale = _newest(world, command.d["sku"])
    status = status_of(sale, world.now)
    if status == "ended":
        raise No("ended", sale=sale.name)
    if status != "armed":
        return _phase(world, number, "started", False)
    ends = world.now + sale.run if sale.run else 0
    world.timers.pop(f"flash.begin|{number}", None)
    if ends:
        world.timers[f"flash.end|{number}"] = ends
    _change(world, number, starts=world.now, ends=ends, started=True)
    world.tell("flash.started", sale.name)
    return _phase(world, number, "started", True)


def _finish(world: World, number: int) -> None:
    sale = _part(world).sales[number]
    world.timers.pop(f"flash.begin|{number}", None)
    world.timers.pop(f"flash.end|{number}", None)
    world.timers[f"flash.forget|{number}"] = world.now + KEEP_MS
    if sale.tracked:
        _shelf(world, sale.sku, sale.available)
    world.tell("flash.ended", sale.name, sale.total, sale.sold, sale.reserved, sale.available)
    ends = min(sale.ends, world.now) if sale.ends else world.now
    _change(world, number, over=world.now, ends=ends)


def _stop(world: World, command: Command) -> Reply:
    number, sale = _newest(world, command.d["sku"])
    if not sale.over:
        _finish(world, number)
    return _phase(world, number, "stopped", not sale.over)


def _resize(world: World, command: Command) -> Reply:
    d = command.d
    number, sale = _newest(world, d["sku"])
    expect_open(world)
    if status_of(sale, world.now) == "ended":
        raise No("ended", sale=sale.name)
    taken, change = sale.reserved + sale.sold, d["total"] - sale.total
    if d["total"] < taken:
        raise No("below_held", total=sale.total, reserved=sale.reserved, sold=sale.sold)
    if change:
        if sale.tracked:
            _expect_stock(world, sale.sku, change)
            _shelf(world, sale.sku, -change)
        world.tell("flash.stock", sale.name, d["total"], sale.total)
        told = sale.told and change < 0
        _change(world, number, total=d["total"], available=d["total"] - taken, told=told)
        _tell_sold_out(world, number)
    return ok(
        changed=change != 0, sale=sale.name, sku=sale.sku, total=d["total"], was=sale.total,
        available=d["total"] - taken,
    )  # fmt: skip


def _tell_sold_out(world: World, number: int) -> None:
    sale = _part(world).sales[number]
    if not sale.told and status_of(sale, world.now) == "sold_out":
        _change(world, number, told=True)
        world.tell("flash.sold_out", sale.name, sale.total, sale.reserved, sale.sold)


# Reservations.


def _reserve(world: World, command: Command) -> Reply:
    d, part = command.d, _part(world)
    number, sale = _newest(world, d["sku"])
    expect_open(world)
    status = status_of(sale, world.now)
    if status == "ended":
        raise No("ended", sale=sale.name)
    if status == "armed":
        raise No("too_early", sale=sale.name)
    units = part.units(number, command.user)
    if units + d["n"] > sale.per_user:
        raise No("limit_reached", per_user=sale.per_user, units=units)
    if sale.available < d["n"]:
        raise No("sold_out", available=sale.available)
    tag = hashlib.sha1(f"{part.salts.get(number, '?')}{sale.made}".encode()).hexdigest()[:20]
    name, till = f"{number}-{command.user}-{tag}", world.now + sale.hold
    part.held[name] = Held(number, command.user, d["n"], till)
    due = sale.due
    if due == 0 or till < due:
        world.timers[f"flash.hold|{number}"] = due = till
    _change(
        world, number, made=sale.made + 1, available=sale.available - d["n"],
        reserved=sale.reserved + d["n"], due=due,
    )  # fmt: skip
    _tell_sold_out(world, number)
    return ok(
        reservation=name, sku=sale.sku, n=d["n"], price=sale.price, amount=sale.price * d["n"],
        currency="CNY", expires_ms=till,
    )  # fmt: skip


def _reserve_steps(world: World, run: Run) -> None:
    """A worker that saw the sale begin refuses by itself who never had anything of it."""
    command, part = run.command, _part(world)
    if run.pc == 0:
        run.pc = 1
        number = part.newest(command.d["sku"])
        taker = any((h.number, h.user) == (number, command.user) for h in part.held.values())
        sold_out = number and status_of(part.sales[number], world.now) == "sold_out"
        if sold_out and not taker and run.choose():
            run.reply = no("sold_out", available=0)
    else:
        run.reply = in_room(world, command, _reserve)


def _find(world: World, name: str) -> Held:
    """Return a reservation as it stands: what is held is judged by the clock."""
    held = _part(world).held.get(name)
    if held is None:
        raise No("not_found")
    if held.state == "reserved" and held.till <= world.now:
        return held._replace(state="expired")
    return held


def _told(world: World, name: str) -> Reply:
    held = _find(world, name)
    sale = _part(world).sales[held.number]
    more = {"order": held.order} if held.state == "paid" else {}
    return ok(
        reservation=name, sale=sale.name, sku=sale.sku, user=held.user, n=held.n, price=sale.price,
        amount=sale.price * held.n, currency="CNY", expires_ms=held.till, state=held.state, **more,
    )  # fmt: skip


def _settle(world: World, name: str, state: str, order: str = "") -> None:
    part = _part(world)
    held = part.held[name] = part.held[name]._replace(state=state, order=order)
    sale, n = part.sales[held.number], held.n
    if state == "paid":
        _change(world, held.number, reserved=sale.reserved - n, sold=sale.sold + n)
        return
    _change(world, held.number, reserved=sale.reserved - n, available=sale.available + n)
    if sale.over and sale.tracked:
        _shelf(world, sale.sku, n)


def _ask(world: World, command: Command) -> Reply:
    return _told(world, command.d["reservation"])


def _confirm(world: World, command: Command) -> Reply:
    d, name = command.d, command.d["reservation"]
    held = _find(world, name)
    if held.state == "expired":
        raise No("expired", state="expired", refund=True)
    if held.state == "released" or (held.state == "paid" and held.order != d["order"]):
        raise No("final", state=held.state, refund=True)
    amount = _part(world).sales[held.number].price * held.n
    if d["amount"] != amount:
        raise No("amount_mismatch", amount=amount, came=d["amount"])
    if held.state == "reserved":
        world.tell("flash.paid", name, d["order"])
        _settle(world, name, "paid", d["order"])
    return _told(world, name)


def _release(world: World, command: Command) -> Reply:
    name = command.d["reservation"]
    held = _find(world, name)
    if held.state == "reserved":
        world.tell("flash.released", name)
        _settle(world, name, "released")
    elif held.state != "released":
        raise No("final", state=held.state)
    return _told(world, name)


def _cancel(world: World, command: Command) -> Reply:
    if _find(world, command.d["reservation"]).user != command.user:
        raise No("not_found")
    return _release(world, command)


# Timers.


def _begin(world: World, ident: str, at: int) -> None:
    sale = _part(world).sales[int(ident)]
    if not sale.over and not sale.started:
        _change(world, int(ident), started=True)
        world.tell("flash.started", sale.name)


def _end(world: World, ident: str, at: int) -> None:
    if not _part(world).sales[int(ident)].over:
        _finish(world, int(ident))


def _expire(world: World, ident: str, at: int) -> None:
    part, number = _part(world), int(ident)
    live = [(n, h) for n, h in part.held.items() if (h.number, h.state) == (number, "reserved")]
    late = [name for _, name in sorted((h.till, n) for n, h in live if h.till <= world.now)]
    for name in late:
        world.tell("flash.expired", name)
    for name in late:
        _settle(world, name, "expired")
    due = min((held.till for name, held in live if name not in late), default=0)
    if due:
        world.timers[f"flash.hold|{number}"] = due
    _change(world, number, due=due)


def _forget(world: World, ident: str, at: int) -> None:
    number = int(ident)
    if any((h.number, h.state) == (number, "reserved") for h in _part(world).held.values()):
        world.timers[f"flash.forget|{ident}"] = world.now + KEEP_MS
    else:
        _change(world, number, forgotten=True)


COMMANDS["flash.reserve"] = _reserve_steps
for _name, _handler in (
    ("arm", _arm), ("start", _start), ("stop", _stop), ("stock", _resize), ("cancel", _cancel),
    ("confirm", _confirm), ("release", _release), ("reservation", _ask),
):  # fmt: skip
    COMMANDS[f"flash.{_name}"] = one_step(_handler)
DUE["flash.begin"] = _begin
DUE["flash.end"] = _end
DUE["flash.hold"] = _expire
DUE["flash.forget"] = _forget
