"""An issuer's keys from its JWK set by URL (layer: leaf, above keys).

The set is fetched by one request at a time, however many viewers wait for it. A key id that
nobody knows may cause one more fetch per minute, so a storm of made-up ids is refused from
memory. A set that was had once is served until a newer one arrives: the origin may be down.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import aiohttp
from joserfc.jwk import Key

from liveroom.auth.keys import Algorithm, KeysUnavailable, jwk_key
from liveroom.errors import ConfigError


__all__ = ["JwksKeys"]

MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 32
TIMEOUT_S: Final = 3.0
REFETCH_S: Final = 60.0
FIRST_RETRY_S: Final = 5.0  # while there is nothing to serve
MAX_AGE_S: Final = 600.0

_log = logging.getLogger(__name__)


class JwksKeys:
    """The signing keys behind a JWKS URL (RFC 7517), a `KeySource`.

    Call it from the thread of the running loop, and `close` it before the loop ends.

    Args:
        url: https, or http on a loopback host. Redirects are not followed.
        algorithm: RS256, ES256 or EdDSA; keys of other kinds in the set are ignored.
        clock: monotonic seconds.

    Raises:
        ConfigError: the URL or the algorithm cannot be used.
    """

    def __init__(
        self,
        url: str,
        algorithm: Algorithm,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_url(url)
        if algorithm == "HS256":
            raise ConfigError("auth.jwks_url", "RS256, ES256 or EdDSA", algorithm)
        self.algorithm: Algorithm = algorithm
        self._url = url
        self._clock = clock
        self._keys: tuple[Key, ...] | None = None
        self._by_kid: dict[str | None, list[Key]] = {}
        self._fetched_at = 0.0
        self._tried_at: float | None = None
        self._failed = False
        self._flight: asyncio.Task[None] | None = None

    def lookup(self, kid: str | None) -> Sequence[Key] | None:
        """Return the keys that may have signed; None when `refresh` may find some.

        Raises:
            KeysUnavailable: the last fetch failed and the next is not due yet.
        """
        found = (self._keys or ()) if kid is None else self._by_kid.get(kid, ())
        if found:
            self._renew_when_old()
            return found
        if self._flight is not None or self._due_in() <= 0:
            return None
        if self._failed:
            raise KeysUnavailable(int(self._due_in() * 1000))
        return ()

    async def refresh(self) -> None:
        """Fetch the set if that is due, or wait for the fetch that runs."""
        if self._flight is None and self._due_in() <= 0:
            self._start()
        if self._flight is not None:
            await asyncio.wait([self._flight])  # a waiter that gives up does not stop it

    async def close(self) -> None:
        """Give up a fetch that runs."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _due_in(self) -> float:
        """Return in how many seconds the next fetch may start; 0 or less is now."""
        if self._tried_at is None:
            return 0.0
        pause = FIRST_RETRY_S if self._keys is None else REFETCH_S
        return self._tried_at + pause - self._clock()

    def _renew_when_old(self) -> None:
        old = self._clock() - self._fetched_at >= MAX_AGE_S
        if old and self._flight is None and self._due_in() <= 0:
            self._start()

    def _start(self) -> None:
        self._tried_at = self._clock()
        self._flight = asyncio.get_running_loop().create_task(self._fetch())
        self._flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flight = None

    async def _fetch(self) -> None:
        self._failed = True
        try:
            self._keep(_parse(await _download(self._url), self.algorithm))
        # Whatever the origin sends or does not send, the keys at hand go on serving.
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            host = urlsplit(self._url).hostname
            _log.warning("JWKS of %s not fetched: %s", host, type(error).__name__)

    def _keep(self, keys: Sequence[Key]) -> None:
        self._failed = False
        self._keys = tuple(keys)
        self._fetched_at = self._clock()
        self._by_kid = {}
        for key in keys:
            self._by_kid.setdefault(key.kid, []).append(key)


async def _download(url: str) -> bytes:
    """Return the body: at most `MAX_BYTES`, not compressed, from this very URL."""
    session = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    async with session, session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"expected status 200, came {response.status}")
        return await _read_capped(response.content)


async def _read_capped(stream: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in stream.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ValueError(f"expected at most {MAX_BYTES} bytes, came more")
    return bytes(body)


def _parse(body: bytes, algorithm: Algorithm) -> list[Key]:
    """Return the set's keys for this algorithm; a well-formed set may hold none."""
    document: Any = json.loads(body)
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError("expected an object with a list of keys")  # noqa: TRY004 (bad data)
    keys = (jwk_key(member, algorithm) for member in members[:MAX_KEYS])
    return [key for key in keys if key is not None]


def _check_url(url: str) -> None:
    expected = "an https URL without user or password (http on a loopback host)"
    try:
        parts = urlsplit(url)
        usable = _is_safe(parts)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("auth.jwks_url", expected, url.partition("?")[0].rpartition("@")[2])


def _is_safe(parts: SplitResult) -> bool:
    host = parts.hostname
    if not host or parts.username is not None or parts.password is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
