"""Viewers that do not read, rooms that talk too much: bounded, counted, and nobody else's trouble."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import harness
import oracle
from liveroom.hub.viewer import Viewer
from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, Result, command
from liveroom.protocol.messages import Body
from rawsocket import WebSocket, open_websocket


class Make(Body, frozen=True, kw_only=True):
    """How many events, and how long each."""

    tag: int = 0
    n: int = 1
    size: int = 1


class Noise(Plugin):
    """Ephemeral and durable events of any size."""

    name = "noise"
    events = (
        EventSpec("t.noise", Delivery.EPHEMERAL, "test"),
        EventSpec("t.said", Delivery.DURABLE, "test"),
    )
    lua = """
ops['t.say'] = function(op)
  for i = 1, op.d.n do emit('t.said', {tag = op.d.tag, text = string.rep('x', op.d.size)}) end
end
ops['t.whisper'] = function(op) emit_to('sleepy', 't.said', {tag = op.d.tag}) end
"""

    @command("t.noise", Make)
    def noise(self, call: Call[Make]) -> Result:
        """Make noise."""
        for _ in range(call.body.n):
            d = {"tag": call.body.tag, "text": "x" * call.body.size}
            call.room.publish("t.noise", d, member=call.member)
        return None

    @command("t.say", Make)
    def say(self, call: Call[Make]) -> Commit:
        """Say something that lasts."""
        body = call.body
        return Commit("t.say", {"tag": body.tag, "n": body.n, "size": body.size})

    @command("t.whisper", Make)
    def whisper(self, call: Call[Make]) -> Commit:
        """Say something that lasts, to one user."""
        return Commit("t.whisper", {"tag": call.body.tag})


BIG = 20_000  # bytes of an event that fills buffers; a few dozen fill the kernel's too
QUICK = {"danmaku_per_s": 100_000, "beat_ms": 20, "plugins": [Noise()]}


class Sleepy:
    """A viewer whose socket is read only when the test says so."""

    def __init__(self, ws: WebSocket, viewer: Viewer, connection: Any) -> None:
        self.ws = ws
        self.viewer = viewer
        self.connection = connection

    def fall_asleep(self) -> None:
        """Read nothing; the kernel of this end keeps what it keeps, that of the worker little."""
        sender = self.connection._transport.get_extra_info("socket")
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.ws.socket.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that also reads

    def wake(self) -> None:
        """Read what has piled up."""
        self.ws.socket.writer.transport.resume_reading()  # type: ignore[attr-defined]  # a transport that also reads

    @property
    def durable(self) -> list[int]:
        return said(self.ws.items)

    @property
    def whispers(self) -> list[int]:
        return [item["sub"] for item in self.ws.items if "sub" in item]


@asynccontextmanager
async def sleepy_viewer(worker: harness.Worker, room: str) -> AsyncIterator[Sleepy]:
    async with open_websocket(worker.port) as ws:
        hello = await ws.hello(room, worker.token(room, user="sleepy"))
        viewer = worker.node.hub.rooms[room]._sessions[hello["session"]]
        yield Sleepy(ws, viewer, viewer._socket)


def said(items: list[dict[str, Any]]) -> list[int]:
    return [item["seq"] for item in items if item.get("ev") == "t.said" and "sub" not in item]


def count(items: list[dict[str, Any]], event: str) -> tuple[int, int]:
    """Return how many of an event a viewer was shown, and how many it was told were shed."""
    shown = [item for item in items if item.get("ev") == event and not item.get("kept")]
    told = sum(item["d"].get(event, 0) for item in items if item.get("ev") == "sys.shed")
    return len(shown), told


async def made(speaker: harness.Client, op: str, tag: int, size: int = BIG) -> None:
    """Have one event made and wait until a viewer that reads has it."""
    await speaker.ask(op, tag=tag, size=size)
    await speaker.event({"t.noise": "t.noise", "t.say": "t.said"}[op], tag=tag)


async def made_until(
    speaker: harness.Client, op: str, tags: itertools.count[int], done: Callable[[], object]
) -> None:
    async with asyncio.timeout(8):
        while not done():
            await made(speaker, op, next(tags))


async def opened(worker: harness.Worker, room: str, user: str = "speaker") -> harness.Client:
    await worker.open_room(room)
    return await worker.join(room, user)


async def test_slow_viewer_is_given_what_lasts_and_told_the_rest(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """While it lags it gets no ephemeral item; when it recovers it is told how many it missed."""
    worker = await start_worker(embedded_url, slow_bytes=60_000, **QUICK)
    speaker = await opened(worker, room)
    tags = itertools.count(1)
    async with sleepy_viewer(worker, room) as sleepy:
        sleepy.fall_asleep()
        await made_until(speaker, "t.noise", tags, lambda: sleepy.viewer.slow)
        unsent = sleepy.connection.unsent()
        for _ in range(20):  # in one delivery with what is for the slow one alone
            await speaker.send({"op": "t.whisper", "d": {"tag": 0}})
            await made(speaker, "t.noise", next(tags))
        assert sleepy.connection.unsent() < unsent + BIG  # the room's state, none of the noise
        for _ in range(5):
            await made(speaker, "t.say", next(tags), size=10)

        sleepy.wake()
        while sleepy.viewer.slow:
            await asyncio.gather(
                sleepy.ws.ask("sys.ping"), made(speaker, "t.noise", next(tags), size=1)
            )
        last = next(tags)
        await made(speaker, "t.say", last)
        await sleepy.ws.item(lambda item: item.get("d", {}).get("tag") == last)

    shown, told = count(sleepy.ws.items, "t.noise")
    sent = len(speaker.events("t.noise"))
    assert told >= 20
    assert shown + told == sent
    assert sleepy.durable == said(speaker.items)
    assert sleepy.whispers == list(range(1, 21))


async def test_slow_viewer_that_talks_is_counted_exactly(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Its own items over the budget: shown to it as kept, counted as shed, never both."""
    settings = QUICK | {"danmaku_per_s": 5}
    worker = await start_worker(embedded_url, slow_bytes=60_000, **settings)
    speaker = await opened(worker, room)
    tags = itertools.count(1)
    async with sleepy_viewer(worker, room) as sleepy:
        sleepy.fall_asleep()
        await made_until(speaker, "t.say", tags, lambda: sleepy.viewer.slow)
        await sleepy.ws.command("t.noise", d={"tag": 0, "n": 50})
        await speaker.item(lambda _: sum(count(speaker.items, "t.noise")) == 50)

        sleepy.wake()
        while sleepy.viewer.slow:
            await asyncio.gather(sleepy.ws.ask("sys.ping"), made(speaker, "t.say", next(tags)))
        last = next(tags)
        await made(speaker, "t.say", last)
        await sleepy.ws.item(lambda item: item.get("d", {}).get("tag") == last)

    assert sum(count(sleepy.ws.items, "t.noise")) == 50
    assert sum(count(speaker.items, "t.noise")) == 50


