"""Group commit: what rides together, what waits, what is told when the store does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from liveroom.core.clock import FakeClock
from liveroom.core.position import Position
from liveroom.errors import OutcomeUnknown, StoreError, StoreUnavailable
from liveroom.hub.batch import Batcher, Broadcast
from liveroom.metrics import CommitMetrics
from liveroom.store.port import Batch, Committed, Op


class Slow:
    """A store that answers each commit when the test says so."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._gates: list[asyncio.Future[None]] = []
        self._arrived = asyncio.Event()

    async def commit(self, scope: str, batch: Batch) -> Committed:
        assert scope == "room"
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.batches.append(batch)
        self._gates.append(gate)
        self._arrived.set()
        await gate
        replies = [b"+" + op.name.encode() for op in batch.ops]
        return Committed(1, Position("e", len(self.batches)), 0, replies)

    async def arrived(self, number: int) -> Batch:
        async with asyncio.timeout(5):
            while len(self.batches) < number:
                self._arrived.clear()
                await self._arrived.wait()
        return self.batches[number - 1]

    async def answer(self, number: int, error: Exception | None = None) -> None:
        await self.arrived(number)
        gate = self._gates[number - 1]
        if error is None:
            gate.set_result(None)
        else:
            gate.set_exception(error)

    def names(self, number: int) -> list[str]:
        return [op.name for op in self.batches[number - 1].ops]


class Bench:
    """A batcher, its store, its clock, and what it said."""

    def __init__(self, max_ops: int = 100) -> None:
        store: Any = Slow()
        self.store: Slow = store
        self.clock = FakeClock()
        self.committed: list[Committed] = []
        self.told: list[tuple[str, object]] = []
        self.batcher = Batcher(
            "room",
            store,
            self.clock,
            metrics=CommitMetrics(CollectorRegistry()),
            max_ops=max_ops,
            patience_s=2.0,
            on_committed=self.committed.append,
        )

    async def quiet(self) -> None:
        """Wait until nothing is on its way."""
        async with asyncio.timeout(5):
            await self.batcher.drain()
        assert not self.batcher.busy

    def submit(self, name: str, **options: Any) -> None:
        key = options.pop("key", "")
        op = Op(name, "u", {}, key, "h" if key else "")
        self.batcher.submit(op, lambda reply: self.told.append((name, reply)), **options)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_batcher_sends_a_lone_op_at_once(bench: Bench) -> None:
    """No timer is involved: the op is on its way in the next turn of the loop."""
    bench.submit("a")
    assert bench.batcher.busy
    await bench.store.answer(1)
    await bench.batcher.drain()

    assert bench.told == [("a", b"+a")]
    assert [c.position.seq for c in bench.committed] == [1]


async def test_batcher_has_one_batch_on_its_way_and_gathers_the_rest(bench: Bench) -> None:
    """What comes while a batch is away rides the next one, in order."""
    bench.submit("a")
    await bench.store.arrived(1)
    for name in "bcd":
        bench.submit(name)
    await asyncio.sleep(0)
    assert len(bench.store.batches) == 1

    await bench.store.answer(1)
    await bench.store.answer(2)
    await bench.batcher.drain()

    assert [bench.store.names(n) for n in (1, 2)] == [["a"], ["b", "c", "d"]]
    assert [name for name, _ in bench.told] == ["a", "b", "c", "d"]


async def test_batcher_sends_a_whole_batch_behind_the_first() -> None:
    """As much as fills one has gathered: it does not wait for the answer; a third would."""
    bench = Bench(max_ops=2)
    bench.submit("a")
    await bench.store.arrived(1)
    bench.submit("b")
    await asyncio.sleep(0)
    assert len(bench.store.batches) == 1
    for name in "cdef":
        bench.submit(name)
    await bench.store.arrived(2)
    await asyncio.sleep(0)
    assert len(bench.store.batches) == 2

    for number in (1, 2, 3, 4):
        await bench.store.answer(number)
    await bench.batcher.drain()

    assert [bench.store.names(n) for n in (1, 2, 3)] == [["a"], ["b", "c"], ["d", "e"]]
    assert [name for name, _ in bench.told] == ["a", "b", "c", "d", "e", "f"]


async def test_batcher_caps_a_batch() -> None:
    """A long queue goes in pieces, so that the server is held only shortly."""
    bench = Bench(max_ops=2)
    for name in "abcde":
        bench.submit(name)
    for number in (1, 2, 3):
        await bench.store.answer(number)
    await bench.batcher.drain()

    assert [bench.store.names(n) for n in (1, 2, 3)] == [["a", "b"], ["c", "d"], ["e"]]


