"""Presence: who counts, where, for how long; entry effects."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

import harness
from liveroom import Op
from liveroom.errors import StoreUnavailable
from liveroom.features import presence


EXPIRED_MS = 31_000


@pytest.fixture(autouse=True)
def quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers report their counts 20 times a second, and refresh them twice."""
    for name, seconds in {
        "_REPORT_S": 0.05,
        "_SOON_S": 0.05,
        "_REFRESH_S": 0.4,
        "_LATER_S": 0.1,
    }.items():
        monkeypatch.setattr(presence, name, seconds)


def presence_of(worker: harness.Worker) -> presence.Presence:
    """Return the worker's plugin."""
    plugins = worker.node.manager.plugins
    return next(p for p in plugins if isinstance(p, presence.Presence))


async def online(client: harness.Client, **wanted: int) -> dict[str, Any]:
    """Wait until the newest value of `online` is this."""
    found: dict[str, Any] = await client.state("online", lambda d: wanted.items() <= d.items())
    return found


async def test_presence_counts_over_two_workers(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """`now` sums up the workers, `peak` stays, `viewers` counts people, not visits."""
    first, second = await start_worker(store_url), await start_worker(store_url)
    host = await first.open_control(room)
    await host.ask("room.open")
    await online(host, now=1, peak=1, viewers=1)

    ann, bob = await first.join(room, "ann"), await second.join(room, "bob")
    for client in (host, ann, bob):
        await online(client, now=3, peak=3, viewers=3)

    await bob.close()
    await online(ann, now=2, peak=3, viewers=3)
    bob = await first.join(room, "bob")
    shown = await online(bob, now=3)
    assert (shown["peak"], shown["viewers"]) == (3, 3)
    eve = await second.join(room, "eve")
    await online(eve, now=4, peak=4, viewers=4)


async def test_presence_counts_a_user_once_per_worker(worker: harness.Worker, room: str) -> None:
    """A second tab is the same person; the person has gone with the last one."""
    host = await worker.open_control(room)
    await host.ask("room.open")
    tabs = [await worker.join(room, "ann"), await worker.join(room, "ann")]
    await online(host, now=2)
    await worker.join(room, "bob")
    await online(host, now=3, peak=3, viewers=3)

    await tabs[0].close()
    await worker.join(room, "eve")
    await online(host, now=4, peak=4)  # with ann's other tab
    await tabs[1].close()
    await host.item(lambda item: item.get("st") == "online" and item["d"]["now"] == 3
                    and item["d"]["peak"] == 4)  # fmt: skip
    assert max(item["d"]["now"] for item in host.items if item.get("st") == "online") == 4


async def test_presence_of_a_dead_worker_expires(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A worker that reports no more counts no more after a while; one that does stays."""
    first, second, third = [await start_worker(store_url) for _ in range(3)]
    host = await first.open_control(room)
    await host.ask("room.open")
    await second.join(room, "lost")
    await third.join(room, "kept")
    await online(host, now=3)

    presence_of(second)._rooms.clear()  # as after SIGKILL: nothing is reported, nor taken back
    for worker in (first, third):
        worker.node.store.skew_ms = EXPIRED_MS
    await online(host, now=2, peak=3)
    late = await first.join(room, "late")
    await online(late, now=3, peak=3)


async def test_presence_of_a_stopped_worker_is_taken_back(
    store_url: str, start_worker: harness.StartWorker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stops in order leaves no count behind to expire."""
    first = await start_worker(store_url)
    host = await first.open_control(room)
    await host.ask("room.open")
    monkeypatch.setattr(presence, "_REPORT_S", 3600.0)
    async with harness.running_worker(store_url) as second:
        await second.join(room, "ann")
        presence_of(second)._report()
        await online(host, now=2)
    await online(await first.join(room, "bob"), now=2, peak=2, viewers=3)


async def test_presence_counts_who_comes_while_nobody_is_told(
    worker: harness.Worker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer that arrives while the worker reports that it has none is counted all the same."""
    host = await worker.open_control(room)
    await host.ask("room.open")
    await online(host, now=1)
    submit = worker.node.hub.submit
    arrived: asyncio.Future[harness.Client] = asyncio.get_running_loop().create_future()

    async def late(scope: str, op: Op, **options: Any) -> bytes:
        if op.name == "presence.report" and op.body["n"] == 0 and not arrived.done():
            arrived.set_result(await worker.join(room, "ann"))
        return await submit(scope, op, **options)

    monkeypatch.setattr(worker.node.hub, "submit", late)
    await host.close()
    ann = await asyncio.wait_for(arrived, harness.PATIENCE_S)
    await online(ann, now=1, peak=1, viewers=2)


async def shown_version(worker: harness.Worker, room: str) -> int:
    """Return how often the store has shown another audience."""
    (reply,) = (await worker.node.hub.commit(room, [Op("sys.sync", "", {})])).replies
    states = orjson.loads(reply[1:])["states"]
    (version,) = (state["v"] for state in states if state["st"] == "online")
    found: int = version
    return found


async def test_presence_told_again_is_no_news(
    worker: harness.Worker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that shows that it lives has nobody sent what everybody knows."""
    host = await worker.open_control(room)
    await host.ask("room.open")
    ann = await worker.join(room, "ann")
    await online(ann, now=2, peak=2, viewers=2)
    before = await shown_version(worker, room)
    submit, refreshed, told = worker.node.hub.submit, asyncio.Event(), 0

    async def counted(scope: str, op: Op, **options: Any) -> bytes:
        nonlocal told
        reply = await submit(scope, op, **options)
        told += op.name == "presence.report"
        if told == 3:
            refreshed.set()
        return reply

    monkeypatch.setattr(worker.node.hub, "submit", counted)
    await asyncio.wait_for(refreshed.wait(), harness.PATIENCE_S)
    assert await shown_version(worker, room) == before


async def test_presence_of_a_room_in_trouble_is_its_own(
    worker: harness.Worker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another room's audience is counted meanwhile, and its own as soon as it can be."""
    other = f"{room}-other"
    await worker.open_room(room)
    await worker.open_room(other)
    submit, cured = worker.node.hub.submit, False

    async def troubled(scope: str, op: Op, **options: Any) -> bytes:
        if scope == room and op.name == "presence.report" and not cured:
            raise StoreUnavailable("down")
        return await submit(scope, op, **options)

    monkeypatch.setattr(worker.node.hub, "submit", troubled)
    ann, bob = await worker.join(room, "ann"), await worker.join(other, "bob")
    await online(bob, now=1, viewers=2)
    cured = True
    await online(ann, now=1, viewers=2)


def entries(client: harness.Client) -> int:
    """Return how many entries a client was shown, or told that it was not shown."""
    shed: int = sum(item["d"].get("viewer.enter", 0) for item in client.events("sys.shed"))
    public = [item for item in client.events("viewer.enter") if "kept" not in item]
    return len(public) + shed


async def entries_reach(client: harness.Client, count: int) -> None:
    """Wait until so many entries are accounted for."""
    await client.item(lambda _: entries(client) >= count)
    assert entries(client) == count


async def test_presence_shows_a_counted_sample_of_entries(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Entries are shown on every worker up to the budget; those shed are counted, for everyone."""
    first, second = [await start_worker(store_url, enter_per_s=2) for _ in range(2)]
    await first.open_room(room)
    near, far = await first.join(room, "near"), await second.join(room, "far")
    shown = await near.event("viewer.enter")
    assert set(shown["d"]["user"]) == {"id", "name", "role"}
    for client in (near, far):  # whatever was said before these is accounted for with them
        await client.ask("danmaku.send", text=client.hello["user"])
    for client in (near, far):
        await client.event("danmaku", text="near")
        await client.event("danmaku", text="far")
    before = [entries(client) for client in (near, far)]

    for n in range(10):
        await first.join(room, f"u{n}")

    for client, count in zip((near, far), before, strict=True):
        await entries_reach(client, count + 10)
        assert client.events("sys.shed")
