"""From the sums of a session to its metrics: every formula of docs/counters.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from liveroom_plugins.counters.kinds import INTERACTIONS


__all__ = ["ALIASES", "metrics_of", "row_of"]

ALIASES: Final = {
    "观众数量": "viewers",
    "停留时长": "avg_watch_s",
    "人均观看时长": "avg_watch_s",
    "进入率": "entry_rate",
    "互动次数": "interactions",
    "转化率": "sales_per_viewer",
    "seed_conversion": "sales_per_viewer",
    "uv_value": "sales_per_viewer",
    "pcu": "peak_online",
    "acu": "avg_online",
    "客单价": "aov",
    "购买率": "purchase_rate",
    "用户满意度": "csat",
}
"""What a term of the source document is called here."""

_NAMES: Final = {
    "viewers": "viewers",
    "views": "views",
    "exposures": "exposures",
    "act": "interactions",
    "act_users": "interacting_viewers",
    "click": "product_clicks",
    "click_users": "product_clickers",
    "cart": "carts",
    "cart_users": "carters",
    "orders": "orders",
    "order_amount": "order_amount",
    "order_users": "orderers",
    "paid_orders": "paid_orders",
    "paid_amount": "paid_amount",
    "buyers": "buyers",
    "buy_users": "viewer_buyers",
    "refunds": "refunds",
    "refund_amount": "refund_amount",
    "gift_value": "gift_amount",
    "follow": "new_fans",
    "surveys": "surveys",
    "good": "good_comments",
    "bad": "bad_comments",
    "answers": "questions_answered",
}
"""A sum of the store -> what it is called in the figures."""

_RATES: Final = {
    "entry_rate": ("viewers", "exposures"),
    "interaction_rate": ("interacting_viewers", "viewers"),
    "product_click_rate": ("product_clickers", "viewers"),
    "cart_rate": ("carters", "product_clickers"),
    "pay_rate": ("paid_orders", "orders"),
    "conversion": ("viewer_buyers", "viewers"),
    "purchase_rate": ("viewer_buyers", "viewers"),
    "sales_per_viewer": ("paid_amount", "viewers"),
    "seed_conversion": ("paid_amount", "viewers"),
    "aov": ("paid_amount", "paid_orders"),
    "per_buyer": ("paid_amount", "buyers"),
    "refund_rate": ("refunds", "paid_orders"),
    "new_fan_rate": ("new_fans", "viewers"),
    "response_rate": ("surveys", "viewers"),
}
"""A rate -> what is divided by what."""

_OTHER_KIND: Final = "did_"  # before the kinds that other plugins name: nobody counts their heads

Sums = Mapping[str, int]


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _counts(sums: Sums) -> dict[str, Any]:
    found: dict[str, Any] = {name: sums.get(raw, 0) for raw, name in _NAMES.items()}
    found["kinds"] = {
        kind: {"n": sums.get(kind, 0), "viewers": sums.get(f"{kind}_users", 0)}
        for kind in INTERACTIONS
    }
    for raw in sums:
        if raw.startswith(_OTHER_KIND):
            found["kinds"][raw.removeprefix(_OTHER_KIND)] = {"n": sums[raw]}
    return found


def _rates(found: Mapping[str, Any], sums: Sums) -> dict[str, float | None]:
    rates = {name: _share(found[a], found[b]) for name, (a, b) in _RATES.items()}
    rates["gpm"] = _share(found["paid_amount"] * 1000, found["views"])
    judged = found["good_comments"] + found["bad_comments"]
    rates["comment_sentiment"] = _share(found["good_comments"], judged)
    rates["csat"] = _share(sums.get("survey_good", 0), found["surveys"])
    rates["avg_score"] = _share(sums.get("survey_sum", 0), found["surveys"])
    rates["avg_answer_s"] = _share(sums.get("answer_ms", 0) / 1000, found["questions_answered"])
    return rates


def metrics_of(read: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a session.

    Args:
        read: what `counters.read` answers.
    """
    sums, dwell, online = read["totals"], read["dwell"], read["online"]
    found = _counts(sums)
    found |= _rates(found, sums)
    exposed = sums.get("item_exposed", 0) + sums.get("item_exposed_told", 0)
    return found | {
        "net_amount": found["paid_amount"] - found["refund_amount"],
        "product_exposed": exposed,
        "product_ctr": _share(found["product_clickers"], exposed),
        "online": online["now"],
        "peak_online": online["peak"],
        "avg_online": online["max_sum"] / online["minutes"],
        "watch_s": dwell["sum_ms"] / 1000,
        "avg_watch_s": _share(dwell["sum_ms"] / 1000, found["viewers"]),
        "median_watch_s": _seconds(dwell.get("median_ms")),
        "p90_watch_s": _seconds(dwell.get("p90_ms")),
        "median_answer_s": _seconds(read.get("answer_median_ms")),
    }


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def row_of(by: str, raw: Mapping[str, Any], opened_ms: int) -> dict[str, Any]:
    """Return a row of a breakdown as it is shown."""
    return _ROWS[by](raw, opened_ms)


def _source_row(raw: Mapping[str, Any], _: int) -> dict[str, Any]:
    found = _counts(raw)
    return {"source": raw["source"], **found, **_rates(found, raw)}


def _stretch(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a minute and a segment have: whoever did something there, not who was new."""
    found = _counts(raw)
    found["new_viewers"] = found.pop("viewers")
    found["active_viewers"] = raw.get("active", 0)
    found["peak_online"] = raw.get("online_max", 0)
    found["viewer_seconds"] = raw.get("online_s", 0)
    for name in ("interacting_viewers", "product_clickers", "carters", "orderers"):
        del found[name]  # of whoever did it for the first time in the session
    found["new_buyers"] = found.pop("buyers")
    del found["viewer_buyers"]
    found["kinds"] = {kind: row["n"] for kind, row in found["kinds"].items()}
    return found


def _minute_row(raw: Mapping[str, Any], opened_ms: int) -> dict[str, Any]:
    minute = raw["minute"]
    return {"minute": minute, "from_ms": opened_ms + minute * 60_000, **_stretch(raw)}


def _segment_row(raw: Mapping[str, Any], _: int) -> dict[str, Any]:
    lasted = raw.get("lasted_ms", 0) / 1000
    found = _stretch(raw)
    avg_online = _share(found["viewer_seconds"], lasted)
    return {"segment": raw["segment"], "lasted_s": lasted, **found, "avg_online": avg_online}


_ITEM: Final = (
    "clicks",
    "clickers",
    "carts",
    "units",
    "orders",
    "order_amount",
    "paid_orders",
    "paid_amount",
    "buyers",
    "refunds",
    "refund_amount",
)


def _item_row(raw: Mapping[str, Any], _: int) -> dict[str, Any]:
    found = {name: raw.get(name, 0) for name in _ITEM}
    exposed = raw.get("exposed", 0) + raw.get("exposed_told", 0)
    rates = {
        "exposed": exposed,
        "ctr": _share(found["clickers"], exposed),
        "pay_rate": _share(found["paid_orders"], found["orders"]),
    }
    return {"item": raw["item"], **found, **rates}


def _survey_row(raw: Mapping[str, Any], _: int) -> dict[str, Any]:
    return dict(raw)


_ROWS: Final = {
    "minute": _minute_row,
    "source": _source_row,
    "segment": _segment_row,
    "item": _item_row,
    "survey": _survey_row,
}
