"""Faults on the viewers' side and of the worker itself, each judged by the shared scenario."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import harness
from faultproxy import FaultProxy
from faults.conftest import Stage


SMALL = (3, 2, 1)  # viewers, givers, buyers
REFUSED = "liveroom_handshakes_refused_total"


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
    await show.verdict(None)


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
