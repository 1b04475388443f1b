"""What a plugin's REST route is told of a request (layer 4)."""

from __future__ import annotations

from aiohttp import web

from liveroom.auth.claims import Claims


__all__ = ["CLAIMS"]

CLAIMS = web.RequestKey("claims", Claims)
"""Who sent a request that has passed the guard: `request[CLAIMS]`."""
