"""Live counters over the wire: who came, stayed, took part and bought."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import harness
from counting import FLUSH_MS, Shop, counting
from faultproxy import FaultProxy
from liveroom import Body, Call, Commit, ConfigError, Op, Plugin, command
from liveroom.store.port import Batch, Committed


@pytest.fixture
async def shop(embedded_url: str) -> AsyncIterator[Shop]:
    """A worker with counters. What each store makes of figures is in test_counters_batch.py."""
    async with counting(embedded_url) as made:
        yield made


@pytest.fixture
async def pair(store_url: str) -> AsyncIterator[tuple[Shop, Shop]]:
    """Two workers with counters, on each store."""
    async with counting(store_url) as first, counting(store_url) as second:
        yield first, second


async def come(shop: Shop, room: str, user: str, source: str = "") -> harness.Client:
    """Bring a viewer in through a channel."""
    client = await shop.worker.connect()
    token = shop.worker.token(room, user=user)
    client.hello = await client.ask("hello", room=room, token=token, source=source)
    return client


async def gone(shop: Shop, room: str, client: harness.Client) -> None:
    """Close a viewer's connection, and wait until the worker has noticed."""
    handle = shop.worker.node.hub.room_for(room)
    before = len(handle.viewers)
    await client.close()
    async with asyncio.timeout(harness.PATIENCE_S):
        while len(handle.viewers) == before:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)


async def put(shop: Shop, room: str, order: str = "o1", **changes: Any) -> dict[str, Any]:
    """Tell of an order that was paid, or is another way."""
    d: dict[str, Any] = {"order": order, "user": "ann", "amount": 500, "status": "paid"} | changes
    return await shop.tell(room, "order.put", **d)


# Viewers.


async def test_counters_two_tabs_are_one_viewer(pair: tuple[Shop, Shop], room: str) -> None:
    """Over workers: two views, one viewer, one who is online; the host is none."""
    first, second = pair
    await first.worker.open_room(room)
    await first.worker.control(room)
    await come(first, room, "ann")
    tab = await come(second, room, "ann")
    await come(second, room, "bob")

    await second.figures(room, viewers=2, views=3, online=2)
    await gone(second, room, tab)
    await second.told(room)
    await first.figures(room, viewers=2, views=3, online=2)
    await first.check(room)


async def test_counters_time_is_counted_once_over_tabs_and_workers(
    pair: tuple[Shop, Shop], room: str
) -> None:
    """Five seconds on each of two workers at once, then four alone: nine, not fourteen."""
    first, second = pair
    await first.worker.open_room(room)
    one, two = await come(first, room, "ann"), await come(second, room, "ann")
    for shop, client, seconds in ((first, one, 5.0), (second, two, 4.0)):
        for each in pair:
            await each.told(room)
        first.counters.shift_s += seconds
        second.counters.shift_s += seconds
        second.worker.node.store.skew_ms += round(seconds * 1000)
        await first.pass_time(room, 0.0)
        first.worker.node.store.skew_ms = second.worker.node.store.skew_ms
        await gone(shop, room, client)
        await shop.told(room)

    figures = await first.figures(room, online=0, viewers=1)
    assert 9.0 <= figures["watch_s"] < 13.0
    assert figures["avg_watch_s"] == figures["watch_s"]
    assert figures["median_watch_s"] == pytest.approx(figures["watch_s"], rel=0.0101)
    assert figures["p90_watch_s"] == figures["median_watch_s"]
    await first.check(room)


async def test_counters_a_resync_is_no_entry(shop: Shop, room: str) -> None:
    """`sys.resume` greets the same connection anew: no view, no second viewer."""
    await shop.worker.open_room(room)
    ann = await come(shop, room, "ann")
    await shop.figures(room, views=1)
    await ann.ask("sys.resume")
    await come(shop, room, "bob")
    await shop.figures(room, views=2, viewers=2, online=2)
    await shop.check(room)


async def test_counters_by_source_is_where_a_viewer_came_from_first(shop: Shop, room: str) -> None:
    """Names are folded, odd ones are `other`; a viewer belongs to the first channel."""
    await shop.worker.open_room(room)
    await come(shop, room, "ann", "App-Push")
    await shop.figures(room, viewers=1)
    ann = await come(shop, room, "ann", "weibo")
    await come(shop, room, "bob", "a b/c")
    await shop.figures(room, viewers=2)
    await come(shop, room, "cy")
    await ann.ask("like.send", n=2)
    await put(shop, room, user="bob")
    await put(shop, room, "o2", user="bob", source="tv")
    await shop.figures(room, viewers=3, views=4, interactions=2)

    rows = await shop.rows(room, "source")
    assert {name: row["viewers"] for name, row in rows.items()} == {
        "app-push": 1, "weibo": 0, "other": 1, "": 1, "tv": 0,
    }  # fmt: skip
    assert {n: r["interactions"] for n, r in rows.items() if r["interactions"]} == {"weibo": 2}
    assert rows["app-push"]["interacting_viewers"] == 1
    assert {n: r["paid_orders"] for n, r in rows.items() if r["paid_orders"]} == {
        "other": 1, "tv": 1,
    }  # fmt: skip


