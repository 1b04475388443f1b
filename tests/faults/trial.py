"""One fault, judged: a room with viewers, gifts and a flash sale, and the four things that must hold.

No invariant broken, no silent gap, bounded recovery, an alarm that moved. Whatever breaks is broken
by the test; what is asked afterwards is asked here, of every fault alike, and printed as one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import orjson

import harness
from faults.people import Buyer, Fan, Giver, Ledger
from liveroom.core.position import Position
from liveroom.features import wallet
from liveroom.store.port import LogEntry, Op


__all__ = ["PRICE", "SLOW", "Figures", "Trial", "metrics_of", "trial"]

PRICE = 100  # of a rose
UNITS = 3000
MONEY = 10**9
_SAMPLE_S = 0.2
SLOW = "commits over 250 ms"
"""What the alert LiveroomCommitsSlow looks at, as a count."""
_SETTLE_S = 30.0

Metrics = Callable[[], Awaitable[str]]


@dataclass
class Figures:
    """What a fault did; `window_ms` is the longest time in which nothing was acknowledged."""

    row: str
    fault: str
    acked: int = 0
    lost: int = 0
    doubled: int = 0
    silent: int = 0
    told: int = 0
    differing: int = 0
    window_ms: int = 0
    recovery_ms: int = 0
    alarm: str = ""
    note: str = ""

    def line(self) -> str:
        """Return it as a line to print."""
        return (
            f"{self.row:4} {self.fault}: acked {self.acked}, lost {self.lost}, "
            f"doubled {self.doubled}, silent gaps {self.silent}, told gaps {self.told}, "
            f"shown differently {self.differing}, "
            f"window {self.window_ms} ms, recovery {self.recovery_ms} ms, {self.alarm}"
            + (f"; {self.note}" if self.note else "")
        )


def metrics_of(*workers: harness.Worker) -> Metrics:
    """Return what reads the metrics of workers in this process."""

    async def read() -> str:
        return "\n".join(worker.node.metrics.render().decode() for worker in workers)

    return read


class Trial:
    """A running room; made by `trial`.

    Args:
        figures: filled in at the end.
        store_url: where the books are read, past whatever was broken.
        fronts: returns the workers' addresses.
        metrics: returns the workers' metrics as text.
    """

    def __init__(
        self,
        figures: Figures,
        store_url: str,
        room: str,
        fronts: Callable[[], Sequence[str]],
        metrics: Metrics,
    ) -> None:
        self.figures = figures
        self.store_url = store_url
        self.room = room
        self.ledger = Ledger()
        self.fronts = fronts
        self.working = True
        self._metrics = metrics
        self._before: dict[str, float] = {}
        self._peak: dict[str, float] = {}
        self.fans: list[Fan] = []
        self.givers: list[Giver] = []
        self.buyers: list[Buyer] = []

    # While it runs.

    async def acks(self, count: int = 20, within: float = 30.0) -> None:
        """Wait until so many more things were acknowledged."""
        goal = len(self.ledger.moments) + count
        async with asyncio.timeout(within):
            while len(self.ledger.moments) < goal:  # noqa: ASYNC110 -- everybody moves it on
                await asyncio.sleep(0.01)

    async def acked_by_all(self, within: float = 30.0) -> None:
        """Wait until everybody who pays was acknowledged something from now on."""
        since = time.monotonic()
        users = {person.user for person in self.givers}

        async with asyncio.timeout(within):
            while users:
                users -= {u for (u, _), at in self.ledger.acked.items() if at > since}
                await asyncio.sleep(0.01)

    async def seen_by_all(self, within: float = 30.0) -> None:
        """Wait until every viewer was shown something from now on."""
        since = time.monotonic()
        async with asyncio.timeout(within):
            while any(fan.heard < since for fan in self.fans):  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.01)

    async def recovered(self, within: float = 15.0) -> None:
        """Measure from now until everybody pays again and sees it; the bound is an assertion."""
        began = time.monotonic()
        await self.acked_by_all(within)
        await self.seen_by_all(max(0.5, within - (time.monotonic() - began)))
        took = round((time.monotonic() - began) * 1000)
        self.figures.recovery_ms = max(self.figures.recovery_ms, took)

    # The end.

    async def verdict(
        self,
        alarm: str | None,
        *,
        may_lose: int = 0,
        may_be_told: bool = False,
        may_differ: bool = False,
        may_err: bool = False,
    ) -> Figures:
        """Stop, read the books, assert the four things and print the figures.

        Args:
            alarm: the metric that has to have moved; None: there is nothing to notice.
            may_lose: how many acknowledged things may be lost.
            may_be_told: whether viewers may have been told of a gap.
            may_differ: whether two masters may have given one number to two events.
            may_err: whether somebody may have been refused for good (what it built on was lost).
        """
        self.working = False
        async with asyncio.timeout(_SETTLE_S):
            await self._all_answered()
        async with harness.running_worker(self.store_url) as judge:
            await self._settled(judge)
            await self._seen_to(judge, await self._log(judge))
        await self.check_books()
        await self._look()
        self._measure(alarm)
        print(self.figures.line())  # noqa: T201 -- what a run is for
        assert not self.ledger.silent, self.ledger.silent[:5]
        assert may_differ or not self.ledger.differing, self.ledger.differing[:5]
        assert may_err or not self.ledger.wrong, self.ledger.wrong[:5]
        assert self.figures.lost <= may_lose, self.figures
        assert self.figures.doubled == 0, self.figures
        assert may_be_told or not self.ledger.told, self.figures
        return self.figures

    async def check_books(self) -> None:
        """Read everything from the store and compare it with what was acknowledged."""
        async with harness.running_worker(self.store_url) as judge:
            log = await self._log(judge)
            self._count(log)
            await self._check_books(judge, log)

    async def _log(self, judge: harness.Worker) -> list[LogEntry]:
        return await judge.node.store.read_log(self.room, Position("", 0, 0), 100_000)

    def _measure(self, alarm: str | None) -> None:
        moments = [self._began, *sorted(self.ledger.moments)]
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        figures, ledger = self.figures, self.ledger
        figures.window_ms = round(max(gaps, default=0.0) * 1000)
        figures.acked = len(ledger.acked)
        figures.silent, figures.told = len(ledger.silent), ledger.told
        figures.differing = len(ledger.differing)
        if alarm is None:
            figures.alarm = "no alarm: nobody could tell"
            return
        before, peak = self._before.get(alarm, 0.0), self._peak.get(alarm, 0.0)
        figures.alarm = f"{alarm} {before:.3g} -> {peak:.3g}"
        assert peak > before, figures.line()

    async def _all_answered(self) -> None:
        await asyncio.gather(*self._jobs)

    async def _settled(self, judge: harness.Worker) -> None:
        """Finish what was cut off, as the recovery does after a while."""
        payments = wallet.Payments(judge.node.hub)
        async with asyncio.timeout(_SETTLE_S):
            while (await accounts(judge)).get("~held", 0):
                stale, wallet.STALE_MS = wallet.STALE_MS, 0
                try:
                    await payments.recover()
                finally:
                    wallet.STALE_MS = stale

    async def _seen_to(self, judge: harness.Worker, log: Sequence[LogEntry]) -> None:
        """Wait until every viewer is where the log's public end is."""
        last = (await judge.node.hub.commit(self.room, [])).position
        async with asyncio.timeout(_SETTLE_S):
            while not all(fan.epoch == last.epoch and fan.seq == last.seq for fan in self.fans):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        items = {(e.seq, e.sub): orjson.loads(e.item) for e in log}
        for (epoch, seq, sub), item in self.ledger.payloads.items():
            if epoch == last.epoch and (seq, sub) in items and items[seq, sub] != item:
                self.ledger.differing.append(f"{seq} is {items[seq, sub]}, was shown as {item}")

    def _count(self, log: Sequence[LogEntry]) -> None:
        """Compare what was acknowledged with what the store has."""
        there: Counter[tuple[str, str]] = Counter()
        for item in (orjson.loads(entry.item) for entry in log):
            d = item["d"]
            if item["ev"] == "gift.sent":
                there[d["user"]["id"], f"gift {d['n']}"] += 1
            elif item["ev"] == "flash.paid":
                there[d["user"], f"order {d['order']}"] += 1
        kept = [what for what in self.ledger.acked if not what[1].startswith("reserve")]
        self.lost = {what: self.ledger.acked[what] for what in kept if not there[what]}
        self.figures.lost = len(self.lost)
        self.figures.doubled = sum(count > 1 for count in there.values())

    async def _check_books(self, judge: harness.Worker, log: Sequence[LogEntry]) -> None:
        await harness.check(judge, self.room)
        for number in range(wallet.SHARDS):
            await harness.check(judge, f"~w{number:02d}")
        books = await accounts(judge)
        assert sum(books.values()) == 0, books
        items = [orjson.loads(entry.item) for entry in log]
        shown = sum(item["d"]["value"] for item in items if item["ev"] == "gift.sent")
        paid = books.get(f"~room:{self.room}", 0)
        assert paid == shown, f"gifts of {shown} are in the log, {paid} was paid for them"
        sold = sum(item["ev"] == "flash.paid" for item in items)
        states = (await harness.run(judge, self.room, "sys.sync"))["states"]
        sale = next(row["d"] for row in states if row["st"] == "stock:k1")
        assert sale["available"] + sale["reserved"] + sale["sold"] == sale["total"], sale
        assert sale["sold"] == sold, sale

    # Behind the scenes.

    async def begin(self, session: aiohttp.ClientSession, crowd: tuple[int, int, int]) -> None:
        """Open the room, hand out money, arm the sale, let everybody come."""
        fans, givers, buyers = crowd
        await self._set_the_stage(givers)
        new = (self.ledger, self.room)
        self.fans = [Fan(*new, f"fan{i}", self.fronts) for i in range(fans)]
        self.givers = [Giver(*new, f"giver{i}", self.fronts) for i in range(givers)]
        self.buyers = [Buyer(*new, f"buyer{i}", self.fronts) for i in range(buyers)]
        people = [*self.fans, *self.givers, *self.buyers]
        for group in (self.fans, self.givers, self.buyers):
            for turn, person in enumerate(group):
                person.turn = turn
        self._lives = [asyncio.create_task(person.live(session)) for person in people]
        async with asyncio.timeout(30):
            await asyncio.gather(*(person.here.wait() for person in people))
        self._began = time.monotonic()
        busy: Callable[[], bool] = lambda: self.working  # noqa: E731
        self._jobs = [asyncio.create_task(giver.work(busy)) for giver in self.givers]
        self._jobs += [asyncio.create_task(buyer.work(busy, session)) for buyer in self.buyers]
        self._before = _samples(await self._metrics())
        self._watch = asyncio.create_task(self._sample())

    async def _set_the_stage(self, givers: int) -> None:
        async with harness.running_worker(self.store_url) as judge:
            host = await judge.open_control(self.room)
            await host.ask("room.open")
            sku = {"sku": "k1", "price": 1000}
            await host.ask("shelf.put", item="i1", title="T", currency="CNY", skus=[sku])
            sale = {"sale": "s1", "sku": "k1", "price": 900, "total": UNITS, "starts_in_s": 0}
            await host.ask("flash.arm", key="arm", **sale, per_user=100, hold_s=3600)
            for number in range(givers):
                user = f"giver{number}"
                op = Op("wallet.topup", user, {"user": user, "amount": MONEY}, "start", "d")
                await judge.node.hub.submit(wallet.shard_of(user), op, durable=True)

    async def _sample(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_SAMPLE_S)

    async def _look(self) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            for name, value in _samples(await self._metrics()).items():
                self._peak[name] = max(value, self._peak.get(name, value))

    async def end(self) -> None:
        """Send everybody home."""
        for task in [*self._jobs, self._watch]:
            task.cancel()
        people = [*self.fans, *self.givers, *self.buyers]
        await asyncio.gather(*(person.leave() for person in people))
        for task in self._lives:
            task.cancel()
        await asyncio.gather(*self._jobs, *self._lives, self._watch, return_exceptions=True)


