"""Drawing, off the loop: pages and slices of a few milliseconds, under a lease that others take over.

Nothing here decides: from what was fixed when the draw was frozen everything follows, and the script
takes only what fits. So it does no harm if a worker dies half-way, or if two of them draw.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import structlog

from liveroom.errors import CommandError, StoreError
from liveroom.failpoints import declare, reach
from liveroom.features.lottery.draw import MerkleTree, Ranking, draw_key_of
from liveroom.features.lottery.proof import VERSION, digest_of, in_slices, winner_rows
from liveroom.plugin.context import Engine
from liveroom.store.port import Op
from liveroom.store.replies import refusal


__all__ = ["Drawings", "ask", "entrants_of"]

_LEASED = declare("draw.leased", "a frozen draw is this worker's, the entrants are not read")
_SEALED = declare("draw.sealed", "the root is bound, no order is written")
_ORDERED = declare("draw.ordered", "the whole order is written, nothing is drawn")

log = structlog.get_logger("liveroom.lottery")

_PAGE = 250
"""Entrants per page: well under a millisecond of the store, about one of the loop."""
_RENEW_S = 5.0


class _Leased(msgspec.Struct, kw_only=True):
    """What the script tells whoever has the lease."""

    leased: bool
    seed: str = ""
    rules_hash: str = ""
    commitment: str = ""
    root: str = ""
    entrants: int = 0
    prizes: list[dict[str, Any]] = []
    reserves: int = 0
    opened_ms: int = 0
    frozen_ms: int = 0
    sealed_ms: int = 0
    drawn_ms: int = 0
    beacon: dict[str, Any] | None = None
    waits: bool = False


async def ask(engine: Engine, room: str, op: Op) -> Any:
    """Return the answer to an operation that only reads. Raises CommandError, StoreError."""
    committed = await engine.commit(room, [op])
    return _answer(committed.replies[0])


async def entrants_of(engine: Engine, room: str, lottery: str) -> AsyncIterator[list[Any]]:
    """Yield all [user, nonce] of a draw in their order, page by page."""
    after = ""
    while True:
        body = {"lottery": lottery, "after": after, "limit": _PAGE}
        rows = (await ask(engine, room, Op("lottery.page", "", body)))["rows"]
        if not rows:
            return
        yield rows
        after = rows[-1][0]


class Drawings:
    """The draws that this worker is busy with; one at a time, so that their slices do not add up."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._again: set[tuple[str, str]] = set()

    def begin(self, room: str, lottery: str) -> None:
        """See to a frozen draw; once more afterwards, if it is being seen to."""
        which = (room, lottery)
        if which in self._tasks:
            self._again.add(which)
            return
        task = asyncio.create_task(self._run(room, lottery), name=f"draw {room} {lottery}")
        self._tasks[which] = task
        task.add_done_callback(lambda _: self._done(which))

    async def stop(self) -> None:
        """Leave what is not finished to another worker."""
        self._again.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, which: tuple[str, str]) -> None:
        del self._tasks[which]
        if which in self._again:
            self._again.discard(which)
            self.begin(*which)

    async def _run(self, room: str, lottery: str) -> None:
        async with self._turn:
            try:
                await _Drawing(self._engine, room, lottery).run()
            except (StoreError, CommandError) as exc:
                log.warning("draw not finished yet", room=room, lottery=lottery, error=str(exc))
            except Exception:
                log.exception("draw failed", room=room, lottery=lottery)