async def test_counters_sources_without_end_are_others(shop: Shop, room: str) -> None:
    """A hundred names are kept; what comes after them is `other`, and nothing is lost."""
    await shop.worker.open_room(room)
    for number in range(103):
        await put(shop, room, f"o{number}", source=f"s{number}")
    rows = await shop.rows(room, "source")
    assert len(rows) == 101
    assert rows["other"]["paid_orders"] == 3
    assert sum(row["paid_orders"] for row in rows.values()) == 103


# What viewers do.


async def test_counters_count_each_kind_as_often_as_it_had_an_effect(shop: Shop, room: str) -> None:
    """A key that is repeated, a vote that is changed, a second follow count once."""
    await shop.worker.open_room(room)
    host = await shop.worker.control(room)
    ann, bob = await come(shop, room, "ann"), await come(shop, room, "bob")
    topup = {"user": "ann", "amount": 1000}
    assert "balance" in await shop.tell(room, "wallet.topup", key=room, **topup)
    await host.ask(
        "poll.open", key="p", poll="p", title="?", options=["a", "b"], seconds=60, change=True
    )
    quiz = {"quiz": "q", "question": "?", "options": ["a", "b"], "correct": 0, "seconds": 60}
    await host.ask("quiz.open", key="q", **quiz)
    prizes = [{"prize": "tea", "title": "Tea", "n": 1}]
    draw = {"lottery": "l", "title": "Draw", "prizes": prizes, "seconds": 60}
    await host.ask("lottery.open", key="l", **draw)

    for _ in range(2):
        await ann.ask("gift.send", key="same", gift="rose", n=2)
        await ann.ask("viewer.follow")
        await ann.ask("quiz.answer", quiz="q", option=1)
        await ann.ask("lottery.enter", lottery="l")
        await bob.ask("poll.vote", poll="p", options=[0])
    await bob.ask("poll.vote", poll="p", options=[1])
    await ann.ask("viewer.follow", on=False)
    await ann.ask("viewer.follow")
    question = (await ann.ask("qa.ask", text="how much?"))["question"]
    await bob.ask("qa.upvote", question=question)
    await bob.ask("qa.upvote", question=question)
    await host.ask("qa.answer", question=question, text="little")
    await ann.ask("like.send", n=30)
    await bob.ask("danmaku.send", text="hello")
    await bob.ask("viewer.share")

    figures = await shop.figures(room, interactions=39, viewers=2)
    assert await shop.kinds(room) == {
        "gift": (1, 1), "follow": (1, 1), "quiz": (1, 1), "lottery": (1, 1), "vote": (1, 1),
        "question": (1, 1), "upvote": (1, 1), "like": (30, 1), "danmaku": (1, 1), "share": (1, 1),
    }  # fmt: skip
    assert (figures["gift_amount"], figures["new_fans"], figures["new_fan_rate"]) == (200, 1, 0.5)
    assert (figures["interacting_viewers"], figures["interaction_rate"]) == (2, 1.0)
    assert figures["questions_answered"] == 1
    assert 0 <= figures["avg_answer_s"] < 8
    assert (await shop.rows(room, "minute"))["0"]["active_viewers"] == 2
    await shop.check(room)


async def test_counters_staff_is_no_audience(shop: Shop, room: str) -> None:
    """What hosts and moderators say and like is not counted."""
    await shop.worker.open_room(room)
    host = await shop.worker.control(room)
    await host.ask("danmaku.send", text="welcome")
    await host.ask("like.send", n=5)
    ann = await come(shop, room, "ann")
    await ann.ask("like.send", n=1)
    figures = await shop.figures(room, interactions=1)
    assert (figures["viewers"], figures["interacting_viewers"]) == (1, 1)


class FailsLate(Plugin):
    """Tells others of something that then does not happen."""

    name = "fails"
    lua = """
    ops['fails.late'] = function(op)
      note('did', op.u, 'vote')
      note('gift', op.u, 100)
      note('did', op.u, 'views')
      if op.d.fail then fail('sold_out') end
    end
    """

    class D(Body, frozen=True, kw_only=True):
        """Whether to fail."""

        fail: bool

    @command("fails.late", D)
    def late(self, call: Call[D]) -> Commit:
        """Fail, or not."""
        return Commit("fails.late", {"fail": call.body.fail})


