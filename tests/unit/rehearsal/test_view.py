"""What those who look add up to, and what they notice."""

from __future__ import annotations

from typing import Any

from liveroom.rehearsal.view import Eyes, View


def looked() -> tuple[View, Eyes, list[tuple[str, Any]]]:
    """Return a view, one viewer who was greeted at event 3, and the states that were told."""
    told: list[tuple[str, Any]] = []
    view = View(lambda name, d: told.append((name, d)))
    eyes = Eyes("ann", view)
    eyes.greeted({"epoch": "e", "seq": 3, "sub": 0, "resumed": False, "states": []})
    return view, eyes, told


def event(seq: int, sub: int = 0, **d: Any) -> dict[str, Any]:
    """Return a durable event."""
    return {"ev": "x", "seq": seq, "ts": 1, "d": d} | ({"sub": sub} if sub else {})


def test_view_events_in_order_are_no_fault() -> None:
    """The room's and one's own, whose numbers may have gaps: others have theirs."""
    view, eyes, _ = looked()

    for item in (event(4), event(4, 2), event(4, 5), event(5)):
        eyes.take(item)

    assert view.faults == []
    assert [item["seq"] for item in view.events("x")] == [4, 5]
    assert eyes.resume == {"epoch": "e", "seq": 5, "sub": 0}


def test_view_holes_doubles_and_differences_are_faults() -> None:
    """Each is told once, with who saw it."""
    view, eyes, _ = looked()
    eyes.take(event(4, n=1))
    eyes.take(event(6))
    eyes.take(event(6))
    other = Eyes("bob", view)
    other.greeted({"epoch": "e", "seq": 3, "sub": 0, "resumed": False, "states": []})
    other.take(event(4, n=2))

    assert [fault.split(":")[0] for fault in view.faults[:2]] == ["ann", "ann"]
    assert "event 4" in view.faults[2]


def test_view_a_viewer_that_was_not_resumed_is_a_fault() -> None:
    """It had a position and lost it."""
    view, eyes, _ = looked()
    eyes.greeted({"epoch": "e", "seq": 9, "sub": 0, "resumed": False, "states": []})

    assert view.faults == ["ann was not resumed at 3"]


def test_view_keeps_the_newest_state() -> None:
    """Whoever brings it; what is gone is known as it was last."""
    view, eyes, told = looked()
    for v, d in ((2, {"n": 2}), (1, {"n": 1}), (3, None)):
        eyes.take({"st": "s", "v": v, "d": d})

    assert told == [("s", {"n": 2})]
    assert view.states == {}
    assert view.last == {"s": {"n": 2}}


def test_view_counts_what_is_shown() -> None:
    """Ephemeral events by name."""
    view, eyes, _ = looked()
    eyes.take({"ev": "danmaku", "ts": 1, "d": {}})

    assert view.shown == {"danmaku": 1}
