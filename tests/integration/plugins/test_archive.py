"""The archive over the wire: what happened in a room is in SQL once, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

import harness
import postgres
from liveroom import Call, ConfigError, Engine, LogEntry, Op
from liveroom.core.clock import FakeClock
from liveroom.plugin.spec import Plugin
from liveroom_plugins.archive import Archive
from liveroom_plugins.archive.consumer import Consumer
from liveroom_plugins.archive.cursor import Cursor, Page
from liveroom_plugins.archive.database import Away, Database
from liveroom_plugins.archive.reading import events_of, find_session, reading, records
from liveroom_plugins.archive.rows import danmaku_row, event_row
from liveroom_plugins.archive.schema import danmaku
from liveroom_plugins.archive.writing import cursor_of, store_fleeting, store_page


Row = dict[str, Any]


def rows(url: str, query: str, **values: Any) -> list[Row]:
    """Ask the database directly."""
    with reading(url) as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def archived(url: str, room: str) -> list[tuple[int, int, str]]:
    """Return (seq, sub, name) of a room's events in the archive."""
    query = "SELECT seq, sub, name FROM events WHERE room = :room ORDER BY epoch, seq, sub"
    return [(row["seq"], row["sub"], row["name"]) for row in rows(url, query, room=room)]


@asynccontextmanager
async def archiving(store: str, url: str, **settings: Any) -> AsyncIterator[tuple[Any, Archive]]:
    """Run a worker with an archive; it reads and writes only when the test says so."""
    plugin = Archive(every_s=3600)
    options = settings.pop("options", {})
    tables = {"archive": {"url": url, **options}}
    started = harness.running_worker(store, plugins=[plugin], plugin=tables, **settings)
    async with started as worker:
        yield worker, plugin


async def catch_up(plugin: Archive) -> None:
    """Have everything archived that this worker knows of."""
    async with asyncio.timeout(harness.PATIENCE_S):
        await plugin.write()
        for room in list(plugin.unread):
            await plugin.consumer.consume(room)


def said(url: str, room: str) -> list[str]:
    """Return the texts of a room's messages in the archive."""
    query = "SELECT text FROM danmaku WHERE room = :room ORDER BY ts, id"
    return [row["text"] for row in rows(url, query, room=room)]


async def titled(worker: harness.Worker, room: str, titles: range) -> None:
    """Have events happen, and this worker know: the room is called otherwise, again and again."""
    ops = [Op("room.update", "x", {"title": f"show {number}"}) for number in titles]
    place = (await worker.node.hub.commit(room, ops)).position
    handle = worker.node.hub.room(room)
    async with asyncio.timeout(harness.PATIENCE_S):
        while handle is not None and handle.position < place:  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(0.001)


async def unseen(worker: harness.Worker, room: str, titles: range) -> None:
    """The same; nobody waits for it."""
    ops = [Op("room.update", "x", {"title": f"show {number}"}) for number in titles]
    await worker.node.hub.commit(room, ops)


async def test_archive_has_events_danmaku_and_sessions(
    store_url: str, sqlite_url: str, room: str
) -> None:
    """Everything durable in the log's order, messages as published, and one session per opening."""
    async with archiving(store_url, sqlite_url) as (worker, plugin):
        host = await worker.open_control(room)
        await host.ask("room.open", title="One")
        ann = await worker.join(room, "ann")
        sent = await ann.ask("danmaku.send", text="hello", color=255)
        await ann.event("danmaku")
        await host.ask("notice.set", text="Welcome")
        await host.ask("room.close")
        await host.ask("room.open", title="Two")
        await host.event("room.opened", title="Two")
        await catch_up(plugin)

    log = ["room.opened", "notice", "room.closed", "room.opened"]
    assert [name for _, _, name in archived(sqlite_url, room)] == log
    one, two = rows(sqlite_url, "SELECT * FROM sessions ORDER BY opened_ms")
    assert (one["title"], two["title"], two["closed_ms"]) == ("One", "Two", None)
    assert one["opened_ms"] < one["closed_ms"] <= two["opened_ms"]
    with reading(sqlite_url) as connection:
        first = find_session(connection, f"{room}@{one['opened_ms']}", None)
        happened = [(row["name"], row["body"]) for row in events_of(connection, first)]
        assert find_session(connection, None, room).title == "Two"
    assert happened[1] == ("notice", {"text": "Welcome", "by": "host"})
    (hello,) = [r for r in records(sqlite_url, first.name) if r["kind"] == "danmaku"]
    assert (hello["id"], hello["user"], hello["d"]["text"]) == (sent["id"], "ann", "hello")
    assert hello["d"]["color"] == 255
    assert rows(sqlite_url, "SELECT * FROM gaps") == []


