"""A worker's copy of a room's sanctions, whatever order things come in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from liveroom import Member, Role, RoomHandle
from liveroom_plugins.moderation.copy import RoomCopy, is_emotes


def copy() -> RoomCopy:
    """Return the copy of a room that is not asked for anything."""
    return RoomCopy(cast("RoomHandle", SimpleNamespace(id="r")))


def row(user: str, rank: int = 2) -> dict[str, Any]:
    """Return a sanction."""
    return {"user": user, "until_ms": 0, "by": "host", "rank": rank}


def answer(rev: int, *muted: str) -> dict[str, Any]:
    """Return what the store says."""
    return {"rev": rev, "mute": [row(user) for user in muted], "ban": [], "shadow": []}


def member(user: str, role: Role = Role.VIEWER) -> Member:
    """Return somebody."""
    return cast("Member", SimpleNamespace(user=user, claims=SimpleNamespace(role=role)))


def test_copy_a_change_that_overtakes_the_first_reading_holds() -> None:
    """An answer older than what was heard is not taken, and what was heard holds meanwhile."""
    made = copy()
    assert not made.hear({"rev": 1, "what": "mute", "row": row("ann")})
    assert made.under("mute", member("ann")) is not None
    assert not made.take(answer(0))
    assert not made.loaded
    assert made.take(answer(1, "ann"))
    assert made.under("mute", member("ann")) is not None


def test_copy_a_missed_change_is_noticed() -> None:
    """A change whose number is not the next one asks for a reading."""
    made = copy()
    assert made.take(answer(0))
    assert made.hear({"rev": 1, "what": "mute", "row": row("ann")})
    assert not made.hear({"rev": 3, "what": "unmute", "user": "ann"})
    assert made.under("mute", member("ann")) is None
    assert made.rev == 1
    assert made.take(answer(3, "bob"))
    assert made.under("mute", member("bob")) is not None


def test_copy_what_was_heard_before_is_not_taken_again() -> None:
    """An event that the reading had in it already changes nothing."""
    made = copy()
    assert made.take(answer(2))
    assert made.hear({"rev": 1, "what": "mute", "row": row("ann")})
    assert made.under("mute", member("ann")) is None
    assert made.take({"rev": 2})


@pytest.mark.parametrize(
    ("role", "holds"),
    [(Role.VIEWER, True), (Role.ASSISTANT, True), (Role.MODERATOR, False), (Role.HOST, False)],
)
def test_copy_a_sanction_holds_for_lower_roles(role: Role, holds: bool) -> None:
    """A moderator's word holds for those below."""
    made = copy()
    made.take(answer(1, "ann"))
    assert (made.under("mute", member("ann", role)) is not None) == holds


def test_copy_a_changed_name_is_new_once() -> None:
    """It is told of once, however often somebody comes back."""
    made = copy()
    assert [made.is_renamed("ann", name) for name in ("a", "a", "b")] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "are"),
    [("🎉 👍🏽", True), ("[笑][哭]", True), ("好🎉", False), ("ok", False), ("!", False)],
)
def test_copy_emotes_are_pictures_alone(text: str, are: bool) -> None:
    """Emoji and names in brackets, no words."""
    assert is_emotes(text) == are
