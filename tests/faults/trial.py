"""One fault, judged: a room with viewers, gifts and a flash sale, and the four things that must hold.

No invariant broken, no silent gap, bounded recovery, an alarm that moved. Whatever breaks is broken
by the test; what is asked afterwards is asked here, of every fault alike, and printed as one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import orjson

import harness
from faults.fan import Fan
from faults.figures import ALARMS, Figures, Metrics, level_of, samples
from faults.people import Buyer, Giver, Ledger, Person
from faults.talk import Talker, account, last_words
from liveroom.core.position import Position
from liveroom.features import wallet
from liveroom.store.port import LogEntry, Op


__all__ = ["Trial", "trial"]

P = TypeVar("P", bound=Person)
UNITS = 3000
MONEY = 10**9
_SAMPLE_S = 0.2
_SETTLE_S = 30.0
_AGAIN_S = 1.0
_CONVERGE_S = 10.0  # within so long the newest values are everywhere, docs/guarantees.md says


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
        self.talkers: list[Talker] = []
        self._lives: list[asyncio.Task[None]] = []

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
        try:
            async with asyncio.timeout(within):
                while any(fan.heard < since for fan in self.fans):  # noqa: ASYNC110 -- as above
                    await asyncio.sleep(0.01)
        except TimeoutError as exc:
            blind = [vars(fan) for fan in self.fans if fan.heard < since]
            raise AssertionError(f"shown nothing within {within:.1f} s: {blind}") from exc

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
            alarm: the metric that has to have moved; None: no counter that an alert watches did.
            may_lose: how many acknowledged things may be lost.
            may_be_told: whether viewers may have been told of a gap.
            may_differ: whether two masters may have given one number to two events.
            may_err: whether somebody may have been refused for good (what it built on was lost).
        """
        self.working = False
        async with asyncio.timeout(_SETTLE_S):
            await self._all_answered()
        self._watch.cancel()  # the alarms of the fault, not of what is looked at now
        await self._look()
        await self._accounted()
        async with harness.running_worker(self.store_url) as judge:
            await self._settled(judge)
            await self._seen_to(judge, await self._log(judge))
            await self._converged(judge)
        await self.check_books()
        self._measure(alarm)
        print(self.figures.line())  # noqa: T201 -- what a run is for
        self._expect(alarm, may_be_told=may_be_told, may_differ=may_differ, may_err=may_err)
        assert self.figures.lost <= may_lose, self.figures
        return self.figures

    def _expect(
        self, alarm: str | None, *, may_be_told: bool, may_differ: bool, may_err: bool
    ) -> None:
        figures, ledger = self.figures, self.ledger
        assert not ledger.silent, ledger.silent[:5]
        assert not ledger.backward, ledger.backward[:5]
        assert may_differ or not ledger.differing, ledger.differing[:5]
        assert may_err or not ledger.wrong, ledger.wrong[:5]
        assert figures.doubled == 0, figures
        assert may_be_told or not ledger.told, figures
        before = self._before
        risen = {name for name, peak in self._peak.items() if peak > before.get(name, 0.0)}
        if alarm is None:
            assert not risen & ALARMS, (risen & ALARMS, figures)
        else:
            assert alarm in risen, figures

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
        figures.acked, figures.again = len(ledger.acked), ledger.again
        figures.unknown, figures.wrong = sum(ledger.codes.values()), len(ledger.wrong)
        figures.seen, figures.silent, figures.told = ledger.seen, len(ledger.silent), ledger.told
        figures.differing, figures.backward = len(ledger.differing), len(ledger.backward)
        if alarm is None:
            figures.alarm = "no alarm: nobody needs to know"
        else:
            before, peak = self._before.get(alarm, 0.0), self._peak.get(alarm, 0.0)
            figures.alarm = f"{alarm} {before:.3g} -> {peak:.3g}"

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

    async def _converged(self, judge: harness.Worker) -> None:
        """Wait until every viewer has the newest value of every key."""
        began = time.monotonic()
        while True:
            newest = (await harness.run(judge, self.room, "sys.sync"))["states"]
            stale = [(fan.user, row) for fan in self.fans for row in newest if not _has(fan, row)]
            if not stale or time.monotonic() - began > _CONVERGE_S:
                break
            await asyncio.sleep(0.02)
        figures = self.figures
        figures.converge_ms = round((time.monotonic() - began) * 1000)
        figures.values, figures.stale = len(newest) * len(self.fans), len(stale)
        assert not stale, stale[:3]

    async def _accounted(self) -> None:
        """See that everything that was said is shown or counted to whoever was there.

        What was lost is counted with what the same worker says next, which may be lost as well.
        """
        deadline = time.monotonic() + _CONVERGE_S
        while True:
            spoke = await last_words(self.ledger, self.room, self.fronts, self._session)
            until = time.monotonic() + _AGAIN_S
            while True:
                listeners = [f for f in self.fans if f.greetings == 1 and f.here.is_set()]
                accounts = [account(self.ledger, fan, spoke) for fan in listeners]
                if all(one.holds for one in accounts) or time.monotonic() > until:
                    break
                await asyncio.sleep(0.02)
            if all(one.holds for one in accounts) or time.monotonic() > deadline:
                break
        figures = self.figures
        figures.said, figures.listeners = len(self.ledger.said), len(listeners)
        figures.shown = sum(one.shown for one in accounts)
        figures.shed = sum(one.shed for one in accounts)
        figures.uncounted = sum(one.uncounted for one in accounts)
        figures.excess = sum(one.excess for one in accounts)
        assert all(one.holds for one in accounts), accounts

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
        if self.lost:
            span = max(self.lost.values()) - min(self.lost.values())
            self.figures.loss_ms = round(span * 1000)
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

    async def begin(
        self,
        session: aiohttp.ClientSession,
        crowd: tuple[int, int, int],
        talkers: int,
        giver: type[Giver],
        buyer: type[Buyer],
    ) -> None:
        """Open the room, hand out money, arm the sale, let everybody come."""
        self._session = session
        await self.set_the_stage(crowd[1])
        self.fans = self._people(Fan, "fan", crowd[0])
        self.givers = self._people(giver, "giver", crowd[1])
        self.buyers = self._people(buyer, "buyer", crowd[2])
        self.talkers = self._people(Talker, "talker", talkers)
        for person in self._everybody:
            self._lives.append(asyncio.create_task(person.live(session)))
        async with asyncio.timeout(30):
            await asyncio.gather(*(person.here.wait() for person in self._everybody))
        self._began = time.monotonic()
        busy: Callable[[], bool] = lambda: self.working  # noqa: E731
        works = [person.work(busy) for person in self.givers]
        works += [person.work(busy) for person in self.talkers]
        works += [person.work(busy, session) for person in self.buyers]
        self._jobs = [asyncio.create_task(work) for work in works]
        await self._everybody_heard()
        text = await self._metrics()
        self._before, self.figures.level = samples(text), level_of(text)
        self._watch = asyncio.create_task(self._sample())

    async def _everybody_heard(self) -> None:
        """Wait for everybody's first words: what is lost is counted from those of a worker on."""
        async with asyncio.timeout(15):
            while any(fan.shown.total() + fan.shed < len(self.talkers) for fan in self.fans):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def come(self, fan: Fan, session: aiohttp.ClientSession) -> None:
        """Have one more viewer in the room, over connections of its own."""
        self.fans.append(fan)
        self._lives.append(asyncio.create_task(fan.live(session)))
        async with asyncio.timeout(10):
            await fan.here.wait()

    @property
    def _everybody(self) -> list[Person]:
        return [*self.fans, *self.givers, *self.buyers, *self.talkers]

    def _people(self, kind: type[P], name: str, count: int) -> list[P]:
        made = [kind(self.ledger, self.room, f"{name}{n}", self.fronts) for n in range(count)]
        for turn, person in enumerate(made):
            person.turn = turn
        return made

    async def set_the_stage(self, givers: int) -> None:
        """Open the room, arm the sale, hand out money."""
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
            for name, value in samples(await self._metrics()).items():
                self._peak[name] = max(value, self._peak.get(name, value))

    async def end(self) -> None:
        """Send everybody home."""
        for task in [*self._jobs, self._watch]:
            task.cancel()
        await asyncio.gather(*(person.leave() for person in self._everybody))
        for task in self._lives:
            task.cancel()
        await asyncio.gather(*self._jobs, *self._lives, self._watch, return_exceptions=True)


def _has(fan: Fan, newest: dict[str, Any]) -> bool:
    """Whether a viewer has a key's newest value, or one that came since."""
    mine = fan.latest.get(newest["st"])
    if mine is None:
        return newest["d"] is None
    return bool(mine["v"] > newest["v"] or (mine["v"], mine["d"]) == (newest["v"], newest["d"]))


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
    talkers: int = 6,
    giver: type[Giver] = Giver,
    buyer: type[Buyer] = Buyer,
) -> AsyncIterator[Trial]:
    """Run a room: so many viewers, givers and buyers; and so many who talk."""
    addresses = fronts if callable(fronts) else (lambda: fronts)
    made = Trial(figures, store_url, room, addresses, metrics)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        try:
            await made.begin(session, crowd, talkers, giver, buyer)
            yield made
        finally:
            if hasattr(made, "_watch"):
                await made.end()
