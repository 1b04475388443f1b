"""Many at once: fifty clients on two workers for a hundred units, and what each of them was told."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any

import orjson
import pytest

import harness
from liveroom.auth.claims import ANY_ROOM, Claims, Role
from liveroom.errors import CommandError, StoreError
from liveroom.features import wallet
from liveroom.store.port import Op
from proof.linear import Operation, is_linearizable


SEEDS = int(os.environ.get("LIVEROOM_TEST_SEEDS", "10"))
TOTAL, CLIENTS, PER_USER, PRICE = 100, 50, 6, 700
SHOP = Claims("shop", "shop", Role.SERVICE, ANY_ROOM, 2**40, 0, "jti", "")
SEEDS_PER_ROOM = 40

Pair = tuple[harness.Worker, harness.Worker]


@pytest.fixture
async def pair(embedded_url: str, start_worker: harness.StartWorker) -> Pair:
    return await start_worker(embedded_url), await start_worker(embedded_url)


class Told:
    """What the clients were told, to be compared with the store."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str], bytes] = {}
        self.held: dict[str, int] = {}
        self.paid: dict[str, int] = {}
        self.refused: Counter[str] = Counter()
        self.repeated = 0

    def answer(self, user: str, key: str, reply: dict[str, Any]) -> None:
        """Take a reply to a reservation: the same key must always have the same."""
        if "err" in reply:
            assert (user, key) not in self.by_key, (user, key, reply)
            self.refused[reply["err"]["code"]] += 1
            return
        text = orjson.dumps(reply["d"])
        if (user, key) in self.by_key:
            assert self.by_key[user, key] == text, (user, key)
            self.repeated += 1
            return
        self.by_key[user, key] = text
        self.held[reply["d"]["reservation"]] = reply["d"]["n"]


