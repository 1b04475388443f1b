"""From the archive's records to those that figures are computed from."""

from __future__ import annotations

from typing import Any

from liveroom_plugins.counters.archived import from_archive
from liveroom_plugins.counters.records import Record


def event(ts: int, kind: str, **d: Any) -> dict[str, Any]:
    """Return a durable event as the archive yields it."""
    return {"ts": ts, "kind": kind, "d": d, "epoch": "e", "seq": ts, "sub": 0}


def test_archived_events_become_records_of_their_session() -> None:
    """What the store counted stands in lists; what belongs to another session is left out."""
    did = {
        "users": ["ann", "bob", "cy"],
        "kinds": ["vote", "gift", "survey"],
        "values": [1, 300, 4],
    }
    order = {"user": "ann", "amount": 5, "status": "paid"}
    rows = [
        event(9, "counters.did", session=7, **did),
        event(10, "counters.did", session=1, **did),
        event(11, "counters.order", session=7, order="o1", item="i1", **order),
        event(12, "counters.order", session=7, **order),
        event(13, "qa.answered", took_ms=1500),
        event(15, "segment.marked", session=7, segment="sale", at_ms=14),
        event(16, "room.closed", by="host"),
    ]
    assert from_archive(rows, 7) == [
        Record(ts=9, kind="vote", user="ann"),
        Record(ts=9, kind="gift", user="bob", amount=300),
        Record(ts=9, kind="survey", user="cy", n=4),
        Record(ts=11, kind="order", user="ann", item="i1", amount=5, order="o1", status="paid"),
        Record(ts=12, kind="order", user="ann", amount=5, order="e.12.0", status="paid"),
        Record(ts=13, kind="answer", n=1500),
        Record(ts=14, kind="segment", name="sale"),
    ]


def test_archived_messages_know_when_they_were_deleted() -> None:
    """The table of messages says it, whichever comes first; records of other plugins are none."""
    rows = [
        {"ts": 1, "kind": "danmaku", "user": "ann", "source": "app", "id": "w-1"},
        {"ts": 1, "kind": "danmaku", "user": "ann", "id": "w-2"},
        {"ts": 2, "kind": "danmaku", "user": "ann", "d": {}, "id": "w-1", "deleted_ms": 5},
        {"ts": 2, "kind": "danmaku", "user": "ann", "d": {}, "id": "w-2", "deleted_ms": None},
        {"ts": 3, "kind": "like", "user": "bob", "n": 4},
        {"ts": 4, "kind": "weather", "sun": True},
    ]
    assert from_archive(rows, 0) == [
        Record(ts=1, kind="danmaku", user="ann", source="app", id="w-1", deleted=5),
        Record(ts=1, kind="danmaku", user="ann", id="w-2"),
        Record(ts=3, kind="like", user="bob", n=4),
    ]
