"""Coupon drops over the wire: dropped, claimed, shown, ended; what cannot be; what must stay secret."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

import harness
from drops import Hand, check, drop, open_host, pass_time, rest, run, service
from harness import Pair
from liveroom import Op
from liveroom.errors import ConfigError
from liveroom.hub import hub as hub_module
from liveroom_plugins.coupons import Coupons


PLUGINS = (Coupons, Hand)

KEEP_MS = 600_000
UNASKED = "liveroom_coupons_refused_unasked_total"


@pytest.fixture
async def shop(store_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on the store."""
    return await start_worker(store_url, plugins=[Coupons(), Hand()])


@pytest.fixture
async def one(embedded_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on the engine's own store."""
    return await start_worker(embedded_url, plugins=[Coupons(), Hand()])


async def counts(worker: harness.Worker, room: str, name: str = "d1") -> dict[str, int]:
    """Return how many coupons of a drop are in which state; they add up."""
    found = await run(worker, room, "coupon.show", drop=name)
    counted = {state: found[state] for state in ("unused", "locked", "used", "expired")}
    assert sum(counted.values()) == found["issued"] <= found["quota"], found
    return counted


# Dropping.


async def test_coupon_drop_is_told_and_shown(shop: harness.Worker, room: str) -> None:
    """Everyone is told once; the same again changes nothing, another content is refused."""
    host = await open_host(shop, room)
    viewer = await shop.join(room, "u1")
    body = drop(min_spend=5000, stacking="off", conditions={"level": 3, "follow": False})

    answer = await host.ask("coupon.drop", key="1", **body)
    assert answer["dropped"]
    assert (answer["status"], answer["quota"], answer["claimed"]) == ("running", 3, 0)
    assert answer["ends_ms"] - answer["starts_ms"] == 600_000
    terms = {
        "drop": "d1", "title": "10 off", "quota": 3, "per_user": 1, "kind": "amount",
        "value": 1000, "min_spend": 5000, "stacking": "off", "conditions": {"level": 3},
        "valid_s": 3600, "starts_ms": answer["starts_ms"], "ends_ms": answer["ends_ms"],
    }  # fmt: skip
    assert (await viewer.event("coupon.dropped"))["d"] == terms | {"by": "host"}
    assert await viewer.state("coupon:d1") == terms | {
        "status": "running", "left": 3, "claimed": 0,
    }  # fmt: skip
    assert await viewer.state("coupons") == {"live": ["d1"], "watch": False}

    for key in ("1", "2"):  # the stored answer, and that to another key
        again = await host.ask("coupon.drop", key=key, **body)
        assert again == answer | {"dropped": key == "1"}
    assert await host.refused("coupon.drop", key="3", **body | {"quota": 4}) == "exists"
    assert await host.refused("coupon.drop", key="1", **body | {"quota": 4}) == "key_mismatch"
    assert len(viewer.events("coupon.dropped")) == 1
    await check(shop, room)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quota": 0}, "bad_request"),
        ({"quota": -1}, "bad_request"),
        ({"quota": 1_000_001}, "bad_request"),
        ({"quota": 2**63}, "bad_request"),
        ({"quota": None}, "bad_request"),
        ({"quota": 1.5}, "bad_request"),
        ({"quota": "3"}, "bad_request"),
        ({"per_user": 0}, "bad_request"),
        ({"per_user": 11}, "bad_request"),
        ({"per_user": -(2**63)}, "bad_request"),
        ({"kind": "gift"}, "bad_request"),
        ({"kind": None}, "bad_request"),
        ({"value": 0}, "bad_request"),
        ({"value": -5}, "bad_request"),
        ({"value": 10**13 + 1}, "amount_too_large"),
        ({"value": 2**53 - 1}, "amount_too_large"),
        ({"value": 2**53}, "bad_request"),
        ({"value": 2**63}, "bad_request"),
        ({"kind": "percent", "value": 100}, "bad_request"),
        ({"min_spend": 0}, "bad_request"),
        ({"min_spend": 10**14}, "amount_too_large"),
        ({"min_spend": 999}, "bad_request"),
        ({"min_spend": -1}, "bad_request"),
        ({"title": ""}, "bad_request"),
        ({"title": " \t"}, "bad_request"),
        ({"title": "a\u202eb"}, "bad_request"),
        ({"title": "x" * 101}, "bad_request"),
        ({"drop": "no way"}, "bad_request"),
        ({"drop": "d" * 33}, "bad_request"),
        ({"drop": None}, "bad_request"),
        ({"stacking": "a|b"}, "bad_request"),
        ({"stacking": ""}, "bad_request"),
        ({"stacking": "c" * 33}, "bad_request"),
        ({"stacking": 1}, "bad_request"),
        ({"valid_s": None}, "bad_request"),
        ({"valid_s": 0}, "bad_request"),
        ({"valid_s": 366 * 86_400 + 1}, "bad_request"),
        ({"valid_until_ms": 4_000_000_000_000}, "bad_request"),
        ({"valid_s": None, "valid_until_ms": 1}, "bad_request"),
        ({"valid_s": None, "valid_until_ms": 2**63}, "bad_request"),
        ({"seconds": -1}, "bad_request"),
        ({"seconds": 3601}, "bad_request"),
        ({"starts_in_s": 86_401}, "bad_request"),
        ({"conditions": {"level": 0}}, "bad_request"),
        ({"conditions": {"watch_s": 36_001}}, "bad_request"),
        ({"conditions": {"follow": "yes"}}, "bad_request"),
        ({"conditions": []}, "bad_request"),
        ({"if_version": 7}, "version_conflict"),
    ],
    ids=repr,
)
async def test_coupon_drop_refuses_what_cannot_be(
    one: harness.Worker, room: str, changes: dict[str, Any], code: str
) -> None:
    """A typed error, and nothing was dropped."""
    host = await open_host(one, room)
    assert await host.refused("coupon.drop", key="k", **drop(**changes)) == code
    assert await host.refused("coupon.show", drop="d1") == "not_found"
    assert host.events("coupon.dropped") == []