async def test_archive_keeps_persons_apart_from_what_happened(
    embedded_url: str, sqlite_url: str, room: str
) -> None:
    """No body names a user; erasing the columns leaves what happened."""
    async with archiving(embedded_url, sqlite_url) as (worker, plugin):
        await worker.open_room(room)
        ann = await worker.join(room, "ann")
        await ann.ask("qa.ask", text="How long?")
        await ann.event("qa.asked")
        await catch_up(plugin)

    query = "SELECT * FROM events WHERE name = 'qa.asked'"
    (asked,) = rows(sqlite_url, query)
    assert (asked["user"], asked["user_name"]) == ("ann", "ann")
    assert "ann" not in str(asked["body"])
    assert "ann" in str(asked["people"])


async def test_archive_goes_on_where_another_worker_stopped(
    embedded_url: str, archive_url: str, room: str
) -> None:
    """What happened while no archive ran is read from the log; nothing is there twice."""
    async with archiving(embedded_url, archive_url) as (worker, plugin):
        await worker.open_room(room)
        await titled(worker, room, range(5))
        await catch_up(plugin)
    async with harness.running_worker(embedded_url) as worker:
        await titled(worker, room, range(5, 9))
    async with archiving(embedded_url, archive_url) as (worker, plugin):
        await plugin.read_unserved()

    expected = [(1, 0, "room.opened")] + [(seq, 0, "room.updated") for seq in range(2, 11)]
    assert archived(archive_url, room) == expected


async def test_archive_reads_by_itself_in_turns(
    embedded_url: str, archive_url: str, room: str
) -> None:
    """Two workers with their timers: one of them at a time has the lease, and nothing is left."""
    options = {"plugin": {"archive": {"url": archive_url}}}
    async with (
        harness.running_worker(embedded_url, plugins=[Archive(0.05)], **options) as first,
        harness.running_worker(embedded_url, plugins=[Archive(0.05)], **options) as second,
    ):
        await first.open_room(room)
        watcher = await second.join(room, "eve")
        await watcher.ask("danmaku.send", text="hello")
        await titled(first, room, range(20))
        async with asyncio.timeout(harness.PATIENCE_S):
            # The database tells nobody.
            while len(archived(archive_url, room)) < 21 or not said(archive_url, room):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    assert [seq for seq, _, _ in archived(archive_url, room)] == list(range(1, 22))
    assert said(archive_url, room) == ["hello"]


async def test_archive_keeps_the_figures_of_minutes(
    embedded_url: str, sqlite_url: str, room: str
) -> None:
    """An event between workers that tells of a minute becomes rows, once."""
    plugin = Archive(3600)
    async with harness.running_worker(
        embedded_url, plugins=[plugin, Minutes()], plugin={"archive": {"url": sqlite_url}}
    ) as worker:
        await worker.open_room(room)
        for likes in (7, 9):
            minute = Op("minutes.tell", "", {"session": 60_000, "minute": 2, "likes": likes})
            await worker.node.hub.commit(room, [minute])
        await plugin.consumer.consume(room)

    (row,) = rows(sqlite_url, "SELECT * FROM minutes")
    assert row == {
        "room": room, "minute_ms": 180_000, "name": "likes", "session": 60_000, "value": 7.0,
    }  # fmt: skip


class Minutes(Plugin):
    """Tells of minutes."""

    name = "minutes"
    lua = "ops['minutes.tell'] = function(op) emit_to('~minutes', 'shop.minute', op.d) end"


async def test_archive_keeps_what_other_plugins_hand_over(
    embedded_url: str, sqlite_url: str, room: str
) -> None:
    """What no log has and nobody is shown: among the records, in the order of its time."""
    plugin = Archive(3600)
    async with harness.running_worker(
        embedded_url, plugins=[plugin, Likes()], plugin={"archive": {"url": sqlite_url}}
    ) as worker:
        await worker.open_room(room)
        ann = await worker.join(room, "ann")
        await ann.ask("like.send", n=3)
        await ann.ask("like.send", n=4)
        await catch_up(plugin)

    with reading(sqlite_url) as connection:
        session = find_session(connection, None, room).name
    found = list(records(sqlite_url, session))
    assert [record["kind"] for record in found] == ["room.opened", "like", "like"]
    assert [record for record in found if record["kind"] == "like"] == [
        {"ts": record["ts"], "kind": "like", "user": "ann", "n": n}
        for record, n in zip(found[1:], (3, 4), strict=True)
    ]


