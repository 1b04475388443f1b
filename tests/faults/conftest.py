"""The rows of the fault kit: each leaves its figures, and a run of all ends with their table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import harness
from faultproxy import FaultProxy
from faults import table
from faults.figures import Figures, Metrics, metrics_of
from faults.trial import Trial, trial


Stage = Callable[..., Any]
TALK_PER_S = 2.0  # so few danmaku are shown that some are shed in every row


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-json", help="a file that takes the figures of each row that ran")


@pytest.fixture
def start_worker(start_worker: harness.StartWorker) -> harness.StartWorker:
    """Start workers whose rooms show few danmaku."""

    async def start(url: str, **settings: Any) -> harness.Worker:
        return await start_worker(url, **{"danmaku_per_s": TALK_PER_S} | settings)

    return start


@pytest.fixture
async def proxy(embedded_url: str, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    """What lies between a worker and the embedded store."""
    path = unquote(embedded_url.removeprefix("unix://"))
    async with FaultProxy(path, tmp_path) as made:
        yield made


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
            stack.callback(lambda: request.node.user_properties.append(("fault", figures.as_row())))
            return await stack.enter_async_context(made)

        yield begin


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory for servers."""
    return tmp_path / "servers"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of all rows that ran, and keep them where that is asked for."""
    failed = {report.nodeid for report in terminalreporter.stats.get("failed", ())}
    rows = [
        {"test": report.nodeid, "passed": report.nodeid not in failed} | value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for name, value in report.user_properties
        if name == "fault"
    ]
    path = config.getoption("--faults-json", default=None)
    if path and rows:
        table.keep(Path(path), rows)
    if not rows or config.option.markexpr == "not chaos":
        return
    terminalreporter.section("faults")
    for line in table.of_faults(rows):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"{len(rows)} faults, {len(failed)} tests failed")
