"""Positions and states of one room: held to tests/vectors/positions.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakewire import greeting
from liveroom_client.items import State, greeting_of
from liveroom_client.room import RoomView


VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "positions.json").read_text())


def room_at(epoch: str = "e1", seq: int = 10, sub: int = 0) -> RoomView:
    """Return a room that was greeted there."""
    room = RoomView("demo")
    room.greet(greeting_of(greeting(epoch=epoch, seq=seq, sub=sub)))
    return room


@pytest.mark.parametrize("case", VECTORS["stream"], ids=lambda case: case["name"])
def test_room_judges_durable_events_as_pinned(case: dict[str, Any]) -> None:
    """Apply what follows, drop what was seen, notice what is missing."""
    room, verdicts = room_at(**case["start"]), []
    for item in case["items"]:
        seq, sub = item["seq"], item.get("sub", 0)
        verdicts.append(room.judge(seq, sub))
        if verdicts[-1] == "apply":
            room.move(seq, sub)

    assert verdicts == case["verdicts"]
    assert room.position == case["end"]


def test_room_begins_anew_when_it_was_not_resumed() -> None:
    """Everything known goes."""
    room = room_at()
    room.take_state({"st": "likes", "v": 9, "d": {"total": 9}})
    room.take_shed({"like": 2})

    fresh = room.greet(greeting_of(greeting(epoch="e2", seq=3)))

    assert fresh
    assert room.position == {"epoch": "e2", "seq": 3, "sub": 0}
    assert (room.states, room.versions) == ({}, {})
    assert room.take_state({"st": "likes", "v": 1, "d": {"total": 1}}) is not None
    assert room.shed == {"like": 2}


def test_room_goes_on_where_it_was_when_resumed() -> None:
    """The position that was reached counts, not the one in the greeting."""
    room = room_at(seq=12)
    room.take_state({"st": "likes", "v": 9, "d": {"total": 9}})

    assert not room.greet(greeting_of(greeting(seq=10, resumed=True)))
    assert room.position == {"epoch": "e1", "seq": 12, "sub": 0}
    assert room.states == {"likes": {"total": 9}}


def test_room_is_not_resumed_in_another_epoch() -> None:
    """A server that says so lies."""
    with pytest.raises(ValueError, match="epoch"):
        room_at().greet(greeting_of(greeting(epoch="e2", resumed=True)))


def test_room_has_no_position_to_resume_before_a_greeting_or_after_a_gap() -> None:
    """Only a snapshot helps then."""
    assert RoomView("demo").position is None
    room = room_at()
    room.begin_anew()
    assert room.position is None


def test_room_keeps_the_highest_version_of_a_state() -> None:
    """What is not newer is dropped; null takes the key away, and it may come back."""
    room = room_at()

    assert room.take_state({"st": "a:1", "v": 2, "d": {"n": 2}}) == State(
        "a:1", {"n": 2}, 2, "demo"
    )
    assert room.take_state({"st": "a:1", "v": 2, "d": {"n": 3}}) is None
    assert room.take_state({"st": "a:1", "v": 1, "d": {"n": 1}}) is None
    assert room.take_state({"st": "a:1", "v": 3, "d": None}) == State("a:1", None, 3, "demo")
    assert room.states == {}
    assert room.take_state({"st": "a:1", "v": 4, "d": {"n": 4}}) is not None
    assert room.states == {"a:1": {"n": 4}}


@pytest.mark.parametrize(
    "junk",
    [
        {"st": 1, "v": 1, "d": {}},
        {"st": "a", "v": "1", "d": {}},
        {"st": "a", "v": True, "d": {}},
        {"st": "a", "v": 1},
        {"st": "a", "d": {}},
    ],
)
def test_room_refuses_states_without_shape(junk: dict[str, Any]) -> None:
    """Nothing of them is kept."""
    room = room_at()
    with pytest.raises((KeyError, TypeError)):
        room.take_state(junk)
    assert (room.states, room.versions) == ({}, {})


def test_room_adds_up_what_was_shed() -> None:
    """Per kind; what is no number is refused."""
    room = room_at()
    room.take_shed({"danmaku": 3, "like": 1})
    room.take_shed({"danmaku": 4})
    with pytest.raises(TypeError):
        room.take_shed({"like": "many"})

    assert room.shed == {"danmaku": 7, "like": 1}
