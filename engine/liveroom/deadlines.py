"""One sweep per second for all connections of a worker: no timer per connection (layer 6).

Heartbeat (RFC 6455, 5.5.2): the connections are dealt over as many slots as the heartbeat has
seconds; each second one slot is pinged, and the slot that was pinged `dead_after - heartbeat`
seconds ago is searched for those that have been silent since. So whoever dies is pinged within one
heartbeat and gone `dead_after` seconds after its last word at the latest.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from liveroom.protocol.frame_builder import ping_frame


__all__ = ["Deadlines", "Heartbeat", "Peer"]


class Peer(Protocol):
    """What the sweeps need of a connection."""

    last_heard: float

    write: Callable[[bytes], None]
    """Queues one frame."""

    def abort(self) -> None:
        """Drop the connection."""


P = TypeVar("P", bound=Peer)


class Heartbeat:
    """Pings silent peers and drops dead ones.

    Args:
        every_s: how often a peer is pinged.
        dead_after_s: when a dead peer is gone at the latest; above `every_s`, by as much as a
            pong may take.
        on_dead: told of each one that is dropped.
    """

    def __init__(
        self, every_s: float, dead_after_s: float, on_dead: Callable[[Peer], None]
    ) -> None:
        self._slots: list[set[Peer]] = [set() for _ in range(max(1, round(every_s)))]
        self._grace = max(1, round(dead_after_s - every_s))  # seconds for the pong
        self._ticks: deque[float] = deque(maxlen=self._grace + 1)
        self._on_dead = on_dead
        self._next = 0
        self._place: dict[Peer, int] = {}
        self._ping = ping_frame()

    def __len__(self) -> int:
        return len(self._place)

    def add(self, peer: Peer) -> None:
        """Take a peer in; the next slots to be pinged get it last, so that load stays even."""
        slot = (self._next + len(self._place)) % len(self._slots)
        self._slots[slot].add(peer)
        self._place[peer] = slot

    def discard(self, peer: Peer) -> None:
        """Let a peer go."""
        slot = self._place.pop(peer, None)
        if slot is not None:
            self._slots[slot].discard(peer)

    def tick(self, now: float) -> None:
        """One second has passed: `now` in monotonic seconds."""
        count = len(self._slots)
        self._ticks.append(now)
        if len(self._ticks) > self._grace:
            self._drop_silent(self._slots[(self._next - self._grace) % count], self._ticks[0])
        for peer in self._slots[self._next]:
            peer.write(self._ping)
        self._next = (self._next + 1) % count

    def _drop_silent(self, slot: set[Peer], pinged_at: float) -> None:
        for peer in [peer for peer in slot if peer.last_heard < pinged_at]:
            self._on_dead(peer)
            peer.abort()


class Deadlines:
    """Things to do at a time, to the second; cancelled by key, so nothing outlives its owner."""

    def __init__(self) -> None:
        self._due: dict[int, dict[object, Callable[[], None]]] = defaultdict(dict)
        self._second_of: dict[object, int] = {}
        self._done_until: int | None = None

    def __len__(self) -> int:
        return len(self._second_of)

    def set(self, key: object, at: float, action: Callable[[], None]) -> None:
        """Do something at a time (seconds); a key has one time, a new one replaces it."""
        self.cancel(key)
        second = int(at) + 1
        if self._done_until is not None:
            second = max(second, self._done_until + 1)
        self._due[second][key] = action
        self._second_of[key] = second

    def cancel(self, key: object) -> None:
        """Do not do it."""
        second = self._second_of.pop(key, None)
        if second is not None:
            actions = self._due[second]
            del actions[key]
            if not actions:
                del self._due[second]

    def tick(self, now: float) -> None:
        """Do what is due by `now`."""
        self._done_until = int(now)
        for second in sorted(s for s in self._due if s <= now):
            actions = self._due.pop(second)
            for key in actions:
                del self._second_of[key]
            for action in actions.values():
                action()
