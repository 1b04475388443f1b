"""Takes webhooks out of the rooms' outboxes and sees them delivered (layer 5).

A room is visited when something happened in it, when a retry is due, and by a sweep that looks at
every room there is: what nobody is watching is found within `SWEEP_S`. A visit takes a lease in the
room, so that one worker at a time delivers it; what a worker that died had taken is given out again
when its lease ends. Nothing is forgotten: an entry leaves the outbox when the receiver took it, or
when it was given up and stands among the dead.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from liveroom.errors import StoreError
from liveroom.failpoints import declare, reach
from liveroom.features.leases import take_lease
from liveroom.features.wallet import SHARDS
from liveroom.features.webhooks.message import Entry, body_of, message_id
from liveroom.features.webhooks.sender import Breaker, Outcome, Sender
from liveroom.metrics import WebhookMetrics
from liveroom.plugin.context import Engine
from liveroom.store.port import Op


__all__ = ["BATCH", "ROOMS_AT_ONCE", "SWEEP_S", "Courier"]

ROOMS_AT_ONCE = 4
BATCH = 8
"""Webhooks of one room that are on their way at once; in all `ROOMS_AT_ONCE` times as many."""
BATCHES = 4
"""Batches of one room before it is the next room's turn."""
SWEEP_S = 15.0
LEASE_SLACK_S = 5.0
"""What a visit may need beyond the deadline of its attempts to tell how they ended."""

_QUIET_S = 0.25  # between two visits to a room in which much happens
_BUSY_S = 1.0  # until the next look at a room that another worker delivers
_AGAIN_S = 1.0  # after the store did not answer
_SWEPT_AT_ONCE = 32
_MOST_JITTER = 0.1
_WHY = 100

_POSTED = declare("webhook.posted", "the receiver has answered, the outbox does not know")

log = structlog.get_logger("liveroom.webhooks")


