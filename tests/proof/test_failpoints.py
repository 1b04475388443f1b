"""Every named place: a worker dies there, another goes on, and the books agree."""

from __future__ import annotations

import asyncio
import base64
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from liveroom import failpoints, verify_draw
from liveroom.auth.claims import Role
from liveroom.features.payouts import STALE_MS, Payouts
from liveroom.plugin.spec import Plugin
from liveroom.store.embedded import EmbeddedServer
from liveroom.store.port import Op
from proof import judge, system
from proof.books import Books, Reader
from proof.system import DEAD, ROOM, Crash, Member


ROOT = Path(__file__).parents[2]
NOW_MS = 1_760_000_000_000
PRICE = 100
WEBHOOK_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ROSE = {"gift": "rose", "n": 1, "combo": False}


class Scene:
    """A room with a payer, on a store of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = NOW_MS
        self.members: list[Member] = []
        self.settings: dict[str, Any] = {}
        self.reader = Reader(url)

    async def member(self, *plugins: Plugin) -> Member:
        """Start a worker."""
        made = Member(self.url, self.now, plugins, **self.settings)
        self.members.append(made)
        await made.start()
        return made

    async def begin(self, *plugins: Plugin) -> Member:
        """Open the room; give the payer money."""
        first = await self.member(*plugins)
        await first.ask("host", Role.HOST, "room.open", {})
        await first.ask("shop", Role.SERVICE, "wallet.topup", {"user": "ann", "amount": 1000}, "t")
        books = self.reader.read()
        await first.catch_up(books.position, books.versions)
        return first

    def pass_time(self, ms: int) -> None:
        """Let time pass for everybody."""
        self.now += ms
        for member in self.members:
            member.node.store.skew_ms = self.now

    def books(self) -> Books:
        """Read the store; its sums hold."""
        books = self.reader.read()
        judge.check_sums(books)
        return books

    async def end(self) -> None:
        """Stop everything."""
        for member in self.members:
            await member.stop()
        self.reader.close()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    with EmbeddedServer(None) as server:
        asyncio.get_running_loop().set_task_factory(system.own_tasks)
        made = Scene(server.url)
        yield made
        failpoints.disarm_all()
        await made.end()
        asyncio.get_running_loop().set_task_factory(None)


async def die_at(place: str, member: Member, work: Awaitable[Any], after: int = 0) -> None:
    """Run something with a worker that dies at a place; it must come there."""

    def die() -> None:
        if system.here() is member:
            member.kill()
            raise Crash

    failpoints.arm(place, die, after)
    assert await work in (DEAD, None)
    failpoints.disarm_all()
    assert not member.alive, f"{place} was not reached"
    await member.bury()


async def gift(member: Member, key: str = "k") -> bytes:
    """Send a gift."""
    return await member.ask("ann", Role.VIEWER, "gift.send", ROSE, key)


def expect_paid(books: Books, count: int) -> None:
    """So many gifts were charged, credited and shown."""
    assert books.accounts.get("ann", 0) == 1000 - count * PRICE
    assert books.ledger.get("host", 0) == count * PRICE
    assert sum(item["ev"] == "gift.sent" for item in books.log()) == count
    assert books.accounts.get("~held", 0) == 0


async def cut_gift(scene: Scene, place: str, after: int = 0) -> None:
    """The payer's worker dies; its key pays once on another, and is answered alike ever after."""
    first = await scene.begin()
    await die_at(place, first, gift(first), after)
    other = await scene.member()
    answer = await gift(other)
    assert b'"d"' in answer, answer
    scene.pass_time(30_000)
    await other.run_job("Payments.recover")
    assert await gift(await scene.member()) == answer
    expect_paid(scene.books(), 1)


async def cut_gift_given_up(scene: Scene, place: str, paid: int) -> None:
    """Nobody asks again: the recovery settles it or gives it back, and the key says which."""
    first = await scene.begin()
    await die_at(place, first, gift(first))
    other = await scene.member()
    scene.pass_time(30_000)
    await other.run_job("Payments.recover")
    expect_paid(scene.books(), paid)
    item = orjson.loads(await gift(other))
    assert "d" in item if paid else item["err"]["code"] == "aborted"
    expect_paid(scene.books(), paid)


