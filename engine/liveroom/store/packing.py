"""What goes to the script and what comes of it, packed and unpacked (layer 4)."""

from __future__ import annotations

from typing import Any

import msgpack

from liveroom.core.position import Position
from liveroom.store.port import Batch, LogEntry, Op, Publication, StateItem


__all__ = ["entry_of", "pack_kept", "publication_of", "request_of"]


def request_of(op: Op) -> dict[str, Any]:
    """Return an operation as the script reads it (see prelude.lua)."""
    wire: dict[str, Any] = {"n": op.name, "u": op.user, "d": op.body}
    if op.key:
        wire["k"], wire["h"] = op.key, op.digest
    if op.audit:
        wire["a"] = op.audit
    return wire


def pack_kept(batch: Batch) -> bytes:
    """Return what late joiners are to be given, as the script reads it."""
    if not batch.kept:
        return b""
    groups = [[name, limit, *items] for name, limit, items in batch.kept]
    packed: bytes = msgpack.packb(groups, use_bin_type=False)  # the script's reader knows no bin
    return packed


def entry_of(item_id: bytes, flat: list[bytes]) -> LogEntry:
    """Return an entry of the log, given its stream id and its fields."""
    seq, _, sub = item_id.partition(b"-")
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    user = fields.get(b"u")
    return LogEntry(int(seq), int(sub), user.decode() if user else None, fields[b"e"])


def publication_of(scope: str, payload: bytes) -> Publication:
    """Return what the script published."""
    epoch, seq0, sub0, seq, sub, now, worker, durables, states, ephemeral, changes = (
        msgpack.unpackb(payload, raw=True)
    )
    name = epoch.decode()
    return Publication(
        scope,
        Position(name, seq0, sub0),
        Position(name, seq, sub),
        int(now),
        worker.decode(),
        [
            LogEntry(
                durables[i], durables[i + 1], durables[i + 2].decode() or None, durables[i + 3]
            )
            for i in range(0, len(durables), 4)
        ],
        [
            StateItem(states[i].decode(), states[i + 1], states[i + 2])
            for i in range(0, len(states), 3)
        ],
        ephemeral,
        changes,
    )
