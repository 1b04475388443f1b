"""What a row found, and how it is shown: text, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


__all__ = [
    "Bar",
    "Reading",
    "as_json",
    "machine_lines",
    "md_row",
    "print_markdown",
    "print_table",
]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the design: what has to be reached first, and what is aimed at.

    Args:
        text: as the design says it.
        first: the limit.
        aim: the stricter one, where there are two.
        at_least: whether more is better.
    """

    text: str
    first: float
    aim: float | None = None
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """Return yes, "first" (the bar, not yet the aim) or no."""
        aim = self.first if self.aim is None else self.aim
        if self._holds(value, aim):
            return "yes"
        return "first" if self._holds(value, self.first) else "no"

    def _holds(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


@dataclass(slots=True)
class Reading:
    """One measured row.

    Args:
        what: what was measured, with its conditions.
        bar: the bar's text; "-" for none.
        measured: the figure with its unit.
        reached: yes, first, no, or "-" where there is no bar or no figure.
        beside: the limit or peer of the same run.
        values: raw figures for the JSON.
        notes: what a reader should know about this figure.
    """

    what: str
    bar: str
    measured: str
    reached: str = "-"
    beside: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    row: str = ""


_HEADS = ("row", "what", "bar", "measured", "reached", "beside it in this run")


def _cells(reading: Reading) -> tuple[str, ...]:
    return (
        reading.row, reading.what, reading.bar, reading.measured, reading.reached, reading.beside,
    )  # fmt: skip


def print_table(readings: Sequence[Reading], machine: dict[str, Any], console: Console) -> None:
    """Print a table for a terminal, and the notes under it."""
    table = Table(*_HEADS, box=box.SIMPLE_HEAD, pad_edge=False)
    for reading in readings:
        table.add_row(*_cells(reading))
    console.print(table)
    for reading in readings:
        for note in reading.notes:
            console.print(f"{reading.row}: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print()
    for line in machine_lines(machine):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_markdown(readings: Sequence[Reading], machine: dict[str, Any], console: Console) -> None:
    """Print what docs/benchmarks.md takes in."""
    lines = [md_row(_HEADS), md_row(["---"] * len(_HEADS))]
    lines += [md_row(_cells(reading)) for reading in readings]
    lines.append("")
    lines += [f"- {reading.row}: {note}" for reading in readings for note in reading.notes]
    lines.append("")
    lines += [f"- {line}" for line in machine_lines(machine)]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def as_json(readings: Sequence[Reading], machine: dict[str, Any]) -> dict[str, Any]:
    """Return everything, for `--json`."""
    return {"machine": machine, "rows": [asdict(reading) for reading in readings]}


def md_row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") or " " for cell in cells) + " |"


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """Return where and when a run was taken."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return [
        f"{machine['when']}, commit {machine['commit']}{', quick run' if machine['quick'] else ''}",
        (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB;"
            f" {machine['kernel']}"
        ),
        f"{machine['python']}; {versions}",
        f"{machine['placement']}",
    ]
