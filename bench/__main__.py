"""`python -m bench`: measure the rows, show them beside their bars.

A bar that is not reached is a finding, not a failure: the exit status tells only whether every
row could be measured.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from rich.console import Console

from bench.machine import Noise, cores, pin, raise_file_limit, stamp
from bench.report import Reading, as_json, print_markdown, print_table
from bench.rows import ROWS
from bench.stage import Bench


__all__ = ["main"]

_ROW_LIMIT_S = 75


def main() -> int:
    """Run."""
    given = _arguments()
    raise_file_limit()
    chosen = given.only.split(",") if given.only else list(ROWS)
    bench = Bench(cores(), given.quick, given.profile)
    pin(bench.cores.load)
    signal.signal(signal.SIGALRM, _too_long)
    readings = [reading for name in chosen for reading in _run(name, bench)]
    machine = stamp(bench.cores, quick=bench.quick)
    if given.json:
        given.json.write_text(json.dumps(as_json(readings, machine), indent=1), encoding="utf-8")
    console = Console(width=None if sys.stdout.isatty() else 160)
    (print_markdown if given.markdown else print_table)(readings, machine, console)
    return 1 if any(reading.measured == "failed" for reading in readings) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", metavar="ROW,…", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="5 s a row, rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.add_argument("--markdown", action="store_true", help="print for docs/benchmarks.md")
    parser.add_argument(
        "--profile", type=Path, metavar="DIR", help="profile the worker with py-spy (needs rights)"
    )
    given = parser.parse_args()
    unknown = set(given.only.split(",") if given.only else ()) - ROWS.keys()
    if unknown:
        parser.error(f"expected rows of {', '.join(ROWS)}, came {', '.join(sorted(unknown))}")
    return given


def _run(name: str, bench: Bench) -> list[Reading]:
    """Measure one row; whatever goes wrong, the others are measured too."""
    sys.stderr.write(f"{name} … ")
    sys.stderr.flush()
    noise, began = Noise(), time.monotonic()
    readings: list[Reading] = []
    signal.alarm(_ROW_LIMIT_S)
    try:
        readings += ROWS[name](bench)
    except Exception as exc:  # noqa: BLE001  # a row that fails is shown as one
        readings.append(Reading(name, "-", "failed", notes=[f"{type(exc).__name__}: {exc}"]))
    finally:
        signal.alarm(0)
    seconds = time.monotonic() - began
    sys.stderr.write(f"{seconds:.0f} s\n")
    for reading in readings:
        reading.row = name
    readings[-1].notes.append(f"{seconds:.0f} s; {noise.text()}")
    return readings


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"the row was not done after {_ROW_LIMIT_S} s")


if __name__ == "__main__":
    sys.exit(main())
