"""Flash sales under contention: never a unit twice, never an answer twice, whoever comes first."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

import harness
from harness import Pair, check, service
from liveroom import Op, Plugin
from liveroom.store.port import Batch, Committed


SEEDS = int(os.environ.get("LIVEROOM_TEST_SEEDS", "5"))
UNASKED = "liveroom_flash_refused_unasked_total"
HOLD_MS = 300_000
PRICE = 900


class Hand(Plugin):
    """A hand in the store."""

    name = "hand"
    lua = """
ops['hand.break'] = function() error('on purpose') end
"""


PLUGINS = (Hand,)


async def open_room(worker: harness.Worker, room: str, *skus: str) -> harness.Client:
    """Open a room with SKUs that nobody counts; return its host."""
    host = await worker.open_control(room)
    await host.ask("room.open")
    rows = [{"sku": sku, "price": 1000} for sku in skus]
    for n in range(0, len(rows), 50):
        await host.ask("shelf.put", item=f"i{n}", title="T", currency="CNY", skus=rows[n : n + 50])
    return host


async def arm(host: harness.Client, sku: str = "k1", **changes: Any) -> None:
    """Arm a sale that runs until it is stopped."""
    body = {
        "sale": f"s-{sku}",
        "sku": sku,
        "price": PRICE,
        "total": 1,
        "starts_in_s": 0,
        "run_s": 0,
    }
    await host.ask("flash.arm", key=f"arm-{sku}", **(body | changes))


async def commit(worker: harness.Worker, room: str, *ops: Op) -> Committed:
    """Commit operations alone."""
    return await worker.node.hub.commit(room, ops)


async def ask(worker: harness.Worker, room: str, op: str, user: str = "", **d: Any) -> Any:
    """Have the script do something; return its answer."""
    reply = (await commit(worker, room, Op(op, user, d))).replies[0]
    assert reply[:1] == b"+", reply
    return orjson.loads(reply[1:])


async def counts(worker: harness.Worker, room: str, sku: str = "k1") -> tuple[int, int, int]:
    """Return how many units are available, reserved and sold, as the store has it."""
    states = (await ask(worker, room, "sys.sync"))["states"]
    found = next(s["d"] for s in states if s["st"] == f"stock:{sku}")
    assert found["available"] + found["reserved"] + found["sold"] == found["total"], found
    assert min(found["available"], found["reserved"], found["sold"]) >= 0, found
    return found["available"], found["reserved"], found["sold"]


def unasked(worker: harness.Worker) -> float:
    """Return how often a worker refused without asking the store."""
    return worker.node.metrics.registry.get_sample_value(UNASKED) or 0.0


def asked(worker: harness.Worker, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the user of every reservation that the store is asked for."""
    store, whole = worker.node.store, worker.node.store.commit
    seen: list[str] = []

    async def listening(scope: str, batch: Batch) -> Committed:
        seen.extend(op.user for op in batch.ops if op.name == "flash.reserve")
        return await whole(scope, batch)

    monkeypatch.setattr(store, "commit", listening)
    return seen


# Sold out.