async def test_coupon_commands_are_for_whom_they_are(one: harness.Worker, room: str) -> None:
    """Viewers drop nothing and redeem nothing; what moves goods needs a key; a room must be open."""
    host, viewer = await open_host(one, room), await one.join(room, "u1")
    assistant = await one.control(room, "helper", "assistant")

    assert await viewer.refused("coupon.drop", key="k", **drop()) == "unknown_op"
    assert await assistant.refused("coupon.drop", key="k", **drop()) == "forbidden"
    assert await viewer.refused("coupon.use", code="1-X", order="o") == "unknown_op"
    assert await host.refused("coupon.use", code="1-X", order="o") == "unknown_op"
    assert await host.refused("coupon.drop", **drop()) == "key_required"
    await host.ask("coupon.drop", key="k", **drop())
    assert await viewer.refused("coupon.claim", drop="d1") == "key_required"
    assert await viewer.refused("coupon.claim", key="c", drop="d2") == "not_found"
    assert await viewer.refused("coupon.claim", key="c", drop="") == "bad_request"
    assert await viewer.refused("coupon.claim", key="c") == "bad_request"
    assert await host.refused("coupon.stop", drop="d2") == "not_found"

    await host.ask("room.close")
    assert await viewer.refused("coupon.claim", key="c", drop="d1") == "room_closed"
    assert await host.refused("coupon.drop", key="k2", **drop(drop="d2")) == "room_closed"
    await host.ask("room.open")
    await viewer.ask("coupon.claim", key="c", drop="d1")


