"""One attempt at one webhook, and whether it makes sense to go on (layer 5).

Whatever the receiver does (hangs, resets, sends junk or without end), an attempt ends within its
deadline with an outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import aiohttp
import structlog

from liveroom.config import Settings
from liveroom.core.clock import Clock
from liveroom.errors import ConfigError
from liveroom.features.webhooks.message import Signer


__all__ = ["Breaker", "Outcome", "Sender"]

MAX_RESPONSE = 65_536
"""Bytes of an answer that are read so that its connection can be used again."""
MAX_RETRY_AFTER_S = 3600
LONGEST_TIMEOUT_S = 120
_FINISH_S = 1.0

log = structlog.get_logger("liveroom.webhooks")


class Outcome(NamedTuple):
    """How an attempt ended.

    Args:
        ok: the receiver took it.
        reason: one of a few words, for the metric.
        why: for people.
        gone: the receiver wants no more of it.
        after_ms: the receiver asked for a pause of this length.
    """

    ok: bool
    reason: str = ""
    why: str = ""
    gone: bool = False
    after_ms: int = 0


class Sender:
    """Posts to the receiver.

    Args:
        settings: `webhook_url`, `webhook_secret`, `webhook_timeout_s`.

    Raises:
        ConfigError: the URL or the secret cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.webhook_url
        self._signer = Signer.parse(settings.webhook_secret)
        self.host = _host(self._url)
        self.timeout_s = settings.webhook_timeout_s
        if not 0 < self.timeout_s <= LONGEST_TIMEOUT_S:
            expected = f"more than 0, at most {LONGEST_TIMEOUT_S}"
            raise ConfigError("webhook_timeout_s", expected, self.timeout_s)
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Make the connection pool, inside the running loop."""
        from liveroom import __version__

        self._session = aiohttp.ClientSession(
            # The deadline is the attempt's own: a pool that is full must not use it up. Idle
            # connections go before a receiver closes them (some after 5 s): a POST that meets
            # its end is a failed attempt.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2.0),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={
                "User-Agent": f"liveroom/{__version__}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    async def close(self) -> None:
        """Let go of every connection."""
        if self._session is not None:
            await self._session.close()

    async def send(self, message: str, timestamp: int, body: bytes) -> Outcome:
        """Make one attempt; never raises for what the receiver does."""
        assert self._session is not None, "open before send"
        headers = self._signer.headers(message, timestamp, body)
        try:
            async with asyncio.timeout(self.timeout_s):
                response = await self._session.post(
                    self._url, data=body, headers=headers, allow_redirects=False
                )
        except TimeoutError:
            return Outcome(False, "timeout", f"no answer within {self.timeout_s:g} s")
        except (aiohttp.ClientConnectionError, OSError) as exc:
            return Outcome(False, "connection", type(exc).__name__)
        except Exception as exc:  # noqa: BLE001  # whatever an answer makes the client raise
            return Outcome(False, "answer", type(exc).__name__)
        await _finish(response)
        return _judge(response)


def _judge(response: aiohttp.ClientResponse) -> Outcome:
    status = response.status
    if 200 <= status < 300:
        return Outcome(True)
    why = f"status {status}"
    return Outcome(
        False, f"status_{status // 100}xx", why, gone=status == 410, after_ms=_pause(response)
    )


def _pause(response: aiohttp.ClientResponse) -> int:
    """Return what `Retry-After` asks for, in ms; its dates are not read."""
    asked = response.headers.get("Retry-After", "")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 9):
        return 0
    return min(int(asked), MAX_RETRY_AFTER_S) * 1000


async def _finish(response: aiohttp.ClientResponse) -> None:
    """Read a short answer to its end, so that its connection lives on; cut a long or slow one.

    The status has decided: what comes, or does not come, after it changes nothing.
    """
    left = MAX_RESPONSE
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
        async with asyncio.timeout(_FINISH_S):
            async for chunk in response.content.iter_any():
                left -= len(chunk)
                if left < 0:
                    break
    response.close()  # does nothing to one that was read to its end


def _host(url: str) -> str:
    """Return a URL's host for the log. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        if _usable(parts):
            return parts.netloc
    except ValueError:  # a port that is none, a bracket that is not closed
        pass
    came = url.partition("?")[0].rpartition("@")[2]  # no password, no token
    raise ConfigError("webhook_url", "an http or https URL without user or password", came)


def _usable(parts: SplitResult) -> bool:
    known = parts.scheme in {"http", "https"} and bool(parts.hostname)
    return known and parts.username is None and parts.password is None and parts.port != 0


class Breaker:
    """Stops trying while the receiver takes nothing, so that not every webhook uses up its attempts.

    After `PATIENCE` failures in a row there is a pause, then single attempts with growing pauses
    between them until one succeeds.
    """

    PATIENCE = 10
    FIRST_S, LONGEST_S = 0.5, 60.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._pause_s = 0.0
        self._until = 0.0

    def allowance(self, most: int) -> int:
        """Return how many attempts may be begun now: all, one, or none."""
        if self._failures < self.PATIENCE:
            return most
        return 0 if self.wait_s > 0 else 1

    @property
    def wait_s(self) -> float:
        """For how long nothing may be begun."""
        return max(0.0, self._until - self._clock.monotonic())

    def took(self, *, ok: bool) -> None:
        """Take note of how an attempt ended."""
        if ok:
            if self._failures >= self.PATIENCE:
                log.info("the receiver of webhooks is back")
            self._failures, self._pause_s = 0, 0.0
            return
        self._failures += 1
        if self._failures >= self.PATIENCE and self.wait_s <= 0:
            self._pause_s = min(self.LONGEST_S, self._pause_s * 2 or self.FIRST_S)
            self._until = self._clock.monotonic() + self._pause_s
            log.warning("the receiver of webhooks fails", pause_s=self._pause_s)
