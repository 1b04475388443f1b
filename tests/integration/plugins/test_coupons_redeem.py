"""Coupons in the shop: locked, used, given back, expired; one way, whoever asks and however often."""

from __future__ import annotations

import random
from typing import Any

import pytest

import harness
from drops import Hand, check, drop, open_host, pass_time, rest, run, service
from liveroom import Op
from liveroom_plugins.coupons import Coupons


LOCK_MS = 900_000
PAGE = 256


@pytest.fixture
async def shop(store_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on the store."""
    return await start_worker(store_url, plugins=[Coupons(), Hand()])


@pytest.fixture
async def one(embedded_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on the engine's own store."""
    return await start_worker(embedded_url, plugins=[Coupons(), Hand()])


class Till:
    """The back end of one room; every answer is checked against the books."""

    def __init__(self, worker: harness.Worker, room: str) -> None:
        self.worker = worker
        self.room = room

    async def drop(self, **changes: Any) -> None:
        """Drop coupons that anybody may claim."""
        host = await open_host(self.worker, self.room)
        await host.ask("coupon.drop", key="drop", **drop(**changes))

    async def claim(self, user: str = "ann", name: str = "d1") -> str:
        """Claim a coupon; return its code."""
        d = {"drop": name, "level": 0, "here_ms": 0, "_salt": f"salt-{user}"}
        code: str = (await run(self.worker, self.room, "coupon.claim", user, **d))["code"]
        return code

    async def step(self, step: str, code: str, order: str) -> tuple[int, Any]:
        """Take a step over HTTP; return the status and the answer, or the refusal."""
        path = f"/rooms/{self.room}/coupons/{code}/{step}"
        status, answer = await rest(self.worker, path, {"order": order})
        return status, answer.get("err", answer)

    async def done(self, step: str, code: str, order: str, state: str) -> dict[str, Any]:
        """Take a step that leads to this state; return the answer."""
        status, answer = await self.step(step, code, order)
        assert (status, answer["state"]) == (200, state), answer
        assert answer["code"] == code
        return dict(answer)

    async def refused(self, step: str, code: str, order: str, why: str, state: str) -> None:
        """Take a step that is refused."""
        status, err = await self.step(step, code, order)
        assert (status, err["code"], err.get("state")) == (409, why, state), err

    async def counts(self, name: str = "d1") -> tuple[int, ...]:
        """Return how many are unused, locked, used, expired; they add up."""
        found = await run(self.worker, self.room, "coupon.show", drop=name)
        counted = tuple(found[state] for state in ("unused", "locked", "used", "expired"))
        assert sum(counted) == found["issued"] <= found["quota"], found
        return counted

    async def later(self, ms: int) -> None:
        """Let time pass."""
        await pass_time((self.worker,), self.room, ms)


async def test_coupon_is_locked_and_used_by_one_order(shop: harness.Worker, room: str) -> None:
    """The same order is answered alike each time, another one is refused."""
    till = Till(shop, room)
    await till.drop(min_spend=5000)
    code = await till.claim()
    status, asked = await rest(shop, f"/rooms/{room}/coupons/{code}")
    assert (status, asked["state"], asked["user"], asked["min_spend"]) == (
        200,
        "unused",
        "ann",
        5000,
    )
    assert "order" not in asked

    locked = await till.done("lock", code, "o1", "locked")
    assert (locked["order"], locked["coupon"]) == ("o1", "1-1")
    await till.later(1000)
    assert await till.done("lock", code, "o1", "locked") == locked  # not longer than before
    await till.refused("lock", code, "o2", "already_done", "locked")
    await till.refused("use", code, "o2", "already_done", "locked")
    await till.refused("release", code, "o2", "already_done", "locked")
    assert await till.counts() == (0, 1, 0, 0)

    used = await till.done("use", code, "o1", "used")
    assert await till.done("use", code, "o1", "used") == used
    for step, order in (
        ("use", "o2"),
        ("lock", "o1"),
        ("lock", "o2"),
        ("release", "o1"),
        ("release", "o2"),
    ):
        await till.refused(step, code, order, "final", "used")
    await till.later(10**10)
    assert (await rest(shop, f"/rooms/{room}/coupons/{code}"))[1]["state"] == "used"
    assert await till.counts() == (0, 0, 1, 0)
    await check(shop, room)


async def test_coupon_that_is_released_can_be_used_by_another_order(
    shop: harness.Worker, room: str
) -> None:
    """A late repetition of the release does not take it from the next one."""
    till = Till(shop, room)
    await till.drop()
    code = await till.claim()
    await till.done("release", code, "o1", "unused")  # there was nothing to release
    await till.done("lock", code, "o1", "locked")
    for _ in range(2):
        await till.done("release", code, "o1", "unused")
    await till.done("lock", code, "o2", "locked")
    await till.refused("release", code, "o1", "already_done", "locked")
    await till.done("use", code, "o2", "used")
    assert await till.counts() == (0, 0, 1, 0)
    await check(shop, room)


async def test_coupon_may_be_used_without_a_lock(one: harness.Worker, room: str) -> None:
    """At once; by a command with a key, too, which is answered alike."""
    till = Till(one, room)
    await till.drop()
    code = await till.claim()
    replies = [
        await service(one, room, "coupon.use", key="k", code=code, order="o1") for _ in range(2)
    ]
    assert replies[0]["d"] == replies[1]["d"]
    assert replies[0]["d"]["state"] == "used"
    wrong = await service(one, room, "coupon.use", key="k", code=code, order="o2")
    assert wrong["err"]["code"] == "key_mismatch"


async def test_coupon_lock_ends_by_itself(shop: harness.Worker, room: str) -> None:
    """By the clock at once, whether or not a timer ran; the order that was late may still come first."""
    till = Till(shop, room)
    await till.drop(quota=5)
    codes = [await till.claim(f"u{n}") for n in range(3)]
    for n, code in enumerate(codes):
        await till.done("lock", code, f"o{n}", "locked")
    await till.later(LOCK_MS - 5000)
    assert await till.counts() == (0, 3, 0, 0)
    shop.node.store.skew_ms += 5000
    await till.done("lock", codes[0], "other", "locked")
    await till.done("use", codes[1], "o1", "used")
    assert (await rest(shop, f"/rooms/{room}/coupons/{codes[2]}"))[1]["state"] == "unused"
    await till.later(0)
    assert await till.counts() == (1, 1, 1, 0)
    await till.later(LOCK_MS + 1)
    assert await till.counts() == (2, 0, 1, 0)
    await check(shop, room)


async def test_coupon_lock_time_is_an_option(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """In minutes."""
    options = {"coupons": {"lock_minutes": "2"}}
    shop = await start_worker(embedded_url, plugins=[Coupons(), Hand()], plugin=options)
    till = Till(shop, room)
    await till.drop()
    code = await till.claim()
    now = (await shop.node.hub.commit(room, [])).now_ms
    locked = await till.done("lock", code, "o1", "locked")
    assert 120_000 <= locked["locked_until_ms"] - now < 130_000


async def test_coupon_expires_by_the_clock(shop: harness.Worker, room: str) -> None:
    """What is unused is lost; a lock holds to its own end and may be used until then."""
    till = Till(shop, room)
    await till.drop(quota=5, valid_s=3600)
    lost, locked, held = [await till.claim(user) for user in ("u1", "u2", "u3")]
    await till.later(3_500_000)
    await till.done("lock", locked, "o2", "locked")
    await till.done("lock", held, "o3", "locked")
    shop.node.store.skew_ms += 100_001
    await till.refused("lock", lost, "o1", "expired", "expired")
    await till.refused("use", lost, "o1", "expired", "expired")
    await till.done("release", lost, "o1", "expired")
    await till.later(0)
    assert await till.counts() == (0, 2, 0, 1)
    await till.done("use", locked, "o2", "used")
    await till.done("release", held, "o3", "expired")
    assert await till.counts() == (0, 0, 1, 2)
    await check(shop, room)


async def test_coupon_lock_that_lapses_after_the_coupon_does_expires_it(
    one: harness.Worker, room: str
) -> None:
    """Nobody can lock it again."""
    till = Till(one, room)
    await till.drop(valid_s=3600)
    code = await till.claim()
    await till.later(3_500_000)
    await till.done("lock", code, "o1", "locked")
    await till.later(LOCK_MS - 1000)
    assert await till.counts() == (0, 1, 0, 0)
    await till.later(1001)
    assert await till.counts() == (0, 0, 0, 1)
    await till.refused("use", code, "o1", "expired", "expired")
    await check(one, room)


async def test_coupons_of_a_drop_expire_a_page_at_a_time(shop: harness.Worker, room: str) -> None:
    """All of them at one instant, those of a day one after the other: the counts are exact at the end."""
    till = Till(shop, room)
    n = PAGE + 44
    host = await open_host(shop, room)
    now = (await shop.node.hub.commit(room, [])).now_ms
    await host.ask("coupon.drop", key="a", **drop(quota=n))
    fixed = drop(drop="d2", quota=n, valid_s=None, valid_until_ms=now + 7_200_000)
    await host.ask("coupon.drop", key="b", **fixed)
    for name in ("d1", "d2"):
        d = {"drop": name, "level": 0, "here_ms": 0, "_salt": "s"}
        ops = [Op("coupon.claim", f"u{i}", d) for i in range(n)]
        replies = (await shop.node.hub.commit(room, ops)).replies
        assert {reply[:1] for reply in replies} == {b"+"}
    assert await till.counts("d1") == await till.counts("d2") == (n, 0, 0, 0)
    await till.later(3_601_000)
    assert await till.counts("d1") == (0, 0, 0, n)
    assert await till.counts("d2") == (n, 0, 0, 0)
    await till.later(3_601_000)
    assert await till.counts("d2") == (0, 0, 0, n)
    await check(shop, room)
    left = await run(shop, room, "hand.read", verb="EXISTS", key="coupon:q:1", args=[])
    assert left["value"] == 0


async def test_coupons_of_a_class_exclude_each_other(shop: harness.Worker, room: str) -> None:
    """In one order; what is released, lapsed or of another class does not stand in the way."""
    till = Till(shop, room)
    await till.drop(stacking="shop")
    host = await shop.control(room)
    for name, stacking in (("d2", "shop"), ("d3", "brand"), ("d4", None)):
        await host.ask("coupon.drop", key=name, **drop(drop=name, stacking=stacking))
    first, second, third, fourth = [await till.claim(name=f"d{n}") for n in range(1, 5)]

    await till.done("lock", first, "o1", "locked")
    status, err = await till.step("lock", second, "o1")
    assert (status, err["code"], err["stacking"], err["coupon"]) == (
        409,
        "limit_reached",
        "shop",
        "1-1",
    )
    assert (await till.step("use", second, "o1"))[1]["code"] == "limit_reached"
    for code in (third, fourth):
        await till.done("lock", code, "o1", "locked")
    await till.done("release", first, "o1", "unused")
    await till.done("lock", second, "o1", "locked")
    assert (await till.step("lock", first, "o1"))[1]["code"] == "limit_reached"
    await till.done("lock", first, "o2", "locked")
    await till.later(LOCK_MS + 1)
    await till.done("use", first, "o1", "used")  # the lock of the other has lapsed
    assert (await till.step("use", second, "o1"))[1]["code"] == "limit_reached"
    await check(shop, room)


async def test_coupon_codes_are_read_as_people_write_them(one: harness.Worker, room: str) -> None:
    """Small letters and look-alikes mean the same; what is none is none."""
    till = Till(one, room)
    await till.drop()
    code = await till.claim()
    typed = code.lower().replace("0", "o")
    if "1" in typed[2:]:
        typed = typed[:2] + typed[2:].replace("1", "l", 1)
    path = f"/rooms/{room}/coupons"
    assert (await rest(one, f"{path}/{typed}"))[1]["code"] == code
    number, _, secret = code.partition("-")
    for wrong in (
        secret,
        f"2-{secret}",
        f"{number}-{secret[:-1]}",
        "x",
        f"{number}-%7C",
        "1-" * 20,
    ):
        status, answer = await rest(one, f"{path}/{wrong}")
        assert (status, answer["err"]["code"]) == (404, "not_found"), wrong
    status, answer = await rest(one, f"{path}/{'x' * 65}")
    assert (status, answer["err"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"no json", 400, "bad_message"),
        ([], 400, "bad_request"),
        ({}, 400, "bad_request"),
        ({"order": ""}, 400, "bad_request"),
        ({"order": "a|b"}, 400, "bad_request"),
        ({"order": "o" * 65}, 400, "bad_request"),
        ({"order": 7}, 400, "bad_request"),
        ({"order": "o\n"}, 400, "bad_request"),
    ],
    ids=repr,
)
async def test_coupon_routes_refuse_bad_bodies(
    one: harness.Worker, room: str, body: Any, status: int, code: str
) -> None:
    """A typed error; the coupon stays as it is."""
    till = Till(one, room)
    await till.drop()
    secret = await till.claim()
    for step in ("lock", "use", "release"):
        came, answer = await rest(one, f"/rooms/{room}/coupons/{secret}/{step}", body)
        assert (came, answer["err"]["code"]) == (status, code)
    assert await till.counts() == (1, 0, 0, 0)


async def test_coupon_routes_are_for_the_back_end(one: harness.Worker, room: str) -> None:
    """Not for viewers, hosts, or the back end of another room."""
    till = Till(one, room)
    await till.drop()
    path = f"/rooms/{room}/coupons/{await till.claim()}"
    for where, role in ((room, "viewer"), (room, "host"), ("elsewhere", "service")):
        bearer = f"Bearer {one.token(where, role, 'x')}"
        for body in (None, {"order": "o"}):
            route = path if body is None else f"{path}/use"
            assert (await rest(one, route, body, Authorization=bearer))[0] == 403
    key = {"Idempotency-Key": "k1"}
    answers = [await rest(one, f"{path}/use", {"order": "o"}, **key) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 200


class Model:
    """A coupon as plain sentences say it must be."""

    def __init__(self, expires: int) -> None:
        self.expires = expires
        self.state, self.order, self.till = "unused", "", 0

    def pass_to(self, now: int) -> None:
        """Let what has come to its end by this time end."""
        if self.state == "locked" and self.till <= now:
            self.state = "unused"
        if self.state == "unused" and self.expires <= now:
            self.state = "expired"

    def lock(self, order: str, now: int) -> bool:
        """Lock; tell whether that is allowed."""
        if self.state == "unused":
            self.state, self.order, self.till = "locked", order, now + LOCK_MS
            return True
        return self.state == "locked" and self.order == order

    def use(self, order: str, now: int) -> bool:
        """Use; tell whether that is allowed."""
        if self.state == "unused" or (self.state == "locked" and self.order == order):
            self.state, self.order = "used", order
            return True
        return self.state == "used" and self.order == order

    def release(self, order: str, now: int) -> bool:
        """Release; tell whether that is allowed."""
        if self.state == "locked" and self.order == order:
            self.state = "unused"
            self.pass_to(now)
            return True
        return self.state in ("unused", "expired")


@pytest.mark.parametrize("seed", range(4))
async def test_coupons_any_way_of_redeeming_adds_up(
    one: harness.Worker, room: str, seed: int
) -> None:
    """Random steps of three orders on a few coupons, time passing: as the model says."""
    chance = random.Random(seed)
    till = Till(one, room)
    await till.drop(quota=6, valid_s=3600, seconds=0)
    codes = [await till.claim(f"u{n}") for n in range(4)]
    asked = [await run(one, room, "coupon.ask", _code=code) for code in codes]
    model = {row["code"]: Model(row["valid_until_ms"]) for row in asked}

    for _ in range(120):
        if chance.random() < 0.15:
            await till.later(chance.choice((1_000, 300_000, 901_000)))
        step, code = chance.choice(("lock", "use", "release")), chance.choice(codes)
        body = {"_code": code, "order": chance.choice("abc"), "lock_ms": LOCK_MS}
        committed = await one.node.hub.commit(room, [Op(f"coupon.{step}", "shop", body)])
        model[code].pass_to(committed.now_ms)
        allowed = getattr(model[code], step)(body["order"], committed.now_ms)
        assert (committed.replies[0][:1] == b"+") == allowed, (step, committed.replies)
        await check(one, room)
    await till.later(0)
    now = (await one.node.hub.commit(room, [])).now_ms
    for row in model.values():
        row.pass_to(now)
    states = [row.state for row in model.values()]
    expected = tuple(states.count(state) for state in ("unused", "locked", "used", "expired"))
    assert await till.counts() == expected
