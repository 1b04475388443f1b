"""The rows of the fault kit: each leaves its figures, and a run of all ends with their table."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import harness
from faults.trial import Figures, Metrics, Trial, as_row, metrics_of, trial


Stage = Callable[..., Any]


@pytest.fixture
async def stage(room: str, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Begin a trial: `show = await stage("F1", "what", url, workers)`; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def begin(
            row: str,
            fault: str,
            store_url: str,
            workers: Sequence[harness.Worker] = (),
            fronts: Sequence[str] | Callable[[], Sequence[str]] = (),
            metrics: Metrics | None = None,
            **options: Any,
        ) -> Trial:
            figures = Figures(row, fault)
            where = fronts or [f"127.0.0.1:{worker.port}" for worker in workers]
            made = trial(
                figures, store_url, options.pop("room", room), where,
                metrics or metrics_of(*workers), **options,
            )  # fmt: skip
            stack.callback(lambda: request.node.user_properties.append(("fault", as_row(figures))))
            return await stack.enter_async_context(made)

        yield begin


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory for servers."""
    return tmp_path / "servers"


_COLUMNS = (
    "acked",
    "lost",
    "doubled",
    "silent",
    "told",
    "differing",
    "window_ms",
    "recovery_ms",
    "alarm",
)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of all rows that ran."""
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for name, value in report.user_properties
        if name == "fault"
    ]
    failed = {r.nodeid for r in terminalreporter.stats.get("failed", ())}
    if not rows or config.option.markexpr == "not chaos":
        return
    terminalreporter.section("faults")
    rows.sort(key=lambda row: (_number(row["row"]), row["fault"]))
    for row in rows:
        figures = "  ".join(f"{name} {row[name]}" for name in _COLUMNS)
        more = f"  ({row['note']})" if row["note"] else ""
        terminalreporter.write_line(f"{row['row']:5} {row['fault']:58.58} {figures}{more}")
    terminalreporter.write_line(f"{len(rows)} faults, {len(failed)} tests failed")


def _number(row: str) -> tuple[int, str]:
    found = re.match(r"F(\d+)", row)
    return (int(found[1]) if found else 99, row)
