"""From an HTTP request to a `Connection`: the handshake, and taking the socket over (layer 8).

aiohttp parses and routes the request; then its connection is detached from the socket and ours is
attached (`asyncio.Transport.set_protocol`). That costs no task per connection and lets our own
frame reader keep RFC 6455 to the letter. It uses what aiohttp does not promise: the minor version
is pinned, and tests/integration/test_handshake.py fails when it changes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_protocol import RequestHandler

from liveroom.auth.clients import Verdict, client_ip, ip_bucket
from liveroom.connection import Connection
from liveroom.front import Front
from liveroom.plugin.spec import Surface
from liveroom.protocol.handshake import HandshakePolicy, HandshakeRefused, accept_handshake
from liveroom.web.turnstile import Turnstile


__all__ = ["Upgrade"]


class _HandedOver(web.StreamResponse):
    """What the handler returns when the socket is not aiohttp's any more, or gone: writes nothing."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Do nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing."""


class Upgrade:
    """The handler of one WebSocket path.

    Args:
        front: takes the connections.
        surface: what may be sent on them.
        policy: allowed origins, deflate.
        trusted: networks whose X-Forwarded-For is read.
        limit: most connections of this worker.
    """

    def __init__(
        self,
        front: Front,
        surface: Surface,
        policy: HandshakePolicy,
        *,
        trusted: tuple[Any, ...],
        limit: int,
    ) -> None:
        self._front = front
        self._surface = surface
        self._policy = policy
        self._trusted = trusted
        self._limit = limit
        self._turnstile = Turnstile()
        self.open = True
        """Whether new connections are taken; false while the worker drains."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Judge the handshake and hand the socket over."""
        await self._turnstile.wait()
        transport = request.transport
        if transport is None or transport.is_closing():  # the client gave up while it waited
            return _HandedOver()
        try:
            self._check_capacity()
            accepted = accept_handshake(
                request.method, request.version[:2], request.raw_headers, self._policy
            )
            bucket = self._admit(request)
        except HandshakeRefused as exc:
            self._front.hub.metrics.handshakes_refused.labels(str(exc.status)).inc()
            headers = {"Connection": "close"} | dict(exc.headers)
            response = web.Response(status=exc.status, text=exc.reason + "\n", headers=headers)
            response.force_close()  # the header alone would not: what came behind would be served
            return response
        connection = Connection(self._front, self._surface, accepted, bucket)
        early = _detach(request.protocol, transport, connection)
        transport.write(accepted.response)
        connection.attach(transport, early)
        return _HandedOver()

    def _check_capacity(self) -> None:
        if not self.open or len(self._front.connections) >= self._limit:
            raise HandshakeRefused(
                503, "this worker takes no more connections", ("Retry-After", "2")
            )

    def _admit(self, request: web.BaseRequest) -> str:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        ip = peer[0] if peer else "127.0.0.1"
        if self._trusted:
            ip = client_ip(ip, request.headers.getall("X-Forwarded-For", []), self._trusted)
        bucket = ip_bucket(ip)
        verdict = self._front.addresses.try_connect(bucket, self._front.now())
        if verdict is not Verdict.ADMITTED:
            raise HandshakeRefused(429, f"{verdict.value} for this address", ("Retry-After", "2"))
        return bucket


def _detach(handler: RequestHandler, transport: asyncio.Transport, connection: Connection) -> bytes:
    """Take the socket from aiohttp; return what came right behind the request."""
    transport.set_protocol(connection)
    early = handler._message_tail  # see the module docstring
    handler._message_tail = b""
    handler.transport = None
    handler.force_close()
    handler.connection_lost(None)
    if not transport.is_reading():  # aiohttp pauses when much came behind the request
        transport.resume_reading()
    return early
