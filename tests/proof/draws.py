"""The law of draws: entries fixed before the result is known, one result, one holder of each prize."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proof.books import Books
from proof.model import (
    COMMANDS,
    DUE,
    HEEDS,
    Command,
    No,
    Reply,
    Run,
    World,
    expect_open,
    ok,
    one_step,
)


__all__ = ["Draws"]

LEASE_MS, FORGET_MS, DAY_MS = 15_000, 600_000, 86_400_000
RESERVES = REDRAWS = 3
BUSY = ("open", "frozen")


class Chance(NamedTuple):
    """What a worker drew and hashed when a draw was opened, read from the store."""

    seed: str
    rules_hash: str
    commitment: str


class Slot(NamedTuple):
    """A prize: the rank of its holder, since which round, and when it was claimed."""

    rank: int
    round: int = 0
    claimed: int = 0


class Draw(NamedTuple):
    """One draw."""

    content: str
    prizes: tuple[str, ...]
    """The prize of each slot."""
    titles: dict[str, str]
    gift: int | None
    no_winners: bool
    claim: int
    opened: int
    ends: int
    status: str = "open"
    frozen: int = 0
    lease: tuple[str, int] = ("", 0)
    sealed: bool = False
    order: tuple[str, ...] = ()
    slots: tuple[Slot, ...] = ()
    drawn: bool = False
    next: int = 0
    round: int = 0
    claim_by: int = 0
    lapsed: int = 0
    given: int = 0
    passed_on: tuple[tuple[int, int], ...] = ()
    """(rank, slot) of everybody who got a slot in a redraw."""

    @property
    def claimed(self) -> int:
        """How many prizes are claimed."""
        return sum(slot.claimed > 0 for slot in self.slots)


@dataclass
class Draws:
    """What a room keeps of its draws."""

    draws: dict[str, Draw] = field(default_factory=dict)
    running: str = ""
    entries: dict[tuple[str, str], str] = field(default_factory=dict)
    """(draw, user) -> nonce."""
    gifts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(draw, user) -> value of gifts while it was open."""
    won: dict[str, int] = field(default_factory=dict)
    chance: dict[str, Chance] = field(default_factory=dict)

    def clone(self) -> Draws:
        """Return a copy; chance is the same for all."""
        return Draws(
            dict(self.draws), self.running, dict(self.entries), dict(self.gifts), dict(self.won),
            self.chance,
        )  # fmt: skip

    def learn(self, books: Books) -> None:
        """Take what was drawn for new draws."""
        for name, record in books.hashes("lottery:").items():
            if "seed" in record:
                fields = (record[part] for part in Chance._fields)
                self.chance[name] = Chance(*fields)

    def entrants(self, name: str) -> list[str]:
        """Return who takes part, in order."""
        return sorted(user for draw, user in self.entries if draw == name)

    def visible(self) -> dict[str, Any]:
        """Return what can be read back."""
        return {
            "draws": {
                name: (draw.status, draw.sealed, self._holders(name), draw.round)
                for name, draw in self.draws.items()
            },
            "entries": dict(self.entries),
            "running": self.running,
        }

    def _holders(self, name: str) -> tuple[tuple[str, int], ...]:
        draw = self.draws[name]
        return tuple((draw.order[slot.rank], slot.claimed) for slot in draw.slots)


def _part(world: World) -> Draws:
    part: Draws = world.more["draws"]
    return part


def _change(world: World, name: str, **changes: Any) -> Draw:
    part = _part(world)
    draw = part.draws[name] = part.draws[name]._replace(**changes)
    return draw


def _get(world: World, name: str) -> Draw:
    part = _part(world)
    if name not in part.draws:
        raise No("not_found")
    return part.draws[name]


def _is_taking(world: World, draw: Draw) -> bool:
    return draw.status == "open" and not 0 < draw.ends <= world.now


# Opening and entering.


def _open(world: World, command: Command) -> Reply:
    expect_open(world)
    part, d = _part(world), command.d
    name = d["lottery"]
    if name in part.draws:
        if part.draws[name].content != command.digest:
            raise No("exists")
        return _opened(world, name, new=False)
    if part.running:
        raise No("already_running", lottery=part.running)
    ends = world.now + d["seconds"] * 1000 if d["seconds"] else 0
    part.draws[name] = Draw(
        command.digest,
        tuple(prize["prize"] for prize in d["prizes"] for _ in range(prize["n"])),
        {prize["prize"]: prize["title"] for prize in d["prizes"]},
        d["conditions"].get("gift"),
        d["exclude"]["winners"] == "room",
        d["claim_s"] * 1000,
        world.now,
        ends,
    )
    part.running = name
    if ends:
        world.timers[f"lottery.freeze|{name}"] = ends
    world.tell("lottery.opened", name)
    return _opened(world, name, new=True)


