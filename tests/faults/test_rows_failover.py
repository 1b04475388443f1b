"""Sentinel failovers: the master dies, hangs, or is cut off while it lives; by durability level."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

import harness
import servers
from faultproxy import FaultProxy, Pair
from faults.conftest import Stage


FAILED = "liveroom_commit_failures_total"
HISTORY_LOST = "liveroom_epochs_lost_total"
ANY = 10**9
LEVELS = {"everysec": (), "replica": ("--appendfsync", "always")}
"""Level -> settings of the servers; without WAITAOF (7.2) level `replica` needs the first sync too."""

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(150),
    pytest.mark.skipif(servers.debian_redis() is None, reason="no redis-server >= 7.0 on PATH"),
]


@pytest.fixture
def level() -> str:
    return "everysec"


@pytest.fixture
def group(home: Path, level: str) -> Iterator[servers.SentinelSet]:
    binary, settings = servers.debian_redis(), LEVELS[level]
    with servers.SentinelSet(home, binary=binary, settings=settings) as made:
        yield made


def url_of(group: servers.SentinelSet) -> str:
    hosts = ",".join(f"{host}:{port}" for host, port in group.addresses)
    return f"redis+sentinel://{hosts}/{group.name}"


async def other_master(group: servers.SentinelSet, port: int) -> float:
    """Wait until the sentinels name another master; return how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        while (await asyncio.to_thread(group.current_master))[1] == port:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def demoted(node: servers.Node) -> None:
    """Wait until a master that was is a replica: before, it may still take what will be lost."""

    def role() -> str:
        try:
            with servers.client(node.url, socket_timeout=1.0) as link:
                return str(link.info("replication")["role"])
        except redis.RedisError:
            return ""

    async with asyncio.timeout(30):
        while await asyncio.to_thread(role) != "slave":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_f03_master_lost(
    group: servers.SentinelSet,
    start_worker: harness.StartWorker,
    stage: Stage,
    level: str,
    how: str,
) -> None:
    """The replica takes over; the old master comes back as its replica."""
    url = url_of(group)
    workers = [await start_worker(url, durability=level, store_timeout_ms=500) for _ in range(2)]
    show = await stage("F3", f"Sentinel: master {how}, {level}", url, workers)
    await show.acks(40)
    old = group.master
    if how == "killed":
        old.kill()
    else:
        old.pause()
    took = await other_master(group, old.port)
    await asyncio.sleep(0.3)  # it stays away a little longer than the failover takes
    if how == "killed":
        await asyncio.to_thread(old.start)
    else:
        old.resume()
    await demoted(old)
    await show.recovered(30)
    show.figures.note = f"another master after {took:.1f} s"
    lossless = level == "replica"
    await show.verdict(
        FAILED,
        may_lose=0 if lossless else ANY,
        may_be_told=not lossless or how == "stopped",  # it was shown before it was safe
        may_differ=True,
        may_err=not lossless,
    )


@asynccontextmanager
async def divided(
    home: Path, **options: Any
) -> AsyncIterator[tuple[servers.SentinelSet, FaultProxy]]:
    """A group whose master is reached through a proxy by all others."""
    port = servers.claim_port()
    group = servers.SentinelSet(home, binary=servers.debian_redis(), seen_at=port, **options)
    async with FaultProxy(f"{servers.HOST}:{group.master.port}", home, port) as proxy:
        try:
            await asyncio.to_thread(group.start)
            yield group, proxy
        finally:
            await asyncio.to_thread(group.stop)
            servers.release_port(port)


def cut_off(proxy: FaultProxy) -> None:
    """Let nothing pass between the master and the other servers; workers still reach it."""

    def look(pair: Pair, _: bytes) -> None:
        if pair.inner:
            pair.hold()

    for pair in proxy.pairs:
        look(pair, b"")
    proxy.on_up = look


def heal(proxy: FaultProxy) -> None:
    proxy.on_up = lambda _, __: None
    for pair in list(proxy.pairs):
        if pair.inner:
            pair.reset()  # as after a while in a black hole