async def test_counters_do_not_count_what_was_refused_after_all(store_url: str, room: str) -> None:
    """What a handler has told of counts if its effects are carried out, and only then."""
    async with counting(store_url, [FailsLate()]) as shop:
        await shop.worker.open_room(room)
        ann = await come(shop, room, "ann")
        assert await ann.refused("fails.late", fail=True) == "sold_out"
        await ann.ask("fails.late", fail=False)
        await shop.figures(room, viewers=1, interacting_viewers=1)
        figures = await shop.figures(room, views=1, interactions=3)
        assert figures["kinds"]["views"] == {"n": 1}  # a plugin's word for what it counts
        assert [figures["kinds"][kind]["viewers"] for kind in ("vote", "gift", "like")] == [1, 1, 0]


async def test_counters_of_the_shelf(shop: Shop, room: str) -> None:
    """Clicks, carts and who did it, for each item."""
    worker = shop.worker
    await worker.open_room(room)
    host = await worker.control(room)
    for item in ("i1", "i2"):
        sku = {"sku": f"k{item}", "price": 1000}
        await host.ask("shelf.put", item=item, title="T", currency="CNY", skus=[sku])
    ann, bob = await come(shop, room, "ann"), await come(shop, room, "bob")
    await come(shop, room, "cy")
    for client, item in ((ann, "i1"), (ann, "i1"), (bob, "i1"), (ann, "i2")):
        await client.ask("shelf.click", item=item)
    await ann.ask("shelf.cart", item="i1", sku="ki1", n=3)
    await shop.tell(room, "exposure.put", placement="card", viewers=["ann", "bob"], item="i1")
    await shop.tell(room, "exposure.put", placement="feed", count=8, item="i2")

    figures = await shop.figures(room, product_clicks=4, carts=1, viewers=3)
    assert (figures["product_clickers"], figures["carters"], figures["cart_rate"]) == (2, 1, 0.5)
    assert figures["product_click_rate"] == pytest.approx(2 / 3)
    assert (figures["product_exposed"], figures["product_ctr"]) == (10, 0.2)
    rows = await shop.rows(room, "item")
    assert {n: (r["clicks"], r["clickers"], r["carts"], r["units"]) for n, r in rows.items()} == {
        "i1": (3, 2, 1, 3), "i2": (1, 1, 0, 0),
    }  # fmt: skip
    assert {n: (r["exposed"], r["ctr"]) for n, r in rows.items()} == {
        "i1": (2, 1.0), "i2": (8, 0.125),
    }  # fmt: skip


# Orders.


async def test_orders_go_one_way_and_count_once(shop: Shop, room: str) -> None:
    """The same again is answered alike; what is told late changes nothing."""
    await shop.worker.open_room(room)
    await come(shop, room, "ann")
    await shop.figures(room, viewers=1)

    answers = [await put(shop, room, status="created", item="i1", currency="CNY") for _ in "12"]
    assert [a["changed"] for a in answers] == [True, False]
    assert answers[0]["session"] == (await shop.get(room))[1]["session"]
    answer = await put(shop, room, status="paid")
    assert (answer["status"], answer["changed"]) == ("paid", True)
    answer = await put(shop, room, status="created", item="i1")
    assert (answer["status"], answer["changed"]) == ("paid", False)
    await put(shop, room, "o2", user="visitor", amount=300)
    await put(shop, room, "o3", status="created", amount=200)
    await put(shop, room, "o4", status="refunded", amount=100)

    figures = await shop.figures(room)
    assert {name: figures[name] for name in ORDERS} == ORDERS
    assert (await shop.rows(room, "item"))["i1"]["paid_amount"] == 500
    await shop.check(room)


ORDERS = {
    "orders": 4,
    "order_amount": 1100,
    "orderers": 1,
    "paid_orders": 3,
    "paid_amount": 900,
    "pay_rate": 0.75,
    "buyers": 2,
    "viewer_buyers": 1,
    "conversion": 1.0,
    "purchase_rate": 1.0,
    "sales_per_viewer": 900.0,
    "seed_conversion": 900.0,
    "aov": 300.0,
    "per_buyer": 450.0,
    "gpm": 900_000.0,
    "refunds": 1,
    "refund_amount": 100,
    "refund_rate": 1 / 3,
    "net_amount": 800,
}