class Sale:
    """One sale of a hundred units, and fifty clients that want them."""

    def __init__(self, pair: Pair, room: str, clients: list[harness.Client], seed: int) -> None:
        self.pair = pair
        self.room = room
        self.clients = clients
        self.sku = f"k{seed}"
        self.told = Told()
        self.random = random.Random(seed)

    async def arm(self, host: harness.Client) -> None:
        """Put a SKU on the shelf and sell it."""
        sku = {"sku": self.sku, "price": 1000, "stock": TOTAL}
        await host.ask("shelf.put", item=f"i{self.sku}", title="T", currency="CNY", skus=[sku])
        await host.ask(
            "flash.arm", key=f"arm-{self.sku}", sale=f"s{self.sku}", sku=self.sku, price=PRICE,
            total=TOTAL, per_user=PER_USER, starts_in_s=0, run_s=0,
        )  # fmt: skip

    async def hammer(self) -> None:
        """Everybody at once: reserve, repeat, give up, pay, all in each one's own order."""
        programs = [self.plan(number) for number in range(CLIENTS)]
        await asyncio.gather(*(self.act(n, plan) for n, plan in enumerate(programs)))

    def plan(self, number: int) -> list[tuple[str, int, str]]:
        """Choose what a client will do: (what, units, key)."""
        kinds = ["reserve", "reserve", "again", "cancel", "pay"]
        count = self.random.randint(4, 9)
        return [
            (self.random.choice(kinds), self.random.randint(1, 3), f"{self.sku}-{self.random.randint(1, 5)}")
            for _ in range(count)
        ]  # fmt: skip

    async def act(self, number: int, plan: list[tuple[str, int, str]]) -> None:
        """Follow a plan. Clients come in pairs: two connections of one user on two workers."""
        user, mine = f"u{number // 2}", list[str]()
        units: dict[str, int] = {}
        for what, wanted, key in plan:
            # A key always means the same; the user's other connection has keys of its own.
            name, n = f"{key}-{number % 2}", units.setdefault(key, wanted)
            if what in ("reserve", "again"):
                mine += await self.reserve(number, user, name, n, twice=what == "again")
            elif mine:
                await self.end(number, mine.pop(), pay=what == "pay")

    async def reserve(self, number: int, user: str, key: str, n: int, *, twice: bool) -> list[str]:
        """Reserve; `twice`: at the same moment over the user's other connection on the other worker."""
        known = (user, key) in self.told.by_key
        sent = [self.clients[number], self.clients[number ^ 1]] if twice else [self.clients[number]]
        replies = await asyncio.gather(
            *(client.command("flash.reserve", key=key, sku=self.sku, n=n) for client in sent)
        )
        # Both may be refused, or the second may come when something was given back meanwhile.
        for reply in sorted(replies, key=lambda reply: "err" not in reply):
            self.told.answer(user, key, reply)
        done = [reply["d"]["reservation"] for reply in replies if "d" in reply]
        return done[:1] if not known else []

    async def end(self, number: int, reservation: str, *, pay: bool) -> None:
        """Give a reservation up, or have the shop say that it is paid, on any worker."""
        units = self.told.held.pop(reservation)
        if not pay:
            await self.clients[number].ask("flash.cancel", reservation=reservation)
            return
        await self.confirm(self.pair[number % 2], reservation, units)
        self.told.paid[reservation] = units

    async def confirm(self, worker: harness.Worker, reservation: str, units: int) -> None:
        """Confirm as the commerce back end, twice at once: it may not count twice."""
        body = {
            "reservation": reservation,
            "amount": units * PRICE,
            "order": f"o-{reservation[-8:]}",
        }
        answers = await asyncio.gather(
            *(
                worker.node.hub.perform(self.room, SHOP, "flash.confirm", body, key)
                for key in ("", reservation[-12:])
            )
        )
        assert answers[0] == answers[1]

    async def sell_out(self) -> None:
        """Pay what is held, and sell the rest to others until nothing is left."""
        for reservation, units in list(self.told.held.items()):
            await self.end(0, reservation, pay=True)
            assert self.told.paid[reservation] == units
        for number in itertools.count():
            user = Claims(f"late{number}", "", Role.VIEWER, self.room, 2**40, 0, "jti", "")
            hub = self.pair[number % 2].node.hub
            try:
                answer = await hub.perform(
                    self.room, user, "flash.reserve", {"sku": self.sku, "n": 1}, f"late-{self.sku}"
                )
            except CommandError as refused:
                assert refused.code.name == "sold_out", refused  # noqa: PT017  # which one it is
                break
            await self.confirm(self.pair[0], answer["reservation"], 1)
            self.told.paid[answer["reservation"]] = 1

    async def expect_exact(self) -> None:
        """Exactly a hundred are sold, to those who were told so, and the books say the same."""
        assert sum(self.told.paid.values()) == TOTAL
        store = self.pair[0].node.store
        key = f"lr:{{{self.room}}}"
        flat = await store.ask(store.addresses()[0], "HGET", f"{key}:sale:{self.sku}", "n")
        number = flat.decode()
        book = orjson.loads(await store.ask(store.addresses()[0], "GET", f"{key}:flash:s:{number}"))
        assert (book["available"], book["reserved"], book["sold"]) == (0, 0, TOTAL)
        rows = await store.ask(store.addresses()[0], "HGETALL", f"{key}:flash:r:{number}")
        ended = dict(zip(rows[::2], rows[1::2], strict=True))
        paid = {name.decode(): int(t.split(b"|")[1]) for name, t in ended.items() if t[:1] == b"p"}
        assert paid == self.told.paid


async def expect_sound(worker: harness.Worker, room: str) -> None:
    """Every feature's own check of the room."""
    committed = await worker.node.hub.commit(room, [Op("sys.check", "", {"full": True})])
    found = orjson.loads(committed.replies[0][1:])
    assert "broken" not in found, found["broken"]


