"""Where wallets live: in a fixed number of internal scopes (layer 5)."""

from __future__ import annotations

import zlib


__all__ = ["SHARDS", "shard_of"]

SHARDS = 16
"""How many internal scopes hold the wallets. Part of the data: never changed."""


def shard_of(user: str) -> str:
    """Return the internal scope that holds a user's wallet."""
    return f"~w{zlib.crc32(user.encode()) % SHARDS:02d}"
