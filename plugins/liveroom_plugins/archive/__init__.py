"""The archive: what happened in a room, in SQL, for good (docs/archive.md)."""

from __future__ import annotations

from liveroom_plugins.archive.plugin import Archive


__all__ = ["Archive"]
