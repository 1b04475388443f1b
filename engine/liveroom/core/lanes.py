"""What waits for a room's next delivery, by class (layer: core).

Three lanes: durable events in order, the newest value of each `latest` key, and ephemeral items
under the budget of their kind. `cut` empties them into one delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from liveroom.core.shedding import FairShedder


__all__ = ["Cut", "Ephemeral", "Lanes"]

T = TypeVar("T")


class Ephemeral(NamedTuple, Generic[T]):
    """One sheddable item; `session` is the sender's connection ("" for none)."""

    kind: str
    user: str
    session: str
    weight: float
    must: bool
    item: T


class Cut(NamedTuple, Generic[T]):
    """What one delivery is made of.

    Attributes:
        durable: (user or None, item) in log order.
        latest: the newest item of each key.
        ephemeral: what is shown to everyone, in order of arrival.
        shed: what is not, with its sender.
        counts: how many of each kind were shed since the last cut, here and upstream.
        private: (user, item): what only that user is shown.
    """

    durable: list[tuple[str | None, T]]
    latest: list[T]
    ephemeral: list[Ephemeral[T]]
    shed: list[Ephemeral[T]]
    counts: dict[str, int]
    private: Sequence[tuple[str, T]] = ()


class Lanes(Generic[T]):
    """The lanes of one room.

    Args:
        shedder: makes the shedder of a kind of ephemeral item.
    """

    __slots__ = (
        "_counts",
        "_durable",
        "_ephemeral",
        "_latest",
        "_private",
        "_shedder_of",
        "_shedders",
    )

    def __init__(self, shedder: Callable[[str], FairShedder[Any]]) -> None:
        self._shedder_of = shedder
        self._shedders: dict[str, FairShedder[Any]] = {}
        self._durable: list[tuple[str | None, T]] = []
        self._latest: dict[str, T] = {}
        self._ephemeral: list[Ephemeral[T]] = []
        self._private: list[tuple[str, T]] = []
        self._counts: dict[str, int] = {}

    @property
    def pending(self) -> bool:
        """Whether there is anything to deliver."""
        waiting = self._durable or self._latest or self._ephemeral or self._private
        return bool(waiting or self._counts)

    @property
    def durable_pending(self) -> bool:
        """Whether a durable event waits."""
        return bool(self._durable)

    def add_durable(self, user: str | None, item: T) -> None:
        """Add a durable event, for everyone or for one user."""
        self._durable.append((user, item))

    def add_latest(self, name: str, item: T) -> None:
        """Add a newer value of a key; it replaces one that still waits."""
        self._latest[name] = item

    def add_ephemeral(self, item: Ephemeral[T]) -> None:
        """Add an item that may be shed."""
        self._ephemeral.append(item)

    def add_private(self, user: str, item: T) -> None:
        """Add an item that only one user is shown; it counts for nothing."""
        self._private.append((user, item))

    def add_shed(self, counts: dict[str, int]) -> None:
        """Take note of items that were shed before they came here."""
        for kind, count in counts.items():
            self._counts[kind] = self._counts.get(kind, 0) + count

    def cut(self, now: float) -> Cut[T]:
        """Empty the lanes: at monotonic time `now`, shed what is over the budget."""
        kept, shed = self.shed(now)
        newest = list(self._latest.values())
        cut = Cut(self._durable, newest, kept, shed, self._counts, self._private)
        self._durable, self._latest, self._counts, self._private = [], {}, {}, []
        return cut

    def shed(self, now: float) -> tuple[list[Ephemeral[T]], list[Ephemeral[T]]]:
        """Empty the ephemeral lane into (kept, shed); both in order of arrival; shed is counted."""
        waiting, self._ephemeral = self._ephemeral, []
        if not waiting:
            return [], []
        by_kind: dict[str, list[Ephemeral[T]]] = {}
        for item in waiting:
            by_kind.setdefault(item.kind, []).append(item)
        shed: list[Ephemeral[T]] = []
        for kind, items in by_kind.items():
            lost = self._shedder(kind).admit(now, items)[1]
            if lost:
                shed += lost
                self.add_shed({kind: len(lost)})
        if not shed:
            return waiting, []
        gone = {id(item) for item in shed}
        return [item for item in waiting if id(item) not in gone], shed

    def take_counts(self) -> dict[str, int]:
        """Return and clear the counts of what was shed."""
        counts, self._counts = self._counts, {}
        return counts

    def _shedder(self, kind: str) -> FairShedder[Any]:
        shedder = self._shedders.get(kind)
        if shedder is None:
            shedder = self._shedders[kind] = self._shedder_of(kind)
        return shedder