def _samples(text: str) -> dict[str, float]:
    """Return each metric, summed over its labels and workers."""
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(liveroom_\w+)(?:\{.*\})? (\S+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
    quick = re.findall(
        r'^liveroom_commit_seconds_bucket\{.*le="0.25".*\} (\S+)$', text, re.MULTILINE
    )
    found[SLOW] = found.get("liveroom_commit_seconds_count", 0.0) - sum(map(float, quick))
    return found


async def accounts(worker: harness.Worker) -> dict[str, int]:
    """Return every account that is not empty, over all shards."""
    store, books = worker.node.store, dict[str, int]()
    for number in range(wallet.SHARDS):
        key = f"lr:{{~w{number:02d}}}"
        flat = await store.ask(store._topology.address(key), "HGETALL", f"{key}:acc")
        for name, amount in zip(flat[::2], flat[1::2], strict=True):
            books[name.decode()] = books.get(name.decode(), 0) + int(amount)
    return books


@asynccontextmanager
async def trial(
    figures: Figures,
    store_url: str,
    room: str,
    fronts: Sequence[str] | Callable[[], Sequence[str]],
    metrics: Metrics,
    crowd: tuple[int, int, int] = (4, 3, 2),
) -> AsyncIterator[Trial]:
    """Run a room: so many viewers, givers and buyers."""
    addresses = fronts if callable(fronts) else (lambda: fronts)
    made = Trial(figures, store_url, room, addresses, metrics)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        try:
            await made.begin(session, crowd)
            yield made
        finally:
            if hasattr(made, "_watch"):
                await made.end()


def as_row(figures: Figures) -> dict[str, Any]:
    """Return figures as what a report carries."""
    return asdict(figures)
