"""When something that died is started again."""

from __future__ import annotations

from liveroom.children import Backoff


def test_children_backoff_grows_up_to_its_longest() -> None:
    """Who dies young again and again waits longer each time, up to a bound."""
    backoff = Backoff(first=0.1, longest=0.5, settled=30)
    assert [backoff.after(0.0) for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_children_backoff_forgives_a_long_life() -> None:
    """After a settled life the count begins anew."""
    backoff = Backoff(first=0.1, longest=5, settled=30)
    backoff.after(0)
    backoff.after(0)
    assert backoff.after(30.0) == 0.1
    assert backoff.after(1.0) == 0.2
