"""What a room says on this worker, on its way to the store: ephemeral items, once a beat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgpack

from liveroom.core.grid import BeatGrid
from liveroom.core.lanes import Ephemeral, Lanes
from liveroom.hub.batch import Batcher, Broadcast
from liveroom.protocol.items import Item


__all__ = ["Ingress", "unpack_block"]


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
        self._timer: asyncio.Handle | None = None
        self._last = 0.0

    def add(self, item: Ephemeral[Item]) -> None:
        """Take one item."""
        self._lanes.add_ephemeral(item)
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
        now = self._last = self._loop.time()
        if self._marked:
            self._marked = False
            self._flush()
        items, shed = self._lanes.shed(now)
        if shed:
            self._on_shed(shed)
        counts = self._lanes.take_counts()
        if items or counts:
            self._batcher.broadcast(Broadcast(_pack_block(items, counts), self._kept(items)))

    def _kept(self, items: list[Ephemeral[Item]]) -> list[tuple[str, int, list[bytes]]]:
        groups: dict[str, list[bytes]] = {}
        for item in items:
            if self._keep(item.kind):
                groups.setdefault(item.kind, []).append(item.item.json)
        return [(kind, self._keep(kind), lines) for kind, lines in groups.items()]


def _pack_block(items: list[Ephemeral[Item]], counts: dict[str, int]) -> bytes:
    rows = [(e.kind, e.user, e.session, e.weight, e.must, e.item.json) for e in items]
    packed: bytes = msgpack.packb((rows, counts))
    return packed


def unpack_block(block: bytes) -> tuple[list[Ephemeral[Item]], dict[str, int]]:
    """Return the items of a block and the counts of what was shed before it was sent."""
    rows, counts = msgpack.unpackb(block)
    items = [Ephemeral(kind, u, s, w, must, Item(json)) for kind, u, s, w, must, json in rows]
    return items, counts
