"""The tables that a run of the fault kit gives, for a terminal and for the documents.

`make chaos` keeps its rows in `.liveroom/chaos.json`; from them

    python tests/faults/table.py .liveroom/chaos.json             prints the tables
    python tests/faults/table.py .liveroom/chaos.json --write     puts them into docs/ and README.md
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


__all__ = ["fill", "in_short", "keep", "of_faults", "of_promises"]

Row = dict[str, Any]

ROOT = Path(__file__).parents[2]
LEVELS = ("memory", "everysec", "fsync", "replica 1 of 2", "replica")

PROMISES = {
    "memory": "survives the death of a worker; the store's death takes everything, and that is told",
    "everysec": "survives the store's process; a power cut or a failover takes the last moments",
    "fsync": "survives a power cut, if the disk keeps its word",
    "replica 1 of 2": "survives the loss of the store's machine, if the replica that had it takes over",
    "replica": "survives the loss of the store's machine: all replicas are waited for",
}
"""Of what was acknowledged, by level."""


# What a run leaves.


def keep(path: Path, rows: Sequence[Row]) -> None:
    """Write rows to a file; those of other tests that it has stay."""
    ran = {row["test"] for row in rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    others = [row for row in load(path) if row["test"] not in ran] if path.exists() else []
    path.write_text(json.dumps([*others, *rows], indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> list[Row]:
    """Return the rows in a file."""
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    return rows


# The table of faults.

_FAULTS = (
    ("row", "row"),
    ("fault", "fault"),
    ("level", "level"),
    ("acked", "acked"),
    ("lost", "lost"),
    ("within ms", "loss_ms"),
    ("doubled", "doubled"),
    ("silent gaps", "silent"),
    ("told", "told"),
    ("differ", "differing"),
    ("newest ms", "converge_ms"),
    ("said", "said"),
    ("shown", "shown"),
    ("shed", "shed"),
    ("uncounted", "uncounted"),
    ("window", "window_ms"),
    ("recovery", "recovery_ms"),
    ("alarm", "alarm"),
    ("", "note"),
)


def of_faults(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table of all faults."""
    yield _line(name for name, _ in _FAULTS)
    yield _line("---" for _ in _FAULTS)
    for row in sorted(rows, key=lambda row: (_number(row["row"]), row["fault"])):
        cells = [str(row[field]) for _, field in _FAULTS]
        yield _line(cell.replace("liveroom_", "").replace("_total ", " ") for cell in cells)


def _number(row: str) -> tuple[int, str]:
    found = re.match(r"F(\d+)", row)
    return (int(found[1]) if found else 99, row)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


# The table of promises.

_PROMISES = ("class", "level", "promised", "acked", "lost", "doubled", "silent gaps", "longest loss",
             "over the faults")  # fmt: skip


