"""`python -m bench.scaling`: what one room of a million viewers, or 25, would need.

Measures the prices on this machine (or takes them from `--inputs`), then computes workers and
simulates the store between them (bench/scale_model.py). Nothing of that size is run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.machine import Noise, cores, pin, raise_file_limit, stamp
from bench.pubsub import Fanout, deliveries_per_s
from bench.report import machine_lines, md_row
from bench.scale_inputs import measure_prices
from bench.scale_model import TOPOLOGIES, Need, Prices, Room, need


__all__ = ["main"]

_ROOMS = ((1_000_000, (0.1, 0.2, 0.5)), (25_000_000, (0.2, 0.5)))

_UNITS = {
    "write_us": ("a worker writes a frame to one more viewer", "us"),
    "talk_us": ("a worker takes one more message from a viewer, most being shed", "us"),
    "block_us": ("a worker takes a publication without messages", "us"),
    "item_us": ("each message in it", "us"),
    "commit_us": ("the store runs a beat's commit and publishes it to one worker", "us"),
    "each_us": ("the store sends a publication to one more worker", "us"),
    "per_kb_us": ("each 1,000 bytes of it", "us"),
    "block_bytes": ("a publication without messages", "bytes"),
    "item_bytes": ("each message in it", "bytes"),
    "viewer_bytes_s": ("a viewer is sent, at 30 danmaku/s, deflated", "bytes/s"),
}


def main() -> int:
    """Run."""
    given = _arguments()
    raise_file_limit()
    placed = cores()
    pin(placed.load)
    began, noise = time.monotonic(), Noise()
    taken = _taken(given.inputs) if given.inputs else None
    if taken is None:
        measured = measure_prices(placed, quick=given.quick)
        notes = [*measured.notes, _server_note(measured.fanout), noise.text()]
        taken = {
            "prices": asdict(measured.prices),
            "fanout": asdict(measured.fanout),
            "notes": notes,
            "machine": stamp(placed, quick=given.quick),
        }
    prices = Prices(**taken["prices"])
    needs = list(_needs(prices, given.talk))
    if given.json:
        whole = taken | {"needs": [asdict(found) for found in needs]}
        given.json.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    _print(taken, needs, time.monotonic() - began, markdown=given.markdown)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--inputs", type=Path, metavar="FILE", help="prices of an earlier --json")
    parser.add_argument("--talk", type=float, default=0.001, help="messages per viewer and second")
    parser.add_argument("--quick", action="store_true", help="shorter windows, rougher prices")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.add_argument("--markdown", action="store_true", help="print for docs/scaling.md")
    return parser.parse_args()


def _taken(path: Path) -> dict[str, Any]:
    taken: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return taken


def _needs(prices: Prices, talk: float) -> Iterable[Need]:
    for viewers, beats in _ROOMS:
        for beat_s in beats:
            for layout in TOPOLOGIES.values():
                yield need(prices, Room(viewers, beat_s, talk), layout)


def _server_note(fanout: Fanout) -> str:
    rates = ", ".join(f"{deliveries_per_s(fanout, n):,.0f}/s of {n:,} bytes" for n in (500, 5000))
    return f"{fanout.server}, one core, many subscribers: {rates}"


_HEADS = (
    "viewers", "beat ms", "layout", "workers", "stores", "busiest store", "its publications/s",
    "it sends MB/s", "p99 there ms", "a worker takes/s", "of its core", "holds",
)  # fmt: skip


def _cells(found: Need) -> list[str]:
    store = found.store
    return [
        f"{found.room.viewers:,}",
        f"{found.room.beat_s * 1000:.0f}",
        found.layout.name + ("" if found.layout.built else " (not built)"),
        f"{found.workers:,}",
        f"{_stores(found):,}",
        f"{store.busy:.0%}" if store.busy < 10 else f"{store.busy:,.0f} cores",
        f"{store.published:,.0f}",
        f"{store.out_bytes_s / 1e6:,.0f}",
        f"{store.p99_s * 1000:,.0f}" if store.busy < 1 else "grows",
        f"{found.inbound:,.0f}",
        f"{found.inbound_use:.0%}",
        "no: " + found.why if found.why else "yes",
    ]


def _stores(found: Need) -> int:
    relayed = found.layout.name == "relays" and found.groups > 1
    return found.groups + relayed


def _print(taken: dict[str, Any], needs: Sequence[Need], seconds: float, *, markdown: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else 180)

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    prices = [
        [what, f"{taken['prices'][name]:.3g} {unit}"] for name, (what, unit) in _UNITS.items()
    ]
    fanout = [
        [f"{p['subscribers']}", f"{p['size']:,}", f"{p['us']:,.0f}", _each(p)]
        for p in taken["fanout"]["points"]
    ]
    tables = (
        (("price", "measured"), prices),
        (("subscribers", "bytes", "CPU us per publication", "per subscriber"), fanout),
        (_HEADS, [_cells(found) for found in needs]),
    )
    for heads, rows in tables:
        if markdown:
            line("\n".join(md_row(row) for row in (heads, ["---"] * len(heads), *rows)) + "\n")
        else:
            table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
            for row in rows:
                table.add_row(*row)
            console.print(table)
    for text in (*taken["notes"], *_totals(needs), *machine_lines(taken["machine"])):
        line(f"- {text}")
    line(f"- the run took {seconds:.0f} s")


def _each(point: dict[str, float]) -> str:
    return f"{point['us'] / point['subscribers']:.1f}"


def _totals(needs: Sequence[Need]) -> Iterable[str]:
    for viewers in sorted({found.room.viewers for found in needs}):
        bits = next(found.out_bits_s for found in needs if found.room.viewers == viewers)
        talk = next(found.room.talk for found in needs if found.room.viewers == viewers)
        yield (
            f"{viewers:,} viewers: {bits / 1e9:,.0f} Gbit/s to them at 30 danmaku/s,"
            f" {viewers * talk:,.0f} messages/s from them"
        )


if __name__ == "__main__":
    sys.exit(main())
