"""A busy room on two workers, and what its figures have to be: recomputed from what happened.

Twice: from what a plugin of the test noted by itself, and from the archive.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import orjson

import harness
from counting import Figures, Shop, counting
from liveroom import Call, Delivery, EventSpec, LogEntry, Member, Op, Plugin, Role, RoomHandle
from liveroom_plugins.archive import Archive
from liveroom_plugins.archive.reading import records
from liveroom_plugins.counters import Record
from liveroom_plugins.counters.archived import from_archive
from liveroom_plugins.counters.batch import SKETCHED, recompute
from liveroom_plugins.counters.mood import mood_of


__all__ = ["BREAKDOWNS", "Comparison", "Show", "compare", "play", "running_show"]

STEP_MS = 6000
FIRST_MS = 500  # no step is near the end of a minute
USERS = 40
BREAKDOWNS = ("minute", "source", "item", "segment")
TEXTS = ("hello", "很喜欢", "this is great", "太贵了", "not good at all", "?")
SOURCES = ("", "App", "weibo", "a b")
NAMED = {"": "", "App": "app", "weibo": "weibo", "a b": "other"}
ITEMS = ("i1", "i2")
ONCE = {
    "poll.vote": ("vote", "poll"),
    "qa.upvote": ("upvote", "question"),
    "quiz.answer": ("quiz", "quiz"),
    "lottery.enter": ("lottery", "lottery"),
}
"""What counts once for each user and thing."""


Act = Callable[["Show"], Awaitable[None]]


class Deleting(Plugin):
    """Deletes what was said, as a moderator does."""

    name = "deleting"
    events = (EventSpec("danmaku.deleted", Delivery.DURABLE, "Take messages off the screen."),)
    lua = "ops['deleting.delete'] = function(op) emit('danmaku.deleted', op.d) end"


class Recorder(Plugin):
    """Keeps what an archive would: what happened, not what was counted of it."""

    name = "recorder"

    def __init__(self, show: Show, *, log: bool) -> None:
        self._show = show
        self._log = log  # every worker sees the log; one is enough

    def joined(self, room: RoomHandle, member: Member) -> None:
        """An entry."""
        if member.claims.role is Role.VIEWER:
            self._show.record("view", source=NAMED[member.source])

    def recorded(self, room: RoomHandle, record: Mapping[str, Any]) -> None:
        """A visit."""
        if record["kind"] in ("enter", "leave"):
            self._show.visits.append(msgspec.convert(record, Record))

    def published(self, room: RoomHandle, event: str, d: dict[str, Any], ts: int) -> None:
        """A message."""
        if event == "danmaku" and d["user"]["role"] == "viewer":
            user = d["user"]["id"]
            source, mood = self._show.came_through(user), mood_of(d["text"])
            self._show.record("danmaku", user=user, source=source, id=d["id"], mood=mood)

    def accepted(self, call: Call[Any]) -> None:
        """A command of a viewer."""
        if call.role is not Role.VIEWER:
            return
        record, body = self._show.record, call.body
        known = {"user": call.user, "source": NAMED[call.member.source]}
        match call.op:
            case "like.send":
                record("like", n=body.n, **known)
            case "viewer.share":
                record("share", **known)
            case "shelf.click":
                record("click", item=body.item, **known)
            case "shelf.cart":
                record("cart", item=body.item, n=body.n, **known)
            case "survey.answer":
                self._once("survey", call.user, n=body.score)
            case "viewer.follow" if body.on:
                self._once("follow", call.user)
            case _ if call.op in ONCE:
                kind, field = ONCE[call.op]
                self._once(kind, call.user, str(getattr(body, field)))
            case _:
                pass

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """A durable event."""
        if not self._log:
            return
        event = orjson.loads(entry.item)
        d, record = event["d"], self._show.record
        match event["ev"]:
            case "gift.sent" if d["value"]:
                record("gift", user=d["user"]["id"], amount=d["value"])
            case "qa.asked":
                record("question", user=d["user"]["id"])
            case "qa.answered":
                record("answer", n=d["took_ms"])
            case "danmaku.deleted":
                self._show.deleted(d.get("ids", ()), d.get("user"))
            case "segment.marked":
                record("segment", name=d["segment"], ts=d["at_ms"])
            case "flash.paid":
                order = {"order": d["order"], "item": "i2", "status": "paid"}
                record("order", user=d["user"], amount=d["amount"], **order)
            case _:
                pass

    def _once(self, kind: str, user: str, what: str = "", **more: Any) -> None:
        if (kind, user, what) not in self._show.done:
            self._show.done.add((kind, user, what))
            self._show.record(kind, user=user, **more)


class Show:
    """A room on two workers, its audience, and all that happened."""

    def __init__(self, room: str, seed: int) -> None:
        self.room = room
        self.rng = random.Random(seed)
        self.opened = self.now = 0
        self.records: list[Record] = []
        self.visits: list[Record] = []
        self.done: set[tuple[str, str, str]] = set()
        self.shops: list[Shop] = []
        self.archives: list[Archive] = []
        self.archive = ""
        self.here: list[tuple[harness.Client, str]] = []
        self.connections: dict[str, list[str]] = {}
        self.orders: list[Figures] = []
        self.exposures: list[Figures] = []
        self.n = 0

    def record(self, kind: str, **known: Any) -> None:
        """Keep what happened now."""
        fields: Figures = {"ts": self.now, "kind": kind} | known
        self.records.append(Record(**fields))

    def deleted(self, ids: tuple[str, ...], user: str | None) -> None:
        """Mark messages, or all that a user has said until now."""
        for i, record in enumerate(self.records):
            meant = record.id in ids or record.user == user
            if record.kind == "danmaku" and meant and not record.deleted:
                self.records[i] = msgspec.structs.replace(record, deleted=self.now)

    def came_through(self, user: str) -> str:
        """Return the source of a user's only connection; such users alone send messages."""
        (source,) = self.connections[user]
        return NAMED[source]

    def noted(self) -> list[Record]:
        """Return what happened and the visits, in order."""
        return sorted([*self.records, *self.visits], key=lambda record: record.ts)

    async def archived(self) -> list[Record]:
        """Return the same as it is in SQL, when both workers have written what they have."""
        for archive in self.archives:
            await archive.write()
            await archive.consumer.consume(self.room)
        rows = records(self.archive, f"{self.room}@{self.opened}")
        return from_archive(rows, self.opened)

    # Time.

    async def at(self, now: int) -> None:
        """Let all clocks be at a moment of the session."""
        committed = await self.shops[0].worker.node.hub.commit("~clock", [])
        step = self.opened + now - committed.now_ms
        for shop in self.shops:
            shop.worker.node.store.skew_ms += step
            shop.counters.shift_s += step / 1000
        self.now = self.opened + now

    async def told(self) -> None:
        """Have both workers tell what they gathered."""
        for shop in self.shops:
            await shop.told(self.room)

    # The show.

    async def open(self) -> None:
        """Open the room and put something on the shelf."""
        self.host = await self.shops[0].worker.open_control(self.room)
        await self.host.ask("room.open")
        _, answer = await self.shops[0].get(self.room)
        self.opened = self.now = answer["session"]
        for item in ITEMS:
            sku = {"sku": f"k{item}", "price": 1000, "stock": 500}
            await self.host.ask("shelf.put", item=item, title="T", currency="CNY", skus=[sku])
        for number in range(USERS):
            money = {"user": f"u{number}", "amount": 10_000}
            answer = await self.shops[0].tell(
                self.room, "wallet.topup", key=f"{self.room}-{number}", **money
            )
            assert "code" not in answer, answer
        for shop in self.shops:
            handle = shop.worker.node.hub.room_for(self.room)
            while handle.state("item:i2") is None:
                await shop.worker.node.hub.commit(self.room, [])

    async def close(self) -> None:
        """Close the room, and have both workers know."""
        await self.host.ask("room.close")
        for shop in self.shops:
            handle = shop.worker.node.hub.room_for(self.room)
            while shop.counters.audience.current(handle) is not None:
                await shop.worker.node.hub.commit(self.room, [])
        await self.told()

    async def step(self, number: int) -> None:
        """Let a few things happen: people come and go, then those who are known act."""
        acts = self.moves if number % 3 == 0 else self.acts
        for act in self.rng.choices(acts, k=6):
            await act(self)

    def someone(self) -> tuple[harness.Client, str] | None:
        """Return somebody who is there."""
        return self.rng.choice(self.here) if self.here else None

    async def do(self, op: str, key: bool = False, **d: Any) -> None:
        """Have somebody send a command; limits of the room may refuse it."""
        someone = self.someone()
        if someone is not None:
            self.n += 1
            await someone[0].command(op, **({"key": f"k{self.n}"} if key else {}), **d)

    async def come(self) -> None:
        """Somebody comes, maybe with one more tab, maybe on the other worker."""
        user, source = f"u{self.rng.randrange(USERS)}", self.rng.choice(SOURCES)
        shop = self.rng.choice(self.shops)
        client = await shop.worker.connect()
        token = shop.worker.token(self.room, user=user)
        await client.ask("hello", room=self.room, token=token, source=source)
        self.here.append((client, user))
        self.connections.setdefault(user, []).append(source)

    async def go(self) -> None:
        """Somebody leaves."""
        someone = self.someone()
        if someone is None:
            return
        self.here.remove(someone)
        client, _ = someone
        count = [len(shop.worker.node.hub.room_for(self.room).viewers) for shop in self.shops]
        await client.close()
        while count == [len(s.worker.node.hub.room_for(self.room).viewers) for s in self.shops]:
            await self.shops[0].worker.node.hub.commit(self.room, [])

    async def like(self) -> None:
        await self.do("like.send", n=self.rng.randint(1, 50))

    async def say(self) -> None:
        alone = [pair for pair in self.here if len(self.connections[pair[1]]) == 1]
        if alone:
            text = self.rng.choice(TEXTS)
            await self.rng.choice(alone)[0].command("danmaku.send", text=text)

    async def delete(self) -> None:
        """A moderator takes back a message, or all of somebody's; maybe once more."""
        said = [record for record in self.records if record.kind == "danmaku"]
        if not said:
            return
        message = self.rng.choice(said)
        d: Figures = {"ids": [message.id]} if self.rng.random() < 0.7 else {"user": message.user}
        op = Op("deleting.delete", "", d | {"by": "mod"})
        place = (await self.rng.choice(self.shops).worker.node.hub.commit(self.room, [op])).position
        for shop in self.shops:
            handle = shop.worker.node.hub.room_for(self.room)
            while handle.position < place:
                await shop.worker.node.hub.commit(self.room, [])

    async def share(self) -> None:
        await self.do("viewer.share")

    async def follow(self) -> None:
        await self.do("viewer.follow", on=self.rng.random() < 0.7)

    async def gift(self) -> None:
        await self.do("gift.send", key=True, gift="rose", n=self.rng.randint(1, 3))

    async def look(self) -> None:
        await self.do("shelf.click", item=self.rng.choice(ITEMS))
        await self.do("shelf.cart", item="i1", sku="ki1", n=self.rng.randint(1, 3))

    async def ask(self) -> None:
        await self.do("qa.ask", text="how much?")
        await self.do("qa.upvote", question=self.rng.randint(1, 20))
        await self.host.command("qa.answer", question=self.rng.randint(1, 20), text="little")

    async def poll(self) -> None:
        poll = f"p{len(self.done) // 40}"
        opened = {"title": "?", "options": ["a", "b"], "seconds": 60, "change": True}
        await self.host.command("poll.open", key=poll, poll=poll, **opened)
        await self.do("poll.vote", poll=poll, options=[self.rng.randrange(2)])

    async def quiz(self) -> None:
        quiz = f"q{len(self.done) // 40}"
        asked = {"question": "?", "options": ["a", "b"], "correct": 0, "seconds": 30}
        await self.host.command("quiz.open", key=quiz, quiz=quiz, **asked)
        await self.do("quiz.answer", quiz=quiz, option=self.rng.randrange(2))

    async def draw(self) -> None:
        prizes = [{"prize": "tea", "title": "Tea", "n": 1}]
        drawn = {"lottery": "l1", "title": "Draw", "prizes": prizes, "seconds": 3600}
        await self.host.command("lottery.open", key="l1", **drawn)
        await self.do("lottery.enter", lottery="l1")

    async def judge(self) -> None:
        await self.do("survey.answer", score=self.rng.randint(1, 5))

    async def order(self) -> None:
        """An order comes, again, or goes on; some buyers were never here."""
        if self.orders and self.rng.random() < 0.6:
            order = dict(self.rng.choice(self.orders))
        else:
            order = {"order": f"o{len(self.orders)}", "user": f"u{self.rng.randrange(USERS + 9)}"}
            order |= {"amount": self.rng.randint(0, 10_000), "currency": "CNY"}
            order |= {"item": self.rng.choice(ITEMS)} if self.rng.random() < 0.8 else {}
            order |= {"source": "shop"} if self.rng.random() < 0.3 else {}
            self.orders.append(dict(order))
        order["status"] = self.rng.choice(["created", "paid", "paid", "refunded"])
        answer = await self.rng.choice(self.shops).tell(self.room, "order.put", **order)
        assert "code" not in answer, answer
        self.record("order", **{name: order[name] for name in order if name != "currency"})

    async def sell(self) -> None:
        """A flash sale is paid; the shop may tell of the same order."""
        sale = {"sale": f"s{self.n // 400}", "sku": "ki2", "price": 900, "total": 50}
        timing = {"per_user": 9, "starts_in_s": 0, "run_s": 900}
        await self.host.command("flash.arm", key=f"arm{self.n}", **sale, **timing)
        someone = self.someone()
        if someone is None:
            return
        self.n += 1
        reply = await someone[0].command("flash.reserve", key=f"r{self.n}", sku="ki2")
        if "err" in reply:
            return
        order, shop = f"f{self.n}", self.rng.choice(self.shops)
        put: Figures = {"order": order, "user": someone[1], "item": "i2", "amount": 900}
        put |= {"status": "paid"}
        paid = {"reservation": reply["d"]["reservation"], "amount": 900, "order": order}
        ways: list[Callable[[], Awaitable[Figures]]] = [
            lambda: shop.tell(self.room, "order.put", **put),
            lambda: shop.tell(self.room, "flash.confirm", **paid),
        ]
        self.rng.shuffle(ways)
        for way in ways:
            assert "code" not in await way()

    async def expose(self) -> None:
        """The room was shown somewhere, or that is told once more."""
        if self.exposures and self.rng.random() < 0.4:
            shown = self.rng.choice(self.exposures)
        else:
            shown = {"placement": f"p{self.rng.randrange(3)}", "window": self.rng.choice("abc")}
            shown |= {"source": "app"} | ({"item": "i1"} if self.rng.random() < 0.4 else {})
            if self.rng.random() < 0.7:
                people = {f"x{self.rng.randrange(2000)}" for _ in range(100)}
                shown |= {"viewers": sorted(people)}
            else:
                shown |= {"count": self.rng.randrange(500), "placement": "q"}
            self.exposures.append(shown)
        await self.rng.choice(self.shops).tell(self.room, "exposure.put", **shown)
        known = {"name": shown["placement"], "source": "app", "item": shown.get("item", "")}
        users = tuple(shown.get("viewers", ()))
        record = {"window": shown["window"], "users": users, "n": shown.get("count", 0)}
        self.record("exposure", **known, **record)

    moves: tuple[Act, ...] = (come, come, come, go)
    acts: tuple[Act, ...] = (like, say, share, follow, gift, look, ask, poll, quiz, draw, judge)
    acts += (order, order, sell, expose, say, say, delete)


