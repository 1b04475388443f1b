"""The worker's metrics (layer 1): names, units and meanings in one place.

Every child is made once and kept: a label look-up costs more than the increment. No label takes a
room or a user: their number has no bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


__all__ = [
    "AuditMetrics",
    "CommitMetrics",
    "FanoutMetrics",
    "Metrics",
    "StoreCounts",
    "StoreMetrics",
    "Tally",
    "WebhookMetrics",
]

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class FanoutMetrics:
    """What deliveries count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shed = Counter(
            "liveroom_shed_items",
            "Items not shown to a room's viewers",
            ["kind"],
            registry=registry,
        )
        self._shed_of: dict[str, Counter] = {}
        self._shown = Counter(
            "liveroom_ephemeral_items", "Ephemeral items shown to a room", registry=registry
        )
        self._frames = Counter(
            "liveroom_frames_written", "Frames written to viewers", registry=registry
        )
        self._write_s = Counter(
            "liveroom_write_seconds", "Loop time spent in fan-out writing", registry=registry
        )
        self._beat = Gauge(
            "liveroom_beat_seconds", "Interval of the room that delivered last", registry=registry
        )

    def cut(self, counts: Mapping[str, int], shown: int) -> None:
        """Count what one cut shed (by kind) and showed."""
        self._shown.inc(shown)
        for kind, count in counts.items():
            child = self._shed_of.get(kind)
            if child is None:
                child = self._shed_of[kind] = self._shed.labels(kind)
            child.inc(count)

    def delivered(self, viewers: int, seconds: float, interval: float) -> None:
        """Count one finished delivery."""
        self._frames.inc(viewers)
        self._write_s.inc(seconds)
        self._beat.set(interval)


class Tally:
    """A counter that costs an addition: commands are counted too often for more."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        """Count one."""
        self.value += 1


class _Commands(Collector):
    """Shows the two tallies as one metric."""

    def __init__(self, accepted: Tally, refused: Tally) -> None:
        self._rows = {"accepted": accepted, "refused": refused}

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily("liveroom_commands", "Commands by result", labels=["result"])
        for result, tally in self._rows.items():
            family.add_metric([result], tally.value)
        yield family


class CommitMetrics:
    """What group commit counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter("liveroom_commits", "Script calls", registry=registry)
        self._ops = Counter("liveroom_commit_ops", "Operations in them", registry=registry)
        self._failures = Counter(
            "liveroom_commit_failures", "Script calls that failed", ["kind"], registry=registry
        )
        self._seconds = Histogram(
            "liveroom_commit_seconds", "Time of a script call", buckets=_LATENCY, registry=registry
        )

    def committed(self, ops: int, seconds: float) -> None:
        """Count one answered script call."""
        self._calls.inc()
        self._ops.inc(ops)
        self._seconds.observe(seconds)

    def failed(self, kind: str) -> None:
        """Count one that failed: the class of the error."""
        self._failures.labels(kind).inc()


class WebhookMetrics:
    """What the delivery of webhooks counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.delivered = Counter(
            "liveroom_webhooks_delivered", "Webhooks that the receiver took", registry=registry
        )
        self._failures = Counter(
            "liveroom_webhook_failures", "Attempts that failed", ["reason"], registry=registry
        )
        self.dead = Counter(
            "liveroom_webhooks_dead", "Webhooks given up after their last attempt",
            registry=registry,
        )  # fmt: skip
        self.pending = Gauge(
            "liveroom_webhooks_pending", "Webhooks that wait in rooms that this worker delivers",
            registry=registry,
        )  # fmt: skip

    def failed(self, reason: str) -> None:
        """Count one attempt that failed: status_4xx, timeout, connection and the like."""
        self._failures.labels(reason).inc()


class AuditMetrics:
    """What the auditor counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.checked = Counter(
            "liveroom_audits", "Rooms and wallet shards whose invariants were recomputed",
            registry=registry,
        )  # fmt: skip
        self._broken = Counter(
            "liveroom_invariants_broken", "Invariants that did not hold, once per audit", ["what"],
            registry=registry,
        )  # fmt: skip
        self.broken_now = Gauge(
            "liveroom_invariants_broken_now", "Invariants that did not hold when last looked at",
            registry=registry,
        )  # fmt: skip

    def broken(self, what: str) -> None:
        """Count one finding under the name of its check."""
        self._broken.labels(what).inc()


