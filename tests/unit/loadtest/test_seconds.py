"""Seconds: what processes counted adds up."""

from __future__ import annotations

import orjson
import pytest

from liveroom_loadtest.seconds import Second, Timeline


def counted(frames: int, *ages: float) -> dict[str, object]:
    second = Second()
    second.frames = frames
    for age in ages:
        second.ages.record(age)
    plain: dict[str, object] = orjson.loads(orjson.dumps(second.to_plain()))
    return plain


def test_seconds_of_two_processes_add_up() -> None:
    """Counts, histograms and gauges; by JSON, as they come from another process."""
    timeline = Timeline()
    timeline.take(7, counted(10, 0.1, 0.1), {"here": 3})
    timeline.take(7, counted(5, 0.3), {"here": 4})
    timeline.take(8, counted(1), {"here": 7})

    assert timeline.seconds[7].frames == 15
    assert timeline.seconds[7].ages.count == 3
    assert timeline.seconds[7].ages.quantile(1.0) == pytest.approx(0.3, rel=0.03)
    assert timeline.gauges[7]["here"] == 7
    assert timeline.total().frames == 16
    assert timeline.total(8).frames == timeline.total(7.5, 9).frames == 1


def test_second_without_measurements_carries_no_histogram() -> None:
    """Most have none of most kinds; a report every second stays small."""
    assert "ages" not in Second().to_plain()
