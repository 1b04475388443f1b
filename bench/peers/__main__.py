"""`python -m bench.peers`: the engine and others, each with the same room, in one run.

What is not installed is shown as such; `--install` gets it into a folder of its own. The exit status
tells whether everything that is there could be measured.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from bench.machine import Cores, cores, pin, raise_file_limit, stamp
from bench.peers.crowd import NO_COMPILER, Crowd, compiler
from bench.peers.install import HOME, Place, install
from bench.peers.measure import Load, Result, limit, measure
from bench.peers.report import as_json, print_markdown, print_table
from bench.peers.servers import PEERS


__all__ = ["main"]

_LIMITS = {"c": (5.0, ""), "c-50": (50.0, "liveroom-50"), "c-100": (100.0, "liveroom-100")}
"""The C loop: one frame per message, then the engine's frames as often as the engine writes."""

_SERVER_LIMIT_S = 75


def main() -> int:
    """Run."""
    given = _arguments()
    if given.install:
        failed = install(given.home)
        sys.stderr.write("".join(f"not installed: {why}\n" for why in failed))
        return 1 if failed else 0
    if compiler() is None:
        sys.stderr.write(f"{NO_COMPILER}\n")
        return 2
    raise_file_limit()
    placed = cores()
    pin(placed.load)
    signal.signal(signal.SIGALRM, _too_long)
    # An ordinary end, so that every server that runs is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load, began = Load.quick() if given.quick else Load(), time.monotonic()
    results = list(_measure(given.only, Place(given.home), placed, load))
    seconds, machine = time.monotonic() - began, stamp(placed, quick=given.quick)
    if given.json:
        whole = as_json(results, load, machine, seconds)
        given.json.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    console = Console(width=None if sys.stdout.isatty() else 200)
    (print_markdown if given.markdown else print_table)(results, load, machine, seconds, console)
    return 1 if any(result.failed for result in results) else 0


def _arguments() -> argparse.Namespace:
    names = [*PEERS, *_LIMITS]
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--only", metavar="NAME,…", help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="2 s a server, rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.add_argument("--markdown", action="store_true", help="print for docs/peers.md")
    parser.add_argument("--install", action="store_true", help="get the peers, then end")
    parser.add_argument(
        "--home", type=Path, default=HOME, metavar="DIR", help="where the peers are"
    )
    given = parser.parse_args()
    given.only = given.only.split(",") if given.only else names
    unknown = set(given.only) - set(names)
    if unknown:
        parser.error(f"expected servers of {', '.join(names)}, came {', '.join(sorted(unknown))}")
    return given


def _measure(names: Sequence[str], place: Place, placed: Cores, load: Load) -> Iterable[Result]:
    found: dict[str, Result] = {}
    with Crowd.build() as crowd:
        for name in names:
            sys.stderr.write(f"{name} … ")
            sys.stderr.flush()
            began = time.monotonic()
            found[name] = _one(name, found, (place, placed, crowd, load))
            yield found[name]
            sys.stderr.write(f"{time.monotonic() - began:.0f} s\n")


def _one(name: str, found: dict[str, Result], around: tuple[Place, Cores, Crowd, Load]) -> Result:
    """Measure one; whatever goes wrong, the others are measured too."""
    place, placed, crowd, load = around
    signal.alarm(_SERVER_LIMIT_S)
    try:
        if name in PEERS:
            return measure(name, PEERS[name], place, placed, crowd, load)
        beat_ms, of = _LIMITS[name]
        if of and (of not in found or not found[of].frame):
            return Result(
                name, f"limit: C write loop ({name})", "", "", why=f"not measured: needs {of}"
            )
        return limit(name, beat_ms, found.get(of), placed, crowd, load)
    except Exception as exc:  # noqa: BLE001  # a server that fails is shown as one
        why = f"{type(exc).__name__}: {exc}"
        title = PEERS[name].title if name in PEERS else f"C write loop ({name})"
        return Result(name, title, "", "", why=why, failed=True)
    finally:
        signal.alarm(0)
        crowd.leave()


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"not done after {_SERVER_LIMIT_S} s")


if __name__ == "__main__":
    sys.exit(main())