class StoreMetrics:
    """How the store is, as this worker sees it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.durability = Gauge(
            "liveroom_durability", "Durability level in force (1 at its label)", ["level"],
            registry=registry,
        )  # fmt: skip
        self.memory = Gauge(
            "liveroom_store_memory_bytes", "Memory in use by the store, all its servers together",
            registry=registry,
        )  # fmt: skip
        self.channel_silence_s = Gauge(
            "liveroom_channel_silence_seconds", "Since the quietest channel link was heard",
            registry=registry,
        )  # fmt: skip
        self._registry = registry

    def watch(self, counts: StoreCounts) -> None:
        """Show what a store counts; called once, when it is made."""
        self._registry.register(_Counted(counts))


class StoreCounts(Protocol):
    """What a store counts by itself."""

    @property
    def reconnects(self) -> int:
        """How often a channel link had to be made anew."""

    @property
    def reloads(self) -> int:
        """How often the script had to be sent whole again."""

    @property
    def redirects(self) -> int:
        """How often a node said that a slot is elsewhere, or on its way there."""

    @property
    def clock_jumps(self) -> int:
        """How often the server's clock did not go on as this machine's does."""


class _Counted(Collector):
    """Shows a store's counts when it is asked."""

    def __init__(self, counts: StoreCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        counts = self._counts
        rows = (
            ("channel_reconnects", "Times a channel link was made anew", counts.reconnects),
            ("script_reloads", "Times the store had forgotten the script", counts.reloads),
            (
                "redirects",
                "Calls that a cluster's node did not take because of where their slot is",
                counts.redirects,
            ),
            ("store_clock_jumps", "Times the store's clock jumped", counts.clock_jumps),
        )
        for name, meaning, value in rows:
            yield CounterMetricFamily(f"liveroom_{name}", meaning, value)


class Metrics:
    """All metrics of one worker."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.fanout = FanoutMetrics(registry)
        self.connections = Gauge(
            "liveroom_connections", "Open WebSocket connections", registry=registry
        )
        self.queue_bytes = Gauge(
            "liveroom_queue_bytes", "Bytes that wait to be sent to viewers", registry=registry
        )
        self.rooms = Gauge("liveroom_rooms", "Rooms served by this worker", registry=registry)
        self.joins = Counter("liveroom_joins", "Completed joins", ["resumed"], registry=registry)
        self.joined = {flag: self.joins.labels(str(flag).lower()) for flag in (False, True)}
        self.accepted, self.refused = Tally(), Tally()
        registry.register(_Commands(self.accepted, self.refused))
        self.closes = Counter(
            "liveroom_closes", "Connections closed; peer: not by us", ["code"], registry=registry
        )
        self.handshakes_refused = Counter(
            "liveroom_handshakes_refused", "Upgrades refused", ["status"], registry=registry
        )
        self.api_refused = Counter(
            "liveroom_api_refused", "HTTP requests refused", ["status"], registry=registry
        )
        self.commit = CommitMetrics(registry)
        self.filled = Counter(
            "liveroom_filled_events", "Durable events read from the log after a hole",
            registry=registry,
        )  # fmt: skip
        self.epochs = Counter(
            "liveroom_epochs_lost", "Rooms whose history was lost", registry=registry
        )
        self.loop_lag_s = Gauge(
            "liveroom_loop_lag_seconds", "Longest delay of the event loop lately", registry=registry
        )
        self.draining = Gauge(
            "liveroom_draining", "Whether this worker is sending its viewers away",
            registry=registry,
        )  # fmt: skip
        self.plugin_faults = Counter(
            "liveroom_plugin_faults", "Exceptions in plugins", ["plugin"], registry=registry
        )
        self.webhooks = WebhookMetrics(registry)
        self.audit = AuditMetrics(registry)
        self.store = StoreMetrics(registry)

    def render(self) -> bytes:
        """Return the Prometheus text format."""
        return generate_latest(self.registry)
