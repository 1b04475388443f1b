"""Formulas: by hand, over sums as the store has them."""

from __future__ import annotations

from typing import Any

from liveroom_plugins.counters.figures import ALIASES, metrics_of, row_of


SUMS = {
    "viewers": 200, "views": 250, "exposures": 4000, "act": 900, "act_users": 50, "like": 600,
    "like_users": 40, "danmaku": 300, "danmaku_users": 30, "click": 80, "click_users": 60,
    "cart": 20, "cart_users": 15, "orders": 10, "order_amount": 12_000, "order_users": 8,
    "paid_orders": 8, "paid_amount": 10_000, "buyers": 6, "buy_users": 5, "refunds": 2,
    "refund_amount": 3000, "gift_value": 700, "follow": 12, "surveys": 10, "survey_sum": 41,
    "survey_good": 7, "good": 30, "bad": 10, "answers": 4, "answer_ms": 10_000, "item_exposed": 100, "item_exposed_told": 20,
}  # fmt: skip


def read(**changes: Any) -> dict[str, Any]:
    """Return what the store answers."""
    return {
        "totals": SUMS,
        "dwell": {"n": 200, "sum_ms": 12_000_000, "median_ms": 30_000, "p90_ms": 120_000},
        "online": {"now": 70, "peak": 120, "max_sum": 300, "minutes": 4},
        "answer_median_ms": 1500,
    } | changes


def test_metrics_by_hand() -> None:
    """Every rate is the quotient that its name says."""
    metrics = metrics_of(read())
    expected = {
        "viewers": 200,
        "views": 250,
        "online": 70,
        "peak_online": 120,
        "avg_online": 75.0,
        "watch_s": 12_000.0,
        "avg_watch_s": 60.0,
        "median_watch_s": 30.0,
        "p90_watch_s": 120.0,
        "entry_rate": 0.05,
        "interactions": 900,
        "interaction_rate": 0.25,
        "product_click_rate": 0.3,
        "product_exposed": 120,
        "product_ctr": 0.5,
        "cart_rate": 0.25,
        "pay_rate": 0.8,
        "conversion": 0.025,
        "purchase_rate": 0.025,
        "sales_per_viewer": 50.0,
        "seed_conversion": 50.0,
        "aov": 1250.0,
        "per_buyer": 10_000 / 6,
        "gpm": 40_000.0,
        "refund_rate": 0.25,
        "net_amount": 7000,
        "new_fan_rate": 0.06,
        "good_comments": 30,
        "comment_sentiment": 0.75,
        "csat": 0.7,
        "avg_score": 4.1,
        "response_rate": 0.05,
        "avg_answer_s": 2.5,
        "median_answer_s": 1.5,
    }
    assert {name: metrics[name] for name in expected} == expected
    assert metrics["kinds"]["like"] == {"n": 600, "viewers": 40}
    assert metrics["kinds"]["vote"] == {"n": 0, "viewers": 0}


def test_metrics_of_nothing_are_none_and_not_zero() -> None:
    """Where there is nothing to divide by there is no rate."""
    metrics = metrics_of(
        read(totals={}, dwell={"n": 0, "sum_ms": 0}, online=read()["online"] | {"max_sum": 0})
        | {"answer_median_ms": None}
    )
    rates = ("entry_rate", "conversion", "aov", "gpm", "csat", "avg_watch_s", "median_watch_s")
    assert {metrics[name] for name in rates} == {None}
    assert (metrics["viewers"], metrics["watch_s"], metrics["avg_online"]) == (0, 0.0, 0.0)


def test_aliases_name_metrics() -> None:
    """Each term of the source document leads to a figure."""
    assert set(ALIASES.values()) <= metrics_of(read()).keys()


def test_rows_of_a_stretch_say_who_was_new() -> None:
    """Sums over minutes or segments of heads would count some twice: those are not there."""
    raw = {"minute": 3, "online_max": 9, "online_s": 300, "active": 7, **SUMS}
    row = row_of("minute", raw, 1_000_000)
    assert (row["minute"], row["from_ms"]) == (3, 1_180_000)
    assert (row["new_viewers"], row["active_viewers"], row["new_buyers"]) == (200, 7, 6)
    assert (row["peak_online"], row["viewer_seconds"]) == (9, 300)
    assert row["kinds"]["like"] == 600
    assert not row.keys() & {"viewers", "interacting_viewers", "buyers", "viewer_buyers"}

    segment = row_of("segment", {"segment": "a", "lasted_ms": 60_000, "online_s": 300}, 0)
    assert (segment["lasted_s"], segment["avg_online"]) == (60.0, 5.0)
    assert row_of("segment", {"segment": "b"}, 0)["avg_online"] is None


def test_rows_of_sources_and_items_have_rates() -> None:
    """A source has all that a session has of people; an item its own way to a sale."""
    source = row_of("source", {"source": "app", **SUMS}, 0)
    assert (source["source"], source["conversion"], source["gpm"]) == ("app", 0.025, 40_000.0)
    raw = {"item": "i1", "clicks": 9, "clickers": 3, "exposed": 4, "exposed_told": 2, "orders": 2}
    item = row_of("item", raw | {"paid_orders": 1, "paid_amount": 500}, 0)
    assert (item["exposed"], item["ctr"], item["pay_rate"]) == (6, 0.5, 0.5)
    assert (item["paid_amount"], item["refunds"]) == (500, 0)
    answer = {"user": "ann", "score": 5, "text": "good", "ts": 1}
    assert row_of("survey", answer, 0) == answer