async def test_flash_sold_out_is_answered_by_the_worker(
    pair: Pair, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losers do not reach the store; winners get their answer; when units return all are asked."""
    first, second = pair
    host = await open_room(first, room, "k1")
    winner, near = await first.join(room, "u1"), await first.join(room, "u2")
    far, tab = await second.join(room, "u3"), await second.join(room, "u1")
    await arm(host)
    won = await winner.ask("flash.reserve", key="k", sku="k1")
    for client in (near, far):
        await client.state("stock:k1", lambda d: d["status"] == "sold_out")
    seen = asked(first, monkeypatch), asked(second, monkeypatch)

    for n in range(3):
        for client in (near, far):
            err = (await client.command("flash.reserve", key=f"k{n}", sku="k1"))["err"]
            assert (err["code"], err["available"]) == ("sold_out", 0)
    assert (unasked(first), unasked(second)) == (3, 3)
    assert seen == ([], [])
    assert await winner.ask("flash.reserve", key="k", sku="k1") == won
    assert await tab.ask("flash.reserve", key="k", sku="k1") == won
    assert await tab.refused("flash.reserve", key="new", sku="k1") == "limit_reached"
    assert seen == (["u1"], ["u1", "u1"])

    await winner.ask("flash.cancel", reservation=won["reservation"])
    await far.item(
        lambda item: item.get("st") == "stock:k1" and item["v"] > 2 and item["d"]["available"] == 1
    )
    mine = await far.ask("flash.reserve", key="k0", sku="k1")  # a key that was refused
    await near.item(
        lambda item: item.get("st") == "stock:k1" and item["v"] > 3 and item["d"]["available"] == 0
    )
    assert await far.ask("flash.reserve", key="k0", sku="k1") == mine
    assert await winner.ask("flash.reserve", key="k", sku="k1") == won  # given up since
    assert (await counts(first, room)) == (0, 1, 0)


async def test_flash_sold_out_is_asked_for_by_a_worker_that_came_late(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """It did not see who reserved before it came: it lets the store decide."""
    first = await start_worker(store_url)
    host = await open_room(first, room, "k1")
    await arm(host)
    winner = await first.join(room, "u1")
    won = await winner.ask("flash.reserve", key="k", sku="k1")
    late = await start_worker(store_url)
    tab, other = await late.join(room, "u1"), await late.join(room, "u2")
    assert late.node.hub.rooms[room].state("stock:k1")["status"] == "sold_out"
    assert await tab.ask("flash.reserve", key="k", sku="k1") == won
    assert await other.refused("flash.reserve", key="k", sku="k1") == "sold_out"
    assert unasked(late) == 0

    await host.ask("flash.stop", sku="k1")
    await host.ask("flash.arm", key="2", sale="s2", sku="k1", price=1, total=1, starts_in_s=0)
    await other.ask("flash.reserve", key="n", sku="k1")
    await tab.state("stock:k1", lambda d: d["sale"] == "s2" and d["status"] == "sold_out")
    assert await tab.ask("flash.reserve", key="k", sku="k1") == won  # of the sale before
    assert unasked(late) == 0


# Races.


async def test_flash_pay_and_expiry_race(pair: Pair, room: str) -> None:
    """In the same instant, in either order: exactly one of them wins, and it stays so."""
    first, second = pair
    host = await open_room(first, room, "k1")
    await arm(host, total=2)
    held = [await ask(first, room, "flash.reserve", f"u{n}", sku="k1", n=1) for n in range(2)]
    owners = [await first.join(room, f"u{n}") for n in range(2)]
    body = [{"reservation": h["reservation"], "amount": PRICE, "order": "o"} for h in held]

    early = held[0]["expires_ms"] - (await commit(first, room)).now_ms - 2000
    first.node.store.skew_ms = second.node.store.skew_ms = early
    assert (await ask(second, room, "flash.confirm", "shop", **body[0]))["state"] == "paid"
    first.node.store.skew_ms = second.node.store.skew_ms = early + 3000
    replies = (await commit(second, room, Op("flash.confirm", "shop", body[1]))).replies
    refused = orjson.loads(replies[0][1:])
    assert (refused["code"], refused["refund"]) == ("expired", True)
    await owners[0].event("flash.paid")
    await owners[1].event("flash.expired")
    assert owners[0].events("flash.expired") == owners[1].events("flash.paid") == []
    assert await counts(first, room) == (1, 0, 1)

    # A worker whose store clock is behind finds what was decided.
    second.node.store.skew_ms = 0
    again = await service(second, room, "flash.confirm", **body[1])
    assert (again["err"]["code"], again["err"]["state"]) == ("expired", "expired")
    assert await counts(first, room) == (1, 0, 1)
    await check(second, room)


async def test_flash_back_end_races_with_the_owner_and_the_clock(pair: Pair, room: str) -> None:
    """Pay, release and cancel at once from everywhere, near the deadline: one outcome each."""
    first, second = pair
    host = await open_room(first, room, "k1")
    total = 24
    await arm(host, total=total)
    owners = [await pair[n % 2].join(room, f"u{n}") for n in range(total)]
    held = await asyncio.gather(*(o.ask("flash.reserve", key="k", sku="k1") for o in owners))
    left = held[0]["expires_ms"] - (await commit(first, room)).now_ms
    first.node.store.skew_ms = second.node.store.skew_ms = left - 50  # some will be late

    async def fight(n: int) -> set[str]:
        reservation, outcomes = held[n]["reservation"], set()
        tries = [
            service(pair[n % 2], room, "flash.confirm", reservation=reservation, amount=PRICE,
                    order="o"),
            service(pair[1 - n % 2], room, "flash.release", reservation=reservation),
            owners[n].command("flash.cancel", reservation=reservation),
        ]  # fmt: skip
        random.Random(n).shuffle(tries)
        for reply in await asyncio.gather(*tries):
            outcomes.add(reply["d"]["state"] if "d" in reply else reply["err"]["state"])
        return outcomes

    outcomes = await asyncio.gather(*(fight(n) for n in range(total)))
    assert all(len(found) == 1 for found in outcomes), outcomes
    first.node.store.skew_ms = second.node.store.skew_ms = left + 1000
    await commit(first, room)
    paid = sum(found == {"paid"} for found in outcomes)
    assert await counts(second, room) == (total - paid, 0, paid)
    for n, owner in enumerate(owners):
        (state,) = outcomes[n]
        await owner.event(f"flash.{state}", reservation=held[n]["reservation"])
        told = [len(owner.events(f"flash.{name}")) for name in ("paid", "released", "expired")]
        assert sum(told) == 1
    await check(first, room)


class Rush:
    """Fifty clients on two workers; ten of them have a second connection, on the other worker."""

    def __init__(self, pair: Pair, room: str) -> None:
        self.pair, self.room = pair, room
        self.tabs: list[list[harness.Client]] = []

    async def open(self, skus: list[str]) -> None:
        """Open the room and bring everyone in."""
        self.host = await open_room(self.pair[0], self.room, *skus)
        for n in range(50):
            workers = self.pair if n < 10 else (self.pair[n % 2],)
            self.tabs.append([await worker.join(self.room, f"u{n}") for worker in workers])

    async def grab(self, sku: str, rng: random.Random) -> list[str]:
        """Have everyone try five times, some of them twice with each key; return what was got."""
        tries = [(n, f"{sku}-{i}") for n in range(50) for i in range(5)]
        tries += tries[:50]
        rng.shuffle(tries)
        sent = [rng.choice(self.tabs[n]).command("flash.reserve", key=key, sku=sku)
                for n, key in tries]  # fmt: skip
        got: dict[tuple[int, str], set[str]] = {}
        for who, reply in zip(tries, await asyncio.gather(*sent), strict=True):
            if "d" in reply:
                got.setdefault(who, set()).add(reply["d"]["reservation"])
            else:
                assert reply["err"]["code"] in ("sold_out", "limit_reached"), reply
        assert all(len(found) == 1 for found in got.values()), "one key, one reservation"
        return [found.pop() for found in got.values()]

    async def pay(self, reservations: list[str]) -> None:
        """Confirm every reservation several times, from both workers at once."""
        ops = [
            Op("flash.confirm", "shop", {"reservation": r, "amount": PRICE, "order": f"o{i}"})
            for i, r in enumerate(reservations)
        ]
        batches = await asyncio.gather(
            *(commit(self.pair[i % 2], self.room, *ops[i::4], *ops[i::8]) for i in range(4))
        )
        assert all(reply[:1] == b"+" for done in batches for reply in done.replies)


async def test_flash_sells_exactly_what_there_is(pair: Pair, room: str) -> None:
    """A hundred units for more than twice as many who want them at once: all, and none twice."""
    for first in range(0, SEEDS, 90):  # a room has at most 100 sales
        rush = Rush(pair, f"{room}-{first}")
        skus = {f"k{seed}": seed for seed in range(first, min(first + 90, SEEDS))}
        await rush.open(list(skus))
        for sku, seed in skus.items():
            await arm(rush.host, sku, total=100, per_user=5)
            reservations = await rush.grab(sku, random.Random(seed))
            assert len(set(reservations)) == len(reservations) == 100
            assert await counts(pair[1], rush.room, sku) == (0, 100, 0)
            await rush.pay(reservations)
            assert await counts(pair[0], rush.room, sku) == (0, 0, 100)
        await check(pair[1], rush.room)


# Whoever serves it, whatever its clock says.


class Ahead:
    """A clock that is an hour fast."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def monotonic(self) -> float:
        return float(self._clock.monotonic())

    def wall_ms(self) -> int:
        return int(self._clock.wall_ms()) + 3_600_000


async def test_flash_does_not_trust_a_workers_clock(
    pair: Pair, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose clock is an hour fast neither ends the sale nor expires what is held."""
    first, second = pair
    monkeypatch.setattr(second.node.hub, "clock", Ahead(second.node.hub.clock))
    host = await open_room(first, room, "k1")
    await arm(host, total=2, run_s=60, hold_s=30)
    one, two = await first.join(room, "u1"), await second.join(room, "u2")
    held = [await client.ask("flash.reserve", key="k", sku="k1") for client in (one, two)]
    assert abs(held[0]["expires_ms"] - held[1]["expires_ms"]) < 20_000
    body = {"reservation": held[0]["reservation"], "amount": PRICE, "order": "o"}
    assert (await service(second, room, "flash.confirm", **body))["d"]["state"] == "paid"
    assert await counts(second, room) == (0, 1, 1)


async def test_flash_survives_store_clocks_that_disagree(pair: Pair, room: str) -> None:
    """As after a failover: time goes back and forth, nothing happens twice, nothing is undone."""
    first, second = pair
    host = await open_room(first, room, "k1")
    second.node.store.skew_ms = 10 * 60_000
    await arm(host, total=6, per_user=2, run_s=3600)
    owners = [await pair[n % 2].join(room, f"u{n}") for n in range(6)]
    held = [
        (await owner.ask("flash.reserve", key="k", sku="k1"))["reservation"] for owner in owners
    ]
    await commit(second, room)  # by its clock those of the first worker are over
    assert (await ask(first, room, "flash.reservation", reservation=held[0]))["state"] == "expired"
    err = (await service(first, room, "flash.confirm", reservation=held[0], amount=PRICE,
                         order="o"))["err"]  # fmt: skip
    assert (err["code"], err["refund"]) == ("expired", True)
    assert await counts(first, room) == (3, 3, 0)
    await ask(first, room, "flash.confirm", "shop", reservation=held[1], amount=PRICE, order="o")
    await check(first, room)

    second.node.store.skew_ms = 40 * 60_000
    for worker in (*pair, *pair):
        await commit(worker, room)
    assert await counts(first, room) == (5, 0, 1)
    for n, owner in enumerate(owners):
        await owner.event("flash.paid" if n == 1 else "flash.expired", reservation=held[n])
        assert len(owner.events("flash.paid") + owner.events("flash.expired")) == 1
    await check(second, room)


async def test_flash_goes_on_with_another_worker(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """The worker that sold is gone: another pays, expires and ends what it began."""
    async with harness.running_worker(store_url) as first:
        host = await open_room(first, room, "k1")
        await arm(host, total=5, run_s=600)
        viewers = [await first.join(room, f"u{n}") for n in range(3)]
        held = [await v.ask("flash.reserve", key="k", sku="k1") for v in viewers]
    second = await start_worker(store_url)
    viewer = await second.join(room, "u0")
    mine = viewer.hello["own"]["flash"]["reservations"]
    assert [row["reservation"] for row in mine] == [held[0]["reservation"]]
    assert mine[0]["expires_ms"] == held[0]["expires_ms"]
    assert await viewer.ask("flash.reserve", key="k", sku="k1") == held[0]
    body = {"reservation": held[0]["reservation"], "amount": PRICE, "order": "o"}
    assert (await service(second, room, "flash.confirm", **body))["d"]["state"] == "paid"
    second.node.store.skew_ms = 600_000
    while (done := await commit(second, room)).due_ms and done.due_ms <= done.now_ms:
        pass
    assert await counts(second, room) == (4, 0, 1)
    await viewer.event("flash.ended", sold=1, unsold=4)
    await check(second, room)


async def test_flash_batch_with_a_broken_operation(pair: Pair, room: str) -> None:
    """What an operation of a batch refuses or breaks takes nothing from the others."""
    first = pair[0]
    host = await open_room(first, room, "k1")
    await arm(host, total=4, per_user=2)
    watcher = await pair[1].join(room, "watcher")

    def reserve(user: str, n: int, key: str = "") -> Op:
        return Op("flash.reserve", user, {"sku": "k1", "n": n}, key, "0" * 24 if key else "")

    ops = [
        reserve("u1", 1, "k"), Op("hand.break", "", {}), reserve("u1", 2), reserve("u2", 2),
        reserve("u3", 2), reserve("u1", 1, "k"), Op("no.such", "", {}), reserve("u3", 1),
    ]  # fmt: skip
    replies = (await commit(first, room, *ops)).replies
    assert [reply[:1] for reply in replies] == [b"+", b"!", b"-", b"+", b"-", b"+", b"-", b"+"]
    assert replies[0] == replies[5]
    assert [orjson.loads(replies[n][1:])["code"] for n in (2, 4)] == ["limit_reached", "sold_out"]
    assert await counts(first, room) == (0, 4, 0)
    shown = await watcher.state("stock:k1", lambda d: d["status"] == "sold_out")
    assert shown["reserved"] == 4
    await check(first, room)

    # A reservation that is made, paid, given up and asked for in one batch.
    one = orjson.loads(replies[0][1:])["reservation"]
    two = orjson.loads(replies[3][1:])["reservation"]
    confirm = {"reservation": one, "amount": PRICE, "order": "o"}
    ops = [
        Op("flash.cancel", "u2", {"reservation": two}), reserve("u4", 1),
        Op("flash.confirm", "shop", confirm), Op("flash.release", "shop", {"reservation": one}),
        Op("flash.reservation", "shop", {"reservation": two}), Op("flash.confirm", "shop", confirm),
        Op("sys.check", "", {}),
    ]  # fmt: skip
    replies = (await commit(first, room, *ops)).replies
    assert [reply[:1] for reply in replies] == [b"+", b"+", b"+", b"-", b"+", b"+", b"+"]
    assert replies[2] == replies[5]
    assert orjson.loads(replies[4][1:])["state"] == "released"
    assert b'"broken"' not in replies[6]
    assert await counts(first, room) == (1, 2, 1)
    await check(first, room)


# Any sequence of operations.


@dataclass
class Model:
    """What a sale should do, in the fewest words."""

    total: int
    per_user: int
    over: bool = False
    state: dict[str, tuple[str, int, str]] = field(default_factory=dict)  # id -> state, n, user
    order: dict[str, str] = field(default_factory=dict)

    def units(self, *states: str, user: str | None = None) -> int:
        """Count units in these states."""
        return sum(n for s, n, who in self.state.values() if s in states and user in (None, who))

    @property
    def available(self) -> int:
        return self.total - self.units("reserved", "paid")

    def reserve(self, user: str, n: int) -> str:
        """Return the expected code, "" for yes."""
        if self.over:
            return "ended"
        if self.units("reserved", "paid", user=user) + n > self.per_user:
            return "limit_reached"
        return "sold_out" if n > self.available else ""

    def end(self, reservation: str, to: str) -> None:
        """Take that a reservation ended."""
        _, n, user = self.state[reservation]
        self.state[reservation] = (to, n, user)


class Story:
    """One random sequence, in batches, against the model."""

    def __init__(self, rng: random.Random, worker: harness.Worker, room: str) -> None:
        self.rng, self.worker, self.room = rng, worker, room
        self.model = Model(total=rng.randint(3, 20), per_user=rng.randint(1, 4))

    def next(self) -> Op:
        """Return any operation."""
        rng, known = self.rng, [*self.model.state, "1-u1-" + "0" * 20]
        reservation, user = rng.choice(known), f"u{rng.randint(0, 5)}"
        kind = rng.choice(["reserve"] * 5 + ["confirm", "confirm", "release", "cancel", "stock"])
        if kind == "reserve":
            return Op("flash.reserve", user, {"sku": "k1", "n": rng.randint(1, 4)})
        if kind == "stock":
            return Op("flash.stock", "host", {"sku": "k1", "total": rng.randint(0, 25)})
        body: dict[str, Any] = {"reservation": reservation}
        if kind == "confirm":
            n = self.model.state.get(reservation, ("", 1, ""))[1]
            amount = PRICE * n + rng.choice([0, 0, 0, 1])
            body |= {"amount": amount, "order": rng.choice(["o1", "o2"])}
        return Op(f"flash.{kind}", user, body)

    def judge(self, op: Op, reply: bytes) -> None:
        """Compare a reply with the model's, and go on with it."""
        said = orjson.loads(reply[1:])
        code = "" if reply[:1] == b"+" else said["code"]
        expected = getattr(self, "_" + op.name.partition(".")[2])(op, said)
        assert code == expected, (op, said, self.model)

    def _reserve(self, op: Op, said: Any) -> str:
        expected = self.model.reserve(op.user, op.body["n"])
        if not expected:
            self.model.state[said["reservation"]] = ("reserved", op.body["n"], op.user)
        return expected

    def _stock(self, op: Op, said: Any) -> str:
        if self.model.over:
            return "ended"
        if op.body["total"] < self.model.units("reserved", "paid"):
            return "below_held"
        self.model.total = op.body["total"]
        return ""

    def _confirm(self, op: Op, said: Any) -> str:
        state, n, _ = self.model.state.get(op.body["reservation"], ("", 0, ""))
        order, right = op.body["order"], op.body["amount"] == PRICE * n
        if state in ("", "expired"):
            return "expired" if state else "not_found"
        if state == "released":
            return "final"
        if state == "paid" and self.model.order[op.body["reservation"]] != order:
            return "final"
        if right and state == "reserved":
            self.model.end(op.body["reservation"], "paid")
            self.model.order[op.body["reservation"]] = order
        return "" if right else "amount_mismatch"

    def _release(self, op: Op, said: Any) -> str:
        state = self.model.state.get(op.body["reservation"], ("",))[0]
        if state == "reserved":
            self.model.end(op.body["reservation"], "released")
        return {"": "not_found", "paid": "final", "expired": "final"}.get(state, "")

    def _cancel(self, op: Op, said: Any) -> str:
        owner = self.model.state.get(op.body["reservation"], ("", 0, ""))[2]
        return self._release(op, said) if owner == op.user else "not_found"

    def time_passes(self) -> None:
        """Let everything that is held expire."""
        self.worker.node.store.skew_ms += HOLD_MS
        for reservation, (state, _, _) in list(self.model.state.items()):
            if state == "reserved":
                self.model.end(reservation, "expired")

    async def step(self) -> None:
        """Carry out one batch and compare everything."""
        ops = [self.next() for _ in range(self.rng.randint(1, 9))]
        replies = (await commit(self.worker, self.room, *ops)).replies
        for op, reply in zip(ops, replies, strict=True):
            self.judge(op, reply)
        found = await counts(self.worker, self.room)
        model = self.model
        assert found == (model.available, model.units("reserved"), model.units("paid"))


async def test_flash_any_sequence_keeps_the_books(pair: Pair, room: str) -> None:
    """Random operations in random batches do what a model of forty lines does."""
    worker = pair[0]
    for seed in range(SEEDS):
        name = f"{room}-{seed}"
        host = await open_room(worker, name, "k1")
        story = Story(random.Random(seed), worker, name)
        await arm(host, total=story.model.total, per_user=story.model.per_user)
        for step in range(40):
            if story.rng.random() < 0.06 and step <= 32:
                story.time_passes()
            if step == 32:
                await host.ask("flash.stop", sku="k1")
                story.model.over = True
            if step == 36:  # once: then the sale is still known
                story.time_passes()
            await story.step()
        await check(worker, name)
