"""Group commit: one batch of a scope is on its way; what arrives meanwhile rides the next.

No timer is involved, so a lone operation is committed at once, and the busier a scope is the more
operations share one script call. Only when a whole batch has gathered meanwhile is it sent behind the
first: the store begins it as soon as it has answered that one, and both reach the disk together.

What is not urgent (a worker's signs of life, mostly) may say how long it can wait: it rides the next
batch, and begins one only when its time is over. So a room in which little happens is not committed
for each of them.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import structlog

from liveroom.core.clock import Clock
from liveroom.core.lanes import Ephemeral
from liveroom.errors import OutcomeUnknown, StoreError
from liveroom.failpoints import declare, reach
from liveroom.metrics import CommitMetrics
from liveroom.protocol.items import Item
from liveroom.store.port import Batch, Committed, Op, Store


__all__ = ["Batcher", "Broadcast", "Done"]

Done = Callable[["bytes | StoreError"], None]
"""Takes the script's reply to one operation, or why there is none."""

log = structlog.get_logger("liveroom.hub")

_READY = declare("commit.ready", "a batch is taken from the queue, nothing was sent")
_ANSWERED = declare("commit.answered", "the store has answered a batch, nobody was told")


_DEPTH = 2
"""Most batches of a scope on their way; on one connection they stay in order."""

_STEP_S = 0.1
"""What may wait leaves at multiples of this, so that the batches of many rooms share a write."""

_FIRST_REST_S, _LONGEST_REST_S = 0.01, 0.25
"""Before a batch is repeated; doubled each time until one is answered."""


class _Pending(NamedTuple):
    op: Op
    done: Done
    durable: bool
    repeatable: bool
    deadline: float


class Broadcast(NamedTuple):
    """What a room's beat adds to a batch: ephemeral items and those of them that are kept.

    `private` goes nowhere: it is handed back when the batch was answered, which is when the others
    come back too.
    """

    ephemeral: bytes
    kept: list[tuple[str, int, list[bytes]]]
    private: Sequence[Ephemeral[Item]] = ()


