"""What happened in each second, counted where it happens and added up elsewhere (pure)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from liveroom.core.histogram import Histogram


__all__ = ["COUNTS", "HISTOGRAMS", "Second", "Timeline"]

COUNTS = (
    "frames", "bytes", "events", "danmaku", "shed", "sent", "refused", "joined", "lost", "errors",
)  # fmt: skip
HISTOGRAMS = ("ages", "replies", "joins", "backs", "lags")


class Second:
    """The counters of one process since its last report."""

    __slots__ = (*COUNTS, *HISTOGRAMS)

    frames: int
    bytes: int
    events: int
    danmaku: int
    shed: int
    sent: int
    refused: int
    joined: int
    lost: int
    errors: int
    ages: Histogram
    replies: Histogram
    joins: Histogram
    backs: Histogram
    lags: Histogram

    def __init__(self) -> None:
        for name in COUNTS:
            setattr(self, name, 0)
        for name in HISTOGRAMS:
            setattr(self, name, Histogram())

    def to_plain(self) -> dict[str, Any]:
        """Return what a `Timeline` takes."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in COUNTS}
        for name in HISTOGRAMS:
            if getattr(self, name).count:
                plain[name] = getattr(self, name).to_dict()
        return plain

    def add(self, plain: dict[str, Any]) -> None:
        """Add what another one counted."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + plain.get(name, 0))
        for name in HISTOGRAMS:
            if name in plain:
                getattr(self, name).merge(Histogram.from_dict(plain[name]))


class Timeline:
    """Seconds of all processes, by the second in which they were told; gauges beside them."""

    def __init__(self) -> None:
        self.seconds: dict[int, Second] = {}
        self.gauges: dict[int, Counter[str]] = {}

    def take(self, at: int, plain: dict[str, Any], gauges: dict[str, float]) -> None:
        """Add what a process counted in the second `at`; its gauges are summed up."""
        self.seconds.setdefault(at, Second()).add(plain)
        shown = self.gauges.setdefault(at, Counter())
        for name, value in gauges.items():
            shown[name] += value  # type: ignore[assignment]  # a Counter adds floats as well

    def total(self, begin: float = 0.0, end: float = float("inf")) -> Second:
        """Return the sum of the seconds from `begin` to before `end`."""
        total = Second()
        for at, second in self.seconds.items():
            if begin <= at < end:
                total.add(second.to_plain())
        return total