async def test_batcher_takes_one_broadcast_per_batch(bench: Bench) -> None:
    """Blocks stay apart and in order, and say when they are on their way."""
    bench.batcher.broadcast(Broadcast(b"1", [("talk", 5, [b"x"])]))
    bench.batcher.broadcast(Broadcast(b"2", []))
    first = await bench.store.arrived(1)
    assert bench.batcher.broadcasting
    await bench.store.answer(1)
    second = await bench.store.arrived(2)
    await bench.store.answer(2)
    await bench.quiet()

    assert (first.ephemeral, list(first.kept)) == (b"1", [("talk", 5, [b"x"])])
    assert (second.ephemeral, list(second.kept)) == (b"2", [])
    assert not bench.batcher.broadcasting


async def test_batcher_touch_commits_an_empty_batch(bench: Bench) -> None:
    """Asked many times at once: one batch with nothing in it."""
    for _ in range(3):
        bench.batcher.touch()
    await bench.store.answer(1)
    await bench.quiet()

    assert [list(batch.ops) for batch in bench.store.batches] == [[]]


@pytest.mark.parametrize(("durable", "wanted"), [((False, True), True), ((False, False), False)])
async def test_batcher_waits_for_durability_if_one_op_needs_it(
    bench: Bench, durable: tuple[bool, bool], wanted: bool
) -> None:
    """The level is reached for the whole batch or not asked for."""
    for number, flag in enumerate(durable):
        bench.submit(f"op{number}", durable=flag)
    batch = await bench.store.arrived(1)
    await bench.store.answer(1)

    assert batch.durable is wanted


async def test_batcher_tells_all_when_the_store_is_unavailable(bench: Bench) -> None:
    """Certainly not executed: the callers decide, whatever the ops are; the next batch goes."""
    bench.submit("a", key="k")
    bench.submit("b")
    await bench.store.answer(1, StoreUnavailable("down"))
    bench.submit("c")
    await bench.store.answer(2)
    await bench.batcher.drain()

    assert [name for name, _ in bench.told] == ["a", "b", "c"]
    assert [type(reply) for _, reply in bench.told[:2]] == [StoreUnavailable] * 2
    assert len(bench.committed) == 1


async def test_batcher_repeats_what_may_be_repeated_when_nobody_knows(bench: Bench) -> None:
    """With a key, or harmless: sent again before what came later. The others are told."""
    bench.submit("keyed", key="k")
    bench.submit("plain")
    bench.submit("harmless", repeatable=True)
    await bench.store.arrived(1)
    bench.submit("later")
    await bench.store.answer(1, OutcomeUnknown("lost"))
    await bench.store.answer(2)
    await bench.batcher.drain()

    assert bench.store.names(2) == ["keyed", "harmless", "later"]
    assert [name for name, _ in bench.told] == ["plain", "keyed", "harmless", "later"]
    assert isinstance(bench.told[0][1], OutcomeUnknown)
    assert bench.told[1:] == [(n, b"+" + n.encode()) for n in ("keyed", "harmless", "later")]


async def test_batcher_loses_patience(bench: Bench) -> None:
    """Nobody waits for ever: after the deadline the answer is that nobody knows."""
    bench.submit("keyed", key="k")
    await bench.store.answer(1, OutcomeUnknown("lost"))
    await bench.store.arrived(2)
    bench.clock.advance(2.1)
    await bench.store.answer(2, OutcomeUnknown("lost"))
    await bench.batcher.drain()

    ((name, reply),) = bench.told
    assert name == "keyed"
    assert isinstance(reply, OutcomeUnknown)
    assert len(bench.store.batches) == 2


async def test_batcher_survives_what_nobody_expected(bench: Bench) -> None:
    """A body that cannot be sent loses its batch, with an answer, and nothing after it."""
    bench.submit("bad", key="k")
    await bench.store.answer(1, TypeError("not JSON"))
    bench.submit("good")
    await bench.store.answer(2)
    await bench.batcher.drain()

    assert isinstance(bench.told[0][1], StoreError)
    assert bench.told[1] == ("good", b"+good")


async def test_batcher_isolates_a_listener_that_raises(bench: Bench) -> None:
    """One that breaks on its answer does not take the others' away."""

    def broken(reply: object) -> None:
        raise RuntimeError(reply)

    bench.batcher.submit(Op("a", "u", {}), broken)
    bench.submit("b")
    await bench.store.answer(1)
    await bench.batcher.drain()

    assert bench.told == [("b", b"+b")]


