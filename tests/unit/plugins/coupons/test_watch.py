"""How long users have watched, over all of their connections."""

from __future__ import annotations

import pytest

from liveroom_plugins.coupons.watch import Stays


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At a hundred seconds."""
    return Clock()


@pytest.fixture
def stays(clock: Clock) -> Stays:
    """Nobody is here."""
    return Stays(clock)


def test_watch_a_stay_lasts_from_the_first_connection_to_the_last(
    stays: Stays, clock: Clock
) -> None:
    """Tabs that come and go meanwhile change nothing."""
    stays.enter("r", "ann")
    clock.now += 10
    stays.enter("r", "ann")
    assert stays.leave("r", "ann", counts=True) is False
    clock.now += 5
    assert stays.here_ms("r", "ann") == 15_000
    assert stays.leave("r", "ann", counts=True) is True
    clock.now += 2
    assert list(stays.ended("r", 10)) == [[("ann", 17_000, 2_000)]]
    assert list(stays.ended("r", 10)) == []
    assert stays.here_ms("r", "ann") == 0


def test_watch_rooms_are_apart(stays: Stays, clock: Clock) -> None:
    """Who is elsewhere is not here."""
    stays.enter("a", "ann")
    clock.now += 3
    assert (stays.here_ms("a", "ann"), stays.here_ms("b", "ann")) == (3000, 0)


def test_watch_what_nobody_asks_for_is_not_kept(stays: Stays) -> None:
    """Nor is a leaving without a coming."""
    stays.enter("r", "ann")
    assert stays.leave("r", "ann", counts=False) is False
    assert stays.leave("r", "bob", counts=True) is False
    assert list(stays.ended("r", 10)) == []


def test_watch_pages_hold_a_user_once(stays: Stays, clock: Clock) -> None:
    """Two stays of one user would overwrite each other in one page."""
    for user in ("a", "b", "a", "c", "d"):
        stays.enter("r", user)
        clock.now += 1
        stays.leave("r", user, counts=True)
    pages = [[user for user, _, _ in page] for page in stays.ended("r", 2)]
    assert pages == [["a", "b"], ["a", "c"], ["d"]]
