"""Whether connections live, and what time it is on the server. Pure."""

from __future__ import annotations

from typing import Any

from liveroom_client.asks import Asks
from liveroom_client.clock import Clock, Timer
from liveroom_client.errors import LiveError
from liveroom_client.lobby import Lines


__all__ = ["Pulse", "ServerTime"]


class ServerTime:
    """Server time, from the shortest round trip of the connection.

    Attributes:
        offset_ms: server time minus the clock's; None before the first greeting.
    """

    __slots__ = ("_clock", "_round_s", "offset_ms")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._round_s = 0.0
        self.offset_ms: float | None = None

    def sample(self, now: Any, sent_at: float, *, fresh: bool = False) -> None:
        """Take what a reply said; `fresh`: of a new connection, earlier ones count no more."""
        here = self._clock.time()
        took = here - sent_at
        if type(now) is int and (fresh or took <= self._round_s):
            self._round_s = took
            self.offset_ms = now - (sent_at + here) * 500


class Pulse:
    """Asks one connection that has been silent whether it is still there.

    Attributes:
        heard: when something came, by the clock.
    """

    __slots__ = (
        "_asks",
        "_clock",
        "_every_s",
        "_lines",
        "_link",
        "_room",
        "_time",
        "_timer",
        "heard",
    )

    def __init__(
        self, link: int, room: str, asks: Asks, lines: Lines, time: ServerTime, clock: Clock,
        every_s: float,
    ) -> None:  # fmt: skip
        self._link = link
        self._room = room
        self._asks = asks
        self._lines = lines
        self._time = time
        self._clock = clock
        self._every_s = every_s
        self.heard = clock.time()
        self._timer: Timer | None = None

    def start(self) -> None:
        """The connection is open."""
        self.heard = self._clock.time()
        self._timer = self._clock.call_later(self._every_s, self._beat)

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        wait_s = self._every_s - (self._clock.time() - self.heard)
        if wait_s <= 0:
            wait_s = self._every_s
            self._ask()
        self._timer = self._clock.call_later(wait_s, self._beat)

    def _ask(self) -> None:
        sent_at = self._clock.time()

        def done(d: Any, error: LiveError | None) -> None:
            if error is None:
                self._time.sample(d.get("now") if isinstance(d, dict) else None, sent_at)
            elif error.code == "timeout":
                self._lines.drop(self._link, "the connection is silent")

        self._asks.ask_on(self._link, "sys.ping", {}, done, room=self._room)
