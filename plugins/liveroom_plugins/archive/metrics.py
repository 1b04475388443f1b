"""What the archive counts. No label takes a room: their number has no bound."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


__all__ = ["ArchiveMetrics"]


class ArchiveMetrics:
    """The archive's part of a worker's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows = Counter(
            "liveroom_archive_rows", "Rows written by this worker", ["table"], registry=registry
        )
        self._waiting = Gauge(
            "liveroom_archive_waiting", "Rows that wait and are in no log", ["table"],
            registry=registry,
        )  # fmt: skip
        self.behind_s = Gauge(
            "liveroom_archive_behind_seconds",
            "Since when the oldest event that this worker heard of is not archived",
            registry=registry,
        )
        self._gaps = Counter(
            "liveroom_archive_gaps", "Gaps noted in the archive", ["kind"], registry=registry
        )
        self._missing = Counter(
            "liveroom_archive_missing", "Rows that are missing there", ["kind"], registry=registry
        )
        self._failures = Counter(
            "liveroom_archive_failures", "Transactions that failed", ["reason"], registry=registry
        )

    def wrote(self, table: str, rows: int) -> None:
        """Count rows."""
        self._rows.labels(table).inc(rows)

    def waits(self, table: str, rows: int) -> None:
        """Show how many rows wait."""
        self._waiting.labels(table).set(rows)

    def gap(self, kind: str, missing: int) -> None:
        """Count a gap, and what is missing in it."""
        self._gaps.labels(kind).inc()
        self._missing.labels(kind).inc(missing)

    def failed(self, reason: str) -> None:
        """Count a transaction that failed."""
        self._failures.labels(reason).inc()
