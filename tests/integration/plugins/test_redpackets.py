"""Red packets over the wire: sent, grabbed, given back; every minor unit is somewhere."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

import harness
from drops import Hand, balance_of, check, open_host, pass_time, run, shard_sums, topup
from harness import Pair
from liveroom import Op, failpoints
from liveroom.errors import ConfigError
from liveroom.features.payouts import STALE_MS as PAYOUT_STALE_MS
from liveroom.features.wallet import STALE_MS, Payments, Wallet
from liveroom_plugins.redpackets import RedPackets
from liveroom_plugins.redpackets.split import commitment_of, shares_of


PLUGINS = (RedPackets, Hand)
WORKER_SETTINGS = {"dev": False}  # nobody is given demo money
SEEDS = int(os.environ.get("LIVEROOM_TEST_SEEDS", "2"))
GRABBERS = int(os.environ.get("LIVEROOM_TEST_GRABBERS", "40"))
KEEP_MS = 600_000
UNASKED = "liveroom_redpackets_refused_unasked_total"


@pytest.fixture
async def shop(store_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on the store; nobody is given demo money."""
    return await start_worker(store_url, plugins=[RedPackets(), Hand()], dev=False)


@pytest.fixture
async def one(embedded_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on the engine's own store."""
    return await start_worker(embedded_url, plugins=[RedPackets(), Hand()], dev=False)


def cut_off() -> None:
    """End what is being done here."""
    raise RuntimeError("cut off")


def packet(**changes: Any) -> dict[str, Any]:
    """Return the body of a packet; None takes a field out."""
    body = {"packet": "p1", "total": 1000, "shares": 4, "split": "random"}
    return {name: value for name, value in (body | changes).items() if value is not None}


async def rich(worker: harness.Worker, room: str, name: str, money: int = 10_000) -> harness.Client:
    """Return a viewer of this test alone with so much money."""
    user = f"{name}-{room}"
    await topup(worker, user, money)
    return await worker.join(room, user)


async def until_balance(worker: harness.Worker, user: str, balance: int) -> None:
    """Wait until a user has exactly so much."""
    async with asyncio.timeout(harness.PATIENCE_S):
        while await balance_of(worker, user) != balance:
            pass


async def ledger(worker: harness.Worker, room: str) -> dict[str, int]:
    """Return the room's ledger; its sum is 0."""
    flat = (await run(worker, room, "hand.read", verb="HGETALL", key="ledger", args=[]))["value"]
    found = {flat[at]: int(flat[at + 1]) for at in range(0, len(flat or ()), 2)}
    assert sum(found.values()) == 0, found
    return found


async def sound(worker: harness.Worker, room: str) -> None:
    """Recompute the room's invariants, and compare its money with the wallets."""
    host = await worker.control(room, "auditor")
    async with asyncio.timeout(harness.PATIENCE_S):
        while (await run(worker, room, "payout.pending", older_ms=0, limit=1)).get("rows"):
            pass
    found = await host.ask("audit.check")
    assert found["sound"], found["broken"]
    assert {"money.paid", "money.out"} <= found["counted"].keys()
    await host.close()
    assert set(await shard_sums(worker)) == {0}


# Sending.


async def test_redpacket_send_takes_the_money_and_commits_to_the_split(
    pair: Pair, room: str
) -> None:
    """Everyone sees the terms and the commitment; the same key is answered alike and charged once."""
    first, second = pair
    await open_host(first, room)
    ann, far = await rich(first, room, "ann"), await second.join(room, "far")
    user = f"ann-{room}"

    answer = await ann.ask("redpacket.send", key="s", **packet())
    assert answer == {
        "sent": True, "packet": "p1", "total": 1000, "commitment": answer["commitment"],
        "starts_ms": answer["starts_ms"], "ends_ms": answer["starts_ms"] + 180_000,
        "balance": 9000,
    }  # fmt: skip
    terms = {
        "packet": "p1", "user": {"id": user, "name": user}, "total": 1000, "shares": 4,
        "min_share": 1, "split": "random", "commitment": answer["commitment"],
        "starts_ms": answer["starts_ms"], "ends_ms": answer["ends_ms"],
    }  # fmt: skip
    assert (await far.event("redpacket.sent"))["d"] == terms
    assert await far.state("redpacket:p1") == terms | {"status": "open", "left": 4}

    tab = await second.join(room, user)
    for client in (ann, tab):
        assert await client.ask("redpacket.send", key="s", **packet()) == answer
    assert await ann.refused("redpacket.send", key="s", **packet(total=999)) == "key_mismatch"
    assert await ann.refused("redpacket.send", key="t", **packet()) == "exists"
    assert await balance_of(first, user) == 9000
    assert await ledger(first, room) == {"~in": -1000, "packets": 1000}
    assert len(far.events("redpacket.sent")) == 1
    await sound(first, room)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"total": 0}, "bad_request"),
        ({"total": -1}, "bad_request"),
        ({"total": 1.5}, "bad_request"),
        ({"total": "5"}, "bad_request"),
        ({"total": 3}, "bad_request"),
        ({"total": 2**63}, "bad_request"),
        ({"total": 10**13 + 1}, "amount_too_large"),
        ({"total": 2**53 - 1}, "amount_too_large"),
        ({"total": 2_000_001}, "amount_too_large"),
        ({"total": None}, "bad_request"),
        ({"shares": 0}, "bad_request"),
        ({"shares": -4}, "bad_request"),
        ({"shares": 1001}, "bad_request"),
        ({"shares": 2001}, "bad_request"),
        ({"shares": 2**63}, "bad_request"),
        ({"min_share": 0}, "bad_request"),
        ({"min_share": -1}, "bad_request"),
        ({"min_share": 251}, "bad_request"),
        ({"min_share": 2**53 - 1}, "bad_request"),
        ({"split": "fair"}, "bad_request"),
        ({"split": None}, "bad_request"),
        ({"seconds": 9}, "bad_request"),
        ({"seconds": 601}, "bad_request"),
        ({"countdown_s": 61}, "bad_request"),
        ({"countdown_s": -1}, "bad_request"),
        ({"packet": "no way"}, "bad_request"),
        ({"packet": ""}, "bad_request"),
        ({"total": 10_001}, "insufficient_funds"),
    ],
    ids=repr,
)
async def test_redpacket_send_refuses_what_cannot_be(
    one: harness.Worker, room: str, changes: dict[str, Any], code: str
) -> None:
    """A typed error; nothing is charged and nothing shown."""
    await open_host(one, room)
    ann = await rich(one, room, "ann")
    assert await ann.refused("redpacket.send", key="k", **packet(**changes)) == code
    assert await ann.refused("redpacket.send", **packet()) == "key_required"
    assert await balance_of(one, f"ann-{room}") == 10_000
    assert ann.events("redpacket.sent") == []
    assert await ledger(one, room) == {}


