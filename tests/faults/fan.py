"""Who looks on while something breaks, and says what was missing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from faults.people import AGAIN_S, Item, Person


__all__ = ["Fan"]


class Fan(Person):
    """A viewer who notices whatever is missing, comes twice or differs from what others saw.

    Attributes:
        greetings: how often it was greeted: what is said meanwhile is in no account.
        latest: the newest item of each `latest` key, in this epoch.
        shown: what was said by others, and how often it was shown.
        shed: how much of it this viewer was told that it was not shown.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.epoch = ""
        self.place: tuple[int, int] | None = None
        self.heard = 0.0
        self.greetings = 0
        self.latest: dict[str, Item] = {}
        self.shown: Counter[str] = Counter()
        self.shed = 0
        self._versions: dict[str, int] = {}  # on this connection

    @property
    def seq(self) -> int:
        """The last event's number; -1 when a new beginning is asked for."""
        return -1 if self.place is None else self.place[0]

    def resume(self) -> Item | None:
        """Go on from the last event."""
        if self.place is None:
            return None
        return {"epoch": self.epoch, "seq": self.place[0], "sub": self.place[1]}

    def take(self, item: Item) -> None:
        """Check order, completeness and equality."""
        greeting = item.get("d") if "re" in item else None
        if isinstance(greeting, dict) and "resumed" in greeting:
            self._greeted(greeting)
        elif item.get("ev") == "sys.gap":
            self.ledger.told += self.place is not None
            self.epoch, self.place = "", None
            self.latest, self._versions = {}, {}
            self._asking = asyncio.create_task(self._ask_anew())
        elif "st" in item:
            self._newer(item)
        elif "seq" not in item:
            self._hear(item)
        elif self.place is not None:  # after a gap all is dropped until the greeting
            self._next((item["seq"], item.get("sub", 0)), item)

    async def _ask_anew(self) -> None:
        """Ask for a fresh beginning, as whoever was told of a gap does."""
        while self.place is None and not self.ended:
            await self.command("sys.resume")
            await asyncio.sleep(AGAIN_S)

    def _greeted(self, greeting: Item) -> None:
        self.greetings += 1
        place = (greeting["seq"], greeting["sub"])
        if self.epoch and not greeting["resumed"]:
            self.ledger.told += 1
        elif self.place is not None and (greeting["epoch"], place) != (self.epoch, self.place):
            self.ledger.silent.append(f"{self.user}: resumed at {place}, was at {self.place}")
        if greeting["epoch"] != self.epoch:
            self.latest = {}
        self.epoch, self.place, self._versions = greeting["epoch"], place, {}
        for state in greeting["states"]:
            self._newer(state)

    def _newer(self, item: Item) -> None:
        """Take a value; one that is older than what another worker showed is dropped."""
        name, version = item["st"], item["v"]
        if version < self._versions.get(name, 0):
            self.ledger.backward.append(f"{self.user}: {name} {version} after {self._versions}")
        self._versions[name] = version
        if name not in self.latest or version >= self.latest[name]["v"]:
            self.latest[name] = item

    def _hear(self, item: Item) -> None:
        if item.get("ev") == "danmaku" and not item.get("kept"):
            self.shown[item["d"]["text"]] += 1
        elif item.get("ev") == "sys.shed":
            self.shed += item["d"].get("danmaku", 0)

    def _next(self, came: tuple[int, int], item: Item) -> None:
        seq, sub = self.place or (-1, 0)
        mine = came[0] == seq and came[1] > sub  # private: those in between are others'
        if came != (seq + 1, 0) and not mine:
            self.ledger.silent.append(f"{self.user}: after {self.place} came {came}")
        self.place, self.heard = came, time.monotonic()
        self.ledger.seen += 1
        if self.ledger.payloads.setdefault((self.epoch, *came), item) != item:
            self.ledger.differing.append(f"{self.user}: two events at {self.epoch} {came}")
