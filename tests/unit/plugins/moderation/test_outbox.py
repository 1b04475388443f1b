"""What a room's worker tells the store once a beat."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from liveroom import RoomHandle
from liveroom_plugins.moderation.outbox import MAX_ROWS, Outbox


class Room:
    """Notes what it is asked for."""

    id = "r"

    def __init__(self) -> None:
        self.marks = 0
        self.published: list[tuple[str, dict[str, Any]]] = []

    def mark(self) -> None:
        self.marks += 1

    def publish(self, event: str, d: dict[str, Any]) -> None:
        self.published.append((event, d))


def test_outbox_everything_is_told_once() -> None:
    """In one operation of each kind, what was published first; then nothing is left."""
    room = Room()
    outbox = Outbox(cast("RoomHandle", room))
    outbox.log({"action": "mask"})
    outbox.whisper({"id": "w"})
    outbox.delay({"id": "m"}, 0)
    outbox.shown("p1")
    for text in ("666", "６６６"):
        outbox.fold("6", text)

    assert room.marks == 6
    assert [(op.name, op.body) for op in outbox.take("w1")] == [
        ("mod.shown", {"page": "p1"}),
        ("mod.delay", {"rows": [{"d": {"id": "m"}, "rank": 0}]}),
        ("mod.whisper", {"worker": "w1", "rows": [{"id": "w"}]}),
        ("mod.note", {"rows": [{"action": "mask"}]}),
    ]
    assert room.published == [("danmaku.wave", {"text": "666", "n": 2})]
    assert list(outbox.take("w1")) == []


def test_outbox_an_operation_has_so_many_rows() -> None:
    """More are told in several."""
    outbox = Outbox(cast("RoomHandle", SimpleNamespace(mark=lambda: None)))
    for n in range(2 * MAX_ROWS + 1):
        outbox.log({"n": n})

    assert [len(op.body["rows"]) for op in outbox.take("w1")] == [MAX_ROWS, MAX_ROWS, 1]