async def test_redpacket_send_that_the_room_refuses_gives_the_money_back(
    one: harness.Worker, room: str
) -> None:
    """A room that closes meanwhile, a name that is taken, one packet of a viewer at a time."""
    host = await open_host(one, room)
    ann, bob = await rich(one, room, "ann"), await rich(one, room, "bob")
    await ann.ask("redpacket.send", key="1", **packet())
    assert await bob.refused("redpacket.send", key="1", **packet()) == "exists"
    running = packet(packet="p2")
    assert await ann.refused("redpacket.send", key="2", **running) == "already_running"
    assert await balance_of(one, f"bob-{room}") == 10_000
    assert await balance_of(one, f"ann-{room}") == 9000

    await topup(one, f"boss-{room}", 1000)
    boss = await one.control(room, f"boss-{room}")
    await boss.send(
        {"op": "room.close", "id": 901},
        {"op": "redpacket.send", "id": 902, "key": "k", "d": packet(packet="p3")},
    )
    refused = await boss.item(lambda item: item.get("re") == 902)
    assert refused["err"]["code"] == "room_closed"
    assert await balance_of(one, f"boss-{room}") == 1000
    assert await bob.refused("redpacket.send", key="4", **packet(packet="p4")) == "room_closed"
    assert await bob.refused("redpacket.grab", key="g", packet="p1") == "room_closed"
    await host.ask("room.open")
    assert await boss.refused("redpacket.send", key="k", **packet(packet="p3")) == "room_closed"
    await bob.ask("redpacket.grab", key="g", packet="p1")
    await sound(one, room)


