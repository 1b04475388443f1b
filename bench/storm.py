"""Storms on coupons and red packets: `python -m bench.storm [--claims N] [--coupons N] [--sockets N]`.

Two workers on one store, each with half of the sockets, and one process that asks for all of them,
every socket as a user of its own whose next command follows the answer to the last. Every fifth
command repeats the one before under its key. First all claim of one drop; then all grab of a packet
with fewer shares than users, and half of them of one with more shares, whose rest goes back. Prints
what it took and what does not add up; exit status 1 if anything does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import uvloop

from bench.child import Answer, Child, serve_parent
from bench.load import SECRET, Swarm
from bench.machine import raise_file_limit
from bench.wire import TEXT, Buyer, Counters, client_frame
from liveroom.auth.tokens import mint
from liveroom.rehearsal.wire import Line, address_of
from liveroom.store.embedded import EmbeddedServer


__all__ = ["main"]

_ROOM = "bench"
_JOINING, _PATIENCE_S = 64, 60.0
_GRABS, _SHORT, _LONG = 5, 500, 2000
_TOTALS = {"short": 60_000, "long": 40_000}
_PACKET_S = 10
_SETTINGS = {
    "plugins": ["liveroom_plugins.coupons:Coupons", "liveroom_plugins.redpackets:RedPackets"],
    "dev": True,  # the host has demo money
    "durability": "auto",
    "messages_per_s": 1e6,
    "bytes_per_s": 1e9,
}
_TYPED = {"sold_out", "limit_reached"}
Item = dict[str, Any]


class Told:
    """What all users were answered.

    Args:
        name: the field of an answer that no two users are told alike.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.waited: list[float] = []
        self.codes: Counter[str] = Counter()
        self.names: set[Any] = set()
        self.amount = self.repeats = self.unlike = 0

    @property
    def answers(self) -> int:
        """How many commands were answered, repeats and all."""
        return self.codes.total() + self.repeats

    def take(self, reply: Item, before: Item | None) -> None:
        """Count a reply; `before`: what the same key was told."""
        if before is not None:
            self.repeats += 1
            self.unlike += _said(reply) != _said(before)
        elif "err" in reply:
            self.codes[reply["err"]["code"]] += 1
        else:
            self.codes[""] += 1
            self.names.add(reply["d"][self._name])
            self.amount += reply["d"].get("amount", 0)

    def summary(self, seconds: float) -> Answer:
        """Return the figures."""
        waited, codes = sorted(self.waited), dict(self.codes)
        return {
            "sent": self.answers,
            "granted": codes.pop("", 0),
            "distinct": len(self.names),
            "amount": self.amount,
            "refused": codes,
            "repeats": self.repeats,
            "unlike": self.unlike,
            "seconds": seconds,
            "per_s": self.answers / seconds,
            "p50_s": waited[len(waited) // 2],
            "p99_s": waited[len(waited) * 99 // 100],
        }


class Asker(Buyer):
    """A user at a socket."""

    def __init__(self, counters: Counters, transport: asyncio.Transport) -> None:
        super().__init__(counters, transport, self._next, [])
        self._left = self._turn = 0

    def ask(self, op: str, d: Item, count: int, told: Told) -> None:
        """Send so many commands, the first two at once, each other one after an answer."""
        self._op, self._d, self._told = op, json.dumps(d), told
        self._count = self._left = count
        self._turn += 1
        self._known: dict[int, Item] = {}
        self.send(2)

    def _next(self) -> bytes | None:
        if self._left == 0:
            return None
        number, self._left = self._count - self._left, self._left - 1
        head = f'{{"op":"{self._op}","id":{number},"key":"{self._turn}-{_key_of(number)}"'
        return client_frame(f'{head},"d":{self._d}}}'.encode(), TEXT)

    def _on_frame(self, frame: bytes, now: int) -> None:
        if b'{"re":' not in frame:
            return
        replies = [item for item in json.loads(_text(frame)) if "re" in item]
        for reply in replies:
            key = _key_of(reply["re"])
            self._told.waited.append((now - self._sent_at.popleft()) / 1e9)
            self._told.take(reply, self._known.get(key))
            self._known.setdefault(key, reply)
        self.send(len(replies))


def _key_of(number: int) -> int:
    """Return which key a command has: 0, 0, 1, 2, 3, 4, 4, 5 and so on."""
    return number - (number + 4) // 5


def _said(reply: Item) -> Any:
    return reply["err"]["code"] if "err" in reply else reply["d"]


def _text(frame: bytes) -> bytes:
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


class Storm(Swarm):
    """The users, at sockets of both workers."""

    async def do_enter(self, ports: list[int], sockets: int) -> Answer:
        """Bring everybody in."""
        await self.do_tokens(_ROOM, sockets)
        gate = asyncio.Semaphore(_JOINING)
        turns = (self._asker(gate, ports[n % len(ports)]) for n in range(sockets))
        self._askers = await asyncio.gather(*turns)
        return {}

    async def do_storm(self, op: str, d: Item, name: str, users: int, each: int) -> Answer:
        """Let so many users send a command, all at once, each so many times."""
        told, began = Told(name), time.monotonic()
        for one in self._askers[:users]:
            one.ask(op, d, each, told)
        limit = began + _PATIENCE_S
        while told.answers < users * each and time.monotonic() < limit:  # noqa: ASYNC110 -- hot
            await asyncio.sleep(0.002)
        return told.summary(time.monotonic() - began) | {"wanted": users * each}

    async def _asker(self, gate: asyncio.Semaphore, port: int) -> Asker:
        async with gate:
            transport, rest = await self._greet(port, _ROOM, 0)
        if transport is None:
            raise ConnectionError(repr(rest))
        one = Asker(self.counters, transport)
        self._take(one, _ROOM, 0, rest)
        return one


class Host:
    """The host, at a socket of the first worker, and the process that has the users."""

    def __init__(self, line: Line, load: Child, states: dict[str, Item]) -> None:
        self._line = line
        self._load = load
        self._states = states
        self.ask = line.ask

    async def storm(self, op: str, d: Item, name: str, users: int, each: int) -> Answer:
        """Let users send a command."""
        spec = {"op": op, "d": d, "name": name, "users": users, "each": each}
        return await asyncio.to_thread(self._load.ask, "storm", _PATIENCE_S + 10, **spec)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what the sockets bring. Raises TimeoutError."""
        async with asyncio.timeout(_PATIENCE_S):
            while not true():  # noqa: ASYNC110 -- of another process
                await asyncio.sleep(0.05)

    async def claims(self, claims: int, coupons: int, sockets: int) -> Answer:
        """Drop coupons, and let everybody claim."""
        drop = {
            "drop": "storm", "title": "Storm", "quota": coupons, "per_user": 1, "kind": "amount",
            "value": 1000, "valid_s": 3600, "seconds": 0,
        }  # fmt: skip
        await self.ask("coupon.drop", drop, "drop")
        one = {"drop": "storm"}
        told = await self.storm("coupon.claim", one, "coupon", sockets, claims // sockets)
        return told | {"shown": await self.ask("coupon.show", one)}

    async def grabs(self, packet: str, shares: int, users: int) -> Answer:
        """Send a packet, let users grab, and see it end."""
        body = {
            "packet": packet, "total": _TOTALS[packet], "shares": shares, "split": "random",
            "seconds": _PACKET_S,
        }  # fmt: skip
        await self.ask("redpacket.send", body, packet)
        told = await self.storm("redpacket.grab", {"packet": packet}, "share", users, _GRABS)
        state = f"redpacket:{packet}"
        await self.until(lambda: self._states.get(state, {}).get("status") == "done")
        return told | {"shown": self._states[state]}

    async def balance(self) -> int:
        """Return the host's balance."""
        balance: int = (await self.ask("wallet.get"))["balance"]
        return balance


def _expect_told(what: str, told: Answer, granted: int) -> Iterator[str]:
    """Yield what is wrong with the answers."""
    if told["sent"] != told["wanted"]:
        yield f"{what}: {told['sent']} of {told['wanted']} commands were answered"
    if told["granted"] != granted or told["distinct"] != granted:
        yield f"{what}: {told['granted']} granted, {told['distinct']} distinct, expected {granted}"
    if told["unlike"]:
        yield f"{what}: {told['unlike']} repeats were answered unlike the first"
    if not told["refused"].keys() <= _TYPED:
        yield f"{what}: refused as {told['refused']}"


def _expect_coupons(told: Answer) -> Iterator[str]:
    shown = told["shown"]
    states = sum(shown[state] for state in ("unused", "locked", "used", "expired"))
    if not told["granted"] == shown["issued"] == states <= shown["quota"]:
        yield f"coupons: {told['granted']} granted, the drop says {shown}"


def _expect_packet(what: str, told: Answer) -> Iterator[str]:
    shown = told["shown"]
    if shown["grabbed"] + shown["refunded"] != shown["total"]:
        yield f"{what}: grabbed {shown['grabbed']} + refunded {shown['refunded']}: not the total"
    if told["amount"] != shown["grabbed"]:
        yield f"{what}: users were told {told['amount']}, the packet says {shown['grabbed']}"


async def storms(host: Host, claims: int, coupons: int, sockets: int) -> Answer:
    """Run all; return what happened."""
    money = await host.balance()
    made: Answer = {"coupons": await host.claims(claims, coupons, sockets)}
    made["short"] = await host.grabs("short", _SHORT, sockets)
    made["long"] = await host.grabs("long", _LONG, sockets // 2)
    given = sum(made[packet]["shown"]["grabbed"] for packet in ("short", "long"))
    wrong = [
        *_expect_told("coupons", made["coupons"], min(coupons, sockets)),
        *_expect_coupons(made["coupons"]),
    ]
    for packet, most in (("short", min(_SHORT, sockets)), ("long", min(_LONG, sockets // 2))):
        wrong += [*_expect_told(packet, made[packet], most), *_expect_packet(packet, made[packet])]
    wrong += await _expect_refund(host, money - given)
    checked = await host.ask("audit.check", {"full": True})
    wrong += [str(broken) for broken in checked.get("broken", [])]
    return made | {"checked": sum(checked["counted"].values()), "wrong": wrong}


async def _expect_refund(host: Host, expected: int) -> list[str]:
    """Wait until the rest is in the wallet: it is paid out soon after the end."""
    balance = await host.balance()
    for _ in range(100):
        if balance == expected:
            return []
        await asyncio.sleep(0.1)
        balance = await host.balance()
    return [f"the host has {balance}, expected {expected}"]


async def run(claims: int, coupons: int, sockets: int) -> Answer:
    """Start everything, run all, end everything."""
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedServer(None))
        spec = {"url": store.url, "core": None, "settings": _SETTINGS}
        workers = [stack.enter_context(Child.module("bench.engine", **spec)) for _ in range(2)]
        load = stack.enter_context(Child(sys.executable, "-m", "bench.storm", "--load"))
        ports = [worker.hello["port"] for worker in workers]
        host = await _host(ports[0], load)
        await asyncio.to_thread(load.ask, "enter", 60, ports=ports, sockets=sockets)
        return await storms(host, claims, coupons, sockets) | {"level": workers[0].hello["level"]}


async def _host(port: int, load: Child) -> Host:
    states: dict[str, Item] = {}

    def take(payload: bytes) -> None:
        for item in json.loads(payload):
            if "re" in item:
                line.take_reply(item)
            elif "st" in item:
                states[item["st"]] = item["d"]

    line = await Line.open(address_of(f"ws://127.0.0.1:{port}"), "/control", take)
    token = mint(SECRET, user="host", room=_ROOM, role="host", ttl_s=600, now=time.time())
    await line.ask("hello", {"room": _ROOM, "token": token})
    await line.ask("room.open")
    return Host(line, load, states)


def main(arguments: list[str]) -> int:
    """Run the storms and print them."""
    parser = argparse.ArgumentParser(prog="python -m bench.storm")
    parser.add_argument("--claims", type=int, default=20_000)
    parser.add_argument("--coupons", type=int, default=1_000)
    parser.add_argument("--sockets", type=int, default=2_000)
    given = parser.parse_args(arguments)
    made = uvloop.run(run(given.claims, given.coupons, given.sockets))
    print(f"two workers, {given.sockets:,} sockets, level {made['level']}")
    coupons = made["coupons"]["shown"]
    _print(f"claims on {coupons['quota']:,} coupons", made["coupons"])
    counted = ", ".join(f"{state} {coupons[state]:,}" for state in ("issued", "unused", "locked"))
    print(f"  {counted}, used {coupons['used']:,}, expired {coupons['expired']:,}")
    for packet in ("short", "long"):
        shown = made[packet]["shown"]
        _print(f"grabs of {shown['shares']:,} shares", made[packet])
        print(
            f"  grabbed {shown['grabbed']:,} + refunded {shown['refunded']:,} = {shown['total']:,}"
        )
    print(f"{made['checked']:,} comparisons of the auditor, {len(made['wrong'])} things wrong")
    for wrong in made["wrong"]:
        print(f"  WRONG {wrong}")
    print(json.dumps(made))
    return 1 if made["wrong"] else 0


def _print(what: str, told: Answer) -> None:
    refused = ", ".join(f"{n:,} {code}" for code, n in sorted(told["refused"].items())) or "none"
    print(
        f"{told['sent']:,} {what}: {told['seconds']:.2f} s ({told['per_s']:,.0f}/s),"
        f" p50 {told['p50_s'] * 1e3:.0f} ms, p99 {told['p99_s'] * 1e3:.0f} ms\n"
        f"  granted {told['granted']:,}; refused {refused};"
        f" {told['repeats']:,} repeats, {told['unlike']} answered unlike"
    )


async def _load() -> None:
    raise_file_limit()
    swarm = Storm()
    await serve_parent({"ready": True}, swarm.handle)


if __name__ == "__main__":
    if sys.argv[1:] == ["--load"]:
        uvloop.run(_load())
    else:
        sys.exit(main(sys.argv[1:]))
