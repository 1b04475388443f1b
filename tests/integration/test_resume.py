"""Coming back: each missed durable event once, or `resumed: false` and a snapshot."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

import harness
import oracle
from liveroom.core.position import Position
from liveroom.hub import room as room_module
from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, command
from liveroom.protocol.messages import Body


class Say(Body, frozen=True, kw_only=True):
    """Words for everyone, or for one user."""

    text: str
    to: str = ""
    n: int = 1


class Voice(Plugin):
    """Durable events on demand, public and private."""

    name = "voice"
    events = (EventSpec("t.said", Delivery.DURABLE, "test"),)
    lua = """
ops['t.say'] = function(op)
  for i = 1, op.d.n do
    local d = {text = op.d.text, i = i}
    if op.d.to == '' then emit('t.said', d) else emit_to(op.d.to, 't.said', d) end
  end
end
"""

    @command("t.say", Say)
    def say(self, call: Call[Say]) -> Commit:
        """Say something."""
        body = call.body
        return Commit("t.say", {"text": body.text, "to": body.to, "n": body.n})


@pytest.fixture
async def workers(
    store_url: str, start_worker: harness.StartWorker
) -> tuple[harness.Worker, harness.Worker]:
    return (
        await start_worker(store_url, plugins=[Voice()]),
        await start_worker(store_url, plugins=[Voice()]),
    )


@pytest.fixture
async def worker(embedded_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    return await start_worker(embedded_url, plugins=[Voice()])


@pytest.fixture
async def speaker(worker: harness.Worker, room: str) -> harness.Client:
    """Someone in the open room who makes events."""
    return await opened(worker, room)


async def opened(worker: harness.Worker, room: str) -> harness.Client:
    """Open the room; return the speaker, who has seen that it is open."""
    await worker.open_room(room)
    speaker = await worker.join(room, "speaker")
    if not speaker.hello["seq"]:  # a snapshot may be a beat old
        await speaker.event("room.opened")
    return speaker


def place_of(client: harness.Client) -> dict[str, Any]:
    """Return the position that a viewer has reached, as it would send it."""
    last = max(oracle.seen_by(client), default=None)
    hello = client.hello
    seq, sub = last[1:] if last is not None else (hello["seq"], hello["sub"])
    return {"epoch": hello["epoch"], "seq": seq, "sub": sub}


async def log_for(worker: harness.Worker, room: str, user: str) -> list[dict[str, Any]]:
    """Return what the log holds for a user."""
    entries = await worker.node.store.read_log(room, Position("", 0, 0), 100_000)
    return [orjson.loads(e.item) for e in entries if e.user in (None, user)]


def durable_items(client: harness.Client) -> list[dict[str, Any]]:
    return [item for item in client.items if "seq" in item]


async def heard(client: harness.Client, text: str) -> None:
    await client.event("t.said", text=text)


async def say_a_bit(speaker: harness.Client, tag: str) -> None:
    """Public ones, some for `away` and some for somebody else, in between each other."""
    for number in range(5):
        await speaker.ask("t.say", text=f"{tag} {number}")
        await speaker.ask("t.say", text=f"{tag} private {number}", to="away", n=2)
        await speaker.ask("t.say", text=f"{tag} not yours {number}", to="other")


@pytest.mark.parametrize("back_on", [0, 1])
async def test_resume_brings_each_missed_event_once(
    workers: tuple[harness.Worker, harness.Worker], room: str, back_on: int
) -> None:
    """On the same worker or the other: public ones and one's own, in order, then the stream."""
    await workers[0].open_room(room)
    speaker = await workers[1].join(room, "speaker")
    away = await workers[0].join(room, "away")
    await say_a_bit(speaker, "before")
    await away.event("t.said", text="before private 4", i=2)
    await away.close()
    await say_a_bit(speaker, "missed")

    back = await workers[back_on].join(room, "away", resume=place_of(away))
    await say_a_bit(speaker, "after")
    await back.event("t.said", text="after private 4", i=2)

    assert back.hello["resumed"] is True
    assert back.hello["snapshot"] == {}
    log = await log_for(workers[0], room, "away")
    joined_at = next(i for i, item in enumerate(log) if item["seq"] > away.hello["seq"])
    assert durable_items(away) + durable_items(back) == log[joined_at:]
    oracle.agree([away, back, speaker])


