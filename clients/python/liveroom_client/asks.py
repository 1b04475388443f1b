"""Commands that wait for their answers; those with keys are sent again until one comes. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liveroom_client.clock import Clock, Timer
from liveroom_client.codec import Codec
from liveroom_client.errors import LiveError, error_of_refusal
from liveroom_client.items import Item
from liveroom_client.reconnect import backoff_ms


__all__ = ["Ask", "Asks", "Done"]

Done = Callable[[Any, LiveError | None], None]
"""Given the reply's `d`, or what was wrong."""

_UNDECIDED = frozenset({"outcome_unknown", "unavailable"})
"""Refusals after which the same key is to be asked again (docs/protocol.md, Keys)."""

_MAX_RETRY_MS = 60_000


class Ask:
    """One command under way.

    Attributes:
        link: the connection that it was sent on; 0: not sent, or not to be answered any more.
        tries: how often an answer left it undecided.
    """

    __slots__ = ("done", "id", "key", "link", "op", "payload", "room", "timer", "tries")

    def __init__(
        self, number: int, op: str, key: str | None, room: str, payload: bytes, done: Done
    ) -> None:
        self.id = number
        self.op = op
        self.key = key
        self.room = room
        self.payload = payload
        self.done = done
        self.link = 0
        self.tries = 0
        self.timer: Timer | None = None


class Asks:
    """All commands under way of one client.

    Args:
        codec: how they are encoded; at once, so that a repetition has the same bytes.
        main: the room that needs no naming.
        link_of: returns the connection on which commands about a room go now; 0: none.
        send: sends bytes on a connection.
        random: a number in [0, 1), for the wait between repetitions.
        timeout_s: how long an answer may take.
    """

    __slots__ = (
        "_clock", "_codec", "_last", "_link_of", "_main", "_random", "_send", "_timeout_s",
        "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        codec: Codec,
        main: str,
        clock: Clock,
        link_of: Callable[[str], int],
        send: Callable[[int, bytes], None],
        random: Callable[[], float],
        timeout_s: float,
    ) -> None:
        self._codec = codec
        self._main = main
        self._clock = clock
        self._link_of = link_of
        self._send = send
        self._random = random
        self._timeout_s = timeout_s
        self._waiting: dict[int, Ask] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._waiting)

    # What is asked.

    def ask(self, op: str, d: Item, done: Done, *, key: str | None = None, room: str) -> Ask:
        """Send a command as soon as its room is connected. Raises TypeError, ValueError."""
        ask = self._new(op, d, done, key, room)
        self._arm(ask, self._timeout_s)
        self._try(ask)
        return ask

    def ask_on(self, link: int, op: str, d: Item, done: Done, *, room: str) -> Ask:
        """Send a command on this connection and no other."""
        ask = self._new(op, d, done, None, room)
        ask.link = link
        self._arm(ask, self._timeout_s)
        self._send(link, ask.payload)
        return ask

    def tell(self, op: str, d: Item, *, room: str) -> bool:
        """Send a command whose reply nobody waits for; return whether there was a connection."""
        link = self._link_of(room)
        if link:
            self._send(link, self._codec.encode(self._command(op, d, room)))
        return bool(link)

    def forget(self, ask: Ask) -> None:
        """Wait no longer for an answer."""
        self._waiting.pop(ask.id, None)
        self._disarm(ask)

    # What is answered.

    def answered(self, item: Item) -> bool:
        """Take a reply; return whether anybody waited for it."""
        number = item["re"]
        ask = self._waiting.get(number) if type(number) is int else None
        if ask is None:
            return False
        error = None
        if "err" in item:
            error = error_of_refusal(item["err"], ask.op, ask.key)
            if ask.key is not None and error.code in _UNDECIDED:
                self._again_later(ask, error)
                return True
        self._finish(ask, item.get("d"), error)
        return True

    def flush(self, room: str) -> None:
        """Send what waits for this room's connection, in the order in which it was asked."""
        for ask in [a for a in self._waiting.values() if not a.link and a.room == room]:
            self._try(ask)

    def lost(self, link: int) -> None:
        """A connection is gone: keep what has a key for the next, give up the rest."""
        for ask in [a for a in self._waiting.values() if a.link == link]:
            if ask.key is not None:
                ask.link = 0
                self._disarm(ask)
            else:
                self._finish(ask, None, LiveError("closed", "the connection was lost", op=ask.op))

    def waits_on(self, link: int) -> bool:
        """Whether an answer is still expected on a connection."""
        return any(ask.link == link for ask in self._waiting.values())

    def end(self, error: LiveError, room: str | None = None) -> None:
        """Give up everything, or all about a room."""
        for ask in [a for a in self._waiting.values() if room is None or a.room == room]:
            why = LiveError(error.code, error.text, op=ask.op, key=ask.key, values=error.values)
            self._finish(ask, None, why)

    # One of them.

    def _new(self, op: str, d: Item, done: Done, key: str | None, room: str) -> Ask:
        self._last += 1
        command = self._command(op, d, room) | {"id": self._last}
        if key is not None:
            command["key"] = key
        ask = Ask(self._last, op, key, room, self._codec.encode(command), done)
        self._waiting[ask.id] = ask
        return ask

    def _command(self, op: str, d: Item, room: str) -> Item:
        command: Item = {"op": op, "d": d}
        if room != self._main:
            command["room"] = room
        return command

    def _try(self, ask: Ask) -> None:
        """Send it if its room is connected; one with a key then has the whole time again."""
        ask.link = self._link_of(ask.room)
        if not ask.link:
            return
        if ask.key is not None:
            self._arm(ask, self._timeout_s)
        self._send(ask.link, ask.payload)

    def _late(self, ask: Ask) -> None:
        ask.timer = None
        if ask.key is not None:
            self._try(ask)
        else:
            text = f"no answer in {self._timeout_s:g} s"
            self._finish(ask, None, LiveError("timeout", text, op=ask.op))

    def _again_later(self, ask: Ask, error: LiveError) -> None:
        wait_ms = max(
            min(error.retry_ms or 0, _MAX_RETRY_MS), backoff_ms(ask.tries, self._random())
        )
        ask.tries += 1
        self._arm(ask, wait_ms / 1000)

    def _finish(self, ask: Ask, d: Any, error: LiveError | None) -> None:
        self.forget(ask)
        ask.done(d, error)

    def _arm(self, ask: Ask, delay_s: float) -> None:
        self._disarm(ask)
        ask.timer = self._clock.call_later(delay_s, self._late, ask)

    def _disarm(self, ask: Ask) -> None:
        if ask.timer is not None:
            ask.timer.cancel()
            ask.timer = None
