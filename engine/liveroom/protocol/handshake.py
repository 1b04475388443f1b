"""The WebSocket opening handshake: one HTTP request in, yes or no out (protocol layer).

RFC 6455, 4.2, and the negotiation of RFC 7692, 7.1. The HTTP server has parsed the request and
routed its path; here the rest is judged, stricter than HTTP servers do: nothing that may come
once is taken twice, nothing with a body becomes a socket, no page of a foreign origin gets in.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from liveroom.errors import ConfigError, LiveroomError


__all__ = [
    "ANY_ORIGIN",
    "JSON",
    "MSGPACK",
    "SAME_HOST",
    "Accepted",
    "HandshakePolicy",
    "HandshakeRefused",
    "RawHeaders",
    "accept_handshake",
    "accept_key",
]

JSON = "liveroom.v1.json"
MSGPACK = "liveroom.v1.msgpack"

ANY_ORIGIN = "*"
SAME_HOST = "same-host"
"""In a list of origins: every page whose host and port are those of the request's Host."""

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Header fields as they came, in order, repeated ones repeated."""

_Fields = dict[bytes, list[str]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_VERSION = "13"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[^/\s,@?#:][^/\s,@?#]*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,@?#A-Z]+")

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token of RFC 9110, 5.6.2, no secret
_IS_TOKEN = re.compile(_TOKEN)
# The value of a parameter: a token, or a quoted string that holds one (RFC 6455, 9.1).
_PARAMETER = re.compile(rf'({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|"({_TOKEN})"))?')

_DEFLATE = "permessage-deflate"
_DEFLATE_ANSWER = f"{_DEFLATE}; server_no_context_takeover; client_no_context_takeover"
_SERVER_BITS = "server_max_window_bits"
_CLIENT_BITS = "client_max_window_bits"
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOW_BITS = frozenset(str(bits) for bits in range(8, 16))

_Parameters = list[tuple[str, str | None]]


class HandshakeRefused(LiveroomError):
    """The request does not become a WebSocket; answer it as plain HTTP and close.

    Args:
        status: the HTTP status.
        reason: what was expected and what came, for people.
        headers: fields that the answer must carry.
    """

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


@dataclass(frozen=True, slots=True)
class HandshakePolicy:
    """What the operator decides.

    Args:
        origins: allowed origins, each as browsers send it (`https://shop.example`), or `*`,
            `null`, `same-host`. Compared whole, never by parts.
        origin_required: refuse a request without Origin, which is one that no browser sent.
        deflate: take permessage-deflate when the client offers it.
    """

    origins: tuple[str, ...] = (SAME_HOST,)
    origin_required: bool = False
    deflate: bool = True

    def __post_init__(self) -> None:
        for origin in self.origins:
            if origin not in (ANY_ORIGIN, SAME_HOST, "null") and not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    "origins", "lower-case scheme://host[:port], *, null or same-host", origin
                )


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that becomes a WebSocket.

    Args:
        response: the whole `101 Switching Protocols` response, ready to write.
        subprotocol: the one that is spoken; `liveroom.v1.json` too when none was offered.
        deflate: permessage-deflate is on, without context takeover on either side.
    """

    response: bytes
    subprotocol: str
    deflate: bool


def accept_handshake(
    method: str, version: tuple[int, int], headers: RawHeaders, policy: HandshakePolicy
) -> Accepted:
    """Judge one upgrade request (RFC 6455, 4.2.1) and answer it (4.2.2).

    Raises:
        HandshakeRefused: 400, 403 (origin), 405 (method) or 426 (WebSocket version).
    """
    fields = _fields(headers)
    _check_request(method, version, fields)
    _check_upgrade(fields)
    key = _key(fields)
    _check_origin(fields, policy)
    offered = _subprotocol(fields)
    extension = None
    if policy.deflate:
        extension = _negotiate_deflate(_joined(fields, b"sec-websocket-extensions"))
    return Accepted(_response(key, offered, extension), offered or JSON, extension is not None)


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _fields(headers: RawHeaders) -> _Fields:
    fields: _Fields = {}
    for name, value in headers:
        # latin-1 reads every byte: what is not ASCII fails at the rule of its field.
        fields.setdefault(name.lower(), []).append(value.decode("latin-1").strip(" \t"))
    return fields


def _joined(fields: _Fields, name: bytes) -> str:
    """Fields that may be repeated mean one list (RFC 9110, 5.3)."""
    return ",".join(fields.get(name, ()))


def _only(fields: _Fields, name: bytes) -> str | None:
    values = fields.get(name, ())
    if len(values) > 1:
        raise _bad(f"expected one {name.decode()}, came {len(values)}")
    return values[0] if values else None


def _elements(value: str) -> list[str]:
    """Split a comma-separated list of tokens; empty elements do not count (RFC 9110, 5.6.1)."""
    return [element for part in value.split(",") if (element := part.strip(" \t"))]


def _bad(reason: str) -> HandshakeRefused:
    return HandshakeRefused(400, reason)


