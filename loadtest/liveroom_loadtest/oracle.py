"""What every viewer checks about what it is shown, and what all of them are compared by (pure).

A viewer follows the room's log (`Track`): durable events come in order, without hole or double. All
viewers of all processes agree on what stands at a place (`Ledger`). And what the room accepted was
shown to a viewer or counted to it as shed (`account`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import orjson


__all__ = ["Ledger", "Mark", "Track", "account", "mark_of"]

Item = dict[str, Any]
Mark = tuple[int, int, str]
"""(seq, sub, name and hash) of a durable event."""

_MOST_FAULTS = 20


def mark_of(item: Item) -> Mark:
    """Return the mark of a durable event: equal for equal content, whatever the order of fields."""
    text = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    return (
        item["seq"],
        item.get("sub", 0),
        f"{_name(item)}:{blake2b(text, digest_size=8).hexdigest()}",
    )


def _name(item: Item) -> str:
    """Return the event's name; the end of a combo is no gift."""
    if item["ev"] == "gift.sent" and not item["d"].get("n"):
        return "gift.end"
    name: str = item["ev"]
    return name


class Ledger:
    """What was seen at each place of each room's log, and what must not be."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[int, str]] = {}
        self.faults: list[str] = []
        self.fault_count = 0

    def take(self, room: str, epoch: str, mark: Mark) -> None:
        """Note what one viewer saw; everyone must see the same."""
        seq, _, text = mark
        known = self._seen.setdefault((room, epoch), {}).setdefault(seq, text)
        if known != text:
            self.fault(f"{room} {epoch} {seq}: one was shown {known}, another {text}")

    def fault(self, text: str) -> None:
        """Note what must not be; the first ones in words, all of them by number."""
        self.fault_count += 1
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(text)

    def named(self, name: str) -> int:
        """Return how many events of a name there were."""
        prefix = f"{name}:"
        return sum(
            text.startswith(prefix) for seen in self._seen.values() for text in seen.values()
        )

    def to_plain(self) -> Item:
        """Return what another process can `merge`."""
        seen = [[*place, list(marks.items())] for place, marks in self._seen.items()]
        return {"seen": seen, "faults": self.faults, "fault_count": self.fault_count}

    def merge(self, plain: Item) -> None:
        """Add what another process saw."""
        for room, epoch, marks in plain["seen"]:
            for seq, text in marks:
                self.take(room, epoch, (seq, 0, text))
        self.fault_count += plain["fault_count"]
        self.faults = (self.faults + plain["faults"])[:_MOST_FAULTS]


class Track:
    """One viewer's place in its room's log."""

    __slots__ = ("_ledger", "_room", "_user", "epoch", "seq", "sub")

    def __init__(self, ledger: Ledger, user: str, room: str) -> None:
        self._ledger = ledger
        self._user = user
        self._room = room
        self.epoch = ""
        self.seq = self.sub = 0

    @property
    def resume(self) -> Item | None:
        """What a hello says to go on from here; None before the first greeting."""
        return {"epoch": self.epoch, "seq": self.seq, "sub": self.sub} if self.epoch else None

    def greeted(self, d: Item) -> bool:
        """Take a greeting; return whether this goes on where it was."""
        came = (d["epoch"], d["seq"], d["sub"])
        if d["resumed"] and came != (self.epoch, self.seq, self.sub):
            self._fault(f"was resumed at {came} instead of {(self.epoch, self.seq, self.sub)}")
        self.epoch, self.seq, self.sub = came
        return bool(d["resumed"])

    def take(self, marks: Iterable[Mark]) -> None:
        """Take durable events in the order in which they came."""
        for mark in marks:
            seq, sub, text = mark
            if not (seq == self.seq and sub > self.sub if sub else seq == self.seq + 1):
                before = (seq, sub) <= (self.seq, self.sub)
                kind = "came again" if before else "came after a hole"
                self._fault(f"{seq}-{sub} {text} {kind}, behind {self.seq}-{self.sub}")
            if (seq, sub) > (self.seq, self.sub):
                self.seq, self.sub = seq, sub
            if not sub:
                self._ledger.take(self._room, self.epoch, mark)

    def _fault(self, text: str) -> None:
        self._ledger.fault(f"{self._user} in {self._room}: {text}")


def account(accepted: int, delivered: int, shed: int) -> str:
    """Return what does not add up in a viewer's account; empty: nothing."""
    if accepted == delivered + shed:
        return ""
    return f"accepted {accepted} != delivered {delivered} + shed {shed}"


def unequal_ends(ends: Iterable[dict[str, dict[str, int]]]) -> list[str]:
    """Return in words where viewers of one room stand at different places.

    Args:
        ends: of each process: room -> place -> how many viewers stand there.
    """
    rooms: dict[str, Counter[str]] = {}
    for one in ends:
        for room, places in one.items():
            rooms.setdefault(room, Counter()).update(places)
    return [
        f"{room}: viewers ended at different places: {dict(places)}"
        for room, places in rooms.items()
        if len(places) > 1
    ]