async def test_coupon_drop_may_be_changed_until_it_is_released(
    shop: harness.Worker, room: str
) -> None:
    """A planned drop is shown with its time; the version guards it; released, it stays as it is."""
    host, viewer = await open_host(shop, room), await shop.join(room, "u1")
    await host.ask("coupon.drop", key="1", **drop(starts_in_s=60))
    planned = await viewer.state("coupon:d1")
    assert planned["status"] == "planned"
    reply = await viewer.command("coupon.claim", key="c", drop="d1")
    assert reply["err"]["code"] == "too_early"
    assert reply["err"]["starts_ms"] == planned["starts_ms"]
    assert 0 < reply["err"]["retry_ms"] <= 60_000

    changed = drop(starts_in_s=30, quota=5, value=2000)
    assert await host.refused("coupon.drop", key="2", **changed, if_version=7) == "version_conflict"
    await host.ask("coupon.drop", key="3", **changed, if_version=1)
    shown = await viewer.state("coupon:d1", lambda d: d["quota"] == 5)
    assert shown["starts_ms"] < planned["starts_ms"]
    assert viewer.events("coupon.dropped") == []

    await pass_time((shop,), room, 30_001)
    assert (await viewer.event("coupon.dropped"))["d"]["value"] == 2000
    await viewer.state("coupon:d1", lambda d: d["status"] == "running")
    assert await host.refused("coupon.drop", key="4", **drop(quota=9)) == "exists"
    assert (await viewer.ask("coupon.claim", key="c", drop="d1"))["value"] == 2000
    await pass_time((shop,), room, 40_000)  # the time of before means nothing any more
    assert len(viewer.events("coupon.dropped")) == 1
    await check(shop, room)


async def test_coupon_drop_that_is_stopped_before_it_begins(one: harness.Worker, room: str) -> None:
    """It never begins."""
    host, viewer = await open_host(one, room), await one.join(room, "u1")
    await host.ask("coupon.drop", key="1", **drop(starts_in_s=60))
    assert (await host.ask("coupon.stop", drop="d1"))["stopped"]
    await pass_time((one,), room, 61_000)
    assert viewer.events("coupon.dropped") == []
    assert (await viewer.event("coupon.ended"))["d"] == {"drop": "d1", "quota": 3, "claimed": 0}
    assert await viewer.refused("coupon.claim", key="c", drop="d1") == "ended"
    assert await host.refused("coupon.drop", key="2", **drop(quota=9)) == "exists"


# Claiming.


async def test_coupon_claim_answers_the_same_to_the_same_key(pair: Pair, room: str) -> None:
    """One effect, one answer, whatever worker is asked; the user's other tabs learn of it."""
    first, second = pair
    host = await open_host(first, room)
    await host.ask("coupon.drop", key="1", **drop(per_user=2))
    ann, tab, bob = [
        await worker.join(room, user)
        for worker, user in ((first, "ann"), (second, "ann"), (second, "bob"))
    ]

    won = await ann.ask("coupon.claim", key="c", drop="d1")
    assert won == {
        "coupon": "1-1", "code": won["code"], "drop": "d1", "title": "10 off", "kind": "amount",
        "value": 1000, "valid_until_ms": won["valid_until_ms"],
    }  # fmt: skip
    for client in (ann, tab):
        assert await client.ask("coupon.claim", key="c", drop="d1") == won
    granted = (await tab.event("coupon.granted"))["d"]
    assert granted == {
        "coupon": "1-1", "drop": "d1", "valid_until_ms": won["valid_until_ms"],
    }  # fmt: skip
    await bob.state("coupon:d1", lambda d: d["claimed"] == 1)

    two = await tab.ask("coupon.claim", key="c2", drop="d1")
    assert two["coupon"] == "1-2"
    assert two["code"] != won["code"]
    await ann.event("coupon.granted", coupon="1-2")
    reply = await ann.command("coupon.claim", key="c3", drop="d1")
    assert reply["err"]["code"] == "limit_reached"
    assert (reply["err"]["per_user"], reply["err"]["claimed"]) == (2, 2)
    assert bob.events("coupon.granted") == []

    mine = (await ann.ask("coupon.mine"))["coupons"]
    assert [row["code"] for row in mine] == [two["code"], won["code"]]
    assert {row["state"] for row in mine} == {"unused"}
    again = await second.join(room, "ann")
    assert again.hello["own"]["coupons"] == mine
    assert "coupons" not in (await second.join(room, "bob")).hello["own"]
    assert await bob.ask("coupon.mine") == {}
    assert await counts(first, room) == {"unused": 2, "locked": 0, "used": 0, "expired": 0}
    await check(first, room)