async def test_orders_buyer_who_comes_later_is_a_viewer_who_bought(shop: Shop, room: str) -> None:
    """Who bought first and looked then is counted among the viewers who bought."""
    await shop.worker.open_room(room)
    await put(shop, room)
    figures = await shop.figures(room, buyers=1)
    assert (figures["viewer_buyers"], figures["conversion"]) == (0, None)
    await come(shop, room, "ann")
    await shop.figures(room, viewers=1, buyers=1, viewer_buyers=1, orderers=1, conversion=1.0)
    await shop.check(room)


BAD_ORDERS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"amount": 501}, "amount_mismatch"),
    ({"user": "bob"}, "exists"),
    ({"item": "i2"}, "exists"),
    ({"sku": "k2"}, "exists"),
    ({"currency": "USD"}, "exists"),
    ({"source": "tv"}, "exists"),
    ({"amount": -1}, "bad_request"),
    ({"amount": 1.5}, "bad_request"),
    ({"amount": 10**13 + 1}, "amount_too_large"),
    ({"status": "lost"}, "bad_request"),
    ({"order": "a b"}, "bad_request"),
    ({"user": "~counters"}, "bad_request"),
    ({"order": "o2", "currency": "USD"}, "bad_request"),
)


async def test_orders_refuse_what_cannot_be(shop: Shop, room: str) -> None:
    """Another content under the same id, amounts and names that are none: nothing changes."""
    await shop.worker.open_room(room)
    await put(shop, room, item="i1", sku="k1", currency="CNY", source="app")
    before = await shop.figures(room)
    for changes, code in BAD_ORDERS:
        assert (await put(shop, room, **changes))["code"] == code, changes
    after = await shop.figures(room)
    assert {n: v for n, v in after.items() if v != before[n]} == {}


@pytest.mark.parametrize("first", ["order.put", "flash.confirm"])
async def test_orders_of_a_flash_sale_count_once(shop: Shop, room: str, first: str) -> None:
    """Paid in the sale and told by the back end, in either order: one order, of the item."""
    worker = shop.worker
    host = await worker.open_control(room)
    await host.ask("room.open")
    sku = {"sku": "k1", "price": 1000, "stock": 10}
    await host.ask("shelf.put", item="i1", title="T", currency="CNY", skus=[sku])
    sale = {"sale": "s1", "sku": "k1", "price": 900, "total": 5, "per_user": 2, "starts_in_s": 0}
    await host.ask("flash.arm", key="arm", run_s=60, **sale)
    ann = await come(shop, room, "ann", "app")
    await shop.figures(room, viewers=1)
    held = await ann.ask("flash.reserve", key="r", sku="k1")
    paid = {"reservation": held["reservation"], "amount": 900, "order": "o1"}

    answers = {}
    for op in (first, "order.put", "flash.confirm", "order.put"):
        d = paid if op == "flash.confirm" else {"order": "o1", "user": "ann", "amount": 900}
        answers[op] = await shop.tell(room, op, **d, **({} if d is paid else {"status": "paid"}))
        assert "code" not in answers[op], answers

    wanted = {"orders": 1, "paid_orders": 1, "paid_amount": 900, "buyers": 1, "viewer_buyers": 1}
    await shop.figures(room, **wanted)
    assert (await shop.rows(room, "source"))["app"]["paid_amount"] == 900
    if first == "flash.confirm":
        assert (await shop.rows(room, "item"))["i1"]["buyers"] == 1
        assert (await shop.get(room))[1]["currency"] == "CNY"
    await shop.check(room)


# Exposures.


async def test_exposures_count_a_viewer_once_in_a_placement_and_window(
    shop: Shop, room: str
) -> None:
    """What is told again adds nothing; another window or placement does."""
    await shop.worker.open_room(room)
    people = [f"x{n}" for n in range(20)]

    async def expose(**d: Any) -> Any:
        return (await shop.tell(room, "exposure.put", **d)).get("counted")

    assert await expose(placement="feed", viewers=people) == 20
    assert await expose(placement="feed", viewers=people) == 0
    assert await expose(placement="feed", viewers=[*people[:5], "y"]) == 1
    assert await expose(placement="feed", viewers=people, window="10:05") == 20
    assert await expose(placement="push", viewers=people[:4], source="app") == 4
    assert await expose(placement="tv", count=100) == 100
    assert await expose(placement="tv", count=100) == 0
    assert await expose(placement="tv", count=80) == 0
    assert await expose(placement="tv", count=130) == 30
    await come(shop, room, "ann")

    figures = await shop.figures(room, viewers=1, exposures=175)
    assert figures["entry_rate"] == pytest.approx(1 / 175)
    assert (await shop.rows(room, "source"))["app"]["exposures"] == 4