def _check_request(method: str, version: tuple[int, int], fields: _Fields) -> None:
    if method != "GET":
        raise HandshakeRefused(405, f"expected GET, came {method}", ("Allow", "GET"))
    if version < (1, 1):
        raise _bad("expected HTTP/1.1 or later, came {}.{}".format(*version))
    if not _HOST.fullmatch(_only(fields, b"host") or ""):
        raise _bad("expected one Host, a name and perhaps a port")
    # A body would be read as frames, or by a proxy as the next request.
    if b"transfer-encoding" in fields or set(fields.get(b"content-length", ())) - {"0"}:
        raise _bad("expected no body")


def _check_upgrade(fields: _Fields) -> None:
    for name, token in ((b"upgrade", "websocket"), (b"connection", "upgrade")):
        if token not in _elements(_joined(fields, name).lower()):
            raise _bad(f"expected {token} in {name.decode().capitalize()}")
    came = _only(fields, b"sec-websocket-version")
    if came != _VERSION:
        raise HandshakeRefused(
            426,
            f"expected WebSocket version {_VERSION}, came {came or 'none'}",
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade, close"),
            ("Sec-WebSocket-Version", _VERSION),
        )


def _key(fields: _Fields) -> str:
    key = _only(fields, b"sec-websocket-key")
    if key is None or not _KEY.fullmatch(key):
        raise _bad("expected a Sec-WebSocket-Key of 16 bytes in base64")
    return key


def _check_origin(fields: _Fields, policy: HandshakePolicy) -> None:
    origin = _only(fields, b"origin")
    if origin is None:
        if policy.origin_required:
            raise HandshakeRefused(403, "expected an Origin")
        return
    if ANY_ORIGIN in policy.origins or (origin in policy.origins and origin != SAME_HOST):
        return
    if SAME_HOST not in policy.origins or not _is_same_host(origin, fields[b"host"][0]):
        raise HandshakeRefused(403, "expected an allowed Origin")


def _is_same_host(origin: str, host: str) -> bool:
    """Compare host and port; the scheme only gives the default port (a proxy may hold the TLS)."""
    if not _ORIGIN.fullmatch(origin):
        return False
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS[page.scheme]
        return _address(page, default) == _address(here, default)
    except (KeyError, ValueError):  # another scheme, or not a host and port
        return False


def _address(parts: SplitResult, default_port: int) -> tuple[str, int]:
    return parts.hostname or "", parts.port or default_port


def _subprotocol(fields: _Fields) -> str | None:
    """Choose in the client's order; None if the client offers nothing."""
    offered = _elements(_joined(fields, b"sec-websocket-protocol"))
    if not all(_IS_TOKEN.fullmatch(name) for name in offered):
        raise _bad("expected tokens in Sec-WebSocket-Protocol")
    for name in offered:
        if name in (JSON, MSGPACK):
            return name
    if offered:
        raise _bad(f"expected the subprotocol {JSON} or {MSGPACK}")
    return None


@lru_cache(maxsize=64)
def _negotiate_deflate(value: str) -> str | None:
    """Answer the first offer of permessage-deflate that can be kept (RFC 7692, 5.1 and 7.1).

    What does not follow the grammar is no offer at all: declining is always safe. The answer is
    kept: there are as many offers as kinds of browsers.
    """
    for name, parameters in _parse_extensions(value):
        if name == _DEFLATE and _is_acceptable(parameters):
            # An offered server_max_window_bits is accepted by naming it (7.1.2.1).
            bits = f"; {_SERVER_BITS}=15" if (_SERVER_BITS, "15") in parameters else ""
            return _DEFLATE_ANSWER + bits
    return None


def _is_acceptable(parameters: _Parameters) -> bool:
    names = {name for name, _ in parameters}
    return len(names) == len(parameters) and all(_is_kept(*pair) for pair in parameters)


def _is_kept(name: str, value: str | None) -> bool:
    if name in _FLAGS:
        return value is None
    if name == _CLIENT_BITS:
        return value is None or value in _WINDOW_BITS
    # One frame serves every client, so no client can have a smaller window than the others.
    return name == _SERVER_BITS and value == "15"


def _parse_extensions(value: str) -> list[tuple[str, _Parameters]]:
    """Parse Sec-WebSocket-Extensions (RFC 6455, 9.1); empty if any of it is malformed."""
    extensions: list[tuple[str, _Parameters]] = []
    # No token and no quoted token holds a comma or a semicolon, so splitting comes first.
    for element in _elements(value):
        pairs = [_parameter(part) for part in element.split(";")]
        valid = [pair for pair in pairs if pair is not None]
        if len(valid) < len(pairs) or valid[0][1] is not None:
            return []
        extensions.append((valid[0][0], valid[1:]))
    return extensions


def _parameter(text: str) -> tuple[str, str | None] | None:
    match = _PARAMETER.fullmatch(text.strip(" \t"))
    return None if match is None else (match[1], match[2] or match[3])


def _response(key: str, subprotocol: str | None, extension: str | None) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if extension is not None:
        lines.append(f"Sec-WebSocket-Extensions: {extension}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
