"""What an archive holds of a session as records: so that all its figures can be computed once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from liveroom_plugins.counters.records import Record


__all__ = ["from_archive"]

_HANDED: Final = frozenset(
    {"enter", "leave", "view", "like", "share", "danmaku", "click", "cart", "exposure"}
)
"""What workers hand over; other plugins may hand over what they want."""

Row = Mapping[str, Any]


def from_archive(rows: Iterable[Row], session: int) -> list[Record]:
    """Return the records of a session, in the order in which they were counted.

    Args:
        rows: what `liveroom_plugins.archive.reading.records` yields.
        session: the ms at which it was opened.
    """
    records: list[Record] = []
    deleted: dict[str, int] = {}
    for row in rows:
        if "d" not in row:
            records += _handed(row)
        elif row["kind"] == "danmaku":
            deleted |= {row["id"]: row["deleted_ms"]} if row["deleted_ms"] else {}
        else:
            records += _happened(row, session)
    found = [_marked(record, deleted) for record in records]
    return sorted(found, key=lambda record: record.ts)


def _handed(row: Row) -> Iterator[Record]:
    if row["kind"] in _HANDED:
        yield msgspec.convert(row, Record)


def _marked(record: Record, deleted: Mapping[str, int]) -> Record:
    at = deleted.get(record.id) if record.id else None
    return msgspec.structs.replace(record, deleted=at) if at else record


def _happened(row: Row, session: int) -> Iterator[Record]:
    d: dict[str, Any] = row["d"]
    if row["kind"] == "qa.answered":
        yield Record(ts=row["ts"], kind="answer", n=d["took_ms"])
    elif row["kind"] == "segment.marked" and d["session"] == session:
        yield Record(ts=d["at_ms"], kind="segment", name=d["segment"])
    elif row["kind"] == "counters.did" and d["session"] == session:
        for user, kind, value in zip(d["users"], d["kinds"], d["values"], strict=True):
            more = {"gift": {"amount": value}, "survey": {"n": value}}.get(kind, {})
            yield Record(ts=row["ts"], kind=kind, user=user, **more)
    elif row["kind"] == "counters.order" and d["session"] == session:
        yield _order(row, d)


def _order(row: Row, d: dict[str, Any]) -> Record:
    return Record(
        ts=row["ts"],
        kind="order",
        order=d.get("order") or f"{row['epoch']}.{row['seq']}.{row['sub']}",
        user=d["user"],
        item=d.get("item", ""),
        source=d.get("source", ""),
        amount=d["amount"],
        status=d["status"],
    )