async def test_coupon_claim_is_repeated_byte_for_byte(one: harness.Worker, room: str) -> None:
    """A retry brings randomness of its own: the stored answer is given all the same."""
    host = await open_host(one, room)
    await host.ask("coupon.drop", key="1", **drop())

    def claim(salt: str, user: str = "ann") -> Op:
        d = {"drop": "d1", "level": 0, "here_ms": 0, "_salt": salt}
        return Op("coupon.claim", user, d, key="c", digest="same")

    whole = await one.node.hub.commit(room, [claim("a" * 32), claim("b" * 32)])
    later = await one.node.hub.commit(room, [claim("c" * 32)])
    assert whole.replies[0] == whole.replies[1] == later.replies[0]
    other = await one.node.hub.commit(room, [claim("a" * 32, "bob")])
    assert orjson.loads(other.replies[0][1:])["code"] != orjson.loads(whole.replies[0][1:])["code"]
    assert (await counts(one, room))["unused"] == 2


async def test_coupon_claim_that_breaks_leaves_nothing(one: harness.Worker, room: str) -> None:
    """What others in the batch do wrong, and what is refused, takes nothing from the drop."""
    host = await open_host(one, room)
    await host.ask("coupon.drop", key="1", **drop(quota=2))

    def claim(user: str) -> Op:
        d = {"drop": "d1", "level": 0, "here_ms": 0, "_salt": user}
        return Op("coupon.claim", user, d, key="c", digest="d")

    ops = [claim("a"), Op("hand.break", "", {}), claim("b"), claim("c"), claim("a")]
    replies = (await one.node.hub.commit(room, ops)).replies
    assert [reply[:1] for reply in replies] == [b"+", b"!", b"+", b"-", b"+"]
    assert b"sold_out" in replies[3]
    assert await counts(one, room) == {"unused": 2, "locked": 0, "used": 0, "expired": 0}
    await check(one, room)


