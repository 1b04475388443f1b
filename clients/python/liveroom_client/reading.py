"""Items of a message to rooms, replies and whoever is shown them. Pure."""

from __future__ import annotations

from typing import Any, Protocol

from liveroom_client.asks import Asks
from liveroom_client.errors import error_of_refusal
from liveroom_client.items import Item
from liveroom_client.outlet import Outlet
from liveroom_client.room import RoomView


__all__ = ["Hooks", "Reader"]

# What a wrong shape raises where a right one was expected.
_MISSHAPEN = (AttributeError, KeyError, TypeError, ValueError)


class Hooks(Protocol):
    """What some items make the session do."""

    def resume(self, room: RoomView) -> None:
        """Ask for what is missing, or for a snapshot when the history is over."""

    def told_to_move(self, d: Any) -> None:
        """Take a `sys.reconnect`."""

    def token_ends(self, room: RoomView) -> None:
        """Take a `sys.token`."""

    def junk(self, text: str) -> None:
        """Count and tell something that no server should send."""


class Reader:
    """Takes items, in order.

    Args:
        rooms: those that are followed.
        main: the room of messages that name none.
    """

    __slots__ = ("_asks", "_hooks", "_main", "_outlet", "_rooms")

    def __init__(
        self, rooms: dict[str, RoomView], main: RoomView, asks: Asks, outlet: Outlet, hooks: Hooks
    ) -> None:
        self._rooms = rooms
        self._main = main
        self._asks = asks
        self._outlet = outlet
        self._hooks = hooks

    def take(self, link: int, items: list[Any]) -> None:
        """Take the items of a message that came on a connection."""
        room: RoomView | None = self._main
        for item in items:
            if self._outlet.raw:
                self._outlet.emit("sdk.raw", item)
            try:
                if "re" in item:
                    self._take_reply(item)
                elif "room" in item:
                    room = None
                    room = self._rooms.get(item["room"])
                elif room is not None and room.link == link:
                    self._take_item(room, item)
            except _MISSHAPEN as exc:
                self._hooks.junk(f"{type(exc).__name__}: {exc} in {item!r:.200}")

    def _take_item(self, room: RoomView, item: Item) -> None:
        """Take an event or a state of a room; what is neither is of the future."""
        if "ev" in item:
            name = item["ev"]
            if type(name) is not str:
                raise TypeError(f"expected the name of an event, came {name!r:.80}")
            if item.get("seq") is None:
                self._take_passing(room, name, item)
            else:
                self._take_durable(room, name, item)
        elif "st" in item:
            state = room.take_state(item)
            if state is not None:
                self._outlet.state(state)

    def _take_passing(self, room: RoomView, name: str, item: Item) -> None:
        self._outlet.event(room.room, name, item, None)
        if name.startswith("sys."):
            self._take_system(room, name, item["d"])

    def _take_system(self, room: RoomView, name: str, d: Any) -> None:
        if name == "sys.shed":
            room.take_shed(d)
        elif name == "sys.gap":
            room.begin_anew()
            self._hooks.resume(room)
        elif name == "sys.reconnect":
            self._hooks.told_to_move(d)
        elif name == "sys.token":
            self._hooks.token_ends(room)

    def _take_durable(self, room: RoomView, name: str, item: Item) -> None:
        seq, sub = item["seq"], item.get("sub", 0)
        if type(seq) is not int or type(sub) is not int:
            raise TypeError(f"expected numbers, came {seq!r:.80} and {sub!r:.80}")
        verdict = room.judge(seq, sub)
        if room.lost or room.behind or verdict == "drop":
            return
        if verdict == "gap":
            if not room.resuming:
                self._hooks.resume(room)
        elif not self._outlet.admits():
            room.behind = True
        else:
            room.move(seq, sub)
            self._outlet.event(room.room, name, item, seq, sub)

    def _take_reply(self, item: Item) -> None:
        if not self._asks.answered(item) and "err" in item:
            self._outlet.emit("sdk.refused", error_of_refusal(item["err"], "", None))
