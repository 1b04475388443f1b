"""A viewer of a live room: connects, comes back by itself, shows what happens, says what is said."""

from __future__ import annotations

import asyncio
import random as chance
import secrets
import ssl as tls
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, Self

from aiohttp import ClientSession
from yarl import URL

from liveroom_client.codec import CodecName, codec_of
from liveroom_client.commands import ViewerCommands
from liveroom_client.errors import LiveError
from liveroom_client.inbox import Inbox
from liveroom_client.items import Greeting, Item, Shown
from liveroom_client.likes import Likes
from liveroom_client.outlet import Listener, Outlet
from liveroom_client.reconnect import Loss
from liveroom_client.room import RoomView
from liveroom_client.session import Session
from liveroom_client.terms import Figures, Status, Terms
from liveroom_client.transport import Peer, Token, Transport


__all__ = ["LiveClient", "LiveState", "connect", "settle"]

VERSION = "liveroom-python/0.1"
_SCHEMES = ("ws", "wss", "http", "https")


class LiveState:
    """What a client knows now; each attribute is read at the moment of asking."""

    __slots__ = ("_inbox", "_room", "_session")

    def __init__(self, session: Session, room: RoomView, inbox: Inbox | None) -> None:
        self._session = session
        self._room = room
        self._inbox = inbox

    @property
    def status(self) -> Status:
        """`idle`, `connecting`, `live`, `waiting` or `ended`."""
        return self._session.status

    @property
    def attempt(self) -> int:
        """How many attempts failed since a connection last held."""
        return self._session.attempt

    @property
    def retry_at(self) -> float | None:
        """When the next attempt is made, by the event loop's clock; None unless it waits."""
        return self._session.retry_at

    @property
    def lost_by(self) -> Loss | None:
        """How the last connection ended."""
        return self._session.lost_by

    @property
    def greeting(self) -> Greeting | None:
        """The last greeting: who we are here, and where."""
        return self._room.greeting

    @property
    def position(self) -> tuple[str, int, int]:
        """Epoch, seq and sub of the last durable event that was handed on."""
        return self._room.epoch, self._room.seq, self._room.sub

    @property
    def states(self) -> Mapping[str, Any]:
        """Key -> newest value; keys that are gone are absent."""
        return MappingProxyType(self._room.states)

    @property
    def versions(self) -> Mapping[str, int]:
        """Key -> version of its value, for `if_version`."""
        return MappingProxyType(self._room.versions)

    @property
    def snapshot(self) -> Mapping[str, Any]:
        """Of the last greeting that was not resumed."""
        return MappingProxyType(self._room.snapshot)

    @property
    def own(self) -> Mapping[str, Any]:
        """For you alone, of the last greeting: votes, coupons, reservations."""
        return MappingProxyType(self._room.own)

    @property
    def shed(self) -> Mapping[str, int]:
        """Kind -> how many items the server did not show, summed."""
        return MappingProxyType(self._room.shed)

    @property
    def unread(self) -> Mapping[str, int]:
        """Kind -> ephemeral events that were left out because `async for` was too slow."""
        return MappingProxyType({} if self._inbox is None else self._inbox.shed)

    @property
    def figures(self) -> Figures:
        """What was counted: messages, bytes, junk, connects."""
        return self._session.figures