BAD_EXPOSURES: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "bad_request"),
    ({"viewers": ["a"], "count": 1}, "bad_request"),
    ({"viewers": []}, "bad_request"),
    ({"viewers": [f"x{n}" for n in range(1001)]}, "bad_request"),
    ({"viewers": ["a b"]}, "bad_request"),
    ({"count": -1}, "bad_request"),
    ({"count": 10**9 + 1}, "bad_request"),
    ({"count": 1, "placement": "a|b"}, "bad_request"),
    ({"count": 1, "window": "a|b"}, "bad_request"),
    ({"count": 1, "placement": "people"}, "exists"),
    ({"viewers": ["a"], "placement": "many"}, "exists"),
)


async def test_exposures_refuse_what_cannot_be(shop: Shop, room: str) -> None:
    """Who or how many, not both; and a placement is told of in one way."""
    await shop.worker.open_room(room)
    await shop.tell(room, "exposure.put", placement="people", viewers=["a"])
    await shop.tell(room, "exposure.put", placement="many", count=3)
    for d, code in BAD_EXPOSURES:
        answer = await shop.tell(room, "exposure.put", **({"placement": "feed"} | d))
        assert answer["code"] == code, d
    await shop.figures(room, exposures=4)


async def test_exposures_many_windows_are_refused(shop: Shop, room: str) -> None:
    """A thousand pairs of placement and window; a known one may go on."""
    await shop.worker.open_room(room)
    ops = [
        Op("exposure.put", "", {"placement": "p", "window": str(n), "count": 1})
        for n in range(1000)
    ]
    for start in range(0, 1000, 100):
        await shop.worker.node.hub.commit(room, ops[start : start + 100])
    more: dict[str, Any] = {"placement": "p", "count": 2}
    assert (await shop.tell(room, "exposure.put", window="x", **more))["code"] == "limit_reached"
    assert await shop.tell(room, "exposure.put", window="999", **more) == {"counted": 1}


# Satisfaction.


async def test_survey_takes_one_answer_of_a_viewer(shop: Shop, room: str) -> None:
    """The same again is answered alike, another is refused; 4 and 5 are content."""
    await shop.worker.open_room(room)
    people = [await come(shop, room, f"u{n}") for n in range(4)]
    for client, score in zip(people, (5, 4, 1, 3), strict=False):
        assert await client.ask("survey.answer", score=score) == {"score": score}
    assert await people[0].ask("survey.answer", score=5) == {"score": 5}
    assert await people[0].refused("survey.answer", score=1) == "already_done"
    for bad in (0, 6, 2.5, "5", None):
        assert await people[1].refused("survey.answer", score=bad) == "bad_request"

    figures = await shop.figures(room, viewers=4, surveys=4)
    assert (figures["csat"], figures["avg_score"], figures["response_rate"]) == (0.5, 3.25, 1.0)


async def test_survey_texts_are_for_hosts(shop: Shop, room: str) -> None:
    """What viewers wrote, newest first; text that cannot be shown is refused."""
    await shop.worker.open_room(room)
    ann, bob = await come(shop, room, "ann"), await come(shop, room, "bob")
    await ann.ask("survey.answer", score=5, text="great")
    assert await bob.refused("survey.answer", score=5, text="x" * 501) == "bad_request"
    await bob.ask("survey.answer", score=2, text="slow")
    _, answer = await shop.get(room, by="survey")
    texts = [(row["user"], row["score"], row["text"]) for row in answer["rows"]]
    assert sorted(texts) == [("ann", 5, "great"), ("bob", 2, "slow")]


# Segments and minutes.


async def test_segments_divide_what_is_counted(shop: Shop, room: str) -> None:
    """What happens belongs to the segment that was marked last; one may go on later."""
    await shop.worker.open_room(room)
    host, ann = await shop.worker.control(room), await come(shop, room, "ann")
    await ann.ask("like.send", n=1)
    await shop.told(room)
    assert await host.ask("segment.mark", name="开场") == {"segment": "开场", "marked": True}
    assert await host.ask("segment.mark", name="开场") == {"segment": "开场", "marked": False}
    await ann.ask("like.send", n=10)
    await shop.told(room)
    await host.ask("segment.mark", name="sale")
    await put(shop, room)
    await host.ask("segment.mark", name="开场")
    await ann.ask("like.send", n=100)
    await shop.told(room)

    assert (await shop.get(room))[1]["segment"] == "开场"
    rows = await shop.rows(room, "segment")
    assert {n: (r["interactions"], r["paid_amount"]) for n, r in rows.items()} == {
        "开场": (110, 0), "sale": (0, 500),
    }  # fmt: skip
    assert (rows["开场"]["active_viewers"], rows["sale"]["active_viewers"]) == (1, 0)
    assert rows["开场"]["new_viewers"] == 0
    figures = await shop.figures(room, interactions=111)
    assert figures["paid_amount"] == 500


