"""What a room says on this worker, on its way to the store: ephemeral items, once a beat."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import msgpack

from liveroom.core.grid import BeatGrid
from liveroom.core.lanes import Ephemeral, Lanes
from liveroom.hub.batch import Batcher, Broadcast
from liveroom.protocol.items import Item


__all__ = ["Block", "Hearing", "Ingress", "unpack_block"]

_SURE_MS: Final = 100
"""Workers know the store's time to within less; who began to speak so long after we listened was heard."""
_MOST_SPEAKERS: Final = 256


class Ingress:
    """Gathers ephemeral items and sends at most one block per beat; the first after quiet at once.

    Items over the room's budget are shed here already: no worker can show more than the budget, so
    nothing above it needs to cross the store.

    Args:
        lanes: sheds by kind; only its ephemeral lane is used here.
        keep: kind -> how many late joiners are given (0: none).
        flush: called once a beat after `mark`, before the block goes.
        on_shed: takes what was shed here.
    """

    def __init__(
        self,
        batcher: Batcher,
        grid: BeatGrid,
        lanes: Lanes[Item],
        *,
        keep: Callable[[str], int],
        flush: Callable[[], None],
        on_shed: Callable[[list[Ephemeral[Item]]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._batcher = batcher
        self._grid = grid
        self._lanes = lanes
        self._keep = keep
        self._flush = flush
        self._on_shed = on_shed
        self._marked = False
        self._private: list[Ephemeral[Item]] = []
        self._timer: asyncio.Handle | None = None
        self._last = 0.0
        self._totals: Counter[str] = Counter()
        self._since = 0

    def add(self, item: Ephemeral[Item]) -> None:
        """Take one item."""
        self._lanes.add_ephemeral(item)
        if self._timer is None:
            self._schedule()

    def add_private(self, item: Ephemeral[Item]) -> None:
        """Take one item for its sender alone: it waits as others do, and leaves nothing behind."""
        self._private.append(item)
        self._schedule()

    def mark(self) -> None:
        """Have the flush hooks called with the next beat."""
        self._marked = True
        self._schedule()

    def close(self) -> None:
        """Send what waits now; nothing comes after it."""
        if self._timer is not None:
            self._timer.cancel()
            self._send()

    def _schedule(self) -> None:
        if self._timer is not None:
            return
        now = self._loop.time()
        if now - self._last > self._grid.beat_s:
            self._timer = self._loop.call_soon(self._send)
        else:
            self._timer = self._loop.call_at(self._grid.next(now), self._send)

    def _send(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._marked:
            self._marked = False
            self._flush()
        items, shed = self._lanes.shed(now)
        if shed:
            self._on_shed(shed)
        counts = self._lanes.take_counts()
        private, self._private = self._private, []
        block = b""
        if items or counts:
            self._totals.update(counts)
            self._totals.update(e.kind for e in items)
            self._since = self._since or self._grid.server_ms(now)
            block = _pack_block(Block(items, counts, self._totals, self._since))
        if block or private:
            self._last = now  # a flush alone is no reason for the next to wait
            self._batcher.broadcast(Broadcast(block, self._kept(items), private))

    def _kept(self, items: list[Ephemeral[Item]]) -> list[tuple[str, int, list[bytes]]]:
        groups: dict[str, list[bytes]] = {}
        for item in items:
            if self._keep(item.kind):
                groups.setdefault(item.kind, []).append(item.item.json)
        return [(kind, self._keep(kind), lines) for kind, lines in groups.items()]


class Block(NamedTuple):
    """What one beat of one worker says.

    Attributes:
        items: what was kept.
        counts: how many of each kind were shed before it was sent.
        totals: how many of each kind this worker has ever had, both sorts: a block that never
            arrives leaves a difference.
        since: when it sent the first of the blocks that its totals count, server ms.
    """

    items: list[Ephemeral[Item]]
    counts: dict[str, int]
    totals: dict[str, int]
    since: int


class Hearing:
    """Notices blocks that were lost on the way, by the totals of those that were not."""

    def __init__(self) -> None:
        self._from_ms = math.inf
        self._totals: OrderedDict[tuple[str, int], dict[str, int]] = OrderedDict()

    def begin(self, now_ms: int) -> None:
        """Take that from now on every block should come; once is enough."""
        self._from_ms = min(self._from_ms, now_ms)

    def missed(self, worker: str, block: Block) -> dict[str, int] | None:
        """Return how many items of each kind a worker sent since its last block heard, before this.

        None: the block was overtaken by a later one and has been counted as missed; it is not to be
        shown any more.
        """
        speaker = worker, block.since
        before = self._totals.get(speaker)
        here = Counter(e.kind for e in block.items)
        here.update(block.counts)
        if before is None:
            heard_all = block.since > self._from_ms + _SURE_MS
            before = {} if heard_all else Counter(block.totals) - here
        elif sum(block.totals.values()) <= sum(before.values()):
            return None
        self._totals[speaker] = block.totals
        if len(self._totals) > _MOST_SPEAKERS:
            self._totals.popitem(last=False)
        gaps = {kind: n - before.get(kind, 0) - here[kind] for kind, n in block.totals.items()}
        return {kind: gap for kind, gap in gaps.items() if gap > 0}


def _pack_block(block: Block) -> bytes:
    rows = [(e.kind, e.user, e.session, e.weight, e.must, e.item.json) for e in block.items]
    packed: bytes = msgpack.packb((rows, *block[1:]))
    return packed


def unpack_block(packed: bytes) -> Block:
    """Return what a block says."""
    rows, counts, totals, since = msgpack.unpackb(packed)
    items = [Ephemeral(kind, u, s, w, must, Item(json)) for kind, u, s, w, must, json in rows]
    return Block(items, counts, totals, since)
