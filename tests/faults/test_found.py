"""What the fault kit has found, each as small as it can be told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from redis.crc import key_slot

import harness
import servers
from liveroom.errors import OutcomeUnknown, StoreUnavailable
from liveroom.features.wallet import Payments, shard_of, transfer_id
from liveroom.store.embedded import EmbeddedServer
from liveroom.store.link import Link
from liveroom.store.port import Batch, Op, Publication
from liveroom.store.redis import RedisStore
from liveroom.store.script import assemble
from liveroom.store.topology import SingleServer, topology_from_url


async def test_found_batch_in_a_slot_that_is_given_away_is_not_half_done(
    cluster_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A key that is not there was an error in the middle of a batch: what came before it was written.

    And where half of the keys had gone, the script was asked there and found a room without a past.
    """
    worker = await start_worker(cluster_url, store_timeout_ms=300)
    await worker.open_room(room)
    store = worker.node.store
    here = store._topology.address(f"lr:{{{room}}}")
    there = next(address for address in store.addresses() if address != here)
    slot = str(key_slot(f"lr:{{{room}}}".encode()))
    other = (await store.ask(there, "CLUSTER", "MYID")).decode()
    before = (await worker.node.hub.commit(room, [])).position
    keyed = Op("room.update", "host", {"title": "two"}, "new-key", "d")

    await store.ask(here, "CLUSTER", "SETSLOT", slot, "MIGRATING", other)
    try:
        with pytest.raises(StoreUnavailable):
            await worker.node.hub.commit(room, [Op("room.update", "host", {"title": "one"}), keyed])
    finally:
        await store.ask(here, "CLUSTER", "SETSLOT", slot, "STABLE")
    assert store.redirects, "the operator can tell"

    state = (await harness.run(worker, room, "sys.sync"))["states"]
    title = next(row["d"].get("title") for row in state if row["st"] == "room")
    assert title != "one"
    assert (await worker.node.hub.commit(room, [])).position == before
    await harness.commit(worker, room, Op("room.update", "host", {"title": "one"}), keyed)
    await harness.check(worker, room)


class Moving(SingleServer):
    """A topology whose only server is another one when it is asked again, as after a failover."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self._second = second
        self._asked = 0

    async def refresh(self) -> None:
        self._asked += 1
        if self._asked == 2:
            super().__init__(self._second)


class Heard:
    """Takes what a store hears."""

    def __init__(self) -> None:
        self.subscribed = asyncio.Event()

    def on_publication(self, publication: Publication) -> None:
        """Take nothing."""

    def on_subscribed(self, scope: str) -> None:
        self.subscribed.set()


async def test_found_channels_follow_the_master(room: str, tmp_path: Path) -> None:
    """After a failover the subscriptions stayed with the server that was the master."""
    with EmbeddedServer(tmp_path / "a") as first, EmbeddedServer(tmp_path / "b") as second:
        topology, heard = Moving(first.url, second.url), Heard()
        store = RedisStore(topology, assemble({}), worker="w", timeout_s=2.0)
        await store.start(heard)
        await store.subscribe(room)
        async with asyncio.timeout(8):
            await heard.subscribed.wait()
        heard.subscribed.clear()
        first.stop()

        with suppress(OutcomeUnknown):  # the first of them may be written to what has just closed
            await store.commit(room, Batch())
        await store.commit(room, Batch())
        async with asyncio.timeout(8):
            await heard.subscribed.wait()
        assert store.addresses() == list(store._channels)
        await store.close()


async def test_found_dead_sentinels_cost_no_seconds() -> None:
    """Each of them was asked four times, with seconds in between."""
    ports = [servers.claim_port() for _ in range(3)]
    hosts = ",".join(f"{servers.HOST}:{port}" for port in ports)
    topology = topology_from_url(f"redis+sentinel://{hosts}/nobody")
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable):
            await topology.refresh()
    await topology.close()
    for port in ports:
        servers.release_port(port)


async def test_found_connection_that_is_not_greeted_is_closed() -> None:
    """A server that stands still takes connections; each attempt left one open."""
    ended = asyncio.Event()

    async def stand_still(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()
        ended.set()

    server = await asyncio.start_server(stand_still, servers.HOST, 0)
    port = server.sockets[0].getsockname()[1]
    topology = SingleServer(f"redis://{servers.HOST}:{port}")
    link = Link(lambda: topology.connection(""), 0.2)
    async with server, asyncio.timeout(8):
        with pytest.raises(StoreUnavailable):
            await link.exchange(("PING",))
        await ended.wait()
    await link.close()


async def test_found_demoted_master_is_left_by_all_at_once(
    tmp_path: Path, start_worker: harness.StartWorker
) -> None:
    """The second one to be told READONLY stumbled over the link that the first had taken away."""
    with EmbeddedServer(tmp_path / "store") as server:
        worker = await start_worker(server.url, store_timeout_ms=300)
        (address,) = worker.node.store.addresses()
        await worker.node.store.ask(address, "REPLICAOF", servers.HOST, "1")
        commits = [worker.node.hub.commit(f"room{n}", [Op("room.open", "", {})]) for n in range(9)]
        told = await asyncio.gather(*commits, return_exceptions=True)
        await worker.node.store.ask(address, "REPLICAOF", "NO", "ONE")
    assert {type(error) for error in told} <= {StoreUnavailable, OutcomeUnknown}, told
    assert not [error for error in told if "KeyError" in str(error)]


@pytest.mark.parametrize("given", [True, False])
async def test_found_gift_whose_hold_was_lost_is_charged(
    embedded_url: str, start_worker: harness.StartWorker, room: str, given: bool
) -> None:
    """A failover between hold and effect lost the one, and the room had the other: given for free.

    Where the effect was lost too, nothing is charged.
    """
    worker = await start_worker(embedded_url)
    await worker.open_room(room)
    user = f"payer-{room}"
    shard = shard_of(user)
    await harness.commit(
        worker, shard, Op("wallet.topup", user, {"user": user, "amount": 500}, "t", "d")
    )
    gift = {"gift": "rose", "n": 1, "combo": False, "price": 100, "name": "n", "balance": 0}
    if given:
        await harness.commit(worker, room, Op("gift.send", user, gift, "k", "d"))
    hold = {"t": transfer_id(room, user, "k"), "user": user, "amount": 100, "room": room}
    hold |= {"key": "k", "digest": "d"}

    for _ in range(2):  # its answer may be lost, too
        await Payments(worker.node.hub)._finish(shard, hold, done=True)

    wallet = await harness.run(worker, shard, "wallet.get", user, user=user)
    assert wallet["balance"] == (400 if given else 500)
    if given:
        assert (await harness.run(worker, shard, "wallet.hold", user, **hold))["closed"]
    await harness.check(worker, shard)
    await harness.check(worker, room)


async def test_found_first_words_of_a_room_are_no_lost_history(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A worker that had asked when there was nothing told the alarm of it, once for each scope."""
    workers = [await start_worker(embedded_url) for _ in range(2)]
    hosts = [await worker.open_control(room, f"host{n}") for n, worker in enumerate(workers)]
    await hosts[0].ask("room.open")
    await hosts[0].ask("room.update", title="first words")
    for host in hosts:
        await host.state("room", lambda d: d["title"] == "first words")
    told = b"".join(worker.node.metrics.render() for worker in workers)
    assert told.count(b"liveroom_epochs_lost_total 0.0") == 2