class Courier:
    """Delivers the webhooks of every room.

    Args:
        engine: the worker.
        sender: makes the attempts.
        metrics: counts them.
    """

    def __init__(self, engine: Engine, sender: Sender, metrics: WebhookMetrics) -> None:
        self._engine = engine
        self._sender = sender
        self._metrics = metrics
        self._breaker = Breaker(engine.clock)
        self._lease_ms = round((sender.timeout_s + LEASE_SLACK_S) * 1000)
        self._wanted: asyncio.Queue[str] = asyncio.Queue()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._visiting: set[str] = set()
        self._quiet_until: dict[str, float] = {}
        self._pending: dict[str, int] = {}
        self._untold: dict[str, Op] = {}
        self._sweep_in_s = 0.0

    def start(self) -> None:
        """Begin; `Engine.every` ends it."""
        for _ in range(ROOMS_AT_ONCE):
            self._engine.every(0.0, self._next_visit)
        self._engine.every(0.0, self._next_sweep)

    def close(self) -> None:
        """Forget what was to be visited: other workers find it."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def want(self, scope: str, delay_s: float = 0.0) -> None:
        """Have a room visited, now or after a while; the soonest that was asked for holds."""
        loop = asyncio.get_running_loop()
        when = max(loop.time() + delay_s, self._quiet_until.get(scope, 0.0))
        timer = self._timers.get(scope)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[scope] = loop.call_at(when, self._call, scope)

    def _call(self, scope: str) -> None:
        del self._timers[scope]
        if scope in self._visiting:  # by another job of this worker, which may just be leaving
            self.want(scope, _QUIET_S)
        else:
            self._visiting.add(scope)
            self._wanted.put_nowait(scope)

    # A visit.

    async def _next_visit(self) -> None:
        scope = await self._wanted.get()
        again_s: float | None = _AGAIN_S
        try:
            again_s = await self._visit(scope)
        finally:  # whatever went wrong, the room is looked at again
            self._visiting.discard(scope)
            if again_s != 0:
                self._quiet_until[scope] = asyncio.get_running_loop().time() + _QUIET_S
            if again_s is not None:
                self.want(scope, again_s)

    async def _visit(self, scope: str) -> float | None:
        """Deliver what is due; return in how many seconds to come again, if at all.

        Other rooms wait meanwhile, so after some batches it is their turn.
        """
        for _ in range(BATCHES):
            most = self._breaker.allowance(BATCH)
            if not most:
                break
            taken, now_ms = await self._take(scope, most)
            if "busy_ms" in taken:
                self._see(scope, 0)
                return float(min(_BUSY_S, taken["busy_ms"] / 1000))
            self._see(scope, taken["pending"])
            rows = taken.get("entries")
            if not rows:
                return taken["next_ms"] / 1000 if "next_ms" in taken else None
            await self._deliver(scope, [Entry.read(row) for row in rows], now_ms)
        await self._take(scope, 0)
        return self._breaker.wait_s

    async def _take(self, scope: str, most: int) -> tuple[dict[str, Any], int]:
        """Tell what became of the last batch and take the next (none if `most` is 0), in one step."""
        told = self._untold.get(scope)
        body = {"worker": self._engine.worker, "limit": most, "lease_ms": self._lease_ms}
        ops = ([] if told is None else [told]) + ([Op("webhook.take", "", body)] if most else [])
        if not ops:
            return {}, 0
        committed = await self._engine.commit(scope, ops)
        answers = [_answer(reply) for reply in committed.replies]
        if told is not None:
            del self._untold[scope]
            self._metrics.delivered.inc(answers[0]["delivered"])
            self._metrics.dead.inc(answers[0]["dead"])
        return answers[-1], committed.now_ms

    async def _deliver(self, scope: str, entries: Sequence[Entry], now_ms: int) -> None:
        attempts = [self._attempt(scope, entry, now_ms // 1000) for entry in entries]
        outcomes = await asyncio.gather(*attempts)
        reach(_POSTED)
        ok = [entry.id for entry, end in zip(entries, outcomes, strict=True) if end.ok]
        failed = [
            _failure(entry, end) for entry, end in zip(entries, outcomes, strict=True) if not end.ok
        ]
        body = {"worker": self._engine.worker, "ok": ok, "failed": failed}
        self._untold[scope] = Op("webhook.done", "", body)

    async def _attempt(self, scope: str, entry: Entry, now_s: int) -> Outcome:
        message = message_id(scope, entry.first)
        outcome = await self._sender.send(message, now_s, body_of(scope, entry))
        self._breaker.took(ok=outcome.ok or outcome.gone)
        if not outcome.ok:
            self._metrics.failed(outcome.reason)
            log.warning(
                "webhook not taken", room=scope, webhook=message, type=entry.kind,
                attempt=entry.attempts + 1, why=outcome.why, gone=outcome.gone,
            )  # fmt: skip
        return outcome

    def _see(self, scope: str, pending: int) -> None:
        self._metrics.pending.inc(pending - self._pending.pop(scope, 0))
        if pending:
            self._pending[scope] = pending

    # The sweep.

    async def _next_sweep(self) -> None:
        """Sweep at the start, then every `SWEEP_S`."""
        await asyncio.sleep(self._sweep_in_s)
        self._sweep_in_s = SWEEP_S
        self._forget_quiet()
        if await take_lease(self._engine, "~sys", "webhooks", 0.9 * SWEEP_S):
            await self.sweep()

    async def sweep(self) -> None:
        """Look into every outbox: a webhook may have been written where nobody is watching."""
        listed = _answer(await self._engine.submit("~sys", Op("rooms.list", "", {})))
        scopes = ["~sys", *(f"~w{n:02d}" for n in range(SHARDS)), *listed["rooms"]]
        looks = iter(scopes)
        while page := list(itertools.islice(looks, _SWEPT_AT_ONCE)):
            await asyncio.gather(*map(self._look, page))

    async def _look(self, scope: str) -> None:
        try:
            committed = await self._engine.commit(scope, [Op("webhook.due", "", {})])
            if _answer(committed.replies[0])["due"]:
                self.want(scope)
        except StoreError as exc:  # one node of a cluster, say: the others' rooms are looked at
            log.warning("outbox not looked into", room=scope, error=str(exc))

    def _forget_quiet(self) -> None:
        now = asyncio.get_running_loop().time()
        self._quiet_until = {s: when for s, when in self._quiet_until.items() if when > now}


def _failure(entry: Entry, end: Outcome) -> dict[str, Any]:
    """Return the row of an attempt that failed; the script has no randomness of its own."""
    return {
        "id": entry.id,
        "n": entry.attempts,
        "why": end.why[:_WHY],
        "gone": end.gone,
        "after_ms": end.after_ms,
        "jitter": random.uniform(0, _MOST_JITTER),  # noqa: S311 -- spreads load, keeps no secret
    }


def _answer(reply: bytes) -> dict[str, Any]:
    if reply[:1] != b"+":
        raise StoreError(reply.decode(errors="replace"))
    # A plugin's Lua may have cut a character in two: that must not hold up the rest of the room.
    answer: dict[str, Any] = orjson.loads(reply[1:].decode(errors="replace"))
    return answer