async def test_segments_are_cues_of_a_rundown(shop: Shop, room: str) -> None:
    """A planned `segment.mark` divides the show as one by hand does."""
    await shop.worker.open_room(room)
    host = await shop.worker.control(room)
    cue = {"cue": "c1", "op": "segment.mark", "d": {"name": "warm-up"}, "at_s": 0}
    await host.ask("rundown.put", cues=[cue])
    await host.ask("rundown.start", key="start")
    async with asyncio.timeout(harness.PATIENCE_S):
        while "warm-up" not in await shop.rows(room, "segment"):
            await host.ask("sys.ping")


async def test_segments_refuse_too_many_and_whoever_may_not(shop: Shop, room: str) -> None:
    """64 names; viewers and assistants have no say; none while the room is closed."""
    await shop.worker.open_room(room)
    host = await shop.worker.control(room)
    helper = await shop.worker.control(room, "helper", "assistant")
    ann = await come(shop, room, "ann")
    assert await helper.refused("segment.mark", name="x") == "forbidden"
    assert await ann.refused("segment.mark", name="x") == "unknown_op"
    for number in range(64):
        await host.ask("segment.mark", name=f"s{number}")
    assert await host.refused("segment.mark", name="one more") == "limit_reached"
    await host.ask("segment.mark", name="s0")
    await host.ask("room.close")
    assert await host.refused("segment.mark", name="s1") == "room_closed"


async def test_minutes_are_folded_and_told_to_the_archive(shop: Shop, room: str) -> None:
    """A row for each minute in which something was; its sums are those of the session."""
    seen: list[bytes] = []
    await shop.worker.open_room(room)
    shop.worker.node.hub.room_for(room).observer = lambda entry: seen.append(entry.item)
    ann = await come(shop, room, "ann")
    for n in (1, 2, 4):
        await ann.ask("like.send", n=n)
        await shop.told(room)
        for _ in range(9):
            await shop.pass_time(room, 7)
            await shop.told(room)

    rows = await shop.rows(room, "minute")
    assert [rows[str(n)]["interactions"] for n in range(4)] == [1, 2, 4, 0]
    assert [rows[str(n)]["new_viewers"] for n in range(4)] == [1, 0, 0, 0]
    assert [rows[str(n)]["peak_online"] for n in range(4)] == [1, 1, 1, 1]
    assert rows["1"]["viewer_seconds"] == 60
    figures = await shop.figures(room, interactions=7, peak_online=1, avg_online=1.0)
    assert figures["watch_s"] >= 180
    minutes = [item for item in seen if item.startswith(b'{"ev":"counters.minute"')]
    assert len(minutes) == 2
    assert b'"like":1' in minutes[0]
    await shop.check(room)


# Sessions.


async def test_sessions_end_with_the_room_and_are_kept(shop: Shop, room: str) -> None:
    """Figures stand when the room is closed; the next opening begins at nothing."""
    await shop.worker.open_room(room)
    host, ann = await shop.worker.control(room), await come(shop, room, "ann")
    await ann.ask("like.send", n=3)
    await shop.figures(room, viewers=1, interactions=3, online=1)
    await host.ask("room.close")
    await host.event("room.closed")
    await shop.told(room)
    _, first = await shop.get(room)
    assert first["metrics"]["online"] == 0
    await shop.check(room)
    await shop.pass_time(room, 11)
    _, settled = await shop.get(room)
    assert settled["metrics"] == first["metrics"]

    await host.ask("room.open")
    second = (await shop.get(room))[1]["session"]
    assert second > first["session"]
    await shop.figures(room, viewers=1, views=1, interactions=0, online=1)
    old = (await shop.get(room, session=str(first["session"])))[1]
    assert old["metrics"] == first["metrics"]
    assert old["closed_ms"] == first["closed_ms"]
    _, listed = await shop.get(room, "sessions")
    assert [row["session"] for row in listed["sessions"]] == [second, first["session"]]
    await shop.check(room)


