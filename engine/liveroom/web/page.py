"""The pages and the SDK that the wheel ships, built from clients/ (layer 8).

Files are read and packed once per process. Hashed ones are kept by browsers for good, the others
asked about each time. The policy allows no inline script or style and no way from a string to
markup, so what viewers write stays text even if a page had a mistake.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import ETag, web
from aiohttp.typedefs import Handler


__all__ = [
    "HEADERS",
    "HTTP_IDLE_S",
    "StaticFile",
    "ops_page_routes",
    "page_routes",
    "policy",
    "static_files",
]

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with every file, beside the policy."""

HTTP_IDLE_S = 10.0
"""An HTTP connection that sends nothing, or half a request, is closed after this."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{sockets}; "
    "img-src 'self' data: https:; media-src 'self' https: blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?")

_KEPT = "public, max-age=31536000, immutable"
_ASKED = "no-cache"  # kept, but asked about each time: the ETag answers
_HASHED = re.compile(r"-[\w-]{8}\.(?!html)\w+$")
_SMALLEST_PACKED = 512
_TYPES = {".js": "text/javascript", ".md": "text/plain"}
_SDK = "sdk/liveroom.js"


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent."""

    body: bytes
    packed: bytes | None
    """The same by gzip, if that is shorter."""
    tag: str
    content_type: str
    headers: dict[str, str]


def page_routes() -> Iterable[web.AbstractRouteDef]:
    """Return the routes of the viewer page, the host console and the SDK."""
    files = static_files()
    for path, name in (("/", "viewer.html"), ("/host", "host.html"), (f"/{_SDK}", _SDK)):
        yield web.get(path, _serve(files[name]))
    yield from _assets()


def ops_page_routes() -> Iterable[web.AbstractRouteDef]:
    """Return the routes of the operations page, for the ops listener."""
    yield web.get("/", _serve(static_files()["ops.html"]))
    yield from _assets()


def _assets() -> Iterator[web.AbstractRouteDef]:
    for name, file in static_files().items():
        if "/" not in name and not name.endswith(".html"):
            yield web.get(f"/static/{name}", _serve(file))


@cache
def static_files() -> dict[str, StaticFile]:
    """Return everything that is shipped, by its path in the folder."""
    return dict(sorted(_read(resources.files("liveroom.web") / "static", "")))


def _read(folder: Traversable, prefix: str) -> Iterator[tuple[str, StaticFile]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _read(entry, f"{name}/")
        else:
            yield name, _file(name, entry.read_bytes())


def _file(name: str, body: bytes) -> StaticFile:
    suffix = name[name.rfind(".") :]
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = gzip.compress(body, 9, mtime=0) if len(body) >= _SMALLEST_PACKED else body
    headers = {"Cache-Control": _KEPT if _HASHED.search(name) else _ASKED}
    if name == _SDK:  # any page may import it
        headers["Access-Control-Allow-Origin"] = "*"
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return StaticFile(
        body=body,
        packed=packed if len(packed) < len(body) else None,
        tag=hashlib.blake2b(body, digest_size=12).hexdigest(),
        content_type=kind,
        headers=HEADERS | headers,
    )


def policy(host: str) -> str:
    """Return the content security policy for a page of this host.

    Older Safaris do not count the WebSockets of the page's own host as its own: they are named.
    """
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return _POLICY.format(sockets=sockets)


def _serve(file: StaticFile) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        packed = file.packed if _takes_gzip(request) else None
        tag = file.tag if packed is None else f"{file.tag}-gz"
        response = web.Response()
        if _is_known(request.if_none_match, file.tag):
            response.set_status(304)
        else:
            response.body = file.body if packed is None else packed
            response.content_type = file.content_type
            if file.content_type.startswith("text/"):
                response.charset = "utf-8"
            if packed is not None:
                response.headers["Content-Encoding"] = "gzip"
        response.headers.update(file.headers)
        response.headers["Content-Security-Policy"] = policy(request.host)
        if file.packed is not None:
            response.headers["Vary"] = "Accept-Encoding"
        response.etag = tag
        return response

    return serve


def _takes_gzip(request: web.Request) -> bool:
    """Whether the client accepts gzip."""
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return not re.fullmatch(r"q=0(\.0*)?", weight.strip())
    return False


def _is_known(tags: tuple[ETag, ...] | None, tag: str) -> bool:
    return any(known.value in (tag, f"{tag}-gz", "*") for known in tags or ())