class _Drawing:
    """One attempt to draw."""

    def __init__(self, engine: Engine, room: str, lottery: str) -> None:
        self._engine = engine
        self._room = room
        self._lottery = lottery
        self._leased_at = 0.0

    async def run(self) -> None:
        """Seal and draw, as far as that is possible now."""
        leased = await self._lease()
        if not leased.leased:
            return
        reach(_LEASED)
        tree, users = await self._read()
        root = tree.root().hex()
        if tree.count != leased.entrants or leased.root not in ("", root):
            log.error("entrants changed", room=self._room, lottery=self._lottery)
            return
        body = {"root": root, "entrants": tree.count}
        sealed = await self._do("lottery.seal", body, durable=True)
        reach(_SEALED)
        leased.root = root
        leased.sealed_ms, leased.drawn_ms = sealed["sealed_ms"], sealed["drawn_ms"]
        if not leased.waits:
            await self._draw(leased, users)

    async def _read(self) -> tuple[MerkleTree, list[str]]:
        tree, users = MerkleTree(), []
        async for rows in entrants_of(self._engine, self._room, self._lottery):
            tree.add(rows)
            users += [user for user, _ in rows]
            await self._renew()
        return tree, users

    async def _draw(self, leased: _Leased, users: list[str]) -> None:
        randomness = bytes.fromhex(leased.beacon["randomness"]) if leased.beacon else b""
        key = draw_key_of(
            bytes.fromhex(leased.seed),
            bytes.fromhex(leased.rules_hash),
            bytes.fromhex(leased.root),
            randomness,
        )
        winners = min(sum(prize["n"] for prize in leased.prizes), len(users))
        order = await self._order(key, users, winners * (1 + leased.reserves))
        await self._store_order(order)
        fields = self._fields(leased, order[:winners], order[winners:])
        body = {
            "draw_key": key.hex(),
            "digest": await digest_of(fields | {"draw_key": key.hex()}),
            "drawn_ms": leased.drawn_ms,
        }
        reach(_ORDERED)
        await self._do("lottery.draw", body, durable=True)
        log.info("drawn", room=self._room, lottery=self._lottery, of=winners)

    async def _order(self, key: bytes, users: list[str], n: int) -> list[str]:
        ranking = Ranking(key)
        while users:  # is emptied on the way: to let go of all of it at once would take long
            ranking.add(users[-_PAGE:])
            del users[-_PAGE:]
            await asyncio.sleep(0)
            await self._renew()
        order: list[str] = []
        for piece in ranking.first(n):
            order += piece
            await asyncio.sleep(0)
        return order

    async def _store_order(self, order: list[str]) -> None:
        first = 0
        async for part in in_slices(order):
            await self._do("lottery.order", {"from": first, "users": part})
            first += len(part)
            await self._renew()

    def _fields(self, leased: _Leased, winners: list[str], reserves: list[str]) -> dict[str, Any]:
        fields = {
            "v": VERSION,
            "room": self._room,
            "lottery": self._lottery,
            "rules_hash": leased.rules_hash,
            "commitment": leased.commitment,
            "seed": leased.seed,
            "root": leased.root,
            "entrants": leased.entrants,
            "opened_ms": leased.opened_ms,
            "frozen_ms": leased.frozen_ms,
            "sealed_ms": leased.sealed_ms,
            "drawn_ms": leased.drawn_ms,
            "winners": winner_rows(leased.prizes, in_slices(winners)),
            "reserves": in_slices(reserves),
        }
        return fields if leased.beacon is None else fields | {"beacon": leased.beacon}

    async def _lease(self) -> _Leased:
        self._leased_at = self._engine.clock.monotonic()
        return msgspec.convert(await self._do("lottery.lease", {}), _Leased)

    async def _renew(self) -> None:
        if self._engine.clock.monotonic() - self._leased_at > _RENEW_S:
            leased = await self._lease()
            if not leased.leased:
                raise CommandError("final", "the draw is another worker's, or over")

    async def _do(self, name: str, body: dict[str, Any], *, durable: bool = False) -> Any:
        body |= {"lottery": self._lottery, "worker": self._engine.worker}
        reply = await self._engine.submit(self._room, Op(name, "", body), durable=durable)
        return _answer(reply)


def _answer(reply: bytes) -> Any:
    if reply[:1] != b"+":
        raise refusal(reply)
    return msgspec.json.decode(reply[1:])