class Batcher:
    """The commits of one scope.

    Args:
        scope: room id or internal scope.
        max_ops: most operations per batch: holds the server for a few milliseconds at most.
        patience_s: how long a repeatable operation is tried again when its outcome is unknown.
        on_committed: told of every answered batch.
        on_private: takes back what was private in an answered batch.
        rest: waits so many seconds before a batch is repeated.
    """

    def __init__(
        self,
        scope: str,
        store: Store,
        clock: Clock,
        *,
        metrics: CommitMetrics,
        max_ops: int,
        patience_s: float,
        on_committed: Callable[[Committed], None],
        on_private: Callable[[Sequence[Ephemeral[Item]]], None] = lambda _: None,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._scope = scope
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._max_ops = max_ops
        self._patience_s = patience_s
        self._on_committed = on_committed
        self._on_private = on_private
        self._rest = rest
        self._unknown = 0
        self.answered_at = clock.monotonic()
        self._queue: deque[_Pending] = deque()
        self._patient: list[_Pending] = []
        self._leaves: asyncio.TimerHandle | None = None
        self._broadcast: deque[Broadcast] = deque()
        self._wanted = self._wanted_soon = False
        self._submitted = 0
        self._answered = 0
        self._goals: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._flying: set[asyncio.Task[None] | None] = set()
        self._broadcasts = 0

    @property
    def busy(self) -> bool:
        """Whether a batch is on its way or waiting."""
        return bool(self._flying)

    @property
    def broadcasting(self) -> bool:
        """Whether ephemeral items of this worker are on their way."""
        return self._broadcasts > 0

    def submit(
        self,
        op: Op,
        done: Done,
        *,
        durable: bool = False,
        repeatable: bool = False,
        within_s: float = 0.0,
    ) -> None:
        """Queue one operation.

        Args:
            op: the operation.
            done: called once with the reply or the error.
            durable: wait for the configured durability level before answering.
            repeatable: it may be sent again when nobody knows whether it was executed: it has a
                key, or doing it twice does no harm.
            within_s: how long it may wait for others to ride with; it stays in its place.
        """
        deadline = self._clock.monotonic() + within_s + self._patience_s
        pending = _Pending(op, done, durable, repeatable or bool(op.key), deadline)
        if within_s > 0:
            self._patient.append(pending)
            self._leave_by(within_s)
        else:
            self._hurry()
            self._enqueue(pending)

    def request(
        self, op: Op, *, durable: bool = False, within_s: float = 0.0
    ) -> asyncio.Future[bytes]:
        """Queue one operation and return a future of its reply (or its StoreError)."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def done(reply: bytes | StoreError) -> None:
            if future.done():
                return
            if isinstance(reply, StoreError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.submit(op, done, durable=durable, within_s=within_s)
        return future

    def broadcast(self, broadcast: Broadcast) -> None:
        """Send ephemeral items with the next batch."""
        self._broadcast.append(broadcast)
        self._wake()

    def touch(self, within_s: float = 0.0) -> None:
        """Commit even if there is nothing to do: runs due timers and answers the position."""
        if within_s > 0:
            self._wanted_soon = True
            self._leave_by(within_s)
        else:
            self._wanted = True
            self._wake()

    async def drain(self) -> None:
        """Wait until everything was answered; nothing waits for others to ride with any more."""
        self._hurry()
        while self._flying:
            await asyncio.wait([task for task in self._flying if task is not None])
            self._hurry()  # what came meanwhile

    async def answered(self) -> None:
        """Wait until what was queued up to now was answered, whatever else keeps coming."""
        if self._answered < self._submitted:
            goal_met: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._goals.append((self._submitted, goal_met))
            await goal_met

    def _enqueue(self, *pending: _Pending) -> None:
        self._queue.extend(pending)
        self._submitted += len(pending)
        self._wake()

    def _leave_by(self, within_s: float) -> None:
        """Have those who wait leave in time, unless a batch takes them along before."""
        loop = asyncio.get_running_loop()
        at = math.floor((loop.time() + within_s) / _STEP_S) * _STEP_S
        if self._leaves is not None:
            if self._leaves.when() <= at:
                return
            self._leaves.cancel()
        self._leaves = loop.call_at(at, self._hurry)

    def _hurry(self) -> None:
        """Have what waits for others leave now."""
        if self._leaves is not None:
            self._leaves.cancel()
            self._leaves = None
        if self._wanted_soon:
            self._wanted_soon = False
            self.touch()
        if self._patient:
            waiting, self._patient = self._patient, []
            self._enqueue(*waiting)

    def _wake(self) -> None:
        if self._flying:
            due = len(self._flying) < _DEPTH and len(self._queue) >= self._max_ops
        else:
            due = bool(self._queue or self._broadcast or self._wanted)
        if due:
            self._flying.add(asyncio.create_task(self._run(), name=f"commit {self._scope}"))

    async def _run(self) -> None:
        try:
            if self._queue or self._broadcast or self._wanted:  # else the batch before took it all
                self._hurry()
                await self._commit_once()
                if self._unknown:
                    await self._rest(min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** (self._unknown - 1)))
        finally:
            self._flying.discard(asyncio.current_task())
            self._wake()

    async def _commit_once(self) -> None:
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_ops))]
        sent = self._broadcast.popleft() if self._broadcast else Broadcast(b"", [])
        self._wanted = False
        self._broadcasts += bool(sent.ephemeral)
        batch = Batch(
            [pending.op for pending in taken],
            sent.ephemeral,
            sent.kept,
            any(pending.durable for pending in taken),
        )
        began = self._clock.monotonic()
        try:
            reach(_READY)
            committed = await self._store.commit(self._scope, batch)
            reach(_ANSWERED)
        except StoreError as exc:
            self._metrics.failed(type(exc).__name__)
            self._failed(taken, exc)
        except Exception as exc:
            # A body that cannot be encoded, say: its batch is lost, those after it must not be.
            log.exception("commit broke", scope=self._scope)
            self._metrics.failed("fault")
            self._failed([p._replace(deadline=0.0) for p in taken], OutcomeUnknown(repr(exc)))
        else:
            self.answered_at, self._unknown = self._clock.monotonic(), 0
            self._metrics.committed(len(taken), self.answered_at - began)
            for pending, reply in zip(taken, committed.replies, strict=True):
                _tell(pending, reply)
            self._count_answered(len(taken))
            self._on_committed(committed)
            if sent.private:
                self._on_private(sent.private)
        finally:
            self._broadcasts -= bool(sent.ephemeral)

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
        self._unknown = self._unknown + 1 if again else 0
        self._count_answered(len(taken) - len(again))
        self._queue.extendleft(reversed(again))

    def _count_answered(self, count: int) -> None:
        self._answered += count
        while self._goals and self._goals[0][0] <= self._answered:
            _, goal_met = self._goals.popleft()
            if not goal_met.done():
                goal_met.set_result(None)


def _tell(pending: _Pending, reply: bytes | StoreError) -> None:
    try:
        pending.done(reply)
    except Exception:
        # One listener must not lose the answers of the others in its batch.
        log.exception("answer not taken", op=pending.op.name)