async def test_batcher_request_is_a_future_of_the_reply(bench: Bench) -> None:
    """It holds the reply or the error, and does not mind that its caller has gone."""
    wanted = bench.batcher.request(Op("a", "u", {}))
    gone = bench.batcher.request(Op("b", "u", {}))
    gone.cancel()
    await bench.store.answer(1)
    assert await wanted == b"+a"

    failing = bench.batcher.request(Op("c", "u", {}))
    await bench.store.answer(2, StoreUnavailable("down"))
    with pytest.raises(StoreUnavailable):
        await failing


async def test_batcher_drain_waits_for_what_was_queued(bench: Bench) -> None:
    """Everything that was taken is answered when it returns; a repeated op too."""
    bench.submit("a", key="k")
    drained = asyncio.create_task(bench.batcher.drain())
    await bench.store.answer(1, OutcomeUnknown("lost"))
    await bench.store.arrived(2)
    assert not drained.done()

    await bench.store.answer(2)
    await drained

    assert bench.told == [("a", b"+a")]


async def test_batcher_has_what_can_wait_ride_with_others(bench: Bench) -> None:
    """It begins no batch of its own while it may wait, and stays in its place."""
    bench.submit("sign", within_s=60.0)
    bench.batcher.touch(within_s=60.0)
    await asyncio.sleep(0)
    assert not bench.batcher.busy

    bench.submit("urgent")
    await bench.store.answer(1)
    await bench.quiet()

    assert [bench.store.names(n) for n in range(1, len(bench.store.batches) + 1)] == [
        ["sign", "urgent"]
    ]


async def test_batcher_has_what_can_wait_ride_with_a_broadcast(bench: Bench) -> None:
    """A batch that is about to leave takes it along, whatever it was for."""
    bench.submit("sign", within_s=60.0)
    bench.batcher.broadcast(Broadcast(b"1", []))
    await bench.store.answer(1)
    await bench.quiet()

    assert bench.store.names(1) == ["sign"]
    assert bench.told == [("sign", b"+sign")]


async def test_batcher_sends_what_nobody_came_for(bench: Bench) -> None:
    """When its time is over it leaves alone; what waits longer rides with it."""
    bench.submit("later", within_s=60.0)
    bench.submit("soon", within_s=0.05)
    await bench.store.answer(1)
    await bench.quiet()

    assert bench.store.names(1) == ["later", "soon"]


async def test_batcher_drain_waits_for_nobody(bench: Bench) -> None:
    """Whoever lets a room go does not wait for what could ride."""
    bench.submit("sign", within_s=60.0)
    drained = asyncio.create_task(bench.batcher.drain())
    await bench.store.answer(1)
    await drained

    assert bench.told == [("sign", b"+sign")]


async def test_batcher_drain_takes_along_what_comes_meanwhile(bench: Bench) -> None:
    """What could ride and comes while it is waited for is not left behind either."""
    bench.submit("first")
    drained = asyncio.create_task(bench.batcher.drain())
    await bench.store.arrived(1)
    bench.submit("sign", within_s=60.0)
    await bench.store.answer(1)
    await bench.store.answer(2)
    await drained

    assert bench.told == [("first", b"+first"), ("sign", b"+sign")]


async def test_batcher_rests_before_it_repeats() -> None:
    """A store that fails at once is asked a few times within the patience, not as fast as it fails."""
    bench = Bench()
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        bench.clock.advance(seconds)

    commits = 0

    class Broken:
        async def commit(self, scope: str, batch: Batch) -> Committed:
            nonlocal commits
            commits += 1
            assert commits < 100, "it spins"
            raise OutcomeUnknown("broken")

    store: Any = Broken()
    batcher = Batcher(
        "room",
        store,
        bench.clock,
        metrics=CommitMetrics(CollectorRegistry()),
        max_ops=100,
        patience_s=2.0,
        on_committed=bench.committed.append,
        rest=rest,
    )
    batcher.submit(Op("a", "u", {}, "k", "h"), lambda reply: bench.told.append(("a", reply)))
    await batcher.drain()

    ((_, reply),) = bench.told
    assert isinstance(reply, OutcomeUnknown)
    assert commits == len(rests) + 1
    assert rests[:3] == [0.01, 0.02, 0.04]
    assert max(rests) == 0.25
