"""A storm of claims over two workers: none twice, none too many, and what it took.

`LIVEROOM_TEST_SEEDS` has more of them, `LIVEROOM_TEST_CLAIMS` larger ones. The clients are in this
process, too: `python -m bench.storm` is the one whose figures mean something.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from typing import Any

import pytest

import harness
from drops import Hand, check, drop, open_host, pass_time, run, service
from harness import Pair
from liveroom_plugins.coupons import Coupons


PLUGINS = (Coupons, Hand)
SEEDS = int(os.environ.get("LIVEROOM_TEST_SEEDS", "2"))
CLAIMS = int(os.environ.get("LIVEROOM_TEST_CLAIMS", "800"))
PER_SOCKET = 8
UNASKED = "liveroom_coupons_refused_unasked_total"


@pytest.mark.timeout(300)
async def test_coupon_storm(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Each user claims on several keys at once, from sockets of both workers; a twentieth wins."""
    pair = [await start_worker(embedded_url, plugins=[Coupons(), Hand()]) for _ in range(2)]
    host = await open_host(pair[0], room)
    sockets, quota = CLAIMS // PER_SOCKET, CLAIMS // 20
    clients: list[harness.Client] = []
    for first in range(0, sockets, 100):
        numbers = range(first, min(first + 100, sockets))
        clients += await asyncio.gather(*(pair[n % 2].join(room, f"u{n}") for n in numbers))
    await host.ask("coupon.drop", key="d", **drop(quota=quota))
    for client in clients:
        await client.state("coupon:d1")

    async def claims(client: harness.Client) -> list[dict[str, Any]]:
        sent = [
            {"op": "coupon.claim", "id": 100 + n, "key": f"k{n}", "d": {"drop": "d1"}}
            for n in range(PER_SOCKET)
        ]
        await client.send(*sent)
        return [
            await client.item(lambda item, n=n: item.get("re") == 100 + n)  # type: ignore[misc]
            for n in range(PER_SOCKET)
        ]

    began = time.perf_counter()
    replies = await asyncio.gather(*map(claims, clients))
    seconds = time.perf_counter() - began
    won = [reply["d"] for mine in replies for reply in mine if "d" in reply]
    refused = [reply["err"]["code"] for mine in replies for reply in mine if "err" in reply]
    registries = [worker.node.metrics.registry for worker in pair]
    unasked = sum(registry.get_sample_value(UNASKED) or 0 for registry in registries)
    sys.stdout.write(
        f"{sockets * PER_SOCKET:,} claims on {quota:,} coupons, {sockets:,} sockets, two workers: "
        f"{seconds:.2f} s, {len(won):,} granted, {refused.count('sold_out'):,} sold out "
        f"({unasked:,.0f} by the worker), {refused.count('limit_reached'):,} over their limit\n"
    )
    assert len(won) == quota
    assert len({row["code"] for row in won}) == len({row["coupon"] for row in won}) == quota
    assert max(sum("d" in reply for reply in mine) for mine in replies) == 1
    assert set(refused) == {"sold_out", "limit_reached"}
    assert len(won) + len(refused) == sockets * PER_SOCKET
    found = await host.ask("coupon.show", drop="d1")
    assert (found["issued"], found["unused"], found["left"]) == (quota, quota, 0)
    await check(pair[0], room)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_coupon_storm_with_losses_and_retries(pair: Pair, room: str, seed: int) -> None:
    """Lost answers, repeated keys, two tabs on two workers, redeeming meanwhile: the books are right."""
    chance = random.Random(seed)
    host = await open_host(pair[0], room)
    quota, users = chance.randint(5, 25), [f"u{n}" for n in range(20)]
    per_user = chance.randint(1, 3)
    await host.ask("coupon.drop", key="d", **drop(quota=quota, per_user=per_user))
    tabs = {user: [await worker.join(room, user) for worker in pair] for user in users}
    answers: dict[tuple[str, str], list[dict[str, Any]]] = {}

    async def claim(user: str, key: str) -> None:
        client = chance.choice(tabs[user])
        reply = await client.command("coupon.claim", key=key, drop="d1")
        answers.setdefault((user, key), []).append(reply)
        if "d" in reply and chance.random() < 0.4:
            order, code = f"o-{user}-{key}", reply["d"]["code"]
            step = chance.choice(("lock", "use"))
            await service(chance.choice(pair), room, f"coupon.{step}", code=code, order=order)

    tries = [
        (user, f"k{n}") for user in users for n in range(4) for _ in range(chance.randint(1, 3))
    ]
    chance.shuffle(tries)
    await asyncio.gather(*(claim(*one) for one in tries))

    granted: dict[str, set[str]] = {}
    for (user, _), replies in answers.items():
        codes = {reply["d"]["code"] for reply in replies if "d" in reply}
        assert len(codes) <= 1, "the same key, the same coupon"
        granted.setdefault(user, set()).update(codes)
    assert max(map(len, granted.values())) <= per_user
    assert sum(map(len, granted.values())) == min(quota, per_user * len(users))
    for user in users[:4]:
        mine = (await tabs[user][0].ask("coupon.mine")).get("coupons", [])
        assert {row["code"] for row in mine} == granted[user]
    await check(pair[1], room)
    await pass_time(pair, room, 3_601_000)
    await pass_time(pair, room, 900_001)
    found = await run(pair[0], room, "coupon.show", drop="d1")
    assert found["used"] + found["expired"] == found["issued"]
    await check(pair[0], room)
