"""The recomputation, by hand: small shows whose figures can be counted on fingers."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from liveroom_plugins.counters.batch import GRACE_MS, recompute
from liveroom_plugins.counters.records import Record


OPENED, MINUTE = 1_000_000, 60_000
END = OPENED + 3 * MINUTE


def at(ms: int, kind: str, **more: Any) -> Record:
    """Return a record of so long after the opening."""
    return Record(ts=OPENED + ms, kind=kind, **more)


def visit(user: str, first: int, past: int, via: str = "w1", source: str = "") -> list[Record]:
    """Return a visit."""
    known: dict[str, Any] = {"user": user, "via": via}
    return [
        at(first, "enter", at=OPENED + first, source=source, **known),
        at(past, "leave", at=OPENED + past, **known),
    ]


def metrics(records: list[Record], until: int = END, *, closed: bool = True) -> dict[str, Any]:
    """Return the metrics of a session of three minutes."""
    found: dict[str, Any] = recompute(records, OPENED, until, closed=closed)["metrics"]
    return found


def test_batch_visits_of_one_viewer_are_joined() -> None:
    """Overlaps count once, gaps do not count; what is open lasts until the end."""
    records = visit("ann", 0, 10_000) + visit("ann", 5000, 12_000, "w2")
    records += visit("ann", 20_000, 21_000)
    records += visit("bob", 170_000, 500_000)
    records.append(at(60_000, "enter", user="cy", at=OPENED + 60_000))
    found = metrics(records)
    assert (found["viewers"], found["watch_s"]) == (3, 13.0 + 10.0 + 120.0)
    assert (found["median_watch_s"], found["p90_watch_s"]) == (13.0, 13.0)


def test_batch_online_is_counted_at_full_seconds() -> None:
    """A visit covers the seconds that lie in it; each minute has its own peak."""
    records = visit("a", 100, 2500) + visit("b", 1000, 2000) + visit("c", 1001, 1999)
    records += visit("d", 120_000, 121_000)
    found = recompute(records, OPENED, END)
    assert (found["metrics"]["peak_online"], found["metrics"]["avg_online"]) == (2, 1.0)
    minutes = {n: (r["peak_online"], r["viewer_seconds"]) for n, r in found["minute"].items()}
    assert {n: row for n, row in minutes.items() if any(row)} == {"0": (2, 3), "2": (1, 1)}


def test_batch_counts_by_minute_source_and_segment() -> None:
    """What is gathered has the connection's source, what the store counts the viewer's first."""
    records = [
        *visit("ann", 0, 100_000, source="app"),
        at(1000, "like", user="ann", source="tv", n=5),
        at(2000, "segment", name="part"),
        at(61_000, "vote", user="ann"),
        at(61_000, "vote", user="stranger"),
        at(62_000, "gift", user="ann", amount=300),
    ]
    found = recompute(records, OPENED, END)
    assert found["metrics"]["interactions"] == 8
    assert found["metrics"]["kinds"]["vote"] == {"n": 2, "viewers": 1}
    assert found["minute"]["0"]["interactions"] == 5
    assert found["minute"]["1"]["kinds"]["vote"] == 2
    sources = {name: row["interactions"] for name, row in found["source"].items()}
    assert sources == {"app": 2, "tv": 5, "": 1}
    assert found["source"]["app"]["interacting_viewers"] == 1
    part = found["segment"]["part"]
    assert (part["interactions"], part["gift_amount"], part["lasted_s"]) == (3, 300, 178.0)


def test_batch_deleted_messages_count_nowhere() -> None:
    """Their authors did something in that minute all the same; too late a deletion is none."""
    said: dict[str, Any] = {"user": "ann", "source": "app", "mood": "b"}
    records = [
        *visit("ann", 0, 100_000, source="app"),
        *visit("bob", 0, 100_000),
        at(1000, "danmaku", id="1", deleted=OPENED + 5000, **said),
        at(61_000, "danmaku", id="2", user="bob", mood="g"),
        at(62_000, "danmaku", id="3", user="bob", deleted=END + GRACE_MS),
        at(63_000, "danmaku", id="4", user="bob", deleted=END + GRACE_MS - 1),
    ]
    found = recompute(records, OPENED, END)
    told = found["metrics"]
    assert told["kinds"]["danmaku"] == {"n": 2, "viewers": 1}
    assert (told["interactions"], told["interacting_viewers"]) == (2, 1)
    assert (told["good_comments"], told["bad_comments"], told["comment_sentiment"]) == (1, 0, 1.0)
    assert "app" not in found["source"] or found["source"]["app"]["interactions"] == 0
    minutes = {n: (r["interactions"], r["active_viewers"]) for n, r in found["minute"].items()}
    assert (minutes["0"], minutes["1"]) == ((0, 1), (2, 1))


def test_batch_orders_go_one_way() -> None:
    """The first record of an order says what it is; every status counts once."""
    order: dict[str, Any] = {"user": "ann", "order": "o1", "amount": 500, "item": "i1"}
    records = [
        *visit("ann", 0, 100_000),
        at(1000, "order", status="created", **order),
        at(2000, "order", status="paid", **order),
        at(3000, "order", status="created", **order),
        at(4000, "order", status="paid", **order | {"amount": 999}),
        at(5000, "order", status="refunded", **order | {"order": "o2", "user": "stranger"}),
    ]
    found = recompute(records, OPENED, END)
    told = found["metrics"]
    assert (told["orders"], told["paid_orders"], told["refunds"]) == (2, 2, 1)
    assert (told["paid_amount"], told["net_amount"], told["aov"]) == (1000, 500, 500.0)
    assert (told["buyers"], told["viewer_buyers"], told["conversion"]) == (2, 1, 1.0)
    assert found["item"]["i1"]["buyers"] == 2


def test_batch_exposures_count_once_in_a_window() -> None:
    """By viewer where they are named, else the largest number that was told."""
    shown: dict[str, Any] = {"name": "feed", "window": "1"}
    records = [
        at(1, "exposure", users=("a", "b"), **shown),
        at(2, "exposure", users=("b", "c"), **shown),
        at(3, "exposure", users=("b",), name="feed", window="2", item="i1"),
        at(4, "exposure", n=10, name="tv"),
        at(5, "exposure", n=7, name="tv"),
        at(6, "exposure", n=12, name="tv"),
    ]
    found = recompute(records, OPENED, END)
    assert found["metrics"]["exposures"] == 3 + 1 + 12
    assert found["item"]["i1"]["exposed"] == 1


def test_batch_what_comes_after_the_end_has_no_minute() -> None:
    """Ten seconds are given; later it belongs to the session alone."""
    order: dict[str, Any] = {"user": "ann", "amount": 100, "status": "paid"}
    late = 3 * MINUTE + GRACE_MS
    records = [
        at(late - 1, "order", order="o1", **order),
        at(late, "order", order="o2", **order),
    ]
    found = recompute(records, OPENED, END)
    assert found["metrics"]["paid_orders"] == 2
    assert {n: row["paid_orders"] for n, row in found["minute"].items()} == {"2": 1}


def test_batch_of_nothing() -> None:
    """An empty session has zeros, and no rates."""
    found = metrics([])
    assert (found["viewers"], found["peak_online"], found["watch_s"]) == (0, 0, 0.0)
    assert {found[name] for name in ("aov", "entry_rate", "median_watch_s")} == {None}


spans = st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000)), max_size=12)


@given(spans)
def test_batch_time_is_that_of_a_count_by_milliseconds(visits: list[tuple[int, int]]) -> None:
    """However visits overlap: as many as there are milliseconds in any of them."""
    records = []
    covered: set[int] = set()
    for number, (first, length) in enumerate(visits):
        records += visit("ann", first, first + length, via=f"w{number}")
        covered |= set(range(first, first + length))
    assert metrics(records)["watch_s"] == len(covered) / 1000
