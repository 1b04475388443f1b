"""The first page at `/` and its static files (layer 8)."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from liveroom.node import Node


__all__ = ["page_routes"]


def page_routes(node: Node) -> Iterable[web.AbstractRouteDef]:
    """Return the routes of the page."""
    return []
