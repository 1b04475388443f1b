"""The main path: viewers on two workers see what happens in a room."""

from __future__ import annotations

import asyncio

import pytest

import harness
from liveroom.hub.hub import SWEEP_S, TOUCH_EVERY
from liveroom.store.port import Batch, Committed


@pytest.fixture
async def two_workers(
    store_url: str, start_worker: harness.StartWorker
) -> tuple[harness.Worker, harness.Worker]:
    return await start_worker(store_url), await start_worker(store_url)


async def test_danmaku_reaches_viewers_of_both_workers(
    two_workers: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """A message sent on one worker is seen on both, by the sender too."""
    first, second = two_workers
    await first.open_room(room)
    one, two = await first.join(room), await second.join(room)

    reply = await one.ask("danmaku.send", text="你好")

    for client in (one, two):
        item = await client.event("danmaku", text="你好")
        assert item["d"]["id"] == reply["id"]
        assert item["d"]["user"]["id"] == one.hello["user"]


async def test_gift_is_charged_once_and_seen_by_all(
    two_workers: tuple[harness.Worker, harness.Worker], room: str
) -> None:
    """The same key charges once and is answered alike; everyone sees one event."""
    first, second = two_workers
    await first.open_room(room)
    one, two = await first.join(room), await second.join(room)
    before = (await one.ask("wallet.get"))["balance"]

    answers = [await one.ask("gift.send", key="k-1", gift="rose", n=2) for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    assert (await one.ask("wallet.get"))["balance"] == before - 200
    for client in (one, two):
        item = await client.event("gift.sent", gift="rose", n=2)
        assert item["d"]["value"] == 200
    assert len(two.events("gift.sent")) == 1


async def test_room_is_asked_where_it_stands_only_if_it_told_nothing_lately(
    worker: harness.Worker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer of the store says it: a sweep asks a room alone that has had none for a while."""
    await worker.open_room(room)
    ann = await worker.join(room, "ann")
    hub, asked = worker.node.hub, asyncio.Event()
    commit = hub.store.commit

    async def watched(scope: str, batch: Batch) -> Committed:
        if scope == room and not batch.ops and not batch.ephemeral:
            asked.set()
        return await commit(scope, batch)

    monkeypatch.setattr(hub.store, "commit", watched)
    await ann.ask("danmaku.send", text="hello")
    await ann.event("danmaku")
    for _ in range(TOUCH_EVERY):
        await hub._sweep()
        await hub.settle()
    assert not asked.is_set()

    hub.rooms[room].batcher.answered_at -= TOUCH_EVERY * SWEEP_S
    await hub._sweep()
    await asyncio.wait_for(asked.wait(), harness.PATIENCE_S)
