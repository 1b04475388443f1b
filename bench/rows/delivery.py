"""What it costs to show one message to one viewer, and how many a core can show."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable

from bench.report import Bar, Reading
from bench.rows.fanout import c_loop
from bench.stage import ALL_VARIANTS, BROWSER, Bench, Stage, Window


__all__ = ["run_cost", "run_throughput"]

COST = Bar("<= 1.6 us", 1.6)
THROUGHPUT = Bar(">= 1,000,000/s, aim 2,000,000/s", 1e6, 2e6, at_least=True)

_BEAT_S = 0.1
_FULL = 0.98  # of a core: above it the worker has nothing left
_MAX_RATE = 6000.0
_SPEAKS_PER_S = 1.4  # a viewer is allowed 1.5


def run_cost(bench: Bench) -> Iterable[Reading]:
    """CPU per delivery: 500 viewers, 200 messages/s, beat 50 ms."""
    viewers, rate = 500, 200.0
    seconds = bench.pick(8.0, 2.0)
    with bench.stage("delivery", beat_ms=50, danmaku_per_s=1000) as stage:
        stage.open("bench")
        stage.join("bench", viewers, variants=ALL_VARIANTS)
        stage.talk(rate)
        seen = stage.window(seconds)
        frame = base64.b64decode(stage.load.ask("frame")["frame"])
        stage.load.ask("leave")
        limit = c_loop(bench, stage.load, viewers, frame, bench.pick(2.0, 0.7))
    deliveries = seen.shown * viewers
    cost = seen.cpu / deliveries * 1e6
    reading = Reading(
        what="CPU per delivery, 500 viewers x 200 danmaku/s, all features, beat 50 ms",
        bar=COST.text,
        measured=f"{cost:.2f} us",
        reached=COST.verdict(cost),
        values={"us_per_delivery": cost, "deliveries": deliveries, "busy": seen.busy},
        notes=[
            (
                f"{seen.sent:.0f} sent, {seen.shown:.0f} shown to each viewer,"
                f" {seen.frames / viewers / seen.seconds:.1f} frames/s each; worker {seen.busy:.0%}"
                f" of a core; {seen.load_text}"
            )
        ],
    )
    if limit is not None:
        floor = limit * seen.written / deliveries
        reading.beside = f"writes alone at the C loop's {limit:.1f} us: {floor:.2f} us"
        reading.values["c_us_per_delivery"] = floor
    yield reading


def run_throughput(bench: Bench) -> Iterable[Reading]:
    """Deliveries per second of one core: one room, beat 100 ms; the highest rate that holds."""
    viewers = bench.pick(5000, 800)
    with bench.stage("throughput", beat_ms=100, danmaku_per_s=100_000) as stage:
        stage.open("bench")
        stage.join("bench", viewers, parallel=100, probe_every=200, variants=BROWSER)
        found = _Search(bench, stage, viewers)
        found.go()
    reading = Reading(
        what=f"deliveries/s on one core, one room of {viewers:,} viewers, beat 100 ms",
        bar=THROUGHPUT.text,
        measured="none of the rates held",
        reached="no",
        beside="goim: 1,560,000/s per hardware thread at beat 1 s (published)",
        notes=["; ".join(found.tried)],
    )
    best = found.at_beat or found.stretched
    if best is not None:
        per_s = best.shown * viewers / best.seconds
        reading.measured = f"{per_s:,.0f}/s"
        reading.reached = THROUGHPUT.verdict(per_s)
        if found.at_beat is None:
            reading.measured += f", but the beat is {best.beat * 1000:.0f} ms"
            reading.reached = "no"
        reading.values = {
            "deliveries_per_s": per_s,
            "messages_per_s": best.sent / best.seconds,
            "beat_s": best.beat,
        }
        reading.notes.insert(0, _describe(best))
    if found.at_beat and found.stretched:
        more = found.stretched.shown * viewers / found.stretched.seconds
        reading.notes.append(
            f"{more:,.0f}/s with the beat stretched to {found.stretched.beat * 1000:.0f} ms"
        )
    yield reading


def _describe(best: Window) -> str:
    return (
        f"{best.sent / best.seconds:.0f} messages/s, {best.bytes / best.frames / 1000:.1f} kB"
        f" per frame, {best.bytes / best.seconds / 1e6:.0f} MB/s, worker {best.busy:.0%};"
        f" {best.load_text}"
    )


class _Search:
    """Doubles the rate until it does not hold, then halves the interval."""

    def __init__(self, bench: Bench, stage: Stage, viewers: int) -> None:
        self._stage = stage
        self._viewers = viewers
        self._seconds = bench.pick(1.5, 0.6)
        self._until = time.monotonic() + bench.pick(13.0, 3.5)
        self.at_beat: Window | None = None
        self.stretched: Window | None = None
        self.tried: list[str] = []

    def go(self) -> None:
        """Search until the time is up or the rate is known to a tenth."""
        most = min(_MAX_RATE, self._viewers * _SPEAKS_PER_S)
        low, high, rate = 0.0, most, min(200.0, most)
        while time.monotonic() + self._seconds < self._until and high - low > 0.1 * high:
            if self._holds(rate):
                low = rate
                rate = min(rate * 2, high) if high == most else (low + high) / 2
            else:
                high = rate
                rate = (low + high) / 2

    def _holds(self, rate: float) -> bool:
        self._stage.talk(rate, settle_s=0.8)
        seen = self._stage.window(self._seconds, f"-{rate:.0f}")
        self._stage.load.ask("hush")
        time.sleep(0.4)  # what is still on its way must not count against the next rate
        why = _fault(seen, rate)
        held = seen.beat <= _BEAT_S * 1.02
        if not why and held:
            self.at_beat = seen
        elif not why:
            self.stretched = seen
        state = why or ("holds" if held else f"beat {seen.beat * 1000:.0f} ms")
        self.tried.append(f"{rate:.0f} messages/s: {state}, worker {seen.busy:.0%}")
        return not why


def _fault(seen: Window, rate: float) -> str:
    """Return why a rate does not hold, "" if it does."""
    if seen.busy > _FULL:
        return "the core is full"
    if "danmaku" in seen.shed:
        return f"{seen.shed['danmaku']:.0f} messages shed"
    if seen.closed:
        return f"{seen.closed:.0f} viewers closed ({seen.last_close})"
    if seen.shown < seen.sent * 0.97 - rate * 2 * seen.beat:
        return f"{seen.sent:.0f} sent, {seen.shown:.0f} shown"
    return ""
