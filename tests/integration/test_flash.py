"""Flash sales over the wire: arming, reserving, paying, giving back, expiring, ending."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import pytest

import harness
from harness import Pair, pass_time, run, service
from liveroom import Op, Plugin
from liveroom.features.flash import MAX_PER_USER, MAX_TOTAL


HOLD_MS = 300_000
RUN_MS = 600_000
KEEP_MS = 600_000
PAGE = 64
SHELF = 50


class Hand(Plugin):
    """Stands for other features, and for a hand in the store."""

    name = "hand"
    lua = """
ops['hand.write'] = function(op) write(op.d.verb, key(op.d.key), unpack(op.d.args)) end
ops['hand.read'] = function(op) return {value = call(op.d.verb, key(op.d.key), unpack(op.d.args))} end
ops['hand.jam'] = function(op)
  for i = 1, 40 do write('ZADD', key('due'), i, 'nobodys|' .. i) end
end
heed('buy', function(user, amount) write('HINCRBY', key('hand:paid'), user, amount) end)
"""


PLUGINS = (Hand,)


@pytest.fixture
async def shop(store_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on the store."""
    return await start_worker(store_url, plugins=[Hand()])


def sale(**changes: Any) -> dict[str, Any]:
    """Return a sale that has begun."""
    body = {"sale": "s1", "sku": "k1", "price": 900, "total": 10, "starts_in_s": 0}
    return {name: value for name, value in (body | changes).items() if value is not None}


async def open_shop(worker: harness.Worker, room: str, *, stock: int | None = SHELF) -> Any:
    """Open a room with `k1` and `k2` on its shelf at 1000; return its host."""
    host = await worker.open_control(room)
    await host.ask("room.open")
    for number in (1, 2):
        sku = {"sku": f"k{number}", "price": 1000} | ({} if stock is None else {"stock": stock})
        await host.ask("shelf.put", item=f"i{number}", title="T", currency="CNY", skus=[sku])
    return host


async def open_sale(worker: harness.Worker, room: str, **changes: Any) -> Any:
    """Open a room with a sale that runs; return its host."""
    host = await open_shop(worker, room)
    await host.ask("flash.arm", key="arm", **sale(**changes))
    return host


async def stock_of(worker: harness.Worker, room: str, sku: str = "k1") -> dict[str, Any]:
    """Return the state of a sale as the store has it; its units add up."""
    states = (await run(worker, room, "sys.sync"))["states"]
    found: dict[str, Any] = next(s["d"] for s in states if s["st"] == f"stock:{sku}")
    assert found["available"] + found["reserved"] + found["sold"] == found["total"], found
    assert min(found["available"], found["reserved"], found["sold"]) >= 0, found
    return found


async def counts(worker: harness.Worker, room: str, sku: str = "k1") -> tuple[int, int, int]:
    """Return how many units are available, reserved and sold."""
    found = await stock_of(worker, room, sku)
    return found["available"], found["reserved"], found["sold"]


async def on_shelf(worker: harness.Worker, room: str, sku: str = "k1") -> int:
    """Return the shelf's stock of a SKU."""
    row = await run(worker, room, "hand.read", verb="HGET", key="skus", args=[sku])
    stock: int = orjson.loads(row["value"])["stock"]
    return stock


async def check(worker: harness.Worker, room: str) -> None:
    """Recompute every invariant of the room."""
    found = await run(worker, room, "sys.check")
    assert "broken" not in found, found
    assert found["counted"]["flash.sum"]


async def reserve(client: harness.Client, key: str = "k", **d: Any) -> str:
    """Reserve; return the reservation's id."""
    answer = await client.ask("flash.reserve", key=key, **({"sku": "k1"} | d))
    reservation: str = answer["reservation"]
    return reservation


async def pay(
    worker: harness.Worker, room: str, reservation: str, amount: int = 900, order: str = "o1"
) -> dict[str, Any]:
    """Say that a reservation was paid; return the reply item."""
    body: dict[str, Any] = {"reservation": reservation, "amount": amount, "order": order}
    return await service(worker, room, "flash.confirm", **body)


# Arming.


async def test_flash_arm_takes_from_the_shelf(shop: harness.Worker, room: str) -> None:
    """Everyone is told; the same once more changes nothing; another content is refused."""
    host = await open_shop(shop, room)
    viewer = await shop.join(room, "u1")
    answer = await host.ask("flash.arm", key="1", **sale(per_user=2))
    assert answer["armed"]
    assert (answer["status"], answer["total"]) == ("running", 10)
    assert answer["ends_ms"] - answer["starts_ms"] == RUN_MS
    shown = await viewer.state("stock:k1")
    assert shown == {
        "sale": "s1", "sku": "k1", "price": 900, "currency": "CNY", "list_price": 1000,
        "total": 10, "available": 10, "reserved": 0, "sold": 0, "per_user": 2,
        "status": "running", "starts_ms": answer["starts_ms"], "ends_ms": answer["ends_ms"],
    }  # fmt: skip
    armed = (await viewer.event("flash.armed"))["d"]
    assert (armed["hold_s"], armed["by"], armed["total"]) == (300, "host", 10)
    assert await viewer.event("flash.started", sale="s1")
    assert await on_shelf(shop, room) == SHELF - 10

    for key in ("1", "2"):  # the stored answer, and that to another key
        again = await host.ask("flash.arm", key=key, **sale(per_user=2))
        assert again == answer | {"armed": key == "1"}
    assert await host.refused("flash.arm", key="3", **sale(per_user=3)) == "exists"
    assert await host.refused("flash.arm", key="4", **sale(sku="k2", per_user=2)) == "exists"
    reply = await host.command("flash.arm", key="5", **sale(sale="s2"))
    assert (reply["err"]["code"], reply["err"]["sale"]) == ("already_running", "s1")
    assert len(viewer.events("flash.armed")) == 1
    assert await on_shelf(shop, room) == SHELF - 10
    await check(shop, room)


