"""Joins per second into one room: TCP, upgrade, token, snapshot, greeting."""

from __future__ import annotations

from collections.abc import Iterable

from bench.child import Child
from bench.report import Bar, Reading
from bench.stage import BROWSER, Bench, Stage


__all__ = ["run"]

BAR = Bar(">= 1,500/s, aim 2,000/s", 1500, 2000, at_least=True)
_PARALLEL = 100
_TALKERS = 100


def run(bench: Bench) -> Iterable[Reading]:
    """Measure the engine, then a bare aiohttp upgrade with the same load."""
    joins = bench.pick(4000, 1000)
    with bench.stage("joins") as stage:
        stage.open("bench")
        _fill_snapshot(stage)
        stage.load.ask("tokens", room="bench", count=joins)
        answer, seen = stage.watch(
            "join", 40, port=stage.port, room="bench", count=joins, parallel=_PARALLEL,
            variants=BROWSER, limit_s=12.0,
        )  # fmt: skip
        stage.load.ask("leave")
        bare, bare_cpu = _bare(bench, stage, joins)
    rate = answer["joined"] / answer["seconds"]
    joins = answer["joined"]
    cost = seen.cpu / joins * 1e6
    notes = [
        (
            f"{joins:,} joins in {answer['seconds']:.2f} s, {_PARALLEL} at once; worker {seen.busy:.0%}"
            f" = {cost:.0f} us each, {seen.bytes / joins / 1000:.1f} kB received per viewer;"
            f" {seen.load_text}"
        )
    ]
    if answer["failed"]:
        notes.append(f"refused: {answer['failed']}")
    yield Reading(
        what="joins/s into one room, token and snapshot",
        bar=BAR.text,
        measured=f"{rate:,.0f}/s",
        reached="no" if answer["failed"] else BAR.verdict(rate),
        beside=f"bare aiohttp upgrade and one reply: {bare:,.0f}/s, {bare_cpu:.0f} us",
        values={"per_s": rate, "us_per_join": cost, "bare_per_s": bare, "bare_us": bare_cpu},
        notes=notes,
    )


def _fill_snapshot(stage: Stage) -> None:
    """Give late joiners something to be shown: as many messages as the room keeps."""
    stage.join("bench", _TALKERS, variants=BROWSER)
    stage.talk(100.0, settle_s=0.8)
    stage.load.ask("hush")


def _bare(bench: Bench, stage: Stage, joins: int) -> tuple[float, float]:
    with Child.module("bench.bare_upgrade", core=bench.cores.worker) as server:
        count = joins // 2
        stage.load.ask("tokens", room="bench", count=count)
        before = server.ask("stats")["cpu"]
        answer = stage.load.ask(
            "join", 40, port=server.hello["port"], room="bench", count=count, parallel=_PARALLEL,
            variants=[0], limit_s=6.0,
        )  # fmt: skip
        cpu = server.ask("stats")["cpu"] - before
        stage.load.ask("leave")
    return answer["joined"] / answer["seconds"], cpu / answer["joined"] * 1e6
