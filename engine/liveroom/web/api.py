"""The HTTP API of commerce back ends and operators (layer 8).

Every command that is open to the service surface can be sent as
`POST /api/rooms/{room}/commands` with the same body as on the socket; the answer is the reply item.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from liveroom.node import Node


__all__ = ["api_routes"]


def api_routes(node: Node) -> Iterable[web.AbstractRouteDef]:
    """Return the routes under /api."""
    return []
