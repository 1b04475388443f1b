"""Money from rooms to users: credited once, whoever dies at whatever place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import orjson
import pytest

import harness
from drops import Hand, balance_of, run, shard_sums
from harness import Pair
from liveroom import Op, Plugin, failpoints
from liveroom.errors import CommandError
from liveroom.features.payouts import STALE_MS, Payouts
from liveroom.features.shards import shard_of
from liveroom.features.wallet import Wallet


PLACES = ("payout.found", "payout.credited", "payout.noted")


class Till(Plugin):
    """Pays out of a till that the house fills."""

    name = "till"
    lua = """
ops['till.fill'] = function(op)
  write('HINCRBY', key('ledger'), 'house', -op.d.amount)
  write('HINCRBY', key('ledger'), 'till', op.d.amount)
end
ops['till.pay'] = function(op)
  for i, user in ipairs(op.d.users) do pay_out('till', user, op.d.amount, op.d.name .. ':' .. i) end
  if op.d.refuse then fail('not_allowed', 'on purpose') end
end
"""


PLUGINS = (Till, Hand)
WORKER_SETTINGS = {"dev": False}


@pytest.fixture
def places() -> Iterator[None]:
    """Nothing happens at any place when the test is over."""
    yield
    failpoints.disarm_all()


def payouts(worker: harness.Worker) -> Payouts:
    """Return what pays out on a worker."""
    return next(p for p in worker.node.manager.plugins if isinstance(p, Wallet))._payouts


async def pay(worker: harness.Worker, room: str, users: list[str], amount: int = 5) -> None:
    """Have a room pay users, as a feature does."""
    ops = [
        Op("till.fill", "", {"amount": amount * len(users)}),
        Op("till.pay", "", {"users": users, "amount": amount, "name": "t"}),
    ]
    for op in ops:
        assert (await worker.node.hub.submit(room, op))[:1] == b"+"


async def owed(worker: harness.Worker, room: str) -> list[str]:
    """Return what a room owes."""
    found: list[str] = (await run(worker, room, "payout.pending", older_ms=0, limit=5000)).get(
        "rows", []
    )
    return found


async def until_paid(worker: harness.Worker, room: str) -> None:
    """Wait until a room owes nothing."""
    async with asyncio.timeout(harness.PATIENCE_S):
        while await owed(worker, room):
            pass


async def both_serve(pair: Pair, room: str) -> None:
    """Have somebody in the room on both workers."""
    await pair[0].open_room(room)
    for worker in pair:
        await worker.join(room, "watcher")


async def test_payout_comes_into_the_wallets_at_once(pair: Pair, room: str) -> None:
    """Of many users, over all shards; the books of the room and of the wallets agree."""
    await both_serve(pair, room)
    users = [f"u{n}-{room}" for n in range(1200)]
    for first in range(0, 1200, 600):
        body = {"users": users[first : first + 600], "amount": 5, "name": f"n{first}"}
        await run(pair[0], room, "till.fill", amount=3000)
        assert (await pair[0].node.hub.submit(room, Op("till.pay", "", body)))[:1] == b"+"
    await until_paid(pair[1], room)
    for user in (users[0], users[599], users[600], users[1199]):
        assert await balance_of(pair[0], user) == 5
    assert set(await shard_sums(pair[0])) == {0}
    host = await pair[0].control(room)
    found = await host.ask("audit.check")
    assert found["sound"], found["broken"]


async def test_payout_of_a_refused_operation_is_none(pair: Pair, room: str) -> None:
    """It takes effect with its reason or not at all."""
    await both_serve(pair, room)
    body = {"users": ["u"], "amount": 5, "name": "t", "refuse": True}
    assert (await pair[0].node.hub.submit(room, Op("till.pay", "", body)))[:1] == b"-"
    assert await owed(pair[0], room) == []
    assert (await run(pair[0], room, "hand.read", verb="EXISTS", key="ledger", args=[]))[
        "value"
    ] == 0


@pytest.mark.parametrize("place", PLACES)
async def test_payout_that_was_cut_off_is_finished_by_another_worker(
    pair: Pair, room: str, place: str, places: None
) -> None:
    """Once, wherever it was cut off and however often it is looked after."""
    await both_serve(pair, room)
    users = [f"u{n}-{room}" for n in range(3)]
    reached = asyncio.Event()

    def die() -> None:
        reached.set()
        raise CommandError("internal", "cut off")

    failpoints.arm(place, die)
    await pay(pair[0], room, users)
    await asyncio.wait_for(reached.wait(), harness.PATIENCE_S)
    failpoints.disarm_all()
    await payouts(pair[1]).recover()
    if place == "payout.found":  # too young to be looked after
        assert len(await owed(pair[1], room)) == 3
    for worker in pair:
        worker.node.store.skew_ms += STALE_MS + 1
    for worker in (*pair, *pair):
        await payouts(worker).recover()
        await payouts(worker).pay(room)
    assert await owed(pair[1], room) == []
    assert [await balance_of(pair[0], user) for user in users] == [5, 5, 5]
    assert set(await shard_sums(pair[0])) == {0}


async def test_payout_by_two_workers_at_once_is_one(pair: Pair, room: str, places: None) -> None:
    """Both read the rows before either has credited them; a third comes when all is over."""
    await both_serve(pair, room)
    users = [f"u{n}-{room}" for n in range(40)]
    quiet = asyncio.Event()

    def die() -> None:
        quiet.set()
        raise CommandError("internal", "cut off")

    failpoints.arm("payout.found", die)
    await pay(pair[0], room, users, 7)
    await asyncio.wait_for(quiet.wait(), harness.PATIENCE_S)
    failpoints.disarm_all()
    rows = await owed(pair[0], room)
    await asyncio.gather(*(payouts(worker).pay(room) for worker in pair))
    for row in rows:  # one that read them long ago
        shard = shard_of(row.split("|")[1])
        await run(pair[0], shard, "wallet.credit", room=room, rows=[row])
    assert [await balance_of(pair[0], user) for user in users] == [7] * 40
    assert set(await shard_sums(pair[0])) == {0}


async def test_payout_in_a_room_that_nobody_serves_is_looked_after(pair: Pair, room: str) -> None:
    """By one worker in its turn, when it is old enough."""
    await run(pair[0], room, "room.open", "host")  # alone: no worker has loaded the room
    await pair[0].node.hub.submit("~sys", Op("rooms.add", "", {"room": room}))
    for op in (
        Op("till.fill", "", {"amount": 9}),
        Op("till.pay", "", {"users": [f"u-{room}"], "amount": 9, "name": "t"}),
    ):
        assert (await pair[0].node.hub.commit(room, [op])).replies[0][:1] == b"+"
    assert len(await owed(pair[0], room)) == 1
    for worker in pair:
        worker.node.store.skew_ms += 31_000  # nobody's turn
    await asyncio.gather(*(payouts(worker).recover_far() for worker in pair))
    assert await owed(pair[0], room) == []
    assert await balance_of(pair[0], f"u-{room}") == 9
    await asyncio.gather(*(payouts(worker).recover_far() for worker in pair))
    assert await balance_of(pair[0], f"u-{room}") == 9


async def test_payout_audit_compares_the_room_with_the_wallets(pair: Pair, room: str) -> None:
    """What the ledger says went out was credited, or is still owed."""
    await both_serve(pair, room)
    await pay(pair[0], room, [f"u-{room}"])
    await until_paid(pair[0], room)
    host = await pair[0].control(room)
    assert (await host.ask("audit.check"))["sound"]
    for scope, key, field in (
        (room, "ledger", "~out"),
        (shard_of(f"u-{room}"), "acc", f"~out:{room}"),
    ):
        await run(pair[0], scope, "hand.write", verb="HINCRBY", key=key, args=[field, "3"])
        broken = (await host.ask("audit.check"))["broken"]
        assert "money.out" in {row["what"] for row in broken}, broken
        await run(pair[0], scope, "hand.write", verb="HINCRBY", key=key, args=[field, "-3"])
    assert orjson.dumps((await host.ask("audit.check"))["broken"]) == b"[]"