async def cut_recovery(scene: Scene, place: str, before: str, paid: int) -> None:
    """Who finishes what was cut off dies too; a third finishes it."""
    first = await scene.begin()
    await die_at(before, first, gift(first))
    second = await scene.member()
    scene.pass_time(30_000)
    await die_at(place, second, second.run_job("Payments.recover"))
    third = await scene.member()
    await third.run_job("Payments.recover")
    expect_paid(scene.books(), paid)


class Till(Plugin):
    """Stands for whatever has a room pay somebody."""

    name = "till"
    lua = "ops['till.pay'] = function(op) pay_out('host', 'ann', 50, 'till-1') end"


async def cut_payout(scene: Scene, place: str) -> None:
    """A room pays a user: once, whoever dies on the way and however often it is begun anew."""
    first = await scene.begin(Till())
    await gift(first)
    await first.do(first.node.hub.commit(ROOM, [Op("till.pay", "", {})]))
    await die_at(place, first, first.do(Payouts(first.node.hub).pay(ROOM)))
    for _ in range(2):
        other = await scene.member()
        scene.pass_time(30_000)
        await other.do(Payouts(other.node.hub).pay(ROOM, STALE_MS))
    books = scene.books()
    assert books.accounts["ann"] == 1000 - PRICE + 50
    assert books.accounts[f"~out:{ROOM}"] == -50
    assert books.ledger["host"] == PRICE - 50
    assert not books.get("payouts")


async def cut_draw(scene: Scene, place: str) -> None:
    """Who draws dies; another draws, once, and what it publishes can be checked."""
    first = await scene.begin()
    prizes = [{"prize": "cup", "title": "Cup", "n": 2}]
    rules = {"lottery": "d", "title": "Draw", "prizes": prizes, "seconds": 0}
    await first.ask("host", Role.HOST, "lottery.open", rules, "o")
    for number in range(5):
        entry = {"lottery": "d", "nonce": f"{number:02x}"}
        await first.ask(f"v{number}", Role.VIEWER, "lottery.enter", entry)
    frozen = await first.ask("host", Role.HOST, "lottery.freeze", {"lottery": "d"})
    assert b'"entrants":5' in frozen, frozen
    await die_at(place, first, first.draw("d"))

    other = await scene.member()
    await other.draw("d")  # the lease of the dead one still holds
    assert "lottery.drawn" not in _told(scene)
    scene.pass_time(20_000)
    for member in (other, await scene.member()):
        await member.draw("d")

    told = _told(scene)
    assert told["lottery.sealed"] == told["lottery.drawn"] == 1
    assert told["lottery.won"] == 2
    verify_draw.verify(verify_draw.parse(await other.proof("d")))


def _told(scene: Scene) -> Counter[str]:
    return Counter(item["ev"] for item in scene.books().log())


async def cut_cue(scene: Scene, place: str) -> None:
    """Who carries out a cue dies; another carries it out, with one effect."""
    first = await scene.begin()
    poll = {"poll": "p", "title": "Which?", "options": ["a", "b"], "seconds": 0}
    cue = {"cue": "open", "op": "poll.open", "d": poll, "at_s": 1}
    await first.ask("host", Role.HOST, "rundown.put", {"title": "t", "cues": [cue]})
    await first.ask("host", Role.HOST, "rundown.start", {}, "start")
    scene.pass_time(1_000)

    async def due() -> None:
        await first.tick()  # the step comes back to this worker, which is the one to run it
        await asyncio.wait_for(first.dead.wait(), 5)

    await die_at(place, first, due())
    assert _told(scene)["poll.opened"] == 1
    for _ in range(2):
        other = await scene.member()
        scene.pass_time(3_000)
        await other.run_job("Rundown.sweep")
        await _until(lambda: _status(scene) == "fired")
    assert _told(scene)["poll.opened"] == 1


