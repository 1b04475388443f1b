"""What `[plugin.archive]` may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from liveroom import ConfigError, Settings


__all__ = ["Options", "archive_url"]

_QUEUE = 20_000
_KNOWN = frozenset({"url", "queue"})


class Options(NamedTuple):
    """Where the archive is, and how many messages may wait for it."""

    url: str
    queue: int

    @classmethod
    def of(cls, settings: Settings) -> Options:
        """Read and check them. Raises ConfigError."""
        given = settings.plugin.get("archive", {})
        unknown = min(given.keys() - _KNOWN, default=None)
        if unknown is not None:
            raise ConfigError(f"plugin.archive.{unknown}", "url or queue", "an unknown option")
        return cls(archive_url(settings), _whole("queue", given.get("queue", _QUEUE)))


def archive_url(settings: Settings) -> str:
    """Return where the archive is: as told, else a file beside the embedded store's data.

    Raises:
        ConfigError: neither is there.
    """
    url = settings.plugin.get("archive", {}).get("url", "")
    if not isinstance(url, str):
        raise ConfigError("plugin.archive.url", "a URL", type(url).__name__)
    if url:
        return url
    if not settings.data:
        expected = "a URL such as sqlite:///archive.db, or a data directory"
        raise ConfigError("plugin.archive.url", expected, "neither")
    return f"sqlite:///{Path(settings.data).absolute() / 'archive.db'}"


def _whole(name: str, value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ConfigError(f"plugin.archive.{name}", "a whole number of 1 or more", value)
    return int(text)
