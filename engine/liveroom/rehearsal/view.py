"""What a few viewers decode for all of them, and what must be true of it (layer 9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any


__all__ = ["Eyes", "View"]

Item = dict[str, Any]

_MOST_FAULTS = 20


class View:
    """The room as those who look see it.

    Args:
        on_state: told every newer value of a `latest` key.
    """

    def __init__(self, on_state: Callable[[str, Item], None]) -> None:
        self._on_state = on_state
        self._versions: dict[str, int] = {}
        self._durable: dict[tuple[str, int], Item] = {}
        self.states: dict[str, Item] = {}
        self.last: dict[str, Item] = {}
        """The newest value that was not null, of those that are gone, too."""
        self.shown: Counter[str] = Counter()
        self.faults: list[str] = []

    def take_state(self, item: Item) -> None:
        """Take a value of a key; what is older than the known one is not looked at."""
        name, d = item["st"], item["d"]
        if item["v"] <= self._versions.get(name, 0):
            return
        self._versions[name] = item["v"]
        self.states.pop(name, None)
        if d is not None:
            self.states[name] = self.last[name] = d
            self._on_state(name, d)

    def take_durable(self, epoch: str, item: Item) -> None:
        """Take a durable event of the room: everyone must see the same under a number."""
        known = self._durable.setdefault((epoch, item["seq"]), item)
        if known != item:
            self.fault(f"event {item['seq']} is {known['ev']} for one and {item['ev']} for another")

    def events(self, name: str = "") -> list[Item]:
        """Return the durable events of a name, or all of them."""
        return [item for item in self._durable.values() if name in ("", item["ev"])]

    def fault(self, text: str) -> None:
        """Note what must not be."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(text)


class Eyes:
    """One viewer who looks: checks the order of what it is shown, and adds it to the view."""

    def __init__(self, user: str, view: View) -> None:
        self._user = user
        self._view = view
        self.epoch = ""
        self.seq = 0
        self.sub = 0

    @property
    def resume(self) -> Item | None:
        """The position to go on from; None before the first greeting."""
        return {"epoch": self.epoch, "seq": self.seq, "sub": self.sub} if self.epoch else None

    def greeted(self, d: Item) -> None:
        """Take the greeting: where this begins, and what is known already."""
        if self.epoch and not d["resumed"]:
            self._view.fault(f"{self._user} was not resumed at {self.seq}")
        self.epoch, self.seq, self.sub = d["epoch"], d["seq"], d["sub"]
        for state in d["states"]:
            self._view.take_state(state)

    def take(self, item: Item) -> None:
        """Take one item that is not a reply."""
        if "st" in item:
            self._view.take_state(item)
        elif "seq" in item:
            self._take_durable(item)
        elif "ev" in item:
            self._view.shown[item["ev"]] += 1

    def _take_durable(self, item: Item) -> None:
        place = item["seq"], item.get("sub", 0)
        fits = place == (self.seq + 1, 0) or (item["seq"] == self.seq and place[1] > self.sub)
        if not fits:
            self._view.fault(f"{self._user}: after {self.seq}-{self.sub} came {place}")
        self.seq, self.sub = place
        if not place[1]:
            self._view.take_durable(self.epoch, item)
