"""What is said and deleted later counts nowhere; options that the store goes by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

import harness
from busyshow import Deleting
from counting import Figures, Shop, counting
from liveroom import Op
from liveroom_plugins.moderation import Moderation


@pytest.fixture
async def pair(store_url: str) -> AsyncIterator[tuple[Shop, Shop]]:
    """Two workers with counters, on each store."""
    async with (
        counting(store_url, [Deleting()]) as first,
        counting(store_url, [Deleting()]) as second,
    ):
        yield first, second


@pytest.fixture
async def shop(embedded_url: str) -> AsyncIterator[Shop]:
    """One worker with counters."""
    async with counting(embedded_url, [Deleting()]) as made:
        yield made


async def delete(room: str, *shops: Shop, **d: Any) -> None:
    """Have messages deleted, and all workers hear and tell of it."""
    op = Op("deleting.delete", "", {"by": "mod", **d})
    place = (await shops[0].worker.node.hub.commit(room, [op])).position
    for shop in shops:
        handle = shop.worker.node.hub.room_for(room)
        async with asyncio.timeout(harness.PATIENCE_S):
            while handle.position < place:  # noqa: ASYNC110 -- nothing tells of it
                await asyncio.sleep(0.001)
        await shop.told(room)


async def say(client: harness.Client, text: str = "hello") -> str:
    """Send a message; return its id."""
    message: str = (await client.ask("danmaku.send", text=text))["id"]
    return message


def spoken(figures: Figures) -> tuple[int, int, int, int]:
    """Return how many messages of how many viewers, how many interactions of how many."""
    row = figures["kinds"]["danmaku"]
    return row["n"], row["viewers"], figures["interactions"], figures["interacting_viewers"]


async def test_deleted_messages_count_nowhere(pair: tuple[Shop, Shop], room: str) -> None:
    """One, then all of a user's: of the session, the minute, the segment and the source; once."""
    first, second = pair
    await first.worker.open_room(room)
    host = await first.worker.control(room)
    await host.ask("segment.mark", name="talk")
    ann = await first.worker.connect()
    await ann.ask("hello", room=room, token=first.worker.token(room, user="ann"), source="app")
    bob, cy = [await second.worker.join(room, user) for user in ("bob", "cy")]
    one = await say(ann, "很喜欢")
    for client, text in ((ann, "hello"), (bob, "太贵了"), (bob, "太贵了"), (cy, "hello")):
        await say(client, text)
    await cy.ask("like.send", n=10)
    figures = await first.figures(room, viewers=3, interactions=15)
    assert spoken(figures) == (5, 3, 15, 3)
    assert (figures["good_comments"], figures["comment_sentiment"]) == (1, 1 / 3)
    before = await first.rows(room, "source")

    for _ in range(2):
        await delete(room, first, second, ids=[one])
        assert spoken(await first.figures(room)) == (4, 3, 14, 3)
    for _ in range(2):
        await delete(room, second, first, user="bob")
        await delete(room, first, second, user="cy")
        figures = await second.figures(room)
        assert spoken(figures) == (1, 1, 11, 2)  # cy has liked
        assert (figures["good_comments"], figures["bad_comments"]) == (0, 0)
    await delete(room, first, second, user="nobody")

    source = await first.rows(room, "source")
    assert (before["app"]["interactions"], source["app"]["interactions"]) == (2, 1)
    assert source[""]["interacting_viewers"] == 1
    for by, name in (("minute", "0"), ("segment", "talk")):
        row = (await first.rows(room, by))[name]
        assert (row["kinds"]["danmaku"], row["interactions"]) == (1, 11)
        assert row["active_viewers"] == 3  # they were, whatever became of what they said
    await first.check(room)

    await say(bob)
    await first.figures(room, interactions=12, interacting_viewers=3)
    await first.check(room)


async def test_deleted_messages_of_a_minute_that_is_folded(shop: Shop, room: str) -> None:
    """They are taken back from that minute; what came in later ones stays."""
    await shop.worker.open_room(room)
    await (await shop.worker.control(room)).ask("segment.mark", name="talk")
    ann = await shop.worker.join(room, "ann")
    for _ in range(3):
        await say(ann)
        await shop.told(room)
        for _ in range(9):
            await shop.pass_time(room, 7)
            await shop.told(room)
    rows = await shop.rows(room, "minute")
    assert [rows[str(n)]["kinds"]["danmaku"] for n in range(3)] == [1, 1, 1]

    await delete(room, shop, user="ann")
    rows = await shop.rows(room, "minute")
    assert [rows[str(n)]["interactions"] for n in range(3)] == [0, 0, 0]
    assert [rows[str(n)]["viewer_seconds"] for n in range(1, 3)] == [60, 60]
    assert (await shop.rows(room, "segment"))["talk"]["interactions"] == 0
    assert spoken(await shop.figures(room)) == (0, 0, 0, 0)
    await shop.check(room)


async def test_deleted_message_that_is_told_of_later_does_not_count(
    embedded_url: str, room: str
) -> None:
    """Another worker tells of the deletion before this one tells of the message."""
    slow = {"counters": {"flush_ms": 10_000}}
    async with (
        counting(embedded_url, [Deleting()]) as fast,
        counting(embedded_url, [Deleting()], plugin=slow) as shop,
    ):
        await fast.worker.open_room(room)
        ann, bob = [await shop.worker.join(room, user) for user in ("ann", "bob")]
        shop.counters.shift_s += 11
        await shop.told(room)
        one = await say(ann)
        await say(bob)
        handle = shop.worker.node.hub.room_for(room)
        await delete(room, fast, ids=[one])
        await delete(room, fast, user="bob")
        async with asyncio.timeout(harness.PATIENCE_S):
            while handle.position < fast.worker.node.hub.room_for(room).position:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await say(ann)
        await shop.counters.stop()
        assert spoken(await fast.figures(room)) == (1, 1, 1, 1)
        await fast.check(room)