class Likes(Plugin):
    """Has every tap kept."""

    name = "likes_kept"

    async def start(self, engine: Engine) -> None:
        """Take the engine."""
        self._engine = engine

    def accepted(self, call: Call[Any]) -> None:
        """Hand it over."""
        if call.op == "like.send":
            ts = self._engine.clock.wall_ms()
            record = {"ts": ts, "kind": "like", "user": call.user, "n": call.body.n}
            self._engine.record(call.room, record)


async def test_archive_of_two_workers_has_everything_once(
    embedded_url: str, archive_url: str, room: str
) -> None:
    """Both read the same rooms at the same time, without a lease to keep them apart."""
    async with (
        archiving(embedded_url, archive_url) as (first, one),
        archiving(embedded_url, archive_url) as (second, two),
    ):
        await first.open_room(room)
        watcher = await second.join(room, "eve")
        for turn in range(4):
            await titled(first, room, range(turn * 30, turn * 30 + 30))
            await asyncio.gather(one.consumer.consume(room), two.consumer.consume(room))
        await watcher.event("room.updated", title="show 119")
        await asyncio.gather(one.consumer.consume(room), two.consumer.consume(room))

    assert [seq for seq, _, _ in archived(archive_url, room)] == list(range(1, 122))


async def test_archive_notes_what_the_log_dropped(
    embedded_url: str, archive_url: str, room: str
) -> None:
    """What was trimmed before it was read is a row in gaps, with the exact number."""
    async with archiving(embedded_url, archive_url) as (worker, plugin):
        await worker.open_room(room)
        await titled(worker, room, range(5))
        await plugin.consumer.consume(room)
        await titled(worker, room, range(5, 20))
        await worker.node.hub.commit(room, [Op("sys.trim", "", {"older_ms": -1000})])
        await titled(worker, room, range(20, 23))
        await plugin.consumer.consume(room)
        gaps = worker.node.metrics.registry.get_sample_value(
            "liveroom_archive_missing_total", {"kind": "trimmed"}
        )

    (gap,) = rows(archive_url, "SELECT * FROM gaps")
    kept = 1 if gap["missing"] == 14 else 0  # the trim may leave the newest entry
    assert (gap["kind"], gap["seq"], gap["missing"]) == ("trimmed", 6, 15 - kept)
    assert gaps == gap["missing"]
    seqs = [seq for seq, _, _ in archived(archive_url, room)]
    assert seqs == [*range(1, 7), *range(22 - kept, 25)]


async def test_archive_that_comes_late_knows_the_session(
    embedded_url: str, sqlite_url: str, room: str
) -> None:
    """The opening is trimmed already: the session is what the room shows."""
    async with archiving(embedded_url, sqlite_url) as (worker, plugin):
        await worker.open_room(room, title="Late")
        await titled(worker, room, range(3))
        await worker.node.hub.commit(room, [Op("sys.trim", "", {"older_ms": -1000})])
        await titled(worker, room, range(3, 4))
        await plugin.consumer.consume(room)
        opened = (await worker.control(room)).hello["states"]

    (session,) = rows(sqlite_url, "SELECT * FROM sessions")
    (state,) = [item["d"] for item in opened if item["st"] == "room"]
    assert session["opened_ms"] == state["opened_ms"]
    assert {row["session"] for row in rows(sqlite_url, "SELECT session FROM events")} == {
        session["opened_ms"]
    }


async def test_archive_follows_a_log_that_began_anew(
    embedded_url: str, sqlite_url: str, room: str
) -> None:
    """A new epoch over the same entries doubles none of them; the break is noted."""
    async with archiving(embedded_url, sqlite_url) as (worker, plugin):
        await worker.open_room(room)
        await titled(worker, room, range(4))
        await plugin.consumer.consume(room)
        (epoch,) = {row["epoch"] for row in rows(sqlite_url, "SELECT epoch FROM events")}
        await worker.node.hub.commit(room, [Op("sys.epoch", "", {"was": epoch})])
        await unseen(worker, room, range(4, 7))
        await plugin.consumer.consume(room)
        await plugin.consumer.consume(room)

    assert [seq for seq, _, _ in archived(sqlite_url, room)] == list(range(1, 9))
    (gap,) = rows(sqlite_url, "SELECT * FROM gaps")
    assert (gap["kind"], gap["epoch"], gap["seq"], gap["missing"]) == ("epoch", epoch, 5, 0)


