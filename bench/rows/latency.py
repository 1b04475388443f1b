"""From a viewer's send to another viewer's receive: under half a core of load, and in quiet rooms."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bench.report import Bar, Reading
from bench.stage import BROWSER, Bench, Stage, Window


__all__ = ["run"]

BUSY = Bar("<= beat + 50 ms = 150 ms", 0.150)
QUIET = Bar("<= 20 ms", 0.020)

_QUIET_ROOMS = 20
_QUIET_RATE = 2.0  # messages/s and room: each after quiet


def run(bench: Bench) -> Iterable[Reading]:
    """Measure both."""
    viewers = bench.pick(2500, 600)
    with bench.stage("latency", beat_ms=100, danmaku_per_s=100_000) as stage:
        rooms = [f"quiet-{n}" for n in range(_QUIET_ROOMS)]
        stage.open("bench", *rooms)
        yield _quiet(bench, stage, rooms)
        stage.load.ask("leave")
        stage.join("bench", viewers, variants=BROWSER)
        yield _busy(bench, stage, viewers)


def _quiet(bench: Bench, stage: Stage, rooms: list[str]) -> Reading:
    for room in rooms:
        stage.join(room, 5, probe_every=1, variants=BROWSER)
    time.sleep(0.3)
    stage.load.ask("talk", rates=dict.fromkeys(rooms, _QUIET_RATE), scattered=True)
    time.sleep(0.3)
    seen = stage.window(bench.pick(6.0, 1.5), "-quiet")
    return _reading(
        seen, f"p99 publish -> viewer, quiet: {len(rooms)} rooms of 5, {_QUIET_RATE:.0f}/s each",
        QUIET,
    )  # fmt: skip


def _busy(bench: Bench, stage: Stage, viewers: int) -> Reading:
    rate = 200.0
    for _ in range(bench.pick(3, 1)):  # find the rate that takes half of a core
        stage.talk(rate, settle_s=0.7)
        probe = stage.window(1.0 if not bench.quick else 0.5, "-find")
        if 0.45 <= probe.busy <= 0.55:
            break
        rate = max(20.0, min(rate * min(3.0, 0.5 / probe.busy), viewers * 1.3))
    stage.talk(rate, settle_s=0.5)
    seen = stage.window(bench.pick(6.0, 1.0), "-busy")
    return _reading(
        seen,
        f"p99 publish -> viewer, {seen.busy:.0%} of a core: {viewers:,} viewers,"
        f" {seen.sent / seen.seconds:.0f} messages/s, beat 100 ms",
        BUSY,
    )


def _reading(seen: Window, what: str, bar: Bar) -> Reading:
    ages = seen.latency
    return Reading(
        what=what,
        bar=bar.text,
        measured=f"p99 {ages['p99'] * 1000:.1f} ms (p50 {ages['p50'] * 1000:.1f})",
        reached=bar.verdict(ages["p99"]),
        values={**ages, "busy": seen.busy},
        notes=[
            (
                f"{ages['n']:,} ages, longest {ages['max'] * 1000:.0f} ms; worker {seen.busy:.0%};"
                f" {seen.load_text}"
            )
        ],
    )
