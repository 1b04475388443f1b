"""Formulas of the recomputation: rates, rows of stretches and items."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Final


__all__ = [
    "GATHERED",
    "SHOWN",
    "STORED",
    "Cell",
    "heads_of",
    "item_row",
    "rates",
    "share",
    "stretch_row",
    "value_at",
]

GATHERED: Final = frozenset({"view", "like", "danmaku", "share", "click", "cart"})
"""Kinds that workers gather: under the source of the connection."""
STORED: Final = frozenset(
    {
        "coupon",
        "follow",
        "gift",
        "lottery",
        "question",
        "quiz",
        "redpacket",
        "survey",
        "upvote",
        "vote",
    }
)
"""Kinds that the store counts: under the source through which the user came first."""
SHOWN: Final = ("like", "danmaku", "share", *sorted(STORED - {"survey"}))


def share(part: float, whole: float) -> float | None:
    """Divide, where there is something to divide by."""
    return part / whole if whole else None


class Cell:
    """What is counted in one place: the session, a minute, a source, an item or a segment."""

    def __init__(self) -> None:
        self.n: Counter[str] = Counter()
        self.users: defaultdict[str, set[str]] = defaultdict(set)


def heads_of(users: dict[str, set[str]], viewers: set[str]) -> dict[str, int]:
    """Return how many of these viewers did what."""
    heads = {kind: len(users[kind] & viewers) for kind in [*SHOWN, "act", "click", "cart"]}
    heads |= {kind: len(users[kind] & viewers) for kind in ("order", "buy")}
    return heads | {"viewers": len(viewers), "buyers": len(users["buyers"])}


def rates(n: Counter[str], heads: dict[str, int]) -> dict[str, Any]:
    """Return the figures that a session and each of its sources have."""
    viewers, paid, amount = heads["viewers"], n["paid_orders"], n["paid_amount"]
    return {
        "viewers": viewers,
        "views": n["views"],
        "exposures": n["exposures"],
        "entry_rate": share(viewers, n["exposures"]),
        "interactions": n["act"],
        "interacting_viewers": heads["act"],
        "interaction_rate": share(heads["act"], viewers),
        "kinds": {kind: {"n": n[kind], "viewers": heads[kind]} for kind in SHOWN},
        "product_clicks": n["click"],
        "product_clickers": heads["click"],
        "product_click_rate": share(heads["click"], viewers),
        "carts": n["cart"],
        "carters": heads["cart"],
        "cart_rate": share(heads["cart"], heads["click"]),
        "orders": n["orders"],
        "order_amount": n["order_amount"],
        "orderers": heads["order"],
        "paid_orders": paid,
        "paid_amount": amount,
        "pay_rate": share(paid, n["orders"]),
        "buyers": heads["buyers"],
        "viewer_buyers": heads["buy"],
        "conversion": share(heads["buy"], viewers),
        "purchase_rate": share(heads["buy"], viewers),
        "sales_per_viewer": share(amount, viewers),
        "seed_conversion": share(amount, viewers),
        "aov": share(amount, paid),
        "per_buyer": share(amount, heads["buyers"]),
        "gpm": share(amount * 1000, n["views"]),
        "refunds": n["refunds"],
        "refund_amount": n["refund_amount"],
        "refund_rate": share(n["refunds"], paid),
        "gift_amount": n["gift_value"],
        "new_fans": n["follow"],
        "new_fan_rate": share(n["follow"], viewers),
        **_satisfaction(n, viewers),
        "questions_answered": n["answers"],
        "avg_answer_s": share(n["answer_ms"] / 1000, n["answers"]),
    }


def _satisfaction(n: Counter[str], viewers: int) -> dict[str, Any]:
    return {
        "good_comments": n["good"],
        "bad_comments": n["bad"],
        "comment_sentiment": share(n["good"], n["good"] + n["bad"]),
        "surveys": n["surveys"],
        "csat": share(n["survey_good"], n["surveys"]),
        "avg_score": share(n["survey_sum"], n["surveys"]),
        "response_rate": share(n["surveys"], viewers),
    }


def stretch_row(cell: Cell, online: list[int]) -> dict[str, Any]:
    """Return the row of a minute or a segment; `online`: viewers at each of its seconds."""
    n = cell.n
    names = ["views", "exposures", "orders", "order_amount", "paid_orders", "paid_amount"]
    names += ["refunds", "refund_amount", "surveys"]
    return {
        **{name: n[name] for name in names},
        "good_comments": n["good"],
        "bad_comments": n["bad"],
        "new_viewers": n["viewers"],
        "new_buyers": n["buyers"],
        "interactions": n["act"],
        "kinds": {kind: n[kind] for kind in SHOWN},
        "product_clicks": n["click"],
        "carts": n["cart"],
        "gift_amount": n["gift_value"],
        "new_fans": n["follow"],
        "questions_answered": n["answers"],
        "active_viewers": len(cell.users["active"]),
        "peak_online": max(online, default=0),
        "viewer_seconds": sum(online),
    }


def item_row(cell: Cell) -> dict[str, Any]:
    """Return the row of an item of the shelf."""
    n, users = cell.n, cell.users
    names = ("clicks", "carts", "units", "orders", "order_amount", "paid_orders", "paid_amount")
    clickers, exposed = len(users["clickers"]), len(users["exposed"]) + n["exposed"]
    return {
        **{name: n[name] for name in (*names, "refunds", "refund_amount")},
        "clickers": clickers,
        "buyers": len(users["buyers"]),
        "exposed": exposed,
        "ctr": share(clickers, exposed),
        "pay_rate": share(n["paid_orders"], n["orders"]),
    }


def value_at(values: list[int], q: float) -> float | None:
    """Return the value of rank `floor(q * (n - 1))`, in seconds."""
    return values[int(q * (len(values) - 1))] / 1000 if values else None