def _opened(world: World, name: str, *, new: bool) -> Reply:
    part = _part(world)
    draw, chance = part.draws[name], part.chance.get(name, Chance("", "?", "?"))
    more = {"ends_ms": draw.ends} if draw.ends else {}
    return ok(
        opened=new, lottery=name, rules_hash=chance.rules_hash, commitment=chance.commitment,
        opened_ms=draw.opened, **more,
    )  # fmt: skip


def _enter(world: World, command: Command) -> Reply:
    part, name, user = _part(world), command.d["lottery"], command.user
    draw = _get(world, name)
    if (name, user) in part.entries:
        return _entered(name, part.entries[name, user])
    if not _is_taking(world, draw):
        raise No("ended", status=draw.status)
    expect_open(world)
    if draw.no_winners and part.won.get(user, 0) > world.now - 30 * DAY_MS:
        raise No("not_eligible", excluded=True)
    if draw.gift is not None and part.gifts.get((name, user), -1) < draw.gift:
        raise No("not_eligible", missing=["gift"])
    nonce = command.d.get("nonce", "")
    part.entries[name, user] = nonce
    return _entered(name, nonce)


def _entered(name: str, nonce: str) -> Reply:
    return ok(lottery=name, nonce=nonce) if nonce else ok(lottery=name)


def _gave(world: World, user: str, value: int) -> None:
    """A gift counts for the draw that is open, in the same step as it is given."""
    part = _part(world)
    draw = part.draws.get(part.running)
    if draw is not None and draw.gift is not None and _is_taking(world, draw):
        place = (part.running, user)
        part.gifts[place] = part.gifts.get(place, 0) + value


# Freezing and giving up.


def _freeze(world: World, name: str) -> None:
    draw = _part(world).draws[name]
    frozen = draw.ends or max(world.now, draw.opened)
    _change(world, name, status="frozen", frozen=frozen)
    world.tell("lottery.frozen", name, len(_part(world).entrants(name)))


def _freeze_now(world: World, command: Command) -> Reply:
    name = command.d["lottery"]
    draw = _get(world, name)
    if draw.status == "cancelled":
        raise No("ended")
    entrants = len(_part(world).entrants(name))
    if draw.status != "open":
        return ok(lottery=name, frozen=False, entrants=entrants)
    if world.now < draw.ends:
        raise No("too_early", ends_ms=draw.ends)
    world.timers.pop(f"lottery.freeze|{name}", None)
    _freeze(world, name)
    return ok(lottery=name, frozen=True, entrants=entrants)


def _cancel(world: World, command: Command) -> Reply:
    name, part = command.d["lottery"], _part(world)
    draw = _get(world, name)
    if draw.status == "cancelled":
        return ok(lottery=name, cancelled=False)
    if draw.drawn:
        raise No("already_done")
    world.tell("lottery.cancelled", name, draw.status, len(part.entrants(name)))
    _change(world, name, status="cancelled")
    part.entries = {place: nonce for place, nonce in part.entries.items() if place[0] != name}
    part.running = ""
    world.timers.pop(f"lottery.freeze|{name}", None)
    return ok(lottery=name, cancelled=True)


# Drawing: what a worker does, in the steps in which it can be cut off.


def winners_of(part: Draws, name: str, content: Draw) -> tuple[int, tuple[str, ...]]:
    """Return how many win, and the order: winners, then reserves (docs/draw-proof.md)."""
    chance, users = part.chance[name], part.entrants(name)
    leaves = [json.dumps([u, part.entries[name, u]], separators=(",", ":")) for u in users]
    root = _root([leaf.encode() for leaf in leaves])
    message = b"|".join((b"liveroom-draw-1", bytes.fromhex(chance.rules_hash), root, b""))
    key = hmac.digest(bytes.fromhex(chance.seed), message, "sha256")
    order = sorted(users, key=lambda user: (hmac.digest(key, user.encode(), "sha256"), user))
    winners = min(len(content.prizes), len(users))
    return winners, tuple(order[: winners * (1 + RESERVES)])


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return hashlib.sha256(b"".join(b"\0" + leaf for leaf in leaves)).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _root(leaves[:half]) + _root(leaves[half:])).digest()


def _drawing(world: World, run: Run) -> None:
    """Take the lease, seal, write the order, draw; `user` is the worker."""
    world.run_due()
    name, worker = run.command.d["lottery"], run.command.user
    draw = _part(world).draws.get(name)
    if draw is None or draw.status != "frozen":
        run.reply = ok()
        return
    if run.pc == 0:
        holder, till = draw.lease
        if holder not in ("", worker) and till > world.now:
            run.reply = ok()
        else:
            _change(world, name, lease=(worker, world.now + LEASE_MS))
    elif draw.lease[0] != worker:
        run.reply = ok()
    elif run.pc == 1 and not draw.sealed:
        _change(world, name, sealed=True)
        world.tell("lottery.sealed", name)
    elif run.pc == 3:  # step 2 writes the order, which nobody sees before the draw
        run.found = world.now
        _draw(world, name)
        run.reply = ok()
    run.pc += 1