async def tell(shop: Shop, room: str, number: int, **parts: Any) -> None:
    """Tell the store a page as a worker would."""
    _, answer = await shop.get(room)
    body = {"w": "w9", "s": str(answer["session"]), "q": number, "m": number, "here": 0}
    options = {"lost_ms": 10_000, "keep_ms": 10**9, "late_ms": 10**8, "messages": 100}
    op = Op("counters.add", "", body | {"known": True, "o": options} | parts)
    (reply,) = (await shop.worker.node.hub.commit(room, [op])).replies
    assert reply[:1] == b"+", reply


async def test_deleted_messages_are_those_that_are_remembered(shop: Shop, room: str) -> None:
    """Of a long session the newest; a deletion takes back what was said until then."""
    await shop.worker.open_room(room)
    for page in range(5):
        ids = range(page * 50, page * 50 + 50)
        await tell(shop, room, page + 1, d=[[f"m{n}", f"u{n % 2}", "", n, ""] for n in ids])
    assert (await shop.figures(room))["kinds"]["danmaku"]["n"] == 250

    await tell(shop, room, 6, x=[{"i": ["m0", "m249", "m249"], "t": 300}])
    assert (await shop.figures(room))["kinds"]["danmaku"]["n"] == 249  # m0 is forgotten
    await tell(shop, room, 7, x=[{"u": "u0", "t": 239}])
    assert (await shop.figures(room))["kinds"]["danmaku"]["n"] == 249 - 70  # 100, 102, … 238
    await tell(shop, room, 8, x=[{"u": "u0", "t": 400}], d=[["m400", "u0", "", 400, ""]])
    figures = await shop.figures(room)
    assert figures["kinds"]["danmaku"]["n"] == 249 - 75


async def test_deleted_after_the_end_until_figures_stand(shop: Shop, room: str) -> None:
    """A message of the last minute may be taken back for ten seconds."""
    await shop.worker.open_room(room)
    host = await shop.worker.control(room)
    ann, bob = [await shop.worker.join(room, user) for user in ("ann", "bob")]
    await say(ann)
    await say(bob)
    await shop.figures(room, interactions=2, viewers=2)
    await host.ask("room.close")
    await host.event("room.closed")
    await shop.told(room)
    shop.counters.audience.forget()
    await delete(room, shop, user="ann")
    assert spoken(await shop.figures(room)) == (1, 1, 1, 1)
    await shop.check(room)
    await shop.pass_time(room, 13)
    await delete(room, shop, user="bob")
    assert spoken(await shop.figures(room)) == (1, 1, 1, 1)
    shop.counters.audience.forget()
    assert shop.counters.audience.of_room(room) == []


async def test_deleted_by_a_moderator(embedded_url: str, room: str) -> None:
    """With the plugin that does it."""
    async with counting(embedded_url, [Moderation()]) as shop:
        await shop.worker.open_room(room)
        mod = await shop.worker.control(room, "mod", "moderator")
        ann, bob = [await shop.worker.join(room, user) for user in ("ann", "bob")]
        one = await say(ann, "first")
        await say(ann, "second")
        await say(bob, "third")
        await shop.figures(room, interactions=3, viewers=2)
        await mod.ask("mod.delete", id=one)
        await shop.figures(room, interactions=2, interacting_viewers=2)
        await mod.ask("mod.delete", user="ann")
        await shop.figures(room, interactions=1, interacting_viewers=1)
        await shop.check(room)


async def test_options_are_what_the_store_goes_by(embedded_url: str, room: str) -> None:
    """A silent worker is dead after `lost_s`; orders have `late_hours`, sessions `keep_days`."""
    options = {"flush_ms": 100, "lost_s": 40, "late_hours": 2, "keep_days": 2}
    tables = {"counters": options}
    async with (
        counting(embedded_url, plugin=tables) as dying,
        counting(embedded_url, plugin=tables) as other,
    ):
        await other.worker.open_room(room)
        host = await other.worker.control(room)
        await dying.worker.join(room, "ann")
        await other.worker.join(room, "bob")
        await other.figures(room, viewers=2, online=2)
        for job in dying.worker.node.hub._jobs:
            job.cancel()
        for seconds, online in ((30, 2), (15, 1)):
            await other.pass_time(room, seconds)
            await other.told(room)
            assert (await other.figures(room))["online"] == online
        await host.ask("room.close")
        await other.told(room)
        order: dict[str, Any] = {"user": "ann", "amount": 5, "status": "paid"}
        assert "session" in await other.tell(room, "order.put", order="o1", **order)
        await other.pass_time(room, 2 * 3600 + 1)
        assert "session" not in await other.tell(room, "order.put", order="o2", **order)
        base = f"lr:{{{room}}}"
        _, listed = await other.get(room, "sessions")
        session = listed["sessions"][0]["session"]
        ask = other.worker.node.store._execute
        left_ms = await ask(base, ("PTTL", f"{base}:counters:{session}"))
        assert 0 < left_ms <= 2 * 86_400_000
        assert orjson.loads(await ask(base, ("GET", f"{base}:counters:order:o1")))["user"] == "ann"
