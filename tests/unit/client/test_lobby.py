"""More rooms on one connection."""

from __future__ import annotations

from typing import Any

import pytest

from fakewire import Stage, greeting
from liveroom_client.errors import LiveError


def joined(stage: Stage, room: str = "b", **changes: Any) -> None:
    """Join a room and be greeted there."""
    stage.session.lobby.join(room, stage.answer)
    stage.reply(stage.io.opened[-1], "sys.join", greeting(room=room, **changes))


def test_lobby_joins_with_the_rooms_own_token() -> None:
    """Its events and states are its own, and so is its position."""
    stage = Stage()
    stage.io.tokens["b"] = "tb"
    stage.listen("gift.sent")
    stage.live()
    joined(stage, seq=3, epoch="eb")
    assert stage.last("sys.join")["d"] == {"room": "b", "token": "tb"}
    assert stage.answers[0].room == "b"

    stage.feed({"room": "b"}, {"ev": "gift.sent", "seq": 4, "d": {}}, {"st": "a", "v": 1, "d": 1})
    stage.feed({"ev": "gift.sent", "seq": 11, "d": {}})

    assert [(event.room, event.seq) for event in stage.shown["gift.sent"]] == [
        ("b", 4),
        ("demo", 11),
    ]
    assert stage.session.lobby.rooms["b"].states == {"a": 1}
    assert stage.main.states == {}


def test_lobby_commands_name_their_room() -> None:
    """Save for the hello's; those for a room that is not joined are refused here."""
    stage = Stage()
    stage.live()
    joined(stage)
    stage.ask("a")
    stage.ask("b", room="b")
    stage.ask("c", room="demo")

    assert stage.last("b")["room"] == "b"
    assert "room" not in stage.last("a") | stage.last("c")
    with pytest.raises(LiveError, match="no_room"):
        stage.ask("d", room="zz")


def test_lobby_comes_back_into_every_room() -> None:
    """With each room's position; commands wait for theirs."""
    stage = Stage()
    stage.live()
    joined(stage, seq=3, epoch="eb")
    stage.lose()
    stage.ask("a", key="k", room="b")
    stage.clock.pass_s(1)
    stage.arrive(resumed=True)
    assert stage.ops(2) == ["hello", "sys.join"]
    assert stage.last("sys.join")["d"]["resume"] == {"epoch": "eb", "seq": 3, "sub": 0}

    stage.reply(2, "sys.join", greeting(room="b", epoch="eb", seq=3, resumed=True))
    assert stage.ops(2) == ["hello", "sys.join", "a"]


def test_lobby_moves_room_by_room() -> None:
    """The old connection is good for a room until the new one greets there."""
    stage = Stage()
    stage.listen("gift.sent")
    stage.live()
    joined(stage, seq=3)
    stage.feed({"ev": "sys.reconnect", "d": {"after_ms": 0, "spread_ms": 0}})
    stage.clock.pass_s(0)
    stage.arrive(resumed=True)
    stage.feed({"room": "b"}, {"ev": "gift.sent", "seq": 4, "d": {}}, link=1)
    assert (stage.io.closed, len(stage.shown["gift.sent"])) == ([], 1)

    stage.reply(2, "sys.join", greeting(room="b", seq=3, resumed=True))
    assert stage.io.closed == [(1, 1000)]


def test_lobby_tells_that_a_room_cannot_be_had() -> None:
    """At the first join the caller, later `sdk.error`; what may come later is tried again."""
    stage = Stage()
    stage.live()
    stage.session.lobby.join("b", stage.answer)
    stage.refuse("sys.join", "unavailable", retry_ms=2000)
    stage.clock.pass_s(2)
    assert stage.ops().count("sys.join") == 2
    stage.refuse("sys.join", "forbidden")

    assert [error.code for error in stage.answers] == ["forbidden"]
    assert list(stage.session.lobby.rooms) == ["demo"]


def test_lobby_leaves_a_room() -> None:
    """What waits there is told; the hello's room stays."""
    stage = Stage()
    stage.live()
    joined(stage)
    stage.answers.clear()
    stage.ask("a", key="k", room="b")
    stage.session.lobby.leave("b")
    stage.feed({"room": "b"}, {"st": "a", "v": 1, "d": {}})

    assert [error.code for error in stage.answers] == ["closed"]
    assert stage.last("sys.leave")["d"] == {"room": "b"}
    with pytest.raises(LiveError, match="cannot be left"):
        stage.session.lobby.leave("demo")


def test_lobby_joins_a_room_once() -> None:
    """And tells at the end who still waits."""
    stage = Stage()
    stage.session.start()
    stage.session.lobby.join("b", stage.answer)
    with pytest.raises(LiveError, match="exists"):
        stage.session.lobby.join("b", stage.answer)
    stage.session.end()

    assert [error.code for error in stage.answers] == ["closed"]


def test_lobby_begins_anew_for_a_late_reader() -> None:
    """A snapshot is asked for, and nothing durable shown before it."""
    stage = Stage()
    stage.listen("gift.sent")
    stage.live()
    stage.session.lobby.refresh()
    stage.feed({"ev": "gift.sent", "seq": 11, "d": {}})
    stage.reply(1, "sys.resume", greeting(seq=11), {"ev": "gift.sent", "seq": 12, "d": {}})

    assert [event.seq for event in stage.shown["gift.sent"]] == [12]