@pytest.mark.parametrize(
    ("level", "settings"),
    [
        ("everysec", ()),
        ("everysec", ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")),
        ("replica", LEVELS["replica"]),
    ],
    ids=["everysec", "min-replicas", "replica"],
)
async def test_f04_master_cut_off(
    home: Path,
    start_worker: harness.StartWorker,
    stage: Stage,
    level: str,
    settings: tuple[str, ...],
) -> None:
    """It lives, and workers reach it, but the others make a new one: what it still took is lost."""
    async with divided(home, settings=settings) as (group, proxy):
        url = url_of(group)
        workers = [
            await start_worker(url, durability=level, store_timeout_ms=500) for _ in range(2)
        ]
        name = level + (", min-replicas-to-write 1" if "1" in settings else "")
        show = await stage("F4", f"Sentinel: master cut off, {name}", url, workers)
        await show.acks(40)
        (_, port), began = await asyncio.to_thread(group.current_master), time.monotonic()
        cut_off(proxy)
        took = await other_master(group, port)
        await asyncio.sleep(2.0)  # two masters for two seconds
        heal(proxy)
        await demoted(group.master)
        await show.recovered(40)
        lossless = level == "replica"
        await show.verdict(
            FAILED if lossless else HISTORY_LOST,
            may_lose=0 if lossless else ANY,
            may_be_told=True,
            may_differ=True,
            may_err=not lossless,
        )
        ages = [at - began for at in show.lost.values()]
        span = f", lost within {min(ages):.1f} to {max(ages):.1f} s" if ages else ""
        show.figures.note = f"another master after {took:.1f} s{span}"


@pytest.mark.parametrize("count", [1, 2])
async def test_f05_replica_that_had_it_is_not_promoted(
    home: Path, start_worker: harness.StartWorker, stage: Stage, count: int
) -> None:
    """Two replicas, one behind. WAIT 1 is kept by the other, which dies too: lost, as documented."""
    async with divided(home, replicas=2, settings=LEVELS["replica"]) as (group, proxy):
        url = url_of(group)
        options = {"durability": "replica", "durability_replicas": count}
        workers = [await start_worker(url, store_timeout_ms=500, **options) for _ in range(2)]
        show = await stage("F5", f"WAIT {count}, the replica behind is promoted", url, workers)
        if count == 1:
            show.figures.level = "replica 1 of 2"
        await show.acks(40)
        behind = f"listening-port\r\n$5\r\n{group.replicas[1].port}".encode()
        (pair,) = (pair for pair in proxy.pairs if behind in pair.head)
        pair.down.hold()
        await asyncio.sleep(1.0)  # so long it is behind
        (_, port) = await asyncio.to_thread(group.current_master)
        group.master.kill()
        group.replicas[0].kill()
        pair.reset()
        took = await other_master(group, port)
        await asyncio.to_thread(group.master.start)
        await asyncio.to_thread(group.replicas[0].start)
        await show.recovered(40)
        await show.verdict(
            FAILED,
            may_lose=ANY if count == 1 else 0,
            may_be_told=True,
            may_differ=True,
            may_err=count == 1,
        )
        show.figures.note = f"another master after {took:.1f} s"
        assert bool(show.lost) == (count == 1)


async def test_f31_most_sentinels_dead(
    group: servers.SentinelSet, start_worker: harness.StartWorker, stage: Stage
) -> None:
    """Two of the three addresses answer nothing: the third one is asked."""
    dead = ",".join(f"{servers.HOST}:{servers.claim_port()}" for _ in range(2))
    url = url_of(group).replace("sentinel://", f"sentinel://{dead},", 1)
    workers = [await start_worker(url, store_timeout_ms=500) for _ in range(2)]
    show = await stage("F31", "two dead addresses in the list of sentinels", url, workers)
    await show.acks(40)
    os.kill(group.master.pid, signal.SIGKILL)
    await other_master(group, group.master.port)
    await show.recovered(30)
    await show.verdict(FAILED, may_lose=ANY, may_be_told=True, may_differ=True, may_err=True)