async def test_flash_arm_refuses_what_cannot_be(shop: harness.Worker, room: str) -> None:
    """Unknown SKU, too high a price, more than there is; nothing is taken for it."""
    host = await open_shop(shop, room)
    reply = await host.command("flash.arm", key="1", **sale(total=SHELF + 1))
    err = reply["err"]
    assert (err["code"], err["stock"], err["wanted"]) == ("sold_out", SHELF, SHELF + 1)
    reply = await host.command("flash.arm", key="2", **sale(price=1001))
    assert (reply["err"]["code"], reply["err"]["list_price"]) == ("bad_request", 1000)
    assert await host.refused("flash.arm", key="3", **sale(sku="none")) == "not_found"
    assert await host.refused("flash.arm", **sale()) == "key_required"
    bad: tuple[dict[str, Any], ...] = (
        {"total": 0}, {"total": -1}, {"total": MAX_TOTAL + 1}, {"total": 2**63}, {"total": 1.5},
        {"price": 0}, {"price": -5}, {"price": 2**63}, {"per_user": 0},
        {"per_user": MAX_PER_USER + 1}, {"hold_s": 29}, {"hold_s": 3601}, {"run_s": -1},
        {"run_s": 86_401}, {"starts_in_s": 86_401}, {"starts_in_s": -1}, {"starts_ms": 1},
        {"starts_in_s": None, "starts_ms": 10**14}, {"sale": "a b"}, {"sku": "k|1"},
    )  # fmt: skip
    for n, change in enumerate(bad):
        code = await host.refused("flash.arm", key=f"b{n}", **sale(**change))
        assert code == "bad_request", change
    assert await on_shelf(shop, room) == SHELF
    late = await host.command("flash.arm", key="v", **sale(), if_version=3)
    assert (late["err"]["code"], late["err"]["version"]) == ("version_conflict", 0)
    assert (await host.ask("flash.arm", key="w", **sale(), if_version=0))["armed"]


async def test_flash_is_steered_by_hosts_alone(shop: harness.Worker, room: str) -> None:
    """Viewers know no such command, assistants may not; the back end's are its own."""
    host = await open_sale(shop, room)
    viewer = await shop.join(room, "u1")
    helper = await shop.control(room, "mod", "moderator")
    commands: tuple[tuple[str, dict[str, Any]], ...] = (
        ("flash.arm", sale()), ("flash.start", {"sku": "k1"}), ("flash.stop", {"sku": "k1"}),
        ("flash.stock", {"sku": "k1", "total": 5}),
    )  # fmt: skip
    for op, d in commands:
        assert await viewer.refused(op, key="k", **d) == "unknown_op"
        assert await helper.refused(op, key="k", **d) == "forbidden"
    for op in ("flash.confirm", "flash.release", "flash.reservation"):
        d = {"reservation": "x", "amount": 1, "order": "o"}
        for client in (viewer, helper, host):
            assert await client.refused(op, **d) == "unknown_op"


async def test_flash_of_a_sku_that_nobody_counts(shop: harness.Worker, room: str) -> None:
    """Its units are the sale's own: nothing is taken, nothing goes back."""
    host = await open_shop(shop, room, stock=None)
    await host.ask("flash.arm", key="1", **sale(total=MAX_TOTAL))
    viewer = await shop.join(room, "u1")
    reservation = await reserve(viewer)
    await host.ask("flash.stop", sku="k1")
    await service(shop, room, "flash.release", reservation=reservation)
    row = await run(shop, room, "hand.read", verb="HGET", key="skus", args=["k1"])
    assert "stock" not in orjson.loads(row["value"])
    assert await counts(shop, room) == (MAX_TOTAL, 0, 0)
    await check(shop, room)


async def test_flash_needs_an_open_room(shop: harness.Worker, room: str) -> None:
    """A closed room takes no reservation, in the same batch either; what is held may be paid."""
    host = await open_sale(shop, room)
    viewer = await shop.join(room, "u1")
    reservation = await reserve(viewer)
    ops = [
        Op("flash.reserve", "u2", {"sku": "k1", "n": 1}),
        Op("room.close", "host", {}),
        Op("flash.reserve", "u3", {"sku": "k1", "n": 1}),
    ]
    replies = (await shop.node.hub.commit(room, ops)).replies
    assert [reply[:1] for reply in replies] == [b"+", b"+", b"-"]
    assert orjson.loads(replies[2][1:])["code"] == "room_closed"
    assert await viewer.refused("flash.reserve", key="2", sku="k1") == "room_closed"
    assert await host.refused("flash.start", sku="k1") == "room_closed"
    assert await host.refused("flash.stock", sku="k1", total=3) == "room_closed"
    assert await host.refused("flash.arm", key="2", **sale(sale="s2", sku="k2")) == "room_closed"
    assert (await pay(shop, room, reservation))["d"]["state"] == "paid"
    assert (await host.ask("flash.stop", sku="k1"))["stopped"]
    assert await counts(shop, room) == (8, 1, 1)