async def test_archive_notices_a_store_that_went_back(
    embedded_url: str, sqlite_url: str, room: str
) -> None:
    """After a failover that lost writes the same numbers are other events: both are kept."""
    async with archiving(embedded_url, sqlite_url) as (worker, plugin):
        await worker.open_room(room)
        await titled(worker, room, range(3))
        before = await dumped(worker, room)
        await titled(worker, room, range(3, 6))
        await plugin.consumer.consume(room)
        await restored(worker, room, before)
        await unseen(worker, room, range(91, 95))
        await plugin.consumer.consume(room)

    with reading(sqlite_url) as connection:
        session = find_session(connection, None, room)
        titles = [row["body"]["title"] for row in events_of(connection, session)][1:]
    assert titles == [f"show {number}" for number in (*range(6), *range(91, 95))]
    assert [gap["kind"] for gap in rows(sqlite_url, "SELECT kind FROM gaps")] == ["epoch"]


async def dumped(worker: harness.Worker, room: str) -> tuple[bytes, list[bytes]]:
    """Return a room's log and position as a replica has them at this moment."""
    ask = worker.node.store._execute
    base = f"lr:{{{room}}}"
    log = await ask(base, ("DUMP", f"{base}:log"))
    position = await ask(base, ("HMGET", base, "seq", "sub"))
    return log, position


async def restored(worker: harness.Worker, room: str, state: tuple[bytes, list[bytes]]) -> None:
    """Have the store fall back to it."""
    base, (log, (seq, sub)) = f"lr:{{{room}}}", state
    ask = worker.node.store._execute
    await ask(base, ("RESTORE", f"{base}:log", 0, log, "REPLACE"))
    await ask(base, ("HSET", base, "seq", seq, "sub", sub))


# Deleting.


class Deleting(Plugin):
    """Deletes what was said."""

    name = "deleting"
    lua = "ops['deleting.delete'] = function(op) emit('danmaku.deleted', op.d) end"


DELETED = "SELECT text, deleted_by, deleted_ms FROM danmaku WHERE room = :room ORDER BY ts, id"


@pytest.mark.parametrize("first", ["messages", "events"])
async def test_archive_marks_messages_that_were_deleted(
    embedded_url: str, archive_url: str, room: str, first: str
) -> None:
    """Whichever is written first, the message or the event; of a user all that was said before."""
    plugin = Archive(every_s=3600)
    async with harness.running_worker(
        embedded_url, plugins=[plugin, Deleting()], plugin={"archive": {"url": archive_url}}
    ) as worker:
        await worker.open_room(room)
        ann, bob, cy = [await worker.join(room, user) for user in ("ann", "bob", "cy")]
        one = (await ann.ask("danmaku.send", text="one"))["id"]
        await ann.ask("danmaku.send", text="two")
        await bob.ask("danmaku.send", text="three")
        await cy.ask("danmaku.send", text="four")
        await catch_up(plugin)
        await cy.ask("danmaku.send", text="five")
        worker.node.store.skew_ms += 1000
        for d in ({"ids": [one, "unknown"]}, {"user": "cy"}, {"user": "nobody"}):
            await worker.node.hub.commit(room, [Op("deleting.delete", "", {"by": "mod", **d})])
        if first == "messages":
            await plugin.write()
            await plugin.consumer.consume(room)
        else:
            await plugin.consumer.consume(room)
            await plugin.write()
        later = {"id": "later", "user": {"id": "cy", "name": "cy"}, "text": "six"}
        handle = worker.node.hub.room_for(room)
        plugin.published(handle, "danmaku", later, worker.node.hub.clock.wall_ms() + 60_000)
        await plugin.write()

    found = rows(archive_url, DELETED, room=room)
    assert [(row["text"], row["deleted_by"]) for row in found] == [
        ("one", "mod"), ("two", None), ("three", None), ("four", "mod"), ("five", "mod"), ("six", None),
    ]  # fmt: skip
    assert all((row["deleted_ms"] is None) == (row["deleted_by"] is None) for row in found)


