"""Shows the comparison: text, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.peers.measure import Load, Result
from bench.report import machine_lines, md_row


__all__ = ["as_json", "print_markdown", "print_table"]

_HEADS = (
    "server", "batching", "durability", "CPU us per delivery", "deliveries/s", "of a core", "messages a frame",
    "p50 / p99 ms", "p50 / p99 ms at {calm:g}/s", "missing {drain:g} s later", "KiB per idle connection",
)  # fmt: skip


def _heads(load: Load) -> list[str]:
    return [head.format(calm=load.calm_rate, drain=load.drain_s) for head in _HEADS]


def _cells(result: Result) -> list[str]:
    if not result.values:
        why = result.why.splitlines()[0]
        shown = f"failed: {why}" if result.failed else why
        return [result.title, shown, *[""] * (len(_HEADS) - 2)]
    values = result.values
    return [
        result.title,
        result.batching,
        result.durability,
        f"{values['us_per_delivery']:.2f}",
        f"{values['deliveries_per_s']:,.0f}" if "deliveries_per_s" in values else "-",
        f"{values['busy']:.0%}",
        f"{values['messages_per_frame']:.1f}",
        _ages(values, ""),
        _ages(values, "calm_"),
        f"{values['missing']:,.0f}" if "missing" in values else "-",
        f"{values['kib_per_connection']:.1f}" if "kib_per_connection" in values else "-",
    ]


def _ages(values: dict[str, float], which: str) -> str:
    if values.get(f"{which}p50_s", -1.0) < 0:
        return "-"
    return f"{_ms(values[f'{which}p50_s'])} / {_ms(values[f'{which}p99_s'])}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}" if seconds < 0.1 else f"{seconds * 1000:,.0f}"


def _lines(
    results: Sequence[Result], load: Load, machine: dict[str, Any], seconds: float
) -> list[str]:
    notes = [f"{r.title}: {note}" for r in results for note in r.notes]
    notes += [f"{r.title}: {r.why}" for r in results if r.failed]
    versions = [f"{r.title}: {r.version}" for r in results if r.version]
    return [
        *notes,
        f"versions: {'; '.join(versions)}",
        f"terms: {load.text}; no compression anywhere; CPU of a server includes its store's",
        *machine_lines(machine),
        f"the run took {seconds:.0f} s",
    ]


def _values(result: Result) -> dict[str, Any]:
    values = asdict(result)
    del values["frame"]
    return values


def print_table(
    results: Sequence[Result],
    load: Load,
    machine: dict[str, Any],
    seconds: float,
    console: Console,
) -> None:
    """Print a table for a terminal, and the notes under it."""
    table = Table(*_heads(load), box=box.SIMPLE_HEAD, pad_edge=False)
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)
    for line in _lines(results, load, machine, seconds):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_markdown(
    results: Sequence[Result],
    load: Load,
    machine: dict[str, Any],
    seconds: float,
    console: Console,
) -> None:
    """Print what docs/peers.md takes in."""
    lines = [md_row(_heads(load)), md_row(["---"] * len(_HEADS))]
    lines += [md_row(_cells(result)) for result in results]
    lines.append("")
    lines += [f"- {line}" for line in _lines(results, load, machine, seconds)]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def as_json(
    results: Sequence[Result], load: Load, machine: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Return everything, for `--json`."""
    return {
        "machine": machine,
        "load": asdict(load),
        "seconds": seconds,
        "servers": [_values(result) for result in results],
    }
