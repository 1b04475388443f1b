"""An engine of its own for a rehearsal: embedded store, workers, nothing that outlives it (layer 9)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from tempfile import TemporaryDirectory

from liveroom.children import WorkerFailed, WorkerSlot
from liveroom.config import Settings
from liveroom.handover import STATUS_FAILED, Order
from liveroom.rehearsal.wire import Address
from liveroom.store.embedded import EmbeddedServer
from liveroom.supervisor import reserve_port


__all__ = ["stage"]

_READY_EVERY_S = 0.05
_READY_S = 30.0
_LEAVE_S = 8.0
_DRAIN_S = 0.5


@contextlib.asynccontextmanager
async def stage(settings: Settings, workers: int) -> AsyncIterator[tuple[Address, str]]:
    """Run workers on a store of their own; yield where they listen and the secret of tokens.

    Raises:
        ConfigError: a setting cannot be used.
        StoreError: the store does not start.
        WorkerFailed: a worker does not start.
    """
    secret = secrets.token_hex(24)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(reserve_port("127.0.0.1", 0))
        port = listener.getsockname()[1]
        run_dir = stack.enter_context(TemporaryDirectory(prefix="liveroom-run-"))
        store = stack.enter_context(EmbeddedServer(None))
        made = _for_crowds(settings, secret, port, workers)
        orders = [
            Order(settings=made, redis_url=store.url, index=index, run_dir=run_dir)
            for index in range(workers)
        ]
        async with _running([WorkerSlot(order) for order in orders]):
            yield Address("127.0.0.1", port, secure=False), secret


def _for_crowds(settings: Settings, secret: str, port: int, workers: int) -> Settings:
    """Let everyone come from one address, with demo money in the wallet."""
    return replace(
        settings,
        host="127.0.0.1",
        port=port,
        workers=workers,
        redis="embedded",
        dev=True,
        jwt_secret=secret,
        jwt_public_key="",
        jwt_jwks_url="",
        jwt_issuer="",
        jwt_audience="",
        webhook_url="",
        max_per_ip=0,
        handshakes_per_s=0.0,
        drain_s=_DRAIN_S,
    )


@contextlib.asynccontextmanager
async def _running(slots: list[WorkerSlot]) -> AsyncIterator[None]:
    lives = [asyncio.create_task(slot.live(), name=f"worker {slot.index}") for slot in slots]
    try:
        await _ready(slots, lives)
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for slot in slots:
                slot.signal(number)
            _, late = await asyncio.wait(lives, timeout=_LEAVE_S)
            if not late:
                break


async def _ready(slots: list[WorkerSlot], lives: list[asyncio.Task[int]]) -> None:
    """Wait until every worker serves. Raises WorkerFailed."""
    deadline = asyncio.get_running_loop().time() + _READY_S
    while not all([(await slot.report())["ready"] for slot in slots]):
        for slot, life in zip(slots, lives, strict=True):
            if life.done():
                raise WorkerFailed(life.result() or STATUS_FAILED, slot.last_words(life.result()))
        if asyncio.get_running_loop().time() > deadline:
            raise WorkerFailed(STATUS_FAILED, f"the workers were not ready in {_READY_S:.0f} s")
        await asyncio.sleep(_READY_EVERY_S)
