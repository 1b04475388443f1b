"""A session's connections as WebSockets of aiohttp. The only file that does I/O.

One task per connection reads it; another exists only while something is being written or closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import ClientSession, ClientWebSocketResponse, WSMessage, WSMsgType

from liveroom_client.codec import Codec
from liveroom_client.errors import LiveError
from liveroom_client.reconnect import LOST, Loss, retry_after_ms
from liveroom_client.session import Session
from liveroom_client.terms import TokenDone


__all__ = ["Peer", "Token", "Transport", "token_of"]

Token = str | Callable[[], str | Awaitable[str | None] | None]
"""A token, or what returns one; asked before each connection and when the last one ends."""

_NO_STATUS = 1005
_TLS_FAILED = 1015
_CLOSE_S = 1.0
_BATCH = 32
_BATCH_BYTES = 32_768
_MAX_UNSENT = 1024
_BROKEN = (aiohttp.ClientError, OSError, RuntimeError, TimeoutError, ValueError)


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to connect to, and how.

    Attributes:
        http: the caller's session, shared by many clients; None: one of its own.
    """

    url: str
    codec: Codec
    http: ClientSession | None = None
    ssl: ssl.SSLContext | bool = True
    compress: bool = False
    connect_timeout_s: float = 10.0
    max_message_bytes: int = 4 * 1024 * 1024


async def token_of(token: Token) -> str:
    """Return a token. Raises LiveError when its source does not give one."""
    if isinstance(token, str):
        return token
    try:
        made = token()
        found = await made if inspect.isawaitable(made) else made
    except Exception as exc:  # the caller's code: whatever it raises
        raise LiveError("token", f"the token could not be had: {exc!r}") from exc
    if found is not None and not isinstance(found, str):
        raise LiveError("token", f"expected a token, came {type(found).__name__}")
    return found or ""


class _Line:
    """One connection."""

    __slots__ = ("closing", "reader", "unsent", "writer", "ws")

    def __init__(self) -> None:
        self.ws: ClientWebSocketResponse[Any] | None = None
        self.reader: asyncio.Task[None] | None = None
        self.writer: asyncio.Task[None] | None = None
        self.unsent: list[bytes] = []
        self.closing = False