async def test_resume_of_more_than_the_ring_holds_reads_the_log(
    embedded_url: str,
    start_worker: harness.StartWorker,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the worker's memory has dropped is in the log; nobody else's private events come."""
    monkeypatch.setattr(room_module, "RING_ENTRIES", 4)
    worker = await start_worker(embedded_url, plugins=[Voice()])
    speaker = await opened(worker, room)
    away = await worker.join(room, "away")
    await away.close()
    await say_a_bit(speaker, "missed")

    backs = await asyncio.gather(
        *(worker.join(room, "away", resume=place_of(away)) for _ in range(3))
    )
    await say_a_bit(speaker, "after")

    log = await log_for(worker, room, "away")
    for back in backs:
        await back.event("t.said", text="after private 4", i=2)
        assert back.hello["resumed"] is True
        assert durable_items(back) == log[1:]  # the first is room.opened, seen before


async def test_resume_on_a_worker_that_was_not_there(
    worker: harness.Worker,
    speaker: harness.Client,
    embedded_url: str,
    start_worker: harness.StartWorker,
    room: str,
) -> None:
    """A worker that has just loaded the room reads what was before its time."""
    start = place_of(speaker)
    await say_a_bit(speaker, "missed")

    late = await start_worker(embedded_url, plugins=[Voice()])
    back = await late.join(room, "away", resume=start)
    other = await late.join(room, "nobody", resume=start)

    assert (back.hello["resumed"], other.hello["resumed"]) == (True, True)
    await back.event("t.said", text="missed private 4", i=2)
    assert durable_items(back) == (await log_for(worker, room, "away"))[1:]
    assert durable_items(other) == (await log_for(worker, room, "nobody"))[1:]


async def expect_anew(back: harness.Client, here: dict[str, Any]) -> None:
    """Not resumed, a whole snapshot, and nothing of the past."""
    assert back.hello["resumed"] is False
    assert "danmaku" in back.hello["snapshot"]
    assert {state["st"] for state in back.hello["states"]} >= {"room", "mode"}
    assert place_of(back) == here  # of the past at most what a shared snapshot is too old for


async def test_resume_from_before_the_log_begins_is_refused(
    embedded_url: str,
    start_worker: harness.StartWorker,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trimmed log is said, not skipped; what it still holds can be resumed."""
    monkeypatch.setattr(room_module, "RING_ENTRIES", 4)
    worker = await start_worker(embedded_url, plugins=[Voice()], log_max_entries=50)
    speaker = await opened(worker, room)
    start = place_of(speaker)
    await speaker.ask("t.say", text="many", n=500)
    await speaker.event("t.said", text="many", i=500)
    here = place_of(speaker)

    gone = await worker.join(room, "a", resume=start)
    kept = await worker.join(room, "b", resume=start | {"seq": here["seq"] - 40})

    await expect_anew(gone, here)
    assert kept.hello["resumed"] is True
    assert [item["seq"] for item in durable_items(kept)] == list(
        range(here["seq"] - 39, here["seq"] + 1)
    )


async def test_resume_across_a_trimmed_private_event_is_refused(
    worker: harness.Worker,
    speaker: harness.Client,
    embedded_url: str,
    start_worker: harness.StartWorker,
    room: str,
) -> None:
    """The next public event is there, the private one before it is not: that is a hole too."""
    start = place_of(speaker)
    await speaker.ask("t.say", text="private", to="away")
    await speaker.ask("t.say", text="public")
    (address,) = worker.node.store.addresses()
    second = f"{start['seq'] + 1}-0"
    await worker.node.store.ask(address, "XTRIM", f"lr:{{{room}}}:log", "MINID", second)

    late = await start_worker(embedded_url, plugins=[Voice()])
    back = await late.join(room, "away", resume=start)

    assert back.hello["resumed"] is False


async def test_resume_of_more_than_the_limit_is_refused(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """`resume_max` events come one by one; for more the snapshot is the better answer."""
    worker = await start_worker(embedded_url, plugins=[Voice()], resume_max=10)
    speaker = await opened(worker, room)
    start = place_of(speaker)
    await speaker.ask("t.say", text="some", n=11)
    await speaker.event("t.said", text="some", i=11)
    here = place_of(speaker)

    for late in (worker, await start_worker(embedded_url, plugins=[Voice()], resume_max=10)):
        many = await late.join(room, "a", resume=start)
        few = await late.join(room, "b", resume=start | {"seq": start["seq"] + 1})

        await expect_anew(many, here)
        assert few.hello["resumed"] is True
        await few.event("t.said", text="some", i=11)
        assert len(durable_items(few)) == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": "1-other"},
        {"epoch": ""},
        {"seq": 1000},
        {"seq": 2**53 - 1},
        {"sub": 7},
    ],
)
async def test_resume_from_a_place_that_never_was_is_refused(
    worker: harness.Worker, speaker: harness.Client, room: str, wrong: dict[str, Any]
) -> None:
    """Another epoch, or further than the log has come: a snapshot, and the stream from here."""
    back = await worker.join(room, "a", resume=place_of(speaker) | wrong)

    await expect_anew(back, place_of(speaker))
    await speaker.ask("t.say", text="hello")
    await heard(back, "hello")
    oracle.agree([back, speaker])


