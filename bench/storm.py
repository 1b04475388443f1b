"""A storm of claims on a coupon drop: `python -m bench.storm [--claims N] [--coupons N] [--sockets N]`.

Two workers on one store, each with half of the sockets, and one process that claims for all of them,
every socket as a user of its own whose next claim follows the answer to the last. Prints what it took
and whether the books are right; exit status 1 if they are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import ExitStack
from typing import Any

import uvloop

from bench.child import Answer, Child, serve_parent
from bench.load import Swarm
from bench.machine import raise_file_limit
from bench.wire import TEXT, Buyer, client_frame
from liveroom.store.embedded import EmbeddedServer


__all__ = ["main"]

_ROOM, _DROP = "bench", "storm"
_JOINING, _PATIENCE_S = 64, 60.0
_SETTINGS = {
    "plugins": ["liveroom_plugins.coupons:Coupons"],
    "durability": "auto",
    "messages_per_s": 1e6,
    "bytes_per_s": 1e9,
}


class Claims:
    """The claims of one user, each with a key of its own."""

    def __init__(self, count: int) -> None:
        self._left = count

    def next(self) -> bytes | None:
        """Return a frame, or None."""
        if self._left == 0:
            return None
        self._left -= 1
        text = f'{{"op":"coupon.claim","id":{self._left},"key":"k{self._left}","d":{{"drop":"{_DROP}"}}}}'
        return client_frame(text.encode(), TEXT)


class Claimant(Buyer):
    """A user at a socket; the script's refusals have their fields in any order."""

    __slots__ = ()

    def _on_frame(self, frame: bytes, now: int) -> None:
        super()._on_frame(frame, now)
        hidden = frame.count(b'"err":{') - frame.count(b'"err":{"code":"')
        self._counters.accepted -= hidden
        self._counters.refused += hidden


class Storm(Swarm):
    """The users, at sockets of both workers."""

    async def do_claim(self, ports: list[int], sockets: int, claims: int) -> Answer:
        """Bring everybody in, then let all of them claim at once."""
        waited: list[float] = []
        await self.do_tokens(_ROOM, sockets)
        gate = asyncio.Semaphore(_JOINING)
        made = await asyncio.gather(
            *(
                self._claimant(gate, ports[n % len(ports)], claims // sockets, waited)
                for n in range(sockets)
            )
        )
        counters, total = self.counters, claims // sockets * sockets
        began = time.monotonic()
        for one in made:
            one.send(1)
        while counters.accepted + counters.refused < total:
            if time.monotonic() > began + _PATIENCE_S:
                break
            await asyncio.sleep(0.002)
        seconds = time.monotonic() - began
        waited.sort()
        return {
            "sent": total,
            "granted": counters.accepted,
            "refused": counters.refused,
            "seconds": seconds,
            "p50_s": waited[len(waited) // 2],
            "p99_s": waited[len(waited) * 99 // 100],
        }

    async def _claimant(
        self, gate: asyncio.Semaphore, port: int, claims: int, waited: list[float]
    ) -> Claimant:
        async with gate:
            transport, rest = await self._greet(port, _ROOM, 0)
        if transport is None:
            raise ConnectionError(repr(rest))
        one = Claimant(self.counters, transport, Claims(claims).next, waited)
        self._take(one, _ROOM, 0, rest)
        return one


def storm(claims: int, coupons: int, sockets: int) -> dict[str, Any]:
    """Run one; return what happened."""
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedServer(None))
        spec = {"url": store.url, "core": None, "settings": _SETTINGS}
        workers = [stack.enter_context(Child.module("bench.engine", **spec)) for _ in range(2)]
        load = stack.enter_context(Child(sys.executable, "-m", "bench.storm", "--load"))
        workers[0].ask("open", rooms=[_ROOM])
        drop = {
            "drop": _DROP, "title": "Storm", "quota": coupons, "per_user": 1, "kind": "amount",
            "value": 1000, "valid_s": 3600, "seconds": 0, "starts_in_s": 0, "content": "storm",
        }  # fmt: skip
        workers[0].ask("op", room=_ROOM, name="coupon.drop", body=drop)
        ports = [worker.hello["port"] for worker in workers]
        answer = load.ask("claim", 120, ports=ports, sockets=sockets, claims=claims)
        shown = workers[1].ask("op", room=_ROOM, name="coupon.show", body={"drop": _DROP})
        checked = workers[1].ask("op", room=_ROOM, name="sys.check", body={"full": True})
        answer["issued"], answer["broken"] = shown["issued"], checked.get("broken", [])
        answer["level"] = workers[0].hello["level"]
        return answer


def main(arguments: list[str]) -> int:
    """Run a storm and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.storm")
    parser.add_argument("--claims", type=int, default=20_000)
    parser.add_argument("--coupons", type=int, default=1_000)
    parser.add_argument("--sockets", type=int, default=2_000)
    given = parser.parse_args(arguments)
    told = storm(given.claims, given.coupons, given.sockets)
    print(
        f"{told['sent']:,} claims on {given.coupons:,} coupons over two workers, {given.sockets:,}"
        f" sockets, level {told['level']}: {told['seconds']:.2f} s"
        f" ({told['sent'] / told['seconds']:,.0f}/s), p50 {told['p50_s'] * 1e3:.0f} ms,"
        f" p99 {told['p99_s'] * 1e3:.0f} ms; {told['granted']:,} granted, {told['refused']:,} refused,"
        f" {told['issued']:,} issued, {len(told['broken'])} invariants broken"
    )
    print(json.dumps(told))
    expected = min(given.coupons, given.sockets)
    exact = told["granted"] == told["issued"] == expected and not told["broken"]
    return 0 if exact and told["granted"] + told["refused"] == told["sent"] else 1


async def _load() -> None:
    raise_file_limit()
    swarm = Storm()
    await serve_parent({"ready": True}, swarm.handle)


if __name__ == "__main__":
    if sys.argv[1:] == ["--load"]:
        uvloop.run(_load())
    else:
        sys.exit(main(sys.argv[1:]))
