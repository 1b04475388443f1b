"""Group commit: at most one batch of a scope is on its way; what arrives meanwhile rides the next.

No timer is involved, so a lone operation is committed at once, and the busier a scope is the more
operations share one script call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from liveroom.core.clock import Clock
from liveroom.errors import OutcomeUnknown, StoreError
from liveroom.store.port import Batch, Committed, Op, Store


__all__ = ["Batcher", "Broadcast", "Done"]

Done = Callable[["bytes | StoreError"], None]
"""Takes the script's reply to one operation, or why there is none."""

log = structlog.get_logger("liveroom.hub")


class _Pending(NamedTuple):
    op: Op
    done: Done
    durable: bool
    repeatable: bool
    deadline: float


class Broadcast(NamedTuple):
    """What a room's beat adds to a batch: ephemeral items and those of them that are kept."""

    ephemeral: bytes
    kept: list[tuple[str, int, list[bytes]]]


class Batcher:
    """The commits of one scope.

    Args:
        scope: room id or internal scope.
        max_ops: most operations per batch: holds the server for a few milliseconds at most.
        patience_s: how long a repeatable operation is tried again when its outcome is unknown.
        on_committed: told of every answered batch.
    """

    def __init__(
        self,
        scope: str,
        store: Store,
        clock: Clock,
        *,
        max_ops: int,
        patience_s: float,
        on_committed: Callable[[Committed], None],
    ) -> None:
        self._scope = scope
        self._store = store
        self._clock = clock
        self._max_ops = max_ops
        self._patience_s = patience_s
        self._on_committed = on_committed
        self._queue: deque[_Pending] = deque()
        self._broadcast: deque[Broadcast] = deque()
        self._wanted = False
        self._task: asyncio.Task[None] | None = None
        self.broadcasting = False

    @property
    def busy(self) -> bool:
        """Whether a batch is on its way or waiting."""
        return self._task is not None

    def submit(
        self, op: Op, done: Done, *, durable: bool = False, repeatable: bool = False
    ) -> None:
        """Queue one operation.

        Args:
            op: the operation.
            done: called once with the reply or the error.
            durable: wait for the configured durability level before answering.
            repeatable: it may be sent again when nobody knows whether it was executed: it has a
                key, or doing it twice does no harm.
        """
        deadline = self._clock.monotonic() + self._patience_s
        self._queue.append(_Pending(op, done, durable, repeatable or bool(op.key), deadline))
        self._wake()

    def request(self, op: Op, *, durable: bool = False) -> asyncio.Future[bytes]:
        """Queue one operation and return a future of its reply (or its StoreError)."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def done(reply: bytes | StoreError) -> None:
            if future.done():
                return
            if isinstance(reply, StoreError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.submit(op, done, durable=durable)
        return future

    def broadcast(self, broadcast: Broadcast) -> None:
        """Send ephemeral items with the next batch."""
        self._broadcast.append(broadcast)
        self._wake()

    def touch(self) -> None:
        """Commit even if there is nothing to do: runs due timers and answers the position."""
        self._wanted = True
        self._wake()

    async def drain(self) -> None:
        """Wait until everything queued was answered."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def _wake(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"commit {self._scope}")

    async def _run(self) -> None:
        try:
            while self._queue or self._broadcast or self._wanted:
                await self._commit_once()
        finally:
            self._task = None

    async def _commit_once(self) -> None:
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_ops))]
        sent = self._broadcast.popleft() if self._broadcast else Broadcast(b"", [])
        self._wanted = False
        self.broadcasting = bool(sent.ephemeral)
        batch = Batch(
            [pending.op for pending in taken],
            sent.ephemeral,
            sent.kept,
            any(pending.durable for pending in taken),
        )
        try:
            committed = await self._store.commit(self._scope, batch)
        except StoreError as exc:
            self._failed(taken, exc)
        else:
            for pending, reply in zip(taken, committed.replies, strict=True):
                _tell(pending, reply)
            self._on_committed(committed)
        finally:
            self.broadcasting = False

    def _failed(self, taken: list[_Pending], error: StoreError) -> None:
        log.warning("commit failed", scope=self._scope, ops=len(taken), error=str(error))
        now = self._clock.monotonic()
        again = []
        for pending in taken:
            unknown = isinstance(error, OutcomeUnknown)
            if unknown and pending.repeatable and now < pending.deadline:
                again.append(pending)
            else:
                _tell(pending, error)
        self._queue.extendleft(reversed(again))


def _tell(pending: _Pending, reply: bytes | StoreError) -> None:
    try:
        pending.done(reply)
    except Exception:
        # One listener must not lose the answers of the others in its batch.
        log.exception("answer not taken", op=pending.op.name)
