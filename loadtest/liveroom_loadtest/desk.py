"""The host and the back end of a load test: opens rooms, arms the sale, draws, has all audited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Self

import aiohttp

from liveroom.auth.tokens import mint
from liveroom_loadtest.wire import Address


__all__ = ["Desk", "DeskFailed"]

Item = dict[str, Any]

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_TOKEN_S = 6 * 3600
_AT_ONCE = 8
_PER_REQUEST = 32
_TRIES = 5
MONEY = 100_000_00


class DeskFailed(Exception):
    """The engine refused something without which the scenario makes no sense."""


class Desk:
    """Speaks HTTP with a service token.

    Args:
        address: of the engine.
        secret: that its tokens are signed with.
        run: a word that no other run has, for keys.
    """

    def __init__(self, address: Address, secret: str, run: str) -> None:
        self._http = address.http
        self._run = run
        now = time.time()
        token = mint(secret, user="loadtest", room="*", role="service", ttl_s=_TOKEN_S, now=now)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._keys = 0

    async def __aenter__(self) -> Self:
        """Begin."""
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End."""
        await self._session.close()

    async def say(self, room: str, commands: list[Item]) -> list[Item]:
        """Send commands until they are answered; return their `d`. Raises DeskFailed."""
        for command in commands:
            self._keys += 1
            command |= {"id": self._keys, "key": f"{self._run}-desk-{self._keys}"}
        url = f"{self._http}/api/rooms/{room}/commands"
        for attempt in range(_TRIES):
            answer = await self._post(url, commands)
            replies = answer.get("replies", [answer])
            errors = [reply["err"] for reply in replies if "err" in reply]
            if not errors:
                return [reply["d"] for reply in replies]
            if "retry_ms" not in errors[0] or attempt == _TRIES - 1:
                raise DeskFailed(f"{commands[0]['op']}: {errors[0]}")
            await asyncio.sleep(errors[0]["retry_ms"] / 1000)
        raise DeskFailed(f"{commands[0]['op']}: never answered")

    async def ask(self, room: str, op: str, **d: Any) -> Item:
        """Send one command; return its `d`. Raises DeskFailed."""
        (answer,) = await self.say(room, [{"op": op, "d": d}])
        return answer

    async def _post(self, url: str, body: Any) -> Item:
        try:
            async with self._session.post(url, json=body) as response:
                answer: Item = await response.json()
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise DeskFailed(f"{url}: {str(exc) or type(exc).__name__}") from exc
        return answer

    # What is done before, during and after.

    async def open(self, rooms: Iterable[str]) -> None:
        """Open rooms. Raises DeskFailed."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(room: str) -> None:
            async with gate:
                await self.ask(room, "room.open", title="Load test")

        await asyncio.gather(*map(one, rooms))

    async def give_money(self, room: str, users: list[str]) -> None:
        """Put money into wallets. Raises DeskFailed."""
        for begin in range(0, len(users), _PER_REQUEST):
            some = users[begin : begin + _PER_REQUEST]
            d = [{"user": user, "amount": MONEY} for user in some]
            await self.say(room, [{"op": "wallet.topup", "d": one} for one in d])

    async def arm(self, room: str, sku: str, units: int, price: int) -> None:
        """Put something on the shelf and arm its sale. Raises DeskFailed."""
        skus = [{"sku": sku, "title": "One", "price": price + 100, "stock": units}]
        await self.ask(room, "shelf.put", item=sku, title="Load test", currency="CNY", skus=skus)
        await self.ask(
            room, "flash.arm", sale=sku, sku=sku, price=price, total=units, hold_s=600, run_s=0
        )

    async def audit(self, room: str) -> int:
        """Have the room's invariants recomputed; return how many do not hold. Raises DeskFailed."""
        return len((await self.ask(room, "audit.check"))["broken"])

    async def states(self, room: str) -> dict[str, Any]:
        """Return the room's states by name. Raises DeskFailed."""
        try:
            async with self._session.get(f"{self._http}/api/rooms/{room}") as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise DeskFailed(f"{room}: {str(exc) or type(exc).__name__}") from exc
        if "err" in answer:
            raise DeskFailed(f"{room}: {answer['err']}")
        return {state["st"]: state["d"] for state in answer["states"]}

    async def proof(self, room: str, lottery: str) -> bytes:
        """Return the proof of a draw. Raises DeskFailed."""
        url = f"{self._http}/api/rooms/{room}/lotteries/{lottery}/proof"
        try:
            async with self._session.get(url) as response:
                if response.status == 200:
                    return await response.read()
                raise DeskFailed(f"{url}: {response.status}")
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise DeskFailed(f"{url}: {str(exc) or type(exc).__name__}") from exc
