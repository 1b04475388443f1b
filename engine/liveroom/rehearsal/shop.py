"""The commerce back end of a rehearsal: takes the money for reservations, fetches proofs (layer 9)."""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from liveroom.rehearsal.audience import Outcome
from liveroom.rehearsal.report import Check, Tally
from liveroom.rehearsal.wire import Address


__all__ = ["Shop"]

_PAYS = 0.8
_TIMEOUT = aiohttp.ClientTimeout(total=20)
_MOST_AT_ONCE = 8

Item = dict[str, Any]


class Shop:
    """Speaks HTTP with a service token.

    Args:
        address: of a worker.
        room: where the show is.
        token: a service's, for the room; of a host's alone the proofs can be read.
        sells: whether it is a service's.
        tally: told what was paid.
    """

    def __init__(
        self, address: Address, room: str, token: str, tally: Tally, *, sells: bool
    ) -> None:
        self._address = address
        self._room = room
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tally = tally
        self._sells = sells
        self._rng = Random(7)  # noqa: S311 -- a rehearsal can be repeated, keeps no secret
        self._orders = itertools.count(1)
        self._gate = asyncio.Semaphore(_MOST_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self.faults: list[str] = []

    def take(self, outcome: Outcome) -> None:
        """Have most of the reservations paid."""
        if self._sells and outcome.move.op == "flash.reserve" and self._rng.random() < _PAYS:
            assert outcome.d is not None, "accepted"
            task = asyncio.create_task(self._pay(outcome.d), name="pay")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for the payments on their way."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=20)

    async def _pay(self, reservation: Item) -> None:
        body = {
            "reservation": reservation["reservation"],
            "amount": reservation["amount"],
            "order": f"order-{next(self._orders)}",
        }
        url = self._address.http(f"/api/rooms/{self._room}/commands")
        try:
            async with self._gate, self._session() as session:
                command = {"op": "flash.confirm", "id": 1, "d": body}
                async with session.post(url, json=command) as response:
                    answer = await response.json()
        except (aiohttp.ClientError, TimeoutError) as exc:
            self.faults.append(f"{body['reservation']} not paid: {exc!r}")
            return
        reply = answer.get("replies", [answer])[0]
        if "d" in reply:
            self._tally.paid[f"stock:{reservation['sku']}"] += reservation["n"]
        else:
            self.faults.append(f"{body['reservation']} not paid: {reply.get('err')}")

    async def verify(self, lottery: str, shown: Item) -> Check:
        """Have the proof of a draw checked by the program that shares no code with the engine."""
        name = f"lottery:{lottery} proof"
        url = self._address.http(f"/api/rooms/{self._room}/lotteries/{lottery}/proof")
        try:
            async with self._session() as session, session.get(url) as response:
                proof = await response.read()
                if response.status != 200:
                    return Check(name, ok=False, detail=proof[:200].decode(errors="replace"))
        except (aiohttp.ClientError, TimeoutError) as exc:
            return Check(name, ok=False, detail=repr(exc))
        seen = [f"--{what}={shown[what]}" for what in ("commitment", "root") if what in shown]
        return await _verified(name, proof, seen)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT)


async def _verified(name: str, proof: bytes, seen: list[str]) -> Check:
    program = Path(__file__).parents[1] / "verify_draw.py"
    with tempfile.TemporaryDirectory(prefix="liveroom-proof-") as folder:
        file = Path(folder) / "proof.json"
        file.write_bytes(proof)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), *seen, str(file),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
    text = said.decode(errors="replace").strip()
    last = text.splitlines()[-1] if text else ""
    return Check(name, process.returncode == 0, last)
