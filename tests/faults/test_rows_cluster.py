"""A cluster's slots move under load, and one of its nodes is lost."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

import harness
import servers
from faults.conftest import Stage
from faults.trial import Trial
from liveroom.features.wallet import shard_of


FAILED = "liveroom_commit_failures_total"

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(120),
    pytest.mark.skipif(servers.debian_redis() is None, reason="no redis-server >= 7.0 on PATH"),
]


@pytest.fixture
def cluster(home: Path) -> Iterator[servers.Cluster]:
    with servers.Cluster(home, binary=servers.debian_redis()) as made:
        yield made


def url_of(cluster: servers.Cluster) -> str:
    hosts = ",".join(url.rpartition("//")[2].rstrip("/") for url in cluster.urls)
    return f"redis+cluster://{hosts}"


async def test_f10_slot_migrates_under_load(
    cluster: servers.Cluster, start_worker: harness.StartWorker, stage: Stage, room: str
) -> None:
    """The room's slot goes to and fro, a few keys at a time, while everybody pays."""
    url = url_of(cluster)
    workers = [await start_worker(url) for _ in range(2)]
    show = await stage("F10", "the room's slot migrates 4 times", url, workers, room=room)
    slot = key_slot(f"lr:{{{room}}}".encode())
    where = cluster.owner(slot)
    for step in range(4):
        await show.acks(20)
        target = (where + 1) % 3
        await move(cluster, slot, where, target, pause=0.02 if step % 2 else 0.0)
        where = target
        await show.recovered()
    await show.verdict("liveroom_redirects_total")


async def test_f11_slot_stays_open(
    cluster: servers.Cluster, start_worker: harness.StartWorker, stage: Stage, room: str
) -> None:
    """Half of the room's keys are on another node for two seconds, longer than a deadline."""
    url = url_of(cluster)
    workers = [await start_worker(url, store_timeout_ms=500) for _ in range(2)]
    show = await stage("F11", "half migrated for 2 s, deadline 500 ms", url, workers, room=room)
    slot = key_slot(f"lr:{{{room}}}".encode())
    where = cluster.owner(slot)
    target = (where + 1) % 3
    await show.acks(20)
    await asyncio.to_thread(cluster.begin_migration, slot, where, target)
    with servers.client(cluster.nodes[where].url) as link:
        count = int(link.execute_command("CLUSTER COUNTKEYSINSLOT", slot))
    await asyncio.to_thread(cluster.migrate_keys, slot, where, target, count // 2)
    await asyncio.sleep(2.0)  # the fault's length
    while await asyncio.to_thread(cluster.migrate_keys, slot, where, target, 50):
        pass
    await asyncio.to_thread(cluster.end_migration, slot, target)
    await show.recovered()
    await show.verdict(FAILED)


async def move(cluster: servers.Cluster, slot: int, source: int, target: int, pause: float) -> None:
    await asyncio.to_thread(cluster.begin_migration, slot, source, target)
    while await asyncio.to_thread(cluster.migrate_keys, slot, source, target, 10):  # noqa: ASYNC110
        await asyncio.sleep(pause)
    await asyncio.to_thread(cluster.end_migration, slot, target)


async def test_f13_node_lost(
    cluster: servers.Cluster, start_worker: harness.StartWorker, stage: Stage, room: str
) -> None:
    """A node without the room dies for 4 s: who has a wallet elsewhere pays on as if nothing were."""
    url = url_of(cluster)
    workers = [await start_worker(url, store_timeout_ms=500) for _ in range(2)]
    show = await stage(
        "F13", "one of three nodes killed for 4 s", url, workers, room=room, crowd=(4, 8, 2)
    )
    here = owner_of(cluster, room)
    wallets = {giver.user: owner_of(cluster, shard_of(giver.user)) for giver in show.givers}
    victim = next(node for node in (2, 1, 0) if node != here and node in wallets.values())
    spared = {user for user, node in wallets.items() if node != victim}
    assert spared
    await show.acks(40)
    await asyncio.to_thread(cluster.kill, victim)
    began = time.monotonic()
    await asyncio.sleep(4.0)  # the fault's length
    waits = {user: longest_wait(show, user, began, began + 4.0) for user in spared}
    await asyncio.to_thread(cluster.restart, victim)
    await show.recovered(30)
    await show.verdict(FAILED)
    worst = max(waits.values())
    show.figures.note = f"{len(spared)} of 8 were spared: paid at least every {worst * 1000:.0f} ms"
    assert worst < 2.0


def owner_of(cluster: servers.Cluster, scope: str) -> int:
    return cluster.owner(key_slot(f"lr:{{{scope}}}".encode()))


def longest_wait(show: Trial, user: str, begin: float, end: float) -> float:
    """Return the longest time in which somebody was acknowledged nothing."""
    moments = sorted(
        at for (who, _), at in show.ledger.acked.items() if who == user and begin < at < end
    )
    edges = [begin, *moments, end]
    return max(later - earlier for earlier, later in itertools.pairwise(edges))
