"""The beat: cuts a room's lanes and writes one frame to each of its viewers.

Nothing here is done per viewer except the write itself, and the write loop yields every few
milliseconds: twenty thousand viewers must not stop the worker.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from liveroom.core.beat import BeatPolicy
from liveroom.core.grid import BeatGrid
from liveroom.core.lanes import Cut, Lanes
from liveroom.hub.viewer import Viewer
from liveroom.metrics import FanoutMetrics
from liveroom.protocol.items import Item, Message, event_item


__all__ = ["Delivery"]

SLICE_S = 0.005
"""Loop time that one slice of writing may take."""
_CHECK_EVERY = 16  # viewers between two looks at the clock
_LAG_S = 0.012  # after the grid point at which workers publish; covers the way through the store
_PATIENCE_S = 0.004  # added while this worker's own block is still on its way
_PATIENCE = 8
_RIDE_S = 0.5
_NEVER = 1 << 60  # bytes from which a message to one viewer is deflated: it may be secret


_Placed = tuple[int, Item]


class _Own(NamedTuple):
    """What one viewer is given in place of the room's message."""

    full: Message
    essential: Message | None


class Delivery:
    """Deliveries of one room.

    Args:
        lanes: what waits.
        viewers: the room's viewers at this moment.
        by_user: the viewers of a user, for what only they may see.
        by_session: the viewer of a session.
        labelled: viewers whose connection is in other rooms too: theirs says which room it is about.
        held: viewers that are given nothing now, as they are about to be greeted anew.
        awaiting: whether this worker's own block is on its way and will be here in a moment.
        on_cut: called when the lanes were emptied, before anything is written.
        on_written: called when everything is written.
    """

    def __init__(
        self,
        lanes: Lanes[Item],
        grid: BeatGrid,
        metrics: FanoutMetrics,
        *,
        deflate_min: int,
        viewers: Callable[[], Sequence[Viewer]],
        by_user: Callable[[str], Iterable[Viewer]],
        by_session: Callable[[str], Viewer | None],
        labelled: Collection[Viewer],
        held: Collection[Viewer],
        awaiting: Callable[[], bool],
        on_cut: Callable[[], None],
        on_written: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._lanes = lanes
        self._grid = grid
        self._metrics = metrics
        self._deflate_min = deflate_min
        self._viewers = viewers
        self._by_user = by_user
        self._by_session = by_session
        self._labelled = labelled
        self._held = held
        self._awaiting = awaiting
        self._on_cut = on_cut
        self._on_written = on_written
        self._policy = BeatPolicy(grid.beat_s, min_s=min(0.02, grid.beat_s))
        self._timer: asyncio.Handle | None = None
        self._riding = False
        self._hurried = False
        self._waited = 0
        self.writing = False
        """Whether a delivery is on its way to the viewers."""

    @property
    def interval(self) -> float:
        """Seconds between deliveries of the room while it is busy."""
        return self._policy.interval

    def request(self, *, may_wait: bool = False) -> None:
        """Have what waits in the lanes delivered: at once after quiet, else with the beat.

        Args:
            may_wait: it may wait half a second for something else to go with; with a thousand
                viewers a counter's change alone is not worth a thousand writes.
        """
        self._hurried = self._hurried or not may_wait
        if self.writing or (self._timer is not None and (may_wait or not self._riding)):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._riding = may_wait
        now = self._loop.time()
        if may_wait:
            self._timer = self._loop.call_later(_RIDE_S, self._deliver)
            return
        due = self._policy.next_delivery(now, True)
        assert due is not None, "something is pending"
        if due <= now:
            self._timer = self._loop.call_soon(self._deliver)
        else:
            self._timer = self._loop.call_at(self._on_grid(now, due), self._deliver)

    def close(self) -> None:
        """Deliver nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_grid(self, now: float, due: float) -> float:
        """Return the grid moment that fits: half a beat early is better than half a beat late."""
        return self._grid.next(max(now, due - self._grid.beat_s / 2), _LAG_S)

    def _deliver(self) -> None:
        self._timer = None
        if self._awaiting() and self._waited < _PATIENCE:
            self._waited += 1
            self._timer = self._loop.call_later(_PATIENCE_S, self._deliver)
            return
        self._waited = 0
        self._hurried = False
        now = self._loop.time()
        cut = self._lanes.cut(now)
        full, essential = self._messages(cut)
        viewers = self._receivers(full)
        personal = self._personal(cut, full.sheddable)
        self._metrics.cut(cut.counts, len(cut.ephemeral))
        self._on_cut()
        self.writing = True
        _Writing(self, viewers, full, essential, personal, now).go()

    def _receivers(self, full: Message) -> list[Viewer]:
        """Return whom this delivery is for; whoever comes in from now on is brought up to it."""
        for viewer in self._held:
            viewer.miss(full)
        held = self._held
        return [v for v in self._viewers() if v not in held] if held else list(self._viewers())

    def _messages(self, cut: Cut[Item]) -> tuple[Message, Message | None]:
        public = [item for user, item in cut.durable if user is None] + cut.latest
        essential = Message(public, self._deflate_min) if public else None
        if not cut.ephemeral and not cut.counts:
            return Message(public, self._deflate_min), essential
        missed = Counter(e.kind for e in cut.ephemeral)
        missed.update(cut.counts)
        items = public + [e.item for e in cut.ephemeral]
        if cut.counts:
            items.append(event_item("sys.shed", cut.counts))
        return Message(items, self._deflate_min, missed), essential

    def _personal(self, cut: Cut[Item], sheddable: Mapping[str, int]) -> dict[Viewer, _Own]:
        """Return the messages of each viewer that is given more than the others."""
        users = _by_user(cut.durable)
        chosen = {viewer for user in users if user is not None for viewer in self._by_user(user)}
        authors: dict[Viewer, list[Item]] = {}
        for lost in cut.shed:
            author = self._by_session(lost.session)
            if author is not None:
                authors.setdefault(author, []).append(kept_for_author(lost.item))
        for user, item in cut.private:
            for viewer in self._by_user(user):
                authors.setdefault(viewer, []).append(item)
        rest = [e.item for e in cut.ephemeral]
        rest += [event_item("sys.shed", cut.counts)] if cut.counts else []

        def own(viewer: Viewer) -> _Own:
            mine = sorted(users[None] + users.get(viewer.user, []), key=_place)
            items = [item for _, item in mine] + cut.latest
            extra = rest + authors.get(viewer, [])
            label = [viewer.label] if viewer.label is not None and (items or extra) else []
            essential = Message(label + items, _NEVER, {}) if items else None
            return _Own(Message(label + items + extra, _NEVER, sheddable), essential)

        made = {viewer: own(viewer) for viewer in chosen | authors.keys() | set(self._labelled)}
        return {viewer: mine for viewer, mine in made.items() if mine.full.items}

    def written(self, began: float, seconds: float, count: int) -> None:
        """Take note of a finished delivery."""
        self.writing = False
        self._policy.delivered(began, seconds)
        self._metrics.delivered(count, seconds, self._policy.interval)
        self._on_written()
        if self._lanes.pending:
            self.request(may_wait=not self._hurried)


def _by_user(durable: Sequence[tuple[str | None, Item]]) -> dict[str | None, list[_Placed]]:
    """Return whose the events are, with their places: None is everyone's."""
    users: dict[str | None, list[_Placed]] = {None: []}
    for place, (user, item) in enumerate(durable):
        users.setdefault(user, []).append((place, item))
    return users


def _place(placed: _Placed) -> int:
    return placed[0]


def kept_for_author(item: Item) -> Item:
    """Return a shed item as its author is shown it: marked, as it counts as shed."""
    return Item(item.json[:-1] + b',"kept":true}')


class _Writing:
    """One delivery on its way to the viewers, in slices."""

    __slots__ = ("_began", "_delivery", "_essential", "_full", "_index", "_personal", "_slice",
                 "_spent", "_viewers")  # fmt: skip

    def __init__(
        self,
        delivery: Delivery,
        viewers: list[Viewer],
        full: Message,
        essential: Message | None,
        personal: dict[Viewer, _Own],
        began: float,
    ) -> None:
        self._delivery = delivery
        self._viewers = viewers
        self._full = full
        self._essential = essential
        self._personal = personal
        self._began = began
        self._index = 0
        self._spent = 0.0
        self._slice = 0.0

    def go(self) -> None:
        """Write one slice, then let the loop turn."""
        loop = self._delivery._loop  # two halves of one thing
        now = self._account(loop.time())
        viewers, total = self._viewers, len(self._viewers)
        if self._index >= total:
            self._delivery.written(self._began, self._spent, total)
            return
        until = now + SLICE_S
        if self._personal or not self._full.items:
            self._write_each(now, until, loop)
        else:
            full, essential, frames = self._full, self._essential, self._full.frames
            while self._index < total and now < until:
                for viewer in viewers[self._index : self._index + _CHECK_EVERY]:
                    if viewer.waiting or viewer.careful:
                        viewer.deliver(full, essential, now)
                    else:
                        viewer.write(frames[viewer.variant] or full.frame(viewer.variant))
                self._index += _CHECK_EVERY
                now = loop.time()
        loop.call_soon(self.go)

    def _account(self, now: float) -> float:
        # The loop sends what was queued when the callbacks are done: the slice ends only here.
        # CPU time: on a busy machine the wall's would stretch the beat for what others do.
        cpu = time.thread_time()
        if self._slice:
            self._spent += cpu - self._slice
        self._slice = cpu
        return now

    def _write_each(self, now: float, until: float, loop: asyncio.AbstractEventLoop) -> None:
        """Write while some viewers are given more than the others, or only some are given any."""
        while self._index < len(self._viewers) and now < until:
            viewer = self._viewers[self._index]
            own = self._personal.get(viewer)
            if own is not None:
                viewer.deliver(own.full, own.essential, now)
            elif self._full.items:
                viewer.deliver(self._full, self._essential, now)
            self._index += 1
            now = loop.time()
