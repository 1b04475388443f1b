"""The first page at `/` and its static files (layer 8).

Plain files without a build step, read once at start. The policy allows no inline script or style,
so what viewers write stays text even if the page had a mistake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import resources

from aiohttp import ETag, web
from aiohttp.typedefs import Handler

from liveroom.node import Node


__all__ = ["HEADERS", "page_routes"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, but asked about each time: the ETag answers
}
"""Sent with every file of the page."""

_FILES = {
    "/": ("index.html", "text/html"),
    "/static/app.js": ("app.js", "text/javascript"),
    "/static/style.css": ("style.css", "text/css"),
}


def page_routes(node: Node) -> Iterable[web.AbstractRouteDef]:
    """Return the routes of the page."""
    return [web.get(path, _serve(*file)) for path, file in _FILES.items()]


def _serve(name: str, content_type: str) -> Handler:
    body = (resources.files("liveroom.web") / "static" / name).read_bytes()
    tag = hashlib.blake2b(body, digest_size=12).hexdigest()

    async def serve(request: web.Request) -> web.StreamResponse:
        known = _is_known(request.if_none_match, tag)
        response = web.Response(status=304) if known else web.Response(body=body)
        if not known:
            response.content_type, response.charset = content_type, "utf-8"
        response.headers.update(HEADERS)
        response.etag = tag
        return response

    return serve


def _is_known(tags: tuple[ETag, ...] | None, tag: str) -> bool:
    return any(known.value in (tag, "*") for known in tags or ())
