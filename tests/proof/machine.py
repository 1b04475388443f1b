"""The machine: random commands and faults on a real store, each step judged by the model.

After every step the whole store is read at one instant. What was seen (replies and store) must be
one of the futures that the model allows; more than one may be, then all are kept until a later step
tells them apart.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar, TypeVar

import orjson
import uvloop
from hypothesis import note, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from liveroom import failpoints, verify_draw
from liveroom.auth.claims import Role
from proof import commands, judge, system
from proof.books import Reader
from proof.draws import Draws
from proof.model import HOST, Command, Future, Reply, Run, World, futures, later
from proof.polls import Polls
from proof.stock import Row, Stock
from proof.system import DEAD, ROOM, Crash, Member


__all__ = ["Machine", "Tally"]

BEGIN_MS = 1_760_000_000_000
WORKERS = 2
# Places where a command that is given to a worker can be cut off.
PLACES = (
    "commit.ready", "commit.answered", "pay.held", "pay.held", "pay.effected", "pay.effected",
    "pay.settling",
)  # fmt: skip
DRAWING = ("commit.ready", "commit.answered", "draw.leased", "draw.sealed", "draw.ordered")
RECOVERING = ("commit.ready", "commit.answered", "pay.recovering", "pay.settling")
# What may pass at once: less and more than a combo, a stale payment, a poll, what is shown of it.
TIMES_MS = (
    0, 1, 4_999, 5_000, 10_000, 14_999, 15_000, 29_999, 30_000, 60_000, 60_001, 600_000, 86_400_000,
)  # fmt: skip

_T = TypeVar("_T")


class Tally:
    """What all runs of a session have done."""

    steps: ClassVar[Counter[str]] = Counter()
    ops: ClassVar[Counter[str]] = Counter()
    replies: ClassVar[Counter[str]] = Counter()
    faults: ClassVar[Counter[str]] = Counter()
    reached: ClassVar[Counter[str]] = Counter()

    @classmethod
    def report(cls) -> str:
        """Return it as text."""
        names = ("steps", "ops", "replies", "faults", "reached")
        return "\n".join(f"{name}: {dict(getattr(cls, name).most_common())}" for name in names)


worker_numbers = st.integers(0, WORKERS - 1)
few = st.sampled_from((0, 0, 0, 1, 2, 3))


class Machine(RuleBasedStateMachine):
    """Two workers on one store."""

    url: ClassVar[str]
    restart: ClassVar[list[Callable[[], None]]] = []
    """Kills the store's process and starts it again on its data, where that can be done."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.runner.get_loop().set_task_factory(system.own_tasks)
        self.reader = Reader(self.url)
        self.reader.wipe()
        self.books = self.reader.read()
        parts = {"polls": Polls(), "stock": Stock(), "draws": Draws()}
        self.worlds = [World(BEGIN_MS, more=parts)]
        self.sent: list[Command] = []
        self.answers: dict[tuple[str, str, str], bytes] = {}
        self.members: list[Member] = []

    # Plumbing.

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run something on the machine's own loop."""
        return self.runner.run(work)

    @property
    def now(self) -> int:
        """The time."""
        return self.worlds[0].now

    def new_member(self) -> Member:
        """Start a worker."""
        member = Member(self.url, self.now)
        self.run(member.start())
        return member

    def worker(self, number: int) -> Member:
        """Return a worker, a fresh one if it has died."""
        if not self.members[number].alive:
            self.run(self.members[number].bury())
            self.members[number] = self.new_member()
        return self.members[number]

    def teardown(self) -> None:
        """Finish everything that was cut off, and look at the books once more."""
        failpoints.disarm_all()
        try:
            if self.members:
                self.finish()
        finally:
            for member in self.members:
                self.run(member.stop())
            self.reader.close()
            self.runner.close()

    def finish(self) -> None:
        """Bring every payment to its end and repeat every command: nothing is open any more."""
        self.pass_time(30_000, 0)
        self.recover(0)
        for command in dict.fromkeys(map(_hashable, self.sent)):
            self.repeat_now(command.command, 1)
        self.recover(1)
        assert all(not world.holds for world in self.worlds)
        for name, draw in self.worlds[0].more["draws"].draws.items():
            if draw.drawn:
                verify_draw.verify(verify_draw.parse(self.run(self.worker(0).proof(name))))

    # Judging.

    def judge(self, seen: Iterable[Future], replies: list[bytes]) -> None:
        """Keep the futures that explain what was seen; there must be one."""
        books = self.books = self.reader.read()
        for world in self.worlds:
            world.more["stock"].learn(books)
            world.more["draws"].learn(books)
        items = [_told(reply) for reply in replies]
        shown = judge.visible(books)
        possible, others = list[World](), list[Future]()
        for future in seen:
            told = all(map(_explains, future.replies, items))
            for world in later(future.world):
                if told and world.visible() == shown:
                    possible.append(world)
                else:
                    others.append(Future(world, future.replies))
        if not possible:
            best = min(others, key=lambda other: judge.distance(other.world.visible(), shown))
            raise AssertionError(judge.difference(best, shown, items))
        self.worlds = _different(possible)
        for member in self.members:
            if member.alive and member.node.hub.rooms.get(ROOM):
                self.run(member.catch_up(books.position, books.versions))

    def expect(
        self,
        given: list[tuple[Command, bytes]],
        cut: frozenset[int] = frozenset(),
        shaken: bool = False,
    ) -> None:
        """Judge commands that were given at the same time."""
        runs = [Run(command, shaken) for command, _ in given]
        seen = (f for world in self.worlds for f in futures(world, list(runs), cut))
        self.judge(seen, [reply for _, reply in given])
        for command, reply in given:
            self.remember(command, reply)

    def remember(self, command: Command, reply: bytes) -> None:
        """Compare the answer of a key with its first one, byte for byte."""
        Tally.ops[command.op] += 1
        if reply == b"done":
            return
        item = orjson.loads(reply) if reply else {"err": {"code": "(died)"}}
        Tally.replies["ok" if "d" in item else item["err"]["code"]] += 1
        if not command.key or reply == DEAD:
            return
        place = (command.user, command.key, command.digest)
        if "d" in item or item["err"]["code"] in ("aborted", "not_allowed"):
            first = self.answers.setdefault(place, reply)
            if "d" in orjson.loads(first):
                assert reply == first, f"{command} was answered {first!r}, then {reply!r}"

    # Rules: commands.

    @initialize(
        amounts=st.lists(st.sampled_from((150, 1000, 10**13)), min_size=5, max_size=5),
        part=st.sampled_from(sorted(commands.PARTS)),
        data=st.data(),
    )
    def begin(self, amounts: list[int], part: str, data: st.DataObject) -> None:
        """Start the workers, open the room, give the users money; something has begun."""
        self.part = part
        self.members = [self.new_member() for _ in range(WORKERS)]
        self.send(Command(HOST, Role.HOST, "room.open", {}), 0)
        self.fill_shelf()
        for user, amount in zip(commands.USERS, amounts, strict=True):
            body = {"user": user, "amount": amount}
            self.send(Command("shop", Role.SERVICE, "wallet.topup", body, "begin"), 0)
        for command in data.draw(commands.begun(part)):
            self.send(command, 1)

    def fill_shelf(self) -> None:
        """Put what is sold on the shelf."""
        body = {"item": "menu", "title": "Menu", "currency": "CNY", "skus": commands.SHELF}
        put = Command(HOST, Role.HOST, "shelf.put", body)
        reply = self.run(_asked(self.worker(0), put))
        assert b'"added":true' in reply, reply
        for sku in commands.SHELF:
            row = Row(sku["price"], sku.get("stock"))
            self.worlds[0].more["stock"].rows[sku["sku"]] = row

    def real(self, command: Command) -> Command:
        """Put in what a command names by a number."""
        if "reservation" not in command.d:
            return command
        held = list(self.worlds[0].more["stock"].held.items())
        number = command.d["reservation"]
        if not held:
            return command._replace(d=command.d | _no_reservation(command))
        name, one = held[-1 - number % len(held)]
        changes: dict[str, Any] = {"reservation": name if number < 5 else name[:-19]}
        if "amount" in command.d:
            price = self.worlds[0].more["stock"].sales[one.number].price
            changes["amount"] = price * one.n + (command.d["amount"] == "wrong")
        user = one.user if command.op == "flash.cancel" and number % 2 == 0 else command.user
        return command._replace(user=user, d=command.d | changes)

    @rule(data=st.data(), number=worker_numbers)
    def one(self, data: st.DataObject, number: int) -> None:
        """One command."""
        Tally.steps["one"] += 1
        self.send(self.some(data), number)

    def some(self, data: st.DataObject, crashing: bool = False) -> Command:
        """Choose a command."""
        kinds = commands.crashing_command if crashing else commands.any_command
        return self.real(data.draw(kinds(self.part)))

    def send(self, command: Command, number: int) -> None:
        """Have a worker run a command."""
        self.sent.append(command)
        self.expect([(command, self.run(_asked(self.worker(number), command)))])

    @rule(data=st.data(), numbers=st.tuples(worker_numbers, worker_numbers))
    def two(self, data: st.DataObject, numbers: tuple[int, int]) -> None:
        """Two commands at the same time, on two workers or on one."""
        Tally.steps["two"] += 1
        Tally.faults["reordered"] += 1
        self.at_once([self.some(data), self.some(data)], numbers)

    def at_once(self, pair: list[Command], numbers: Iterable[int]) -> None:
        """Give commands to workers at the same time."""
        self.sent += pair
        workers = [self.worker(number) for number in numbers]
        replies = self.run(_gathered(map(_asked, workers, pair)))
        self.expect(list(zip(pair, replies, strict=True)))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 99), number=worker_numbers)
    def repeat(self, which: int, number: int) -> None:
        """Send again what was sent before: same key, same body, wherever."""
        Tally.steps["repeat"] += 1
        Tally.faults["duplicated"] += 1
        self.repeat_now(self.sent[-1 - which % len(self.sent)], number)

    def repeat_now(self, command: Command, number: int) -> None:
        """Send a command once more."""
        self.expect([(command, self.run(_asked(self.worker(number), command)))])

    @rule(data=st.data(), numbers=st.tuples(worker_numbers, worker_numbers))
    def twice(self, data: st.DataObject, numbers: tuple[int, int]) -> None:
        """The same command twice at the same time."""
        Tally.steps["twice"] += 1
        Tally.faults["duplicated"] += 1
        command = self.some(data)
        self.at_once([command, command], numbers)

    @rule(number=worker_numbers)
    def recover(self, number: int) -> None:
        """Finish payments that were cut off."""
        Tally.steps["recover"] += 1
        self.cut_off_one(1 - number)
        self.run(self.worker(number).run_job("Payments.recover"))
        self.expect([(RECOVER, b"done")])

    @rule(number=worker_numbers)
    def draw(self, number: int) -> None:
        """A worker sees to the draw that is running."""
        Tally.steps["draw"] += 1
        self.freeze_one(number)
        member, drawing = self.drawing(number)
        self.expect([(drawing, self.run(_drawn(member, drawing)))])

    @rule(after=st.integers(0, 2), ms=st.sampled_from((14_999, 15_000, 20_000)))
    def overtake(self, after: int, ms: int) -> None:
        """A worker stops in the middle of a draw for so long that another one takes over."""
        Tally.steps["overtake"] += 1
        Tally.faults["overtaken"] += 1
        self.freeze_one(0)
        (slow, drawing), (other, takeover) = self.drawing(0), self.drawing(1)
        works: list[Awaitable[bytes]] = [_drawn(slow, drawing)]
        now = self.now + ms

        def stall() -> None:
            failpoints.disarm_all()
            for member in self.members:
                member.node.store.skew_ms = now
            works.append(asyncio.ensure_future(_drawn(other, takeover)))

        replies = self.run(_slowed(works, stall, after))
        if len(replies) > 1:  # else there was nothing to do
            clock = Command("", Role.SERVICE, "clock", {"now": now})
            given = [(drawing, b"done"), (clock, b"done"), (takeover, b"done")]
        else:
            given = [(drawing, b"done")]
        self.expect(given)

    def drawing(self, number: int) -> tuple[Member, Command]:
        """Return a worker, and its attempt to draw what is running."""
        member = self.worker(number)
        body = {"lottery": self.worlds[0].more["draws"].running or "d1"}
        return member, Command(member.node.worker, Role.SERVICE, "draw", body)

    # Which rules may run must not hang on what came of a race: else a run cannot be repeated.

    def cut_off_one(self, number: int) -> None:
        """See to it that a payment is held for long enough, if that can be."""
        if any(world.holds for world in self.worlds):
            return
        key = f"cut-{len(self.sent)}"
        body = {"gift": "rose", "n": 1, "combo": False}
        self.die(Command("bob", Role.VIEWER, "gift.send", body, key), number, "pay.held", 0)
        self.pass_time(10_000, None)

    def freeze_one(self, number: int) -> None:
        """See to it that there is a draw to be drawn, if that can be."""
        running = self.worlds[0].more["draws"].running
        if running:
            self.send(Command(HOST, Role.HOST, "lottery.freeze", {"lottery": running}), number)

    # Rules: faults.

    @rule(data=st.data(), number=worker_numbers, place=st.sampled_from(PLACES), after=few)
    def crash(self, data: st.DataObject, number: int, place: str, after: int) -> None:
        """The worker dies at a place on the way of a command; the same key tells what happened."""
        Tally.steps["crash"] += 1
        command = self.some(data, crashing=True)
        self.die(command, number, place, after)
        self.repeat_now(command, 1 - number)

    def die(self, command: Command, number: int, place: str, after: int) -> None:
        """Have a worker run a command, and die at a place on its way."""
        self.sent.append(command)
        member = self.worker(number)
        reply = self.run(_dying(member, _asked(member, command), place, after))
        self.expect([(command, reply)], cut=frozenset({0}) if reply == DEAD else frozenset())

    @rule(number=worker_numbers, place=st.sampled_from(RECOVERING), after=few)
    def crash_in_recovery(self, number: int, place: str, after: int) -> None:
        """The worker dies while it finishes what another has left."""
        Tally.steps["crash_in_recovery"] += 1
        self.cut_off_one(1 - number)
        member = self.worker(number)
        reply = self.run(_dying(member, _job(member, "Payments.recover"), place, after))
        self.expect([(RECOVER, reply)], cut=frozenset({0}) if reply == DEAD else frozenset())

    @rule(data=st.data(), place=st.sampled_from(DRAWING), after=few, alone=st.booleans())
    def crash_in_draw(self, data: st.DataObject, place: str, after: int, alone: bool) -> None:
        """A worker dies while it draws, alone or while another worker does something."""
        Tally.steps["crash_in_draw"] += 1
        self.freeze_one(1)
        dying, drawing = self.drawing(0)
        given = [drawing]
        works = [_dying(dying, _drawn(dying, drawing), place, after)]
        if not alone:
            given.append(self.some(data))
            works.append(_asked(self.worker(1), given[1]))
            self.sent.append(given[1])
        replies = self.run(_gathered(works))
        cut = frozenset({0}) if replies[0] == DEAD else frozenset[int]()
        self.expect(list(zip(given, replies, strict=True)), cut)

    @rule(data=st.data(), place=st.sampled_from(PLACES), after=few)
    def crash_beside(self, data: st.DataObject, place: str, after: int) -> None:
        """One of two workers dies while both work."""
        Tally.steps["crash_beside"] += 1
        first, second = self.some(data, crashing=True), self.some(data)
        self.sent += [first, second]
        dying, other = self.worker(0), self.worker(1)
        replies = self.run(
            _gathered([_dying(dying, _asked(dying, first), place, after), _asked(other, second)])
        )
        cut = frozenset({0}) if replies[0] == DEAD else frozenset[int]()
        self.expect(list(zip((first, second), replies, strict=True)), cut)

    @rule(
        data=st.data(),
        number=worker_numbers,
        kind=st.sampled_from(("scripts", "scripts", "scripts", "store", "store in flight")),
        after=st.integers(0, 2),
    )
    def upset(self, data: st.DataObject, number: int, kind: str, after: int) -> None:
        """The server forgets its scripts, or is killed and comes back: at rest or under way."""
        kind = kind if self.restart else "scripts"
        Tally.steps["upset"] += 1
        Tally.faults[_UPSETS[kind]] += 1
        command = self.some(data)
        self.sent.append(command)
        asked = _asked(self.worker(number), command)
        if kind == "scripts":
            self.reader.forget_scripts()
        elif kind == "store":
            self.restart_store()
        else:
            asked = _shaken(self.restart_store, asked, after)
        reply = self.run(asked)
        unknown = b'"outcome_unknown"' in reply or b'"unavailable"' in reply
        assert not unknown or kind != "scripts", reply
        cut = frozenset({0}) if unknown else frozenset[int]()
        self.expect([(command, reply)], cut, shaken=kind != "scripts")
        self.repeat_now(command, number)

    def restart_store(self) -> None:
        """Kill the server with SIGKILL and start it again on its data."""
        self.reader.close()
        self.restart[0]()

    @rule(ms=st.sampled_from(TIMES_MS), number=st.none() | worker_numbers)
    def pass_time(self, ms: int, number: int | None) -> None:
        """Time passes; timers run now, or later with whatever is committed next."""
        Tally.steps["pass_time"] += 1
        Tally.faults["time passed"] += 1
        # What else was committed meanwhile may have had timers run before.
        self.worlds = [before.clone() for world in self.worlds for before in later(world)]
        for world in self.worlds:
            world.now += ms
        for member in self.members:
            member.node.store.skew_ms = self.now
        if number is not None:
            self.run(self.worker(number).tick())
            for world in self.worlds:
                world.run_due()
        self.judge([Future(world, ()) for world in self.worlds], [])

    # What holds whatever the model says.

    @invariant()
    def books_agree(self) -> None:
        """Recompute every sum from what it is made of."""
        if not self.members:
            return
        judge.check_sums(self.books)
        scopes = {ROOM, *self.books.shards} if self.books.base else self.books.shards
        broken = self.run(self.worker(0).check(sorted(scopes)))
        assert not broken, broken


