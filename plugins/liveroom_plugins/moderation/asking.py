"""Operations whose answer this plugin wants itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

import orjson
import structlog

from liveroom import CommandError, Op, RoomHandle, StoreError


__all__ = ["Errands", "ask", "closed"]

log = structlog.get_logger("liveroom.moderation")


async def ask(room: RoomHandle, op: Op, within_s: float = 0.0) -> dict[str, Any]:
    """Return the script's answer. Raises StoreError, CommandError."""
    reply = await room.submit(op, within_s=within_s)
    if reply[:1] == b"-":
        refusal = orjson.loads(reply[1:])
        raise CommandError(refusal["code"], refusal["msg"])
    if reply[:1] != b"+":
        raise StoreError(reply.decode(errors="replace"))
    answer: dict[str, Any] = orjson.loads(reply[1:])
    return answer


async def closed(work: Awaitable[None]) -> None:
    """Refuse what cannot be judged: an inspector's fault would let it pass."""
    try:
        await work
    except StoreError as exc:
        raise CommandError("unavailable", retry_ms=500) from exc


class Errands:
    """Work that nobody waits for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have it done; what it raises is logged."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def stop(self) -> None:
        """Leave undone what is not done."""
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("not done now", error=str(task.exception()))