class Transport:
    """Opens, reads, writes and closes what the session asks for.

    Args:
        tokens: room -> token; the first room is the hello's.

    Attributes:
        session: to be set before anything is opened.
    """

    __slots__ = ("_http", "_lines", "_peer", "_room", "_tasks", "session", "tokens")

    def __init__(self, peer: Peer, room: str, token: Token) -> None:
        self.session: Session
        self.tokens: dict[str, Token] = {room: token}
        self._peer = peer
        self._room = room
        self._http = peer.http
        self._lines: dict[int, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Close all connections and wait for every task."""
        for number in list(self._lines):
            self.close(number, 1000)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None and self._http is not self._peer.http:
            await self._http.close()

    # What a session asks for.

    def open(self, link: int) -> None:
        """Open a connection in a task of its own."""
        line = self._lines[link] = _Line()
        line.reader = self._task(self._live(link, line))

    def send(self, link: int, command: bytes) -> None:
        """Send a command together with what else is waiting."""
        line = self._lines.get(link)
        if line is None or line.ws is None or len(line.unsent) >= _MAX_UNSENT:
            return
        line.unsent.append(command)
        if line.writer is None:
            line.writer = self._task(self._write(line, line.ws))

    def close(self, link: int, code: int) -> None:
        """Close a connection; nothing of it is heard any more."""
        line = self._lines.pop(link, None)
        if line is not None and not line.closing:
            line.closing = True
            self._spawn(self._hang_up(line, code))

    def fetch_token(self, room: str, done: TokenDone) -> None:
        """Get a room's token; None if there is none."""
        token = self.tokens.get(room, "")
        if isinstance(token, str):
            done(token or None)
        else:
            self._spawn(self._fetch(token, done))

    # Tasks.

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        _ = self._task(work)

    async def _fetch(self, token: Token, done: TokenDone) -> None:
        try:
            found = await token_of(token)
        except LiveError as exc:
            self.session.junk(str(exc))
            found = ""
        done(found or None)

    async def _live(self, link: int, line: _Line) -> None:
        """Open a connection and read it to its end."""
        try:
            token = await token_of(self.tokens[self._room])
            async with asyncio.timeout(self._peer.connect_timeout_s):
                line.ws = await self._connect()
            self.session.opened(link, token)
            loss = await self._read(link, line.ws)
        except Exception as exc:  # noqa: BLE001 -- whatever it is, a client comes back
            if not isinstance(exc, (LiveError, *_BROKEN)):
                self.session.junk(f"the connection failed: {exc!r}")
            loss = _loss_of(exc)
        if not line.closing:
            self._lines.pop(link, None)
            line.closing = True
            self._spawn(self._hang_up(line, 1000))
            self.session.lost(link, loss)

    async def _connect(self) -> ClientWebSocketResponse[Any]:
        peer = self._peer
        if self._http is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._http = ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return await self._http.ws_connect(
            peer.url,
            protocols=(peer.codec.subprotocol,),
            autoping=False,
            ssl=peer.ssl,
            compress=15 if peer.compress else 0,
            max_msg_size=peer.max_message_bytes,
            decode_text=False,
        )

    async def _read(self, link: int, ws: ClientWebSocketResponse[Any]) -> Loss:
        session = self.session
        while True:
            message = await ws.receive()
            kind = message.type
            if kind is WSMsgType.TEXT:
                session.feed(link, message.data, binary=False)
            elif kind is WSMsgType.BINARY:
                session.feed(link, message.data, binary=True)
            elif kind is WSMsgType.PING:
                session.heard(link)
                await _pong(ws, message.data)
            elif kind is WSMsgType.PONG:
                session.heard(link)
            else:
                return self._end_of(message)

    def _end_of(self, message: WSMessage) -> Loss:
        """Return how a connection ended, from the message that said so."""
        if message.type is WSMsgType.CLOSE:
            return Loss(message.data or _NO_STATUS, text=message.extra or "")
        if message.type is WSMsgType.ERROR:
            self.session.junk(f"expected WebSocket frames: {message.data}")
            return Loss(LOST, text=str(message.data))
        return Loss(LOST, text="the connection was lost")

    async def _write(self, line: _Line, ws: ClientWebSocketResponse[Any]) -> None:
        """Send all that waits, so much in one message as a server takes."""
        codec = self._peer.codec
        opcode = WSMsgType.BINARY if codec.binary else WSMsgType.TEXT
        try:
            while line.unsent:
                batch = _first(line.unsent)
                del line.unsent[: len(batch)]
                await ws.send_frame(codec.join(batch), opcode)
        except _BROKEN:
            line.unsent.clear()  # the reader hears of it, too
        finally:
            line.writer = None

    async def _hang_up(self, line: _Line, code: int) -> None:
        """Say goodbye, but do not wait long: some never answer, some never stop talking."""
        with contextlib.suppress(*_BROKEN):
            async with asyncio.timeout(_CLOSE_S):
                if line.writer is not None:
                    await asyncio.wait([line.writer])
                if line.ws is not None:
                    await line.ws.close(code=code)
        for task in (line.writer, line.reader):
            if task is not None and task is not asyncio.current_task():
                task.cancel()


def _first(unsent: list[bytes]) -> list[bytes]:
    """Return the commands that go into the next message: at least one."""
    size = count = 0
    for command in unsent[:_BATCH]:
        size += len(command)
        if count and size > _BATCH_BYTES:
            break
        count += 1
    return unsent[:count]


async def _pong(ws: ClientWebSocketResponse[Any], data: bytes) -> None:
    with contextlib.suppress(*_BROKEN):  # the next read tells
        await ws.pong(data)


def _loss_of(exc: BaseException) -> Loss:
    """Return why there is no connection."""
    if isinstance(exc, aiohttp.WSServerHandshakeError):
        header = exc.headers.get("Retry-After") if exc.headers is not None else None
        return Loss(0, exc.status, retry_after_ms(header), f"HTTP {exc.status}: {exc.message}")
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return Loss(_TLS_FAILED, text=str(exc))
    if isinstance(exc, TimeoutError):
        return Loss(LOST, text="the connection could not be opened in time")
    return Loss(LOST, text=str(exc) or type(exc).__name__)
