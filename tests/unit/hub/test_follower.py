"""The follower: whatever the channel does, what is applied is the log, in order, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from liveroom.core.position import Position
from liveroom.errors import StoreUnavailable
from liveroom.hub.follower import Follower
from liveroom.store.port import LogEntry, Op, Publication, StateItem


@dataclass
class Log:
    """A scope of a store: answers what the script answers, and makes publications to lose."""

    epoch: str = "e1"
    entries: list[LogEntry] = field(default_factory=list)
    states: dict[str, tuple[int, int]] = field(default_factory=dict)
    seq: int = 0
    sub: int = 0
    down: int = 0
    """How many requests from now on fail."""
    asked: list[str] = field(default_factory=list)
    reads: int = 0
    changes: int = 0
    """How many publications have changed a state."""
    on_answered: Callable[[], None] = lambda: None

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.seq, self.sub)

    def publish(self, *users: str | None, ephemeral: bytes = b"", **states: int) -> Publication:
        """Commit one event per user (None: public) and set states; return the publication."""
        start, before = self.position, len(self.entries)
        for user in users:
            self.seq, self.sub = (self.seq + 1, 0) if user is None else (self.seq, self.sub + 1)
            item = f"{self.epoch}:{self.seq}-{self.sub}".encode()
            self.entries.append(LogEntry(self.seq, self.sub, user, item))
        items = []
        for name, value in states.items():
            self.states[name] = (self.states.get(name, (0, 0))[0] + 1, value)
            items.append(self.state(name))
        self.changes += bool(items)
        durables = self.entries[before:]
        return Publication(
            "s", start, self.position, 0, "w", durables, items, ephemeral, self.changes
        )

    def state(self, name: str) -> StateItem:
        version, value = self.states[name]
        return StateItem(name, version, orjson.dumps({"st": name, "v": version, "d": value}))

    def trim(self, keep: int) -> None:
        del self.entries[: len(self.entries) - keep]

    def restart(self, epoch: str) -> None:
        """Begin anew with nothing."""
        self.epoch, self.seq, self.sub = epoch, 0, 0
        self.entries.clear()
        self.states.clear()
        self.changes = 0

    # What the follower calls.

    async def read_log(self, scope: str, after: Position, limit: int) -> list[LogEntry]:
        await asyncio.sleep(0)
        self.reads += 1
        self._fail_if_down()
        return [e for e in self.entries if (e.seq, e.sub) > (after.seq, after.sub)][:limit]

    def request(self, op: Op) -> asyncio.Future[bytes]:
        return asyncio.ensure_future(self._answer(op))

    async def _answer(self, op: Op) -> bytes:
        await asyncio.sleep(0)
        self.asked.append(op.name)
        self._fail_if_down()
        if op.name == "sys.epoch":
            assert op.body["was"] == self.epoch
            self.epoch += "+"
            return b"+{}"
        states = [orjson.loads(self.state(name).item) for name in self.states]
        place = {"epoch": self.epoch, "seq": self.seq, "sub": self.sub}
        body = place | {"changes": self.changes, "states": states}
        self.on_answered()
        return b"+" + orjson.dumps(body)

    def _fail_if_down(self) -> None:
        if self.down:
            self.down -= 1
            raise StoreUnavailable("down")


@dataclass
class Sink:
    """What was applied, in order."""

    durable: list[bytes] = field(default_factory=list)
    states: list[tuple[str, int]] = field(default_factory=list)
    ephemeral: list[bytes] = field(default_factory=list)
    epochs: list[str] = field(default_factory=list)
    caught_up: int = 0

    def on_durable(self, entry: LogEntry) -> None:
        self.durable.append(entry.item)

    def on_state(self, state: StateItem) -> None:
        self.states.append((state.name, state.version))

    def on_ephemeral(self, block: bytes, worker: str) -> None:
        self.ephemeral.append(block)

    def on_epoch(self, epoch: str) -> None:
        self.epochs.append(epoch)

    def on_caught_up(self) -> None:
        self.caught_up += 1


class Bench:
    """A follower of a log."""

    def __init__(self, log: Log | None = None, ring: int = 100) -> None:
        self.log = log or Log()
        self.sink = Sink()
        store: Any = self.log
        self.follower = Follower(
            "s", store, self.sink, request=self.log.request, ring=(ring, 1 << 20)
        )

    async def load(self) -> Bench:
        self.follower.resync()
        await self.quiet()
        return self

    async def quiet(self) -> None:
        """Wait until nothing is being filled."""
        async with asyncio.timeout(5):
            while (task := self.follower._filling) is not None:
                await asyncio.wait([task])

    async def sweep(self, times: int = 2) -> None:
        for _ in range(times):
            self.follower.sweep()
            await self.quiet()

    @property
    def items(self) -> list[bytes]:
        return [entry.item for entry in self.log.entries]


@pytest.fixture
async def bench() -> Bench:
    """A loaded follower of a log that has one event."""
    log = Log()
    log.publish(None)
    made = await Bench(log).load()
    assert made.follower.position == Position("e1", 1, 0)
    log.entries.clear()
    return made


async def test_follower_begins_where_the_log_stands(bench: Bench) -> None:
    """What was before its time is not news; states are."""
    log = Log()
    log.publish(None, None, stock=5)

    made = await Bench(log).load()

    assert made.sink.durable == []
    assert made.sink.states == [("stock", 1)]
    assert made.follower.position == log.position
    assert made.follower.loaded.is_set()


async def test_follower_applies_publications_in_order(bench: Bench) -> None:
    """Durable events, states and ephemeral blocks go through as they come."""
    for number in range(3):
        bench.follower.take(bench.log.publish(None, "a", stock=number, ephemeral=b"%d" % number))

    assert bench.sink.durable == bench.items
    assert bench.sink.states == [("stock", 1), ("stock", 2), ("stock", 3)]
    assert bench.sink.ephemeral == [b"0", b"1", b"2"]
    assert bench.follower.position == bench.log.position
    assert bench.log.asked == ["sys.sync"]


async def test_follower_keeps_publications_until_it_is_loaded() -> None:
    """What comes while the position is being asked for is neither lost nor applied twice."""
    made = Bench()
    made.log.publish(None)
    made.follower.resync()
    early = made.log.publish(None)  # in the answer, and in the channel
    made.follower.take(early)
    await made.quiet()
    late = made.log.publish(None)
    made.follower.take(late)

    assert made.follower.position == made.log.position
    assert made.sink.durable == [late.durables[0].item]


async def test_follower_fills_a_hole_from_the_log(bench: Bench) -> None:
    """A publication never came: the next one shows it, and the states in it are read too."""
    bench.log.publish(None, "a", stock=1)
    after = bench.log.publish(None, ephemeral=b"x")
    bench.follower.take(after)
    assert bench.sink.durable == []
    await bench.quiet()

    assert bench.sink.durable == bench.items
    assert bench.sink.states == [("stock", 1)]
    assert bench.sink.ephemeral == [b"x"]
    assert bench.follower.filled == 3


async def test_follower_ignores_what_it_has(bench: Bench) -> None:
    """A repeated publication changes nothing; an overlapping one adds its new part."""
    first = bench.log.publish(None, None)
    bench.follower.take(first)
    bench.follower.take(first)
    more = bench.log.publish(None)
    overlap = Publication("s", first.start, more.end, 0, "w", first.durables + more.durables)
    bench.follower.take(overlap)

    assert bench.sink.durable == bench.items


async def test_follower_ignores_older_states(bench: Bench) -> None:
    """Versions only grow."""
    old = bench.log.publish(stock=1)
    new = bench.log.publish(stock=2)
    bench.follower.take(new)
    bench.follower.take(old)

    assert bench.sink.states == [("stock", 2)]


async def test_follower_fills_what_it_was_told_of_and_did_not_get(bench: Bench) -> None:
    """A position that a commit answered must come by within two sweeps."""
    bench.log.publish(None)
    bench.follower.told(bench.log.position)
    await bench.sweep(1)
    assert bench.sink.durable == []

    await bench.sweep(1)

    assert bench.sink.durable == bench.items


async def test_follower_sweeps_do_nothing_when_all_is_there(bench: Bench) -> None:
    """No question is asked as long as nothing is missing."""
    publication = bench.log.publish(None)
    bench.follower.told(bench.log.position)
    bench.follower.take(publication)
    await bench.sweep(4)

    assert bench.log.asked == ["sys.sync"]


async def test_follower_reads_again_if_asked_while_reading(bench: Bench) -> None:
    """The subscription broke off once more while the log was being read: the answer is too old."""

    def break_off() -> None:
        bench.log.on_answered = lambda: None
        bench.log.publish(None, stock=7)  # nobody heard it
        bench.follower.resync()

    bench.log.on_answered = break_off
    bench.follower.resync()
    await bench.quiet()

    assert bench.sink.durable == bench.items
    assert bench.sink.states == [("stock", 1)]


async def test_follower_tries_until_the_store_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error on the way is not the end of it; nothing is applied twice."""
    monkeypatch.setattr("liveroom.hub.follower._RETRY_S", 0.001)
    bench.log.publish(None, None)
    bench.log.down = 3
    bench.follower.resync()
    await bench.quiet()

    assert bench.log.down == 0
    assert bench.sink.durable == bench.items


