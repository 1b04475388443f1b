"""A room on this worker: its log, its lanes, its viewers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from liveroom.core.lanes import Ephemeral, Lanes
from liveroom.core.position import Position
from liveroom.core.shedding import FairShedder
from liveroom.hub.batch import Batcher
from liveroom.hub.delivery import Delivery, kept_for_author
from liveroom.hub.follower import Follower
from liveroom.hub.ingress import Block, Hearing, Ingress, unpack_block
from liveroom.hub.joining import Joining
from liveroom.hub.viewer import Viewer
from liveroom.plugin.context import Member
from liveroom.plugin.spec import Delivery as Delivered
from liveroom.protocol.items import Item, event_item
from liveroom.store.port import Committed, LogEntry, Op, StateItem


if TYPE_CHECKING:
    from liveroom.hub.hub import Hub

__all__ = ["Room"]

log = structlog.get_logger("liveroom.hub")

_EPHEMERAL = Delivered.EPHEMERAL  # reading a member off an enum class takes longer
RING_ENTRIES, RING_BYTES = 4096, 1 << 20


class Room:
    """Implements `RoomHandle` for plugins; the hub drives it.

    Args:
        room_id: room id or internal scope (a room without viewers).
        hub: the worker's hub: store, settings, plugins, metrics.
    """

    def __init__(self, room_id: str, hub: Hub) -> None:
        self.id = room_id
        self._hub = hub
        self.viewers: list[Viewer] = []
        self._users: dict[str, list[Viewer]] = {}
        self._sessions: dict[str, Viewer] = {}
        self._labelled: set[Viewer] = set()
        self._held: set[Viewer] = set()
        self._values: dict[str, Any] = {}
        self._hearing = Hearing()
        self._filled = self._lost = 0
        self.heard: Counter[str] = Counter()
        settings = hub.settings
        self.due_ms = 0
        self.observer: Callable[[LogEntry], None] | None = None
        self.idle_since = hub.clock.monotonic()
        self.batcher = Batcher(
            room_id,
            hub.store,
            hub.clock,
            metrics=hub.metrics.commit,
            max_ops=settings.commit_max_ops,
            patience_s=settings.store_timeout_ms / 1000,
            on_committed=self._on_committed,
            on_private=self._on_private,
        )
        self.follower = Follower(
            room_id, hub.store, self, request=self.batcher.request, ring=(RING_ENTRIES, RING_BYTES)
        )
        self._lanes: Lanes[Item] = Lanes(self._shedder)
        self._ingress = self._make_ingress(hub)
        self._delivery = self._make_delivery(hub)
        self.joining = Joining(self, hub)

    def _make_ingress(self, hub: Hub) -> Ingress:
        return Ingress(
            self.batcher,
            hub.grid,
            Lanes(self._shedder),
            keep=lambda kind: hub.manager.events[kind].keep,
            flush=self._flush,
            on_shed=self._show_to_authors,
        )

    def _make_delivery(self, hub: Hub) -> Delivery:
        return Delivery(
            self._lanes,
            hub.grid,
            hub.metrics.fanout,
            deflate_min=hub.settings.deflate_min_bytes,
            viewers=lambda: self.viewers,
            by_user=lambda user: self._users.get(user, ()),
            by_session=self._sessions.get,
            labelled=self._labelled,
            held=self._held,
            awaiting=lambda: self.batcher.broadcasting,
            on_cut=self._on_cut,
            on_written=self._on_cut,
        )

    # What plugins see.

    @property
    def position(self) -> Position:
        """The last durable event that this worker has applied."""
        return self.follower.position

    @property
    def current(self) -> bool:
        """Whether every durable event that is known to exist has been applied and observed."""
        return self.follower.current

    @property
    def members(self) -> Sequence[Member]:
        """The connections in the room on this worker."""
        return self.viewers

    @property
    def online(self) -> int:
        """Distinct users in the room on this worker."""
        return len(self._users)

    def state(self, name: str) -> Any:
        """Return the newest known value of a `latest` key, or None."""
        try:  # several times for every message, and nearly always there
            return self._values[name]
        except KeyError:
            pass
        known = self.follower.states.get(name)
        value = None if known is None else orjson.loads(known.item)["d"]
        self._values[name] = value
        return value

    def states(self, prefix: str) -> Sequence[str]:
        """Return the `latest` keys that begin so and have a value."""
        known = self.follower.states.values()
        return [state.name for state in known if state.name.startswith(prefix) and not state.gone]

    def publish(
        self,
        event: str,
        d: dict[str, Any],
        *,
        member: Member | None = None,
        weight: float = 1.0,
        must: bool = False,
        only: bool = False,
        counted: bool = False,
    ) -> None:
        """Send an ephemeral event with the next beat (see `RoomHandle.publish`)."""
        hub = self._hub
        spec = hub.manager.events.get(event)
        if spec is None or spec.delivery is not _EPHEMERAL:
            raise LookupError(f"{event} is not declared as an ephemeral event")
        user, session = (member.claims.user, member.session) if member is not None else ("", "")
        ts = hub.grid.server_ms(hub.clock.monotonic())
        item = Ephemeral(event, user, session, weight, must, event_item(event, d, ts))
        if only:
            self._ingress.add_private(item)
        else:
            self._ingress.add(item)
        if counted or not only:
            hub.manager.published(self, event, d, ts)

    def submit(
        self, op: Op, *, durable: bool = False, within_s: float = 0.0
    ) -> asyncio.Future[bytes]:
        """Put an operation into the next batch; the future holds the script's reply."""
        return self.batcher.request(op, durable=durable, within_s=within_s)

    def mark(self) -> None:
        """Have the `flush` hooks called with the next beat."""
        self._ingress.mark()

    # What the follower applies.

    def on_durable(self, entry: LogEntry) -> None:
        """Queue a durable event for delivery, unless it is for workers: nobody is to wait for those."""
        if entry.user is None or entry.user[:1] != "~":
            self._lanes.add_durable(entry.user, Item(entry.item))
            self._delivery.request()
        if self.observer is not None:
            self.observer(entry)
        self._hub.manager.observe(self, entry)

    def on_state(self, state: StateItem) -> None:
        """Queue a newer value of a `latest` key."""
        self._values.pop(state.name, None)
        self._lanes.add_latest(state.name, Item(state.item))
        self._delivery.request(may_wait=self._hub.manager.state_rides(state.name))

    def on_ephemeral(self, block: bytes, worker: str) -> None:
        """Queue a block of ephemeral items, unless it was given up already."""
        said = unpack_block(block)
        missed = self._hearing.missed(worker, said)
        if missed is None:
            return
        for item in said.items:
            self._lanes.add_ephemeral(item)
        self._lanes.add_shed(said.counts)
        self._lanes.add_shed(missed)
        self._count_heard(said, missed)
        kinds = {item.kind for item in said.items} | said.counts.keys()
        self._delivery.request(may_wait=all(map(self._hub.manager.event_rides, kinds)))

    def _count_heard(self, said: Block, missed: Mapping[str, int]) -> None:
        self.heard.update(item.kind for item in said.items)
        self.heard.update(said.counts)
        self.heard.update(missed)

    def on_epoch(self, epoch: str) -> None:
        """Tell every viewer that its position means nothing any more."""
        self._values.clear()
        self._hub.metrics.epochs.inc(self.follower.lost - self._lost)  # not a first beginning
        self._lost = self.follower.lost
        # In the lane of the durable events: it stands between those of the two epochs.
        gap = event_item("sys.gap", {"from": None, "to": None, "epoch": epoch})
        self._lanes.add_durable(None, gap)
        self._delivery.request()

    def on_caught_up(self) -> None:
        """Let those in who waited for the position to be known."""
        self._hearing.begin(self._hub.grid.server_ms(self._hub.clock.monotonic()))
        self.joining.settled()

    # Viewers.

    def add(self, viewer: Viewer) -> None:
        """Put a viewer that has its snapshot into the fan-out."""
        viewer.index = len(self.viewers)
        self.viewers.append(viewer)
        self._users.setdefault(viewer.user, []).append(viewer)
        self._sessions[viewer.session] = viewer
        if viewer.label is not None:
            self._labelled.add(viewer)
        self._hub.manager.joined(self, viewer)

    def remove(self, viewer: Viewer) -> None:
        """Take a viewer out; nothing happens if it is not in."""
        if viewer.index < 0:
            return
        last = self.viewers.pop()
        if last is not viewer:
            self.viewers[viewer.index] = last
            last.index = viewer.index
        viewer.index = -1
        del self._sessions[viewer.session]
        self._labelled.discard(viewer)
        self._held.discard(viewer)
        same = self._users[viewer.user]
        same.remove(viewer)
        if not same:
            del self._users[viewer.user]
        if not self.viewers:
            self.idle_since = self._hub.clock.monotonic()
        self._hub.manager.left(self, viewer)

    def hold(self, viewer: Viewer) -> None:
        """Give a viewer nothing until `release`: it is about to be greeted anew. It stays a member."""
        if viewer.index >= 0:
            self._held.add(viewer)

    def release(self, viewer: Viewer) -> None:
        """Give a viewer the next delivery again, and tell what was shed of those in between."""
        self._held.discard(viewer)
        viewer.tell_missed()

    def of_user(self, user: str) -> Sequence[Viewer]:
        """Return the connections of a user in this room."""
        return tuple(self._users.get(user, ()))

    def count_filled(self) -> None:
        """Count what was read from the log since the last time."""
        self._hub.metrics.filled.inc(self.follower.filled - self._filled)
        self._filled = self.follower.filled

    def trim(self) -> None:
        """Have the log drop what is older than it needs to be."""
        op = Op("sys.trim", "", {"older_ms": self._hub.settings.log_max_age_s * 1000})
        self.batcher.submit(op, _log_fault(op), within_s=10.0)

    @property
    def settled(self) -> bool:
        """Whether every durable event that was applied was also cut for delivery."""
        return not self._lanes.durable_pending and not self._delivery.writing

    async def close(self) -> None:
        """Send what waits and let go."""
        self._ingress.close()
        await self.batcher.drain()
        self._delivery.close()
        await self.joining.close()
        await self.follower.close()

    def _shedder(self, kind: str) -> FairShedder[Any]:
        spec = self._hub.manager.events.get(kind)  # another worker may have more plugins
        per_s = None if spec is None else spec.per_s
        return FairShedder(self._hub.settings.danmaku_per_s if per_s is None else per_s)

    def _flush(self) -> None:
        for op in self._hub.manager.flush(self):
            self.batcher.submit(op, _log_fault(op))

    def _show_to_authors(self, shed: list[Ephemeral[Item]]) -> None:
        for lost in shed:
            author = self._sessions.get(lost.session)
            if author is not None:
                self._hub.flush_soon(author)
                author.waiting.append(kept_for_author(lost.item))

    def _on_private(self, items: Sequence[Ephemeral[Item]]) -> None:
        for said in items:
            self._lanes.add_private(said.user, said.item)
        self._delivery.request()

    def _on_cut(self) -> None:
        self.joining.settled()

    def _on_committed(self, committed: Committed) -> None:
        now = self._hub.clock.monotonic()
        self._hub.grid.observe(committed.now_ms, now)
        self.follower.told(committed.position, committed.changes)
        if committed.due_ms != self.due_ms:
            self.due_ms = committed.due_ms
            self._hub.schedule_due(self)


def _log_fault(op: Op) -> Any:
    """Return what takes the reply of an operation that nobody waits for."""

    def done(reply: object) -> None:
        if not isinstance(reply, bytes) or reply[:1] != b"+":
            log.warning("operation not done", op=op.name, reply=str(reply)[:200])

    return done