def of_promises(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the promise table: what holds by class and level, and what was measured."""
    yield _line(_PROMISES)
    yield _line("---" for _ in _PROMISES)
    for level in LEVELS:
        yield _durable(level, [row for row in rows if row["level"] == level])
    for level in LEVELS:
        yield _money(level, [row for row in rows if row["level"] == level])
    yield _latest(rows)
    yield _ephemeral(rows)


def _durable(level: str, rows: Sequence[Row]) -> str:
    told = _sum(rows, "told")
    gaps = f"{_sum(rows, 'silent')} in {_sum(rows, 'seen'):,} shown ({told} were told)"
    return _line([
        "durable", level, f"each viewer sees each event once, in order, or is told; {PROMISES[level]}",
        f"{_sum(rows, 'acked'):,}", f"{_sum(rows, 'lost'):,}", str(_sum(rows, "doubled")), gaps,
        _longest(rows, "loss_ms"), _names(rows, lossy=True),
    ])  # fmt: skip


def _money(level: str, rows: Sequence[Row]) -> str:
    kept = [row for row in rows if not row["lost"] and not row["told"]]
    return _line([
        "replies, money", level,
        "one effect and one answer for one key, whoever is asked again; books that add up",
        f"{_sum(rows, 'acked'):,}, {_sum(rows, 'again'):,} asked again",
        f"{_sum(rows, 'lost'):,}", f"{_sum(rows, 'doubled')} ({_sum(kept, 'wrong')} other answers)",
        "", _longest(rows, "loss_ms"), _names(rows, lossy=True),
    ])  # fmt: skip


def _latest(rows: Sequence[Row]) -> str:
    return _line([
        "latest", "any", "every viewer comes to the newest value within 10 s; none goes back",
        f"{_sum(rows, 'values'):,} compared", f"{_sum(rows, 'stale')} not the newest", "",
        f"{_sum(rows, 'backward')} went back", f"all had it after {_longest(rows, 'converge_ms')}",
        _names(rows),
    ])  # fmt: skip


def _ephemeral(rows: Sequence[Row]) -> str:
    heard = [row for row in rows if row["listeners"]]
    accepted = sum(row["said"] * row["listeners"] for row in heard)
    shown, shed = _sum(heard, "shown"), _sum(heard, "shed")
    perhaps = shown + shed + _sum(heard, "uncounted") - accepted - _sum(heard, "excess")
    return _line([
        "ephemeral", "any",
        "accepted = shown + shed, for each viewer; uncounted only a killed worker's last beat",
        f"{accepted:,} and {perhaps:,} whose senders got no answer = {shown:,} shown + {shed:,} shed",
        f"{_sum(heard, 'uncounted')} uncounted", f"{_sum(heard, 'excess')} counted twice", "", "",
        _names(heard),
    ])  # fmt: skip


def _sum(rows: Iterable[Row], field: str) -> int:
    return sum(row[field] for row in rows)


def _longest(rows: Iterable[Row], field: str) -> str:
    return f"{max((row[field] for row in rows), default=0):,} ms"


def _names(rows: Sequence[Row], *, lossy: bool = False) -> str:
    """Return the rows' names and how many runs they are; where something was lost, how much."""
    names = sorted({row["row"] for row in rows}, key=_number)
    runs = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
    text = f"{', '.join(names)} ({runs})" if names else "none"
    lost = _lost(rows)
    return f"{text}; lost: {lost}" if lossy and lost else text


def in_short(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the promise table's short form, for the README."""
    yield _line(("delivery", "promised", "measured"))
    yield _line("---" for _ in range(3))
    for level in LEVELS:
        here = [row for row in rows if row["level"] == level]
        acked = f"{_sum(here, 'acked'):,} acknowledged in {len(here)} faults"
        faults = f"doubled: {_sum(here, 'doubled')}; silent gaps: {_sum(here, 'silent')}"
        measured = f"{acked}; lost: {_lost(here) or 'none'}; {faults}"
        yield _line((f"durable events, money, level `{level}`", PROMISES[level], measured))
    newest = f"{_sum(rows, 'stale')} of {_sum(rows, 'values'):,} were not the newest"
    back = f"{_sum(rows, 'backward')} went back; at most {_longest(rows, 'converge_ms')}"
    promised = "the newest within 10 s, never an older one"
    yield _line(("`latest` values", promised, f"{newest}, {back}"))
    heard = [row for row in rows if row["listeners"]]
    shown = f"{_sum(heard, 'shown'):,} shown, {_sum(heard, 'shed'):,} counted as shed"
    promised = "shown or counted, but for a killed worker's last beat"
    yield _line(("ephemeral", promised, f"{shown}, {_sum(heard, 'uncounted')} uncounted"))


def _lost(rows: Iterable[Row]) -> str:
    """Return where something was lost, how much and from when to when."""
    lossy = sorted((row for row in rows if row["lost"]), key=lambda row: _number(row["row"]))
    return ", ".join(f"{row['row']} {row['lost']:,} in {row['loss_ms']:,} ms" for row in lossy)


# Documents.

TABLES: dict[str, Callable[[Sequence[Row]], Iterator[str]]] = {
    "docs/faults.md": of_faults,
    "docs/guarantees.md": of_promises,
    "README.md": in_short,
}
BEGIN, END = "<!-- chaos:begin -->", "<!-- chaos:end -->"


def fill(text: str, lines: Iterable[str]) -> str:
    """Return a text with lines between its markers; as it is if it has none."""
    if BEGIN not in text:
        return text
    head, rest = text.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    return "\n".join([head + BEGIN, "", *lines, "", END + tail])


def main(arguments: Sequence[str]) -> int:
    """Print the tables of a run, or put them into the documents; fail if a row of it failed."""
    path, *options = arguments
    rows = load(Path(path))
    for name, lines in TABLES.items():
        if options == ["--write"]:
            file = ROOT / name
            file.write_text(fill(file.read_text("utf-8"), lines(rows)), encoding="utf-8")
        else:
            print("\n".join(["", name, "", *lines(rows)]))  # noqa: T201 -- what it is for
    failed = [row["test"] for row in rows if not row["passed"]]
    print(f"{len(rows)} rows, {len(failed)} failed", *failed)  # noqa: T201
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