async def test_coupon_conditions_must_be_met(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Level, time watched, following: what is missing is named, and a try costs nothing."""
    shop = await start_worker(store_url, plugins=[Coupons(), Hand()])
    host = await open_host(shop, room)
    wanted = {"level": 2, "watch_s": 60, "follow": True}
    await host.ask("coupon.drop", key="1", **drop(conditions=wanted))
    assert (await host.state("coupons"))["watch"] is True
    low = await shop.join(room, "low")
    plugin = next(p for p in shop.node.manager.plugins if isinstance(p, Coupons))
    token = shop.token(room, "viewer", "ann", level=2)

    async def join_ann() -> harness.Client:
        client = await shop.connect()
        client.hello = await client.ask("hello", room=room, token=token)
        return client

    async def missing(client: harness.Client) -> list[str]:
        reply = await client.command("coupon.claim", key="c", drop="d1")
        assert reply["err"]["code"] == "not_eligible"
        found: list[str] = reply["err"]["missing"]
        return found

    assert await missing(low) == ["level", "watch_s", "follow"]
    ann = await join_ann()
    assert await missing(ann) == ["watch_s", "follow"]
    await ann.ask("viewer.follow", on=True)
    assert await missing(ann) == ["watch_s"]
    before = plugin._stays._now
    plugin._stays._now = lambda: before() + 40
    assert await missing(ann) == ["watch_s"]

    # Whoever comes back goes on where the last stay ended; two tabs watch no faster than one.
    tab = await join_ann()
    await tab.close()
    await ann.close()
    await pass_time((shop,), room, 40_000)
    while not (await run(shop, room, "hand.read", verb="HLEN", key="coupon:watch", args=[]))[
        "value"
    ]:
        pass
    back = await join_ann()
    assert await missing(back) == ["watch_s"]
    plugin._stays._now = lambda: before() + 65
    await pass_time((shop,), room, 25_000)
    await back.ask("coupon.claim", key="c", drop="d1")
    await host.ask("coupon.stop", drop="d1")
    left = await run(shop, room, "hand.read", verb="EXISTS", key="coupon:watch", args=[])
    assert left["value"] == 0


async def test_coupon_window_is_judged_by_the_store(shop: harness.Worker, room: str) -> None:
    """After the end nobody claims, whether the timer ran or not; the rest is told and forgotten."""
    host, viewer = await open_host(shop, room), await shop.join(room, "u1")
    await host.ask("coupon.drop", key="1", **drop(seconds=60))
    await viewer.ask("coupon.claim", key="c", drop="d1")
    shop.node.store.skew_ms += 60_000
    other = await shop.join(room, "u2")
    assert await other.refused("coupon.claim", key="c", drop="d1") == "ended"
    ended = (await viewer.event("coupon.ended"))["d"]
    assert ended == {"drop": "d1", "quota": 3, "claimed": 1}
    shown = await viewer.state("coupon:d1", lambda d: d["status"] == "ended")
    assert (shown["left"], shown["claimed"]) == (2, 1)
    assert await viewer.state("coupons", lambda d: d is None) is None
    assert (await host.ask("coupon.stop", drop="d1"))["stopped"] is False

    await pass_time((shop,), room, KEEP_MS)
    assert await viewer.state("coupon:d1", lambda d: d is None) is None
    late = await shop.join(room, "u3")
    assert not [item for item in late.items if item.get("st") == "coupon:d1"]
    again = await viewer.ask("coupon.claim", key="c", drop="d1")  # its answer is kept
    assert (await service(shop, room, "coupon.use", code=again["code"], order="o"))["d"][
        "state"
    ] == "used"
    assert not [item for item in viewer.items if item.get("st") == "coupon:d1"][-1]["d"]
    await check(shop, room)


async def test_coupon_stop_ends_a_drop(one: harness.Worker, room: str) -> None:
    """What was claimed stays good; a version that was not seen is refused."""
    host, viewer = await open_host(one, room), await one.join(room, "u1")
    await host.ask("coupon.drop", key="1", **drop(seconds=0))
    assert (await viewer.state("coupon:d1"))["ends_ms"] == 0
    won = await viewer.ask("coupon.claim", key="c", drop="d1")
    assert await host.refused("coupon.stop", drop="d1", if_version=1) == "version_conflict"
    for stopped in (True, False):
        assert await host.ask("coupon.stop", drop="d1") == {
            "stopped": stopped, "drop": "d1", "quota": 3, "claimed": 1,
        }  # fmt: skip
    assert await viewer.refused("coupon.claim", key="c2", drop="d1") == "ended"
    assert (await rest(one, f"/rooms/{room}/coupons/{won['code']}"))[1]["state"] == "unused"
    await host.event("coupon.ended")
    assert len(host.events("coupon.ended")) == 1


async def test_coupon_room_has_only_so_many_drops(one: harness.Worker, room: str) -> None:
    """Those that are over do not count."""
    host = await open_host(one, room)
    body = drop(drops=50, over_s=600, quota=1, drop=None)
    for number in range(4):
        await host.ask("coupon.rain", key=f"r{number}", **body | {"rain": f"r{number}"})
    assert await host.refused("coupon.drop", key="d", **drop()) == "limit_reached"
    assert await host.refused("coupon.rain", key="r", **body | {"rain": "x"}) == "limit_reached"
    await host.ask("coupon.stop", drop="r0-1")
    await host.ask("coupon.drop", key="d", **drop())
    await check(one, room)


# Sold out.


async def test_coupon_sold_out_is_answered_by_the_worker(pair: Pair, room: str) -> None:
    """Losers do not reach the store; a winner gets its answer, whomever it asks."""
    first, second = pair
    host = await open_host(first, room)
    winner, tab = await first.join(room, "u1"), await second.join(room, "u1")
    near, far = await first.join(room, "u2"), await second.join(room, "u3")
    await host.ask("coupon.drop", key="1", **drop(quota=1))
    won = await winner.ask("coupon.claim", key="c", drop="d1")
    for client in (near, far):
        await client.state("coupon:d1", lambda d: d["status"] == "sold_out")
        for n in range(3):
            reply = await client.command("coupon.claim", key=f"c{n}", drop="d1")
            assert (reply["err"]["code"], reply["err"]["left"]) == ("sold_out", 0)
    for worker in pair:
        assert worker.node.metrics.registry.get_sample_value(UNASKED) == 3
    for client in (winner, tab):
        assert await client.ask("coupon.claim", key="c", drop="d1") == won
    assert await tab.refused("coupon.claim", key="c9", drop="d1") == "limit_reached"
    late = await second.join(room, "u9")
    assert await late.refused("coupon.claim", key="c", drop="d1") == "sold_out"


# Rain.


async def test_coupon_rain_falls_drop_by_drop(shop: harness.Worker, room: str) -> None:
    """All times are told at once; each drop can be claimed from its own time on."""
    host, viewer = await open_host(shop, room), await shop.join(room, "u1")
    body = drop(rain="r1", drops=4, over_s=40, quota=2, seconds=30, drop=None)
    answer = await host.ask("coupon.rain", key="1", **body)
    assert answer["rained"]
    rain = (await viewer.event("coupon.rain"))["d"]
    assert answer == rain | {"rained": True}
    assert await viewer.state("rain:r1") == rain
    assert [row["drop"] for row in rain["drops"]] == ["r1-1", "r1-2", "r1-3", "r1-4"]
    assert (rain["spread_ms"], rain["quota"]) == (10_000, 2)
    starts = [row["starts_ms"] for row in rain["drops"]]
    begun = (await run(shop, room, "hand.read", verb="GET", key="coupon:d:1", args=[]))["value"]
    asked_ms = orjson.loads(begun)["starts"] - starts[0]
    assert asked_ms == 0
    for number, (this, after) in enumerate(zip(starts, [*starts[1:], None], strict=True)):
        assert after is None or 0 < after - this < 20_000, number
    assert await host.ask("coupon.rain", key="2", **body) == answer | {"rained": False}
    assert await host.refused("coupon.rain", key="3", **body | {"quota": 3}) == "exists"

    for number in range(4):
        name = f"r1-{number + 1}"
        now = (await shop.node.hub.commit(room, [])).now_ms
        if starts[number] - now > 1000:
            assert await viewer.refused("coupon.claim", key=f"e{number}", drop=name) == "too_early"
        await pass_time((shop,), room, max(0, starts[number] - now) + 1)
        assert (await viewer.event("coupon.dropped", drop=name))["d"]["rain"] == "r1"
        await viewer.ask("coupon.claim", key=f"c{number}", drop=name)
        await viewer.state(f"coupon:{name}", lambda d: d["claimed"] == 1)
    await check(shop, room)
    await pass_time((shop,), room, 40_000)
    assert await viewer.state("rain:r1", lambda d: d is None) is None
    assert len([e for e in viewer.events("coupon.ended") if e["d"]["rain"] == "r1"]) == 4
    assert await host.refused("coupon.rain", key="4", **body) == "exists"  # its drops are known


@pytest.mark.parametrize(
    "changes",
    [
        {"drops": 1}, {"drops": 51}, {"over_s": 0}, {"over_s": 601}, {"seconds": 0},
        {"rain": "r" * 30}, {"rain": ""}, {"drops": 50, "quota": 20_001}, {"value": 0},
        {"starts_in_s": 3601}, {"quota": 0}, {"quota": -1}, {"quota": 2**63}, {"drops": -1},
        {"drops": 2**63}, {"over_s": 2**63}, {"stacking": "a|b"}, {"kind": "gift"},
    ],
    ids=repr,
)  # fmt: skip
async def test_coupon_rain_refuses_what_cannot_be(
    one: harness.Worker, room: str, changes: dict[str, Any]
) -> None:
    """A typed error, and nothing falls."""
    host = await open_host(one, room)
    body = drop(rain="r1", drops=4, over_s=40, drop=None) | changes
    assert await host.refused("coupon.rain", key="k", **body) == "bad_request"
    assert host.events("coupon.rain") == []


async def test_coupon_rain_does_not_take_names_that_are_taken(
    one: harness.Worker, room: str
) -> None:
    """All of it falls or nothing."""
    host = await open_host(one, room)
    await host.ask("coupon.drop", key="1", **drop(drop="r1-3"))
    body = drop(rain="r1", drops=4, over_s=40, drop=None)
    assert await host.refused("coupon.rain", key="2", **body) == "exists"
    assert await host.refused("coupon.show", drop="r1-1") == "not_found"
    await host.ask("coupon.drop", key="3", **drop(drop="r1-1"))
    await check(one, room)


# Secrets, tables, options.


async def test_coupon_code_is_known_to_its_owner_alone(shop: harness.Worker, room: str) -> None:
    """Not in the trail, the log, a state, a snapshot, or what another viewer is sent."""
    host, ann = await open_host(shop, room), await shop.join(room, "ann")
    bob, tab = await shop.join(room, "bob"), await shop.join(room, "ann")
    await host.ask("coupon.drop", key="1", **drop())
    won = await ann.ask("coupon.claim", key="c", drop="d1")
    secret = won["code"].partition("-")[2]
    await tab.event("coupon.granted")
    await service(shop, room, "coupon.lock", code=won["code"], order="o1")
    await service(shop, room, "coupon.use", code=won["code"], order="o1")
    used = (await ann.event("coupon.used"))["d"]
    assert used == {"coupon": "1-1", "drop": "d1"}

    places = [
        await run(shop, room, "hand.read", verb="XRANGE", key=name, args=["-", "+"])
        for name in ("log", "trail")
    ]
    places += [await run(shop, room, op) for op in ("sys.sync", "sys.snapshot")]
    places += [bob.items, host.items, tab.items, (await shop.join(room, "eve")).items]
    assert secret not in str(places)
    assert "1-1" in str(places[1])  # the trail names the coupon
    assert len(secret) == 20
    assert set(secret) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


async def test_coupon_codes_look_random(one: harness.Worker, room: str) -> None:
    """Every symbol comes up at every place, and no two codes are alike."""
    host = await open_host(one, room)
    await host.ask("coupon.drop", key="1", **drop(quota=2000))
    ops = [
        Op("coupon.claim", f"u{n}", {"drop": "d1", "level": 0, "here_ms": 0, "_salt": "s"})
        for n in range(2000)
    ]
    secrets = [
        orjson.loads(reply[1:])["code"].partition("-")[2]
        for first in range(0, 2000, 500)
        for reply in (await one.node.hub.commit(room, ops[first : first + 500])).replies
    ]
    assert len(set(secrets)) == 2000
    for place in zip(*secrets, strict=True):
        counted = [place.count(symbol) for symbol in set(place)]
        assert len(counted) == 32
        assert max(counted) < 120  # 62.5 each; seven standard deviations
    assert (await check(one, room))["coupon.counted"] == 2000


async def test_coupon_room_that_waits_for_expiry_is_let_go(
    one: harness.Worker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coupon that is good for a year keeps no room loaded; it expires all the same."""
    host = await open_host(one, room)
    await host.ask("coupon.drop", key="1", **drop(valid_s=86_400, seconds=1))
    viewer = await one.join(room, "u1")
    won = await viewer.ask("coupon.claim", key="c", drop="d1")
    await pass_time((one,), room, KEEP_MS + 1001)
    for client in (viewer, host):
        await client.close()
    monkeypatch.setattr(hub_module, "UNLOAD_AFTER_S", -1.0)
    hub = one.node.hub
    while hub.room(room) is not None:
        await asyncio.sleep(0)
        await hub._sweep()
    assert room not in hub._timers
    await pass_time((one,), room, 86_400_000)
    assert await counts(one, room) == {"unused": 0, "locked": 0, "used": 0, "expired": 1}
    assert (await service(one, room, "coupon.ask", code=won["code"]))["d"]["state"] == "expired"
    await pass_time((one,), room, 0)
    await check(one, room)


async def test_coupon_audit_names_what_was_changed_by_hand(one: harness.Worker, room: str) -> None:
    """Records, counts, quota and limits are recomputed."""
    host, viewer = await open_host(one, room), await one.join(room, "u1")
    await host.ask("coupon.drop", key="1", **drop())
    await viewer.ask("coupon.claim", key="c", drop="d1")
    await check(one, room)

    async def broken(verb: str, key: str, *args: Any) -> set[str]:
        await run(one, room, "hand.write", verb=verb, key=key, args=list(args))
        return {row["what"] for row in (await run(one, room, "sys.check"))["broken"]}

    text = (await run(one, room, "hand.read", verb="GET", key="coupon:d:1", args=[]))["value"]
    made_up = orjson.dumps(orjson.loads(text) | {"quota": 0}).decode()
    assert await broken("SET", "coupon:d:1", made_up) == {"coupon.quota"}
    made_up = orjson.dumps(orjson.loads(text) | {"used": 1}).decode()
    assert await broken("SET", "coupon:d:1", made_up) == {"coupon.sum", "coupon.used"}
    await run(one, room, "hand.write", verb="SET", key="coupon:d:1", args=[text])
    assert await broken("HSET", "coupon:u:1", "u1", "2") == {"coupon.counted"}
    await run(one, room, "hand.write", verb="HSET", key="coupon:u:1", args=["u1", "1"])
    forged = "2|u|u1|4000000000000|0|"
    assert await broken("HSET", "coupon:c:1", "FORGED", forged) == {
        "coupon.records", "coupon.unused", "coupon.counted", "coupon.per_user",
    }  # fmt: skip


@pytest.mark.parametrize("value", [0, -1, 1441, "soon", 1.5, True, None, "1.5"], ids=repr)
async def test_coupon_lock_minutes_that_cannot_be_stop_the_start(
    embedded_url: str, start_worker: harness.StartWorker, value: Any
) -> None:
    """The refusal names the setting."""
    with pytest.raises(ConfigError, match="lock_minutes"):
        await start_worker(
            embedded_url, plugins=[Coupons()], plugin={"coupons": {"lock_minutes": value}}
        )


async def test_coupon_tells_the_back_end(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Webhooks of claims and uses have what a shop needs, the code included."""
    secret = "whsec_" + "A" * 32
    shop = await start_worker(
        embedded_url,
        plugins=[Coupons(), Hand()],
        webhook_url="http://127.0.0.1:9/",
        webhook_secret=secret,
    )
    host, ann = await open_host(shop, room), await shop.join(room, "ann")
    await host.ask("coupon.drop", key="1", **drop(stacking="off"))
    won = await ann.ask("coupon.claim", key="c", drop="d1")
    await service(shop, room, "coupon.use", code=won["code"], order="o1")
    read = await run(shop, room, "hand.read", verb="XRANGE", key="outbox", args=["-", "+"])
    rows = [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in read["value"]]
    told = {row["t"]: orjson.loads(row["d"]) for row in rows}
    assert told["coupon.claimed"] == won | {"user": "ann"}
    assert told["coupon.used"] == won | {"user": "ann", "order": "o1"}
