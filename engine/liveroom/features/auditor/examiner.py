"""Examines rooms: the invariants of each as of one instant, and money against the wallets (layer 5).

What a room's script can see is recomputed there, in one step (`sys.check`). Money paid into a room
is in two places, which no script sees at once: settled money in the wallet shards, what was paid in
the room's ledger. So it is looked at three times, in this order:

1. in every shard, what is settled for the room: `before`;
2. in the room, what was paid: `paid`;
3. in every shard, what is settled for the room, and what is held for it: `after`, `held`.

A payment is held before the room has its effect, and settled after; money that is settled stays so.
So what was settled at 1 had its effect before 2, and what had its effect by 2 was settled or still
held at 3: `before <= paid <= after + held`, whatever happens meanwhile. A figure outside is wrong for
certain; while nothing is being paid both ends are the same figure, so that any difference shows.

What a room pays to users goes the other way: the room owes it, it is credited in a shard, the room
owes it no more. So what was credited at 1 was paid out by the ledger of 2, and what was paid out by
then was credited at 3 or still owed at 2: `before <= out <= after + owed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from liveroom.errors import StoreError
from liveroom.features.shards import SHARDS
from liveroom.store.port import Committed, Op


__all__ = ["Examiner", "Findings", "Purse", "money_finding", "payout_finding"]

MOST_ROOMS = 200
"""Rooms whose money is looked at together."""

Row = dict[str, Any]
CommitOne = Callable[[str, Sequence[Op]], Awaitable[Committed]]


class Purse(NamedTuple):
    """What the wallet shards hold for a room; minor units."""

    settled: int
    held: int
    credited: int = 0


class Findings(NamedTuple):
    """What an examination of one scope showed.

    Args:
        broken: rows of what, key, expected, found.
        counted: how many comparisons each check made.
        alarmed: how many findings of before stand in the room's memory.
        paid: what was paid into the room, by its ledger.
        exists: whether anything was ever written there.
        out: what was paid out of the room, by its ledger.
        owed: what of that is not known to be credited.
    """

    broken: list[Row]
    counted: dict[str, int]
    alarmed: int
    paid: int
    exists: bool
    out: int = 0
    owed: int = 0


class Examiner:
    """Looks into rooms and wallet shards.

    Args:
        commit: commits operations to a scope.
    """

    def __init__(self, commit: CommitOne) -> None:
        self._commit = commit

    async def examine(self, scopes: Sequence[str], look: Op) -> dict[str, Findings]:
        """Return what is found in those of the scopes that have a turn now.

        Args:
            scopes: rooms and internal scopes.
            look: `audit.round`, which may skip a scope, or `audit.look`.

        Raises:
            StoreError: one of the scopes, or a shard, could not be asked.
        """
        rooms = [scope for scope in scopes if scope[0] != "~"]
        before = await self.purses(rooms)
        asked = await _in_turns(self._look, scopes, look)
        found = {scope: one for scope, one in zip(scopes, asked, strict=True) if one is not None}
        mine = [room for room in rooms if room in found]
        after = await self.purses(mine)
        for room in mine:
            one = found[room]
            rows = (
                money_finding(before[room], one.paid, after[room]),
                payout_finding(before[room], one.out, one.owed, after[room]),
            )
            one.broken.extend(row for row in rows if row is not None)
            one.counted.update({"money.paid": 1, "money.out": 1})
        return found

    async def purses(self, rooms: Sequence[str]) -> dict[str, Purse]:
        """Return what all shards together hold for rooms."""
        sums = {room: Purse(0, 0) for room in rooms}
        for start in range(0, len(rooms), MOST_ROOMS):
            page = rooms[start : start + MOST_ROOMS]
            shards = (f"~w{number:02d}" for number in range(SHARDS))
            for told in await asyncio.gather(*(self._purses(shard, page) for shard in shards)):
                for room, one in zip(page, told, strict=True):
                    sums[room] = Purse(*map(sum, zip(sums[room], one, strict=True)))
        return sums

    async def _purses(self, shard: str, rooms: Sequence[str]) -> list[Purse]:
        answer = await self._ask(shard, Op("audit.purses", "", {"rooms": list(rooms)}))
        columns = answer["settled"], answer["held"], answer["credited"]
        return [Purse(*row) for row in zip(*columns, strict=True)]

    async def _look(self, scope: str, look: Op) -> Findings | None:
        answer = await self._ask(scope, look)
        if answer.get("skipped"):
            return None
        return Findings(
            [_named(row) for row in answer.get("broken", [])],
            answer.get("counted", {}),
            answer.get("alarmed", 0),
            -int(answer["paid"]),
            answer.get("exists", True),
            answer["out"],
            answer["owed"],
        )

    async def _ask(self, scope: str, op: Op) -> Row:
        reply = (await self._commit(scope, [op])).replies[0]
        if reply[:1] != b"+":
            raise StoreError(f"{op.name} in {scope}: {reply.decode(errors='replace')}")
        # What is broken may be anything, also no text at all.
        answer: Row = orjson.loads(reply[1:].decode(errors="replace"))
        return answer


def _named(row: Row) -> Row:
    """Return a finding that has names, whatever a plugin's check gave for them."""
    return row | {"what": str(row.get("what", "")), "key": str(row.get("key", ""))}


def money_finding(before: Purse, paid: int, after: Purse) -> Row | None:
    """Return the finding of a room whose ledger and wallets cannot both be right; None if they can."""
    return _finding("money.paid", "ledger ~paid", before.settled, paid, after.settled + after.held)


def payout_finding(before: Purse, out: int, owed: int, after: Purse) -> Row | None:
    """Return the same of what the room paid to users."""
    return _finding("money.out", "ledger ~out", before.credited, out, after.credited + owed)


def _finding(what: str, key: str, least: int, found: int, most: int) -> Row | None:
    if least <= found <= most:
        return None
    return {"what": what, "key": key, "expected": least if found < least else most, "found": found}


async def _in_turns(
    look: Callable[[str, Op], Awaitable[Findings | None]], scopes: Iterable[str], op: Op
) -> list[Findings | None]:
    """Ask one scope after the other: an audit is in no hurry, and others want the store too."""
    return [await look(scope, op) for scope in scopes]
