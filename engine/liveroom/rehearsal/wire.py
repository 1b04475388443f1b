"""The viewers' end of a WebSocket, cheap enough for hundreds of them beside the engine (layer 9).

A line hands on every message as bytes and decodes nothing: most of an audience looks only at the
messages that begin with a reply. It is no second SDK: `liveroom_client` decodes all that comes and
comes back by itself, where a rehearsal must count a lost connection; and it stands on the engine's
wire, so that the engine cannot stand on it (the import contracts).
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from liveroom.errors import LiveroomError
from liveroom.protocol.frame_builder import CLOSE, PING, PONG, TEXT, masked_frame
from liveroom.protocol.handshake import JSON


__all__ = ["Address", "Line", "LineError", "Refused", "address_of"]

_PATIENCE_S = 20.0


class LineError(LiveroomError):
    """A connection could not be made, or was lost."""


class Refused(LiveroomError):
    """A command was refused: the `err` of its reply."""

    def __init__(self, op: str, err: dict[str, Any]) -> None:
        super().__init__(op, err)
        self.op = op
        self.code: str = err["code"]
        self.err = err

    def __str__(self) -> str:
        return f"{self.op}: {self.code}: {self.err.get('msg', '')}"


class Address(NamedTuple):
    """Where an engine listens."""

    host: str
    port: int
    secure: bool

    def http(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http{'s' if self.secure else ''}://{self._host}:{self.port}{path}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def upgrade(self, path: str) -> bytes:
        """Return the request for a WebSocket."""
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {self._host}:{self.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
            f"Sec-WebSocket-Protocol: {JSON}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def address_of(url: str) -> Address:
    """Return the address of a ws, wss, http or https URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss", "http", "https") or not parts.hostname:
        raise ValueError(f"expected ws://host:port or wss://host:port, came {url}")
    secure = parts.scheme in ("wss", "https")
    return Address(parts.hostname, parts.port or (443 if secure else 80), secure)


class Line(asyncio.Protocol):
    """One WebSocket after its upgrade.

    Args:
        request: the upgrade request.
        on_message: given the payload of every message.
    """

    def __init__(self, request: bytes, on_message: Callable[[bytes], None]) -> None:
        self._request = request
        self._on_message = on_message
        self._buffer = b""
        self.upgraded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: Any = None
        self._replies: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._ids = itertools.count(1)
        self._why = ""
        self.ended = asyncio.Event()
        self.messages = 0

    @classmethod
    async def open(cls, address: Address, path: str, on_message: Callable[[bytes], None]) -> Line:
        """Connect and upgrade. Raises LineError."""
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if address.secure else None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                _, line = await loop.create_connection(
                    lambda: cls(address.upgrade(path), on_message),
                    address.host,
                    address.port,
                    ssl=context,
                )
                await line.upgraded
        except TimeoutError as exc:
            raise LineError(f"{address.host}:{address.port} does not answer") from exc
        except OSError as exc:
            raise LineError(f"{address.host}:{address.port}: {exc}") from exc
        return line

    # What is said.

    async def ask(self, op: str, d: dict[str, Any] | None = None, key: str = "") -> Any:
        """Send a command and return the `d` of its reply. Raises Refused, LineError."""
        if self.ended.is_set():
            raise LineError(f"{op}: the connection is closed")
        number = next(self._ids)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._replies[number] = op, done
        command = {"op": op, "id": number, "d": d or {}} | ({"key": key} if key else {})
        self._transport.write(masked_frame(TEXT, orjson.dumps(command)))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await done
        except TimeoutError as exc:
            raise LineError(f"{op}: no answer in {_PATIENCE_S:.0f} s") from exc
        finally:
            self._replies.pop(number, None)

    def take_reply(self, item: dict[str, Any]) -> None:
        """Give a reply item to whoever asked."""
        op, done = self._replies.pop(item["re"] or 0, ("", None))
        if done is None or done.done():
            return
        if "err" in item:
            done.set_exception(Refused(op, item["err"]))
        else:
            done.set_result(item["d"])

    def close(self) -> None:
        """Say goodbye and hang up."""
        if self._transport is not None and not self.ended.is_set():
            self._transport.write(masked_frame(CLOSE, (1000).to_bytes(2, "big")))
            self._transport.close()

    # What is heard.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Hand on every frame that is complete."""
        buffer = self._buffer + data if self._buffer else data
        if not self.upgraded.done():
            head, end, rest = buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = buffer
                return
            if not self._take_head(head):
                return
            buffer = rest
        self._buffer = self._take_frames(buffer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self.ended.set()
        error = LineError(self._why or f"the connection was lost: {exc or 'closed'}")
        waiting = [done for _, done in self._replies.values()]
        for done in (self.upgraded, *waiting):
            if not done.done():
                done.set_exception(error)
                done.exception()  # seen, even if nobody waits for it any more

    def _take_head(self, head: bytes) -> bool:
        if head.startswith(b"HTTP/1.1 101"):
            self.upgraded.set_result(None)
            return True
        status = head.split(b"\r\n")[0].decode(errors="replace")
        self.upgraded.set_exception(LineError(f"expected an upgrade, came {status}"))
        self._transport.abort()
        return False

    def _take_close(self, payload: bytes) -> None:
        code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")
        self._why = f"it was closed with {code}: {reason}"
        self._transport.close()

    def _take_frames(self, buffer: bytes) -> bytes:
        """Take whole frames from the front; return the rest."""
        at, total = 0, len(buffer)
        while total - at >= 2:
            begin, end = _payload(buffer, at)
            if end > total or begin > total:
                break
            opcode = buffer[at] & 0x0F
            if opcode == TEXT:
                self.messages += 1
                self._on_message(buffer[begin:end])
            elif opcode == PING:
                self._transport.write(masked_frame(PONG, buffer[begin:end]))
            elif opcode == CLOSE:
                self._take_close(buffer[begin:end])
            at = end
        return buffer[at:]


def _payload(data: bytes, at: int) -> tuple[int, int]:
    """Return where the payload of a server's frame begins and ends; past the data if unknown."""
    short = data[at + 1] & 0x7F
    if short < 126:
        return at + 2, at + 2 + short
    width = 2 if short == 126 else 8
    begin = at + 2 + width
    if begin > len(data):
        return begin, begin
    return begin, begin + int.from_bytes(data[at + 2 : begin], "big")