async def test_redpacket_hosts_may_have_several(one: harness.Worker, room: str) -> None:
    """Up to the room's limit."""
    await open_host(one, room)
    await topup(one, f"boss-{room}", 10**6)
    boss = await one.control(room, f"boss-{room}")
    for number in range(20):
        await boss.ask("redpacket.send", key=f"k{number}", **packet(packet=f"p{number}"))
    over = packet(packet="p20")
    assert await boss.refused("redpacket.send", key="over", **over) == "limit_reached"
    ann = await rich(one, room, "ann")
    assert await ann.refused("redpacket.send", key="over", **over) == "limit_reached"
    assert await balance_of(one, f"ann-{room}") == 10_000
    assert await balance_of(one, f"boss-{room}") == 10**6 - 20_000
    await pass_time((one,), room, 181_000)
    await boss.ask("redpacket.send", key="again", **over)
    await sound(one, room)
    await until_balance(one, f"boss-{room}", 10**6 - 1000)


async def test_redpacket_options_are_held(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Who may send how much; what was paid before they changed is answered as it was."""
    wide = await start_worker(embedded_url, plugins=[RedPackets(), Hand()], dev=False)
    options = {"redpackets": {"max_total": "999", "senders": "staff"}}
    narrow = await start_worker(embedded_url, plugins=[RedPackets()], plugin=options, dev=False)
    await open_host(wide, room)
    ann = await rich(wide, room, "ann")
    answer = await ann.ask("redpacket.send", key="s", **packet())
    there = await narrow.join(room, f"ann-{room}")
    assert await there.ask("redpacket.send", key="s", **packet()) == answer
    assert await there.refused("redpacket.send", key="t", **packet(packet="p2")) == "not_allowed"
    await topup(wide, f"boss-{room}", 5000)
    boss = await narrow.control(room, f"boss-{room}")
    assert (
        await boss.refused("redpacket.send", key="1", **packet(packet="p2")) == "amount_too_large"
    )
    await boss.ask("redpacket.send", key="2", **packet(packet="p2", total=999))


@pytest.mark.parametrize(
    "options",
    [{"max_total": 0}, {"max_total": 10**13 + 1}, {"max_total": "much"}, {"senders": "me"}],
    ids=repr,
)
async def test_redpacket_options_that_cannot_be_stop_the_start(
    embedded_url: str, start_worker: harness.StartWorker, options: dict[str, Any]
) -> None:
    """The refusal names the setting."""
    with pytest.raises(ConfigError, match=f"plugin.redpackets.{next(iter(options))}"):
        await start_worker(embedded_url, plugins=[RedPackets()], plugin={"redpackets": options})


# Grabbing.


async def test_redpacket_shares_come_into_the_wallets(pair: Pair, room: str) -> None:
    """In the order of the split that was committed to; the seed at the end proves it."""
    first, second = pair
    await open_host(first, room)
    ann = await rich(first, room, "ann")
    sent = await ann.ask("redpacket.send", key="s", **packet(total=1001, min_share=7))
    users = [f"g{n}-{room}" for n in range(4)]
    clients = [await pair[n % 2].join(room, user) for n, user in enumerate(users)]
    tab = await second.join(room, users[0])

    amounts = []
    for n, client in enumerate(clients):
        answer = await client.ask("redpacket.grab", key="g", packet="p1")
        assert (answer["packet"], answer["share"], answer["left"]) == ("p1", n + 1, 3 - n)
        assert await client.ask("redpacket.grab", key="g", packet="p1") == answer
        amounts.append(answer["amount"])
    assert (await tab.event("redpacket.grabbed"))["d"] == {"packet": "p1", "amount": amounts[0]}
    done = (await tab.event("redpacket.done"))["d"]
    terms = 1001, 4, 7, "random", bytes.fromhex(done["seed"])
    assert shares_of(*terms) == amounts
    assert commitment_of(room, "p1", *terms) == sent["commitment"] == done["commitment"]
    assert (done["taken"], done["grabbed"], done["refunded"]) == (4, 1001, 0)
    best = users[amounts.index(max(amounts))]
    assert done["best"] == {"user": {"id": best, "name": best}, "amount": max(amounts)}
    shown = await tab.state("redpacket:p1", lambda d: d["status"] == "done")
    assert shown == done | {"status": "done", "left": 0}

    for user, amount in zip(users, amounts, strict=True):
        await until_balance(first, user, amount)
    listed = await tab.ask("redpacket.list", packet="p1")
    assert [(row["user"]["id"], row["amount"]) for row in listed["grabs"]] == list(
        zip(users, amounts, strict=True)
    )
    page = await tab.ask("redpacket.list", packet="p1", after=1, limit=2)
    assert [row["share"] for row in page["grabs"]] == [2, 3]
    assert await ledger(first, room) == {"~in": -1001, "packets": 0, "~out": 1001}
    await sound(first, room)


async def test_redpacket_gives_one_share_to_each(one: harness.Worker, room: str) -> None:
    """Whatever key; a try costs nothing; the greeting tells what one has got."""
    await open_host(one, room)
    ann, bob = await rich(one, room, "ann"), await one.join(room, "bob")
    await ann.ask("redpacket.send", key="s", **packet(split="equal", total=1002))
    got = await bob.ask("redpacket.grab", key="g", packet="p1")
    assert got["amount"] == 251
    reply = await bob.command("redpacket.grab", key="h", packet="p1")
    assert (reply["err"]["code"], reply["err"]["amount"]) == ("limit_reached", 251)
    assert await bob.refused("redpacket.grab", packet="p1") == "key_required"
    assert await bob.refused("redpacket.grab", key="x", packet="p9") == "not_found"
    assert await bob.refused("redpacket.list", packet="p9") == "not_found"
    pages = [("limit", 201), ("limit", 0), ("after", -1), ("after", 2001), ("after", 2**63)]
    for field, wrong in pages:
        body: dict[str, Any] = {"packet": "p1", field: wrong}
        assert await bob.refused("redpacket.list", **body) == "bad_request"
    for name in ("", "no way", "p" * 33, 1):
        assert await bob.refused("redpacket.grab", key="x", packet=name) == "bad_request"
    again = await one.join(room, "bob")
    assert again.hello["own"]["redpackets"] == [{"packet": "p1", "amount": 251, "share": 1}]
    assert (await ann.ask("redpacket.grab", key="g", packet="p1"))["amount"] == 251  # one's own
    assert [(await (await one.join(room, user)).ask("redpacket.grab", key="g", packet="p1"))["amount"]
            for user in ("cat", "dan")] == [250, 250]  # fmt: skip
    await sound(one, room)


async def test_redpacket_is_open_for_its_time(shop: harness.Worker, room: str) -> None:
    """By the store's clock: not before the countdown is over, not after the end."""
    await open_host(shop, room)
    ann, bob = await rich(shop, room, "ann"), await shop.join(room, "bob")
    sent = await ann.ask("redpacket.send", key="s", **packet(countdown_s=30, seconds=10))
    assert sent["ends_ms"] - sent["starts_ms"] == 10_000
    assert (await bob.state("redpacket:p1"))["status"] == "countdown"
    reply = await bob.command("redpacket.grab", key="g", packet="p1")
    assert (reply["err"]["code"], reply["err"]["starts_ms"]) == ("too_early", sent["starts_ms"])
    assert 0 < reply["err"]["retry_ms"] <= 30_000
    await pass_time((shop,), room, 30_001)
    await bob.state("redpacket:p1", lambda d: d["status"] == "open")
    amount = (await bob.ask("redpacket.grab", key="g", packet="p1"))["amount"]
    shop.node.store.skew_ms += 10_000
    cat = await shop.join(room, "cat")
    assert await cat.refused("redpacket.grab", key="g", packet="p1") == "ended"
    done = (await bob.event("redpacket.done"))["d"]
    assert (done["grabbed"], done["refunded"], done["taken"]) == (amount, 1000 - amount, 1)
    await until_balance(shop, f"ann-{room}", 10_000 - amount)
    await sound(shop, room)

    await pass_time((shop,), room, KEEP_MS)
    assert await bob.state("redpacket:p1", lambda d: d is None) is None
    assert await ann.refused("redpacket.send", key="t", **packet()) == "exists"
    assert (await cat.ask("redpacket.list", packet="p1"))["taken"] == 1
    assert await balance_of(shop, f"ann-{room}") == 10_000 - amount


async def test_redpacket_nobody_took_goes_back_whole(one: harness.Worker, room: str) -> None:
    """Also when the room has closed; once."""
    host = await open_host(one, room)
    ann = await rich(one, room, "ann")
    await ann.ask("redpacket.send", key="s", **packet())
    await host.ask("room.close")
    await pass_time((one,), room, 181_000)
    done = (await ann.event("redpacket.done"))["d"]
    assert (done["grabbed"], done["refunded"]) == (0, 1000)
    assert "best" not in done
    await until_balance(one, f"ann-{room}", 10_000)
    await pass_time((one,), room, 181_000)
    await sound(one, room)
    assert await balance_of(one, f"ann-{room}") == 10_000
    assert len(ann.events("redpacket.done")) == 1


async def test_redpacket_that_is_empty_is_refused_by_the_worker(pair: Pair, room: str) -> None:
    """Losers do not reach the store; who has a share gets its answer, whomever it asks."""
    first, second = pair
    await open_host(first, room)
    ann, bob = await rich(first, room, "ann"), await first.join(room, "bob")
    tab = await second.join(room, "bob")
    near, far = await first.join(room, "cat"), await second.join(room, "dan")
    await ann.ask("redpacket.send", key="s", **packet(shares=1))
    got = await bob.ask("redpacket.grab", key="g", packet="p1")
    for client in (near, far):
        await client.state("redpacket:p1", lambda d: d["left"] == 0)
        assert await client.refused("redpacket.grab", key="g", packet="p1") == "sold_out"
    for worker in pair:
        assert worker.node.metrics.registry.get_sample_value(UNASKED) == 1
    for client in (bob, tab):
        assert await client.ask("redpacket.grab", key="g", packet="p1") == got
    late = await second.join(room, "eve")
    assert await late.refused("redpacket.grab", key="g", packet="p1") == "sold_out"


async def test_redpacket_grab_is_repeated_byte_for_byte(one: harness.Worker, room: str) -> None:
    """In one batch and later; a broken neighbour takes nothing away."""
    await open_host(one, room)
    ann = await rich(one, room, "ann")
    await ann.ask("redpacket.send", key="s", **packet(shares=2))

    def grab(user: str) -> Op:
        return Op("redpacket.grab", user, {"packet": "p1", "name": user}, key="g", digest="d")

    ops = [grab("a"), Op("hand.break", "", {}), grab("a"), grab("b"), grab("c"), grab("a")]
    replies = (await one.node.hub.commit(room, ops)).replies
    assert [reply[:1] for reply in replies] == [b"+", b"!", b"+", b"+", b"-", b"+"]
    assert replies[0] == replies[2] == replies[5]
    assert (await one.node.hub.commit(room, [grab("b")])).replies == [replies[3]]
    await sound(one, room)


async def test_redpacket_seed_and_shares_are_secret_until_the_end(
    one: harness.Worker, room: str
) -> None:
    """Not in the log, the trail, the states or the snapshot; a split that is none is refused."""
    host = await open_host(one, room)
    ann = await rich(one, room, "ann")
    await ann.ask("redpacket.send", key="s", **packet())
    text = (await run(one, room, "hand.read", verb="GET", key="redpacket:p:1", args=[]))["value"]
    seed = text.partition('"seed":"')[2][:64]
    assert len(bytes.fromhex(seed)) == 32
    places = [
        await run(one, room, "hand.read", verb="XRANGE", key=name, args=["-", "+"])
        for name in ("log", "trail")
    ]
    places += [await run(one, room, op) for op in ("sys.sync", "sys.snapshot")]
    assert seed not in str([*places, ann.items, host.items])

    body = packet(packet="p2") | {
        "min_share": 1, "seconds": 60, "countdown_s": 0, "name": "x", "staff": True, "sound": True,
        "commitment": "c" * 64, "_seed": "s",
    }  # fmt: skip
    for shares in ([250] * 3, [250] * 3 + [251], [1000, 0, 0, 0], [1001, 1, 1, -3], [999.5, 0.5]):
        op = Op(
            "redpacket.send", "eve", body | {"_shares": shares}, key=str(shares)[:9], digest="d"
        )
        reply = (await one.node.hub.commit(room, [op])).replies[0]
        assert reply[:1] != b"+", reply
    assert await ledger(one, room) == {"~in": -1000, "packets": 1000}


async def test_redpacket_audit_names_what_was_changed_by_hand(
    one: harness.Worker, room: str
) -> None:
    """Shares, grabs and the ledger are recomputed."""
    await open_host(one, room)
    ann, bob = await rich(one, room, "ann"), await one.join(room, "bob")
    await ann.ask("redpacket.send", key="s", **packet(split="equal"))
    await bob.ask("redpacket.grab", key="g", packet="p1")
    await check(one, room)

    async def broken(verb: str, key: str, *args: Any) -> set[str]:
        await run(one, room, "hand.write", verb=verb, key=key, args=list(args))
        return {row["what"] for row in (await run(one, room, "sys.check"))["broken"]}

    assert await broken("LSET", "redpacket:s:1", 3, "251") == {"redpacket.total"}
    await run(one, room, "hand.write", verb="LSET", key="redpacket:s:1", args=[3, "250"])
    assert await broken("HSET", "redpacket:g:1", "eve", "2|250") == {"redpacket.users"}
    assert await broken("HSET", "redpacket:g:1", "bob", "1|249") == {
        "redpacket.users", "redpacket.share",
    }  # fmt: skip
    await run(one, room, "hand.write", verb="HSET", key="redpacket:g:1", args=["bob", "1|250"])
    await run(one, room, "hand.write", verb="HDEL", key="redpacket:g:1", args=["eve"])
    assert await broken("HINCRBY", "ledger", "packets", "5") == {"redpacket.held", "ledger.sum"}


@pytest.fixture
def places() -> Iterator[None]:
    """Nothing happens at any place when the test is over."""
    yield
    failpoints.disarm_all()


@pytest.mark.parametrize("place", ["pay.held", "pay.effected", "pay.settling"])
async def test_redpacket_that_was_cut_off_is_resolved(
    one: harness.Worker, room: str, place: str, places: None
) -> None:
    """There is a packet and it was paid for, or the money goes back and the packet never comes."""
    await open_host(one, room)
    ann, user = await rich(one, room, "ann"), f"ann-{room}"
    failpoints.arm(place, cut_off)
    assert await ann.refused("redpacket.send", key="s", **packet()) == "internal"
    failpoints.disarm_all()
    assert await balance_of(one, user) == 9000
    one.node.store.skew_ms += STALE_MS + 1
    for _ in range(2):
        await Payments(one.node.hub).recover()
    if place == "pay.held":
        assert await balance_of(one, user) == 10_000
        assert await ann.refused("redpacket.send", key="s", **packet()) == "aborted"
        assert await ann.refused("redpacket.grab", key="g", packet="p1") == "not_found"
    else:
        assert (await ann.ask("redpacket.send", key="s", **packet()))["sent"]
        assert await balance_of(one, user) == 9000
        await ann.event("redpacket.sent")
        assert len(ann.events("redpacket.sent")) == 1
    await sound(one, room)


@pytest.mark.parametrize("place", ["payout.found", "payout.credited", "payout.noted"])
async def test_redpacket_refund_that_was_cut_off_comes_once(
    pair: Pair, room: str, place: str, places: None
) -> None:
    """The worker that ended the packet dies on the way to the wallets; the other one finishes it."""
    first, second = pair
    await open_host(first, room)
    ann, bob = await rich(first, room, "ann"), await second.join(room, f"bob-{room}")
    await ann.ask("redpacket.send", key="s", **packet())
    failpoints.arm(place, cut_off)
    amount = (await bob.ask("redpacket.grab", key="g", packet="p1"))["amount"]
    await pass_time(pair, room, 181_000)
    await bob.event("redpacket.done", grabbed=amount, refunded=1000 - amount)
    failpoints.disarm_all()
    await pass_time(pair, room, PAYOUT_STALE_MS + 1)
    for worker in (*pair, *pair):
        wallet = next(p for p in worker.node.manager.plugins if isinstance(p, Wallet))
        await wallet._payouts.recover()
    await sound(second, room)
    assert await balance_of(first, f"bob-{room}") == amount
    assert await balance_of(first, f"ann-{room}") == 10_000 - amount


# Storms.


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_redpacket_storm(pair: Pair, room: str, seed: int) -> None:
    """Many grab several packets at two workers, keys repeated: every minor unit is accounted for."""
    chance = random.Random(seed)
    await open_host(pair[0], room)
    await topup(pair[0], f"boss-{room}", 10**6)
    boss = await pair[0].control(room, f"boss-{room}")
    sent = {}
    for number in range(3):
        shares = chance.randint(1, GRABBERS + 10)
        total = chance.randint(shares, 100_000)
        body = packet(
            packet=f"p{number}",
            total=total,
            shares=shares,
            split=chance.choice(["equal", "random"]),
        )
        await boss.ask("redpacket.send", key=body["packet"], **body)
        sent[body["packet"]] = body
    users = [f"g{n}-{room}" for n in range(GRABBERS)]
    tabs = {user: [await worker.join(room, user) for worker in pair] for user in users}
    answers: dict[tuple[str, str], list[dict[str, Any]]] = {}

    async def grab(user: str, name: str, key: str) -> None:
        reply = await chance.choice(tabs[user]).command("redpacket.grab", key=key, packet=name)
        answers.setdefault((user, name), []).append(reply)

    tries = [
        (user, name, f"{name}-{chance.randint(0, 1)}")
        for user in users for name in sent for _ in range(chance.randint(1, 3))
    ]  # fmt: skip
    chance.shuffle(tries)
    await asyncio.gather(*(grab(*one) for one in tries))

    won: dict[str, dict[str, int]] = {name: {} for name in sent}
    for (user, name), replies in answers.items():
        got = {str(reply["d"]) for reply in replies if "d" in reply}
        assert len(got) <= 1, "one share each"
        won[name].update((user, reply["d"]["amount"]) for reply in replies if "d" in reply)
    await pass_time(pair, room, 181_000)
    refunds = 0
    for name, body in sent.items():
        done = (await boss.event("redpacket.done", packet=name))["d"]
        assert done["taken"] == len(won[name]) == min(body["shares"], GRABBERS)
        assert done["grabbed"] == sum(won[name].values())
        assert done["grabbed"] + done["refunded"] == body["total"]
        seed_bytes = bytes.fromhex(done["seed"])
        split = shares_of(body["total"], body["shares"], 1, body["split"], seed_bytes)
        assert sorted(won[name].values()) == sorted(split[: done["taken"]])
        refunds += done["refunded"]
    await sound(pair[1], room)
    for user in users:
        total = sum(won[name].get(user, 0) for name in sent)
        assert await balance_of(pair[0], user) == total
    spent = sum(body["total"] for body in sent.values())
    assert await balance_of(pair[0], f"boss-{room}") == 10**6 - spent + refunds
