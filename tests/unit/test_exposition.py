"""Merging the metrics of several workers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from liveroom.exposition import merge


def _text(rooms: int, reason: str) -> str:
    registry = CollectorRegistry()
    Gauge("rooms", "Rooms", registry=registry).set(rooms)
    Counter("closes", "Closes", ["reason"], registry=registry).labels(reason).inc(rooms)
    Histogram("wait", "Waits", buckets=(1.0,), registry=registry).observe(0.5)
    return generate_latest(registry).decode()


def test_exposition_every_sample_keeps_its_value_and_gets_the_label() -> None:
    """What one worker said is found under its label, odd label values included."""
    odd = 'a{b}"c" \\ d # e'
    merged = merge({"0": _text(2, odd), "1": _text(5, "x")}, "worker")
    samples = {
        (s.name, s.labels["worker"], s.labels.get("reason")): s.value
        for family in text_string_to_metric_families(merged)
        for s in family.samples
    }
    assert samples["rooms", "0", None] == 2
    assert samples["rooms", "1", None] == 5
    assert samples["closes_total", "0", odd] == 2
    assert samples["closes_total", "1", "x"] == 5
    assert samples["wait_count", "1", None] == 1


def test_exposition_families_stand_together_once() -> None:
    """Each family has one HELP and one TYPE, and its samples follow without a break."""
    lines = merge({"0": _text(1, "x"), "1": _text(1, "y")}, "worker").splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    families = [line.partition("{")[0].split()[0] for line in lines if line.startswith("rooms")]
    first = next(i for i, line in enumerate(lines) if line.startswith("rooms{"))
    assert lines[first + 1].startswith('rooms{worker="1"}')
    assert families == ["rooms", "rooms"]


def test_exposition_empty_labels_and_no_sources() -> None:
    """`name{} 1` is a sample without labels; nothing merged is nothing."""
    assert merge({"0": "up{} 1\n"}, "worker") == 'up{worker="0"} 1\n'
    assert merge({}, "worker") == ""