# Its course.


async def test_flash_waits_for_its_start(shop: harness.Worker, room: str) -> None:
    """Without a time it waits for the host; starting twice is starting once."""
    host = await open_shop(shop, room)
    viewer = await shop.join(room, "u1")
    assert await host.refused("flash.start", sku="k1") == "not_found"
    answer = await host.ask("flash.arm", key="1", **sale(starts_in_s=None, run_s=0))
    assert (answer["status"], answer["starts_ms"], answer["ends_ms"]) == ("armed", 0, 0)
    reply = await viewer.command("flash.reserve", key="k", sku="k1")
    assert reply["err"]["code"] == "too_early"
    assert "starts_ms" not in reply["err"]
    await pass_time(shop, room, 86_400_000)
    assert viewer.events("flash.started") == []

    started = await host.ask("flash.start", sku="k1")
    assert started["started"]
    assert await host.ask("flash.start", sku="k1") == started | {"started": False}
    await viewer.event("flash.started", starts_ms=started["starts_ms"])
    await reserve(viewer)  # the key that came too early
    await pass_time(shop, room, 86_400_000)
    assert (await stock_of(shop, room))["status"] == "running"
    assert len(viewer.events("flash.started")) == 1


async def test_flash_runs_from_its_time_to_its_end(shop: harness.Worker, room: str) -> None:
    """Before: `too_early` with the time; after: `ended`; what is left goes back to the shelf."""
    host = await open_shop(shop, room)
    viewer = await shop.join(room, "u1")
    answer = await host.ask("flash.arm", key="1", **sale(starts_in_s=60, run_s=120))
    assert answer["ends_ms"] - answer["starts_ms"] == 120_000
    err = (await viewer.command("flash.reserve", key="k", sku="k1"))["err"]
    assert (err["code"], err["starts_ms"]) == ("too_early", answer["starts_ms"])
    assert 0 < err["retry_ms"] <= 60_000
    assert await counts(shop, room) == (10, 0, 0)

    await pass_time(shop, room, 60_000)
    await viewer.event("flash.started", starts_ms=answer["starts_ms"])
    await reserve(viewer)
    await pass_time(shop, room, 120_000)
    ended = (await viewer.event("flash.ended"))["d"]
    assert ended == {
        "sale": "s1", "sku": "k1", "total": 10, "sold": 0, "reserved": 1, "unsold": 9,
    }  # fmt: skip
    shown = await viewer.state("stock:k1", lambda d: d["status"] == "ended")
    assert shown["ends_ms"] == answer["ends_ms"]
    assert await on_shelf(shop, room) == SHELF - 1
    other = await shop.join(room, "u2")
    assert await other.refused("flash.reserve", key="k", sku="k1") == "ended"
    assert await host.refused("flash.start", sku="k1") == "ended"
    assert await host.refused("flash.stock", sku="k1", total=20) == "ended"
    assert not (await host.ask("flash.stop", sku="k1"))["stopped"]
    assert len(viewer.events("flash.ended")) == 1
    await check(shop, room)


async def test_flash_start_before_its_time(shop: harness.Worker, room: str) -> None:
    """The host may be earlier than the plan: then the end is earlier too."""
    host = await open_shop(shop, room)
    planned = await host.ask("flash.arm", key="1", **sale(starts_in_s=3600, run_s=60))
    started = await host.ask("flash.start", sku="k1")
    assert started["started"]
    assert started["ends_ms"] < planned["starts_ms"]
    await pass_time(shop, room, 60_000)
    await host.event("flash.ended")
    await pass_time(shop, room, 3_600_000)
    assert len(host.events("flash.started")) == len(host.events("flash.ended")) == 1


async def test_flash_is_judged_by_the_clock_not_by_its_timers(
    shop: harness.Worker, room: str
) -> None:
    """Timers that are late do not keep anyone out before the end, nor let anyone in after it."""
    host = await open_shop(shop, room)
    await host.ask("flash.arm", key="1", **sale(starts_in_s=60, run_s=60))

    async def at_once(skew_ms: int, user: str) -> bytes:
        await run(shop, room, "hand.jam")  # more timers than one call runs
        shop.node.store.skew_ms = skew_ms
        op = Op("flash.reserve", user, {"sku": "k1", "n": 1})
        return (await shop.node.hub.commit(room, [op])).replies[0]

    assert (await at_once(60_500, "u1"))[:1] == b"+"
    assert b'"ended"' in await at_once(120_500, "u2")
    assert host.events("flash.ended") == []
    await pass_time(shop, room, 0)
    await host.event("flash.started")
    await host.event("flash.ended", reserved=1)
    await check(shop, room)


