"""What the machine and its makers found, each as a plain test."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest

import harness
from liveroom.errors import OutcomeUnknown, StoreUnavailable
from liveroom.features import wallet
from liveroom.protocol.codec import body_digest
from liveroom.store.link import Link
from liveroom.store.port import Op
from liveroom.store.topology import topology_from_url


Pair = tuple[harness.Worker, harness.Worker]
PRICE = 100


@pytest.fixture
async def pair(embedded_url: str, start_worker: harness.StartWorker) -> Pair:
    return await start_worker(embedded_url), await start_worker(embedded_url)


async def giver(worker: harness.Worker, room: str, user: str) -> harness.Client:
    """Join with demo money."""
    client = await worker.join(room, user)
    await client.ask("wallet.get")
    return client


async def balance(worker: harness.Worker, user: str) -> int:
    op = Op("wallet.get", user, {"user": user})
    reply = await worker.node.hub.submit(wallet.shard_of(user), op)
    amount: int = orjson.loads(reply[1:])["balance"]
    return amount


@pytest.mark.parametrize("refusing", ["mode", "closed", "gone"])
async def test_found_paid_gift_is_not_refused_when_it_is_repeated(
    pair: Pair, room: str, refusing: str
) -> None:
    """A worker knew that no gifts are taken now, and refused a key that had been paid for."""
    await pair[0].open_room(room)
    client = await giver(pair[0], room, f"payer-{room}")
    gift = {"gift": "rose", "n": 1, "combo": False}
    answer = await client.ask("gift.send", key="k", **gift)
    host = await pair[0].control(room)
    if refusing == "mode":
        await host.ask("room.mode", gift=False)
        await client.state("mode", lambda d: not d["gift"])
        codes = ["not_allowed"]
    elif refusing == "closed":
        await host.ask("room.close")
        await client.state("room", lambda d: d["status"] == "closed")
        codes = ["room_closed"]
    else:
        await host.ask("gift.catalogue", gifts=[{"id": "tea", "name": "Tea", "price": 5}])
        await client.state("gifts")
        codes = ["not_found"]

    assert await client.ask("gift.send", key="k", **gift) == answer
    assert [await client.refused("gift.send", key="new", **gift)] == codes
    assert await balance(pair[0], f"payer-{room}") == wallet.DEMO_MONEY - PRICE


async def test_found_gift_that_was_cut_off_is_refused_for_good_when_none_are_taken(
    pair: Pair, room: str
) -> None:
    """Held, cut off, then the gift went off the list: the same key gives the money back."""
    await pair[0].open_room(room)
    user = f"payer-{room}"
    client = await giver(pair[0], room, user)
    host = await pair[0].control(room)
    body = {"gift": "rose", "n": 1, "combo": False}
    await _hold(pair[1], room, user, body)
    assert await balance(pair[0], user) == wallet.DEMO_MONEY - PRICE
    await host.ask("gift.catalogue", gifts=[{"id": "tea", "name": "Tea", "price": 5}])
    await client.state("gifts")

    codes = [await client.refused("gift.send", key="k", **body) for _ in range(2)]

    assert codes == ["version_conflict"] * 2
    assert await balance(pair[0], user) == wallet.DEMO_MONEY
    assert client.events("gift.sent") == []


async def _hold(worker: harness.Worker, room: str, user: str, body: dict[str, Any]) -> None:
    """Take a payment as far as a worker that then dies."""
    decoder = worker.node.front.decoder
    incoming = decoder.convert({"op": "gift.send", "key": "k", "d": body})
    assert incoming.command is not None
    hold = {
        "t": wallet.transfer_id(room, user, "k"), "user": user, "amount": PRICE, "room": room,
        "key": "k", "digest": body_digest("gift.send", incoming.command.d),
    }  # fmt: skip
    reply = await worker.node.hub.submit(wallet.shard_of(user), Op("wallet.hold", user, hold))
    assert reply[:1] == b"+", reply


def _gift_of(user: str) -> Callable[[dict[str, Any]], bool]:
    return lambda item: item.get("ev") == "gift.sent" and item["d"]["user"]["id"] == user


async def test_found_keys_of_two_users_do_not_meet(pair: Pair, room: str) -> None:
    """`a` with the key `b:k` and `a:b` with the key `k` shared one record: one paid for nothing."""
    await pair[0].open_room(room)
    gift = {"gift": "rose", "n": 1, "combo": False}
    name = room.replace("-", "")
    first, second = await giver(pair[0], room, name), await giver(pair[1], room, f"{name}:b")

    await first.ask("gift.send", key="b:k", **gift)
    await second.ask("gift.send", key="k", **gift)

    for user in (name, f"{name}:b"):
        assert await balance(pair[0], user) == wallet.DEMO_MONEY - PRICE
        await first.item(_gift_of(user))


async def test_found_closed_socket_is_an_error_of_the_store(embedded_url: str) -> None:
    """For a moment a socket is closed and nobody has noticed: that ended the link's watchman.

    The event loop then raises RuntimeError. Nobody expected that: the canary's task ended for good,
    and a batch that had certainly not been sent was answered as unknown.
    """
    topology = topology_from_url(embedded_url)
    link = Link(lambda: topology.connection(topology.addresses()[0]), 2.0)
    told = Counter[str]()

    async def ask(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        try:
            told[str(await link.exchange(("PING",)))] += 1
        except (StoreUnavailable, OutcomeUnknown) as exc:
            told[type(exc).__name__] += 1

    for close in ("abort", "close"):
        for delay in range(12):
            await link.exchange(("PING",))
            connection: Any = link._connection
            getattr(connection._writer.transport, close)()
            await asyncio.gather(*(ask(delay + turns) for turns in range(12)))
    await link.close()

    assert told["StoreUnavailable"], told
    assert told["[b'PONG']"] > 200, told


async def test_found_answer_of_an_earlier_sale_is_not_lost_when_the_next_is_sold_out(
    pair: Pair, room: str
) -> None:
    """A worker refused unasked whoever had nothing of this sale, keys of the one before included."""
    host = await pair[0].open_control(room)
    await host.ask("room.open")
    sku = {"sku": "k", "price": 1000}
    await host.ask("shelf.put", item="i", title="T", currency="CNY", skus=[sku])
    winner, other = await pair[0].join(room, "ann"), await pair[0].join(room, "bob")
    sale = {"sku": "k", "price": 700, "total": 1, "starts_in_s": 0}
    await host.ask("flash.arm", key="a1", sale="s1", **sale)
    answer = await winner.ask("flash.reserve", key="k1", sku="k", n=1)
    await host.ask("flash.stop", sku="k")
    await host.ask("flash.arm", key="a2", sale="s2", **sale)
    await other.ask("flash.reserve", key="k1", sku="k", n=1)
    await winner.state("stock:k", lambda d: (d["sale"], d["status"]) == ("s2", "sold_out"))

    assert await winner.ask("flash.reserve", key="k1", sku="k", n=1) == answer
