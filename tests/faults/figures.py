"""What a fault did, in figures, and the alarms that tell of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import harness


__all__ = ["ALARMS", "SHEDDING", "SLOW", "Figures", "Metrics", "level_of", "metrics_of", "samples"]

SLOW = "commits over 250 ms"
"""What the alert LiveroomCommitsSlow looks at, as a count."""
SHEDDING = "danmaku shed beyond twice those shown"
"""What the alert LiveroomShedsMost looks at, as a count."""

_RULES = (Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8")
_OF_ANY_ROOM = {"liveroom_shed_items_total", "liveroom_ephemeral_items_total"}
ALARMS = frozenset(re.findall(r"liveroom_[a-z_]+_total", _RULES)) - _OF_ANY_ROOM
"""The counters that alerts watch; in a room where nothing is wrong none of them moves."""

Metrics = Callable[[], Awaitable[str]]


@dataclass
class Figures:
    """What a fault did, by class of delivery.

    Attributes:
        level: the durability level in force.
        acked: what was acknowledged to those who pay: gifts, orders, reservations.
        again: how many answers were asked for once more, under the same key.
        unknown: how many commands were not answered, or not with what became of them.
        lost: acknowledged, and not in the log.
        loss_ms: from the first that was lost to the last.
        doubled: in the log twice.
        wrong: answered otherwise the second time, or refused for good.
        seen: durable events shown, over all viewers.
        silent: holes, doubles and disorder in them of which nobody told.
        told: gaps of which viewers were told.
        differing: events that two viewers were shown under one number.
        values: newest values compared, over all viewers.
        stale: those that were not the store's.
        backward: values that were older than those before.
        converge_ms: how long after the last command all had the newest.
        said: danmaku accepted.
        listeners: viewers who were there all the time, greeted once: each has to be given an account of them.
        shown, shed: of those that were accepted, over the listeners.
        uncounted: neither shown nor counted, over the listeners.
        excess: counted as shed beyond what can be missing, over the listeners.
        window_ms: the longest time in which nothing was acknowledged.
        recovery_ms: until everybody was acknowledged something and saw something again.
    """

    row: str
    fault: str
    level: str = ""
    acked: int = 0
    again: int = 0
    unknown: int = 0
    lost: int = 0
    loss_ms: int = 0
    doubled: int = 0
    wrong: int = 0
    seen: int = 0
    silent: int = 0
    told: int = 0
    differing: int = 0
    values: int = 0
    stale: int = 0
    backward: int = 0
    converge_ms: int = 0
    said: int = 0
    listeners: int = 0
    shown: int = 0
    shed: int = 0
    uncounted: int = 0
    excess: int = 0
    window_ms: int = 0
    recovery_ms: int = 0
    alarm: str = ""
    note: str = ""

    def line(self) -> str:
        """Return it as a line to print."""
        return (
            f"{self.row:4} {self.fault} ({self.level}): acked {self.acked}, lost {self.lost} "
            f"within {self.loss_ms} ms, doubled {self.doubled}, silent gaps {self.silent}, "
            f"told gaps {self.told}, shown differently {self.differing}, "
            f"newest values in {self.converge_ms} ms, said {self.said}: to {self.listeners} viewers "
            f"shown {self.shown}, shed {self.shed}, uncounted {self.uncounted}; "
            f"window {self.window_ms} ms, recovery {self.recovery_ms} ms, {self.alarm}"
            + (f"; {self.note}" if self.note else "")
        )

    def as_row(self) -> dict[str, Any]:
        """Return it as what a report carries."""
        return asdict(self)


def metrics_of(*workers: harness.Worker) -> Metrics:
    """Return what reads the metrics of workers in this process."""

    async def read() -> str:
        return "\n".join(worker.node.metrics.render().decode() for worker in workers)

    return read


def samples(text: str) -> dict[str, float]:
    """Return each metric, summed over its labels and workers."""
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(liveroom_\w+)(?:\{.*\})? (\S+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
    quick = _sum(r"liveroom_commit_seconds_bucket\{.*le=\"0.25\".*\}", text)
    found[SLOW] = found.get("liveroom_commit_seconds_count", 0.0) - quick
    shed = _sum(r"liveroom_shed_items_total\{.*kind=\"danmaku\".*\}", text)
    found[SHEDDING] = max(0.0, shed - 2 * found.get("liveroom_ephemeral_items_total", 0.0))
    return found


def level_of(text: str) -> str:
    """Return the durability level in force."""
    found = re.search(r"^liveroom_durability\{.*level=\"(\w+)\".*\} 1", text, re.MULTILINE)
    return found[1] if found else ""


def _sum(pattern: str, text: str) -> float:
    return sum(map(float, re.findall(rf"^{pattern} (\S+)$", text, re.MULTILINE)))