@pytest.mark.timeout(1800)
async def test_concurrency_a_hundred_units_are_sold_a_hundred_times(pair: Pair, room: str) -> None:
    """Ten seeds, or LIVEROOM_TEST_SEEDS: 0 oversold, 0 lost, every repetition answered alike."""
    began, told = time.monotonic(), Counter[str]()
    for first in range(0, SEEDS, SEEDS_PER_ROOM):
        name = f"{room}-{first}"
        host = await pair[0].open_control(name)
        await host.ask("room.open")
        clients = [await pair[n % 2].join(name, f"u{n // 2}") for n in range(CLIENTS)]
        for seed in range(first, min(first + SEEDS_PER_ROOM, SEEDS)):
            sale = Sale(pair, name, clients, seed)
            await sale.arm(host)
            await sale.hammer()
            await sale.sell_out()
            await sale.expect_exact()
            told.update(sale.told.refused)
            told.update(reserved=len(sale.told.by_key), repeated=sale.told.repeated, seeds=1)
        await expect_sound(pair[1], name)
        for client in [*clients, host]:
            await client.close()
    sys.stdout.write(f"\n{dict(told)} in {time.monotonic() - began:.1f} s\n")
    assert told["repeated"]
    assert told["sold_out"]


# The same key, the same answer.


async def on_every_node(worker: harness.Worker, *command: str) -> None:
    for address in worker.node.store.addresses():
        await worker.node.store.ask(address, *command)


@asynccontextmanager
async def repeatedly(work: Callable[[], Awaitable[object]], seconds: float) -> AsyncIterator[None]:
    """Do something every so often while the block runs."""

    async def loop() -> None:
        while True:
            with suppress(StoreError):
                await work()
            await asyncio.sleep(seconds)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def raw(client: harness.Client, op: str, key: str, **d: Any) -> bytes:
    """Return the bytes of a reply, without its number."""
    reply = await client.command(op, key=key, **d)
    del reply["re"]
    return orjson.dumps(reply)