async def test_sessions_take_orders_and_answers_for_a_day_after(shop: Shop, room: str) -> None:
    """What comes after the end belongs to the session, but to no minute of it."""
    await shop.worker.open_room(room)
    host, ann = await shop.worker.control(room), await come(shop, room, "ann")
    await shop.figures(room, viewers=1)
    await put(shop, room, status="created")
    await host.ask("room.close")
    await host.event("room.closed")
    await shop.told(room)
    await shop.pass_time(room, 3600)

    assert (await put(shop, room))["changed"] is True
    await put(shop, room, "o2", amount=100)
    await ann.ask("survey.answer", score=5)
    await shop.tell(room, "exposure.put", placement="feed", count=10)
    wanted = {"orders": 2, "paid_amount": 600, "viewer_buyers": 1, "csat": 1.0, "exposures": 10}
    figures = await shop.figures(room, **wanted)
    assert figures["entry_rate"] == 0.1
    rows = await shop.rows(room, "minute")
    assert sum(row["paid_orders"] for row in rows.values()) == 0

    await shop.pass_time(room, 24 * 3600)
    assert (await put(shop, room, status="refunded"))["changed"] is True
    assert "session" not in await put(shop, room, "o3")
    refused = await shop.tell(room, "exposure.put", placement="feed", count=11)
    assert refused["code"] == "room_closed"
    assert await ann.refused("survey.answer", score=4) == "room_closed"
    await shop.figures(room, paid_amount=600, refunds=1)


