"""How long somebody has been there, over tabs."""

from __future__ import annotations

from liveroom.features.lottery.facts import Attendance


def test_attendance_is_from_the_first_tab_to_the_last() -> None:
    """Tabs in between neither add nor take time; rooms are apart."""
    clock = [100.0]
    attendance = Attendance(lambda: clock[0])
    attendance.enter("r", "ann")
    clock[0] = 101.5
    attendance.enter("r", "ann")
    attendance.enter("other", "ann")
    assert attendance.here_ms("r", "ann") == 1500
    assert attendance.all("r") == [("ann", 100.0)]
    assert attendance.leave("r", "ann") is None
    assert attendance.leave("r", "ann") == 100.0
    assert attendance.here_ms("r", "ann") == 0
    assert attendance.all("r") == []
    clock[0] = 102.0
    assert attendance.here_ms("other", "ann") == 500
    assert attendance.leave("r", "nobody") == 102.0
