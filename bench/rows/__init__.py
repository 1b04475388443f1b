"""The rows of the table, in the order of the design's budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.report import Reading
from bench.rows import (
    command,
    decisions,
    deflate,
    delivery,
    fanout,
    joins,
    latency,
    memory,
    start,
)
from bench.stage import Bench


__all__ = ["ROWS"]

ROWS: dict[str, Callable[[Bench], Iterable[Reading]]] = {
    "write": fanout.run,
    "delivery": delivery.run_cost,
    "throughput": delivery.run_throughput,
    "latency": latency.run,
    "memory": memory.run,
    "decisions": decisions.run,
    "joins": joins.run,
    "command": command.run,
    "start": start.run,
    "deflate": deflate.run,
}
