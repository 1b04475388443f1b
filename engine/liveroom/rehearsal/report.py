"""What a rehearsal showed: cues, activities, and whether everything adds up (layer 9)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from liveroom.rehearsal.audience import Audience, Outcome


__all__ = ["Check", "Cues", "Report", "Tally", "cues_of", "issued", "lines"]

Item = dict[str, Any]

_EVENT_SLACK_MS = 1


class Check(Struct):
    """One thing that must hold."""

    name: str
    ok: bool
    detail: str = ""


class Cues(Struct):
    """How the cues went. Jitter is how much later than planned an effect was there, in ms."""

    total: int
    fired: int
    failed: dict[str, str]
    waiting: list[str]
    jitter_p50_ms: int
    jitter_p95_ms: int
    jitter_max_ms: int
    jitter_ms: dict[str, int]


class Report(Struct):
    """All of it."""

    title: str
    room: str
    workers: int
    viewers: int
    joined: int
    reconnects: int
    duration_s: float
    cues: Cues
    activities: dict[str, Item] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every cue was carried out and everything held."""
        return self.cues.fired == self.cues.total and all(check.ok for check in self.checks)


class Tally:
    """What the viewers were told: it must be what the room counted."""

    def __init__(self) -> None:
        self._users: dict[str, set[str]] = defaultdict(set)
        self.units: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.grabbed: Counter[str] = Counter()
        self.gifts = 0

    def take(self, outcome: Outcome) -> None:
        """Count a move that was accepted."""
        move, d = outcome.move, outcome.d or {}
        match move.op:
            case "poll.vote" | "quiz.answer" | "lottery.enter":
                kind = move.op.partition(".")[0]
                self._users[f"{kind}:{move.d[kind]}"].add(outcome.user)
            case "flash.reserve":
                self.units[f"stock:{d['sku']}"] += d["n"]
            case "coupon.claim":
                self.units[f"coupon:{d['drop']}"] += 1
            case "redpacket.grab":
                name = f"redpacket:{d['packet']}"
                self.units[name] += 1
                self.grabbed[name] += d["amount"]
            case "gift.send":
                self.gifts += d["value"]
            case _:
                pass

    def checks(self, audience: Audience) -> Iterator[Check]:
        """Compare with what the room shows; an unanswered command may or may not have counted."""
        for name, d in audience.view.last.items():
            yield from self._checks(name, d, audience.unanswered)
        given = sum(item["d"]["value"] for item in audience.view.events("gift.sent"))
        if given or self.gifts:
            yield _counted("gifts", self.gifts, given, audience.unanswered["gift.send"] * 10**9)

    def _checks(self, name: str, d: Item, unanswered: Mapping[str, int]) -> Iterator[Check]:
        told = len(self._users[name])
        match name.partition(":")[0]:
            case "poll":
                yield _counted(name, told, d["voters"], unanswered["poll.vote"])
            case "quiz":
                yield _counted(name, told, d["answered"], unanswered["quiz.answer"])
            case "lottery":
                yield _counted(name, told, d["entrants"], unanswered["lottery.enter"])
            case "coupon":
                yield _counted(name, self.units[name], d["claimed"], unanswered["coupon.claim"])
            case "redpacket":
                yield from self._packet_checks(name, d, unanswered["redpacket.grab"])
            case "stock":
                spare = unanswered["flash.reserve"] * d["per_user"]
                yield _counted(name, self.units[name], d["reserved"] + d["sold"], spare)
                yield _counted(f"{name} paid", self.paid[name], d["sold"], 0)
                whole = d["available"] + d["reserved"] + d["sold"] == d["total"]
                yield Check(f"{name} adds up", whole, f"{d['sold']} of {d['total']} sold")
            case _:
                pass

    def _packet_checks(self, name: str, d: Item, unanswered: int) -> Iterator[Check]:
        if d["status"] != "done":
            yield Check(name, ok=False, detail="it did not end")
            return
        yield _counted(name, self.units[name], d["taken"], unanswered)
        spare = unanswered * d["total"]
        yield _counted(f"{name} money", self.grabbed[name], d["grabbed"], spare)
        whole = d["grabbed"] + d["refunded"] == d["total"]
        detail = f"{d['grabbed']} grabbed + {d['refunded']} refunded, {d['total']} in all"
        yield Check(f"{name} adds up", whole, detail)


