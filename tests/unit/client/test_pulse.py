"""Server time is that of the shortest round trip."""

from __future__ import annotations

from typing import Any

import pytest

from fakewire import FakeClock
from liveroom_client.pulse import ServerTime


def sample(
    time: ServerTime, clock: FakeClock, took: float, now: Any, *, fresh: bool = False
) -> None:
    """Take a reply that was so long on its way."""
    sent_at = clock.now
    clock.pass_s(took)
    time.sample(now, sent_at, fresh=fresh)


def test_pulse_takes_the_middle_of_the_shortest_round_trip() -> None:
    """Longer ones say less; a new connection begins anew."""
    clock = FakeClock()
    time = ServerTime(clock)
    sample(time, clock, 0.2, 5_000_000, fresh=True)
    assert time.offset_ms == pytest.approx(5_000_000 - 1_000_100)
    sample(time, clock, 0.4, 9_000_000)
    assert time.offset_ms == pytest.approx(5_000_000 - 1_000_100)
    sample(time, clock, 0.1, 5_000_700)
    assert time.offset_ms == pytest.approx(5_000_700 - 1_000_650)
    sample(time, clock, 3.0, 6_000_000, fresh=True)
    assert time.offset_ms == pytest.approx(6_000_000 - 1_002_200)


@pytest.mark.parametrize("now", [None, "5", 5.5, True])
def test_pulse_takes_no_nonsense_for_a_time(now: Any) -> None:
    """It stays unknown."""
    clock = FakeClock()
    time = ServerTime(clock)
    sample(time, clock, 0.1, now, fresh=True)

    assert time.offset_ms is None
