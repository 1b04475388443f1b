"""Faults of the store and on the way to it, each judged by the shared scenario (`trial.py`).

One function for each row of the catalogue; others are in the files beside. Rows without
a function here are in the table of `docs/faults.md` with the test that covers them.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
import servers
from faultproxy import FaultProxy
from faults.conftest import Stage
from faults.figures import SLOW
from liveroom import node as node_module
from liveroom.store import channels
from liveroom.store.embedded import EmbeddedServer


FAILED = "liveroom_commit_failures_total"
RECONNECTED = "liveroom_channel_reconnects_total"
ANY = 10**9
SMALL = (3, 2, 1)  # viewers, givers, buyers

needs_redis = pytest.mark.skipif(
    servers.debian_redis() is None, reason="no redis-server >= 7.0 on PATH"
)


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedServer]:
    """A store of the test's own, synced before every answer."""
    with EmbeddedServer(data_dir) as made:
        yield made


@pytest.fixture
def redis_server(home: Path) -> Iterator[servers.ExternalRedis]:
    """A redis-server of the test's own, synced every second; it bears a file that cannot grow."""
    binary = servers.debian_redis()
    assert binary is not None, "skipped without"
    home.mkdir()
    with servers.ExternalRedis(home, binary=servers.bearing_file_limits(binary, home)) as made:
        yield made


@pytest.fixture
async def two(
    embedded_url: str, proxy: FaultProxy, start_worker: harness.StartWorker
) -> list[harness.Worker]:
    """Two workers on one store; the second has the proxy in between."""
    return [
        await start_worker(embedded_url, store_timeout_ms=500),
        await start_worker(proxy.url, store_timeout_ms=500),
    ]


def crash(server: EmbeddedServer) -> None:
    """SIGKILL the store's process."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.poll() is None:
        pass


@pytest.mark.chaos
async def test_f01_store_killed(
    server: EmbeddedServer, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """SIGKILL, and back on its log: nobody is sent away, nothing acknowledged is lost."""
    workers = [await start_worker(server.url, store_timeout_ms=500) for _ in range(2)]
    show = await stage("F1", "kill -9 of the store, fsync", server.url, workers, crowd=SMALL)
    await show.acks()
    crash(server)
    await asyncio.sleep(0.1)  # the time that it is away, not a wait
    server.restart()
    await show.recovered()
    await show.verdict(RECONNECTED)
    assert all(person.back == 0 for person in [*show.fans, *show.givers])


@needs_redis
@pytest.mark.chaos
async def test_f01_store_without_a_log_killed(
    forgetful: servers.ExternalRedis, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """Level `memory`: everything is gone, every viewer is told, and the room begins anew."""
    workers = [await start_worker(forgetful.url, store_timeout_ms=500) for _ in range(2)]
    show = await stage("F1", "kill -9 of the store", forgetful.url, workers, crowd=SMALL)
    await show.acks()
    forgetful.kill()
    await asyncio.sleep(0.1)  # the time that it is away, not a wait
    forgetful.start()
    await show.set_the_stage(len(show.givers))  # the host comes again, and so does the money
    await show.recovered()
    await show.verdict("liveroom_epochs_lost_total", may_lose=ANY, may_be_told=True, may_err=True)
    assert show.ledger.told >= len(show.fans)
    assert len(show.lost) >= 10  # all but those that were asked for again and happened anew


@pytest.fixture
def forgetful(home: Path) -> Iterator[servers.ExternalRedis]:
    """A redis-server of the test's own that writes nothing to a disk."""
    with servers.ExternalRedis(home / "redis", ["--appendonly", "no"]) as made:
        yield made


@pytest.mark.chaos
async def test_f06_channel_links_killed(
    embedded_url: str, two: list[harness.Worker], stage: Stage
) -> None:
    """Subscriptions die again and again."""
    show = await stage("F6", "channel links killed 4 times", embedded_url, two, crowd=SMALL)
    for _ in range(4):
        await show.acks(8)
        (address,) = two[0].node.store.addresses()
        await two[0].node.store.ask(address, "CLIENT", "KILL", "TYPE", "pubsub")
    await show.recovered()
    await show.verdict(RECONNECTED)