async def test_archive_marks_messages_that_are_written_at_the_same_time(archive_url: str) -> None:
    """Two workers, one with the message and one with the event: one of them sees the other's row."""
    one, two = Database(archive_url, FakeClock()), Database(archive_url, FakeClock())
    await one.open()
    cursor = Cursor()
    for seq in range(1, 21):
        said = {"id": f"m{seq}", "user": {"id": "ann", "name": "ann"}, "text": "x"}
        item = f'{{"ev":"danmaku.deleted","seq":{seq},"ts":{seq},"d":{{"ids":["m{seq}"]}}}}'
        event = event_row("r", "1-a", 1, LogEntry(seq, 0, None, item.encode()))
        end = Cursor("1-a", seq, 0, seq, "", "", 1)
        messages = partial(
            store_fleeting,
            table=danmaku,
            rows=[danmaku_row("r", 1, said, seq)],
            missing=[],
            now_ms=1,
        )
        log = partial(store_page, room="r", start=cursor, page=Page(end, [event], [], []), now_ms=1)
        await asyncio.gather(one.run(messages), two.run(log))
        cursor = end
    for database in (one, two):
        await database.close()

    found = rows(archive_url, DELETED, room="r")
    assert [row["deleted_ms"] for row in found] == list(range(1, 21))


# Dying.


class Dying(Database):
    """A database whose worker dies at a point of the transaction."""

    dies_at = ""

    async def run(self, work: Callable[[Connection], Any]) -> Any:
        storing = not isinstance(work, partial)
        if not storing or not self.dies_at:
            return await super().run(work)
        if self.dies_at == "fetched":
            raise SystemExit(9)

        def killed(connection: Connection) -> None:
            work(connection)  # rows and cursor are written, the commit never comes
            raise SystemExit(9)

        return await super().run(killed)


@pytest.mark.parametrize("point", ["fetched", "written"])
async def test_archive_consumer_that_dies_loses_and_doubles_nothing(
    embedded_url: str, archive_url: str, room: str, point: str
) -> None:
    """Between the log and the rows, or between the rows and the commit: the next one goes on."""
    async with archiving(embedded_url, archive_url) as (worker, plugin):
        await worker.open_room(room)
        await titled(worker, room, range(3))
        await plugin.consumer.consume(room)
        await titled(worker, room, range(3, 6))
        dying = Dying(archive_url, FakeClock())
        dying.dies_at = point
        with pytest.raises(SystemExit):
            await Consumer(worker.node.hub, dying, plugin.metrics).consume(room)
        await dying.close()
        assert len(archived(archive_url, room)) == 4
        await plugin.consumer.consume(room)

    assert [seq for seq, _, _ in archived(archive_url, room)] == list(range(1, 8))


KILLED = """
import asyncio, os, signal, sys
from functools import partial
from liveroom.core.clock import FakeClock
from liveroom_plugins.archive.cursor import Change, Cursor, Page
from liveroom_plugins.archive.database import Database
from liveroom_plugins.archive.writing import store_page

def work(connection):
    end = Cursor("1-a", 1, 0, 1, "digest", "", 1)
    row = dict(room="r", epoch="1-a", seq=1, sub=0, ts=1, session=1, name="x.y", recipient=None,
               user=None, user_name=None, body={}, people=None)
    store_page(connection, "r", Cursor(), Page(end, [row], [Change(1, "One")], []), 1)
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    database = Database(sys.argv[1], FakeClock())
    await database.open()
    await database.run(work)

asyncio.run(main())
"""


async def test_archive_process_that_is_killed_leaves_nothing_half_done(archive_url: str) -> None:
    """SIGKILL when everything is written and not committed: no row, no cursor, no lock."""
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, archive_url)
    assert await killed.wait() == -signal.SIGKILL

    for table in ("events", "sessions", "cursors"):
        assert rows(archive_url, f"SELECT * FROM {table}") == []
    database = Database(archive_url, FakeClock())
    assert await database.run(partial(cursor_of, room="r")) == Cursor()
    await database.close()


# A database that is away, or refuses.


async def test_archive_waits_for_a_database_that_is_away(
    embedded_url: str, postgres_server: postgres.PostgresServer, room: str
) -> None:
    """It is asked again after a growing pause; then everything is there, messages included."""
    url = postgres_server.database()
    clock = FakeClock()
    async with archiving(embedded_url, url) as (worker, plugin):
        plugin.database._clock = clock
        await worker.open_room(room)
        ann = await worker.join(room, "ann")
        await plugin.consumer.consume(room)
        postgres_server.stop()
        try:
            await titled(worker, room, range(4))
            await ann.ask("danmaku.send", text="still here")
            pauses = []
            for _ in range(4):
                clock.advance(60)
                with pytest.raises(Away):
                    await plugin.consumer.consume(room)
                pauses.append(plugin.database._pause_s)
            with pytest.raises(Away, match="asked again later"):
                await plugin.consumer.consume(room)
            await plugin.write()
        finally:
            postgres_server.start()
        clock.advance(60)
        await plugin.consumer.consume(room)
        await plugin.write()
        registry = worker.node.metrics.registry
        failed = registry.get_sample_value(
            "liveroom_archive_failures_total", {"reason": "connection"}
        )

    assert pauses == sorted(set(pauses))
    assert failed is not None
    assert failed >= 4
    assert len(archived(url, room)) == 5
    assert said(url, room) == ["still here"]
    assert rows(url, "SELECT * FROM gaps") == []


