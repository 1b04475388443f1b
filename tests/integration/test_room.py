"""The main path: viewers on two workers see what happens in a room."""

from __future__ import annotations

import pytest

import harness


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