class LiveClient(ViewerCommands):
    """One viewer in one room. Made inside a running event loop.

        async with connect("ws://127.0.0.1:8080/ws", room="demo", token="guest:ada") as live:
            async for item in live: ...

    Args:
        url: `ws://host:port/ws` or `wss://…`.
        room: where.
        token: a token, or a function that returns one (it may be async): it is asked before each
            connection and when the last one ends.
        codec: `msgpack` or `json`.
        client, source: fields of the hello: name and version; the channel that led here.
        like_every_s: how often taps are sent.
        reply_timeout_s: without an answer, commands with a key are asked again, others give up.
        heartbeat_s: after so long a silence the server is asked whether it is there.
        join_timeout_s: how long `join` tries.
        connect_timeout_s: how long one attempt may take.
        inbox: how many items may wait for `async for`; 0: only listeners are used.
        skim: messages without replies, durable or system events are counted and not decoded.
        compress: offer permessage-deflate.
        max_message_bytes: a larger message ends the connection.
        ssl: for wss.
        http: an aiohttp session to share among many clients (`TCPConnector(limit=0)`).
        random: returns a number in [0, 1), for the waits.
    """

    __slots__ = (
        "_inbox", "_join_timeout_s", "_joined", "_likes", "_loop", "_outlet", "_session",
        "_transport",
    )  # fmt: skip

    def __init__(
        self,
        url: str,
        *,
        room: str,
        token: Token = "",
        codec: CodecName = "msgpack",
        client: str = VERSION,
        source: str = "",
        like_every_s: float = 0.2,
        reply_timeout_s: float = 10.0,
        heartbeat_s: float = 60.0,
        join_timeout_s: float = 30.0,
        connect_timeout_s: float = 10.0,
        inbox: int = 1000,
        skim: bool = False,
        compress: bool = False,
        max_message_bytes: int = 4 * 1024 * 1024,
        ssl: tls.SSLContext | bool = True,
        http: ClientSession | None = None,
        random: Callable[[], float] = chance.random,
    ) -> None:
        if URL(url).scheme not in _SCHEMES or not URL(url).host:
            raise ValueError(f"expected ws://host:port/path or wss://…, came {url!r}")
        self._loop = asyncio.get_running_loop()
        self._join_timeout_s = join_timeout_s
        self._outlet = Outlet()
        language = codec_of(codec)
        hello = {name: text for name, text in (("client", client), ("source", source)) if text}
        peer = Peer(url, language, http, ssl, compress, connect_timeout_s, max_message_bytes)
        terms = Terms(language, hello, callable(token), skim, reply_timeout_s, heartbeat_s)
        self._transport = Transport(peer, room, token)
        self._session = Session(room, terms, self._transport, self._loop, self._outlet, random)
        self._transport.session = self._session
        if inbox:
            self._outlet.inbox = Inbox(inbox, self._session.lobby.catch_up)
        self._inbox = self._outlet.inbox
        self._likes = Likes(like_every_s, self._tell_likes, self._loop)
        self._joined: asyncio.Future[Greeting] | None = None
        self._made()

    # Coming and going.

    async def __aenter__(self) -> Self:
        try:
            await self.join()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def join(self) -> Greeting:
        """Connect and say hello; from then on the client comes back by itself.

        Raises:
            LiveError: the room cannot be had, or not within `join_timeout_s`.
        """
        if self._joined is None:
            self._joined = self._loop.create_future()
            self.on("sdk.greeting", self._greeted)
            self.on("sdk.status", self._moved)
            self._session.start()
        try:
            async with asyncio.timeout(self._join_timeout_s):
                return await asyncio.shield(self._joined)
        except TimeoutError:
            lost_by = self._session.lost_by
            why = "no answer" if lost_by is None else lost_by.text or f"closed: {lost_by.code}"
            raise LiveError("timeout", why, op="hello") from None

    async def close(self) -> None:
        """Leave; what still waits is told `closed`, and no task is left behind."""
        self._likes.stop()
        self._session.end()
        await self._transport.aclose()

    # What is seen.

    @property
    def state(self) -> LiveState:
        """What is known now."""
        return LiveState(self._session, self._session.lobby.main, self._inbox)

    def server_now(self) -> float:
        """Return the server's time in Unix ms. Raises LiveError before the first greeting."""
        offset_ms = self._session.time.offset_ms
        if offset_ms is None:
            raise LiveError("closed", "the server's time is known after the first greeting")
        return self._loop.time() * 1000 + offset_ms

    def on(self, name: str, fn: Listener) -> Callable[[], None]:
        """Call a plain function with each `Event` of a name; return what ends that.

        Besides the server's events: `sdk.greeting` and `sdk.reset` (Greeting; reset: not resumed),
        `sdk.state`, `state:likes` (State, by key or by what stands before its colon), `sdk.status`
        (text), `sdk.raw` (every item as it came), `sdk.refused` (LiveError of a command that wanted
        no reply), `sdk.error` (junk from the server, or what a listener raised).
        """
        self._outlet.on(name, fn)
        return partial(self._outlet.off, name, fn)

    def off(self, name: str, fn: Listener) -> None:
        """Call it no more."""
        self._outlet.off(name, fn)

    def __aiter__(self) -> Self:
        """Read everything that is shown: events, states and greetings, in order, by one reader."""
        inbox = self._inbox
        if inbox is None:
            raise LiveError("closed", "made with inbox=0: there is nothing to read")
        inbox.read = True
        if inbox.unread:
            inbox.unread = False
            self._session.lobby.refresh()
        return self

    async def __anext__(self) -> Shown:
        assert self._inbox is not None, "read by `async for`"
        return await self._inbox.get()

    # What is said.

    async def ask(
        self,
        op: str,
        d: Item | None = None,
        *,
        key: str | bool = False,
        if_version: int | None = None,
        room: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Send any command and return the reply's `d`.

        Args:
            op: its name.
            d: its body.
            key: True makes an idempotency key; with one the command is sent again, over as many
                connections as it takes, until it is answered. Without, it fails with the connection.
            if_version: only if the state has this version.
            room: on a control connection in several rooms.
            timeout_s: give up after that; with a key: it may have happened, ask with it again.

        Raises:
            LiveError: it was refused, or not answered.
        """
        fields = dict(d or {})
        if if_version is not None:
            fields["if_version"] = if_version
        made = secrets.token_hex(16) if key is True else key or None
        future: asyncio.Future[Any] = self._loop.create_future()
        ask = self._session.ask(op, fields, partial(settle, future), key=made, room=room)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError:
            raise LiveError("timeout", f"no answer in {timeout_s:g} s", op=op, key=made) from None
        finally:
            self._session.forget(ask)
        if answer is None:
            return {}
        if not isinstance(answer, dict):
            raise LiveError(
                "bad_reply", f"expected an object, came {answer!r:.80}", op=op, key=made
            )
        return answer

    def tell(self, op: str, d: Item | None = None) -> bool:
        """Send a command that wants no reply; return whether there was a connection."""
        return self._session.tell(op, d or {})

    def like(self, n: int = 1) -> None:
        """Like the room; taps are gathered."""
        self._likes.tap(n)

    # From within.

    def _made(self) -> None:
        """What a kind of client adds to the making."""

    def _tell_likes(self, n: int) -> bool:
        return self._session.tell("like.send", {"n": n})

    def _greeted(self, greeting: Greeting) -> None:
        assert self._joined is not None, "joining"
        if not self._joined.done():
            self._joined.set_result(greeting)

    def _moved(self, status: Status) -> None:
        if status == "ended" and self._joined is not None and not self._joined.done():
            self._joined.set_exception(self._session.error or LiveError("closed", op="hello"))
            self._joined.exception()  # seen, even if nobody waits for it any more


connect = LiveClient
"""`async with connect(url, room=…, token=…) as live:`"""


def settle(future: asyncio.Future[Any], d: Any, error: LiveError | None) -> None:
    """Give a future its answer, if it still waits for one."""
    if future.done():
        return
    if error is None:
        future.set_result(d)
    else:
        future.set_exception(error)