async def test_resume_ahead_of_the_worker_waits_for_it(
    workers: tuple[harness.Worker, harness.Worker],
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A viewer that saw more on another worker is not given it again, nor sent back."""
    first, second = workers
    await first.open_room(room)
    speaker = await first.join(room, "speaker")
    await second.join(room, "b")
    lagging = second.node.hub.rooms[room].follower
    held: list[Any] = []
    monkeypatch.setattr(lagging, "take", held.append)
    await speaker.ask("t.say", text="x", n=3)
    await speaker.event("t.said", text="x", i=3)

    join = asyncio.create_task(second.join(room, "ahead", resume=place_of(speaker)))
    await second.node.hub.commit(room, [])
    monkeypatch.undo()
    lagging.resync()
    back = await join

    assert back.hello["resumed"] is True
    assert durable_items(back) == []
    await speaker.ask("t.say", text="y")
    await heard(back, "y")
    oracle.agree([back, speaker])


async def test_sys_resume_on_a_live_connection_greets_again(
    worker: harness.Worker, speaker: harness.Client, room: str
) -> None:
    """The answer is that of a hello: from the asked place on, then the stream; no one is doubled."""
    viewer = await worker.join(room, "away")
    start = place_of(viewer)
    await say_a_bit(speaker, "one")
    await viewer.event("t.said", text="one private 4", i=2)

    again = await viewer.ask("sys.resume", resume=start)
    fresh = await viewer.ask("sys.resume")
    await say_a_bit(speaker, "two")
    await viewer.event("t.said", text="two private 4", i=2)

    assert (again["resumed"], fresh["resumed"]) == (True, False)
    assert fresh["snapshot"]
    texts = [item["d"]["text"] for item in viewer.events("t.said")]
    assert texts.count("one 0") >= 2  # live, and once more because it was asked for
    assert texts.count("two 3") == 1
    oracle.agree([viewer, speaker])
    assert worker.node.hub.rooms[room].online == 2


async def test_sys_resume_many_at_once_leaves_one_membership(
    worker: harness.Worker, speaker: harness.Client, room: str
) -> None:
    """Several in one message, under load: the viewer is in the room once, its stream has no fault."""
    viewer = await worker.join(room, "away")
    start = place_of(viewer)
    await speaker.ask("t.say", text="a", n=20)

    commands = [{"op": "sys.resume", "id": 100 + n, "d": {"resume": start}} for n in range(8)]
    await asyncio.gather(viewer.send(*commands), speaker.ask("t.say", text="b", n=20))
    numbers = {sent["id"] for sent in commands}
    await viewer.item(lambda _: numbers <= {item.get("re") for item in viewer.items})
    await speaker.ask("t.say", text="last")
    await heard(viewer, "last")

    assert [v.user for v in worker.node.hub.rooms[room].viewers].count("away") == 1
    assert [item["d"]["text"] for item in viewer.events("t.said")].count("last") == 1
    oracle.agree([viewer, speaker])


async def test_sys_resume_counts_what_is_shown_before_the_greeting(
    worker: harness.Worker, speaker: harness.Client, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a greeting is not shown what is said meanwhile, and is told how much it was."""
    viewer = await worker.join(room, "away")
    served = worker.node.hub.rooms[room]
    greet, begun, go = served.joining.greet, asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any) -> None:
        begun.set()
        await go.wait()
        await greet(*args)

    monkeypatch.setattr(served.joining, "greet", slowly)
    asked = asyncio.create_task(viewer.ask("sys.resume"))
    await begun.wait()
    await speaker.ask("danmaku.send", text="one")
    await speaker.event("danmaku", text="one")
    go.set()
    await asked
    shed = await viewer.event("sys.shed")
    await speaker.ask("danmaku.send", text="two")
    await viewer.event("danmaku", text="two")

    assert shed["d"]["danmaku"] == 1
    assert [item["d"]["text"] for item in viewer.events("danmaku")] == ["two"]
    assert [v.user for v in served.viewers].count("away") == 1


