"""The copies of a worker's rooms: read when somebody comes, followed, and read again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from liveroom import Engine, Op, RoomHandle

from .asking import Errands, ask
from .copy import RoomCopy


__all__ = ["READ_AGAIN_S", "Copies"]

READ_AGAIN_S: Final = 4.0
RIDE_S: Final = 1.0
"""A sanction of which nothing was heard may not hold here for both together, at most."""

_HOLDS: Final = frozenset({"mute", "unmute", "ban", "unban", "shadow", "unshadow"})


class Copies:
    """One for each room that this worker serves.

    Args:
        engine: the worker.
        errands: what is read in passing.
    """

    def __init__(self, engine: Engine, errands: Errands) -> None:
        self._engine = engine
        self._errands = errands
        self._copies: dict[str, RoomCopy] = {}

    def of(self, room: RoomHandle) -> RoomCopy:
        """Return the copy of a room."""
        copy = self._copies.get(room.id)
        if copy is None or copy.room is not room:
            copy = self._copies[room.id] = RoomCopy(room)
        return copy

    def begin(self, room: RoomHandle) -> RoomCopy:
        """Return the copy of a room, which is read if it was not."""
        copy = self.of(room)
        if not copy.loaded:
            self._errands.run(self.load(copy))
        return copy

    def hear(self, room: RoomHandle, d: Mapping[str, Any]) -> None:
        """Take a change of the sanctions; read all of them if one before it was missed."""
        copy = self.of(room)
        if d["what"] in _HOLDS and not copy.hear(d):
            self._errands.run(self.load(copy))

    def read_again(self) -> None:
        """Compare with the store: what was missed is made good here."""
        now = self._engine.clock.monotonic()
        for name, copy in list(self._copies.items()):
            if self._engine.room(name) is not copy.room:
                del self._copies[name]
            else:
                copy.forget(now)
                self._errands.run(self.load(copy, RIDE_S))  # a room's trouble is its own

    async def load(self, copy: RoomCopy, within_s: float = 0.0) -> None:
        """Read the sanctions. Raises StoreError."""
        while not copy.take(await ask(copy.room, Op("mod.sync", "", {"rev": copy.rev}), within_s)):
            within_s = 0.0  # it was overtaken by a change; the next answer has it
        copy.close_banned(list(copy.bans))
