"""Taps are gathered."""

from __future__ import annotations

import pytest

from fakewire import FakeClock
from liveroom_client.likes import Likes


class Taps:
    """Likes that are sent into a list."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.connected = True
        self.clock = FakeClock()
        self.likes = Likes(0.2, self._tell, self.clock)

    def _tell(self, n: int) -> bool:
        if self.connected:
            self.sent.append(n)
        return self.connected


def test_likes_are_sent_in_one_command() -> None:
    """All taps of an interval; without taps nothing is sent, and no timer runs."""
    taps = Taps()
    for _ in range(7):
        taps.likes.tap(1)
    assert taps.sent == []
    taps.clock.pass_s(0.2)
    taps.likes.tap(3)
    taps.clock.pass_s(5)

    assert taps.sent == [7, 3]
    assert taps.clock.waiting == 0


def test_likes_above_what_a_command_holds_go_on() -> None:
    """100 at once, of at most 1000 that wait."""
    taps = Taps()
    taps.likes.tap(250)
    taps.clock.pass_s(1)
    assert taps.sent == [100, 100, 50]

    taps.likes.tap(10**9)
    taps.clock.pass_s(60)
    assert sum(taps.sent) == 1250


def test_likes_wait_for_a_connection() -> None:
    """They are not lost with it."""
    taps = Taps()
    taps.connected = False
    taps.likes.tap(2)
    taps.clock.pass_s(1)
    taps.connected = True
    taps.clock.pass_s(0.2)

    assert taps.sent == [2]


def test_likes_are_sent_before_the_end() -> None:
    """What was tapped last goes out with the close."""
    taps = Taps()
    taps.likes.tap(2)
    taps.likes.stop()

    assert taps.sent == [2]
    assert taps.clock.waiting == 0


def test_likes_are_at_least_one() -> None:
    """None or less is a mistake of the caller's."""
    with pytest.raises(ValueError, match="at least one"):
        Taps().likes.tap(0)
