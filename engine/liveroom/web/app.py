"""The listeners of a worker: viewers, control, API and the page (layer 8)."""

from __future__ import annotations

import asyncio
import resource
import socket

from aiohttp import web

from liveroom.node import Node
from liveroom.plugin.spec import Surface
from liveroom.protocol.handshake import SAME_HOST, HandshakePolicy
from liveroom.web.api import api_app
from liveroom.web.page import HTTP_IDLE_S, page_routes
from liveroom.web.upgrade import Upgrade


__all__ = ["NODE", "Web"]

NODE = web.AppKey("node", Node)

_SEND_S = 60.0  # a response that is not read by then is given up, and its connection with it
_RESERVED_FILES = 100  # the store, the log, the listeners, the API


class Web:
    """Serves one node."""

    def __init__(self, node: Node) -> None:
        settings = node.settings
        self._node = node
        policy = HandshakePolicy(settings.origins or (SAME_HOST,), deflate=settings.deflate)
        limit = settings.max_connections or _file_limit()
        self._upgrades = [
            Upgrade(node.front, surface, policy, trusted=node.trusted, limit=limit)
            for surface in (Surface.VIEWER, Surface.CONTROL)
        ]
        app = web.Application(client_max_size=settings.max_message_bytes)
        app[NODE] = node
        surfaces = (Surface.VIEWER.value, Surface.CONTROL.value)
        self._upgrade_at = dict(zip(surfaces, self._upgrades, strict=True))
        for path, upgrade in self._upgrade_at.items():
            app.router.add_route("*", path, upgrade.handle)
        app.add_subapp("/api", api_app(node))
        app.router.add_routes(page_routes())
        # TCP keepalive would cost a call per join; the heartbeat finds the dead sooner.
        self._runner = web.AppRunner(
            app, keepalive_timeout=HTTP_IDLE_S, access_log=None, tcp_keepalive=False
        )
        self._sites: list[web.BaseSite] = []

    async def start(self, *, reuse_port: bool = False) -> int:
        """Listen; return the port (useful when 0 was asked for)."""
        settings = self._node.settings
        await self._set_up()
        site = web.TCPSite(
            self._runner,
            settings.host,
            settings.port,
            backlog=settings.backlog,
            reuse_port=reuse_port,
        )
        await site.start()
        self._sites.append(site)
        port: int = self._runner.addresses[0][1]
        return port

    async def start_on(self, listener: socket.socket) -> int:
        """Listen on a socket that was bound before."""
        await self._set_up()
        site = web.SockSite(self._runner, listener, backlog=self._node.settings.backlog)
        await site.start()
        self._sites.append(site)
        port: int = listener.getsockname()[1]
        return port

    async def _set_up(self) -> None:
        """Prepare the server, with the two paths that joins come in by before the router."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "set up above"
        routed = server.request_handler

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            upgrade = self._upgrade_at.get(request.raw_path)
            if upgrade is None:
                return await _sent(request, await routed(request))
            return await upgrade.handle(request)

        server.request_handler = handle

    async def stop_accepting(self) -> None:
        """Take no new connections; the open ones live on."""
        for upgrade in self._upgrades:
            upgrade.open = False
        for site in self._sites:
            await site.stop()
        self._sites.clear()

    async def close(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()


async def _sent(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """Send a response here, where it has a deadline; the server finds nothing left to send."""
    try:
        async with asyncio.timeout(_SEND_S):
            await response.prepare(request)
            await response.write_eof()
    except ConnectionError:
        pass  # its client has gone; raised from here, the server would take it for a fault of ours
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


def _file_limit() -> int:
    """Return how many connections the limit of open files allows, less a reserve."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(10, soft - _RESERVED_FILES)
