"""What the supervisor and its workers agree on: the order, places, exit statuses (layer 9).

The order goes over the worker's standard input, never its arguments or environment: settings hold
secrets. The pipe then stays open: its end tells the worker that the supervisor has gone.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from liveroom.config import Settings
from liveroom.log import names_secret


__all__ = [
    "DEMO_ROOM",
    "DRAIN_SLACK_S",
    "STATUS_CONFIG",
    "STATUS_FAILED",
    "Order",
    "failure_note",
    "ops_socket",
    "secrets_of",
]

DEMO_ROOM = "demo"

_SHORTEST_SECRET = 4  # masking shorter ones would eat ordinary text

STATUS_FAILED = 1
STATUS_CONFIG = 2
"""Exit status of a process whose settings cannot be used."""

DRAIN_SLACK_S = 3.0
"""What a worker has beyond `drain_s` to answer what it took and to disconnect."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker is to do.

    Args:
        settings: with the port that was reserved.
        redis_url: where the store is.
        index: which worker it is, from 0.
        run_dir: the private directory of this engine's sockets.
        demo: open the demo room.
    """

    settings: Settings
    redis_url: str
    index: int
    run_dir: str
    demo: bool = False

    def encode(self) -> bytes:
        """Return the order as one line."""
        return msgspec.json.encode(self) + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Order:
        """Read what `encode` wrote."""
        return msgspec.json.decode(line, type=cls)


def ops_socket(run_dir: str, index: int) -> Path:
    """Return where a worker answers /metrics, /healthz and /readyz: a unix socket."""
    return Path(run_dir) / f"worker-{index}.sock"


def failure_note(run_dir: str, index: int) -> Path:
    """Return where a worker that could not start says why."""
    return Path(run_dir) / f"worker-{index}.failed"


def secrets_of(settings: Settings) -> set[str]:
    """Return the texts among the settings that no log line may hold."""
    found = {*settings.jwt_secret.split(), *settings.webhook_secret.split()}
    urls = [settings.redis]
    for options in settings.plugin.values():
        texts = {name: value for name, value in options.items() if isinstance(value, str)}
        found.update(value for name, value in texts.items() if names_secret(name))
        urls += texts.values()
    for url in urls:
        found |= _passwords(url)
    return {text for text in found if len(text) >= _SHORTEST_SECRET}


def _passwords(url: str) -> set[str]:
    """Return the password of a URL as it is written and as it is meant; nothing for another text."""
    try:
        credentials = urlsplit(url).netloc.rpartition("@")[0]
    except ValueError:
        return set()
    password = credentials.partition(":")[2]
    return {password, unquote(password)}