async def test_sessions_begin_where_nobody_counted(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Counters that come to a room that is open count from its opening on."""
    plain = await start_worker(embedded_url)
    await plain.open_room(room)
    async with counting(embedded_url) as shop:
        await come(shop, room, "ann")
        await shop.figures(room, viewers=1)
        await shop.check(room)


async def test_sessions_refuse_what_is_not_there(shop: Shop, room: str) -> None:
    """An unknown breakdown or session is told as such."""
    await shop.worker.open_room(room)
    bad: tuple[tuple[dict[str, str], int, str], ...] = (
        ({"by": "hour"}, 400, "bad_request"),
        ({"session": "x"}, 400, "bad_request"),
        ({"session": "-1"}, 400, "bad_request"),
        ({"session": "12345"}, 404, "not_found"),
    )
    for query, status, code in bad:
        answered, body = await shop.get(room, **query)
        assert (answered, body["err"]["code"]) == (status, code), query


async def test_sessions_are_for_hosts(shop: Shop, room: str) -> None:
    """Of a room that was never opened there are none; moderators may not look."""
    status, body = await shop.get(room)
    assert (status, body["err"]["code"]) == (404, "not_found")
    assert (await shop.get(room, "sessions"))[1] == {"sessions": []}
    await shop.worker.open_room(room)
    status, body = await shop.get(room, role="moderator")
    assert (status, body["err"]["code"]) == (403, "forbidden")
    assert (await shop.get(room, role="service"))[0] == 200
    assert (await shop.get(room))[1]["aliases"]["转化率"] == "sales_per_viewer"


# Watching.


async def test_watching_tells_the_figures_every_second(
    embedded_url: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked is told what the API shows, until no more is wanted."""
    monkeypatch.setattr("liveroom_plugins.counters.plugin._TELL_S", 0.1)
    async with counting(embedded_url) as shop:
        await watch_figures(shop, room)


async def watch_figures(shop: Shop, room: str) -> None:
    """Watch, compare, and watch no more; the second is short here."""
    await shop.worker.open_room(room)
    host = await shop.worker.control(room)
    other = await shop.worker.control(room, "other")
    helper = await shop.worker.control(room, "helper", "assistant")
    ann = await come(shop, room, "ann")
    assert await host.ask("counters.watch") == {"watching": True}
    assert await other.ask("counters.watch") == {"watching": True}
    assert await helper.refused("counters.watch") == "forbidden"
    assert await ann.refused("counters.watch") == "unknown_op"
    await ann.ask("like.send", n=7)

    def shows(item: dict[str, Any]) -> bool:
        return item.get("ev") == "counters" and item["d"]["metrics"]["interactions"] == 7

    told = (await host.item(shows))["d"]
    _, shown = await shop.get(room)
    assert told["session"] == shown["session"]
    assert told["metrics"].keys() == shown["metrics"].keys()
    assert await host.ask("counters.watch", on=False) == {"watching": False}
    await host.ask("room.update", title="x")
    count = len(host.events("counters"))
    await other.item(lambda item: len(other.events("counters")) >= count + 2)
    assert len(host.events("counters")) == count
    await other.close()
    await shop.figures(room, viewers=1)


async def test_figures_are_for_other_plugins(shop: Shop, room: str) -> None:
    """Alerts read every metric that has a value; of a room without a session there is none."""
    hub = shop.worker.node.hub
    assert await hub.figures("counters", hub.room_for(room)) == {}
    await shop.worker.open_room(room)
    ann = await come(shop, room, "ann")
    await ann.ask("like.send", n=7)
    await put(shop, room)
    await shop.figures(room, interactions=7, viewers=1)
    figures = await hub.figures("counters", hub.room_for(room))
    assert (figures["kinds.like"], figures["paid_amount"], figures["conversion"]) == (7, 500, 1.0)
    assert "csat" not in figures


async def test_counters_ride_with_the_message_that_they_count(
    shop: Shop, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet room in which somebody says something is committed once, not twice."""
    await shop.worker.open_room(room)
    ann = await come(shop, room, "ann")
    await shop.figures(room, viewers=1)
    await shop.told(room)
    await shop.pass_time(room, 1)
    store, batches = shop.worker.node.hub.store, list[Batch]()
    commit = store.commit

    async def watched(scope: str, batch: Batch) -> Committed:
        if any(op.name == "counters.add" and "d" in op.body for op in batch.ops):
            batches.append(batch)
        return await commit(scope, batch)

    monkeypatch.setattr(store, "commit", watched)
    await ann.ask("danmaku.send", text="hello")
    await shop.figures(room, interactions=1)

    assert [bool(batch.ephemeral) for batch in batches] == [True]


# Faults.


async def test_worker_that_dies_takes_along_what_it_had_not_told(
    pair: tuple[Shop, Shop], room: str
) -> None:
    """Its viewers were there until it told last; those who are elsewhere stay."""
    dying, other = pair
    await other.worker.open_room(room)
    await come(dying, room, "ann")
    await come(dying, room, "bob")
    await come(other, room, "bob")
    await other.figures(room, viewers=2, online=2)
    await dying.told(room)
    for job in dying.worker.node.hub._jobs:
        job.cancel()
    await other.pass_time(room, 9)
    await other.told(room)
    await other.pass_time(room, 9)
    await other.told(room)

    figures = await other.figures(room, viewers=2, online=1)
    assert 18 <= figures["watch_s"] < 27  # not both of them for 18 seconds
    await other.check(room)


async def test_worker_that_comes_back_loses_nothing(shop: Shop, room: str) -> None:
    """It was taken for dead: its viewers are told of anew, and no time is counted twice."""
    await shop.worker.open_room(room)
    ann = await come(shop, room, "ann")
    await come(shop, room, "bob")
    await shop.figures(room, viewers=2, online=2)
    await shop.pass_time(room, 30)
    await shop.told(room)
    figures = await shop.figures(room, viewers=2, online=2, views=2)
    assert 60 <= figures["watch_s"] < 75
    await shop.check(room)
    await gone(shop, room, ann)
    await shop.told(room)
    await shop.figures(room, online=1)
    await shop.check(room)


async def test_answers_that_are_lost_double_nothing(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """A page whose answer never came is told again, and passed over."""
    target = unquote(embedded_url.removeprefix("unix://"))
    async with (
        FaultProxy(target, tmp_path) as proxy,
        counting(embedded_url) as near,
        counting(proxy.url, store_timeout_ms=300) as far,
    ):
        await near.worker.open_room(room)
        ann = await come(far, room, "ann")
        await near.figures(room, viewers=1)
        for n in (1, 10, 100):
            lost = proxy.lose_reply_to(b"counters.add")
            await ann.ask("like.send", n=n)
            await asyncio.wait_for(lost.wait(), harness.PATIENCE_S)
            await far.told(room)
        await near.figures(room, interactions=111, viewers=1, views=1, online=1)
        await near.check(room)


async def test_store_that_is_away_loses_nothing(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """What was gathered meanwhile is told when it is back."""
    target = unquote(embedded_url.removeprefix("unix://"))
    async with (
        FaultProxy(target, tmp_path) as proxy,
        counting(embedded_url) as near,
        counting(proxy.url, store_timeout_ms=200) as far,
    ):
        await near.worker.open_room(room)
        ann = await come(far, room, "ann")
        await near.figures(room, viewers=1)
        links = proxy.command_links()
        for link in links:
            link.up.hold()
        for _ in range(20):
            await ann.ask("like.send", n=5)
        await asyncio.sleep(3 * FLUSH_MS / 1000)
        for link in links:
            link.up.release()
        await near.figures(room, interactions=100, viewers=1, online=1)


async def test_stop_tells_what_is_left(store_url: str, room: str) -> None:
    """A worker that is stopped leaves nothing untold, and its viewers have left."""
    async with counting(store_url) as other:
        await other.worker.open_room(room)
        async with counting(store_url, plugin={"counters": {"flush_ms": 10_000}}) as shop:
            await come(shop, room, "bob")
            ann = await come(shop, room, "ann")
            await ann.ask("like.send", n=9)
        await other.figures(room, interactions=9, viewers=2, views=2, online=0)
        await other.check(room)


async def test_options_that_cannot_be_are_refused(embedded_url: str) -> None:
    """The engine does not start, and says which option is wrong."""
    with pytest.raises(ConfigError, match=r"plugin\.counters"):
        async with counting(embedded_url, plugin={"counters": {"flush_ms": 50}}):
            pass
