"""Faults between the workers and the store: nothing durable is lost or doubled, viewers stay."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

import harness
import oracle
from faultproxy import FaultProxy
from faults.trial import accounts
from liveroom import node as node_module
from liveroom.core.position import Position
from liveroom.errors import StoreError
from liveroom.features import wallet
from liveroom.store import channels
from liveroom.store.embedded import EmbeddedServer
from liveroom.store.port import LogEntry, Op


PRICE = 100  # of a rose


@pytest.fixture
async def workers(
    store_url: str, start_worker: harness.StartWorker
) -> tuple[harness.Worker, harness.Worker]:
    return await start_worker(store_url), await start_worker(store_url)


@pytest.fixture
async def pair(
    embedded_url: str, start_worker: harness.StartWorker
) -> tuple[harness.Worker, harness.Worker]:
    """Two workers, where the kind of store does not matter."""
    return await start_worker(embedded_url), await start_worker(embedded_url)


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedServer]:
    """A store of the test's own, to be killed."""
    with EmbeddedServer(data_dir) as made:
        yield made


# What is asked again and again: viewers, gifts, books.


async def crowd(room: str, *workers: harness.Worker) -> list[harness.Client]:
    """Open the room; two viewers on each worker."""
    await workers[0].open_room(room)
    return [await w.join(room, f"viewer{i}") for i, w in enumerate(workers * 2)]


async def giver(worker: harness.Worker, room: str, user: str) -> harness.Client:
    """Join as a user with money."""
    client = await worker.join(room, user)
    await client.ask("wallet.get")
    return client


async def give(client: harness.Client, key: str) -> dict[str, Any]:
    """Send a rose until it is acknowledged, always with the same key."""
    async with asyncio.timeout(20):
        while True:
            reply = await client.command("gift.send", key=key, gift="rose", combo=False)
            if "err" not in reply:
                answer: dict[str, Any] = reply["d"]
                return answer
            assert reply["err"]["code"] in ("outcome_unknown", "unavailable"), reply
            await asyncio.sleep(0.05)


async def rain(givers: list[harness.Client], count: int) -> None:
    """Each gives this many roses, one after the other; all givers at once."""

    async def one(client: harness.Client) -> None:
        for number in range(count):
            await give(client, f"k{number}")

    await asyncio.gather(*(one(client) for client in givers))


async def log_of(worker: harness.Worker, room: str) -> list[LogEntry]:
    return await worker.node.store.read_log(room, Position("", 0, 0), 100_000)


async def gifts_in_log(worker: harness.Worker, room: str) -> list[dict[str, Any]]:
    items = [orjson.loads(entry.item) for entry in await log_of(worker, room)]
    return [item for item in items if item["ev"] == "gift.sent"]


async def expect_all_seen(worker: harness.Worker, room: str, viewers: list[harness.Client]) -> None:
    """Every viewer gets to the end of the log, and saw what the log says, in order, once."""
    log = {(e.seq, e.sub): orjson.loads(e.item) for e in await log_of(worker, room)}
    last = max(log)
    for viewer in viewers:
        await viewer.item(lambda item: (item.get("seq"), item.get("sub", 0)) == last)
    now = (await worker.node.hub.commit(room, [])).position.epoch
    for (epoch, seq, sub), item in oracle.agree(viewers).items():
        assert epoch != now or log[seq, sub] == item


async def balance(worker: harness.Worker, user: str) -> int:
    op = Op("wallet.get", user, {"user": user})
    reply = await worker.node.hub.submit(wallet.shard_of(user), op)
    amount: int = orjson.loads(reply[1:])["balance"]
    return amount