def _draw(world: World, name: str) -> None:
    part = _part(world)
    draw = part.draws[name]
    winners, order = winners_of(part, name, draw)
    claim_by = world.now + draw.claim
    slots = tuple(Slot(rank) for rank in range(winners))
    _change(
        world, name, status="drawn", drawn=True, order=order, slots=slots, next=winners,
        claim_by=claim_by,
    )  # fmt: skip
    world.timers[f"lottery.claims|{name}"] = claim_by + 1
    world.tell("lottery.drawn", name, len(part.entrants(name)), order[:winners])
    for slot, user in enumerate(order[:winners]):
        world.tell("lottery.won", name, user, draw.prizes[slot])
        part.won[user] = world.now
    part.running = ""
    if not winners:
        _settle(world, name)


def _settle(world: World, name: str) -> None:
    draw = _change(world, name, status="settled")
    world.timers.pop(f"lottery.claims|{name}", None)
    world.tell("lottery.settled", name, len(draw.slots), draw.claimed)


# Claiming.


def _claim(world: World, command: Command) -> Reply:
    name, user = command.d["lottery"], command.user
    draw = _get(world, name)
    if draw.status == "cancelled":
        raise No("ended")
    if not draw.drawn:
        raise No("too_early")
    rank = draw.order.index(user) if user in draw.order else -1
    number, live = _slot_of(draw, rank)
    if number < 0:
        raise No("not_eligible")
    slot = draw.slots[number]
    prize = draw.prizes[number]
    if slot.claimed and slot.rank == rank:
        return _claimed(name, draw, prize, slot.claimed)
    in_time = draw.status == "drawn" and live and world.now <= draw.claim_by
    if not in_time:
        raise No("expired")
    slots = list(draw.slots)
    slots[number] = slot._replace(claimed=world.now)
    draw = _change(world, name, slots=tuple(slots))
    if draw.claimed + draw.lapsed == len(draw.slots):
        _settle(world, name)
    return _claimed(name, draw, prize, world.now)


def _slot_of(draw: Draw, rank: int) -> tuple[int, bool]:
    """Return the slot that somebody holds or has held, and whether it is held in this round."""
    if rank < 0 or not draw.slots:
        return -1, False
    number = rank if rank < len(draw.slots) else dict(draw.passed_on).get(rank, -1)
    slot = draw.slots[number]
    return number, number >= 0 and (slot.rank, slot.round) == (rank, draw.round)


def _claimed(name: str, draw: Draw, prize: str, ms: int) -> Reply:
    return ok(lottery=name, prize=prize, title=draw.titles[prize], claimed_ms=ms)


# Redrawing.


def _claims_over(world: World, name: str, at: int) -> None:
    part = _part(world)
    draw = part.draws[name]
    if draw.status != "drawn":
        return
    if world.now <= draw.claim_by:
        world.timers[f"lottery.claims|{name}"] = draw.claim_by + 1
        return
    if draw.round >= REDRAWS or draw.next >= len(draw.order):
        _settle(world, name)
        return
    _redraw(world, name)


def _redraw(world: World, name: str) -> None:
    part = _part(world)
    draw = part.draws[name]
    slots, rank, passed_on = list(draw.slots), draw.next, list(draw.passed_on)
    unclaimed = [number for number, slot in enumerate(slots) if not slot.claimed]
    given = unclaimed[: len(draw.order) - rank]
    for number in given:
        slots[number] = Slot(rank, draw.round + 1)
        passed_on.append((rank, number))
        user = draw.order[rank]
        world.tell("lottery.won", name, user, draw.prizes[number])
        part.won[user] = world.now
        rank += 1
    _change(
        world, name, slots=tuple(slots), next=rank, round=draw.round + 1, given=len(given),
        claim_by=world.now + draw.claim, lapsed=len(unclaimed) - len(given),
        passed_on=tuple(passed_on),
    )  # fmt: skip
    world.timers[f"lottery.redrawn|{name}"] = world.now


def _redrawn(world: World, name: str, at: int) -> None:
    draw = _part(world).draws[name]
    if draw.status == "drawn":
        world.tell("lottery.redrawn", name, draw.round, draw.given)
        world.timers[f"lottery.claims|{name}"] = draw.claim_by + 1


def _time_up(world: World, name: str, at: int) -> None:
    if _part(world).draws[name].status == "open":
        _freeze(world, name)


COMMANDS["lottery.open"] = one_step(_open)
COMMANDS["lottery.enter"] = one_step(_enter)
COMMANDS["lottery.freeze"] = one_step(_freeze_now)
COMMANDS["lottery.cancel"] = one_step(_cancel)
COMMANDS["lottery.claim"] = one_step(_claim)
COMMANDS["draw"] = _drawing
HEEDS["gift"] = _gave
DUE["lottery.freeze"] = _time_up
DUE["lottery.claims"] = _claims_over
DUE["lottery.redrawn"] = _redrawn
