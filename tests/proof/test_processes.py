"""Real worker processes, killed by SIGKILL at a named place on the money path.

`liveroom serve` runs as its users run it; the environment names the place. What is left on the disk
is then taken up by another worker, and the books are read from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

import harness
from liveroom import failpoints
from liveroom.auth.claims import Role
from liveroom.auth.tokens import mint
from liveroom.features.wallet import DEMO_MONEY
from liveroom.plugin.spec import Plugin
from liveroom.store.embedded import EmbeddedServer
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.redpackets import RedPackets
from proof import judge, system
from proof.books import Books, Reader
from proof.system import DEAD, ROOM, Crash, Member


PRICE = 100
PATIENCE_S = 30.0
ROSE = {"gift": "rose", "n": 1, "combo": False}
# The third time, so that some were acknowledged before; a gift takes three commits.
PLACES = ("commit.ready:40", "commit.answered:40", "pay.held:3", "pay.effected:3", "pay.settling:3")

# Of coupons and red packets; a payout is begun by a grab.
DROP_PLACES = ("commit.ready:60", "commit.answered:60", "payout.credited:5")
DROP = {
    "drop": "d", "title": "1 off", "quota": 50, "kind": "amount", "value": 100, "valid_s": 3600,
    "seconds": 0,
}  # fmt: skip
TOTAL = 9_000
PACKET = {"packet": "p", "total": TOTAL, "shares": 30, "split": "random", "seconds": 600}
TAKEN = {"coupon.claim": {"drop": "d"}, "redpacket.grab": {"packet": "p"}}

Start = Callable[..., Awaitable["Engine"]]
Taken = dict[tuple[str, str], dict[str, Any] | None]


class Engine:
    """One `liveroom serve` on a data directory."""

    def __init__(self, data: Path, place: str, plugins: str = "") -> None:
        self._said = data.with_suffix(".out")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LIVEROOM_")}
        clean |= {"LIVEROOM_JWT_SECRET": harness.SECRET, "LIVEROOM_PORT": "0"}
        clean |= {"LIVEROOM_OPS_PORT": "0", "LIVEROOM_MESSAGES_PER_S": "10000"}
        clean |= {failpoints.ENVIRONMENT: place, "LIVEROOM_PLUGINS": plugins}
        command = [sys.executable, "-m", "liveroom", "serve", "--dev", "--data", str(data)]
        with self._said.open("wb") as out, data.with_suffix(".log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=out, stderr=log, env=clean)
        self._log = data.with_suffix(".log")

    async def ready(self) -> str:
        """Wait until it serves; return where."""
        async with asyncio.timeout(PATIENCE_S):
            while b"\n" not in self._said.read_bytes():
                assert self.process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.02)
        line = self._said.read_text()
        return line.split("ready: http://", 1)[1].split("/", 1)[0]

    async def worker_died(self) -> None:
        """Wait until the supervisor has said that its worker was killed."""
        async with asyncio.timeout(PATIENCE_S):
            said = f"ended with status {-signal.SIGKILL}"
            while said not in self._log.read_text():  # noqa: ASYNC110 -- another process's log
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """End all of it, the store too."""
        self.process.kill()
        self.process.wait()


async def join(address: str, path: str, user: str, role: str) -> harness.Client:
    client = await harness.Client.open(f"ws://{address}{path}")
    token = mint(harness.SECRET, user=user, room=ROOM, role=role, ttl_s=600, now=time.time())
    client.hello = await client.ask("hello", room=ROOM, token=token)
    return client


async def give_until_it_dies(address: str) -> dict[str, dict[str, Any] | None]:
    """Send gifts one after the other; return the answer of each key, None for the last one's."""
    host = await join(address, "/control", "host", "host")
    await host.ask("room.open")
    payer = await join(address, "/ws", "payer", "viewer")
    await payer.ask("wallet.get")
    answers: dict[str, dict[str, Any] | None] = {}
    for number in range(60):
        answers[f"k{number}"] = None
        try:
            answers[f"k{number}"] = await payer.ask("gift.send", key=f"k{number}", **ROSE)
        except (AssertionError, ConnectionError):
            break
    assert await payer.closed() == 1006
    for client in (host, payer):
        await client.close()
    return answers


@asynccontextmanager
async def heir(url: str, later_ms: int, *plugins: Plugin) -> AsyncIterator[Member]:
    """A worker that finds what the dead one left; it is so much later."""
    asyncio.get_running_loop().set_task_factory(system.own_tasks)
    member = Member(url, int(time.time() * 1000) + later_ms, plugins)
    await member.start()
    try:
        yield member
    finally:
        await member.stop()
        asyncio.get_running_loop().set_task_factory(None)


async def expect_books(member: Member, url: str, paid: int) -> Books:
    """So many gifts were charged, credited and shown; every check of the engine's own holds."""
    reader = Reader(url)
    books = reader.read()
    reader.close()
    judge.check_sums(books)
    assert books.accounts["payer"] == DEMO_MONEY - paid * PRICE
    assert books.ledger.get("host", 0) == paid * PRICE
    assert books.accounts.get("~held", 0) == 0
    assert sum(item["ev"] == "gift.sent" for item in books.log()) == paid
    assert not await member.check([ROOM, *books.shards])
    return books


