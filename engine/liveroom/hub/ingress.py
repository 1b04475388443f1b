"""What a room says on this worker, on its way to the store: ephemeral items, once a beat."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import msgpack

from liveroom.core.grid import BeatGrid
from liveroom.core.lanes import Ephemeral, Lanes
from liveroom.hub.batch import Batcher, Broadcast
from liveroom.protocol.items import Item


__all__ = ["Block", "Hearing", "Ingress", "unpack_block"]


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

    def add(self, item: Ephemeral[Item]) -> None:
        """Take one item."""
        self._lanes.add_ephemeral(item)
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
            block = _pack_block(items, counts, self._totals)
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
    """

    items: list[Ephemeral[Item]]
    counts: dict[str, int]
    totals: dict[str, int]


class Hearing:
    """Notices blocks that were lost on the way, by the totals of those that were not."""

    def __init__(self) -> None:
        self._totals: dict[str, dict[str, int]] = {}

    def missed(self, worker: str, block: Block) -> dict[str, int]:
        """Return how many items of each kind a worker sent since its last block heard, before this."""
        here = Counter(e.kind for e in block.items)
        here.update(block.counts)
        before = self._totals.get(worker)
        self._totals[worker] = block.totals
        if before is None:
            return {}
        gaps = {kind: n - before.get(kind, 0) - here[kind] for kind, n in block.totals.items()}
        return {kind: gap for kind, gap in gaps.items() if gap > 0}  # less: it loaded the room anew


def _pack_block(
    items: list[Ephemeral[Item]], counts: dict[str, int], totals: dict[str, int]
) -> bytes:
    rows = [(e.kind, e.user, e.session, e.weight, e.must, e.item.json) for e in items]
    packed: bytes = msgpack.packb((rows, counts, totals))
    return packed


def unpack_block(block: bytes) -> Block:
    """Return what a block says."""
    rows, counts, totals = msgpack.unpackb(block)
    items = [Ephemeral(kind, u, s, w, must, Item(json)) for kind, u, s, w, must, json in rows]
    return Block(items, counts, totals)