async def test_follower_reads_long_logs_in_pages(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long absence is read piece by piece."""
    monkeypatch.setattr("liveroom.hub.follower._PAGE", 3)
    bench.log.publish(*[None, "a"] * 10)
    bench.follower.resync()
    await bench.quiet()

    assert bench.sink.durable == bench.items
    assert bench.follower.position == bench.log.position


async def test_follower_says_that_more_was_missed_than_the_log_keeps(bench: Bench) -> None:
    """A trimmed log cannot be continued: everyone is told, under an epoch of its own."""
    bench.log.publish(*[None] * 10)
    bench.log.trim(3)
    bench.follower.resync()
    await bench.quiet()

    assert bench.sink.epochs == ["e1+"]
    assert bench.sink.durable == []
    assert bench.follower.position == bench.log.position


async def test_follower_of_an_unknown_scope_takes_all_of_its_log() -> None:
    """It asked when there was nothing: whatever there is later is news, also if a part was lost."""
    made = await Bench(Log(epoch="")).load()
    assert made.follower.position == Position("", 0, 0)
    made.log.epoch = "e1"
    made.log.publish(None)  # lost
    made.follower.take(made.log.publish(None))
    await made.quiet()

    assert made.sink.durable == made.items
    assert made.sink.epochs == ["e1"]
    assert made.follower.lost == 0


async def test_follower_of_an_unknown_scope_learns_the_epoch_from_an_answer() -> None:
    """The first write need not have said anything: those who wait for the position are let in."""
    made = await Bench(Log(epoch="")).load()
    waiting = made.sink.caught_up
    made.log.epoch = "e1"
    made.follower.told(made.log.position)
    await made.quiet()

    assert made.follower.position == Position("e1", 0, 0)
    assert made.sink.caught_up > waiting


async def test_follower_begins_anew_when_the_store_was_wiped(bench: Bench) -> None:
    """Said once, whatever was told before and whatever still comes from the old days."""
    old = bench.log.publish(None)
    bench.follower.told(bench.log.position)
    bench.log.restart("")
    bench.follower.resync()
    await bench.quiet()
    await bench.sweep(4)
    bench.follower.take(old)
    await bench.quiet()
    assert bench.sink.epochs == [""]

    bench.log.epoch = "e2"
    bench.follower.take(bench.log.publish(None))
    await bench.quiet()

    assert bench.sink.epochs == ["", "e2"]
    assert bench.follower.lost == 1
    assert bench.sink.durable == bench.items
    assert bench.follower.position == Position("e2", 1, 0)


async def test_follower_begins_anew_when_the_store_went_back(bench: Bench) -> None:
    """A failover lost the last events: the numbers will be used again, so the epoch changes."""
    for _ in range(3):
        bench.follower.take(bench.log.publish(None))
    bench.log.seq = 2
    bench.log.entries = bench.log.entries[:1]
    bench.follower.resync()
    await bench.quiet()

    assert bench.sink.epochs == ["e1+"]
    assert bench.follower.position == Position("e1+", 2, 0)


async def test_follower_begins_anew_when_its_last_event_is_another(bench: Bench) -> None:
    """The same number under another event: the histories parted before it."""
    bench.follower.take(bench.log.publish(None))
    bench.log.entries[-1] = bench.log.entries[-1]._replace(item=b"another")
    bench.log.publish(None)
    bench.follower.resync()
    await bench.quiet()

    assert bench.sink.epochs == ["e1+"]


async def test_follower_drops_a_publication_that_the_store_knows_nothing_of(
    bench: Bench,
) -> None:
    """From a server that is not the master any more: asked about once, not for ever."""
    stray = Publication("s", Position("e0", 7), Position("e0", 8), 0, "w")
    bench.follower.take(stray)
    await bench.quiet()

    assert bench.log.asked == ["sys.sync"] * 2
    assert bench.sink.epochs == []


# Reading back for a viewer.


async def test_backfill_is_empty_where_the_ring_reaches(bench: Bench) -> None:
    """The store is not asked for what is in memory."""
    bench.follower.take(bench.log.publish(None, None))

    assert await bench.follower.backfill(Position("e1", 1, 0), 10) == []


async def long_log(ring: int) -> Bench:
    """A follower whose ring has dropped most of a log of pairs (public, private)."""
    made = await Bench(ring=ring).load()
    for _ in range(10):
        made.follower.take(made.log.publish(None, "a"))
    return made


@pytest.mark.parametrize("since", [(0, 0), (1, 0), (1, 1), (3, 1)])
async def test_backfill_reads_all_after_a_position(since: tuple[int, int]) -> None:
    """From an entry, public or private, or from the very beginning: all up to now, in order."""
    made = await long_log(ring=4)

    entries = await made.follower.backfill(Position("e1", *since), 100)

    assert entries is not None
    wanted = [e.item for e in made.log.entries if (e.seq, e.sub) > since]
    assert [entry.item for entry in entries] == wanted


async def test_backfill_keeps_what_the_ring_has_room_for() -> None:
    """Those who come back to a fresh worker share one read."""
    log = Log()
    log.publish(*[None] * 5)
    made = await Bench(log).load()

    assert len(await made.follower.backfill(Position("e1", 2, 0), 100) or ()) == 3
    log.down = 1
    assert await made.follower.backfill(Position("e1", 2, 0), 100) == []
    assert made.follower.ring.after(Position("e1", 2, 0), None) == made.items[2:]


async def test_backfill_of_many_at_once_reads_once() -> None:
    """A worker that died sends its viewers to others all at the same moment."""
    log = Log()
    log.publish(*[None] * 5)
    made = await Bench(log).load()
    reads = log.reads

    since = Position("e1", 2, 0)
    found = await asyncio.gather(*(made.follower.backfill(since, 100) for _ in range(20)))

    assert [len(entries or ()) for entries in found] == [3] + [0] * 19
    assert log.reads == reads + 1


@pytest.mark.parametrize(
    ("since", "limit"),
    [
        (Position("e0", 1, 0), 100),  # another life
        (Position("e1", 11, 0), 100),  # not there yet
        (Position("e1", 2, 0), 15),  # one too many
        (Position("e1", 2, 5), 100),  # never was
    ],
)
async def test_backfill_refuses_what_it_cannot_continue(since: Position, limit: int) -> None:
    """Never a part: all or nothing."""
    made = await long_log(ring=4)

    result = await made.follower.backfill(since, limit)

    assert result is None or since > made.follower.position
    if since == Position("e1", 2, 0):
        assert await made.follower.backfill(since, 17) is not None


async def test_backfill_refuses_a_trimmed_log() -> None:
    """Where the entry at the position is gone, what stood right behind it may be gone too."""
    made = await long_log(ring=4)
    made.log.trim(15)  # the first that is left is private, 3-1

    assert await made.follower.backfill(Position("e1", 3, 0), 100) is None
    assert await made.follower.backfill(Position("e1", 3, 1), 100) is not None


Step = tuple[str, list[str | None]]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["deliver", "lose", "repeat", "tell", "sweep", "resync", "fail", "turn"]),
        st.lists(st.sampled_from([None, None, "a", "b"]), min_size=1, max_size=3),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_follower_applies_the_log_whatever_the_channel_does(steps: list[Step]) -> None:
    """Publications are lost, repeated, late; the store fails now and then: no hole, no double."""
    asyncio.run(_channel_of_horrors(steps))


async def test_follower_notices_a_lost_change_of_state() -> None:
    """States leave no hole in the log; the count of changes shows that one was lost."""
    made = await Bench().load()
    made.follower.take(made.log.publish(stock=3))
    made.log.publish(stock=2)  # lost, and nothing else follows

    made.follower.told(made.log.position, made.log.changes)
    await made.sweep(2)

    assert made.follower.states["stock"].version == 2


async def _channel_of_horrors(steps: list[Step]) -> None:
    made = await Bench().load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("liveroom.hub.follower._RETRY_S", 0.0)
        last = made.log.publish(None)
        for action, users in steps:
            last = await _step(made, action, users, last)
            _expect_prefix(made)
        made.log.down = 0
        made.follower.told(made.log.position, made.log.changes)
        await made.sweep(2)
    assert made.sink.durable == made.items
    assert made.sink.epochs == []
    newest = {name: state.version for name, state in made.follower.states.items()}
    assert newest == {name: version for name, (version, _) in made.log.states.items()}


async def _step(
    made: Bench, action: str, users: list[str | None], last: Publication
) -> Publication:
    follower, log = made.follower, made.log
    if action in ("deliver", "lose"):
        last = log.publish(*users, stock=len(log.entries))
    if action in ("deliver", "repeat"):
        follower.take(last)
    elif action == "tell":
        follower.told(log.position)
    elif action == "sweep":
        follower.sweep()
    elif action == "resync":
        follower.resync()
    elif action == "fail":
        log.down = len(users)
    elif action == "turn":
        for _ in users:
            await asyncio.sleep(0)
    return last


def _expect_prefix(made: Bench) -> None:
    seen = made.sink.durable
    assert seen == made.items[: len(seen)]
