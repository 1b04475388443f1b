"""`python -m bench.growth`: how cost grows with viewers, rooms, workers and messages.

One thing grows at a time. Prints a table of each series. `--out DIR` writes a page with tables and
plots (`growth.html`) and all figures (`growth.json`); `--pictures DIR` writes the plots alone.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from types import FrameType
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.fleet import Fleet, Seen
from bench.machine import Cores, Noise, cores, pin, raise_file_limit, stamp
from bench.plot import Line, Panel, svg
from bench.report import machine_lines, md_row


__all__ = ["main"]

_SERIES_LIMIT_S = 110
_BEAT_MS = 100


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point of a series."""

    x: int
    seen: Seen
    workers: int = 1


@dataclass(slots=True)
class Series:
    """What was measured while one thing grew."""

    name: str
    title: str
    x_name: str
    points: list[Point] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Extent:
    """How far each series goes, and how long each window is."""

    seconds: float = 4.0
    viewers: Sequence[int] = (1000, 2500, 5000, 10_000)
    rooms: Sequence[int] = (1, 10, 100, 1000)
    workers: Sequence[int] = (1, 2, 3, 4)
    rates: Sequence[int] = (10, 30, 100, 300, 1000)

    @classmethod
    def quick(cls) -> Extent:
        """Return a smaller one, for a first look."""
        return cls(1.0, (200, 500, 1000), (1, 10, 100), (1, 2), (10, 100, 300))


_WITH_ROOMS, _WITH_WORKERS, _WITH_RATES = 2000, 2400, 1000  # viewers in all
_RATE = 100.0
_ROOMS_AT_ONCE = 100  # their viewers come together: more at once, and some hear nothing in time
_SETTINGS = {"beat_ms": _BEAT_MS, "danmaku_per_s": 100_000}


def _viewers(placed: Cores, extent: Extent, series: Series) -> None:
    series.title = f"viewers in one room, {_RATE:.0f} messages/s, one worker"
    with Fleet.started(placed, **_SETTINGS) as fleet:
        fleet.open(["bench"])
        for count in extent.viewers:
            fleet.hush()
            fleet.join("bench", count - fleet.viewers)
            fleet.talk({"bench": _RATE})
            series.points.append(Point(count, fleet.window(extent.seconds)))


def _rooms(placed: Cores, extent: Extent, series: Series) -> None:
    series.title = (
        f"rooms that share {_WITH_ROOMS:,} viewers and {2 * _RATE:.0f} messages/s, one worker"
    )
    with Fleet.started(placed, **_SETTINGS) as fleet:
        for count in extent.rooms:
            names = [f"r{count}-{n}" for n in range(count)]
            fleet.open(names)
            for start in range(0, count, _ROOMS_AT_ONCE):
                fleet.spread(names[start : start + _ROOMS_AT_ONCE], _WITH_ROOMS // count)
            fleet.talk(dict.fromkeys(names, 2 * _RATE / count), scattered=True)
            series.points.append(Point(count, fleet.window(extent.seconds)))
            fleet.leave()


def _workers(placed: Cores, extent: Extent, series: Series) -> None:
    series.title = (
        f"workers that share {_WITH_WORKERS:,} viewers of one room, {_RATE:.0f} messages/s"
    )
    series.notes.append("all workers share one core: CPU is comparable, ages are the worse for it")
    for count in extent.workers:
        with Fleet.started(placed, count, **_SETTINGS) as fleet:
            fleet.open(["bench"])
            fleet.join("bench", _WITH_WORKERS)
            fleet.talk({"bench": _RATE})
            series.points.append(Point(count, fleet.window(extent.seconds), count))


def _rates(placed: Cores, extent: Extent, series: Series) -> None:
    series.title = f"messages/s in one room of {_WITH_RATES:,} viewers, one worker"
    with Fleet.started(placed, **_SETTINGS) as fleet:
        fleet.open(["bench"])
        fleet.join("bench", _WITH_RATES)
        for rate in extent.rates:
            fleet.talk({"bench": float(rate)})
            series.points.append(Point(rate, fleet.window(extent.seconds)))
            fleet.hush()


_SERIES: dict[str, tuple[str, Callable[[Cores, Extent, Series], None]]] = {
    "viewers": ("viewers", _viewers),
    "rooms": ("rooms", _rooms),
    "workers": ("workers", _workers),
    "rates": ("messages/s", _rates),
}


def main() -> int:
    """Run."""
    given = _arguments()
    raise_file_limit()
    placed = cores()
    pin(placed.load)
    signal.signal(signal.SIGALRM, _too_long)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    extent = Extent.quick() if given.quick else Extent()
    began = time.monotonic()
    found = [_measure(name, placed, extent) for name in given.only]
    machine = stamp(placed, quick=given.quick)
    seconds = time.monotonic() - began
    if given.out:
        _write(given.out, found, machine)
    if given.pictures:
        _draw(given.pictures, found, machine)
    _print(found, machine, seconds, markdown=given.markdown)
    return 1 if any(series.failed for series in found) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--only", metavar="SERIES,…", help=f"of {', '.join(_SERIES)}")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write growth.html and growth.json")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write growth-SERIES.svg")
    parser.add_argument("--markdown", action="store_true", help="print for docs/scaling.md")
    given = parser.parse_args()
    given.only = given.only.split(",") if given.only else list(_SERIES)
    unknown = set(given.only) - set(_SERIES)
    if unknown:
        parser.error(f"expected series of {', '.join(_SERIES)}, came {', '.join(sorted(unknown))}")
    return given