async def test_flash_stop_leaves_what_is_held(shop: harness.Worker, room: str) -> None:
    """The rest goes back at once; what is held is paid, given back or expires, each as always."""
    host = await open_sale(shop, room, per_user=3)
    viewers = [await shop.join(room, f"u{n}") for n in range(3)]
    held = [await reserve(viewer, n=n + 1) for n, viewer in enumerate(viewers)]
    stopped = await host.ask("flash.stop", sku="k1")
    assert (stopped["stopped"], stopped["status"]) == (True, "ended")
    assert await host.ask("flash.stop", sku="k1") == stopped | {"stopped": False}
    assert await on_shelf(shop, room) == SHELF - 6
    assert await counts(shop, room) == (4, 6, 0)

    assert (await pay(shop, room, held[0]))["d"]["state"] == "paid"
    await viewers[1].ask("flash.cancel", reservation=held[1])
    assert await on_shelf(shop, room) == SHELF - 4
    await check(shop, room)
    await pass_time(shop, room, HOLD_MS)
    await viewers[2].event("flash.expired", reservation=held[2])
    assert await on_shelf(shop, room) == SHELF - 1
    assert await counts(shop, room) == (9, 0, 1)
    await check(shop, room)


async def test_flash_is_forgotten_after_a_while(shop: harness.Worker, room: str) -> None:
    """Late joiners are not shown old sales for ever; the back end may still ask."""
    host = await open_sale(shop, room)
    viewer = await shop.join(room, "u1")
    reservation = await reserve(viewer)
    await pay(shop, room, reservation)
    await host.ask("flash.stop", sku="k1")
    late = await shop.join(room, "u2")
    assert any(state["st"] == "stock:k1" for state in late.hello["states"])
    await pass_time(shop, room, KEEP_MS)
    await viewer.item(lambda item: item.get("st") == "stock:k1" and item["d"] is None)
    late = await shop.join(room, "u3")
    assert not any(state["st"] == "stock:k1" for state in late.hello["states"])
    assert await viewer.refused("flash.reserve", key="2", sku="k1") == "not_found"
    found = await service(shop, room, "flash.reservation", reservation=reservation)
    assert (found["d"]["state"], found["d"]["order"]) == ("paid", "o1")
    assert (await host.ask("flash.arm", key="2", **sale(total=3)))["armed"]  # its name is free


async def test_flash_sales_of_a_sku_follow_one_another(shop: harness.Worker, room: str) -> None:
    """The newest is shown; what was reserved in the one before stays what it was."""
    host = await open_sale(shop, room)
    viewer = await shop.join(room, "u1")
    first = await reserve(viewer)
    await host.ask("flash.stop", sku="k1")
    await host.ask("flash.arm", key="2", **sale(sale="s2", price=800, total=5))
    second = await reserve(viewer, "k2")
    shown = await stock_of(shop, room)
    assert (shown["sale"], shown["price"], shown["reserved"]) == ("s2", 800, 1)
    assert (await pay(shop, room, first, 900))["d"]["sale"] == "s1"
    assert (await pay(shop, room, second, 800))["d"]["sale"] == "s2"
    shown = await stock_of(shop, room)
    assert (shown["sale"], shown["sold"]) == ("s2", 1)
    assert await on_shelf(shop, room) == SHELF - 1 - 5
    await check(shop, room)


# Stock.


async def test_flash_stock_is_a_ledger(shop: harness.Worker, room: str) -> None:
    """Up and down to what is held or sold; every change is an event, and the shelf's."""
    host = await open_sale(shop, room, per_user=3)
    viewer = await shop.join(room, "u1")
    await pay(shop, room, await reserve(viewer, n=2), 1800)
    await reserve(viewer, "2")
    err = (await host.command("flash.stock", sku="k1", total=2))["err"]
    assert (err["code"], err["total"], err["reserved"], err["sold"]) == ("below_held", 10, 1, 2)
    answer = await host.ask("flash.stock", sku="k1", total=3)
    assert answer == {
        "changed": True, "sale": "s1", "sku": "k1", "total": 3, "was": 10, "available": 0,
    }  # fmt: skip
    assert await on_shelf(shop, room) == SHELF - 3
    assert (await host.event("flash.sold_out"))["d"]["total"] == 3
    again = await host.ask("flash.stock", sku="k1", total=3)
    assert (again["changed"], again["was"]) == (False, 3)
    await host.ask("flash.stock", sku="k1", total=12)
    assert await counts(shop, room) == (9, 1, 2)
    await host.event("flash.stock", was=3)
    ledger = [(e["d"]["was"], e["d"]["total"]) for e in host.events("flash.stock")]
    assert ledger == [(10, 3), (3, 12)]
    assert await on_shelf(shop, room) == SHELF - 12

    err = (await host.command("flash.stock", sku="k1", total=SHELF + 1))["err"]
    assert (err["code"], err["stock"]) == ("sold_out", SHELF - 12)
    for total in (-1, MAX_TOTAL + 1, 1.5, "3"):
        assert await host.refused("flash.stock", sku="k1", total=total) == "bad_request"
    assert await host.refused("flash.stock", sku="none", total=1) == "not_found"
    await check(shop, room)


