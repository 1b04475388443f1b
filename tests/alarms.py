"""Workers under alert rules for tests, in a time of the test's own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import harness
from liveroom import (
    Call,
    Delivery,
    Empty,
    EventSpec,
    Op,
    Plugin,
    Role,
    RoomHandle,
    StateSpec,
    Surface,
    command,
)
from liveroom.core.clock import FakeClock
from liveroom_plugins.alerts import Alerts


__all__ = ["FALL", "Fallen", "Floor", "Till", "fall_of_sales", "floor", "statuses", "told"]

FALL = """
[[rule]]
name = "sales-fall"
kind = "change"
series = "sum:shop.sold.amount/s"
fall = 40
severity = "critical"
cooldown_s = 120
text = "{value} a second, was {base}"
"""


class Till(Plugin):
    """Sells, shows how much, and tells figures."""

    name = "shop"
    events = (EventSpec("shop.sold", Delivery.DURABLE, "Something was sold."),)
    states = (StateSpec("shop", "How many."),)
    lua = """
ops['shop.sell'] = function(op) for _, amount in ipairs(op.d.amounts) do emit('shop.sold', {amount = amount}) end end
ops['shop.show'] = function(op) if op.d.gone then forget(op.d.st) else state(op.d.st, {n = op.d.n}) end end
"""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.broken = 0

    @command("shop.break", Empty, role=Role.HOST, surfaces=(Surface.CONTROL,))
    def break_(self, call: Call[Empty]) -> None:
        """Fail."""
        self.broken += 1
        raise RuntimeError("broken")

    async def figures(self, room: RoomHandle) -> Mapping[str, float]:
        """Tell what the test wants told."""
        return self.told


class Floor:
    """Workers under rules, in a time of the test's own."""

    def __init__(self, rules: Path) -> None:
        self.clock = FakeClock()
        self.rules = rules
        self.workers: list[harness.Worker] = []
        self.alerts: list[Alerts] = []
        self.shops: list[Till] = []
        self.room = ""

    async def commit(self, op: str, **d: Any) -> None:
        """Have something happen, and every worker hear of it."""
        committed = await self.workers[0].node.hub.commit(self.room, [Op(op, "", d)])
        assert committed.replies[0][:1] == b"+", committed.replies
        async with asyncio.timeout(harness.PATIENCE_S):
            for worker in self.workers:
                room = worker.node.hub.room(self.room)
                # A position is followed by itself.
                while room is not None and room.position < committed.position:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    async def second(self) -> None:
        """Let a second pass, on the store's clock too, and have every worker look."""
        self.clock.advance(1)
        for worker in self.workers:
            worker.node.store.skew_ms += 1000
        for alerts in self.alerts:
            await alerts.tick()

    async def show(self, n: int, seconds: int = 1, st: str = "shop") -> None:
        """Have a state show a number for some seconds."""
        await self.commit("shop.show", st=st, n=n)
        for worker in self.workers:
            room = worker.node.hub.room(self.room)
            async with asyncio.timeout(harness.PATIENCE_S):
                while room is not None and (room.state(st) or {}).get("n") != n:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        for _ in range(seconds):
            await self.second()


@asynccontextmanager
async def floor(
    store: str, room: str, path: Path, rules: str, workers: int = 1, **settings: Any
) -> AsyncIterator[Floor]:
    """Run workers with these rules; the room is open, and somebody is in it on each of them."""
    (file := path / "rules.toml").write_text(rules)
    made = Floor(file)
    made.room = room
    async with AsyncExitStack() as stack:
        for number in range(workers):
            made.alerts.append(Alerts(every_s=3600, clock=made.clock))
            made.shops.append(Till())
            started = harness.running_worker(
                store,
                plugins=[made.shops[-1], made.alerts[-1]],
                plugin={"alerts": {"rules": str(file)}},
                **settings,
            )
            made.workers.append(await stack.enter_async_context(started))
            if not number:
                await made.workers[0].open_room(room)
            await made.workers[-1].join(room, f"viewer{number}")
        yield made


async def told(client: harness.Client, **fields: Any) -> dict[str, Any]:
    """Wait until somebody is told of an alert like this; return the event."""
    return await client.item(
        lambda item: item.get("ev") == "alert" and fields.items() <= item["d"].items()
    )


def statuses(client: harness.Client) -> list[tuple[str, str]]:
    """Return (name, status) of the alerts that somebody was told of."""
    return [(item["d"]["name"], item["d"]["status"]) for item in client.events("alert")]


class Fallen(NamedTuple):
    """What came of a fall of sales: after how many seconds it was told, the alert, and who was told what."""

    seconds: int
    alert: dict[str, Any]
    told: list[list[tuple[str, str]]]
    too_soon: list[tuple[str, str]]
    viewer: list[dict[str, Any]]


async def fall_of_sales(store: str, room: str, folder: Path, seed: int = 11) -> Fallen:
    """Have noisy sales for two minutes, then half of them for another; on two workers."""
    noise = random.Random(seed)

    async def sell(mean: float) -> None:
        amounts = [max(1, round(noise.gauss(mean, mean * 0.3))) for _ in range(10)]
        await shop.commit("shop.sell", amounts=amounts)
        await shop.second()

    async with floor(store, room, folder, FALL, workers=2) as shop:
        first, second = [await worker.control(room, "mod", "moderator") for worker in shop.workers]
        viewer = await shop.workers[0].join(room, "ann")
        for _ in range(120):
            await sell(1000)
        too_soon = statuses(first)
        seconds = 0
        for elapsed in range(1, 76):
            await sell(500)
            if not seconds and (await first.ask("alert.list"))["live"]:
                seconds = elapsed
        alert = (await told(first))["d"]
        await told(second)
        told_of = [statuses(first), statuses(second)]
    return Fallen(seconds, alert, told_of, too_soon, viewer.events("alert"))
