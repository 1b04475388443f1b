from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from liveroom.core.beat import BeatPolicy
from liveroom.errors import ConfigError


def test_beat_delivers_nothing_when_nothing_waits() -> None:
    """No pending event, no delivery, busy or not."""
    beat = BeatPolicy(0.1)
    assert beat.next_delivery(5.0, pending=False) is None
    beat.delivered(5.0, 0.001)
    assert beat.next_delivery(5.01, pending=False) is None


def test_beat_delivers_the_first_event_after_quiet_at_once() -> None:
    """At the very start, and whenever the last delivery is a beat ago."""
    beat = BeatPolicy(0.1)
    assert beat.next_delivery(5.0, pending=True) == 5.0
    beat.delivered(5.0, 0.001)
    assert beat.next_delivery(5.2, pending=True) == 5.2


def test_beat_spaces_a_busy_room_by_the_beat() -> None:
    """An event right after a delivery waits for the rest of the beat, whoever asks how often."""
    beat = BeatPolicy(0.1)
    beat.delivered(5.0, 0.001)
    assert beat.next_delivery(5.01, pending=True) == pytest.approx(5.1)
    assert beat.next_delivery(5.09, pending=True) == pytest.approx(5.1)


def test_beat_stretches_until_writing_takes_its_share() -> None:
    """84 ms of writing per delivery end at an interval of 120 ms: seven tenths are for writing."""
    beat = BeatPolicy(0.1)
    for _ in range(30):
        beat.delivered(5.0, 0.084)
    assert beat.interval == pytest.approx(0.120, rel=0.01)
    assert beat.next_delivery(5.0, pending=True) == pytest.approx(5.120, rel=0.01)


def test_beat_relaxes_when_writing_gets_quick_again() -> None:
    """The stretch goes away by itself, within some deliveries."""
    beat = BeatPolicy(0.1)
    for _ in range(30):
        beat.delivered(5.0, 0.080)
    for _ in range(5):
        beat.delivered(5.0, 0.001)
    assert beat.interval == 0.1


def test_beat_hardly_minds_one_slow_delivery() -> None:
    """One measurement of 100 ms among quick ones stretches by less than its double."""
    beat = BeatPolicy(0.1)
    beat.delivered(5.0, 0.100)
    assert beat.interval == 0.1


@given(st.floats(0.02, 0.5), st.lists(st.floats(0, 10), max_size=50))
def test_beat_interval_stays_between_beat_and_maximum(beat_s: float, writes: list[float]) -> None:
    """Whatever is measured; and the next delivery is at most one interval away."""
    beat = BeatPolicy(beat_s)
    for write_s in writes:
        beat.delivered(100.0, write_s)
        assert beat_s <= beat.interval <= 0.5
        due = beat.next_delivery(100.0, pending=True)
        assert due == 100.0 + beat.interval


@pytest.mark.parametrize(
    ("beat_s", "min_s", "max_s", "wrong"),
    [
        (0.01, 0.02, 0.5, "beat_s"),
        (0.6, 0.02, 0.5, "beat_s"),
        (0.1, 0, 0.5, "min_s"),
        (0.1, 0.6, 0.5, "min_s"),
    ],
)
def test_beat_refuses_a_bad_setting(beat_s: float, min_s: float, max_s: float, wrong: str) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match=f"^{wrong}: expected"):
        BeatPolicy(beat_s, min_s, max_s)
