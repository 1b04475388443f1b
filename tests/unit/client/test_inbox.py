"""What waits to be read is bounded, and nothing durable of it is lost."""

from __future__ import annotations

import asyncio

import pytest

from fakewire import greeting
from liveroom_client.errors import LiveError
from liveroom_client.inbox import Inbox
from liveroom_client.items import Event, Greeting, Shown, State, greeting_of


def passing(n: int) -> Event:
    """Return an ephemeral event."""
    return Event("like", {"n": n}, "demo")


def durable(seq: int) -> Event:
    """Return a durable event."""
    return Event("gift.sent", {}, "demo", seq)


def state(key: str, v: int) -> State:
    """Return a value of a key."""
    return State(key, {"v": v}, v, "demo")


def hello(*, resumed: bool, room: str = "demo") -> Greeting:
    """Return a greeting."""
    return greeting_of(greeting(resumed=resumed, room=room))


class Reading:
    """An inbox that is read, and how often it had room again."""

    def __init__(self, limit: int = 3) -> None:
        self.rooms = 0
        self.inbox = Inbox(limit, self._on_room)
        self.inbox.read = True

    def _on_room(self) -> None:
        self.rooms += 1

    async def all(self) -> list[Shown]:
        """Return everything that waits."""
        return [await self.inbox.get() for _ in range(len(self.inbox))]


async def test_inbox_gives_in_order() -> None:
    """While there is room, what comes first is read first."""
    reading = Reading(10)
    shown: list[Shown] = [hello(resumed=False), passing(1), state("a", 1), durable(11)]
    reading.inbox.put_greeting(hello(resumed=False))
    reading.inbox.put_ephemeral(passing(1))
    reading.inbox.put_state(state("a", 1))
    reading.inbox.put_durable(durable(11))

    assert await reading.all() == shown


async def test_inbox_leaves_out_and_counts_passing_events() -> None:
    """Above the limit, by kind."""
    reading = Reading()
    for n in range(5):
        reading.inbox.put_ephemeral(passing(n))

    assert await reading.all() == [passing(0), passing(1), passing(2)]
    assert reading.inbox.shed == {"like": 2}


async def test_inbox_keeps_the_newest_value_of_each_key_when_full() -> None:
    """No value is lost that is not replaced by a newer one, and none comes before an older one."""
    reading = Reading(1)
    for v in range(1, 4):
        reading.inbox.put_state(state("a", v))
        reading.inbox.put_state(state("b", v))

    assert await reading.all() == [state("a", 1), state("b", 3), state("a", 3)]


async def test_inbox_refuses_durable_events_and_tells_when_there_is_room() -> None:
    """They have as much room again as all else; then they are refused, never dropped."""
    reading = Reading(2)
    taken = []
    for seq in range(1, 8):
        if reading.inbox.admits():
            reading.inbox.put_durable(durable(seq))
            taken.append(seq)

    assert taken == [1, 2, 3, 4]
    assert [await reading.inbox.get(), reading.rooms] == [durable(1), 0]
    assert [await reading.inbox.get(), reading.rooms] == [durable(2), 1]
    assert await reading.all() == [durable(3), durable(4)]
    assert reading.rooms == 1


async def test_inbox_begins_anew_with_a_greeting_that_was_not_resumed() -> None:
    """What waited of that room is over; a resumed greeting changes nothing."""
    reading = Reading(1)
    reading.inbox.put_durable(durable(1))
    reading.inbox.put_greeting(hello(resumed=True))
    reading.inbox.put_greeting(hello(resumed=False, room="b"))
    assert len(reading.inbox) == 2

    reading.inbox.put_greeting(hello(resumed=False))

    assert await reading.all() == [hello(resumed=False, room="b"), hello(resumed=False)]


async def test_inbox_that_nobody_reads_keeps_nothing() -> None:
    """There may be listeners only: they are not held up."""
    inbox = Inbox(2, lambda: None)
    for seq in range(1, 10):
        assert inbox.admits()
        inbox.put_durable(durable(seq))
        inbox.put_ephemeral(passing(seq))
        inbox.put_state(state("a", seq))

    assert inbox.unread
    assert len(inbox) == 0


async def test_inbox_wakes_a_reader_that_waits() -> None:
    """With an item, and at the end."""
    reading = Reading()
    waiting = asyncio.ensure_future(reading.inbox.get())
    await asyncio.sleep(0)
    reading.inbox.put_durable(durable(1))
    assert await waiting == durable(1)

    waiting = asyncio.ensure_future(reading.inbox.get())
    await asyncio.sleep(0)
    reading.inbox.end(None)
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_inbox_is_read_to_its_end_before_the_error() -> None:
    """What came before is not lost."""
    reading = Reading()
    reading.inbox.put_durable(durable(1))
    reading.inbox.end(LiveError("banned"))

    assert await reading.inbox.get() == durable(1)
    with pytest.raises(LiveError, match="banned"):
        await reading.inbox.get()


async def test_inbox_survives_a_reader_that_gives_up() -> None:
    """The next one reads on."""
    reading = Reading()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await reading.inbox.get()
    reading.inbox.put_durable(durable(1))

    assert await reading.inbox.get() == durable(1)