@pytest.mark.parametrize("place", PLACES)
async def test_processes_killed_on_the_money_path(tmp_path: Path, place: str) -> None:
    """What was acknowledged is there; the gift that was cut off is whole, or was none, as its key says."""
    data = tmp_path / "data"
    engine = Engine(data, place)
    try:
        answers = await give_until_it_dies(await engine.ready())
        await engine.worker_died()
    finally:
        engine.kill()
    assert len(answers) >= 3
    cut = list(answers)[-1]
    assert [key for key, answer in answers.items() if answer is None] == [cut]

    with EmbeddedServer(data) as store:
        async with heir(store.url, 30_000) as member:
            await member.run_job("Payments.recover")
            items = {key: orjson.loads(await _again(member, key)) for key in answers}
            paid = sum("d" in item for item in items.values())
            assert all(items[key]["d"] == answer for key, answer in answers.items() if answer)
            assert paid in (len(answers), len(answers) - 1)
            if paid < len(answers):
                assert items[cut]["err"]["code"] == "aborted"
            await expect_books(member, store.url, paid)


async def _again(member: Member, key: str) -> bytes:
    return await member.ask("payer", Role.VIEWER, "gift.send", ROSE, key)


async def take_until_it_dies(address: str) -> Taken:
    """Have users claim and grab; return what each was answered, None for the one cut off."""
    host = await join(address, "/control", "host", "host")
    await host.ask("room.open")
    await host.ask("wallet.get")
    await host.ask("coupon.drop", key="d", **DROP)
    await host.ask("redpacket.send", key="p", **PACKET)
    users = [await join(address, "/ws", f"u{number}", "viewer") for number in range(16)]
    answers: Taken = {}
    with contextlib.suppress(AssertionError, ConnectionError):
        for user in users:
            for op, d in TAKEN.items():
                answers[user.hello["user"], op] = None
                answers[user.hello["user"], op] = await user.ask(op, key=op, **d)
    assert await host.closed() == 1006
    for client in (host, *users):
        await client.close()
    return answers


def expect_drops(books: Books, won: Taken) -> None:
    """Each coupon was issued once, each share is in the wallet of who grabbed it, the rest is held."""
    claims = [d for (_, op), d in won.items() if d and op == "coupon.claim"]
    grabs = {user: d for (user, op), d in won.items() if d and op == "redpacket.grab"}
    drop = orjson.loads(books.texts("coupon:d:")["1"])
    assert drop["issued"] == drop["unused"] == len(claims)
    codes = {d["code"].partition("-")[2] for d in claims}
    assert books.hashes("coupon:c:")["1"].keys() == codes
    packet = orjson.loads(books.texts("redpacket:p:")["1"])
    grabbed = sum(d["amount"] for d in grabs.values())
    assert (packet["taken"], packet["grabbed"]) == (len(grabs), grabbed)
    assert books.ledger["packets"] == TOTAL - grabbed
    assert books.accounts["host"] == DEMO_MONEY - TOTAL
    assert {user: books.accounts[user] for user in grabs} == {
        user: d["amount"] for user, d in grabs.items()
    }
    assert sum(books.ledger.values()) == sum(books.accounts.values()) == 0


@pytest.mark.parametrize("place", DROP_PLACES)
async def test_processes_killed_while_coupons_and_shares_are_taken(
    tmp_path: Path, place: str
) -> None:
    """Who was answered has it; who was cut off has it once when asking again; the sums are right."""
    data = tmp_path / "data"
    engine = Engine(data, place, "coupons,redpackets")
    try:
        answers = await take_until_it_dies(await engine.ready())
        await engine.worker_died()
    finally:
        engine.kill()
    assert 3 <= len(answers) <= 32
    assert list(answers.values()).count(None) <= 1

    with EmbeddedServer(data) as store:
        async with heir(store.url, 30_000, Coupons(), RedPackets()) as member:
            won: Taken = {}
            for (user, op), answer in answers.items():
                said = orjson.loads(await member.ask(user, Role.VIEWER, op, TAKEN[op], op))
                assert said["d"] == (answer or said["d"])
                won[user, op] = said["d"]
            member.node.store.skew_ms += 30_000
            await member.run_job("Payouts.recover_far")
            reader = Reader(store.url)
            books = reader.read()
            reader.close()
            expect_drops(books, won)
            assert not await member.check([ROOM, *books.shards])


async def test_processes_killed_while_recovering(tmp_path: Path) -> None:
    """A worker process finds what was cut off, and dies of it; the next one finishes."""
    data = tmp_path / "data"
    with EmbeddedServer(data) as store:
        async with heir(store.url, -60_000) as member:
            await member.ask("host", Role.HOST, "room.open", {})
            body = {"user": "payer", "amount": DEMO_MONEY}
            await member.ask("shop", Role.SERVICE, "wallet.topup", body, "t")
            await _know(member, store.url)

            def die() -> None:
                member.kill()
                raise Crash

            failpoints.arm("pay.effected", die)
            assert await _again(member, "k0") == DEAD
            failpoints.disarm_all()

    engine = Engine(data, "pay.recovering")
    try:
        await engine.ready()
        await engine.worker_died()
    finally:
        engine.kill()

    with EmbeddedServer(data) as store:
        async with heir(store.url, 30_000) as member:
            await member.run_job("Payments.recover")
            assert "d" in orjson.loads(await _again(member, "k0"))
            await expect_books(member, store.url, 1)


async def _know(member: Member, url: str) -> None:
    reader = Reader(url)
    books = reader.read()
    reader.close()
    await member.catch_up(books.position, books.versions)