def issued(name: str, shown: Item) -> Check:
    """Compare the coupons of a drop, as `coupon.show` counts them, with one another."""
    states = sum(shown[state] for state in ("unused", "locked", "used", "expired"))
    ok = shown["issued"] == states <= shown["quota"]
    return Check(f"{name} adds up", ok, f"{shown['issued']} of {shown['quota']} issued")


def _counted(name: str, told: int, found: int, unanswered: int) -> Check:
    ok = told <= found <= told + unanswered
    return Check(name, ok, f"{told} answered, {found} counted")


def cues_of(progress: Sequence[Item], ops: Mapping[str, str], events: Sequence[Item]) -> Cues:
    """Return how the cues went.

    Args:
        progress: as `rundown.get` shows it.
        ops: the command of each cue.
        events: the room's durable events.
    """
    jitter = {}
    for row in progress:
        if row["status"] == "fired":
            jitter[row["cue"]] = _effect_ms(row, ops[row["cue"]], events) - row["due_ms"]
    ordered = sorted(jitter.values())
    return Cues(
        total=len(progress),
        fired=len(jitter),
        failed={
            row["cue"]: f"{row['error']['code']}: {row['error']['msg']}"
            for row in progress
            if row["status"] == "failed"
        },
        waiting=[row["cue"] for row in progress if row["status"] in ("waiting", "due", "skipped")],
        jitter_p50_ms=_quantile(ordered, 0.5),
        jitter_p95_ms=_quantile(ordered, 0.95),
        jitter_max_ms=ordered[-1] if ordered else 0,
        jitter_ms=jitter,
    )


def _effect_ms(row: Item, op: str, events: Sequence[Item]) -> int:
    """Return when the effect was there: its event's time, else when the worker said so."""
    begin, end = row["due_ms"], row["fired_ms"]
    feature = op.partition(".")[0]
    times = [
        item["ts"]
        for item in events
        if item["ev"].partition(".")[0] == feature and begin <= item["ts"] <= end + _EVENT_SLACK_MS
    ]
    effect: int = min(times, default=end)
    return effect


def _quantile(ordered: Sequence[int], part: float) -> int:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0


def lines(report: Report) -> Iterator[str]:
    """Yield the report for people."""
    cues = report.cues
    yield f"{report.title or 'Rehearsal'} in room {report.room}, {report.duration_s:.1f} s"
    yield f"  viewers     {report.joined} of {report.viewers}, {report.reconnects} reconnects"
    yield f"  cues        {cues.fired} of {cues.total} fired"
    yield (
        f"  cue jitter  p50 {cues.jitter_p50_ms} ms, p95 {cues.jitter_p95_ms} ms, "
        f"max {cues.jitter_max_ms} ms"
    )
    yield from (f"  failed      {cue}: {why}" for cue, why in cues.failed.items())
    yield from (f"  not fired   {cue}" for cue in cues.waiting)
    for name, shown in report.activities.items():
        yield f"  {name:<24}{', '.join(f'{k} {v}' for k, v in shown.items())}"
    yield f"  said        {', '.join(f'{k} {v}' for k, v in report.counts.items())}"
    yield f"  refused     {', '.join(f'{k} {v}' for k, v in report.refused.items()) or 'nothing'}"
    broken = [check for check in report.checks if not check.ok]
    yield f"  checks      {len(report.checks) - len(broken)} of {len(report.checks)} hold"
    yield from (f"  BROKEN      {check.name}: {check.detail}" for check in broken)
    yield "ok" if report.ok else "NOT OK"