async def expect_books_balance(worker: harness.Worker, room: str, gifts: int) -> None:
    """Every posting has its counterpart, and the room was paid for the gifts that it showed."""
    books = await accounts(worker)
    assert sum(books.values()) == 0
    assert books.get(f"~room:{room}", 0) == gifts * PRICE
    assert len(await gifts_in_log(worker, room)) == gifts
    key = f"lr:{{{room}}}"
    store = worker.node.store
    flat = await store.ask(store._topology.address(key), "HGETALL", f"{key}:ledger")
    ledger = {k.decode(): int(v) for k, v in zip(flat[::2], flat[1::2], strict=True)}
    wanted = {"host": gifts * PRICE, "~paid": -gifts * PRICE} if gifts else {}
    assert ledger == wanted


async def settled(worker: harness.Worker) -> None:
    """Wait until nothing is held any more: settling follows the answer."""
    async with asyncio.timeout(8):
        while (await accounts(worker)).get("~held", 0):
            pass


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


async def on_every_node(worker: harness.Worker, *command: str) -> None:
    for address in worker.node.store.addresses():
        await worker.node.store.ask(address, *command)


# Channels.


async def test_killed_channel_links_lose_nothing(
    workers: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """Subscriptions die every few gifts: what went by meanwhile is read from the log."""
    viewers = await crowd(room, *workers)
    givers = [await giver(w, room, f"rich{i}-{room}") for i, w in enumerate(workers)]

    async def kill() -> None:
        await on_every_node(workers[0], "CLIENT", "KILL", "TYPE", "pubsub")

    async with repeatedly(kill, 0.06):
        await rain(givers, 60)

    await expect_all_seen(workers[0], room, viewers)
    await expect_books_balance(workers[0], room, 120)
    assert all(worker.node.store.reconnects for worker in workers)


async def test_lost_states_converge_after_a_killed_link(
    pair: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """A newer value that nobody heard is read when the subscription comes back."""
    viewers = await crowd(room, *pair)
    host = await pair[0].control(room)
    for number in range(10):
        await asyncio.gather(
            host.ask("room.update", title=f"title {number}"),
            on_every_node(pair[0], "CLIENT", "KILL", "TYPE", "pubsub"),
        )

    for viewer in viewers:
        await viewer.state("room", lambda d: d["title"] == "title 9")


async def test_stalled_channel_link_is_noticed_and_repaired(
    embedded_url: str,
    proxy: FaultProxy,
    start_worker: harness.StartWorker,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TCP lives, nothing comes: the canary's silence shows it, readiness falls and comes back."""
    monkeypatch.setattr(channels, "CANARY_EVERY_S", 0.05)
    monkeypatch.setattr(channels, "CANARY_SILENCE_S", 0.5)
    monkeypatch.setattr(node_module, "READY_SILENCE_S", 0.25)
    far, near = await start_worker(embedded_url), await start_worker(proxy.url)
    viewers = await crowd(room, near, far)
    sender = await giver(far, room, f"rich-{room}")
    await rain([sender], 3)
    assert near.node.unready == []

    for link in proxy.channel_links():
        link.hold()
    async with asyncio.timeout(8):
        while not near.node.unready:
            await give(sender, f"stalled-{len(sender.items)}")
        while near.node.unready:
            await give(sender, f"repaired-{len(sender.items)}")

    assert near.node.store.reconnects
    assert far.node.unready == []
    await expect_all_seen(far, room, viewers)


# The store itself.


async def test_script_flush_under_load_is_not_noticed(
    workers: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """The server forgets the script again and again: no error reaches anybody."""
    viewers = await crowd(room, *workers)
    givers = [await giver(w, room, f"rich{i}-{room}") for i, w in enumerate(workers)]

    async with repeatedly(lambda: on_every_node(workers[1], "SCRIPT", "FLUSH"), 0.01):
        for number in range(40):
            replies = [
                await c.command("gift.send", key=f"k{number}", gift="rose", combo=False)
                for c in givers
            ]
            assert all("err" not in reply for reply in replies), replies

    await expect_all_seen(workers[0], room, viewers)
    await expect_books_balance(workers[0], room, 80)
    assert any(worker.node.store.reloads for worker in workers), "the operator can tell"


async def test_store_whose_clock_jumps_is_told_of(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Forward and back: counted twice, and by the worker that was answered."""
    worker = await start_worker(embedded_url)
    await worker.open_room(room)
    assert worker.node.store.clock_jumps == 0
    for skew_ms in (600_000, 0):
        worker.node.store.skew_ms = skew_ms
        await worker.node.hub.commit(room, [])
        await worker.node.hub.commit(room, [])
    assert b"liveroom_store_clock_jumps_total 2.0" in worker.node.metrics.render()


def crash(server: EmbeddedServer) -> None:
    """SIGKILL the store's process."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.poll() is None:
        pass


async def test_store_crash_under_load_keeps_every_acknowledged_gift(
    server: EmbeddedServer, start_worker: harness.StartWorker, room: str
) -> None:
    """kill -9 and restart, three times: each acknowledged gift is there exactly once."""
    workers = [await start_worker(server.url, store_timeout_ms=500) for _ in range(2)]
    viewers = await crowd(room, *workers)
    givers = [await giver(w, room, f"rich{i}-{room}") for i, w in enumerate(workers)]
    epoch = viewers[0].hello["epoch"]
    load = asyncio.create_task(rain(givers, 150))

    for _ in range(3):
        await viewers[0].item(_new_gift(viewers[0]))
        crash(server)
        await asyncio.sleep(0.05)  # the time that it is away, not a wait
        server.restart()
    await load

    await settle_all(workers[0])
    await expect_all_seen(workers[0], room, viewers)
    await expect_books_balance(workers[0], room, 300)
    assert [await balance(workers[0], f"rich{i}-{room}") for i in range(2)] == [
        wallet.DEMO_MONEY - 150 * PRICE
    ] * 2
    assert {place[0] for place in oracle.agree(viewers)} == {epoch}
    assert all(viewer.close_code is None for viewer in viewers)


def _new_gift(viewer: harness.Client) -> Callable[[dict[str, Any]], bool]:
    """Return what recognises the tenth gift from now on."""
    wanted = len(viewer.events("gift.sent")) + 10
    return lambda _: len(viewer.events("gift.sent")) >= wanted


async def settle_all(worker: harness.Worker) -> None:
    """Finish what a crash cut off, as the recovery does after a while."""
    payments = wallet.Payments(worker.node.hub)
    async with asyncio.timeout(10):
        while (await accounts(worker)).get("~held", 0):
            wallet_stale, wallet.STALE_MS = wallet.STALE_MS, 0
            try:
                await payments.recover()
            finally:
                wallet.STALE_MS = wallet_stale


async def test_store_wiped_tells_every_viewer_and_goes_on(
    server: EmbeddedServer, data_dir: Path, start_worker: harness.StartWorker, room: str
) -> None:
    """History is gone: said once, resumed false with a snapshot, and the new epoch works."""
    workers = [await start_worker(server.url, store_timeout_ms=500) for _ in range(2)]
    viewers = await crowd(room, *workers)
    sender = await giver(workers[0], room, "rich")
    await rain([sender], 5)
    old = viewers[0].hello["epoch"]
    host = await workers[1].control(room)

    crash(server)
    shutil.rmtree(data_dir / "store" / "appendonlydir")
    server.restart()
    for viewer in viewers:
        gap = await viewer.event("sys.gap")
        assert gap["d"]["epoch"] != old
    assert (await open_again(host))["opened"] is True

    position = {"epoch": old, "seq": 3, "sub": 0}
    for viewer in viewers:
        greeting = await viewer.ask("sys.resume", resume=position)
        assert greeting["resumed"] is False
        assert greeting["epoch"] not in (old, "")
        assert "danmaku" in greeting["snapshot"]
    await sender.ask("wallet.get")
    await give(sender, "k-new")
    await expect_all_seen(workers[0], room, viewers)
    gaps = [len(viewer.events("sys.gap")) for viewer in viewers]
    assert max(gaps) <= 2, gaps  # the loss, and the new beginning


async def open_again(host: harness.Client) -> dict[str, Any]:
    """Open the room as soon as the store takes it."""
    async with asyncio.timeout(10):
        while True:
            reply = await host.command("room.open")
            if "err" not in reply:
                answer: dict[str, Any] = reply["d"]
                return answer
            await asyncio.sleep(0.05)


# Money.

GIFT_STEPS = (b'"wallet.hold"', b'"gift.send"', b'"wallet.settle"')


@pytest.mark.parametrize("step", GIFT_STEPS)
async def test_gift_with_a_lost_reply_has_one_effect(
    proxy: FaultProxy, start_worker: harness.StartWorker, room: str, step: bytes
) -> None:
    """Whichever step's answer is lost: the same key gives the stored answer; charged once."""
    worker = await start_worker(proxy.url)
    await worker.open_room(room)
    client = await giver(worker, room, f"payer-{room}")

    lost = proxy.lose_reply_to(step)
    first = await give(client, "k")
    async with asyncio.timeout(8):
        await lost.wait()
    again = await give(client, "k")

    assert orjson.dumps(first) == orjson.dumps(again)
    await settle_all(worker)
    assert await balance(worker, f"payer-{room}") == wallet.DEMO_MONEY - PRICE
    await expect_books_balance(worker, room, 1)


async def test_topup_with_a_lost_reply_has_one_effect(
    proxy: FaultProxy, start_worker: harness.StartWorker, room: str
) -> None:
    """The batch is sent again under its key, and the key gives the stored answer ever after."""
    worker = await start_worker(proxy.url)
    user = f"saver-{room}"
    op = Op("wallet.topup", user, {"user": user, "amount": 700}, "k", "digest")

    lost = proxy.lose_reply_to(b'"wallet.topup"')
    replies = [await worker.node.hub.submit(wallet.shard_of(user), op) for _ in range(3)]

    assert lost.is_set()
    assert replies == [b'+{"balance":700}'] * 3
    assert await balance(worker, user) == 700


class Cut:
    """A payment that is taken by hand as far as a test wants."""

    def __init__(self, worker: harness.Worker, room: str, user: str, key: str = "k") -> None:
        self.hub = worker.node.hub
        self.room = room
        self.user = user
        self.key = key

    def hold(self) -> dict[str, Any]:
        transfer = wallet.transfer_id(self.room, self.user, self.key)
        return {
            "t": transfer, "user": self.user, "amount": PRICE, "room": self.room, "key": self.key,
            "digest": "d",
        }  # fmt: skip

    async def take(self) -> None:
        op = Op("wallet.hold", self.user, self.hold())
        reply = await self.hub.submit(wallet.shard_of(self.user), op)
        assert reply[:1] == b"+", reply

    async def effect(self) -> bytes:
        body = {"gift": "rose", "n": 1, "combo": False, "price": PRICE, "name": "n", "balance": 0}
        op = Op("gift.send", self.user, body, self.key, "d")
        return await self.hub.submit(self.room, op)

    async def recover(self) -> None:
        await wallet.Payments(self.hub).recover()


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Payments count as cut off at once."""
    monkeypatch.setattr(wallet, "STALE_MS", 0)


@pytest.mark.usefixtures("no_patience")
async def test_payment_cut_off_before_its_effect_is_given_back(
    pair: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """Held, and then the worker died: another gives the money back, a late duplicate gets nothing."""
    user = f"payer-{room}"
    client = await paying_viewer(pair, room, user)
    cut = Cut(pair[0], room, user)
    await cut.take()
    assert await balance(pair[1], user) == wallet.DEMO_MONEY - PRICE

    await Cut(pair[1], room, user).recover()

    assert await balance(pair[1], user) == wallet.DEMO_MONEY
    late = await cut.effect()
    assert orjson.loads(late[1:])["code"] == "aborted"
    await expect_books_balance(pair[1], room, 0)
    assert client.events("gift.sent") == []


@pytest.mark.usefixtures("no_patience")
async def test_payment_cut_off_after_its_effect_is_settled(
    pair: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """The gift was shown, and then the worker died: another settles, once however many try."""
    user = f"payer-{room}"
    await paying_viewer(pair, room, user)
    cut = Cut(pair[0], room, user)
    await cut.take()
    await cut.effect()

    await asyncio.gather(*(Cut(worker, room, user).recover() for worker in pair * 2))

    assert await balance(pair[1], user) == wallet.DEMO_MONEY - PRICE
    await expect_books_balance(pair[1], room, 1)


@pytest.mark.usefixtures("no_patience")
async def test_payment_recovery_races_with_the_payer(
    pair: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """Whoever comes first to the room decides: a gift is either paid and shown, or neither."""
    user = f"payer-{room}"
    await paying_viewer(pair, room, user)
    cuts = [Cut(pair[0], room, user, f"k{number}") for number in range(12)]
    for cut in cuts:
        await cut.take()

    recoveries = [Cut(pair[1], room, user).recover() for _ in range(2)]
    results = await asyncio.gather(*(cut.effect() for cut in cuts), *recoveries)
    await Cut(pair[1], room, user).recover()

    shown = sum(isinstance(result, bytes) and result[:1] == b"+" for result in results)
    assert await balance(pair[1], user) == wallet.DEMO_MONEY - shown * PRICE
    await expect_books_balance(pair[1], room, shown)


async def paying_viewer(pair: Iterable[harness.Worker], room: str, user: str) -> harness.Client:
    first, *_ = pair
    await first.open_room(room)
    return await giver(first, room, user)


async def test_key_of_another_command_does_not_pay(
    pair: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """A key that the room knows from another command: refused, and the money comes back."""
    host = await pair[0].open_control(room, user=f"host-{room}")
    await host.ask("room.open", key="k")
    await host.ask("wallet.get")

    code = await host.refused("gift.send", key="k", gift="rose", combo=False)

    assert code == "key_mismatch"
    assert await balance(pair[0], f"host-{room}") == wallet.DEMO_MONEY
    await expect_books_balance(pair[0], room, 0)


async def test_key_whose_record_has_expired_is_refused(
    pair: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """After a day the room forgets its answer: the key then neither charges nor gives for free."""
    client = await paying_viewer(pair, room, f"payer-{room}")
    await give(client, "k")
    await settled(pair[0])
    for address in pair[0].node.store.addresses():
        await pair[0].node.store.ask(address, "DEL", f"lr:{{{room}}}:k:payer-{room}|k")

    code = await client.refused("gift.send", key="k", gift="rose", combo=False)

    assert code == "aborted"
    await expect_books_balance(pair[0], room, 1)
    assert await balance(pair[0], f"payer-{room}") == wallet.DEMO_MONEY - PRICE


async def test_duplicates_from_everywhere_have_one_effect(
    workers: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """Twenty connections of one user on two workers send the same keys at once."""
    viewers = await crowd(room, *workers)
    user, keys = f"payer-{room}", [f"k{number}" for number in range(8)]
    clients = [await giver(worker, room, user) for worker in workers * 10]

    calls = [
        client.ask("gift.send", key=key, gift="rose", combo=False)
        for client, key in itertools.product(clients, keys)
    ]
    answers = await asyncio.gather(*calls)

    by_key = [answers[start :: len(keys)] for start in range(len(keys))]
    assert all(len({orjson.dumps(answer) for answer in same}) == 1 for same in by_key)
    await settled(workers[0])
    assert await balance(workers[1], user) == wallet.DEMO_MONEY - len(keys) * PRICE
    await expect_books_balance(workers[0], room, len(keys))
    await expect_all_seen(workers[0], room, viewers)
