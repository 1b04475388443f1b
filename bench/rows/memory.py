"""Resident memory of a worker per viewer that is joined and says nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bench.child import ChildFailed
from bench.report import Bar, Reading
from bench.stage import BROWSER, Bench


__all__ = ["run"]

BAR = Bar("<= 16 KiB", 16.0)
_WARM = 200


def run(bench: Bench) -> Iterable[Reading]:
    """Measure."""
    viewers = bench.pick(3000, 800)
    with bench.stage("memory") as stage:
        stage.open("bench")
        stage.join("bench", _WARM, variants=BROWSER)
        time.sleep(0.5)
        before = stage.worker.ask("collect")["rss"]
        stage.join("bench", viewers, variants=BROWSER)
        time.sleep(bench.pick(4.0, 0.5))
        after = stage.worker.ask("collect")["rss"]
        there = stage.worker.ask("stats")["connections"]
    if there != _WARM + viewers:
        raise ChildFailed(f"expected {_WARM + viewers} connections, there are {there}")
    each = (after - before) / viewers / 1024
    yield Reading(
        what=f"memory per idle viewer, {viewers:,} joined, JSON + deflate",
        bar=BAR.text,
        measured=f"{each:.1f} KiB",
        reached=BAR.verdict(each),
        beside="Centrifugo: 27 KB by default (published)",
        values={"kib_per_viewer": each, "rss_mib": after / 2**20},
        notes=[f"the worker in all: {after / 2**20:.0f} MiB; the kernel's socket buffers not in"],
    )
