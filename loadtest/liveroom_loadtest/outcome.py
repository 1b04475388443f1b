"""What a run came to: figures, objectives, and all of it as JSON (pure)."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import orjson

from liveroom.core.histogram import Histogram
from liveroom_loadtest.figures import FIGURES, shown
from liveroom_loadtest.scenario import Objective, Scenario
from liveroom_loadtest.seconds import Second, Timeline
from liveroom_loadtest.swarm import Played, span


__all__ = ["Outcome", "Verdict", "figures_of", "outcome_of", "per_delivery", "series_of", "to_json"]

Figures = dict[str, float | None]
Series = dict[str, list[tuple[int, float]]]

ALWAYS = (Objective(figure="oracle_faults", at_most=0), Objective(figure="joined", at_least=1))
"""Objectives of every scenario."""


class Verdict(NamedTuple):
    """One objective, and what came."""

    objective: Objective
    value: float | None
    reached: bool

    @property
    def wanted(self) -> str:
        """What was wanted, as people read it."""
        name, low, high = self.objective.figure, self.objective.at_least, self.objective.at_most
        if low == high or (low is None and high == 0):
            return f"= {shown(name, high)}"
        parts = [f">= {shown(name, low)}"] if low is not None else []
        return " and ".join(parts + ([f"<= {shown(name, high)}"] if high is not None else []))


class Outcome(NamedTuple):
    """All that a report shows."""

    scenario: Scenario
    figures: Figures
    verdicts: list[Verdict]
    series: Series
    faults: list[str]
    problems: dict[str, int]
    retried: dict[str, int]
    phases: dict[str, float]
    machine: dict[str, Any]

    @property
    def reached(self) -> bool:
        """Whether every objective was."""
        return all(verdict.reached for verdict in self.verdicts)


def outcome_of(played: Played, machine: dict[str, Any]) -> Outcome:
    """Return the outcome of a run."""
    figures = figures_of(played)
    stated = played.scenario.objectives
    named = {objective.figure for objective in stated}
    wanted = [*stated, *(one for one in ALWAYS if one.figure not in named)]
    begin = played.marks["join"]
    phases = {name: played.marks[name] - begin for name in ("join", "play", "settle", "end")}
    series = series_of(played.timeline, begin)
    return Outcome(
        scenario=played.scenario,
        figures=figures,
        verdicts=[judged(objective, figures[objective.figure]) for objective in wanted],
        series=series | per_delivery(series, phases["play"], phases["settle"]),
        faults=_faults(played),
        problems=dict(played.problems.most_common()),
        retried=dict(played.retried.most_common()),
        phases=phases,
        machine=machine,
    )


def judged(objective: Objective, value: float | None) -> Verdict:
    """Return whether an objective was reached; what was not measured was not."""
    low = -math.inf if objective.at_least is None else objective.at_least
    high = math.inf if objective.at_most is None else objective.at_most
    return Verdict(objective, value, value is not None and low <= value <= high)


def figures_of(played: Played) -> Figures:
    """Return every figure; None: not measured."""
    made: Figures = dict.fromkeys(FIGURES)
    every = played.timeline.total()
    for part in (
        _joining(played, every),
        _showing(played),
        _keeping(played, every),
        _costs(played),
    ):
        made |= part
    made |= _goods(played)
    return made


def _joining(played: Played, every: Second) -> Figures:
    counts, came = played.counts, played.came
    figures: Figures = {
        "joined": every.joined,
        "join_failed": counts["join_failed"],
        "retries": played.retried.total(),
        "joins_per_s": _ratio(came["joined"], came["seconds"]),
        "join_p99_ms": _ms(every.joins, 0.99),
    }
    if played.scenario.herd is not None:
        names = ("back", "back_failed", "not_resumed")
        figures |= {name: counts[name] for name in names} | {"back_p99_ms": _ms(every.backs, 0.99)}
    return figures


def _showing(played: Played) -> Figures:
    """Return what viewers were shown while it was played."""
    begin, end = played.marks["play"], played.marks["settle"]
    every, busy = played.timeline.total(), played.timeline.total(begin - 1, end + 1)
    seconds = end - begin
    return {
        "age_p50_ms": _ms(every.ages, 0.5),
        "age_p99_ms": _ms(every.ages, 0.99),
        "age_max_ms": every.ages.max * 1000 if every.ages.count else None,
        "reply_p50_ms": _ms(busy.replies, 0.5),
        "reply_p99_ms": _ms(busy.replies, 0.99),
        "deliveries_per_s": _ratio(busy.events, seconds),
        "frames_per_s": _ratio(busy.frames, seconds),
        "bytes_per_delivery": _ratio(busy.bytes, busy.events),
        "megabytes_per_s": _ratio(busy.bytes / 1e6, seconds),
        "shed_share": _ratio(every.shed * 100, every.shed + every.danmaku),
        "load_lag_p99_ms": _ms(busy.lags, 0.99),
    }


def _keeping(played: Played, every: Second) -> Figures:
    """Return whether it was kept what is promised."""
    return {
        "sent": every.sent,
        "refused": every.refused,
        "errors": every.errors,
        "oracle_faults": played.ledger.fault_count,
        "accounts_judged": played.judged,
        "invariants_broken": played.broken,
    }


def _costs(played: Played) -> Figures:
    begin, end = played.marks["play"], played.marks["settle"]
    timeline, seconds = played.timeline, end - begin
    busy = timeline.total(begin - 1, end + 1)
    spent = {
        name: span(timeline, f"{name}_cpu", begin, end) or None
        for name in ("engine", "store", "load")
    }
    engine = spent["engine"]
    return {
        **{f"{name}_cores": _ratio(used, seconds) for name, used in spent.items()},
        "cpu_us_per_delivery": _ratio(engine and engine * 1e6, busy.events),
        "cpu_us_per_frame": _ratio(engine and engine * 1e6, busy.frames),
        "kib_per_viewer": _memory(played),
        "others_cores": played.others_cores,
    }


def _memory(played: Played) -> float | None:
    """Return by how much the workers grew while viewers came in, for each of them."""
    grown = span(played.timeline, "engine_rss", played.marks["join"] - 1, played.marks["play"])
    return _ratio(grown / 1024 or None, played.timeline.total(0, played.marks["play"]).joined)


def _goods(played: Played) -> Figures:
    figures: Figures = {}
    counts, sale, draw = played.counts, played.sale, played.draw
    if played.scenario.gifts is not None:
        figures |= {
            "gifts": counts["gifts"],
            "gifts_lost": abs(counts["gifts"] - played.ledger.named("gift.sent")),
        }
    if sale is not None:
        left = sale.total - sale.units
        figures |= {
            "reserved": sale.units,
            "oversell": max(0, -left) + abs(sale.units - sale.held) + len(sale.faults),
            "undersell": max(0, min(left, counts["wanted"] - sale.units)),
            "decisions_per_s": _ratio(counts["decided"], played.marks.get("deciding")),
        }
    if draw is not None:
        strangers = set(draw.winners) - draw.entered - draw.perhaps_entered
        missing = abs(draw.wanted - len(draw.winners))
        figures |= {
            "entries": len(draw.entered),
            "draw_faults": len(strangers) + missing + len(draw.faults),
        }
    return figures


def _faults(played: Played) -> list[str]:
    sale = played.sale.faults if played.sale is not None else []
    draw = played.draw.faults if played.draw is not None else []
    return [*played.ledger.faults, *sale, *draw]


def series_of(timeline: Timeline, begin: float) -> Series:
    """Return what a report draws: name -> (second since the begin, value), without gaps filled."""
    series: Series = {}
    first = int(begin)
    for at, second in sorted(timeline.seconds.items()):
        for name, value in _points(second).items():
            if value is not None and at >= first:
                series.setdefault(name, []).append((at - first, round(value, 3)))
    for name, gauge, scale in _GAUGES:
        series[name] = _gauge(timeline, gauge, scale, first)
    for name in ("engine", "store", "load"):
        series[f"{name}_cores"] = _rates(timeline, f"{name}_cpu", first)
    return {name: points for name, points in series.items() if points}


def per_delivery(series: Series, begin: float, end: float) -> Series:
    """Return what each event shown took while it was played: processor time and bytes."""
    events = dict(series.get("deliveries", ()))
    made: Series = {}
    for name, whole, scale in (
        ("cpu_us_per_delivery", "engine_cores", 1e6), ("bytes_per_delivery", "megabytes", 1e6),
    ):  # fmt: skip
        points = [
            (at, round(value * scale / events[at], 3))
            for at, value in series.get(whole, ())
            if begin < at < end and events.get(at)
        ]
        made |= {name: points} if points else {}
    return made


_GAUGES = (
    ("viewers", "here", 1.0),
    ("engine_mib", "engine_rss", 1 / 2**20),
    ("beat_ms", "liveroom_beat_seconds", 1000.0),
    ("loop_lag_ms", "liveroom_loop_lag_seconds", 1000.0),
    ("queue_kib", "liveroom_queue_bytes", 1 / 1024),
)


def _points(second: Second) -> Figures:
    return {
        "age_p50_ms": _ms(second.ages, 0.5),
        "age_p99_ms": _ms(second.ages, 0.99),
        "age_max_ms": second.ages.max * 1000 if second.ages.count else None,
        "reply_p50_ms": _ms(second.replies, 0.5),
        "reply_p99_ms": _ms(second.replies, 0.99),
        "join_p99_ms": _ms(second.joins, 0.99),
        "lag_p99_ms": _ms(second.lags, 0.99),
        "deliveries": second.events,
        "frames": second.frames,
        "megabytes": second.bytes / 1e6,
        "sent": second.sent,
        "refused": second.refused,
        "shed": second.shed,
        "joined": second.joined,
        "errors": second.errors,
    }


def _gauge(timeline: Timeline, name: str, scale: float, first: int) -> list[tuple[int, float]]:
    return [
        (at - first, round(gauges[name] * scale, 3))
        for at, gauges in sorted(timeline.gauges.items())
        if name in gauges and at >= first
    ]


def _rates(timeline: Timeline, name: str, first: int) -> list[tuple[int, float]]:
    """Return by how much a growing gauge grew a second."""
    points = _gauge(timeline, name, 1.0, first)
    return [
        (at, round(max(0.0, value - before) / (at - was), 3))
        for (was, before), (at, value) in itertools.pairwise(points)
    ]


def to_json(outcome: Outcome) -> bytes:
    """Return all of it for programs."""
    scenario = outcome.scenario
    plain = {
        "format": 1,
        "scenario": scenario,
        "reached": outcome.reached,
        "figures": outcome.figures,
        "units": {name: figure.unit for name, figure in FIGURES.items()},
        "objectives": [
            {"figure": v.objective.figure, "at_least": v.objective.at_least,
             "at_most": v.objective.at_most, "value": v.value, "reached": v.reached}
            for v in outcome.verdicts
        ],
        "faults": outcome.faults,
        "problems": outcome.problems,
        "retried": outcome.retried,
        "phases_s": outcome.phases,
        "series": outcome.series,
        "machine": outcome.machine,
    }  # fmt: skip
    import msgspec

    text = orjson.dumps(msgspec.to_builtins(plain), option=orjson.OPT_INDENT_2)
    return text + b"\n"


def _ms(histogram: Histogram, q: float) -> float | None:
    return histogram.quantile(q) * 1000 if histogram.count else None


def _ratio(value: float | None, by: float | None) -> float | None:
    return value / by if value is not None and by else None
