"""Reads rooms' logs into SQL: what was read and how far is one transaction.

Killed anywhere, the next one goes on from the cursor: what was written is not written again, what was
not is still in the log. Several workers may read one room: whoever finds that the cursor was moved
meanwhile has written nothing.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import orjson
import structlog
from sqlalchemy import Connection

from liveroom import Engine, History, Op, StoreError
from liveroom_plugins.archive.cursor import Cursor, Shown, diverged, judge, lost
from liveroom_plugins.archive.database import Database
from liveroom_plugins.archive.metrics import ArchiveMetrics
from liveroom_plugins.archive.writing import Stored, all_cursors, cursor_of, store_page


__all__ = ["Consumer"]

PAGE: Final = 500
"""Entries per transaction; the store is held for some two milliseconds to give them out."""

log = structlog.get_logger("liveroom.archive")


class Consumer:
    """The logs that this worker reads.

    Args:
        page: most entries per transaction.
    """

    def __init__(
        self, engine: Engine, database: Database, metrics: ArchiveMetrics, page: int = PAGE
    ) -> None:
        self._engine = engine
        self._database = database
        self._metrics = metrics
        self._page = page

    async def consume(self, room: str) -> None:
        """Write all that the log has and the archive has not.

        Raises:
            Away: the database did not take it; nothing is lost as long as the log reaches back.
            StoreError: the log could not be read.
        """
        cursor: Cursor | None = await self._database.run(partial(cursor_of, room=room))
        while cursor is not None:
            cursor = await self._step(room, cursor)

    async def behind(self, rooms: list[str]) -> list[str]:
        """Return those whose log has moved on since they were archived. Raises as `consume`."""
        known = await self._database.run(all_cursors)
        found = []
        for room in rooms:
            epoch, seq, sub = (await self._engine.commit(room, [])).position
            if epoch and known.get(room) != (epoch, seq, sub):
                found.append(room)
        return found

    async def _step(self, room: str, start: Cursor) -> Cursor | None:
        """Archive one page; return where to go on, or None: that was all."""
        cursor, history = await self._read(room, start)
        if not history.end.epoch or (cursor == start and not _news(cursor, history)):
            return None
        shown = await self._shown(room, cursor, history)
        now_ms = self._engine.clock.wall_ms()

        def write(connection: Connection) -> Stored:
            """Judge and write, both beside the loop."""
            page = judge(room, cursor, history, shown)
            if cursor.epoch != start.epoch and start.epoch:
                page.gaps.insert(0, start.broken_off)
            return store_page(connection, room, start, page, now_ms)

        stored = await self._database.run(write)
        if stored.moved:
            self._count(room, stored)
            if len(history.entries) < self._page:
                return None
        return stored.cursor  # not moved: another worker was quicker

    async def _read(self, room: str, start: Cursor) -> tuple[Cursor, History]:
        """Return the log from the cursor on; from its beginning if it is another one by now."""
        history = await self._engine.history(room, start.before, self._page)
        if diverged(start, history):
            log.warning("history lost", room=room, had=start.place, now=history.end)
            await self._engine.commit(room, [Op("sys.epoch", "", {"was": start.epoch})])
            history = await self._engine.history(room, start.before, self._page)
        if history.end.epoch == start.epoch:
            return start, history
        cursor = start.into(history.end.epoch)
        return cursor, await self._engine.history(room, cursor.before, self._page)

    async def _shown(self, room: str, cursor: Cursor, history: History) -> Shown | None:
        """Return what the room shows of itself, if its opening may be among what is missing."""
        if not lost(cursor, history):
            return None
        committed = await self._engine.commit(room, [Op("sys.sync", "", {})])
        reply = committed.replies[0]
        if reply[:1] != b"+":
            raise StoreError(reply.decode(errors="replace"))
        states = {state["st"]: state["d"] for state in orjson.loads(reply[1:])["states"]}
        shown = states.get("room")
        return None if shown is None else Shown(shown["opened_ms"], shown["title"])

    def _count(self, room: str, stored: Stored) -> None:
        self._metrics.wrote("events", stored.rows)
        for gap in stored.gaps:
            self._metrics.gap(gap.kind, gap.missing)
            log.error("the archive has a gap", room=room, **gap._asdict())


def _news(cursor: Cursor, history: History) -> bool:
    """Tell whether something is there, or lost, that was not when the cursor was moved."""
    last = history.entries[-1] if history.entries else None
    return lost(cursor, history) > 0 or (last is not None and (last.seq, last.sub) > cursor.place)