_UPSETS = {
    "scripts": "scripts flushed",
    "store": "store killed",
    "store in flight": "store killed in flight",
}
_UNKNOWN = ("outcome_unknown", "unavailable")
RECOVER = Command("", Role.SERVICE, "recover", {})


class _hashable:  # noqa: N801  # a key function
    """A command as a dictionary key."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._key = (command.user, command.key, command.digest)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _hashable) and self._key == other._key


def _no_reservation(command: Command) -> dict[str, Any]:
    """Name one that there is not."""
    return {"reservation": "1-ann-" + "0" * 20} | ({"amount": 1} if "amount" in command.d else {})


async def _asked(member: Member, command: Command) -> bytes:
    return await member.ask(command.user, command.role, command.op, command.d, command.key)


async def _drawn(member: Member, drawing: Command) -> bytes:
    await member.draw(drawing.d["lottery"])
    return b"done" if member.alive else DEAD


async def _job(member: Member, name: str) -> bytes:
    await member.run_job(name)
    return b"done" if member.alive else DEAD


async def _gathered(works: Iterable[Coroutine[Any, Any, bytes]]) -> list[bytes]:
    return await asyncio.gather(*works)


async def _dying(member: Member, work: Coroutine[Any, Any, bytes], place: str, after: int) -> bytes:
    """Run something with a worker that dies at a place, if it comes there often enough."""
    left = after if place.startswith("commit.") else 0  # a command comes to the others once

    def die() -> None:
        nonlocal left
        if system.here() is not member:
            return
        if left:
            left -= 1
            return
        Tally.reached[place] += 1
        Tally.faults["worker killed"] += 1
        member.kill()
        raise Crash

    failpoints.arm(place, die)
    try:
        return await work
    finally:
        failpoints.disarm_all()


async def _slowed(
    works: list[Awaitable[bytes]], stall: Callable[[], None], after: int
) -> list[bytes]:
    """Run the first work; something happens when its worker has had an answer, and adds others."""
    failpoints.arm("commit.answered", stall, after)
    try:
        replies = [await works[0]]
    finally:
        failpoints.disarm_all()
    return replies + [await work for work in works[1:]]


async def _shaken(shake: Callable[[], None], work: Coroutine[Any, Any, bytes], after: int) -> bytes:
    """Run something; right after a batch was given to the kernel the store dies."""
    loop = asyncio.get_running_loop()

    def soon() -> None:
        failpoints.disarm_all()
        loop.call_soon(shake)

    failpoints.arm("commit.ready", soon, after)
    try:
        return await work
    finally:
        failpoints.disarm_all()


def _told(reply: bytes) -> dict[str, Any] | None:
    """Return what a reply says of the command; None: nothing."""
    if reply in (DEAD, b"done"):
        return None
    item: dict[str, Any] = orjson.loads(reply)
    return None if item.get("err", {}).get("code") in _UNKNOWN else item


def _explains(reply: Reply | None, item: dict[str, Any] | None) -> bool:
    return item is None or (reply is not None and reply.matches(item))


def _different(worlds: list[World]) -> list[World]:
    """Drop those that are the same."""
    kept: list[World] = []
    for world in worlds:
        if all(world is not other and world != other for other in kept):
            kept.append(world)
    note(f"{len(kept)} worlds") if len(kept) > 1 else None
    return kept