@pytest.mark.chaos
async def test_f07_channel_link_in_a_black_hole(
    embedded_url: str,
    two: list[harness.Worker],
    proxy: FaultProxy,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TCP lives, nothing comes: the canary's silence shows it."""
    monkeypatch.setattr(channels, "CANARY_EVERY_S", 0.05)
    monkeypatch.setattr(channels, "CANARY_SILENCE_S", 0.5)
    monkeypatch.setattr(node_module, "READY_SILENCE_S", 0.25)
    show = await stage("F7", "channel link in a black hole", embedded_url, two, crowd=SMALL)
    await show.acks()
    for link in proxy.channel_links():
        link.hold()
    await harness.until(lambda: _unready(two[1]))
    await show.recovered()
    await show.verdict(RECONNECTED)
    assert two[1].node.unready == []


async def _unready(worker: harness.Worker) -> bool:
    return bool(worker.node.unready)


@pytest.mark.chaos
async def test_f09_scripts_flushed(
    embedded_url: str, two: list[harness.Worker], stage: Stage
) -> None:
    """The server forgets the script all the time: nobody but the operator can tell."""
    show = await stage("F9", "SCRIPT FLUSH 10 times", embedded_url, two, crowd=SMALL)
    for _ in range(10):
        await show.acks(2)
        (address,) = two[0].node.store.addresses()
        await two[0].node.store.ask(address, "SCRIPT", "FLUSH")
    await show.recovered()
    await show.verdict("liveroom_script_reloads_total")
    assert not show.ledger.codes


async def test_f14b_replies_cut(
    embedded_url: str, two: list[harness.Worker], proxy: FaultProxy, stage: Stage
) -> None:
    """The connection ends after a few more bytes of an answer, wherever in it that is."""
    show = await stage("F14b", "answers cut after 0 to 400 bytes", embedded_url, two, crowd=SMALL)
    rng = random.Random(14)
    for _ in range(8):
        await show.acks(4)
        for link in proxy.command_links():
            link.down.cut_after = rng.randint(0, 400)
    await show.recovered()
    await show.verdict(FAILED)


@pytest.mark.parametrize("how", [pytest.param("reset", marks=pytest.mark.chaos), "half_close"])
async def test_f14b_connections_broken(
    embedded_url: str, two: list[harness.Worker], proxy: FaultProxy, stage: Stage, how: str
) -> None:
    """RST, or a FIN from the server's side, on everything that is open."""
    show = await stage("F14b", f"store connections: {how}", embedded_url, two, crowd=SMALL)
    for _ in range(4):
        await show.acks(8)
        for pair in list(proxy.pairs):
            getattr(pair, how)()
    await show.recovered()
    await show.verdict(RECONNECTED)


async def test_f27_store_stopped(
    server: EmbeddedServer, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """SIGSTOP for longer than a call may take: `outcome_unknown` in time, then all goes on."""
    workers = [await start_worker(server.url, store_timeout_ms=300) for _ in range(2)]
    show = await stage(
        "F27", "store stopped for 1 s, deadline 300 ms", server.url, workers, crowd=SMALL
    )
    await show.acks()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    await asyncio.sleep(1.0)  # the fault's length, not a wait
    os.kill(server.pid, signal.SIGCONT)
    await show.recovered()
    await show.verdict(FAILED)


@pytest.mark.chaos
async def test_f27_store_slow(
    embedded_url: str, two: list[harness.Worker], proxy: FaultProxy, stage: Stage
) -> None:
    """300 ms on the way to the store: slow, and nothing else."""

    def slow(pair: object) -> None:
        pair.up.latency_s = 0.3  # type: ignore[attr-defined]  # a Pair

    show = await stage("F27", "300 ms to the store of one worker", embedded_url, two, crowd=SMALL)
    await show.acks()
    two[1].node.store._timeout_s = 2.0
    for pair in proxy.pairs:
        slow(pair)
    proxy.on_pair = slow
    await show.acks(30)
    for pair in proxy.pairs:
        pair.up.latency_s = 0.0
    proxy.on_pair = lambda _: None
    await show.recovered()
    await show.verdict(SLOW)


async def test_f27_store_in_a_black_hole(
    embedded_url: str, two: list[harness.Worker], proxy: FaultProxy, stage: Stage
) -> None:
    """One worker's way to the store swallows everything; the other's viewers notice nothing."""
    show = await stage(
        "F27", "black hole to the store of one worker", embedded_url, two, crowd=SMALL
    )
    await show.acks()
    for pair in proxy.pairs:
        pair.hold()
    proxy.on_pair = lambda pair: pair.hold()
    await harness.until(lambda: _failing(two[1]))
    proxy.on_pair = lambda _: None
    for pair in proxy.pairs:
        pair.release()
    await show.recovered()
    await show.verdict(FAILED)


async def _failing(worker: harness.Worker) -> bool:
    return b"liveroom_commit_failures_total{" in worker.node.metrics.render()


@needs_redis
async def test_f21_memory_full(
    redis_server: servers.ExternalRedis, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """`maxmemory`, no eviction: refused as not done; nothing is half done; all goes on after."""
    workers = [await start_worker(redis_server.url, store_timeout_ms=300) for _ in range(2)]
    show = await stage("F21", "maxmemory reached", redis_server.url, workers, crowd=SMALL)
    await show.acks()
    with servers.client(redis_server.url) as link:
        link.config_set("maxmemory", 1_000_000)
        await harness.until(lambda: _failing(workers[0]))
        link.config_set("maxmemory", 0)
    await show.recovered()
    await show.verdict(FAILED)
    assert set(show.ledger.codes) <= {"unavailable"}


@needs_redis
async def test_f30_disk_full(
    redis_server: servers.ExternalRedis, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """The append-only file cannot grow (a file size limit stands for the disk): MISCONF."""
    workers = [await start_worker(redis_server.url, store_timeout_ms=300) for _ in range(2)]
    show = await stage(
        "F30", "no space for the log, everysec", redis_server.url, workers, crowd=SMALL
    )
    await show.acks()
    (file,) = (redis_server.home / "appendonlydir").glob("*.incr.aof")
    _, hard = resource.prlimit(redis_server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(redis_server.pid, resource.RLIMIT_FSIZE, (file.stat().st_size + 1000, hard))
    await harness.until(lambda: _failing(workers[0]))
    resource.prlimit(redis_server.pid, resource.RLIMIT_FSIZE, (hard, hard))
    await show.recovered()
    await show.verdict(FAILED)
    assert set(show.ledger.codes) <= {"unavailable", "outcome_unknown"}
    with servers.client(redis_server.url) as link:
        await harness.until(lambda: _written(link))
    redis_server.kill()
    redis_server.start()
    await show.check_books()  # as they are on the disk
    assert not show.lost


async def _written(link: Any) -> bool:
    return bool(link.info("persistence")["aof_pending_bio_fsync"] == 0)
