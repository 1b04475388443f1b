"""The rooms of one connection: that of its hello and, on the control socket, more (layer 7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from liveroom.auth.claims import Claims, Role, TokenError
from liveroom.errors import CommandError
from liveroom.hub.room import Room
from liveroom.hub.viewer import Viewer


__all__ = ["MAX_ROOMS", "Seat", "Seats", "check_seat"]

MAX_ROOMS = 64


@dataclass(slots=True)
class Seat:
    """A connection's place in one room."""

    room: Room
    viewer: Viewer


class Seats:
    """Which rooms a connection is in; commands without a room belong to the first."""

    __slots__ = ("_more", "first")

    def __init__(self) -> None:
        self.first: Seat | None = None
        self._more: dict[str, Seat] | None = None

    def __iter__(self) -> Iterator[Seat]:
        if self.first is not None:
            yield self.first
        if self._more is not None:
            yield from self._more.values()

    def at(self, room: str | None) -> Seat:
        """Return the seat that a command is about. Raises CommandError `not_found`."""
        first, more = self.first, self._more
        assert first is not None, "joined"
        if room is None or room == first.room.id:
            return first
        if more is not None and room in more:
            return more[room]
        raise CommandError("not_found", f"expected a room that was joined, came {room!r}")

    def expect_space(self, room: str) -> None:
        """Check that one more room can be joined. Raises CommandError."""
        assert self.first is not None, "joined"
        taken = {seat.room.id for seat in self}
        if room in taken:
            raise CommandError("already_done", f"this connection is in {room!r} already")
        if len(taken) >= MAX_ROOMS:
            raise CommandError("limit_reached", f"expected at most {MAX_ROOMS} rooms")

    def add(self, seat: Seat) -> None:
        """Take one more room."""
        if self._more is None:
            self._more = {}
        self._more[seat.room.id] = seat

    def discard(self, room: str) -> Seat:
        """Give one of the further rooms up. Raises CommandError `not_found`."""
        seat = self.at(room)
        if self._more is None or seat is self.first:
            raise CommandError("bad_request", "the room of the hello is left by closing")
        return self._more.pop(room)

    def soonest(self) -> Claims:
        """Return the claims that end first."""
        return min((seat.viewer.claims for seat in self), key=lambda claims: claims.exp)


def check_seat(old: Claims, new: Claims, room: str) -> None:
    """Check that a token lets a connection into one more room: same user, there to steer it.

    Raises:
        TokenError: another user.
        CommandError: `forbidden`, the token is for another room or a viewer's.
    """
    if new.user != old.user:
        raise TokenError("refresh", "expected a token of the same user")
    if not new.covers(room):
        raise CommandError("forbidden", f"the token is not for {room!r}")
    if not new.role.at_least(Role.ASSISTANT):
        raise CommandError("forbidden", "a viewer may not control a room")
