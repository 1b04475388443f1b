"""What a worker has to tell the store of one room: gathered, and told once a beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

from liveroom import Op, RoomHandle


__all__ = ["DANMAKU", "Outbox"]

DANMAKU: Final = "danmaku"
MAX_ROWS: Final = 200
"""In one operation: it holds the store for well under a millisecond."""

Row = dict[str, Any]
_T = TypeVar("_T")


class Outbox:
    """Of one room on this worker.

    Args:
        room: the room.
    """

    def __init__(self, room: RoomHandle) -> None:
        self._room = room
        self._log: list[Row] = []
        self._late: list[Row] = []
        self._whispers: list[Row] = []
        self._shown: list[str] = []
        self._waves: dict[str, Row] = {}

    def log(self, row: Row) -> None:
        """Take what was done by itself."""
        self._log.append(row)
        self._room.mark()

    def delay(self, d: Row, rank: int, *, only: bool = False) -> None:
        """Take a message that is to be shown later; with `only` to its author alone."""
        self._late.append({"d": d, "rank": rank} | ({"only": True} if only else {}))
        self._room.mark()

    def whisper(self, d: Row) -> None:
        """Take a message for its author's connections to other workers."""
        self._whispers.append(d)
        self._room.mark()

    def fold(self, key: str, text: str) -> None:
        """Take a message that is one of many."""
        wave = self._waves.setdefault(key, {"text": text, "n": 0})
        wave["n"] += 1
        self._room.mark()

    def shown(self, page: str) -> None:
        """Take that a page was published: the store hears of it in the batch that carries it."""
        self._shown.append(page)
        self._room.mark()

    def take(self, worker: str) -> Iterator[Op]:
        """Publish the waves, and yield the operations, the pages first."""
        for page in _taken(self._shown):
            yield Op("mod.shown", "", {"page": page})
        for rows in _pages(self._late):
            yield Op("mod.delay", "", {"rows": rows})
        for rows in _pages(self._whispers):
            yield Op("mod.whisper", "", {"worker": worker, "rows": rows})
        for rows in _pages(self._log):
            yield Op("mod.note", "", {"rows": rows})
        waves, self._waves = self._waves, {}
        for wave in waves.values():
            self._room.publish("danmaku.wave", wave)


def _taken(waiting: list[_T]) -> list[_T]:
    taken = waiting[:]
    waiting.clear()
    return taken


def _pages(waiting: list[_T]) -> Iterator[list[_T]]:
    rows = _taken(waiting)
    for at in range(0, len(rows), MAX_ROWS):
        yield rows[at : at + MAX_ROWS]