async def test_archive_tells_of_a_full_disk_and_goes_on_later(
    embedded_url: str, tmp_path: Path, room: str
) -> None:
    """Nothing of the transaction stays; the reason is counted; with room again it is all there."""
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    async with archiving(embedded_url, url) as (worker, plugin):
        await worker.open_room(room)
        await plugin.consumer.consume(room)
        plugin.database._clock = FakeClock()
        await plugin.database.run(partial(limit_pages, more=0))
        await titled(worker, room, range(100))
        with pytest.raises(Away) as full:
            await plugin.consumer.consume(room)
        assert full.value.reason == "full", full.value
        failed = worker.node.metrics.registry.get_sample_value(
            "liveroom_archive_failures_total", {"reason": "full"}
        )
        assert failed == 1
        assert len(archived(url, room)) == 1
        plugin.database._clock = FakeClock(monotonic=5000)
        await plugin.database.run(partial(limit_pages, more=1000))
        await plugin.consumer.consume(room)

    assert len(archived(url, room)) == 101


def limit_pages(connection: Connection, more: int) -> None:
    """Let SQLite's file grow by so many pages: beyond that its disk is full."""
    count = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {count + more}")


async def test_archive_notes_messages_that_did_not_fit(
    embedded_url: str, sqlite_url: str, room: str
) -> None:
    """The queue has a bound; what is beyond it is counted and noted, and the rest is there."""
    async with archiving(embedded_url, sqlite_url, options={"queue": "3"}) as (worker, plugin):
        await worker.open_room(room)
        host = await worker.control(room)
        for number in range(7):
            await host.ask("danmaku.send", text=f"message {number}")
        await catch_up(plugin)
        await host.ask("danmaku.send", text="message 7")
        await catch_up(plugin)

    (gap,) = rows(sqlite_url, "SELECT * FROM gaps")
    assert said(sqlite_url, room) == ["message 0", "message 1", "message 2", "message 7"]
    assert (gap["room"], gap["kind"], gap["missing"]) == (room, "danmaku", 4)


async def test_archive_takes_what_no_column_would(
    embedded_url: str, archive_url: str, room: str
) -> None:
    """Characters that SQL text cannot hold, and an item that is no JSON, hold nothing up."""
    broken = BrokenItem()
    async with harness.running_worker(
        embedded_url,
        plugins=[plugin := Archive(3600), broken],
        plugin={"archive": {"url": archive_url}},
    ) as worker:
        await worker.open_room(room, title="a\0b")
        await worker.node.hub.commit(room, [Op("broken.emit", "u", {})])
        await plugin.consumer.consume(room)

    assert [name for _, _, name in archived(archive_url, room)] == ["room.opened", "unreadable"]
    assert rows(archive_url, "SELECT title FROM sessions") == [{"title": "ab"}]


class BrokenItem(Plugin):
    """Emits what is no JSON."""

    name = "broken"
    lua = "ops['broken.emit'] = function() emit('broken.said', '{\"text\":\"\\228') end"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "a data directory"),
        ({"url": "mysql://x/y"}, "sqlite"),
        ({"url": "sqlite://"}, "memory"),
        ({"url": "nonsense"}, "sqlite:///FILE"),
        ({"url": "sqlite:////no/such/folder/archive.db"}, "can be written"),
        ({"url": "sqlite:///x.db", "queue": "0"}, "queue"),
        ({"url": "sqlite:///x.db", "speed": 1}, "speed"),
    ],
)
async def test_archive_refuses_bad_options(
    embedded_url: str, options: dict[str, Any], expected: str
) -> None:
    """The engine does not start, and the sentence says what was expected."""
    with pytest.raises(ConfigError, match=expected):
        async with harness.running_worker(
            embedded_url, plugins=[Archive()], plugin={"archive": options}
        ):
            pass
