"""`python -m bench.hour`: the live figures of a simulated hour against a batch, and an alert's latency.

The room is that of the tests (tests/busyshow.py): forty people come and go on two workers, act, buy and
have messages deleted, while all clocks are moved on; the archive is SQLite. A figure is compared in the
middle, at the end and when orders went on after it, with a batch over what the harness noted by itself
and with one over the archive. Exit status 1 if one is off by more than docs/counters.md says.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table


sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the harness of the tests

from alarms import Fallen, fall_of_sales
from busyshow import Comparison, compare, play, running_show
from liveroom.store.embedded import EmbeddedServer


__all__ = ["main"]

LATENCY_S = 15
SEEDS = range(11, 16)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m bench.hour", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="how long the show is")
    parser.add_argument("--seed", type=int, default=1, help="what happens in it")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with EmbeddedServer(None) as server, tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        found = asyncio.run(_compare(server.url, Path(folder), given.minutes, given.seed))
        seconds = time.monotonic() - started
        fallen = [
            asyncio.run(fall_of_sales(server.url, f"fall-{seed}", Path(folder), seed))
            for seed in SEEDS
        ]
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(_figures(found, given.minutes, seconds))
    console.print(_alerts(fallen))
    off = any(each.wrong for compared in found.values() for each in compared.values())
    return 1 if off or not all(map(_in_time, fallen)) else 0


Found = dict[str, dict[str, Comparison]]


async def _compare(url: str, folder: Path, minutes: int, seed: int) -> Found:
    found: Found = defaultdict(dict)
    async with running_show(url, "hour", folder, seed) as show:
        async for stands in play(show, minutes):
            for source, compared in (await compare(show, closed=stands != "in the middle")).items():
                found[source][stands] = compared
    return found


def _figures(found: Found, minutes: int, seconds: float) -> Table:
    table = Table(title=f"streaming against batch, {minutes} simulated minutes in {seconds:.0f} s")
    for name in ("batch over", "when", "figures", "exact", "equal", "sketched", "within", "worst"):
        table.add_column(name, justify="left" if name in ("batch over", "when") else "right")
    for source, compared in found.items():
        for stands, each in compared.items():
            equal, within = each.exact - each.wrong_exact, each.sketched - each.wrong_sketched
            cells = (each.count, each.exact, equal, each.sketched, within)
            table.add_row(source, stands, *map(str, cells), f"{each.worst:.2%}")
    return table


def _alerts(fallen: list[Fallen]) -> Table:
    table = Table(title="sales fall by half: when the alert is told, and how often")
    for name in ("seed", "after, s", f"within {LATENCY_S} s", "alerts", "before the fall"):
        table.add_column(name, justify="right")
    for seed, each in zip(SEEDS, fallen, strict=True):
        told, soon = str(len(each.told[0])), str(len(each.too_soon))
        table.add_row(str(seed), str(each.seconds), "yes" if _in_time(each) else "NO", told, soon)
    return table


def _in_time(fallen: Fallen) -> bool:
    once = all(len(told) == 1 for told in fallen.told) and not fallen.too_soon
    return once and 0 < fallen.seconds <= LATENCY_S


if __name__ == "__main__":
    sys.exit(main())
