"""Reading the script's replies (layer 4)."""

from __future__ import annotations

import orjson
import structlog

from liveroom.errors import CommandError


__all__ = ["refusal"]

log = structlog.get_logger("liveroom.store")


def refusal(reply: bytes) -> CommandError:
    """Return the error that a script's refusal ("-" and JSON) or fault ("!" and text) stands for."""
    if reply[:1] != b"-":
        log.error("fault in a script handler", text=reply[1:].decode(errors="replace"))
        return CommandError("internal")
    err = orjson.loads(reply[1:])
    code, detail = err.pop("code"), err.pop("msg", "")
    return CommandError(code, detail, retry_ms=err.pop("retry_ms", None), **err)
