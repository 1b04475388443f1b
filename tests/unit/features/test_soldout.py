"""Who may be refused as sold out without asking the store."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any, cast

import pytest

from liveroom.core.position import Position
from liveroom.features.soldout import SoldOut, user_of
from liveroom.plugin.context import Call, RoomHandle


class Room:
    """As much of a room as is looked at."""

    def __init__(self, status: str | None = "sold_out", sale: str = "s1") -> None:
        self.position = Position("e1", 1, 0)
        self.current = True
        self.shown = None if status is None else {"status": status, "sale": sale}

    def state(self, name: str) -> Any:
        assert name == "stock:k1"
        return self.shown


def refuses(known: SoldOut, room: Room, user: str = "loser") -> bool:
    """Ask for a user."""
    call = SimpleNamespace(room=room, user=user)
    return known.refuses(cast("Call[Any]", call), "k1")


def seen(room: Room, *takers: str, thing: str = "k1") -> SoldOut:
    """Return what a worker knows that saw a SKU's first sale from its beginning."""
    known = SoldOut()
    known.began(cast("RoomHandle", room), thing)
    known.took(cast("RoomHandle", room), thing, takers)
    return known


def test_soldout_refuses_those_who_never_reserved() -> None:
    """A taker may want its answer again: the store has it."""
    room = Room()
    known = seen(room, "winner")
    assert refuses(known, room)
    assert not refuses(known, room, "winner")


@pytest.mark.parametrize("status", ["armed", "running", "ended", None])
def test_soldout_asks_unless_everything_is_taken(status: str | None) -> None:
    """Any other state is the script's to judge."""
    room = Room(status)
    assert not refuses(seen(room), room)


def test_soldout_asks_when_something_may_be_missing() -> None:
    """A hole in the log, another life of the log, a beginning that was not seen, an end."""
    room = Room()
    known = seen(room)
    room.current = False
    assert not refuses(known, room)
    room.current = True
    assert refuses(known, room)
    assert not refuses(known, Room())  # the same room, loaded anew
    room.position = Position("e2", 0, 0)
    assert not refuses(known, room)
    assert not refuses(SoldOut(), room)
    assert not refuses(seen(room, thing="other"), room)
    known = seen(room)
    known.ended(cast("RoomHandle", room), "k1")
    assert not refuses(known, room)


def test_soldout_forgets_a_sale_with_too_many_takers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would have to remember is bounded."""
    monkeypatch.setattr("liveroom.features.soldout._MAX_KNOWN", 2)
    room = Room()
    known = seen(room, "a", "b")
    assert refuses(known, room)
    known.took(cast("RoomHandle", room), "k1", ["c"])
    assert not refuses(known, room)
    known.took(cast("RoomHandle", room), "k1", ["d"])
    assert not refuses(known, room)


def test_soldout_lets_rooms_go() -> None:
    """Nothing is kept of a room that nobody holds."""
    room = Room()
    known = seen(room, "a")
    del room
    gc.collect()
    assert not known._rooms


@pytest.mark.parametrize("user", ["u1", "a-b-c", "1-2", "x.y:z_", "a" * 64])
def test_soldout_reads_the_user_of_a_reservation(user: str) -> None:
    """Users may have dashes."""
    assert user_of(f"12-{user}-{'0f' * 10}") == user
