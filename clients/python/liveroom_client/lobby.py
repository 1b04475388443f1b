"""The rooms of one client: coming in, going on where it was, asking for what is missing. Pure."""

from __future__ import annotations

from typing import Any, Protocol

from liveroom_client.asks import Asks, Done
from liveroom_client.clock import Clock
from liveroom_client.errors import LiveError
from liveroom_client.items import Greeting, Item, greeting_of
from liveroom_client.outlet import Outlet
from liveroom_client.room import RoomView


__all__ = ["Lines", "Lobby"]

_MAX_GAPS = 5
_RETRY_MS = 1000
_MAX_RETRY_MS = 60_000


class Lines(Protocol):
    """What a lobby needs to know of the connections, and may do to them."""

    def is_open(self, link: int) -> bool:
        """Whether a connection is still there."""

    def drop(self, link: int, text: str) -> None:
        """Give a connection up that does not do what one must."""

    def junk(self, text: str) -> None:
        """Count and tell something that no server should send."""

    def with_token(self, room: str, done: Any) -> None:
        """Call back with the token of a room, or None."""


class Lobby:
    """All rooms; the hello's is `main`, the others are those of `sys.join`.

    Attributes:
        rooms: by id.
        live: the connection that others are joined on; 0: none.
    """

    __slots__ = ("_asks", "_clock", "_joins", "_lines", "_outlet", "live", "main", "rooms")

    def __init__(
        self, main: RoomView, asks: Asks, lines: Lines, clock: Clock, outlet: Outlet
    ) -> None:
        self.main = main
        self.rooms = {main.room: main}
        self.live = 0
        self._asks = asks
        self._lines = lines
        self._clock = clock
        self._outlet = outlet
        self._joins: dict[str, Done] = {}

    def link_of(self, room: str) -> int:
        """Return the connection that a room is followed on; 0: none."""
        view = self.rooms.get(room)
        return 0 if view is None else view.link

    def follows(self, link: int) -> bool:
        """Whether a room is followed on a connection."""
        return any(room.link == link for room in self.rooms.values())

    def set_off(self, link: int) -> None:
        """A connection is gone."""
        if self.live == link:
            self.live = 0
        for room in self.rooms.values():
            if room.link == link:
                room.link = 0
                room.resuming = False

    def end(self, error: LiveError) -> None:
        """Tell those who wait to come in that they will not."""
        self.live = 0
        for room in list(self._joins):
            self._joined(room, None, error)

    # Greetings.

    def entry(self, room: RoomView, token: str) -> Item:
        """Return what a hello or `sys.join` says of a room."""
        fields: Item = {"room": room.room}
        if token:
            fields["token"] = token
        if room.position is not None:
            fields["resume"] = room.position
        return fields

    def greet(self, room: RoomView, link: int, d: Any) -> Greeting | None:
        """Take a greeting for a room; None if it was none, and the connection is given up."""
        try:
            greeting = greeting_of(d)
            room.greet(greeting)
            states = [room.take_state(item) for item in greeting.states]
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            self._lines.junk(f"expected a greeting: {exc}")
            self._lines.drop(link, "a greeting could not be read")
            return None
        room.link = link
        room.resuming = False
        self._outlet.greeting(greeting)
        for state in states:
            if state is not None:
                self._outlet.state(state)
        return greeting

    def arrive(self, link: int) -> None:
        """The hello's room is greeted on a connection: bring the others there."""
        self.live = link
        self._asks.flush(self.main.room)
        for room in list(self.rooms.values()):
            if room is not self.main:
                self._enter(room)

    # What is missing.

    def resume(self, room: RoomView) -> None:
        """Ask for what is missing, or for a snapshot when the history is over."""
        link = room.link
        if not self._lines.is_open(link):
            return
        room.gaps += 1
        if room.gaps > _MAX_GAPS:
            self._lines.drop(link, "events are missing again and again")
            return
        room.resuming = True
        d: Item = {} if room.position is None else {"resume": room.position}

        def done(d: Any, error: LiveError | None) -> None:
            self._resumed(room, link, d, error)

        self._asks.ask_on(link, "sys.resume", d, done, room=room.room)

    def catch_up(self) -> None:
        """Ask for the durable events that were left on the server."""
        for room in self.rooms.values():
            if room.behind:
                room.behind = False
                self.resume(room)

    def refresh(self) -> None:
        """Ask for snapshots of everything: somebody begins anew."""
        for room in self.rooms.values():
            room.begin_anew()
            self.resume(room)

    def _resumed(self, room: RoomView, link: int, d: Any, error: LiveError | None) -> None:
        if room.link != link or not self._lines.is_open(link):
            return
        if error is None:
            self.greet(room, link, d)
        elif error.code == "timeout":
            self._lines.drop(link, "no answer to sys.resume")
        else:
            self._clock.call_later(_wait_s(error), self._resume_again, room, link)

    def _resume_again(self, room: RoomView, link: int) -> None:
        if room.resuming and room.link == link:
            room.gaps = 0
            self.resume(room)

    # More rooms.

    def join(self, room: str, done: Done) -> None:
        """Come into one more room, and into it again on every connection. Raises LiveError."""
        if room in self.rooms:
            raise LiveError("exists", f"{room} was joined already", op="sys.join")
        self.rooms[room] = RoomView(room)
        self._joins[room] = done
        if self.live:
            self._enter(self.rooms[room])

    def leave(self, room: str) -> None:
        """Follow a room no longer. Raises LiveError."""
        if room == self.main.room:
            raise LiveError("bad_request", "the hello's room cannot be left", op="sys.leave")
        view = self.rooms.pop(room, None)
        error = LiveError("closed", "the room was left")
        if view is not None and view.link:
            self._asks.tell("sys.leave", {"room": room}, room=self.main.room)
        self._asks.end(error, room)
        self._joined(room, None, error)

    def _enter(self, room: RoomView) -> None:
        """Send `sys.join` on the live connection, with a token of that room."""
        link = self.live

        def fetched(token: str | None) -> None:
            if link == self.live and self._is_followed(room):
                d = self.entry(room, token or "")
                self._asks.ask_on(link, "sys.join", d, done, room=self.main.room)

        def done(d: Any, error: LiveError | None) -> None:
            if link == self.live and self._is_followed(room):
                self._entered(room, link, d, error)

        self._lines.with_token(room.room, fetched)

    def _entered(self, room: RoomView, link: int, d: Any, error: LiveError | None) -> None:
        if error is None:
            greeting = self.greet(room, link, d)
            if greeting is not None:
                self._asks.flush(room.room)
                self._joined(room.room, greeting, None)
        elif error.again:
            self._clock.call_later(_wait_s(error), self._enter_again, room, link)
        else:
            del self.rooms[room.room]
            self._asks.end(error, room.room)
            self._joined(room.room, None, error)
            self._outlet.emit("sdk.error", error)

    def _enter_again(self, room: RoomView, link: int) -> None:
        if link == self.live and self._is_followed(room) and room.link != link:
            self._enter(room)

    def _is_followed(self, room: RoomView) -> bool:
        return self.rooms.get(room.room) is room

    def _joined(self, room: str, greeting: Greeting | None, error: LiveError | None) -> None:
        done = self._joins.pop(room, None)
        if done is not None:
            done(greeting, error)


def _wait_s(error: LiveError) -> float:
    return min(max(error.retry_ms or 0, _RETRY_MS), _MAX_RETRY_MS) / 1000
