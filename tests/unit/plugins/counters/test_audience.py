"""Connections become entries and visits of the session that they are in."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom import Role
from liveroom_plugins.counters.audience import Audience
from liveroom_plugins.counters.gather import Gathering


class Claims:
    """Whose connection it is."""

    def __init__(self, role: Role) -> None:
        self.role = role


class Member:
    """A connection."""

    def __init__(self, user: str, session: str, role: Role = Role.VIEWER) -> None:
        self.user, self.session = user, session
        self.claims = Claims(role)
        self.source = "App"


class Room:
    """A room with its newest state."""

    id = "r"

    def __init__(self) -> None:
        self.shown: Any = {"status": "open", "opened_ms": 42}

    def state(self, name: str) -> Any:
        """Return the room's state."""
        return self.shown


class Sender:
    """What is gathered of a session."""

    def __init__(self, room: Any, session: int) -> None:
        self.room, self.session = room, session
        self.gathering = Gathering(lambda: 1000)
        self.pending = self.over = False

    @property
    def done(self) -> bool:
        """Whether nothing is left to tell."""
        return self.over and not self.pending

    def close(self) -> None:
        """End."""
        self.over = True
        self.gathering.leave_all(over=True)

    def views(self) -> int:
        """Return the entries since the last time."""
        views: dict[str, int] = self.gathering.page().body.get("n", {}).get("views", {})
        return sum(views.values())


class Scene:
    """An audience, its clock, and a room."""

    def __init__(self) -> None:
        self.now, self.served = 100.0, True
        make: Any = Sender
        self.audience = Audience(make, lambda: self.now, lambda _: self.served)
        self.room: Any = Room()

    def current(self) -> Any:
        """Return the session that runs."""
        return self.audience.current(self.room)

    def enter(self, member: Any) -> None:
        """Let a connection come."""
        self.audience.enter(self.current(), member)

    def leave(self, member: Any) -> None:
        """Let a connection go."""
        self.audience.leave(self.room, member)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_audience_is_viewers_alone(scene: Scene) -> None:
    """Hosts, moderators and assistants work here."""
    for role in Role:
        scene.enter(Member(f"u-{role}", f"s-{role}", role))
    assert scene.current().gathering.here == 1
    scene.leave(Member("u-host", "s-host", Role.HOST))
    assert scene.current().gathering.here == 1


def test_audience_a_connection_enters_once(scene: Scene) -> None:
    """It is told of twice, or greeted anew within a minute: one entry."""
    ann = Member("ann", "s1")
    scene.enter(ann)
    scene.enter(ann)
    scene.leave(ann)
    scene.now += 59
    scene.enter(ann)
    assert scene.current().views() == 1
    scene.leave(ann)
    scene.now += 61
    scene.enter(ann)
    assert scene.current().views() == 1
    scene.enter(Member("ann", "s2"))
    assert (scene.current().views(), scene.current().gathering.here) == (1, 1)


def test_audience_is_in_the_session_that_runs(scene: Scene) -> None:
    """A room that is closed has none; the next opening is another."""
    ann = Member("ann", "s1")
    scene.enter(ann)
    old = scene.current()
    scene.room.shown = {"status": "closed", "opened_ms": 42}
    assert scene.current() is None
    scene.audience.end(scene.room)
    assert old.over
    scene.room.shown = {"status": "open", "opened_ms": 77}
    scene.enter(ann)
    assert scene.current() is not old
    assert scene.current().views() == 1
    scene.leave(ann)
    assert scene.current().gathering.here == 0
    scene.audience.end(scene.room, 77)
    assert not scene.current().over


def test_audience_forgets_what_is_over_and_told(scene: Scene) -> None:
    """Not what waits for the store; and what a room that is served no more leaves behind."""
    scene.enter(Member("ann", "s1"))
    sender = scene.current()
    sender.pending = True
    scene.audience.end(scene.room)
    scene.audience.forget()
    assert list(scene.audience) == [sender]
    sender.pending = False
    scene.audience.forget()
    assert list(scene.audience) == []

    idle = scene.current()
    scene.audience.forget()
    assert list(scene.audience) == [idle]
    scene.served = False
    scene.audience.forget()
    assert scene.audience.of_room("r") == []


def test_audience_room_without_a_state_has_no_session(scene: Scene) -> None:
    """A room that is not loaded yet, or never was opened."""
    scene.room.shown = None
    assert scene.current() is None
