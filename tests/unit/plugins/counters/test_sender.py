"""Pages reach the store in order, one at a time, each until it is answered."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from liveroom import Op, StoreError
from liveroom_plugins.counters.gather import PAGE
from liveroom_plugins.counters.options import Options
from liveroom_plugins.counters.records import Record
from liveroom_plugins.counters.sender import Sender


OPTIONS = Options(1.0, 10_000, 2, 1, 100, acts=True)


class Store:
    """A room whose store answers when the test says so."""

    id = "r"

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self._asked: list[asyncio.Future[bytes]] = []

    def submit(self, op: Op, *, durable: bool = False) -> asyncio.Future[bytes]:
        """Take an operation."""
        self.ops.append(op)
        self._asked.append(asyncio.get_running_loop().create_future())
        return self._asked[-1]

    async def answer(self, **more: Any) -> None:
        """Answer the last operation."""
        answer = {"now": 9000, "off": 5000, "known": True} | more
        await self.say(b"+" + orjson.dumps(answer))

    async def say(self, reply: bytes) -> None:
        """Answer with these bytes."""
        self._asked.pop().set_result(reply)
        await asyncio.sleep(0)

    async def fail(self, error: Exception) -> None:
        """Have the last operation fail."""
        self._asked.pop().set_exception(error)
        await asyncio.sleep(0)


class Told:
    """A sender with its store, clock and journal."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = Store()
        self.journal: list[Record] = []
        room: Any = self.store
        self.sender = Sender(
            room,
            42,
            "w1",
            lambda: self.now,
            options=OPTIONS,
            journal=lambda _, record: self.journal.append(record),
        )

    def due(self) -> bool:
        """Tell whether something is to be told now."""
        return self.sender.due

    def done(self) -> bool:
        """Tell whether nothing is left."""
        return self.sender.done

    def numbers(self) -> list[int]:
        """Return the numbers of the pages that were sent."""
        return [op.body["q"] for op in self.store.ops]


async def test_sender_waits_between_pages() -> None:
    """The first leaves at once, the next a second later, and none while one is on its way."""
    told = Told()
    assert not told.due()
    told.sender.gathering.enter("ann", "")
    assert told.due()
    told.sender.send()
    told.now += 5
    told.sender.gathering.enter("bob", "")
    assert not told.due()
    await told.store.answer()
    assert told.due()
    told.sender.send()
    await told.store.answer()
    told.sender.gathering.enter("cy", "")
    assert not told.due()
    told.now += 1
    assert told.due()


async def test_sender_shows_that_it_lives_while_it_has_viewers() -> None:
    """An empty page three times before it is taken for dead; none without viewers."""
    told = Told()
    told.sender.gathering.enter("ann", "")
    told.sender.send()
    await told.store.answer()
    told.now += OPTIONS.beat_s - 0.1
    assert not told.due()
    told.now += 0.2
    assert told.due()
    told.sender.send()
    await told.store.answer()
    assert told.store.ops[-1].body.keys() == {"w", "s", "q", "m", "here", "known", "o"}
    told.sender.gathering.leave("ann")
    told.now += 1
    told.sender.send()
    await told.store.answer()
    told.now += 10
    assert not told.due()


async def test_sender_repeats_a_page_until_it_is_answered() -> None:
    """The same number and rows by a later clock; what was gathered meanwhile comes after it."""
    told = Told()
    told.sender.gathering.enter("ann", "app")
    told.sender.send()
    await told.store.fail(StoreError("away"))
    told.sender.gathering.enter("bob", "")
    told.now += 1
    told.sender.send()
    await told.store.answer()
    told.now += 1
    told.sender.send()
    await told.store.answer()

    first, again, second = (op.body for op in told.store.ops)
    assert first["v"] == again["v"] == [["ann", "app", 100_000, -1]]
    assert (first["q"], again["m"]) == (again["q"], 101_000)
    assert (second["q"], [row[0] for row in second["v"]]) == (first["q"] + 1, ["bob"])
    visits = [record.user for record in told.journal if record.kind == "enter"]
    assert visits == ["ann", "bob"]
    assert told.journal[0].at == 105_000


async def test_sender_sends_what_did_not_fit_at_once() -> None:
    """Pages of one flush follow each other; what came meanwhile waits for the next."""
    told = Told()
    for number in range(2 * PAGE + 1):
        told.sender.gathering.enter(f"u{number}", "")
    told.sender.send()
    for _ in range(3):
        told.sender.gathering.act("u0", "like", 1, "")
        await told.store.answer()
    assert len(told.store.ops) == 3
    assert len(set(told.numbers())) == 3


async def test_sender_that_was_forgotten_tells_anew() -> None:
    """The store knows the worker no more: everybody who is here is told of again."""
    told = Told()
    told.sender.gathering.enter("ann", "")
    told.sender.send()
    await told.store.answer()
    told.now += 30
    told.sender.send()
    assert told.store.ops[-1].body["known"] is True
    await told.store.answer(known=False)
    told.now += 1
    told.sender.send()
    assert told.store.ops[-1].body["v"] == [["ann", "", 100_000, -1]]


async def test_sender_goes_on_after_a_page_that_cannot_be_taken() -> None:
    """A fault in the store, or a session that is settled: the page is lost, and said to be."""
    told = Told()
    told.sender.gathering.enter("ann", "")
    told.sender.send()
    await told.store.say(b"!broken")
    assert not told.sender.pending
    told.sender.gathering.enter("bob", "")
    told.now += 1
    told.sender.send()
    await told.store.say(b'+{"gone":true}')
    assert not told.sender.pending
    assert told.journal == []


async def test_sender_of_a_session_that_is_over_is_done_when_all_is_told() -> None:
    """Its viewers leave with it, and its figures stand."""
    told = Told()
    told.sender.gathering.enter("ann", "")
    told.sender.send()
    await told.store.answer()
    told.sender.close()
    assert not told.done()
    told.now += 1
    told.sender.send()
    await told.store.answer()
    assert not told.done()  # what was said may be deleted
    told.now += 12
    assert told.done()
    assert told.store.ops[-1].body["here"] == 0


async def test_sender_finishes_without_its_room() -> None:
    """As the worker stops, what is left goes by itself, page by page."""
    told = Told()
    for number in range(PAGE + 1):
        told.sender.gathering.enter(f"u{number}", "")
    sent: list[Op] = []

    async def commit(op: Op) -> bytes:
        sent.append(op)
        return b'+{"now":1,"off":1,"known":true}'

    await told.sender.finish(commit)
    assert [len(op.body["v"]) for op in sent] == [PAGE, 1]
    assert all(row[3] >= 0 for op in sent for row in op.body["v"])
