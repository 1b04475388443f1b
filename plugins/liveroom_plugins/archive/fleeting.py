"""What is in no log, on its way into the archive: only the worker that took it has it.

It waits in a queue with a bound and is written at least once a second: what a killed worker takes
along is at most that second, and what waited for a database that was away. What does not fit is
counted, and noted as a gap as soon as something can be written again.
"""

from __future__ import annotations

from collections import Counter, deque
from functools import partial
from typing import Any, Final

from sqlalchemy import Table

from liveroom_plugins.archive.cursor import Gap
from liveroom_plugins.archive.database import Database
from liveroom_plugins.archive.metrics import ArchiveMetrics
from liveroom_plugins.archive.writing import store_fleeting


__all__ = ["Fleeting"]

BATCH: Final = 1000


class Fleeting:
    """The queue of one table.

    Args:
        table: danmaku or records.
        worker: in whose name gaps are noted.
        most: how many rows may wait.
    """

    def __init__(
        self, table: Table, worker: str, database: Database, metrics: ArchiveMetrics, most: int
    ) -> None:
        self._table = table
        self._worker = worker
        self._database = database
        self._metrics = metrics
        self._most = most
        self._waiting: deque[dict[str, Any]] = deque()
        self._dropped: Counter[str] = Counter()
        self._drops = 0

    def add(self, row: dict[str, Any]) -> None:
        """Take a row."""
        if len(self._waiting) < self._most:
            self._waiting.append(row)
        else:
            self._dropped[row["room"]] += 1

    async def flush(self, now_ms: int) -> None:
        """Write what waits. Raises Away: then it goes on waiting."""
        while self._waiting or self._dropped:
            await self._write(now_ms)

    async def _write(self, now_ms: int) -> None:
        """Write one batch; it leaves the queue when it is written."""
        rows = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
        gaps = [(room, self._gap(missing)) for room, missing in self._dropped.items()]
        self._metrics.waits(self._table.name, len(self._waiting))
        write = partial(store_fleeting, table=self._table, rows=rows, missing=gaps, now_ms=now_ms)
        await self._database.run(write)
        for _ in rows:
            self._waiting.popleft()
        self._metrics.waits(self._table.name, len(self._waiting))
        self._metrics.wrote(self._table.name, len(rows))
        for room, gap in gaps:
            self._dropped[room] -= gap.missing
            self._metrics.gap(gap.kind, gap.missing)
        self._dropped = +self._dropped  # what was dropped meanwhile is left

    def _gap(self, missing: int) -> Gap:
        self._drops += 1
        return Gap(self._table.name, self._worker, self._drops, 0, missing)
