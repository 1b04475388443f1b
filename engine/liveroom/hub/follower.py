"""Follows a room's log: applies publications in order, notices holes and fills them from the log.

Whatever pub/sub does (loses a message, repeats one, dies quietly), the follower's position only
moves over entries that were applied, in order, each once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import orjson
import structlog

from liveroom.core.position import Position, Verdict, classify
from liveroom.core.ring import Entry, Ring
from liveroom.errors import StoreError
from liveroom.store.port import LogEntry, Op, Publication, StateItem, Store


__all__ = ["Follower", "Sink"]

log = structlog.get_logger("liveroom.hub")

_PAGE = 500
_RETRY_S, _MAX_RETRY_S = 0.05, 1.0
_NOWHERE = Position("", 0, 0)


class Sink(Protocol):
    """Who takes what the follower applies."""

    def on_durable(self, entry: LogEntry) -> None:
        """Take the next durable event."""

    def on_state(self, state: StateItem) -> None:
        """Take a newer value of a `latest` key."""

    def on_ephemeral(self, block: bytes, worker: str) -> None:
        """Take a block of ephemeral items."""

    def on_epoch(self, epoch: str) -> None:
        """Take that the log began anew: positions of before mean nothing any more."""

    def on_caught_up(self) -> None:
        """Take that the position was read anew, whether or not there were events in between."""


class Follower:
    """The copy of one scope's log and states on this worker.

    Args:
        scope: room id or internal scope.
        store: where the log is.
        sink: takes what is applied.
        request: commits one operation and returns the script's reply.
        ring: how many entries and bytes are kept for resuming viewers.
    """

    def __init__(
        self,
        scope: str,
        store: Store,
        sink: Sink,
        *,
        request: Callable[[Op], asyncio.Future[bytes]],
        ring: tuple[int, int],
    ) -> None:
        self._scope = scope
        self._store = store
        self._sink = sink
        self._request = request
        self.position = _NOWHERE
        self.ring = Ring(*ring)
        self.states: dict[str, StateItem] = {}
        self.filled = self.lost = 0
        self._held: list[Publication] = []
        self._filling: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()
        self._stale = False
        self._dead: set[str] = set()
        self._told = _NOWHERE
        self._overdue = _NOWHERE
        self._changes = self._told_changes = self._overdue_changes = 0
        self.loaded = asyncio.Event()

    @property
    def current(self) -> bool:
        """Whether nothing is known to be missing: neither by a hole nor by what a commit answered."""
        told = self._told
        ahead = told.epoch == self.position.epoch and told > self.position
        return self.loaded.is_set() and self._filling is None and not ahead

    def take(self, publication: Publication) -> None:
        """Apply a publication now, or once the hole before it is filled."""
        if publication.start.epoch in self._dead:
            return
        if not self.loaded.is_set() or self._filling is not None:
            self._held.append(publication)
            return
        self._apply(publication)

    def told(self, position: Position, changes: int = 0) -> None:
        """Take a position that a commit answered; its publication is probably still on its way."""
        if not position.epoch or position.epoch in self._dead:
            return
        self._told, self._told_changes = position, changes
        if self.loaded.is_set() and not self.position.epoch:
            self.resync()  # the scope's first write need not have had anything to publish

    def sweep(self) -> None:
        """Fill what was told before the last sweep and has not come by now."""
        overdue, self._overdue = self._overdue, self._told
        changes, self._overdue_changes = self._overdue_changes, self._told_changes
        if not self.loaded.is_set() or self._filling is not None or not overdue.epoch:
            return
        ahead = overdue.epoch != self.position.epoch or overdue > self.position
        if ahead or changes > self._changes:
            self.resync()

    def resync(self) -> None:
        """Read position, states and what is missing: something did not come, or may not have."""
        self._stale = True
        if self._filling is None:
            self._filling = asyncio.create_task(self._fill(), name=f"fill {self._scope}")

    async def close(self) -> None:
        """Stop filling."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)

    async def backfill(self, since: Position, limit: int) -> list[Entry] | None:
        """Read what the ring does not hold any more for a viewer that stopped at a position.

        Returns:
            The entries after `since`, none if the ring reaches back that far; None: it cannot be
            continued from there without a hole, or more than `limit` entries were missed.
        """
        async with self._reading:  # so that others find in the ring what the first has read
            if self.ring.after(since, None) is not None:
                return []
            return await self._read_back(since, limit)

    async def _read_back(self, since: Position, limit: int) -> list[Entry] | None:
        here, reach = self.position, self.ring.reach
        if since.epoch != here.epoch or since > here:
            return None
        page = await self._store.read_log(self._scope, _just_before(since), limit + 2)
        entries = [self._entry(e) for e in page if (e.seq, e.sub) <= (here.seq, here.sub)]
        if since.epoch != self.position.epoch or not entries or entries[-1].position != here:
            return None
        if entries[0].position == since:
            del entries[0]
        elif since.seq or since.sub or entries[0].position.seq > 1:
            return None  # trimmed: what stood between is gone
        if self.ring.reach == reach:  # the next one to come back finds them there
            self.ring.prepend([e for e in entries if reach and e.position <= reach], since)
        return entries if len(entries) <= limit else None

    # Applying.

    def _apply(self, publication: Publication) -> None:
        verdict = classify(self.position, publication.start, publication.end)
        if verdict in (Verdict.GAP, Verdict.FOREIGN):
            self._held.append(publication)
            self.resync()
            return
        for entry in publication.durables:
            self._append(publication.end.epoch, entry)
        if publication.states:
            self._take_states(publication)
        if publication.ephemeral:
            self._sink.on_ephemeral(publication.ephemeral, publication.worker)

    def _append(self, epoch: str, entry: LogEntry) -> None:
        position = Position(epoch, entry.seq, entry.sub)
        if position.epoch == self.position.epoch and position <= self.position:
            return
        self.ring.append(position, entry.user, entry.item)
        self.position = position
        self._sink.on_durable(entry)

    def _take_states(self, publication: Publication) -> None:
        for state in publication.states:
            self._take_state(state)
        if publication.changes > self._changes + 1:
            self.resync()  # a change before this one never came
        self._changes = max(self._changes, publication.changes)

    def _take_state(self, state: StateItem) -> None:
        known = self.states.get(state.name)
        if known is None or state.version > known.version:
            self.states[state.name] = state
            self._sink.on_state(state)

    def _entry(self, entry: LogEntry) -> Entry:
        return Entry(Position(self.position.epoch, entry.seq, entry.sub), entry.user, entry.item)

    # Filling.

    async def _fill(self) -> None:
        """Catch up until the store lets us, then apply what was held back meanwhile."""
        delay = _RETRY_S
        try:
            while self._stale:
                self._stale = False  # what is asked for from here on calls for another round
                try:
                    await self._load_or_catch_up()
                except StoreError:
                    self._stale = True
                    await asyncio.sleep(delay)
                    delay = min(_MAX_RETRY_S, delay * 2)
        finally:
            self._filling = None
        held, self._held = self._held, []
        for publication in held:
            if publication.start.epoch == self.position.epoch:  # else the store knows nothing of it
                self.take(publication)
        self._sink.on_caught_up()

    async def _load_or_catch_up(self) -> None:
        position, states = await self._ask()
        if self.loaded.is_set():
            await self._catch_up(position)
        else:
            self._begin(position)
            self.loaded.set()
        for state in states:
            self._take_state(state)

    async def _ask(self) -> tuple[Position, list[StateItem]]:
        """Return the store's position and the newest value of every key."""
        reply = orjson.loads((await self._request(Op("sys.sync", "", {})))[1:])
        position = Position(reply["epoch"], reply["seq"], reply["sub"])
        states = [StateItem(s["st"], s["v"], orjson.dumps(s)) for s in reply["states"]]
        self._changes = max(self._changes, reply.get("changes", 0))
        return position, states

    async def _catch_up(self, goal: Position) -> None:
        """Read the log up to a goal; a log that is not ours any more begins a new epoch."""
        if goal.epoch and not self.position.epoch:  # unknown until now: all of its log is news
            self._begin(Position(goal.epoch, 0, 0))
            self._sink.on_epoch(goal.epoch)
        if goal.epoch != self.position.epoch or not await self._same_history(goal):
            await self._begin_anew(goal)
            return
        while self.position < goal:
            page = await self._store.read_log(self._scope, self.position, _PAGE)
            if not page or page[0].seq > self.position.seq + 1:
                await self._begin_anew(goal)  # trimmed: more was missed than the log keeps
                return
            for entry in page:
                self._append(goal.epoch, entry)
            self.filled += len(page)
            log.info("filled from the log", scope=self._scope, events=len(page))

    async def _same_history(self, goal: Position) -> bool:
        """Whether the entry at our position is still the one that we applied.

        After a failover that lost writes the same number may belong to another event.
        """
        ours = self.ring.after(self.position._replace(seq=max(0, self.position.seq - 1)), None)
        if goal < self.position:
            return False
        if not ours or self.position.sub:
            return True
        theirs = await self._store.read_log(self._scope, _just_before(self.position), 1)
        return not theirs or theirs[0].item == ours[-1]

    async def _begin_anew(self, goal: Position) -> None:
        if goal.epoch == self.position.epoch:  # the store went back: make it known to everyone
            await self._request(Op("sys.epoch", "", {"was": goal.epoch}))
        self._changes = 0
        position, states = await self._ask()
        self.lost += 1
        log.warning("history lost", scope=self._scope, had=self.position, now=position)
        self._begin(position)
        self._sink.on_epoch(position.epoch)
        for state in states:
            self._take_state(state)

    def _begin(self, position: Position) -> None:
        self._dead.add(self.position.epoch)
        self._dead -= {position.epoch, ""}
        self.position = position
        self._told = self._overdue = _NOWHERE  # an epoch that is over is not overdue
        self._told_changes = self._overdue_changes = 0
        self.ring.reset(position)
        self.states.clear()


def _just_before(position: Position) -> Position:
    """Return what to read the log after so that the entry at a position comes first."""
    if position.sub:
        return position._replace(sub=position.sub - 1)
    return position._replace(seq=max(0, position.seq - 1), sub=2**31 if position.seq else 0)