async def test_concurrency_a_key_is_answered_alike_everywhere_for_ever(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Over workers, a worker that is new, and a script cache that is emptied all the time."""
    first, second = await start_worker(store_url), await start_worker(store_url)
    host = await first.open_control(room)
    await host.ask("room.open")
    sku = {"sku": "k", "price": 1000, "stock": 9}
    await host.ask("shelf.put", item="i", title="T", currency="CNY", skus=[sku])
    arm = {"sale": "s", "sku": "k", "price": 700, "total": 5, "per_user": 5, "starts_in_s": 0}
    poll = {"poll": "p", "title": "Which?", "options": ["a", "b"], "seconds": 0}
    steer = [("flash.arm", "a", arm), ("poll.open", "o", poll)]
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("gift.send", "g", {"gift": "rose", "n": 2, "combo": False}),
        ("flash.reserve", "r", {"sku": "k", "n": 2}),
        ("flash.reserve", "s", {"sku": "k", "n": 1}),
        ("poll.vote", "v", {"poll": "p", "options": [1]}),
    ]
    user = f"payer-{room}"
    viewers = [await worker.join(room, user) for worker in (first, second)]
    await viewers[0].ask("wallet.get")

    async with repeatedly(lambda: on_every_node(first, "SCRIPT", "FLUSH"), 0.005):
        answers = {key: await raw(host, op, key, **d) for op, key, d in steer}
        answers |= {key: await raw(viewers[0], op, key, **d) for op, key, d in asked}
        third = await start_worker(store_url)
        hosts = [host, await second.control(room), await third.control(room)]
        viewers.append(await third.join(room, user))
        for _ in range(3):
            for control, viewer in zip(hosts, viewers, strict=True):
                for op, key, d in steer:
                    assert await raw(control, op, key, **d) == answers[key]
                for op, key, d in asked:
                    assert await raw(viewer, op, key, **d) == answers[key]

    assert all(b'"err"' not in answer for answer in answers.values()), answers
    reply = await first.node.hub.submit(
        wallet.shard_of(user), Op("wallet.get", user, {"user": user})
    )
    assert orjson.loads(reply[1:])["balance"] == wallet.DEMO_MONEY - 200
    await expect_sound(first, room)


# Histories: an order must explain what everybody was told.

Stock = tuple[int, frozenset[tuple[str, int]]]


def _stock_step(state: Stock, op: Operation) -> Stock | None:
    """One SKU: units that are left, and what is held."""
    left, held = state
    kind, what, n = op.asked
    told = op.told
    if kind == "reserve":
        if told == "sold_out":
            return state if left < n else None
        return (left - n, held | {(told, n)}) if left >= n else None
    if told != "ok":
        return None
    return (left + n, held - {(what, n)}) if (what, n) in held else None


@pytest.mark.parametrize("seed", range(4))
async def test_concurrency_stock_is_linearizable(pair: Pair, room: str, seed: int) -> None:
    """Reservations and cancellations of one SKU, ten units, eight clients on two workers."""
    chance, history = random.Random(seed), list[Operation]()
    host = await pair[0].open_control(room)
    await host.ask("room.open")
    await host.ask(
        "shelf.put", item="i", title="T", currency="CNY", skus=[{"sku": "k", "price": 1000}]
    )
    await host.ask(
        "flash.arm", key="a", sale="s", sku="k", price=700, total=10, per_user=100, starts_in_s=0
    )

    async def act(number: int) -> None:
        client, held = await pair[number % 2].join(room, f"v{number}"), list[tuple[str, int]]()
        for turn in range(20):
            began = time.monotonic()
            if held and chance.random() < 0.45:
                name, n = held.pop()
                reply = await client.command("flash.cancel", reservation=name)
                asked, told = ("cancel", name, n), "ok" if "d" in reply else reply["err"]["code"]
            else:
                n = chance.randint(1, 4)
                reply = await client.command("flash.reserve", key=f"k{turn}", sku="k", n=n)
                told = reply["d"]["reservation"] if "d" in reply else reply["err"]["code"]
                asked = ("reserve", "", n)
                if "d" in reply:
                    held.append((told, n))
            history.append(Operation(began, time.monotonic(), asked, told))

    await asyncio.gather(*(act(number) for number in range(8)))

    assert len(history) == 160
    assert {op.told for op in history if op.asked[0] == "cancel"} <= {"ok"}
    assert any(op.told == "sold_out" for op in history)
    assert is_linearizable(history, (10, frozenset[tuple[str, int]]()), _stock_step)


def _wallet_step(state: int, op: Operation) -> int | None:
    """One wallet: the balance after each thing that was done to it."""
    kind, amount = op.asked
    if kind == "pay":
        if op.told == "insufficient_funds":
            return state if state < amount else None
        return state - amount if state >= amount and op.told in (None, state - amount) else None
    after = state + amount
    return after if op.told in (None, after) else None


@pytest.mark.parametrize("seed", range(4))
async def test_concurrency_wallet_is_linearizable(pair: Pair, room: str, seed: int) -> None:
    """Gifts, top-ups and looks at one balance, from eight places on two workers."""
    chance, history, user = random.Random(seed), list[Operation](), f"payer-{room}"
    host = await pair[0].open_control(room)
    await host.ask("room.open")
    wealth = {"user": user, "amount": 500}
    await pair[0].node.hub.perform(room, SHOP, "wallet.topup", wealth, "begin")
    claims = Claims(user, user, Role.VIEWER, room, 2**40, 0, "jti", "")

    async def act(number: int) -> None:
        hub = pair[number % 2].node.hub
        for turn in range(20):
            kind = chance.choice(("pay", "pay", "topup", "look"))
            began = time.monotonic()
            if kind == "pay":
                n = chance.randint(1, 3)
                asked = ("pay", n * 100)
                body = {"gift": "rose", "n": n, "combo": False}
                told = await _balance_after(
                    hub.perform(room, claims, "gift.send", body, f"{number}-{turn}")
                )
            elif kind == "topup":
                amount = chance.choice((100, 200))
                body, asked = {"user": user, "amount": amount}, ("add", amount)
                told = await _balance_after(
                    hub.perform(room, SHOP, "wallet.topup", body, f"{number}-{turn}")
                )
            else:
                asked = ("add", 0)
                told = await _balance_after(
                    hub.perform(room, SHOP, "wallet.of", {"user": user}, "")
                )
            history.append(Operation(began, time.monotonic(), asked, told))

    await asyncio.gather(*(act(number) for number in range(8)))

    assert len(history) == 160
    assert any(op.told == "insufficient_funds" for op in history)
    assert is_linearizable(history, 500, _wallet_step)
    assert all(op.ended < inf for op in history)


async def _balance_after(asked: Awaitable[dict[str, Any]]) -> int | str:
    try:
        balance: int = (await asked)["balance"]
    except CommandError as refused:
        return refused.code.name
    return balance