async def test_slow_viewer_over_its_bytes_is_closed_and_others_go_on(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """What lasts piles up to the limit, not further; then close 4003, which says: come back."""
    limit = 200_000
    worker = await start_worker(embedded_url, slow_bytes=60_000, slow_close_bytes=limit, **QUICK)
    speaker = await opened(worker, room)
    other = await worker.join(room, "other")
    tags = itertools.count(1)
    async with sleepy_viewer(worker, room) as sleepy:
        sleepy.fall_asleep()
        await made_until(speaker, "t.say", tags, lambda: sleepy.connection.closing)
        assert (
            sleepy.connection.unsent() <= limit + 3 * BIG
        )  # the frame that was too much, the close
        last = next(tags)
        await made(speaker, "t.say", last)
        sleepy.wake()
        assert await sleepy.ws.closed() == 4003

    await other.event("t.said", tag=last)
    assert oracle.agree([speaker, other])
    made_in_all = said(speaker.items)
    assert sleepy.durable == made_in_all[: len(sleepy.durable)]
    place = {"epoch": speaker.hello["epoch"], "seq": sleepy.durable[-1], "sub": 0}
    back = await worker.join(room, "sleepy", resume=place)
    assert back.hello["resumed"] is True
    assert sleepy.durable + said(back.items) == made_in_all


async def test_slow_viewer_over_its_time_is_closed(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """However little waits: one that stays slow is sent away."""
    worker = await start_worker(embedded_url, slow_bytes=60_000, slow_close_s=0.2, **QUICK)
    speaker = await opened(worker, room)
    async with sleepy_viewer(worker, room) as sleepy:
        sleepy.fall_asleep()
        tags = itertools.count(1)
        await made_until(speaker, "t.noise", tags, lambda: sleepy.connection.closing)
        sleepy.wake()
        assert await sleepy.ws.closed() == 4003


async def test_slow_viewer_that_never_reads_is_dropped(
    embedded_url: str,
    start_worker: harness.StartWorker,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A close frame that is not answered does not keep the connection, nor its memory."""
    monkeypatch.setattr("liveroom.front._CLOSE_GRACE_S", 0.1)
    worker = await start_worker(embedded_url, slow_bytes=60_000, slow_close_bytes=200_000, **QUICK)
    speaker = await opened(worker, room)
    async with sleepy_viewer(worker, room) as sleepy:
        sleepy.fall_asleep()
        tags = itertools.count(1)

        def gone() -> bool:
            worker.node.front.tick()
            return sleepy.connection not in worker.node.front.connections

        await made_until(speaker, "t.say", tags, gone)
        assert sleepy.viewer not in worker.node.hub.rooms[room].viewers


async def test_flood_is_delivered_or_counted_for_every_viewer(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Accepted = shown + shed, exactly, for each viewer of each worker; authors see their own."""
    settings = {"danmaku_per_s": 5, "beat_ms": 50}
    workers = [await start_worker(store_url, **settings) for _ in range(2)]
    watcher = await opened(workers[0], room, "watcher")
    authors = [await workers[n % 2].join(room, f"author{n}") for n in range(24)]
    await asyncio.gather(*(author.state("online") for author in [watcher]))

    async def talk(author: harness.Client) -> list[str]:
        replies = [await author.ask("danmaku.send", text=f"message {n}") for n in range(3)]
        return [reply["id"] for reply in replies]

    sent = await asyncio.gather(*map(talk, authors))
    accepted = sum(map(len, sent))
    viewers = [watcher, *authors]
    for viewer in viewers:
        await viewer.item(lambda _, v=viewer: sum(count(v.items, "danmaku")) >= accepted)  # type: ignore[misc]  # bound
    host = await workers[1].control(room)
    await host.ask("room.update", title="after it all")
    for viewer in viewers:
        await viewer.event("room.updated", title="after it all")

    assert accepted == 72
    for viewer in viewers:
        shown, told = count(viewer.items, "danmaku")
        assert shown + told == accepted
        assert told > accepted / 2
    for author, ids in zip(authors, sent, strict=True):
        own = {item["d"]["id"] for item in author.events("danmaku")}
        assert own >= set(ids)
        kept = [item["d"]["id"] for item in author.events("danmaku") if item.get("kept")]
        assert set(kept) <= set(ids)
        assert len(own) == len(author.events("danmaku")), "no message twice"
    assert not any(item.get("kept") for item in watcher.events("danmaku"))
    shown_ids = [{i["d"]["id"] for i in v.events("danmaku") if not i.get("kept")} for v in viewers]
    by_worker = [shown_ids[0:1] + shown_ids[1::2], shown_ids[2::2]]
    assert all(len(set(map(frozenset, same))) == 1 for same in by_worker)
