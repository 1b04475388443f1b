"""Reading the script's replies (layer 4)."""

from __future__ import annotations

import orjson
import structlog

from liveroom.core.position import Position
from liveroom.errors import CommandError, StoreError
from liveroom.store.port import Committed, History, LogEntry


__all__ = ["history", "refusal"]

log = structlog.get_logger("liveroom.store")


def refusal(reply: bytes) -> CommandError:
    """Return the error that a script's refusal ("-" and JSON) or fault ("!" and text) stands for."""
    if reply[:1] != b"-":
        log.error("fault in a script handler", text=reply[1:].decode(errors="replace"))
        return CommandError("internal")
    err = orjson.loads(reply[1:])
    code, detail = err.pop("code"), err.pop("msg", "")
    return CommandError(code, detail, retry_ms=err.pop("retry_ms", None), **err)


def history(committed: Committed) -> History:
    """Return what `sys.history`, alone in its batch, answered. Raises StoreError."""
    (reply,) = committed.replies
    if reply[:1] != b"+":
        raise StoreError(reply.decode(errors="replace"))
    # An item whose text a handler has cut in the middle of a character is not to hide the others.
    answer = orjson.loads(reply[1:].decode(errors="replace"))
    end = Position(answer["epoch"], answer["seq"], answer["sub"])
    entries = [_entry(end.epoch, *row) for row in answer.get("entries", ())]
    return History(end, answer["dropped"], entries)


def _entry(epoch: str, stream_id: str, item: str, user: str | None = None) -> LogEntry:
    place = Position.parse(epoch, stream_id)
    return LogEntry(place.seq, place.sub, user, item.encode())
