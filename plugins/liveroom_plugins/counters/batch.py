"""The same figures from records, all at once and exactly: what the live ones are held against.

It shares nothing with the live way but the names: no sketches, no pages, no partial sums. What it
costs in memory does not matter here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from math import ceil
from typing import Any, Final

from liveroom_plugins.counters.formulas import (
    GATHERED,
    Cell,
    heads_of,
    item_row,
    rates,
    share,
    stretch_row,
    value_at,
)
from liveroom_plugins.counters.mood import BAD, GOOD
from liveroom_plugins.counters.records import Record


__all__ = ["SKETCHED", "recompute"]

SKETCHED: Final = {
    "median_watch_s": 0.01,
    "p90_watch_s": 0.01,
    "median_answer_s": 0.01,
    "exposures": 0.04,
    "entry_rate": 0.04,
    "product_exposed": 0.04,
    "product_ctr": 0.04,
    "active_viewers": 0.04,
    "clickers": 0.04,
    "exposed": 0.04,
    "ctr": 0.08,
}
"""Live figures that are estimates: by how much they may be off, relatively.

4 % are five standard errors. The exposures of a minute are off by a share of the session's.
"""

GRACE_MS: Final = 10_000
"""What comes so soon after the end belongs to the last minute; what comes later to none."""

_MOODS = {GOOD: "good", BAD: "bad"}
_STATUS = ("created", "paid", "refunded")

Rows = dict[str, dict[str, Any]]


def recompute(
    records: Iterable[Record], opened_ms: int, until_ms: int, *, closed: bool = True
) -> dict[str, Any]:
    """Return what a session adds up to.

    Args:
        records: what happened, in the order in which it was counted.
        opened_ms: when it began.
        until_ms: when it ended, or as of when.
        closed: whether it ended then.

    Returns:
        `metrics`, and the rows of `minute`, `source`, `item` and `segment` by what they are called.
    """
    batch = _Batch(opened_ms, until_ms, closed=closed)
    for record in records:
        batch.take(record)
    return batch.result()


class _Visits:
    """When each user was there, over all workers."""

    def __init__(self, opened: int, until: int) -> None:
        self._opened, self._until = opened, until
        self._begun: dict[tuple[str, str], int] = {}
        self._spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)

    def enter(self, record: Record) -> None:
        self._begun[record.user, record.via] = record.at

    def leave(self, record: Record) -> None:
        self._add(record.user, self._begun.pop((record.user, record.via)), record.at)

    def joined(self) -> dict[str, list[tuple[int, int]]]:
        """Return the stretches of each user, in ms since the beginning, without overlaps."""
        for (user, _), at in self._begun.items():
            self._add(user, at, self._until)
        self._begun.clear()
        return {user: _union(spans) for user, spans in self._spans.items()}

    def _add(self, user: str, first: int, past: int) -> None:
        first = max(first, self._opened) - self._opened
        past = min(past, self._until) - self._opened
        if first < self._until - self._opened:
            self._spans[user].append((first, max(first, past)))


def _union(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, past in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], past))
        else:
            joined.append((first, past))
    return joined


class _Batch:
    def __init__(self, opened: int, until: int, *, closed: bool) -> None:
        self._opened, self._until, self._closed = opened, until, closed
        self._visits = _Visits(opened, until)
        self._total = Cell()
        self._minutes: defaultdict[int, Cell] = defaultdict(Cell)
        self._sources: defaultdict[str, Cell] = defaultdict(Cell)
        self._segments: defaultdict[str, Cell] = defaultdict(Cell)
        self._items: defaultdict[str, Cell] = defaultdict(Cell)
        self._marks: list[tuple[int, str]] = []
        self._source_of: dict[str, str] = {}
        self._orders: dict[str, tuple[Record, int]] = {}
        self._shown: dict[tuple[str, str], int] = {}
        self._exposed: set[tuple[str, str, str]] = set()
        self._answers: list[int] = []

    # Taking records.

    def take(self, record: Record) -> None:
        match record.kind:
            case "enter":
                self._enter(record)
            case "leave":
                self._visits.leave(record)
            case "segment":
                self._marks.append((record.ts - self._opened, record.name))
            case "order":
                self._order(record)
            case "exposure":
                self._expose(record)
            case "answer":
                self._answers.append(record.n)
                self._count(record, "", answers=1, answer_ms=record.n)
            case _:
                self._act(record)

    def _enter(self, record: Record) -> None:
        self._visits.enter(record)
        if record.user not in self._source_of:
            self._source_of[record.user] = record.source
            self._count(record, record.source, viewers=1)

    def _act(self, record: Record) -> None:
        kind, user = record.kind, record.user
        if self._is_gone(record):
            for cell in self._stretch(record):
                cell.users["active"].add(user)
            return
        source = record.source if kind in GATHERED else self._source_of.get(user, "")
        if kind == "view":
            self._count(record, source, views=record.n)
        elif kind in ("click", "cart"):
            self._count(record, source, **{kind: record.n if kind == "click" else 1})
            self._look(record)
        elif kind == "survey":
            good = int(record.n >= 4)
            self._count(record, source, surveys=1, survey_sum=record.n, survey_good=good)
        else:
            more = {"gift_value": record.amount} if kind == "gift" else {}
            more |= {_MOODS[record.mood]: 1} if record.mood else {}
            self._count(record, source, act=record.n, **{kind: record.n}, **more)
            self._did(record, "act")
        if kind != "view":
            self._total.users[kind].add(user)

    def _is_gone(self, record: Record) -> bool:
        """Tell whether a message was deleted, and in time."""
        in_time = not self._closed or record.deleted < self._until + GRACE_MS
        return record.deleted > 0 and in_time

    def _did(self, record: Record, kind: str) -> None:
        self._total.users[kind].add(record.user)
        for cell in self._stretch(record):
            cell.users["active"].add(record.user)

    def _look(self, record: Record) -> None:
        item = self._items[record.item]
        if record.kind == "click":
            item.n["clicks"] += record.n
            item.users["clickers"].add(record.user)
        else:
            item.n["carts"] += 1
            item.n["units"] += record.n

    def _order(self, record: Record) -> None:
        first, stood = self._orders.get(record.order, (None, -1))
        if first is None:
            first = record
            if not record.source:
                source = self._source_of.get(record.user, "")
                first = _with(record, source)
        stands = _STATUS.index(record.status)
        self._orders[record.order] = (first, max(stood, stands))
        for step in range(stood + 1, stands + 1):
            self._step(record, first, step)

    def _step(self, record: Record, first: Record, step: int) -> None:
        name, amount = (
            ("orders", "order_amount"),
            ("paid_orders", "paid_amount"),
            ("refunds", "refund_amount"),
        )[step]
        sums = {name: 1, amount: first.amount}
        buyers = self._total.users["buyers"]
        if step == 1 and first.user not in buyers:
            buyers.add(first.user)
            sums["buyers"] = 1
        if step < 2:
            self._total.users[("order", "buy")[step]].add(first.user)
        self._count(record, first.source, **sums)
        if first.item:
            item = self._items[first.item]
            item.n.update({name: 1, amount: first.amount})
            if step == 1:
                item.users["buyers"].add(first.user)

    def _expose(self, record: Record) -> None:
        place = (record.name, record.window)
        if record.users:
            fresh = {(*place, user) for user in record.users} - self._exposed
            self._exposed |= fresh
            new = len(fresh)
            self._total.users["item_exposed" if record.item else "_"].update(record.users)
            self._items[record.item].users["exposed"].update(record.users)
        else:
            new = max(0, record.n - self._shown.get(place, 0))
            self._shown[place] = max(record.n, self._shown.get(place, 0))
            self._items[record.item].n["exposed"] += new
            self._total.n["item_exposed"] += new if record.item else 0
        self._count(record, record.source, exposures=new)

    # Where something counts.

    def _count(self, record: Record, source: str, **sums: int) -> None:
        for cell in (self._total, self._sources[source], *self._stretch(record)):
            cell.n.update(sums)

    def _stretch(self, record: Record) -> list[Cell]:
        """Return the minute and the segment that a record belongs to."""
        if self._closed and record.ts >= self._until + GRACE_MS:
            return []
        at = record.ts - self._opened
        if self._closed:
            at = max(0, min(at, self._until - self._opened - 1))
        cells = [self._minutes[at // 60_000]]
        return [*cells, self._segments[self._marks[-1][1]]] if self._marks else cells

    # The result.

    def result(self) -> dict[str, Any]:
        visits = self._visits.joined()
        self._items.pop("", None)
        online = self._online(visits)
        return {
            "metrics": self._metrics(visits, online),
            "source": {name: self._source_row(name) for name in self._sources},
            "item": {name: item_row(cell) for name, cell in self._items.items()},
            "minute": self._minute_rows(online),
            "segment": self._segment_rows(online),
        }

    def _online(self, visits: dict[str, list[tuple[int, int]]]) -> list[int]:
        """Return how many viewers are there at each full second."""
        changes: Counter[int] = Counter()
        for spans in visits.values():
            for first, past in spans:
                changes[ceil(first / 1000)] += 1
                changes[ceil(past / 1000)] -= 1
        online, now = [], 0
        for second in range(ceil((self._until - self._opened) / 1000)):
            now += changes[second]
            online.append(now)
        return online

    def _metrics(
        self, visits: dict[str, list[tuple[int, int]]], online: list[int]
    ) -> dict[str, Any]:
        n, users = self._total.n, self._total.users
        viewers = set(visits)
        minutes = max(1, ceil((self._until - self._opened) / 60_000))
        peaks = [max(online[i : i + 60]) for i in range(0, len(online), 60)]
        watched = sorted(sum(past - first for first, past in spans) for spans in visits.values())
        exposed = len(users["item_exposed"]) + n["item_exposed"]
        clickers = len(users["click"] & viewers)
        return {
            **rates(n, heads_of(users, viewers)),
            "product_exposed": exposed,
            "product_ctr": share(clickers, exposed),
            "peak_online": max(online, default=0),
            "avg_online": sum(peaks) / minutes,
            "watch_s": sum(watched) / 1000,
            "avg_watch_s": share(sum(watched) / 1000, len(viewers)),
            "median_watch_s": value_at(watched, 0.5),
            "p90_watch_s": value_at(watched, 0.9),
            "median_answer_s": value_at(sorted(self._answers), 0.5),
            "net_amount": n["paid_amount"] - n["refund_amount"],
        }

    def _source_row(self, name: str) -> dict[str, Any]:
        """Whoever came through a source first belongs to it, whatever they did since."""
        mine = {user for user, source in self._source_of.items() if source == name}
        cell = self._sources[name]
        heads = {**heads_of(self._total.users, mine), "buyers": cell.n["buyers"]}
        return rates(cell.n, heads)

    def _minute_rows(self, online: list[int]) -> dict[str, dict[str, Any]]:
        for minute in range(ceil(len(online) / 60)):
            if any(online[minute * 60 : minute * 60 + 60]):
                self._minutes[minute].n["there"] = 1
        return {
            str(minute): stretch_row(cell, online[minute * 60 : minute * 60 + 60])
            for minute, cell in self._minutes.items()
        }

    def _segment_rows(self, online: list[int]) -> dict[str, dict[str, Any]]:
        spans: defaultdict[str, list[int]] = defaultdict(list)
        lasted: Counter[str] = Counter()
        ends = [at for at, _ in self._marks[1:]] + [self._until - self._opened]
        for (at, name), past in zip(self._marks, ends, strict=False):
            spans[name] += online[ceil(at / 1000) : ceil(past / 1000)]
            lasted[name] += past - at
        rows = {name: stretch_row(self._segments[name], there) for name, there in spans.items()}
        for name, row in rows.items():
            row["lasted_s"] = lasted[name] / 1000
            row["avg_online"] = share(row["viewer_seconds"], row["lasted_s"])
        return rows


def _with(record: Record, source: str) -> Record:
    return Record(
        ts=record.ts,
        kind=record.kind,
        user=record.user,
        source=source,
        item=record.item,
        amount=record.amount,
        order=record.order,
        status=record.status,
    )
