"""A place in a room's durable log (layer: core).

The log is a Redis stream whose entry ids are written by the engine itself: a public event number
`seq` has the id `seq-0`, what goes to single viewers after it has `seq-1`, `seq-2` and so on. The
epoch names one life of the log; when the store lost it and began anew, the epoch is another one and
positions of the two have nothing to do with each other.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple


__all__ = ["Position", "Verdict", "classify"]


class Position(NamedTuple):
    """One place in the log. Comparing two is meaningful only within one epoch."""

    epoch: str
    seq: int
    sub: int = 0

    @property
    def stream_id(self) -> str:
        """The Redis stream id, `"{seq}-{sub}"`."""
        return f"{self.seq}-{self.sub}"

    @classmethod
    def parse(cls, epoch: str, stream_id: str | bytes) -> Position:
        """Read a full stream id, as Redis returns it.

        Raises:
            ValueError: it is not two runs of ASCII digits with a hyphen between.
        """
        text = stream_id.decode("latin-1") if isinstance(stream_id, bytes) else stream_id
        seq, _, sub = text.partition("-")
        if not (text.isascii() and seq.isdigit() and sub.isdigit()):
            raise ValueError(f"stream id: expected '<seq>-<sub>', came {stream_id!r}")
        return cls(epoch, int(seq), int(sub))


class Verdict(Enum):
    """How a published batch fits onto what is already here."""

    NEXT = auto()
    """It continues exactly here, or it holds no durable event and is not ahead: take it."""
    DUPLICATE = auto()
    """Its durable events are all here already."""
    OVERLAP = auto()
    """The first of its durable events are here already, the last are not."""
    GAP = auto()
    """Something between `have` and its start never came: read the log."""
    FOREIGN = auto()
    """It belongs to another life of the log."""


def classify(have: Position, start: Position, end: Position) -> Verdict:
    """Judge a batch that covers the log's entries after `start` up to and with `end`.

    `start == end` is a batch without durable events. Such a batch may lag behind `have` (the log
    was read meanwhile) and is still `NEXT`, so the new position is `max(have, end)`, not `end`.

    Args:
        have: the last position that was handled here.
        start: the position just before the batch's first durable event.
        end: the position of its last durable event.
    """
    if not have.epoch == start.epoch == end.epoch:
        return Verdict.FOREIGN
    if start == have:
        return Verdict.NEXT
    if start > have:
        return Verdict.GAP
    if start == end:
        return Verdict.NEXT
    return Verdict.OVERLAP if end > have else Verdict.DUPLICATE