class Comparison:
    """Figures held against what they have to be: exact ones exactly, estimates within their error."""

    def __init__(self) -> None:
        self.exact = self.sketched = 0
        self.wrong_exact = self.wrong_sketched = 0
        self.worst = 0.0
        self.wrong: dict[tuple[str, ...], tuple[Any, Any]] = {}

    @property
    def count(self) -> int:
        """How many figures were compared."""
        return self.exact + self.sketched

    def hold(self, live: Figures, batch: Figures, exposures: int) -> None:
        """Compare figures.

        Args:
            live: what is shown.
            batch: what it has to be.
            exposures: of the session; that of a row is off by a share of these.
        """
        known = leaves(live)
        for path, value in leaves(batch).items():
            found, error = known.get(path, "missing"), SKETCHED.get(path[-1], 0.0)
            if error and isinstance(found, int | float) and value is not None:
                base = exposures if path[-1] == "exposures" else abs(value)
                close = abs(found - value) <= error * base + 0.001
                self.worst = max(self.worst, abs(found - value) / base if base else 0.0)
                self.sketched += 1
                self.wrong_sketched += not close
            else:
                close = found == value
                self.exact += 1
                self.wrong_exact += not close
            if not close:
                self.wrong[path] = (found, value)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values of nested objects by their paths."""
    if isinstance(tree, dict):
        return {k: v for name, part in tree.items() for k, v in leaves(part, (*path, name)).items()}
    return {path: tree}


def told(rows: dict[str, Figures]) -> dict[str, Figures]:
    """Leave out the rows in which nothing happened."""

    def happened(path: tuple[str, ...], value: Any) -> bool:
        return path != ("minute",) and isinstance(value, int | float) and bool(value)

    found = {name: leaves(row) for name, row in rows.items()}
    return {
        name: row for name, row in rows.items() if any(happened(*x) for x in found[name].items())
    }


async def compare(show: Show, *, closed: bool) -> dict[str, Comparison]:
    """Hold what both workers show against batches: of what was noted, and of the archive."""
    await show.told()
    sources = {"noted": show.noted(), "archived": await show.archived()}
    made = {name: Comparison() for name in sources}
    for by in BREAKDOWNS:
        _, answer = await show.rng.choice(show.shops).get(show.room, by=by)
        until = answer["closed_ms"] if closed else answer["now"]
        live = told({str(row[by]): {**row, "from_ms": 0} for row in answer["rows"]})
        for name, found in sources.items():
            batch = recompute(found, show.opened, until, closed=closed)
            exposures = batch["metrics"]["exposures"]
            rows = told(batch[by])
            if by == BREAKDOWNS[0]:
                made[name].hold(answer["metrics"], batch["metrics"], exposures)
            assert set(live) == set(rows), (name, by, set(live) ^ set(rows))
            made[name].hold(live, rows, exposures)
    return made


@asynccontextmanager
async def running_show(store_url: str, room: str, folder: Path, seed: int) -> AsyncIterator[Show]:
    """Open a show on two workers, which archive to SQLite."""
    async with AsyncExitStack() as stack:
        show = Show(room, seed)
        show.archive = f"sqlite:///{folder / 'archive.db'}"
        for number in range(2):
            archive = Archive(every_s=3600)
            plugins = [Recorder(show, log=number == 0), Deleting(), archive]
            tables = {"archive": {"url": show.archive}}
            made = counting(store_url, plugins, plugin=tables, store_timeout_ms=10_000)
            show.shops.append(await stack.enter_async_context(made))
            show.archives.append(archive)
        await show.open()
        yield show


async def play(show: Show, minutes: int) -> AsyncIterator[str]:
    """Let a show go on; yields where it stands: in its middle, at its end, and after it."""
    steps = minutes * 60_000 // STEP_MS
    for number in range(steps):
        await show.at(number * STEP_MS + FIRST_MS)
        if number % (steps // 4) == 1:
            await show.host.ask("segment.mark", name=f"part {number // (steps // 3)}")
        else:
            await show.step(number)
        await show.told()
        if number == steps // 2:
            yield "in the middle"
    await show.close()
    yield "at the end"
    await show.at(minutes * 60_000 + 30_000)
    await show.shops[0].worker.node.hub.commit(show.room, [])
    for _ in range(20):
        await show.order()
    yield "after it"
