"""One client's conversation over all its connections, without I/O.

    idle -> connecting -> live -> waiting -> connecting …   and from everywhere: ended

A connection is a number here. At most one is being opened; when `sys.reconnect` came, while another
is still live: a room moves over at the moment when the new connection greets, from then on the old
one is only good for the replies that it owes. Bytes, time and chance come from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liveroom_client.asks import Ask, Asks, Done
from liveroom_client.clock import Clock, Timer
from liveroom_client.codec import Undecodable
from liveroom_client.errors import LiveError, error_of_close
from liveroom_client.items import Item
from liveroom_client.lobby import Lobby
from liveroom_client.outlet import Outlet
from liveroom_client.pulse import Pulse, ServerTime
from liveroom_client.reading import Reader
from liveroom_client.reconnect import LOST, STEADY_S, Loss, action_of, backoff_ms, spread_ms
from liveroom_client.room import RoomView
from liveroom_client.terms import Figures, Io, Status, Terms, TokenDone


__all__ = ["Session"]

_REFUSED_S = 2.0
"""How long a refused hello may wait for its close frame."""
_MAX_WAIT_MS = 3_600_000


class _Link:
    """A connection: being opened, live, or only good for the replies that it owes."""

    __slots__ = ("greeted_at", "number", "pulse", "refusal")

    def __init__(self, number: int, pulse: Pulse) -> None:
        self.number = number
        self.pulse = pulse
        self.greeted_at: float | None = None
        self.refusal: LiveError | None = None


class Session:
    """The state of one client.

    Args:
        room: of the hello.
        random: returns a number in [0, 1).

    Attributes:
        lobby: the rooms.
        status, attempt: where it stands; how many attempts failed since it last held.
        retry_at: by the clock, while waiting.
        lost_by: how the last connection ended.
        error: why it ended for good; None when it was closed from here.
        time: the server's.
    """

    __slots__ = (
        "_asks", "_clock", "_dialing", "_io", "_last_link", "_links", "_live", "_outlet", "_random",
        "_reader", "_retry", "_terms", "attempt", "error", "figures", "lobby", "lost_by", "retry_at",
        "status", "time",
    )  # fmt: skip

    def __init__(
        self,
        room: str,
        terms: Terms,
        io: Io,
        clock: Clock,
        outlet: Outlet,
        random: Callable[[], float],
    ) -> None:
        self.status: Status = "idle"
        self.attempt = 0
        self.retry_at: float | None = None
        self.lost_by: Loss | None = None
        self.error: LiveError | None = None
        self.figures = Figures()
        self.time = ServerTime(clock)
        self._terms = terms
        self._io = io
        self._clock = clock
        self._outlet = outlet
        self._random = random
        self._links: dict[int, _Link] = {}
        self._last_link = 0
        self._live: _Link | None = None
        self._dialing: _Link | None = None
        self._retry: Timer | None = None
        self._asks = Asks(
            terms.codec, room, clock, self._link_of, io.send, random, terms.reply_timeout_s
        )
        self.lobby = Lobby(RoomView(room), self._asks, self, clock, outlet)
        self._reader = Reader(self.lobby.rooms, self.lobby.main, self._asks, outlet, self)

    # What the caller does.

    def start(self) -> None:
        """Begin to connect."""
        self._dial()

    def ask(
        self, op: str, d: Item, done: Done, *, key: str | None = None, room: str | None = None
    ) -> Ask:
        """Send a command, now or when its room is connected.

        Raises:
            LiveError: it is over, or there is no such room.
            TypeError, ValueError: the body cannot be encoded.
        """
        if self.status == "ended":
            why = self.error or LiveError("closed", "the client was closed")
            raise LiveError(why.code, why.text, op=op, key=key, values=why.values)
        named = self.lobby.main.room if room is None else room
        if named not in self.lobby.rooms:
            raise LiveError("no_room", f"{named} was not joined", op=op, key=key)
        return self._asks.ask(op, d, done, key=key, room=named)

    def tell(self, op: str, d: Item, room: str | None = None) -> bool:
        """Send a command whose reply nobody waits for; return whether there was a connection."""
        return self._asks.tell(op, d, room=self.lobby.main.room if room is None else room)

    def forget(self, ask: Ask) -> None:
        """Wait no longer for an answer."""
        self._asks.forget(ask)

    def end(self, error: LiveError | None = None, code: int = 1000) -> None:
        """Close everything; what still waits is told."""
        if self.status == "ended":
            return
        self.error = error
        self._cancel_retry()
        links, self._links = self._links, {}
        self._live = self._dialing = None
        for link in links.values():
            link.pulse.stop()
            self._io.close(link.number, code)
            self.lobby.set_off(link.number)
        why = error or LiveError("closed", "the client was closed")
        self._set_status("ended")
        self._asks.end(why)
        self.lobby.end(why)
        if self._outlet.inbox is not None:
            self._outlet.inbox.end(error)

    # What the connections do.

    def opened(self, number: int, token: str) -> None:
        """A connection is open: say hello."""
        link = self._links.get(number)
        if link is None:
            return
        link.pulse.start()
        sent_at = link.pulse.heard
        main = self.lobby.main

        def done(d: Any, error: LiveError | None) -> None:
            self._welcomed(link, d, error, sent_at)

        hello = self._terms.hello | self.lobby.entry(main, token)
        self._asks.ask_on(number, "hello", hello, done, room=main.room)

    def heard(self, number: int) -> None:
        """Something came that is no message: a ping."""
        link = self._links.get(number)
        if link is not None:
            link.pulse.heard = self._clock.time()

    def feed(self, number: int, payload: bytes, *, binary: bool) -> None:
        """Take a message."""
        link = self._links.get(number)
        if link is None:
            return
        link.pulse.heard = self._clock.time()
        figures, codec = self.figures, self._terms.codec
        figures.messages += 1
        figures.bytes += len(payload)
        if self._terms.skim and not codec.matters(payload):
            return
        try:
            items = codec.decode(payload, binary=binary)
        except Undecodable as exc:
            self.junk(str(exc))
            self.drop(number, "a message could not be read")
            return
        self._reader.take(number, items)
        if len(self._links) > 1:
            self._release_old()

    def lost(self, number: int, loss: Loss) -> None:
        """A connection ended, or could not be opened."""
        link = self._links.pop(number, None)
        if link is None:
            return
        link.pulse.stop()
        self.lobby.set_off(number)
        if link is self._dialing:
            self._dialing = None
            self._failed_to_dial(link, loss)
        elif link is self._live:
            self._live = None
            self._lost_live(link, loss)
        self._asks.lost(number)
        for room in list(self.lobby.rooms):
            self._asks.flush(room)

    # What items and rooms make of it.

    def resume(self, room: RoomView) -> None:
        """Ask for what is missing."""
        self.lobby.resume(room)

    def told_to_move(self, d: Any) -> None:
        """Take a `sys.reconnect`: come back in that time, before or after this one closes."""
        if self._retry is None and self._dialing is None:
            self._dial_in(spread_ms(d.get("after_ms"), d.get("spread_ms"), self._random()))

    def token_ends(self, room: RoomView) -> None:
        """Take a `sys.token`: go on under a new one."""
        link = room.link

        def fetched(token: str | None) -> None:
            if token and room.link == link and self.is_open(link):
                self._asks.ask_on(link, "sys.token", {"token": token}, _ignore, room=room.room)

        if self._terms.renewable:
            self._io.fetch_token(room.room, fetched)

    def junk(self, text: str) -> None:
        """Count and tell something that no server should send."""
        self.figures.junk += 1
        self._outlet.emit("sdk.error", LiveError("bad_reply", text))

    def is_open(self, link: int) -> bool:
        """Whether a connection is still there."""
        return link in self._links

    def drop(self, link: int, text: str) -> None:
        """Give a connection up that does not do what one must."""
        if link in self._links:
            self._io.close(link, 1002)
            self.lost(link, Loss(LOST, text=text))

    def with_token(self, room: str, done: TokenDone) -> None:
        """Call back with the token of a room, or None."""
        self._io.fetch_token(room, done)

    # Coming and going.

    def _dial(self) -> None:
        self._retry = self.retry_at = None
        number = self._last_link = self._last_link + 1
        pulse = Pulse(
            number, self.lobby.main.room, self._asks, self, self.time, self._clock,
            self._terms.heartbeat_s,
        )  # fmt: skip
        self._dialing = self._links[number] = _Link(number, pulse)
        if self._live is None:
            self._set_status("connecting")
        self._io.open(number)

    def _dial_in(self, wait_ms: int) -> None:
        self._cancel_retry()
        self.retry_at = self._clock.time() + wait_ms / 1000
        self._retry = self._clock.call_later(wait_ms / 1000, self._dial)

    def _welcomed(self, link: _Link, d: Any, error: LiveError | None, sent_at: float) -> None:
        """Take the answer to a hello."""
        if error is not None:
            link.refusal = error
            if self.is_open(link.number):
                self._clock.call_later(_REFUSED_S, self.drop, link.number, str(error))
            return
        greeting = self.lobby.greet(self.lobby.main, link.number, d)
        if greeting is None:
            return
        link.greeted_at = self._clock.time()
        self.time.sample(greeting.now, sent_at, fresh=True)
        self._live, self._dialing = link, None
        self.figures.connects += 1
        self._set_status("live")
        self.lobby.arrive(link.number)

    def _failed_to_dial(self, link: _Link, loss: Loss) -> None:
        """Try again, give up, or stay with the connection that there still is."""
        if self._live is None:
            self._come_back(link, loss)
        elif action_of(loss) != "stop":
            self._dial_in(self._wait_ms(link, loss))

    def _lost_live(self, link: _Link, loss: Loss) -> None:
        """Come back; if that is under way already, then so, as `sys.reconnect` asked."""
        if link.greeted_at is not None and self._clock.time() - link.greeted_at >= STEADY_S:
            self.attempt = 0
        under_way = self._dialing is not None or self._retry is not None
        if under_way and action_of(loss) == "reconnect":
            self.lost_by = loss
            self._set_status("waiting" if self._dialing is None else "connecting")
        else:
            self._come_back(link, loss)

    def _come_back(self, link: _Link, loss: Loss) -> None:
        self.lost_by = loss
        action = action_of(loss)
        if action == "stop" or (action != "reconnect" and not self._terms.renewable):
            self.end(error_of_close(loss.code, loss.status, loss.text, link.refusal))
        elif self._dialing is None:
            self._dial_in(self._wait_ms(link, loss))
            self._set_status("waiting")
        else:
            self._set_status("connecting")

    def _wait_ms(self, link: _Link, loss: Loss) -> int:
        wait_ms = backoff_ms(self.attempt, self._random())
        self.attempt += 1
        asked_ms = 0 if link.refusal is None else min(link.refusal.retry_ms or 0, _MAX_WAIT_MS)
        return max(wait_ms, loss.retry_after_ms, asked_ms)

    def _release_old(self) -> None:
        """Close connections that were replaced and owe nothing."""
        for number, link in list(self._links.items()):
            owes = self.lobby.follows(number) or self._asks.waits_on(number)
            if link is not self._live and link is not self._dialing and not owes:
                del self._links[number]
                link.pulse.stop()
                self._io.close(number, 1000)

    def _link_of(self, room: str) -> int:
        return self.lobby.link_of(room)

    def _set_status(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            self._outlet.emit("sdk.status", status)

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self.retry_at = None


def _ignore(_: Any, __: LiveError | None) -> None:
    """Whatever the answer is: without a new token the connection closes with 4001."""
