"""Money from rooms to users: what a room has decided to pay is credited exactly once (layer 5).

The mirror image of a payment (`wallet.py`). The room decides first: `pay_out` in its script takes the
amount out of the room's ledger and puts a row into what the room owes, in the step that is the reason
for it. Then a worker *credits* the row in the user's wallet shard, which does so once for a transfer,
and *notes* in the room that it was credited. The worker whose batch it was does so at once; if it
dies, the rows are still there, and any other one comes to them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import orjson
import structlog
from msgspec import Struct

from liveroom.errors import CommandError, StoreError
from liveroom.failpoints import declare, reach
from liveroom.features.leases import take_lease
from liveroom.features.shards import shard_of
from liveroom.plugin.context import Engine, RoomHandle
from liveroom.store.port import LogEntry, Op
from liveroom.store.replies import refusal


__all__ = ["OWED", "STALE_MS", "Owed", "Payouts"]

OWED = "payout.due"
"""The event of a batch in which a room has begun to owe something."""
STALE_MS = 10_000
"""What is owed for so long was forgotten by the worker whose it was."""

_RECOVER_NEAR_S = 5.0
_RECOVER_FAR_S = 30.0
_PAGE = 500
_PREFIX = f'{{"ev":"{OWED}"'.encode()

_FOUND = declare("payout.found", "a room owes something, nothing was credited")
_CREDITED = declare("payout.credited", "the wallet is credited, the room does not know")
_NOTED = declare("payout.noted", "the room knows, the wallet still remembers the transfer")

log = structlog.get_logger("liveroom.payouts")


class Owed(Struct):
    """`d` of `payout.due`: the worker whose batch it was."""

    worker: str


class Payouts:
    """Credits what rooms owe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._seen: set[str] = set()

    def start(self) -> None:
        """Begin to look for what is owed."""
        self._engine.every(0.0, self._pay_due)
        self._engine.every(_RECOVER_NEAR_S, self.recover)
        self._engine.every(_RECOVER_FAR_S, self.recover_far)

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Take that a room owes something: at once if this worker's batch was the reason."""
        if not entry.item.startswith(_PREFIX):
            return
        self._seen.add(room.id)
        if orjson.loads(entry.item)["d"]["worker"] == self._engine.worker:
            self._due.add(room.id)
            self._wake.set()

    async def _pay_due(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        due, self._due = self._due, set()
        for room in due:
            try:
                await self.pay(room)
            except (StoreError, CommandError) as exc:  # the recovery will do it
                log.warning("not paid out yet", room=room, error=str(exc))

    async def recover(self) -> None:
        """Pay what other workers left, in rooms where this one has seen that something was owed."""
        for room in list(self._seen):
            if await self.pay(room, STALE_MS):
                log.info("paid out for another worker", room=room)
            elif not await self._owed(room, 0):
                self._seen.discard(room)

    async def recover_far(self) -> None:
        """Pay what is left in rooms that no worker may be serving."""
        if not await take_lease(self._engine, "~sys", "payouts", _RECOVER_FAR_S - 1):
            return
        reply = await self._engine.submit("~sys", Op("rooms.list", "", {}))
        for room in orjson.loads(reply[1:])["rooms"]:
            if await self.pay(room, STALE_MS):
                log.info("paid out for another worker", room=room)

    async def pay(self, room: str, older_ms: int = 0) -> int:
        """Credit what a room has owed for so long; return how many transfers that were.

        Raises:
            StoreError: it is not known whether all of it was done; doing it again does no harm.
        """
        paid = 0
        while rows := await self._owed(room, older_ms):
            reach(_FOUND)
            shards: defaultdict[str, list[str]] = defaultdict(list)
            for row in rows:
                shards[shard_of(row.rsplit("|", 2)[1])].append(row)
            await asyncio.gather(*(self._credit(room, *page) for page in shards.items()))
            paid += len(rows)
        return paid

    async def _credit(self, room: str, shard: str, rows: list[str]) -> None:
        body = {"room": room, "rows": rows}
        _check(await self._engine.submit(shard, Op("wallet.credit", "", body), durable=True))
        reach(_CREDITED)
        await self._ask(room, Op("payout.done", "", {"rows": rows}))
        reach(_NOTED)
        _check(await self._engine.submit(shard, Op("wallet.noted", "", body)))

    async def _owed(self, room: str, older_ms: int) -> list[str]:
        op = Op("payout.pending", "", {"older_ms": older_ms, "limit": _PAGE})
        rows: list[str] = (await self._ask(room, op)).get("rows", [])
        return rows

    async def _ask(self, room: str, op: Op) -> dict[str, Any]:
        """Commit an operation alone: the room need not be served here."""
        reply = (await self._engine.commit(room, [op], durable=True)).replies[0]
        _check(reply)
        answer: dict[str, Any] = orjson.loads(reply[1:])
        return answer


def _check(reply: bytes) -> None:
    if reply[:1] != b"+":
        raise refusal(reply)
