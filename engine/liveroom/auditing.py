"""`liveroom audit ROOM`: examines one room from outside and verifies its trail (layer 6).

Speaks to the store by itself, with the script of this engine's plugins: what it finds does not rest
on a worker's word.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from liveroom.auth.claims import valid_room
from liveroom.config import Settings
from liveroom.errors import ConfigError, StoreError
from liveroom.features import builtin_plugins
from liveroom.features.auditor.examiner import Examiner
from liveroom.features.auditor.trail import Chain
from liveroom.log import printable
from liveroom.plugin.manager import PluginManager, load_plugins
from liveroom.plugin.spec import Plugin
from liveroom.store.port import Batch, Committed, Op, Publication
from liveroom.store.redis import RedisStore
from liveroom.store.script import assemble
from liveroom.store.topology import topology_from_url


__all__ = ["Report", "run_audit"]

_PAGE = 200


class Report(Struct, frozen=True, kw_only=True):
    """What was found.

    Args:
        room: the room or internal scope.
        broken: rows of what, key, expected, found; empty if all is sound.
        counted: how many comparisons each check made.
        trail: entries of the trail.
        head: the hash of the last; keep it to prove later that nothing before it was changed.
    """

    room: str
    sound: bool
    broken: list[dict[str, Any]]
    counted: dict[str, int]
    trail: int
    head: str

    def to_json(self) -> str:
        """Return the report as one JSON object."""
        return msgspec.json.encode(self).decode()

    def to_text(self) -> str:
        """Return the report as a table."""
        failed: dict[str, int] = {}
        for row in self.broken:
            failed[row["what"]] = failed.get(row["what"], 0) + 1
        names = sorted(self.counted.keys() | failed.keys())
        width = max((len(name) for name in names), default=5)
        rows = (
            f"{name:<{width}}  {self.counted.get(name, 0):>8}  {failed.get(name, 0):>6}"
            for name in names
        )
        verdict = "sound" if self.sound else f"{len(self.broken)} broken"
        parts = [
            f"{'check':<{width}}  compared  broken",
            *rows,
            *map(_sentence, self.broken),
            f"trail: {self.trail} entries, head {self.head or 'none'}",
            f"{self.room}: {verdict}",
        ]
        return "\n".join(parts)


def _sentence(row: dict[str, Any]) -> str:
    """Return one finding; what was found may be anything, so nothing of it acts on a terminal."""
    key, expected, found = (printable(row.get(name)) for name in ("key", "expected", "found"))
    return f"BROKEN {row['what']} at {key}: expected {expected}, found {found}"


def run_audit(
    settings: Settings, room: str, *, full: bool = False, plugins: Sequence[Plugin] = ()
) -> Report:
    """Examine a room, or an internal scope such as `~w07`.

    Args:
        settings: where the store is, and which plugins its rooms have.
        room: the room's id.
        full: have checks look at everything, however long it takes.
        plugins: further plugins beside the built-in and the configured ones.

    Raises:
        ConfigError: the room's name or the store's address cannot be used.
        StoreError: the store does not answer, or there is no such room.
    """
    if not valid_room(room.removeprefix("~")):
        raise ConfigError("room", "the id of a room", room)
    if settings.redis == "embedded":
        expected = "the URL of the store; of an embedded one unix:// and the path of its store.sock"
        raise ConfigError("redis", expected, settings.redis)
    manager = PluginManager([*builtin_plugins(settings), *load_plugins(settings.plugins), *plugins])
    return asyncio.run(_audit(settings, manager, room, full))


class _Deaf:
    """Takes no notice of the store's channels."""

    def on_publication(self, publication: Publication) -> None:
        """Do nothing."""

    def on_subscribed(self, scope: str) -> None:
        """Do nothing."""


async def _audit(settings: Settings, manager: PluginManager, room: str, full: bool) -> Report:
    store = RedisStore(
        topology_from_url(settings.redis),
        assemble(manager.lua),
        worker=f"audit-{secrets.token_hex(4)}",
        log_max_entries=settings.log_max_entries,
        key_ttl_ms=settings.key_ttl_s * 1000,
        timeout_s=settings.store_timeout_ms / 1000,
        hooks=bool(settings.webhook_url),
    )
    try:
        await store.start(_Deaf())
        return await _examine(store, room, full)
    finally:
        await store.close()


async def _examine(store: RedisStore, room: str, full: bool) -> Report:
    async def commit(scope: str, ops: Sequence[Op]) -> Committed:
        return await store.commit(scope, Batch(ops))

    found = (await Examiner(commit).examine([room], Op("audit.look", "", {"full": full})))[room]
    if not found.exists:
        raise StoreError(f"there is nothing of a room {room} in this store")
    chain = await _follow_trail(store, room)
    broken = [*_without_trail(found.broken), *chain.broken]
    return Report(
        room=room,
        sound=not broken,
        broken=broken,
        counted=found.counted | {"trail.chain": chain.count},
        trail=chain.count,
        head=chain.last,
    )


def _without_trail(broken: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what the script found about the end of the trail: all of it is verified here."""
    return [row for row in broken if not row["what"].startswith("trail.")]


async def _follow_trail(store: RedisStore, room: str) -> Chain:
    """Verify the trail from its first entry to its last."""
    chain = Chain()
    while True:
        op = Op("sys.trail", "", {"after": chain.after, "limit": _PAGE})
        (reply,) = (await store.commit(room, Batch([op]))).replies
        if reply[:1] != b"+":
            raise StoreError(f"the trail of {room} is unreadable: {reply.decode(errors='replace')}")
        answer: dict[str, Any] = orjson.loads(reply[1:])
        entries = answer.get("entries", [])
        chain.take(entries)
        if len(entries) < _PAGE:  # read together with the head: nothing came in between
            chain.end(answer.get("head"))
            return chain
