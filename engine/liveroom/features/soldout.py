"""What is sold out is refused by the worker, without asking the store.

A winner who lost its answer must get it, whoever is asked and however sold out the sale is. So only
those are refused here of whom the worker knows that they never took anything: it has observed the
room from the thing's beginning (of a SKU: from its first sale), and they were not among the takers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from liveroom.plugin.context import Call, RoomHandle


__all__ = ["SoldOut", "user_of"]

_MAX_KNOWN = 200_000  # takers of one thing; with more of them the store is asked


@dataclass(slots=True)
class _Sale:
    """Who has reserved; `epoch` is that of the log in which its beginning was seen."""

    epoch: str
    takers: set[str] = field(default_factory=set)


class SoldOut:
    """The takers of the sales whose beginning this worker has seen.

    They are kept by the handle, not by the name: a room that was let go and loaded again may have
    missed something.
    """

    def __init__(self) -> None:
        self._rooms: WeakKeyDictionary[RoomHandle, dict[str, _Sale]] = WeakKeyDictionary()

    def began(self, room: RoomHandle, sale: str) -> None:
        """Take that a sale was armed."""
        self._rooms.setdefault(room, {})[sale] = _Sale(room.position.epoch)

    def took(self, room: RoomHandle, sale: str, users: Iterable[str]) -> None:
        """Take who has reserved."""
        sales = self._rooms.get(room, {})
        known = sales.get(sale)
        if known is None:
            return
        known.takers.update(users)
        if len(known.takers) > _MAX_KNOWN:
            del sales[sale]

    def ended(self, room: RoomHandle, sale: str) -> None:
        """Take that a sale is over."""
        self._rooms.get(room, {}).pop(sale, None)

    def refuses(self, call: Call[Any], sku: str) -> bool:
        """Tell whether the script could only say `sold_out`."""
        stock = call.room.state(f"stock:{sku}")
        sold_out = stock is not None and stock["status"] == "sold_out"
        return sold_out and self.never_took(call, sku)

    def never_took(self, call: Call[Any], sale: str) -> bool:
        """Tell whether it is certain that the sender never got anything of a sale."""
        known = self._rooms.get(call.room, {}).get(sale)
        return (
            known is not None
            and call.room.current
            and known.epoch == call.room.position.epoch
            and call.user not in known.takers
        )


def user_of(reservation: str) -> str:
    """Return whose reservation it is: its id is `number-user-tag`."""
    return reservation.split("-", 1)[1].rsplit("-", 1)[0]
