"""The tables say what the rows say, and nothing of what was measured is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults import table
from faults.figures import Figures


ROOT = Path(__file__).parents[2]


def row(name: str, level: str, **figures: Any) -> table.Row:
    """Return the row of a test that passed."""
    made = Figures(name, f"fault {name}", level, **figures).as_row()
    return {"test": f"test_{name}_{level}", "passed": True} | made


ROWS = [
    row("F14", "everysec", acked=900, seen=3600, again=80, values=28, said=20, listeners=2,
        shown=25, shed=16, uncounted=1, converge_ms=40),
    row("F2", "everysec", acked=300, lost=98, loss_ms=990, told=4),
    row("F1", "fsync", acked=30),
]  # fmt: skip


def cells(lines: list[str], *begin: str) -> list[str]:
    """Return the cells of the line that begins so."""
    rows = [line.strip("| ").split(" | ") for line in lines]
    (found,) = [row for row in rows if row[: len(begin)] == list(begin)]
    return found


def test_table_of_faults_has_them_in_order() -> None:
    """By their numbers, with every column."""
    lines = list(table.of_faults(ROWS))
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| F1", "| F2", "| F14"]
    assert len({line.count("|") for line in lines}) == 1


def test_table_of_promises_sums_up_by_level() -> None:
    """What was lost is there, with the fault that lost it; a level nobody tried says so."""
    lines = list(table.of_promises(ROWS))
    durable = cells(lines, "durable", "everysec")
    assert durable[3:6] == ["1,200", "98", "0"]
    assert durable[7] == "990 ms"
    assert durable[8] == "F2, F14 (2 runs); lost: F2 98 in 990 ms"
    assert cells(lines, "durable", "replica")[8] == "none"
    ephemeral = cells(lines, "ephemeral", "any")
    assert "40 and 2 whose senders got no answer = 25 shown + 16 shed" in ephemeral
    assert len({line.count("|") for line in lines}) == 1


def test_table_of_the_readme_is_short() -> None:
    """It fits beside other things."""
    assert 6 <= len(list(table.in_short(ROWS))) <= 10


def test_table_is_put_between_the_markers() -> None:
    """Again and again, and nowhere else."""
    text = f"before\n\n{table.BEGIN}\nold\n{table.END}\n\nafter\n"
    once = table.fill(text, ["| new |"])
    assert once == f"before\n\n{table.BEGIN}\n\n| new |\n\n{table.END}\n\nafter\n"
    assert table.fill(once, ["| new |"]) == once
    assert table.fill("no marker\n", ["| new |"]) == "no marker\n"


def test_table_has_its_places_in_the_documents() -> None:
    """Else the figures of a run would go nowhere."""
    for name in ("docs/faults.md", "docs/guarantees.md"):
        text = (ROOT / name).read_text("utf-8")
        assert text.count(table.BEGIN) == text.count(table.END) == 1


def test_table_keeps_rows_of_other_tests(tmp_path: Path) -> None:
    """A run of some rows replaces these."""
    path = tmp_path / "new" / "chaos.json"
    table.keep(path, ROWS)
    table.keep(path, [ROWS[0] | {"acked": 1}])
    assert sorted(kept["acked"] for kept in table.load(path)) == [1, 30, 300]