async def test_flash_edits_of_two_hosts_do_not_fight(shop: harness.Worker, room: str) -> None:
    """The one who has not seen the other's edit is refused, in the same batch too."""
    host = await open_sale(shop, room)
    err = (await host.command("flash.stock", sku="k1", total=11, if_version=0))["err"]
    assert (err["code"], err["version"]) == ("version_conflict", 1)
    edits = [
        Op("flash.stock", host, {"sku": "k1", "total": total, "if_version": 1})
        for host, total in (("h1", 20), ("h2", 30))
    ]
    replies = (await shop.node.hub.commit(room, edits)).replies
    assert replies[0][:1] == b"+"
    refused = orjson.loads(replies[1][1:])
    assert (refused["code"], refused["version"]) == ("version_conflict", 2)
    assert (await stock_of(shop, room))["total"] == 20


# Reserving.


async def test_flash_reserve_answers_what_will_be_charged(shop: harness.Worker, room: str) -> None:
    """The answer names price, amount and deadline; everyone sees what is left."""
    await open_sale(shop, room, per_user=3, hold_s=60)
    viewer, other = await shop.join(room, "u1"), await shop.join(room, "u2")
    answer = await viewer.ask("flash.reserve", key="k", sku="k1", n=2, price=900)
    now = (await shop.node.hub.commit(room, [])).now_ms
    assert 0 < answer.pop("expires_ms") - now <= 60_000
    reservation = answer.pop("reservation")
    assert re.fullmatch(r"1-u1-[0-9a-f]{20}", reservation)
    assert answer == {"sku": "k1", "n": 2, "price": 900, "amount": 1800, "currency": "CNY"}
    shown = await other.state("stock:k1", lambda d: d["reserved"] == 2)
    assert shown["available"] == 8
    again = await shop.join(room, "u1")
    mine = again.hello["own"]["flash"]
    assert [row["reservation"] for row in mine["reservations"]] == [reservation]
    assert mine["units"] == {"k1": 2}
    assert "flash" not in other.hello["own"]
    await check(shop, room)


async def test_flash_reserve_refuses_and_takes_nothing(shop: harness.Worker, room: str) -> None:
    """Each refusal says why with its values; the same key may succeed later."""
    host = await open_sale(shop, room, total=3, per_user=2)
    one, two = await shop.join(room, "u1"), await shop.join(room, "u2")
    assert await one.refused("flash.reserve", key="k", sku="k2") == "not_found"
    assert await one.refused("flash.reserve", sku="k1") == "key_required"
    err = (await one.command("flash.reserve", key="k", sku="k1", price=899))["err"]
    assert (err["code"], err["price"]) == ("version_conflict", 900)
    err = (await one.command("flash.reserve", key="k", sku="k1", n=3))["err"]
    assert (err["code"], err["per_user"], err["units"]) == ("limit_reached", 2, 0)
    assert await counts(shop, room) == (3, 0, 0)

    held = await reserve(one, n=2)
    err = (await one.command("flash.reserve", key="2", sku="k1"))["err"]
    assert (err["code"], err["per_user"], err["units"]) == ("limit_reached", 2, 2)
    err = (await two.command("flash.reserve", key="2", sku="k1", n=2))["err"]
    assert (err["code"], err["available"]) == ("sold_out", 1)
    assert await counts(shop, room) == (1, 2, 0)
    assert host.events("flash.sold_out") == []
    await one.ask("flash.cancel", reservation=held)
    await reserve(two, "2", n=2)  # the key that was refused
    await reserve(one, "3")
    assert (await host.event("flash.sold_out"))["d"]["reserved"] == 3
    await check(shop, room)


async def test_flash_reserve_refuses_counts_that_are_none(shop: harness.Worker, room: str) -> None:
    """Zero, negative, huge, fractions, text, in both codecs."""
    await open_sale(shop, room, per_user=MAX_PER_USER)
    clients = [
        await shop.join(room, "u1"),
        await shop.join(room, "u1", subprotocol=harness.MSGPACK),
    ]
    for client in clients:
        for n in (0, -1, MAX_PER_USER + 1, 2**53, 2**63, 2**64 - 1, -(2**63), 1.5, "1", True):
            assert await client.refused("flash.reserve", key="k", sku="k1", n=n) == "bad_request", n
        for price in (0, -1, 1.5, 2**53):
            d = {"sku": "k1", "price": price}
            assert await client.refused("flash.reserve", key="k", **d) == "bad_request", price
    for n in (0, -1, 1.5):  # the script holds it by itself
        op = Op("flash.reserve", "u1", {"sku": "k1", "n": n})
        reply = (await shop.node.hub.commit(room, [op])).replies[0]
        assert orjson.loads(reply[1:])["code"] == "bad_request"
    assert await counts(shop, room) == (10, 0, 0)


