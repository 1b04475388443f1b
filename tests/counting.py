"""A worker with counters for tests, and the ways in which a back end and a host speak to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

import harness
from liveroom import Engine, Op
from liveroom.plugin.spec import Plugin
from liveroom_plugins.counters import Counters


__all__ = ["FLUSH_MS", "Figures", "Shop", "TimedCounters", "counting"]

Figures = dict[str, Any]
FLUSH_MS = 100


class _Timed:
    """An engine whose clock a test moves on."""

    def __init__(self, engine: Engine, plugin: TimedCounters) -> None:
        self._engine = engine
        self._plugin = plugin
        self.clock = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def monotonic(self) -> float:
        """Return the real clock and what the test has added."""
        return self._engine.clock.monotonic() + self._plugin.shift_s


class TimedCounters(Counters):
    """Counters whose time a test moves on."""

    def __init__(self) -> None:
        self.shift_s = 0.0
        super().__init__()

    async def start(self, engine: Engine) -> None:
        """Start with a clock that can be moved."""
        await super().start(_Timed(engine, self))  # type: ignore[arg-type]


class Shop:
    """A worker with counters."""

    def __init__(self, worker: harness.Worker, counters: TimedCounters) -> None:
        self.worker = worker
        self.counters = counters
        self._http = aiohttp.ClientSession()

    async def close(self) -> None:
        """Let go of the HTTP connections."""
        await self._http.close()

    async def tell(self, room: str, op: str, key: str | None = None, **d: Any) -> Figures:
        """Send a command as the back end; return its answer, or its refusal."""
        token = self.worker.token("*", "service", "shop")
        url = f"{self.worker.http}/api/rooms/{room}/commands"
        headers = {"Authorization": f"Bearer {token}"}
        command = {"op": op, "id": 1, "d": d} | ({"key": key} if key else {})
        async with self._http.post(url, headers=headers, json=command) as response:
            (reply,) = (await response.json())["replies"]
        answer: Figures = reply["d"] if "d" in reply else reply["err"]
        return answer

    async def get(self, room: str, path: str = "stats", role: str = "host", **query: str) -> Any:
        """Ask the API; return status and body."""
        token = self.worker.token(room, role, "host")
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.worker.http}/api/rooms/{room}/{path}"
        async with self._http.get(url, headers=headers, params=query) as response:
            return response.status, await response.json()

    async def figures(self, room: str, **wanted: Any) -> Figures:
        """Return the metrics, as soon as these have these values."""
        metrics: Figures = {}
        try:
            async with asyncio.timeout(harness.PATIENCE_S):
                while True:
                    status, answer = await self.get(room)
                    assert status == 200, answer
                    metrics = answer["metrics"]
                    if wanted.items() <= metrics.items():
                        return metrics
                    await asyncio.sleep(0.02)
        except TimeoutError:
            assert {name: metrics.get(name) for name in wanted} == wanted
            raise

    async def kinds(self, room: str) -> dict[str, tuple[int, int]]:
        """Return how often and by how many viewers each kind was done, of those that were."""
        kinds = (await self.figures(room))["kinds"]
        return {kind: (row["n"], row["viewers"]) for kind, row in kinds.items() if row["n"]}

    async def rows(self, room: str, by: str, **query: str) -> dict[str, Figures]:
        """Return the rows of a breakdown by their names."""
        status, answer = await self.get(room, by=by, **query)
        assert status == 200, answer
        return {str(row[by]): row for row in answer["rows"]}

    async def told(self, room: str) -> None:
        """Have all that was gathered told to the store."""
        handle = self.worker.node.hub.room_for(room)
        async with asyncio.timeout(harness.PATIENCE_S):
            while any(s.pending or s.due for s in self.counters.audience.of_room(room)):
                self.counters.flush(handle)
                await asyncio.sleep(0.005)

    async def pass_time(self, room: str, seconds: float) -> None:
        """Let the store's clock and the worker's go on, and what is due run."""
        self.counters.shift_s += seconds
        self.worker.node.store.skew_ms += round(seconds * 1000)
        await self.worker.node.hub.commit(room, [])

    async def check(self, room: str) -> None:
        """Have the invariants recomputed: all must hold."""
        op = Op("sys.check", "", {"full": True})
        (reply,) = (await self.worker.node.hub.commit(room, [op])).replies
        answer = orjson.loads(reply[1:])
        assert "broken" not in answer, answer["broken"]
        assert answer["counted"]["counters.here"] >= 1


@asynccontextmanager
async def counting(
    store: str, plugins: Iterable[Plugin] = (), **settings: Any
) -> AsyncIterator[Shop]:
    """Run a worker with counters."""
    counters = TimedCounters()
    table = {"counters": {"flush_ms": FLUSH_MS}} | settings.pop("plugin", {})
    made = [counters, *plugins]
    async with harness.running_worker(store, plugins=made, plugin=table, **settings) as worker:
        shop = Shop(worker, counters)
        try:
            yield shop
        finally:
            await shop.close()
