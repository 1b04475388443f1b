"""Rooms with coupon drops and red packets, for tests: opening, asking as the back end, the books."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

import harness
from harness import bearer, check, pass_time, run, service
from liveroom import Plugin
from liveroom.features.shards import SHARDS


__all__ = [
    "Hand",
    "balance_of",
    "check",
    "drop",
    "open_host",
    "pass_time",
    "rest",
    "run",
    "service",
    "topup",
]


class Hand(Plugin):
    """A hand in the store."""

    name = "hand"
    lua = """
ops['hand.write'] = function(op) write(op.d.verb, key(op.d.key), unpack(op.d.args)) end
ops['hand.read'] = function(op) return {value = call(op.d.verb, key(op.d.key), unpack(op.d.args))} end
ops['hand.break'] = function() error('on purpose') end
"""


async def open_host(worker: harness.Worker, room: str) -> harness.Client:
    """Open a room; return its host."""
    host = await worker.open_control(room)
    await host.ask("room.open")
    return host


def drop(**changes: Any) -> dict[str, Any]:
    """Return the body of a drop; None takes a field out."""
    body = {
        "drop": "d1", "title": "10 off", "quota": 3, "kind": "amount", "value": 1000,
        "valid_s": 3600, "seconds": 600,
    }  # fmt: skip
    return {name: value for name, value in (body | changes).items() if value is not None}


async def rest(
    worker: harness.Worker, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """Call a REST route as the back end; return the status and the answer or the error."""
    async with aiohttp.ClientSession(headers=bearer(worker) | headers) as session:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = session.get if body is None else session.post
        options = {} if body is None else {"data": data}
        async with sent(f"{worker.http}/api{path}", **options) as response:  # type: ignore[arg-type]
            return response.status, await response.json()


async def topup(worker: harness.Worker, user: str, amount: int) -> None:
    """Give a user money."""
    reply = await service(worker, "any", "wallet.topup", key=f"t-{user}", user=user, amount=amount)
    assert "d" in reply, reply


async def balance_of(worker: harness.Worker, user: str) -> int:
    """Return a user's balance."""
    balance: int = (await service(worker, "any", "wallet.of", user=user))["d"]["balance"]
    return balance


async def shard_sums(worker: harness.Worker) -> list[int]:
    """Return the sum over all accounts of each wallet shard."""
    sums = []
    for number in range(SHARDS):
        read = await run(worker, f"~w{number:02d}", "hand.read", verb="HVALS", key="acc", args=[])
        sums.append(sum(map(int, read["value"] or ())))
    return sums