async def raw_reply(worker: harness.Worker, room: str, user: str, command: dict[str, Any]) -> bytes:
    """Send a command on a connection of its own; return the reply item's bytes."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{worker.http}/ws", protocols=[harness.JSON]) as ws,
    ):
        hello = {"room": room, "token": worker.token(room, user=user)}
        await ws.send_str(orjson.dumps({"op": "hello", "id": 1, "d": hello}).decode())
        await ws.send_str(orjson.dumps(command | {"id": 77}).decode())
        async for message in ws:
            found = re.search(rb'\{"re":77,.*?\}\}', message.data.encode())
            if found:
                return found[0]
    raise AssertionError("closed")


async def test_flash_reserve_is_answered_alike_for_ever(pair: Pair, room: str) -> None:
    """The same key: equal bytes from any worker, whatever became of the reservation; one effect."""
    first, second = pair
    await open_sale(first, room, per_user=2)
    command = {"op": "flash.reserve", "key": "k", "d": {"sku": "k1", "n": 2}}
    answers = [await raw_reply(worker, room, "u1", command) for worker in (*pair, *pair)]
    assert len(set(answers)) == 1
    reservation = orjson.loads(answers[0])["d"]["reservation"]
    assert await counts(first, room) == (8, 2, 0)
    other = {**command, "d": {"sku": "k1", "n": 1}}
    assert b"key_mismatch" in await raw_reply(second, room, "u1", other)
    assert (await pay(second, room, reservation, 1800))["d"]["state"] == "paid"
    assert await raw_reply(second, room, "u1", command) == answers[0]
    await pass_time(pair, room, HOLD_MS + RUN_MS)
    assert await raw_reply(first, room, "u1", command) == answers[0]
    mine = await raw_reply(first, room, "u2", command)  # keys belong to their users
    assert b'"ended"' in mine


async def test_flash_reservation_is_known_at_the_users_other_connections(
    pair: Pair, room: str
) -> None:
    """Tabs on the same and on another worker are told; the one that asked has its answer."""
    first, second = pair
    await open_sale(first, room)
    asker, tab = await first.join(room, "u1"), await second.join(room, "u1")
    stranger, alone = await second.join(room, "u2"), await first.join(room, "u3")
    reservation = await reserve(asker)
    told = (await tab.event("flash.reserved"))["d"]
    assert told == {
        "reservation": reservation, "sale": "s1", "sku": "k1", "user": "u1", "n": 1,
        "price": 900, "amount": 900, "currency": "CNY", "expires_ms": told["expires_ms"],
    }  # fmt: skip
    await reserve(alone)
    await stranger.state("stock:k1", lambda d: d["reserved"] == 2)
    for client in (asker, stranger, alone):
        assert client.events("flash.reserved") == []

    near = await first.join(room, "u1")
    await pay(second, room, reservation)
    for client in (asker, tab, near):
        assert (await client.event("flash.paid"))["d"]["order"] == "o1"
    await stranger.state("stock:k1", lambda d: d["sold"] == 1)
    assert stranger.events("flash.paid") == []
    assert not any(b"flash.taken" in orjson.dumps(item) for item in stranger.items)


# Ending a reservation.


async def test_flash_cancel_is_the_owners(shop: harness.Worker, room: str) -> None:
    """Units and quota come back once; then nothing can be paid any more."""
    host = await open_sale(shop, room)
    viewer, other = await shop.join(room, "u1"), await shop.join(room, "u2")
    reservation = await reserve(viewer)
    for wrong in (reservation[:-1], reservation[:-20], "1-u1", "9" + reservation, "x", "1-u1-"):
        assert await viewer.refused("flash.cancel", reservation=wrong) == "not_found", wrong
    for client in (other, host):
        assert await client.refused("flash.cancel", reservation=reservation) == "not_found"
    answer = await viewer.ask("flash.cancel", reservation=reservation)
    assert (answer["state"], answer["n"]) == ("released", 1)
    assert await viewer.ask("flash.cancel", reservation=reservation) == answer
    assert await counts(shop, room) == (10, 0, 0)
    assert (await viewer.event("flash.released"))["d"]["reservation"] == reservation
    err = (await pay(shop, room, reservation))["err"]
    assert (err["code"], err["state"], err["refund"]) == ("final", "released", True)
    assert await reserve(viewer, "again") != reservation
    assert await viewer.refused("flash.reserve", key="third", sku="k1") == "limit_reached"
    assert other.events("flash.released") == []
    await check(shop, room)


async def test_flash_confirm_is_once_per_order(shop: harness.Worker, room: str) -> None:
    """The amount must be the price; the same order is answered alike, another is refused."""
    await open_sale(shop, room, per_user=2)
    viewer = await shop.join(room, "u1")
    reservation = await reserve(viewer, n=2)
    for amount in (0, 1799, 1801, 10**13):
        err = (await pay(shop, room, reservation, amount))["err"]
        assert (err["code"], err["amount"]) == ("amount_mismatch", 1800)
    for amount in (10**13 + 1, 2**53, 2**62):
        assert (await pay(shop, room, reservation, amount))["err"]["code"] == "amount_too_large"
    for wrong in ({"amount": -1}, {"amount": 1.5}, {"order": "a b"}, {"order": ""}):
        body: dict[str, Any] = {"reservation": reservation, "amount": 1800, "order": "o1"} | wrong
        err = (await service(shop, room, "flash.confirm", **body))["err"]
        assert err["code"] == "bad_request", wrong
    assert await counts(shop, room) == (8, 2, 0)

    answer = (await pay(shop, room, reservation, 1800))["d"]
    assert answer == answer | {
        "reservation": reservation, "user": "u1", "sale": "s1", "sku": "k1", "n": 2,
        "amount": 1800, "currency": "CNY", "state": "paid", "order": "o1",
    }  # fmt: skip
    assert (await pay(shop, room, reservation, 1800))["d"] == answer
    assert (await pay(shop, room, reservation, 900))["err"]["code"] == "amount_mismatch"
    err = (await pay(shop, room, reservation, 1800, "o2"))["err"]
    assert (err["code"], err["state"]) == ("final", "paid")
    err = (await service(shop, room, "flash.release", reservation=reservation))["err"]
    assert (err["code"], err["state"]) == ("final", "paid")
    err = (await viewer.command("flash.cancel", reservation=reservation))["err"]
    assert (err["code"], err["state"]) == ("final", "paid")
    assert (await pay(shop, room, "1-u1-" + "0" * 20))["err"]["code"] == "not_found"
    assert await counts(shop, room) == (8, 0, 2)
    paid = await run(shop, room, "hand.read", verb="HGET", key="hand:paid", args=["u1"])
    assert paid == {"value": "1800"}
    await pass_time(shop, room, HOLD_MS)
    assert viewer.events("flash.expired") == []
    assert await viewer.refused("flash.reserve", key="more", sku="k1") == "limit_reached"
    await check(shop, room)


async def test_flash_release_gives_the_unit_and_the_quota_back(
    shop: harness.Worker, room: str
) -> None:
    """By the back end, as often as it says so: once."""
    await open_sale(shop, room, total=1)
    viewer = await shop.join(room, "u1")
    reservation = await reserve(viewer)
    answers = [
        await service(shop, room, "flash.release", reservation=reservation) for _ in range(3)
    ]
    assert answers[0]["d"]["state"] == "released"
    assert answers[0] == answers[1] == answers[2]
    assert await counts(shop, room) == (1, 0, 0)
    assert len(viewer.events("flash.released")) <= 1
    second = await reserve(viewer, "2")
    found = await service(shop, room, "flash.reservation", reservation=second)
    assert found["d"]["state"] == "reserved"
    await check(shop, room)


async def test_flash_reservation_expires(shop: harness.Worker, room: str) -> None:
    """Not a millisecond early; then the unit and the quota are free, and a payment is given back."""
    await open_sale(shop, room, total=1, run_s=0)
    viewer, other = await shop.join(room, "u1"), await shop.join(room, "u2")
    reservation = await reserve(viewer)
    await pass_time(shop, room, HOLD_MS - 5000)
    assert await counts(shop, room) == (0, 1, 0)
    await pass_time(shop, room, 5000)
    assert (await viewer.event("flash.expired"))["d"]["reservation"] == reservation
    assert await counts(shop, room) == (1, 0, 0)
    await other.state("stock:k1", lambda d: d["status"] == "running" and d["available"] == 1)
    err = (await pay(shop, room, reservation))["err"]
    assert (err["code"], err["state"], err["refund"]) == ("expired", "expired", True)
    err = (await service(shop, room, "flash.release", reservation=reservation))["err"]
    assert (err["code"], err["state"]) == ("final", "expired")
    err = (await viewer.command("flash.cancel", reservation=reservation))["err"]
    assert (err["code"], err["state"]) == ("final", "expired")
    found = await service(shop, room, "flash.reservation", reservation=reservation)
    assert found["d"]["state"] == "expired"
    await reserve(viewer, "2")
    assert len(viewer.events("flash.expired")) == 1
    await check(shop, room)


async def test_flash_expiries_run_in_pages(shop: harness.Worker, room: str) -> None:
    """A page per script call, the next at once; whoever is not on it yet is judged all the same."""
    host, size = await open_shop(shop, room, stock=None), PAGE + 6
    await host.ask("flash.arm", key="1", **sale(total=size, run_s=0, per_user=2))
    ops = [Op("flash.reserve", f"u{n % 40}", {"sku": "k1", "n": 1}) for n in range(size)]
    replies = (await shop.node.hub.commit(room, ops)).replies
    late = max(orjson.loads(reply[1:])["reservation"] for reply in replies)  # on the last page
    assert await counts(shop, room) == (0, size, 0)

    shop.node.store.skew_ms += HOLD_MS
    body = {"reservation": late, "amount": 900, "order": "o"}
    waiting = {"verb": "ZCARD", "key": "flash:q:1", "args": []}
    ops = [Op("flash.confirm", "shop", body), Op("hand.read", "", waiting)]
    committed = await shop.node.hub.commit(room, ops)
    refused, left = (orjson.loads(reply[1:]) for reply in committed.replies)
    assert (refused["code"], left["value"]) == ("expired", 6)
    assert committed.due_ms <= committed.now_ms
    await pass_time(shop, room, 0)
    assert await counts(shop, room) == (size, 0, 0)
    assert (await pay(shop, room, late))["err"]["code"] == "expired"
    await check(shop, room)


# REST, webhooks.


Ask = Callable[..., Awaitable[tuple[int, Any]]]


def asking(worker: harness.Worker, room: str, role: str = "service") -> Ask:
    """Return what sends a request about reservations and returns status and body."""

    async def ask(
        method: str, path: str, body: Any = None, key: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {worker.token(room, role, 'shop')}"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        url = f"{worker.http}/api/rooms/{room}/reservations/{path}"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, url, data=None if body is None else data) as response,
        ):
            assert response.headers["Content-Type"].startswith("application/json")
            return response.status, await response.json()

    return ask


async def test_flash_rest_confirms_and_releases(pair: Pair, room: str) -> None:
    """The routes are the commands; an idempotency key is honoured where there is one."""
    first, second = pair
    await open_sale(first, room, per_user=3)
    viewer = await first.join(room, "u1")
    held = [await reserve(viewer, f"k{n}") for n in range(2)]
    ask = asking(second, room)
    status, found = await ask("GET", held[0])
    assert (status, found["state"], found["user"]) == (200, "reserved", "u1")
    paid = await ask("POST", f"{held[0]}/confirm", {"amount": 900, "order": "o1"}, key="c1")
    assert (paid[0], paid[1]["state"]) == (200, "paid")
    body = {"amount": 900, "order": "o1"}
    assert await ask("POST", f"{held[0]}/confirm", body, key="c1") == paid
    assert await ask("POST", f"{held[0]}/confirm", body) == paid
    status, refused = await ask("POST", f"{held[0]}/confirm", body | {"order": "o2"}, key="c1")
    assert (status, refused["err"]["code"]) == (409, "key_mismatch")
    assert await service(first, room, "flash.confirm", key="c1", reservation=held[0], **body) == {
        "re": 1, "d": paid[1],
    }  # fmt: skip
    status, gone = await ask("POST", f"{held[1]}/release")
    assert (status, gone["state"]) == (200, "released")
    assert await counts(first, room) == (9, 0, 1)


async def test_flash_rest_refuses(shop: harness.Worker, room: str) -> None:
    """Errors are those of the commands, with their HTTP status."""
    await open_sale(shop, room)
    viewer = await shop.join(room, "u1")
    held = await reserve(viewer)
    ask = asking(shop, room)
    cases: tuple[tuple[str, str, Any, int, str], ...] = (
        ("GET", "1-u1-" + "0" * 20, None, 404, "not_found"),
        ("POST", f"{held}/confirm", {"amount": 1, "order": "o"}, 409, "amount_mismatch"),
        ("POST", f"{held}/confirm", {"amount": -1, "order": "o"}, 400, "bad_request"),
        ("POST", f"{held}/confirm", {"order": "o"}, 400, "bad_request"),
        ("POST", f"{held}/confirm", [1], 400, "bad_request"),
        ("POST", f"{held}/confirm", b"{", 400, "bad_message"),
        ("GET", "x" * 200, None, 400, "bad_request"),
    )
    for method, path, body, status, code in cases:
        answer = await ask(method, path, body)
        assert (answer[0], answer[1]["err"]["code"]) == (status, code), (path, body)
    assert (await ask("GET", held, key="bad key!"))[1]["err"]["code"] == "bad_request"
    for role in ("viewer", "host"):
        status, refused = await asking(shop, room, role)("GET", held)
        assert (status, refused["err"]["code"]) == (403, "forbidden")
    assert await counts(shop, room) == (9, 1, 0)


async def test_flash_tells_the_back_end(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A webhook for each thing that happens to a reservation, and when all is taken."""
    nowhere = {"webhook_url": "http://127.0.0.1:9/", "webhook_secret": "whsec_" + "MDEy" * 8}
    worker = await start_worker(store_url, plugins=[Hand()], **nowhere)
    await open_sale(worker, room, total=3)
    viewers = [await worker.join(room, f"u{n}") for n in range(3)]
    held = [await reserve(viewer) for viewer in viewers]
    await pay(worker, room, held[0])
    await viewers[1].ask("flash.cancel", reservation=held[1])
    await pass_time(worker, room, HOLD_MS)
    rows = await run(worker, room, "hand.read", verb="XRANGE", key="outbox", args=["-", "+"])
    sent = [(fields[1], orjson.loads(fields[3])) for _, fields in rows["value"]]
    reserved = [d["reservation"] for kind, d in sent if kind == "flash.reserved"]
    assert reserved == held
    last = dict(sent)
    assert last["flash.sold_out"]["total"] == 3
    assert (last["flash.paid"]["order"], last["flash.paid"]["reservation"]) == ("o1", held[0])
    assert last["flash.released"]["reservation"] == held[1]
    assert last["flash.expired"]["reservation"] == held[2]
    assert len(sent) == 7


# Auditing.


async def test_flash_auditor_finds_a_hand_in_the_store(shop: harness.Worker, room: str) -> None:
    """What is changed behind the script's back is named."""
    await open_sale(shop, room)
    viewer = await shop.join(room, "u1")
    await pay(shop, room, await reserve(viewer))
    await check(shop, room)
    for name, field, value in (
        ("flash:u:1", "u1", "2|"), ("flash:r:1", "1-u9-" + "0" * 20, "p|1|1|o"),
    ):  # fmt: skip
        await run(shop, room, "hand.write", verb="HSET", key=name, args=[field, value])
        broken = (await run(shop, room, "sys.check"))["broken"]
        assert {row["key"].partition("|")[0] for row in broken} & {name, "1"}, broken
        await run(shop, room, "hand.write", verb="HDEL", key=name, args=[field])
