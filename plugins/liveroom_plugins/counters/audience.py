"""Who is in the rooms of this worker: connections become entries and visits of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from liveroom import Member, Role, RoomHandle
from liveroom_plugins.counters.gather import source_name
from liveroom_plugins.counters.sender import Sender


__all__ = ["Audience"]

_BACK_S = 60.0
"""A connection that is greeted anew within this time (`sys.resume`) is no new entry."""

MakeSender = Callable[[RoomHandle, int], Sender]


class Audience:
    """The sessions that this worker sees, newest last, and who is in them.

    The audience are viewers; whoever has another role works here.

    Args:
        make: makes what tells the store of a session.
        now: seconds of a clock that never goes back.
        serves: whether this worker serves a room now.
    """

    def __init__(
        self, make: MakeSender, now: Callable[[], float], serves: Callable[[str], bool]
    ) -> None:
        self._make = make
        self._now = now
        self._serves = serves
        self._rooms: dict[str, dict[int, Sender]] = {}
        self._inside: dict[str, tuple[Sender, str]] = {}
        self._left: dict[str, float] = {}

    def __iter__(self) -> Iterator[Sender]:
        for senders in self._rooms.values():
            yield from senders.values()

    def of_room(self, room_id: str) -> list[Sender]:
        """Return the sessions of a room that something is or may be left to tell of."""
        return list(self._rooms.get(room_id, {}).values())

    def current(self, room: RoomHandle) -> Sender | None:
        """Return the session that runs, as far as this worker knows."""
        state = room.state("room")
        if state is None or state["status"] != "open":
            return None
        return self.session(room, state["opened_ms"])

    def session(self, room: RoomHandle, opened_ms: int) -> Sender:
        """Return a session of a room."""
        senders = self._rooms.setdefault(room.id, {})
        sender = senders.get(opened_ms)
        if sender is None:
            sender = senders[opened_ms] = self._make(room, opened_ms)
        sender.room = room  # it may have been loaded anew
        return sender

    def enter(self, sender: Sender, member: Member) -> None:
        """Take that a connection is in the room."""
        key = _key(sender.room, member)
        if member.claims.role is not Role.VIEWER or self._is_inside(key, sender):
            return
        back = self._left.pop(key, -_BACK_S) > self._now() - _BACK_S
        self._inside[key] = (sender, member.user)
        sender.gathering.enter(member.user, source_name(member.source), view=not back)

    def leave(self, room: RoomHandle, member: Member) -> None:
        """Take that a connection is no longer in the room."""
        key = _key(room, member)
        sender, user = self._inside.pop(key, (None, ""))
        if sender is not None:
            self._left[key] = self._now()
            sender.gathering.leave(user)

    def end(self, room: RoomHandle, now_open: int | None = None) -> None:
        """Take that sessions of a room are over: all but the one that runs."""
        for opened_ms, sender in self._rooms.get(room.id, {}).items():
            if opened_ms != now_open and not sender.over:
                sender.close()

    def forget(self) -> None:
        """Drop what is told and over, or of a room that is served no more; and who left long ago."""
        for room_id, senders in list(self._rooms.items()):
            served = self._serves(room_id)
            idle = [ms for ms, sender in senders.items() if sender.done or not served]
            for opened_ms in idle:
                if not senders[opened_ms].pending:
                    del senders[opened_ms]
            if not senders:
                del self._rooms[room_id]
        since = self._now() - _BACK_S
        for key in [key for key, at in self._left.items() if at < since]:
            del self._left[key]
        for key in [key for key, (sender, _) in self._inside.items() if sender.done]:
            del self._inside[key]

    def _is_inside(self, key: str, sender: Sender) -> bool:
        return key in self._inside and self._inside[key][0] is sender


def _key(room: RoomHandle, member: Member) -> str:
    return f"{room.id} {member.session}"
