"""What the engine costs: metrics of several workers, processor time of processes."""

from __future__ import annotations

import os

from liveroom_loadtest.engine import cpu_seconds, samples


TEXT = """
# HELP liveroom_connections Open WebSocket connections
# TYPE liveroom_connections gauge
liveroom_connections{worker="0"} 12.0
liveroom_connections{worker="1"} 30.0
liveroom_beat_seconds{worker="0"} 0.1
liveroom_beat_seconds{worker="1"} 0.25
liveroom_frames_written_total{worker="0"} 1e+06
liveroom_shed_items_total{worker="0",kind="danmaku"} 5.0
"""


def test_engine_samples_of_all_workers() -> None:
    """Counts are added up, of the beat the slowest counts; what no report shows is left out."""
    assert samples(TEXT) == {
        "liveroom_connections": 42.0,
        "liveroom_beat_seconds": 0.25,
        "liveroom_frames_written_total": 1e6,
    }


def test_engine_processor_time_of_a_process_that_is_gone_is_nothing() -> None:
    """A worker may die while it is looked at."""
    assert cpu_seconds(os.getpid()) > 0
    assert cpu_seconds(2**22 + 1) == 0