def _status(scene: Scene) -> str:
    steps = [item["d"] for item in scene.books().log() if item["ev"] == "rundown.step"]
    return str(steps[-1]["status"])


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 -- what is asked is the store
            await asyncio.sleep(0.01)


class Shop(Plugin):
    """Stands for whatever tells the back end something."""

    name = "shop"
    lua = "ops['shop.sell'] = function() webhook('order.paid', {order = 'o1'}) end"


async def cut_delivery(scene: Scene, place: str) -> None:
    """The back end has taken a webhook, and nobody knows: it comes again under the same id."""
    got: list[str] = []

    async def take(request: web.Request) -> web.Response:
        got.append(request.headers["webhook-id"])
        return web.Response()

    async with _listening(take) as url:
        scene.settings = {"webhook_url": url, "webhook_secret": WEBHOOK_SECRET}
        first = await scene.begin(Shop())
        await first.do(first.node.hub.commit(ROOM, [Op("shop.sell", "", {})]))
        await die_at(place, first, first.do(first.courier._visit(ROOM)))
        assert len(got) == 1
        for _ in range(2):
            other = await scene.member()
            scene.pass_time(30_000)
            await other.do(other.courier._visit(ROOM))
        assert len(got) == 2
        assert len(set(got)) == 1
        assert not scene.books().get("outbox")


@asynccontextmanager
async def _listening(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/hooks", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    finally:
        await runner.cleanup()


Scenario = Callable[[Scene, str], Awaitable[None]]
SCENARIOS: dict[str, list[Scenario]] = {
    # A gift is four commits: hold, effect, settle, each taken, sent and answered by itself.
    "commit.ready": [
        cut_gift,
        lambda scene, place: cut_gift(scene, place, 1),
        lambda scene, place: cut_gift(scene, place, 2),
    ],
    "commit.answered": [
        cut_gift,
        lambda scene, place: cut_gift(scene, place, 1),
        lambda scene, place: cut_gift(scene, place, 2),
    ],
    "pay.held": [cut_gift, lambda scene, place: cut_gift_given_up(scene, place, 0)],
    "pay.effected": [cut_gift, lambda scene, place: cut_gift_given_up(scene, place, 1)],
    "pay.settling": [
        cut_gift,
        lambda scene, place: cut_gift_given_up(scene, place, 1),
        lambda scene, place: cut_recovery(scene, place, "pay.held", 0),
        lambda scene, place: cut_recovery(scene, place, "pay.effected", 1),
    ],
    "draw.leased": [cut_draw],
    "draw.sealed": [cut_draw],
    "draw.ordered": [cut_draw],
    "cue.performed": [cut_cue],
    "webhook.posted": [cut_delivery],
    "payout.found": [cut_payout],
    "payout.credited": [cut_payout],
    "payout.noted": [cut_payout],
    "pay.recovering": [
        lambda scene, place: cut_recovery(scene, place, "pay.held", 0),
        lambda scene, place: cut_recovery(scene, place, "pay.effected", 1),
    ],
}


def test_failpoints_each_has_its_test() -> None:
    """A place that is declared and never reached proves nothing."""
    sources = [path for part in ("engine", "plugins") for path in (ROOT / part).rglob("*.py")]
    texts = (path.read_text() for path in sources if path.name != "failpoints.py")
    declared = {name for text in texts for name in re.findall(r'= declare\(\s*"([\w.]+)"', text)}
    assert SCENARIOS.keys() == declared
    assert declared >= failpoints.POINTS.keys() - {"a.test"}


@pytest.mark.parametrize(
    ("place", "number"),
    [(place, number) for place, tests in SCENARIOS.items() for number in range(len(tests))],
)
async def test_failpoints_death_leaves_the_books_whole(
    scene: Scene, place: str, number: int
) -> None:
    """The worker dies there; what was promised is kept, and nothing happens twice."""
    await SCENARIOS[place][number](scene, place)
    broken = await scene.members[-1].check([ROOM, *scene.books().shards])
    assert not broken
