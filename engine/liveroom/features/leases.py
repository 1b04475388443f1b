"""Leases: of all workers, one does a job in its turn (layer 5).

A lease is not renewed and not given back: it lasts until the job is due again, so that the job is
done once in that time, by whichever worker asks first; one that dies is missed for one turn.
"""

from __future__ import annotations

import orjson

from liveroom.errors import StoreError
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Engine
from liveroom.plugin.spec import Plugin
from liveroom.store.port import Op


__all__ = ["Leases", "take_lease"]


class Leases(Plugin):
    """Gives the script its handler."""

    name = "leases"
    lua = lua_of("leases")


async def take_lease(engine: Engine, scope: str, name: str, seconds: float) -> bool:
    """Ask for a turn by the store's clock; tell whether it is this worker's. Raises StoreError."""
    body = {"name": name, "worker": engine.worker, "ms": round(seconds * 1000)}
    committed = await engine.commit(scope, [Op("lease.take", "", body)])
    if committed.replies[0][:1] != b"+":
        raise StoreError(committed.replies[0].decode(errors="replace"))
    mine: bool = orjson.loads(committed.replies[0][1:])["mine"]
    return mine
