"""Brings what was gathered of one session to the store: page after page, each exactly once.

A page has a number. It is told again until the store has answered it, and the store passes over a
number that it knows, so an answer that was lost loses and doubles nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog

from liveroom import Op, RoomHandle, StoreError
from liveroom_plugins.counters.gather import Gathering, Page
from liveroom_plugins.counters.options import Options
from liveroom_plugins.counters.records import Record


__all__ = ["Journal", "Sender"]

log = structlog.get_logger("liveroom.counters")

_SETTLED_S = 12.0
"""After the end: what was said may be deleted until figures stand."""

Journal = Callable[[RoomHandle, Record], None]


class Sender:
    """What this worker tells of one session.

    Args:
        room: the room on this worker.
        session: the ms at which it was opened.
        worker: this worker's id.
        now: seconds of a clock that never goes back.
        options: at most one page of what was gathered in `flush_s`; what is left follows at once.
        journal: told of what the store has taken.
    """

    def __init__(
        self,
        room: RoomHandle,
        session: int,
        worker: str,
        now: Callable[[], float],
        *,
        options: Options,
        journal: Journal,
    ) -> None:
        self.room = room
        self.session = session
        self.gathering = Gathering(lambda: int(now() * 1000))
        self.over = False
        self._over_at = 0.0
        self._worker = worker
        self._now = now
        self._options = options
        self._soonest_s = min(options.flush_s, options.beat_s)
        self._journal = journal
        self._page: Page | None = None
        self._waiting = False
        self._known = False
        self._stopped = False
        self._sent_at = now() - options.flush_s
        self._failures = 0

    @property
    def due(self) -> bool:
        """Whether something is to be told now."""
        if self._waiting:
            return False
        since = self._now() - self._sent_at
        if since < self._soonest_s:  # nearly always: asked at every message
            return False
        if self.pending:
            return since >= self._options.flush_s
        return self.gathering.here > 0 and since >= self._options.beat_s

    @property
    def pending(self) -> bool:
        """Whether something was gathered that the store has not answered for."""
        return self._page is not None or self.gathering.pending

    @property
    def done(self) -> bool:
        """Whether nothing is left to tell of a session that is over, and nothing will be."""
        return self.over and not self.pending and self._now() >= self._over_at + _SETTLED_S

    def close(self) -> None:
        """Take that the session is over."""
        self.over = True
        self._over_at = self._now()
        self.gathering.leave_all(over=True)

    async def finish(self, commit: Callable[[Op], Awaitable[bytes]]) -> None:
        """Tell what is left, as this worker stops. Raises StoreError."""
        self._stopped = True
        self.gathering.leave_all()
        while self.pending:
            self._take(await commit(self._operation()))

    def send(self) -> None:
        """Have the next page ride in the room's next batch."""
        self._waiting = True
        self._sent_at = self._now()
        self.room.submit(self._operation()).add_done_callback(self._answered)

    def _operation(self) -> Op:
        if self._page is None:
            self._page = self.gathering.page()
        body = self._page.body | {
            "w": self._worker,
            "s": str(self.session),
            "q": self._page.number,
            "m": int(self._now() * 1000),
            "here": self.gathering.here,
            "known": self._known,
            "o": self._options.for_store,
        }
        return Op("counters.add", "", body)

    def _take(self, reply: bytes) -> bool:
        """Take the store's answer to the page; return whether more of it is to follow."""
        page, self._page = self._page, None
        assert page is not None, "one page is on its way"
        if reply[:1] != b"+":
            log.error("counters lost", room=self.room.id, reply=reply[:200])
            return page.more
        answer: dict[str, Any] = orjson.loads(reply[1:])
        if answer.get("gone"):
            log.warning("counters too late", room=self.room.id, session=self.session)
            return page.more
        self._record(page, answer["now"], answer["off"])
        if not answer["known"]:
            self.gathering.tell_anew()
        self._known = True
        return page.more

    def _record(self, page: Page, now: int, off: int) -> None:
        for record in page.records(self._worker, now, off):
            self._journal(self.room, record)
        if self._options.acts:
            for record in page.acts_as_records(now):
                self._journal(self.room, record)

    def _answered(self, done: asyncio.Future[bytes]) -> None:
        self._waiting = False
        if done.cancelled() or self._stopped:
            return
        error = done.exception()
        if error is None:
            self._failures = 0
            if self._take(done.result()):
                self.send()
        elif isinstance(error, StoreError):  # the same page is told again
            self._failures += 1
            if self._failures == 1:
                log.warning("counters not told yet", room=self.room.id, error=str(error))
        else:
            log.error("counters not told", room=self.room.id, error=repr(error))
