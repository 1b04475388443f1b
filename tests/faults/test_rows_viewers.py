"""Faults on the viewers' side and of the worker itself, each judged by the shared scenario."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import harness
from faultproxy import FaultProxy, Pair
from faults.conftest import Stage
from faults.fan import Fan
from faults.people import Buyer, Giver, Item, Person
from liveroom import Delivery, EventSpec, Op, Plugin


SMALL = (3, 2, 1)  # viewers, givers, buyers
REFUSED = "liveroom_handshakes_refused_total"


@pytest.fixture
async def fronts(
    embedded_url: str, start_worker: harness.StartWorker, tmp_path: Path
) -> AsyncIterator[tuple[list[harness.Worker], list[FaultProxy]]]:
    """Two workers, each behind a proxy."""
    workers = [await start_worker(embedded_url) for _ in range(2)]
    async with AsyncExitStack() as stack:
        proxies = [FaultProxy(f"127.0.0.1:{worker.port}", tmp_path) for worker in workers]
        yield workers, [await stack.enter_async_context(proxy) for proxy in proxies]


async def test_f15_callers_gone_in_flight(
    embedded_url: str, fronts: tuple[list[harness.Worker], list[FaultProxy]], stage: Stage
) -> None:
    """RST a moment after a command, while it is committed: asked again, it has one answer."""
    workers, proxies = fronts
    loop, rng, resets = asyncio.get_running_loop(), random.Random(15), 0

    def go(pair: Pair) -> None:
        nonlocal resets
        resets += 1
        pair.reset()

    def look(pair: Pair, _: bytes) -> None:
        if pair.down.passed > 4000 and rng.random() < 0.3:  # it was greeted
            loop.call_later(rng.uniform(0, 0.006), go, pair)

    show = await stage(
        "F15",
        "callers that reset right after commands",
        embedded_url,
        workers,
        fronts=lambda: [proxy.address for proxy in proxies],
    )
    for proxy in proxies:
        proxy.on_up = look
    await show.acks(160)
    for proxy in proxies:
        proxy.on_up = lambda _, __: None
    await show.recovered()
    await show.verdict(None)
    show.figures.note = f"{resets} resets"
    assert resets >= 20


class Flood(Plugin):
    """Events that last, of any size."""

    name = "flood"
    events = (EventSpec("t.said", Delivery.DURABLE, "test"),)
    lua = "ops['t.say'] = function(op) emit('t.said', {text = string.rep('x', op.d.size)}) end"


def narrow(info: Any) -> socket.socket:
    """Return a socket that the kernel takes little for."""
    made = socket.socket(info[0], info[1], info[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


async def test_f16_viewer_that_does_not_read(
    embedded_url: str, start_worker: harness.StartWorker, stage: Stage, room: str
) -> None:
    """It stops reading under a flood: sent away at its limit, back where it was; others go on."""
    settings: dict[str, Any] = {"slow_bytes": 60_000, "slow_close_bytes": 200_000}
    worker = await start_worker(embedded_url, plugins=[Flood()], **settings)
    show = await stage("F16", "a viewer reads nothing under a flood", embedded_url, [worker])
    sleepy = Fan(show.ledger, room, "sleepy", show.fronts)
    connector = aiohttp.TCPConnector(socket_factory=narrow)
    async with aiohttp.ClientSession(connector=connector) as session:
        await show.come(sleepy, session)
        sleepy.awake.clear()
        said = Op("t.say", "", {"size": 20_000})

        async def closed() -> bool:
            await worker.node.hub.commit(room, [said])
            return b'liveroom_closes_total{code="4003"}' in worker.node.metrics.render()

        await harness.until(closed)
        unsent = sum(connection.unsent() for connection in worker.node.front.connections)
        sleepy.awake.set()

        async def back() -> bool:
            return sleepy.back >= 1

        await harness.until(back)
        await show.recovered()
        await show.verdict("liveroom_closes_total")
        show.figures.note = f"{unsent} bytes waited for it"
        assert sleepy.back >= 1
        assert all(
            person.back == 0 for person in [*show.fans, *show.givers] if person is not sleepy
        )


async def test_f17_viewer_in_a_black_hole(
    embedded_url: str, tmp_path: Path, start_worker: harness.StartWorker, stage: Stage, room: str
) -> None:
    """TCP lives, nobody answers a ping: closed, and counted no more."""
    worker = await start_worker(embedded_url, heartbeat_s=0.3, dead_after_s=1.0)
    show = await stage("F17", "viewer in a black hole", embedded_url, [worker], crowd=SMALL)
    async with FaultProxy(f"127.0.0.1:{worker.port}", tmp_path) as proxy:
        zombie = await harness.Client.open(f"ws://{proxy.address}/ws")
        await zombie.ask("hello", room=show.room, token=worker.token(show.room, user="zombie"))
        there = len(worker.node.front.connections)
        await show.acks()
        for pair in proxy.pairs:
            pair.hold()

        async def gone() -> bool:
            return len(worker.node.front.connections) < there

        await harness.until(gone)
        await show.recovered()
        await show.verdict("liveroom_closes_total")
        users = {viewer.claims.user for viewer in worker.node.hub.room_for(show.room).viewers}
        assert "zombie" not in users
        proxy.reset()
        await zombie.close()


async def test_f18_herd_of_viewers(
    embedded_url: str, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """300 viewers lose their connections at once: refused above the rate, back soon, one read."""
    workers = [await start_worker(embedded_url, handshakes_per_s=40.0) for _ in range(2)]
    show = await stage("F18", "300 viewers at once", embedded_url, workers, crowd=(300, 1, 1))
    reads = await log_reads(workers[0])
    for worker in workers:
        for connection in list(worker.node.front.connections):
            connection.abort()
    await show.recovered()
    show.figures.note = f"{await log_reads(workers[0]) - reads} reads of logs"
    await show.verdict(REFUSED)
    assert await log_reads(workers[0]) - reads < 100  # of both workers, for all their scopes
    assert sum(fan.back for fan in show.fans) >= 300


async def log_reads(worker: harness.Worker) -> int:
    """Return how often the store was asked for a piece of a log."""
    (address,) = worker.node.store.addresses()
    stats = (await worker.node.store.ask(address, "INFO", "commandstats")).decode()
    (line,) = [line for line in stats.splitlines() if line.startswith("cmdstat_xrange:")] or [""]
    return int(line.split("calls=")[1].split(",")[0]) if line else 0


@pytest.mark.chaos
async def test_f19_clocks_jump(
    embedded_url: str, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """The time of commits is ten minutes later or earlier, by who commits: nothing breaks."""
    workers = [await start_worker(embedded_url) for _ in range(2)]
    show = await stage(
        "F19", "clock of the store jumps by 10 min", embedded_url, workers, crowd=SMALL
    )
    await show.acks()
    workers[0].node.store.skew_ms, workers[1].node.store.skew_ms = 300_000, -300_000
    await show.acks(30)
    workers[0].node.store.skew_ms = workers[1].node.store.skew_ms = 0
    await show.recovered()
    await show.verdict("liveroom_store_clock_jumps_total")


async def test_f20_loop_stalls(
    embedded_url: str, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """A handler holds the loop: measured, and nobody is sent away."""
    workers = [await start_worker(embedded_url) for _ in range(2)]
    show = await stage("F20", "event loop held for 0.5 s", embedded_url, workers, crowd=SMALL)
    await show.acks()
    time.sleep(0.5)  # noqa: ASYNC251 -- the fault
    await show.recovered()
    await show.verdict("liveroom_loop_lag_seconds")
    assert all(person.back == 0 for person in [*show.fans, *show.givers])
    assert show._peak["liveroom_loop_lag_seconds"] >= 0.2


async def test_f23_worker_drains(
    embedded_url: str, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """One of two workers leaves; its viewers go on at the other, and no outcome is unknown."""
    workers = [await start_worker(embedded_url) for _ in range(2)]
    addresses = [f"127.0.0.1:{worker.port}" for worker in workers]
    show = await stage(
        "F23",
        "one of two workers drains",
        embedded_url,
        workers,
        crowd=SMALL,
        fronts=lambda: addresses,
    )
    await show.acks()
    addresses.pop(0)
    workers[0].node.draining = True
    await workers[0].web.stop_accepting()
    await workers[0].node.drain(1.0)
    await show.recovered()
    await show.verdict("liveroom_draining")
    assert "outcome_unknown" not in show.ledger.codes


class Thrice(Person):
    """Sends each command three times at once, over two connections."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.echo = Person(*args)

    async def live(self, session: aiohttp.ClientSession) -> None:
        """Be there twice, at two workers."""
        self.echo.turn = self.turn + 1
        await asyncio.gather(super().live(session), self.echo.live(session))

    async def leave(self) -> None:
        """End both."""
        await asyncio.gather(super().leave(), self.echo.leave())

    async def until_done(self, op: str, key: str, **d: Any) -> Item:
        """Ask three times at once; the answers have to be the same."""
        asked: list[Callable[..., Awaitable[Item]]] = [super().until_done, super().until_done]
        asked.append(self.echo.until_done)
        first, *others = await asyncio.gather(*(ask(op, key, **d) for ask in asked))
        for other in others:
            self.ledger.again += 1
            if {**other, "re": 0} != {**first, "re": 0}:
                self.ledger.wrong.append(f"{self.user} {key}: {other} beside {first}")
        return first


class ThriceGiver(Thrice, Giver):
    """Gives."""


class ThriceBuyer(Thrice, Buyer):
    """Buys; the shop confirms three times at once, too."""

    async def _pay(self, *args: Any) -> None:
        await asyncio.gather(*(super(ThriceBuyer, self)._pay(*args) for _ in range(3)))


async def test_f25_every_command_three_times_at_once(
    embedded_url: str, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """From two connections, at two workers: one effect, one answer, and nothing to be told."""
    workers = [await start_worker(embedded_url) for _ in range(2)]
    show = await stage(
        "F25",
        "every command three times at once",
        embedded_url,
        workers,
        giver=ThriceGiver,
        buyer=ThriceBuyer,
    )
    await show.acks(100)
    await show.recovered()
    await show.verdict(None)
    assert show.figures.again > show.figures.acked
