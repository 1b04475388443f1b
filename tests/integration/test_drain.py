"""Sending viewers away: what was taken is answered, everyone is told and closed with 1012."""

from __future__ import annotations

import asyncio

import harness


async def test_drain_answers_what_was_taken(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Commands on their way when the drain begins are answered before the close."""
    worker = await start_worker(store_url)
    await worker.open_room(room)
    viewer = await worker.join(room)
    await viewer.ask("wallet.get")
    gifts = [
        {"op": "gift.send", "id": 1000 + n, "key": f"k-{n}", "d": {"gift": "rose", "n": 1}}
        for n in range(40)
    ]

    await viewer.send(*gifts)
    # Taken, and each needs three commits.
    while not worker.node.front._tasks:  # noqa: ASYNC110 -- no event tells it
        await asyncio.sleep(0)
    await worker.node.drain(0.0)

    assert await viewer.closed() == 1012
    replies = {item["re"]: item for item in viewer.items if item.get("re", 0) >= 1000}
    assert sorted(replies) == [gift["id"] for gift in gifts]
    assert all("d" in reply for reply in replies.values())


async def test_drain_ends_while_others_keep_talking(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A room that never falls silent does not hold the drain up."""
    worker = await start_worker(store_url)
    await worker.open_room(room)
    viewers = [await worker.join(room) for _ in range(20)]

    async def talk(client: harness.Client) -> None:
        while not client.ws.closed:
            await client.send({"op": "like.send", "d": {"n": 1}})
            await asyncio.sleep(0)

    talkers = [asyncio.create_task(talk(viewer)) for viewer in viewers]
    async with asyncio.timeout(8):
        await worker.node.drain(0.2)
    await asyncio.gather(*talkers, return_exceptions=True)

    assert [await viewer.closed() for viewer in viewers] == [1012] * 20
    assert all(viewer.events("sys.reconnect") for viewer in viewers)
    assert worker.node.unready == ["draining"]


async def test_drain_lets_a_small_room_come_back_before_it_is_closed(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Whoever follows `sys.reconnect` is greeted elsewhere while the old connection still lives."""
    old, new = await start_worker(embedded_url), await start_worker(embedded_url)
    await old.open_room(room)
    viewer = await old.join(room, "ann")
    drain = asyncio.create_task(old.node.drain(20.0))

    hint = (await viewer.event("sys.reconnect"))["d"]
    again = await new.join(
        room, "ann", resume={k: viewer.hello[k] for k in ("epoch", "seq", "sub")}
    )

    assert hint["spread_ms"] > 0
    assert again.hello["resumed"]
    assert viewer.close_code is None
    await viewer.close()
    async with asyncio.timeout(8):  # nobody is left to wait for
        await drain


async def test_drain_closes_the_last_within_the_window_it_told(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Those who stay are closed, not before they could have left; few viewers need no long window."""
    worker = await start_worker(embedded_url)
    await worker.open_room(room)
    viewers = [await worker.join(room) for _ in range(3)]
    drain = asyncio.create_task(worker.node.drain(20.0))

    hint = (await viewers[0].event("sys.reconnect"))["d"]
    assert all(viewer.close_code is None for viewer in viewers)
    async with asyncio.timeout(8):
        await drain

    assert hint["after_ms"] + hint["spread_ms"] < 8000
    assert [await viewer.closed() for viewer in viewers] == [1012] * 3
