"""In which order those come in who come all at once (layer 8)."""

from __future__ import annotations

import asyncio
from collections import deque


__all__ = ["PER_TURN", "Turnstile"]

PER_TURN = 32
"""How many pass in one turn of the loop: about ten milliseconds of work."""


class Turnstile:
    """Lets a few pass per turn of the loop, in the order in which they came; at once when few come.

    Without it each step of a join would be done for thousands before the next step is done for the
    first: all would be greeted at the same late moment, many of them after they had given up, and
    meanwhile no room of the worker would be given its beat. So whoever has passed is brought to its
    greeting first, and whoever goes while it waits costs nothing more.

    Args:
        per_turn: how many pass in one turn.
    """

    def __init__(self, per_turn: int = PER_TURN) -> None:
        self._per_turn = per_turn
        self._left = per_turn
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Return when it is the caller's turn."""
        if self._left and not self._waiting:
            self._take()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        await place

    def _take(self) -> None:
        if self._left == self._per_turn:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._left -= 1

    def _next_turn(self) -> None:
        self._left = self._per_turn
        while self._waiting and self._left:
            place = self._waiting.popleft()
            if not place.done():  # its caller may have been cancelled
                place.set_result(None)
                self._take()