async def test_sys_resume_of_a_viewer_that_leaves_leaves_nobody_behind(
    worker: harness.Worker, speaker: harness.Client, room: str
) -> None:
    """The connection ends while the greeting is on its way: it is not in the room afterwards."""
    viewers = [await worker.join(room, "away") for _ in range(5)]
    for viewer in viewers:
        await viewer.send({"op": "sys.resume", "id": 99, "d": {}})
        await viewer.close()

    async with asyncio.timeout(8):
        while len(worker.node.front.connections) > 1:
            await speaker.ask("sys.ping")
    await worker.node.front.settle()

    assert [v.user for v in worker.node.hub.rooms[room].viewers] == ["speaker"]


async def test_join_during_a_storm_has_no_hole(
    workers: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """However the greeting falls between the events: the stream goes on exactly behind it."""
    await workers[0].open_room(room)
    speakers = [await worker.join(room, f"speaker{i}") for i, worker in enumerate(workers)]
    joined: list[harness.Client] = []

    async def storm(speaker: harness.Client) -> None:
        for number in range(60):
            await speaker.ask("t.say", text=f"{number}", n=3)
            await speaker.ask("t.say", text=f"{number}", to="late3", n=2)

    async def join(number: int) -> None:
        await speakers[0].item(lambda _: len(speakers[0].items) >= number * 8)  # spread over it
        joined.append(await workers[number % 2].join(room, f"late{number % 5}"))

    await asyncio.gather(*map(storm, speakers), *map(join, range(20)))
    await speakers[0].ask("t.say", text="last")
    for client in [*joined, *speakers]:
        await heard(client, "last")

    assert len(joined) == 20
    assert len({(c.hello["seq"], c.hello["sub"]) for c in joined}) >= 2
    seen = oracle.agree([*joined, *speakers])
    for client in joined:  # from its greeting on, all that the others saw and may be its
        start = (client.hello["epoch"], client.hello["seq"], client.hello["sub"])
        mine = oracle.seen_by(client)
        public = {place for place in seen if place > start and not place[2]}
        assert public == {place for place in mine if not place[2]}


async def test_resume_during_a_storm_has_no_hole(
    worker: harness.Worker, speaker: harness.Client, room: str
) -> None:
    """Dropping and coming back again and again: the pieces make one whole."""
    parts: list[harness.Client] = [await worker.join(room, "away")]

    async def storm() -> None:
        for number in range(80):
            await speaker.ask("t.say", text=f"{number}", n=2)
            await speaker.ask("t.say", text=f"{number}", to="away")
        await speaker.ask("t.say", text="last")

    async def come_and_go() -> None:
        while not any(item["d"].get("text") == "last" for item in durable_items(parts[-1])):
            await parts[-1].close()
            place = place_of(parts[-1])
            parts.append(await worker.join(room, "away", resume=place))
            assert parts[-1].hello["resumed"] is True

    await asyncio.gather(storm(), come_and_go())

    pieces = [item for part in parts for item in durable_items(part) if item["ev"] == "t.said"]
    assert pieces == (await log_for(worker, room, "away"))[1:]
    assert len(parts) >= 2


async def test_host_opens_a_room_that_was_asked_for_before(
    worker: harness.Worker, room: str
) -> None:
    """A viewer that came too early does not keep the host out, and the host knows the epoch."""
    early = await worker.connect()
    assert await early.refused("hello", room=room, token="") == "no_room"

    host = await worker.open_control(room)
    await host.ask("room.open")
    viewer = await worker.join(room)
    await host.ask("t.say", text="welcome")
    await heard(viewer, "welcome")
    await heard(host, "welcome")

    assert host.hello["epoch"] == viewer.hello["epoch"] != ""
    oracle.agree([host, viewer])
