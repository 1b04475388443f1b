"""What one reader has not taken yet, bounded. Pure but for the one future it waits on.

When it is full, ephemeral events are left out and counted; of states only the newest value of each
key is kept; durable events are refused, so that the session leaves them on the server and asks for
them when there is room again. Nothing durable is lost, and replies are never held up by a reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from liveroom_client.errors import LiveError
from liveroom_client.items import Event, Greeting, Shown, State


__all__ = ["Inbox"]


class Inbox:
    """A queue with three classes of service.

    Args:
        limit: items from which on ephemeral events are left out; durable ones have as many again.
        on_room: called when half of it is free after a durable event was refused.

    Attributes:
        shed: kind -> ephemeral events that were left out here.
        unread: nobody has begun to read, and it is full: what comes is not kept.
    """

    __slots__ = (
        "_ended", "_error", "_late", "_limit", "_on_room", "_queue", "_refused", "_waiter",
        "read", "shed", "unread",
    )  # fmt: skip

    def __init__(self, limit: int, on_room: Callable[[], None]) -> None:
        self._limit = limit
        self._on_room = on_room
        self._queue: deque[Shown] = deque()
        self._late: dict[tuple[str, str], State] = {}
        self._refused = False
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._error: LiveError | None = None
        self.shed: dict[str, int] = {}
        self.read = False
        self.unread = False

    def __len__(self) -> int:
        return len(self._queue) + len(self._late)

    # What comes.

    def admits(self) -> bool:
        """Whether a durable event finds room. If not, `on_room` will be called."""
        if len(self._queue) < 2 * self._limit or self._give_up():
            return True
        self._refused = True
        return False

    def put_durable(self, event: Event) -> None:
        """Take a durable event that was admitted."""
        self._put(event)

    def put_ephemeral(self, event: Event) -> None:
        """Take an event that may be left out."""
        if len(self._queue) < self._limit:
            self._put(event)
        elif not self._give_up():
            self.shed[event.name] = self.shed.get(event.name, 0) + 1

    def put_state(self, state: State) -> None:
        """Take a value of a key; when full, it stands for those before it."""
        if len(self._queue) < self._limit and not self._late:
            self._put(state)
        elif not self._give_up():
            self._late[state.room, state.key] = state

    def put_greeting(self, greeting: Greeting) -> None:
        """Take a greeting; one that begins anew ends the wait of what came before it."""
        if len(self._queue) >= self._limit and not self._give_up():
            if greeting.resumed:
                return  # it changes nothing for the reader
            self._drop_room(greeting.room)
        self._put(greeting)

    def end(self, error: LiveError | None) -> None:
        """Nothing more will come; the reader is told why."""
        self._ended = True
        self._error = error
        self._wake()

    # What is read.

    async def get(self) -> Shown:
        """Return the next item. Raises StopAsyncIteration at the end, LiveError if it was one."""
        while not self._queue and not self._late:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    def _take(self) -> Shown:
        late = self._late
        shown = self._queue.popleft() if self._queue else late.pop(next(iter(late)))
        if self._refused and len(self._queue) <= self._limit:
            self._refused = False
            self._on_room()
        return shown

    def _put(self, shown: Shown) -> None:
        if not self.unread:
            self._queue.append(shown)
            if self._waiter is not None:
                self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _give_up(self) -> bool:
        """Keep nothing if nobody has ever read: there may be listeners only."""
        if not self.read:
            self.unread = True
            self._queue.clear()
            self._late.clear()
        return self.unread

    def _drop_room(self, room: str) -> None:
        self._queue = deque(shown for shown in self._queue if shown.room != room)
        self._late = {key: state for key, state in self._late.items() if key[0] != room}
