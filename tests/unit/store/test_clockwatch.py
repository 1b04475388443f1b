"""A clock that jumps is told from answers that were late."""

from __future__ import annotations

from liveroom.store.clockwatch import ClockWatch


UNIX = 1_700_000_000.0


def looked(*answers: tuple[float, float, float]) -> int:
    """Return the jumps in answers: (server's seconds since the start, began, ended)."""
    watch = ClockWatch()
    for server, began, ended in answers:
        watch.look(round((UNIX + server) * 1000), began, ended)
    return watch.jumps


def test_clockwatch_takes_a_steady_clock_for_one() -> None:
    """Answers at once, after long quiet, and of servers that differ a little."""
    assert looked((0, 0, 0.001), (3600.4, 3600, 3600.002), (3600.9, 3601, 3601.01)) == 0


def test_clockwatch_counts_each_jump_once() -> None:
    """Forward, and back again."""
    steady = (0.0, 0.0, 0.01), (1.0, 1.0, 1.01)
    ahead = (602.0, 2.0, 2.01), (603.0, 3.0, 3.01)
    assert looked(*steady, *ahead) == 1
    assert looked(*steady, *ahead, (4.0, 4.0, 4.01), (5.0, 5.0, 5.01)) == 2


def test_clockwatch_takes_no_late_answer_for_a_jump() -> None:
    """The worker or the store stood still: the server's time is somewhere in between."""
    assert looked((0, 0, 0.01), (1.0, 1.0, 9.0), (9.1, 9.1, 9.11)) == 0
    assert looked((0, 0, 0.01), (8.9, 1.0, 9.0), (9.1, 9.1, 9.11)) == 0