def _measure(name: str, placed: Cores, extent: Extent) -> Series:
    """Measure one series; what was measured before something goes wrong is kept."""
    sys.stderr.write(f"{name} … ")
    sys.stderr.flush()
    x_name, run = _SERIES[name]
    series, noise, began = Series(name, name, x_name), Noise(), time.monotonic()
    signal.alarm(_SERIES_LIMIT_S)
    try:
        run(placed, extent, series)
    except Exception as exc:  # noqa: BLE001  # a series that fails is shown as one
        series.failed = True
        series.notes.append(f"broken off: {type(exc).__name__}: {exc}")
    finally:
        signal.alarm(0)
    seconds = time.monotonic() - began
    sys.stderr.write(f"{seconds:.0f} s\n")
    series.notes.append(f"{seconds:.0f} s; {noise.text()}")
    return series


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"the series was not done after {_SERIES_LIMIT_S} s")


_HEADS = (
    "CPU us per delivery", "CPU us per message sent", "deliveries/s", "p50 / p99 ms",
    "of a core", "store of a core", "commits/s", "beat ms", "remarks",
)  # fmt: skip


def _cells(point: Point) -> list[str]:
    seen = point.seen
    age = seen.age
    ages = f"{age['p50'] * 1000:.0f} / {age['p99'] * 1000:.0f}" if age["n"] else "-"
    return [
        f"{point.x:,}",
        f"{seen.us_per_delivery:.2f}",
        f"{seen.cpu / max(1.0, seen.sent) * 1e6:,.0f}",
        f"{seen.deliveries / seen.seconds:,.0f}",
        ages,
        f"{seen.cpu / seen.seconds:.0%}",
        f"{seen.store_cpu / seen.seconds:.0%}",
        f"{seen.commits / seen.seconds:,.0f}",
        f"{seen.beat * 1000:.0f}",
        seen.fault,
    ]


def _print(
    found: Sequence[Series], machine: dict[str, Any], seconds: float, *, markdown: bool
) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for series in found:
        heads = [series.x_name, *_HEADS]
        line(f"{series.name}: {series.title}, beat {_BEAT_MS} ms\n")
        if markdown:
            rows = [heads, ["---"] * len(heads), *map(_cells, series.points)]
            line("\n".join(map(md_row, rows)) + "\n")
        else:
            table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
            for point in series.points:
                table.add_row(*_cells(point))
            console.print(table)
        line("\n".join(f"- {note}" for note in series.notes) + "\n")
    for text in (*machine_lines(machine), f"the run took {seconds:.0f} s"):
        line(f"- {text}")


def _write(folder: Path, found: Sequence[Series], machine: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "growth.html").write_text(_page(found, machine), encoding="utf-8")
    whole = {"machine": machine, "series": [asdict(series) for series in found]}
    (folder / "growth.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")


def _draw(folder: Path, found: Sequence[Series], machine: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for series in found:
        plot = _plot(series, machine)
        if plot:
            (folder / f"growth-{series.name}.svg").write_text(plot, encoding="utf-8")


def _plot(series: Series, machine: dict[str, Any]) -> str:
    if len(series.points) < 2:
        return ""
    note = f"{machine['when']}, {machine['cpu']}, commit {machine['commit']}"
    return svg(f"{series.title}, beat {_BEAT_MS} ms", list(_panels(series)), note)


_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>How cost grows</title><style>
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}body{margin:2em auto;max-width:86em;padding:0 1em}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.2em .8em;text-align:right;border-bottom:1px solid #8886}svg{max-width:100%;height:auto}
</style><h1>How cost grows</h1>
"""


def _page(found: Sequence[Series], machine: dict[str, Any]) -> str:
    parts = [_HEAD]
    for series in found:
        parts.append(f"<h2>{escape(series.name)}</h2><p>{escape(series.title)}</p>")
        parts.append(_plot(series, machine))
        parts.append("<table>" + _table_row("th", [series.x_name, *_HEADS]))
        parts += [_table_row("td", _cells(point)) for point in series.points]
        parts.append("</table>" + _list(series.notes))
    return "\n".join([*parts, _list(machine_lines(machine))]) + "\n"


def _table_row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _panels(series: Series) -> Iterable[Panel]:
    def line(name: str, value: Callable[[Seen], float]) -> Line:
        return Line(name, [(p.x, value(p.seen)) for p in series.points])

    if series.name == "rooms":  # nobody shares a message there: the cost of one says more
        cost = line("all workers", lambda seen: seen.cpu / max(1.0, seen.sent) * 1e6)
        yield Panel("CPU us per message sent", series.x_name, [cost])
        commits = line("store", lambda seen: seen.commits / seen.seconds)
        yield Panel("commits/s", series.x_name, [commits])
    else:
        cost = line("all workers", lambda seen: seen.us_per_delivery)
        yield Panel("CPU us per delivery", series.x_name, [cost])
    aged = [p for p in series.points if p.seen.age["n"]]
    if aged:
        yield Panel(
            "age of a message when it comes, ms",
            series.x_name,
            [Line(name, [(p.x, p.seen.age[name] * 1000) for p in aged]) for name in ("p99", "p50")],
        )


if __name__ == "__main__":
    sys.exit(main())
