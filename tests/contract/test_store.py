"""What every implementation of the `Store` port promises, on every kind of store."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

import faultproxy
from liveroom.core.position import Position
from liveroom.errors import ConfigError, OutcomeUnknown, StoreError, StoreUnavailable
from liveroom.plugin.manager import PluginManager
from liveroom.plugin.spec import Delivery, EventSpec, Plugin
from liveroom.store.port import Batch, Committed, Op, Publication
from liveroom.store.redis import RedisStore, base_key
from liveroom.store.script import assemble
from liveroom.store.topology import topology_from_url


class Probe(Plugin):
    """Operations that make every promise of the script visible."""

    name = "probe"
    events = (EventSpec("t.said", Delivery.DURABLE, "test"),)
    lua = """
ops['t.add'] = function(op)
  local total = tonumber(call('GET', key('n')) or 0) + op.d.n
  write('SET', key('n'), string.format('%.0f', total))
  return {total = total}
end
ops['t.total'] = function() return {total = tonumber(call('GET', key('n')) or 0)} end
ops['t.push'] = function(op) write('RPUSH', key('list'), op.d.value) end
ops['t.list'] = function(op)
  local items = call('LRANGE', key(op.d.name), 0, -1)
  return {items = items, n = #items}
end
ops['t.echo'] = function(op) return {value = op.d.value} end
ops['t.say'] = function(op) emit('t.said', {text = op.d.text}) end
ops['t.whisper'] = function(op) emit_to(op.d.to, 't.said', {text = op.d.text}) end
ops['t.set'] = function(op) state(op.d.name, {value = op.d.value}) end
ops['t.fault'] = function(op)
  write('SET', key('n'), 99)
  emit('t.said', {text = 'never'})
  state('bad', {value = 1})
  at('t.ring', 'never', now)
  error('boom')
end
ops['t.refuse'] = function(op)
  write('SET', key('n'), 99)
  emit('t.said', {text = 'never'})
  fail('not_allowed', 'no', {seen = op.d.seen}, op.d.final)
end
ops['t.timer'] = function(op) at(op.d.kind, op.d.id, now + op.d.ms) end
ops['t.cancel'] = function(op) cancel(op.d.kind, op.d.id) end
due['t.ring'] = function(id, ms) emit('t.said', {text = 'rang ' .. id}) end
due['t.broken'] = function() error('boom') end
"""


SCRIPT = assemble(PluginManager([Probe()]).lua)


class Ears:
    """Remembers what the store's channels said."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self.subscribed: list[str] = []
        self._changed = asyncio.Event()

    def on_publication(self, publication: Publication) -> None:
        self.publications.append(publication)
        self._changed.set()

    def on_subscribed(self, scope: str) -> None:
        self.subscribed.append(scope)
        self._changed.set()

    def of(self, scope: str) -> list[Publication]:
        return [p for p in self.publications if p.scope == scope]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(8):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def count(self, scope: str, number: int) -> list[Publication]:
        await self.until(lambda: len(self.of(scope)) >= number)
        return self.of(scope)


class Open:
    """A started store and its ears."""

    def __init__(self, store: RedisStore, ears: Ears) -> None:
        self.store = store
        self.ears = ears
        self.topology: Any = store._topology

    async def run(self, scope: str, *ops: Op, **batch: Any) -> Committed:
        return await self.store.commit(scope, Batch(ops, **batch))

    async def one(self, scope: str, op: Op) -> bytes:
        return (await self.run(scope, op)).replies[0]

    async def hear(self, scope: str) -> None:
        await self.store.subscribe(scope)
        await self.ears.until(lambda: scope in self.ears.subscribed)

    async def ask(self, scope: str, *command: str) -> Any:
        return await self.store.ask(self.topology.address(base_key(scope)), *command)

    @property
    def proxies(self) -> list[faultproxy.FaultProxy]:
        return list(self.topology.proxies.values())


OpenStore = Callable[..., Awaitable[Open]]


@pytest.fixture
async def open_store(store_url: str, tmp_path: Path) -> AsyncIterator[OpenStore]:
    """Open stores on the same data: `await open_store(proxied=True, timeout_s=…)`."""
    async with AsyncExitStack() as stack:

        async def start(*, proxied: bool = False, **options: Any) -> Open:
            topology: Any = topology_from_url(store_url)
            if proxied:
                topology = faultproxy.ProxiedTopology(topology, tmp_path)
                stack.push_async_callback(topology.aclose)
            worker = secrets.token_hex(4)
            store = RedisStore(topology, SCRIPT, worker=worker, **options)
            stack.push_async_callback(store.close)
            ears = Ears()
            await store.start(ears)
            return Open(store, ears)

        yield start


@pytest.fixture
async def one(open_store: OpenStore) -> Open:
    return await open_store()


@pytest.fixture
async def two(open_store: OpenStore) -> Open:
    return await open_store()


@pytest.fixture
def scope(room: str) -> str:
    return room


def add(n: int = 1, **more: Any) -> Op:
    return Op("t.add", "u", {"n": n}, **more)


def say(text: str) -> Op:
    return Op("t.say", "u", {"text": text})


def whisper(to: str, text: str) -> Op:
    return Op("t.whisper", "u", {"to": to, "text": text})


def put(name: str, value: int) -> Op:
    return Op("t.set", "u", {"name": name, "value": value})


def timer(identity: str, ms: int, kind: str = "t.ring") -> Op:
    return Op("t.timer", "u", {"kind": kind, "id": identity, "ms": ms})


TOTAL = Op("t.total", "u", {})


def texts(publications: list[Publication]) -> list[str]:
    entries = itertools.chain.from_iterable(p.durables for p in publications)
    return [orjson.loads(entry.item)["d"]["text"] for entry in entries]


# A batch.


async def test_commit_answers_every_op_in_order(one: Open, scope: str) -> None:
    """Each op sees what the ones before it in the batch did, and is answered in its place."""
    committed = await one.run(scope, add(1), add(10), TOTAL, Op("t.echo", "u", {"value": "x"}))

    answers = [orjson.loads(reply[1:]) for reply in committed.replies]
    assert answers == [{"total": 1}, {"total": 11}, {"total": 11}, {"value": "x"}]


async def test_commit_batches_of_two_stores_do_not_interleave(
    one: Open, two: Open, scope: str
) -> None:
    """A batch is one step: nobody's op comes between its ops."""

    def batch(name: str) -> Batch:
        return Batch([Op("t.push", "u", {"value": name})] * 3)

    names = [f"{number:02d}" for number in range(40)]
    stores = itertools.cycle((one.store, two.store))
    await asyncio.gather(*(next(stores).commit(scope, batch(name)) for name in names))

    reply = await one.one(scope, Op("t.list", "u", {"name": "list"}))
    items = orjson.loads(reply[1:])["items"]
    groups = [items[i : i + 3] for i in range(0, len(items), 3)]
    assert all(len(set(group)) == 1 for group in groups)
    assert sorted(group[0] for group in groups) == names


async def test_commit_empty_answers_the_position(one: Open, scope: str) -> None:
    """An empty batch asks where the log stands."""
    said = await one.run(scope, say("a"))

    asked = await one.run(scope)

    assert asked.position == said.position
    assert asked.replies == []


async def test_commit_unknown_op_is_refused(one: Open, scope: str) -> None:
    """An op that no feature handles is refused by name; the others of its batch are done."""
    replies = (await one.run(scope, Op("t.nothing", "u", {}), add())).replies

    assert orjson.loads(replies[0][1:])["code"] == "unknown_op"
    assert replies[1] == b'+{"total":1}'


async def test_commit_fault_of_a_handler_changes_nothing(one: Open, scope: str) -> None:
    """A handler that breaks is answered with "!", and only its own effects are missing."""
    await one.hear(scope)
    before = await one.run(scope, say("before"))

    after = await one.run(scope, add(1), Op("t.fault", "u", {}, "k", "h"), add(1), say("after"))

    assert after.replies[1][:1] == b"!"
    assert b"boom" in after.replies[1]
    assert await one.one(scope, TOTAL) == b'+{"total":2}'
    assert after.position.seq == before.position.seq + 1
    assert after.due_ms == 0
    heard = await one.ears.count(scope, 2)
    assert texts(heard) == ["before", "after"]
    assert all(not publication.states for publication in heard)


async def test_commit_refusal_of_a_handler_changes_nothing(one: Open, scope: str) -> None:
    """A refusal carries its code and fields, and the handler's writes are dropped."""
    op = Op("t.refuse", "u", {"seen": 3})

    replies = (await one.run(scope, op, TOTAL)).replies

    assert replies[0][:1] == b"-"
    assert orjson.loads(replies[0][1:]) == {"code": "not_allowed", "msg": "no", "seen": 3}
    assert replies[1] == b'+{"total":0}'


# Position and log.


async def test_position_grows_by_one_per_public_event(one: Open, two: Open, scope: str) -> None:
    """The number is per scope, whoever commits; the epoch stays."""
    positions = [
        (await opened.run(scope, *[say("x")] * count)).position
        for opened, count in ((one, 1), (two, 2), (one, 3))
    ]

    assert [position.seq for position in positions] == [1, 3, 6]
    assert len({position.epoch for position in positions}) == 1
    assert positions[0].epoch


async def test_position_private_events_count_under_the_public_one(one: Open, scope: str) -> None:
    """What goes to one viewer has the number of the public event before it, and a `sub`."""
    await one.hear(scope)

    end = (await one.run(scope, whisper("a", "w0"), say("p1"), whisper("b", "w1"))).position
    last = (await one.run(scope, whisper("a", "w2"), say("p2"))).position

    assert (end.seq, end.sub) == (1, 1)
    assert (last.seq, last.sub) == (2, 0)
    heard = await one.ears.count(scope, 2)
    entries = [(e.seq, e.sub, e.user) for p in heard for e in p.durables]
    assert entries == [(0, 1, "a"), (1, 0, None), (1, 1, "b"), (1, 2, "a"), (2, 0, None)]
    items = [orjson.loads(e.item) for p in heard for e in p.durables]
    assert [(item["seq"], item.get("sub", 0)) for item in items] == [(s, u) for s, u, _ in entries]


async def test_publications_chain_from_start_to_end(one: Open, two: Open, scope: str) -> None:
    """Each starts where the one before it ended, across stores: a hole shows."""
    await one.hear(scope)
    for number in range(10):
        opened = one if number % 2 else two
        await opened.run(scope, say(f"{number}"), whisper("a", f"w{number}"))

    heard = await one.ears.count(scope, 10)
    assert heard[0].start._replace(epoch="") == Position("", 0, 0)
    for before, after in itertools.pairwise(heard):
        assert after.start == before.end
    assert {p.worker for p in heard} == {one.store._worker, two.store._worker}


async def test_publications_of_parallel_commits_come_in_commit_order(
    one: Open, two: Open, scope: str
) -> None:
    """However commits race, a listener sees one order, and it is that of the log."""
    await one.hear(scope)
    await two.hear(scope)
    await asyncio.gather(
        *(opened.run(scope, say(f"{n}")) for n in range(50) for opened in (one, two))
    )

    heard = [texts(await opened.ears.count(scope, 100)) for opened in (one, two)]
    log = await one.store.read_log(scope, Position("", 0, 0), 1000)
    logged = [orjson.loads(entry.item)["d"]["text"] for entry in log]
    assert heard[0] == heard[1] == logged
    assert [entry.seq for entry in log] == list(range(1, 101))


async def test_read_log_returns_what_follows_a_position(one: Open, scope: str) -> None:
    """Exclusive of the position, oldest first, at most the limit, private ones with their user."""
    await one.run(scope, say("1"), whisper("a", "1.1"), whisper("b", "1.2"), say("2"), say("3"))

    async def read(seq: int, sub: int, limit: int = 10) -> list[tuple[int, int, str | None]]:
        entries = await one.store.read_log(scope, Position("", seq, sub), limit)
        return [(entry.seq, entry.sub, entry.user) for entry in entries]

    assert await read(0, 0) == [
        (1, 0, None), (1, 1, "a"), (1, 2, "b"), (2, 0, None), (3, 0, None),
    ]  # fmt: skip
    assert await read(1, 0, 2) == [(1, 1, "a"), (1, 2, "b")]
    assert await read(1, 2) == [(2, 0, None), (3, 0, None)]
    assert await read(3, 0) == []


async def test_read_log_of_an_unknown_scope_is_empty(one: Open, scope: str) -> None:
    """Nothing was said where nobody was."""
    assert await one.store.read_log(scope, Position("", 0, 0), 10) == []


async def test_log_holds_the_same_bytes_as_the_publication(one: Open, scope: str) -> None:
    """A viewer that resumes is given exactly what the others saw live."""
    await one.hear(scope)
    await one.run(scope, say('quote " backslash \\ 你好 \u2028'), whisper("a", "w"))

    (heard,) = await one.ears.count(scope, 1)
    assert await one.store.read_log(scope, Position("", 0, 0), 10) == heard.durables


async def test_trim_drops_what_is_too_old_and_nothing_else(one: Open, scope: str) -> None:
    """However long the old part is: it goes in pieces, and the young part stays."""
    await one.run(scope, *[say("old")] * 600)
    one.store.skew_ms = 60_000
    await one.run(scope, *[say("young")] * 3)
    trim = Op("sys.trim", "", {"older_ms": 30_000})

    async def left() -> list[int]:
        entries = await one.store.read_log(scope, Position("", 0, 0), 1000)
        return [entry.seq for entry in entries]

    await one.run(scope, trim)
    assert (await left())[-103:] == list(range(501, 604))
    await one.run(scope, trim)
    assert await left() == [601, 602, 603]


async def test_unknown_scope_leaves_no_key(one: Open, scope: str) -> None:
    """A scope that was only asked about has no epoch and no key."""
    committed = await one.run(
        scope, Op("sys.sync", "", {}), Op("sys.snapshot", "", {}), TOTAL, Op("t.refuse", "u", {})
    )
    await one.run(scope)

    assert committed.position == Position("", 0, 0)
    assert await one.ask(scope, "KEYS", base_key(scope) + "*") == []


async def test_first_write_begins_the_epoch_for_all(one: Open, two: Open, scope: str) -> None:
    """What sets no event still begins the scope's life; everyone is told the same epoch."""
    first = (await one.run(scope, add())).position
    second = (await two.run(scope, say("x"))).position
    reply = await two.one(scope, Op("sys.sync", "", {}))

    assert first.epoch == second.epoch == orjson.loads(reply[1:])["epoch"] != ""


async def test_ephemeral_publication_names_a_lasting_epoch(one: Open, scope: str) -> None:
    """Even if a block is all that a scope ever had, its epoch is the one that stays."""
    await one.hear(scope)
    await one.run(scope, ephemeral=b"1")
    await one.run(scope, ephemeral=b"2")
    said = (await one.run(scope, say("x"))).position

    heard = await one.ears.count(scope, 3)
    assert {p.start.epoch for p in heard} | {p.end.epoch for p in heard} == {said.epoch}


async def test_epoch_changes_once_for_all_who_ask(one: Open, two: Open, scope: str) -> None:
    """Two workers that notice lost history begin one new epoch between them."""
    was = (await one.run(scope, say("x"))).position.epoch
    op = Op("sys.epoch", "", {"was": was})

    first = (await one.run(scope, op)).position
    second = (await two.run(scope, op)).position

    assert first == second
    assert first.epoch != was
    assert (await one.run(scope, say("y"))).position == Position(first.epoch, 2, 0)


# States, kept items, ephemeral bytes.


async def test_states_have_growing_versions(one: Open, two: Open, scope: str) -> None:
    """A version per key and commit; of one batch only the last value is sent."""
    await one.hear(scope)
    await one.run(scope, put("a", 1), put("a", 2), put("b", 1))
    await two.run(scope, put("a", 3))

    heard = await one.ears.count(scope, 2)
    seen = [(s.name, s.version, orjson.loads(s.item)) for p in heard for s in p.states]
    assert seen == [
        ("a", 1, {"st": "a", "v": 1, "d": {"value": 2}}),
        ("b", 1, {"st": "b", "v": 1, "d": {"value": 1}}),
        ("a", 2, {"st": "a", "v": 2, "d": {"value": 3}}),
    ]
    reply = orjson.loads((await two.one(scope, Op("sys.sync", "", {})))[1:])
    assert sorted((s["st"], s["v"], s["d"]["value"]) for s in reply["states"]) == [
        ("a", 2, 3), ("b", 1, 1),
    ]  # fmt: skip


async def test_kept_items_are_the_newest(one: Open, scope: str) -> None:
    """Late joiners are given the last few, unchanged and in order."""
    for first in (1, 4):
        items = [f"item {number} \xff".encode() for number in range(first, first + 3)]
        await one.run(scope, kept=[("talk", 4, items)])

    reply = await one.one(scope, Op("t.list", "u", {"name": "keep:talk"}))
    assert orjson.loads(reply[1:])["items"] == [f"item {n} \xff" for n in (3, 4, 5, 6)]


async def test_ephemeral_bytes_pass_unchanged(one: Open, two: Open, scope: str) -> None:
    """The store does not look into the block."""
    block = bytes(range(256)) * 40
    await one.run(scope, say("x"))
    await one.hear(scope)

    await two.run(scope, ephemeral=block)

    (heard,) = await one.ears.count(scope, 1)
    assert heard.ephemeral == block
    assert heard.start == heard.end
    assert heard.worker == two.store._worker


# Idempotency.


async def test_key_gives_the_stored_answer(one: Open, two: Open, scope: str) -> None:
    """The same key and body: the same bytes from any worker, one effect, one event."""
    op = add(5, key="k", digest="h")

    first = await one.one(scope, op)
    again = [await opened.one(scope, op) for opened in (one, two)]

    assert [first, *again] == [b'+{"total":5}'] * 3
    assert await one.one(scope, TOTAL) == b'+{"total":5}'


async def test_key_twice_in_one_batch_has_one_effect(one: Open, scope: str) -> None:
    """Duplicates may ride together."""
    op = add(5, key="k", digest="h")

    replies = (await one.run(scope, op, op, TOTAL)).replies

    assert replies == [b'+{"total":5}'] * 3


async def test_key_with_another_body_is_refused(one: Open, scope: str) -> None:
    """A key stands for one body; the stored answer stays."""
    await one.one(scope, add(5, key="k", digest="h"))

    refused = await one.one(scope, add(7, key="k", digest="other"))

    assert orjson.loads(refused[1:])["code"] == "key_mismatch"
    assert await one.one(scope, add(5, key="k", digest="h")) == b'+{"total":5}'


async def test_key_belongs_to_its_user(one: Open, scope: str) -> None:
    """Two users may choose the same key."""
    replies = (
        await one.run(
            scope,
            Op("t.add", "a", {"n": 1}, "k", "h"),
            Op("t.add", "b", {"n": 1}, "k", "h"),
        )
    ).replies

    assert replies == [b'+{"total":1}', b'+{"total":2}']


async def test_key_keeps_a_refusal_only_if_it_is_final(one: Open, scope: str) -> None:
    """An ordinary refusal may turn out differently next time; a final one never."""

    async def refuse(key: str, seen: int, *, final: bool) -> Any:
        op = Op("t.refuse", "u", {"seen": seen, "final": final}, key, "h")
        return orjson.loads((await one.one(scope, op))[1:])["seen"]

    assert [await refuse("open", seen, final=False) for seen in (1, 2)] == [1, 2]
    assert [await refuse("shut", seen, final=True) for seen in (1, 2)] == [1, 1]


async def test_key_lives_as_long_as_configured(open_store: OpenStore, scope: str) -> None:
    """The record has the configured time to live, not less and not for ever."""
    opened = await open_store(key_ttl_ms=90_000_000)
    await opened.one(scope, add(key="k", digest="h"))

    left = await opened.ask(scope, "PTTL", base_key(scope) + ":k:u|k")

    assert 89_900_000 < left <= 90_000_000


# Timers.


async def test_timer_runs_when_the_server_says_it_is_due(one: Open, scope: str) -> None:
    """The next due time is answered; nothing runs before it, the next commit after it runs it."""
    await one.hear(scope)
    set_at = await one.run(scope, timer("a", 60_000))
    assert set_at.due_ms == set_at.now_ms + 60_000

    one.store.skew_ms = 59_000
    early = await one.run(scope)
    one.store.skew_ms = 61_000
    late = await one.run(scope)

    assert (early.position.seq, early.due_ms) == (0, set_at.due_ms)
    assert (late.position.seq, late.due_ms) == (1, 0)
    assert texts(await one.ears.count(scope, 1)) == ["rang a"]


async def test_timer_runs_once_whoever_comes_first(one: Open, two: Open, scope: str) -> None:
    """Many workers that come late together run it once."""
    await one.hear(scope)
    await one.run(scope, timer("a", 1000), timer("b", 2000))
    one.store.skew_ms = two.store.skew_ms = 5000

    await asyncio.gather(*(opened.run(scope) for opened in (one, two) * 10))

    assert texts(await one.ears.count(scope, 1)) == ["rang a", "rang b"]
    assert (await one.run(scope)).position.seq == 2


async def test_timer_set_anew_or_cancelled_does_not_run_at_its_old_time(
    one: Open, scope: str
) -> None:
    """An id has one time; cancelling takes it away."""
    await one.run(scope, timer("moved", 1000), timer("gone", 1000))
    moved = await one.run(
        scope, timer("moved", 9000), Op("t.cancel", "u", {"kind": "t.ring", "id": "gone"})
    )
    one.store.skew_ms = 5000

    asked = await one.run(scope)

    assert asked.position.seq == 0
    assert asked.due_ms == moved.due_ms


async def test_timer_that_breaks_is_tried_later_and_stops_no_other(one: Open, scope: str) -> None:
    """A broken handler's timer moves back by seconds; the others of its batch run."""
    await one.hear(scope)
    await one.run(scope, timer("x", 1000, "t.broken"), timer("y", 1500, "t.unknown"))
    await one.run(scope, timer("a", 2000))
    one.store.skew_ms = 5000

    asked = await one.run(scope, add())

    assert texts(await one.ears.count(scope, 1)) == ["rang a"]
    assert asked.due_ms == asked.now_ms + 5000
    assert asked.replies == [b'+{"total":1}']


# Channels.


def neighbour(opened: Open, scope: str) -> str:
    """Return another scope that the same node serves."""
    place = opened.topology.address(base_key(scope))
    names = (f"{scope}-{number}" for number in itertools.count())
    return next(n for n in names if opened.topology.address(base_key(n)) == place)


async def test_subscribe_confirms_and_brings_what_follows(one: Open, two: Open, scope: str) -> None:
    """Everything after the confirmation comes; what went before is in the log only."""
    await two.run(scope, say("before"))
    await one.hear(scope)

    await two.run(scope, say("after"))

    assert texts(await one.ears.count(scope, 1)) == ["after"]
    assert one.ears.subscribed == [scope]


async def test_unsubscribe_ends_the_publications(one: Open, scope: str) -> None:
    """After it nothing of the scope comes; other scopes go on."""
    other = neighbour(one, scope)
    await one.hear(scope)
    await one.store.unsubscribe(scope)
    await one.hear(other)

    await one.run(scope, say("unheard"))
    await one.run(other, say("heard"))

    await one.ears.count(other, 1)
    assert one.ears.of(scope) == []


async def test_subscriptions_come_back_after_the_link_was_killed(one: Open, scope: str) -> None:
    """The confirmation comes again: what was said meanwhile may be missing."""
    await one.hear(scope)
    for address in one.store.addresses():
        await one.store.ask(address, "CLIENT", "KILL", "TYPE", "pubsub")

    await one.ears.until(lambda: one.ears.subscribed.count(scope) == 2)

    await one.run(scope, say("again"))
    assert texts(await one.ears.count(scope, 1)) == ["again"]
    assert one.store.reconnects >= 1


# Faults.


async def test_script_cache_flush_is_not_noticed(one: Open, scope: str) -> None:
    """An unknown script was not executed: it is loaded and sent once more."""
    for total in range(1, 4):
        for address in one.store.addresses():
            await one.store.ask(address, "SCRIPT", "FLUSH")
        assert await one.one(scope, add()) == b'+{"total":%d}' % total


async def test_start_refuses_a_script_with_an_error(store_url: str) -> None:
    """A feature's syntax error stops the start and names the place."""
    script = assemble({"bad": "this is not Lua"})
    store = RedisStore(topology_from_url(store_url), script, worker="w")
    try:
        with pytest.raises(ConfigError, match="commit script"):
            await store.start(Ears())
    finally:
        await store.close()


async def test_commit_without_a_server_is_unavailable(open_store: OpenStore, scope: str) -> None:
    """Refused connections until the deadline: certainly not executed; the next one is answered."""
    opened = await open_store(proxied=True, timeout_s=0.3)
    for proxy in opened.proxies:
        proxy.refusing = True
        proxy.reset()

    # What the first finds is a connection that has just broken.
    with pytest.raises(StoreError):
        await opened.run(scope, add())
    with pytest.raises(StoreUnavailable):
        await opened.run(scope, add())

    for proxy in opened.proxies:
        proxy.refusing = False
    assert (await opened.one(scope, TOTAL)) in (b'+{"total":0}', b'+{"total":1}')


def cut_within_a_reply(pair: faultproxy.Pair) -> None:
    pair.down.cut_after = 3


@pytest.mark.parametrize(
    "fault", [faultproxy.Pair.reset, faultproxy.Pair.half_close, cut_within_a_reply]
)
async def test_commit_goes_on_after_a_broken_link(
    open_store: OpenStore, one: Open, scope: str, fault: Callable[[faultproxy.Pair], None]
) -> None:
    """However a connection ends, at most what was on its way is unknown; nothing is done twice."""
    opened = await open_store(proxied=True)
    await opened.run(scope, add())
    for proxy in opened.proxies:
        for pair in list(proxy.pairs):
            fault(pair)

    attempts = 0
    async with asyncio.timeout(8):
        while attempts < 5:
            attempts += 1
            try:
                reply = await opened.one(scope, add(key=f"k{attempts}", digest="h"))
            except OutcomeUnknown:
                reply = await opened.one(scope, add(key=f"k{attempts}", digest="h"))
            assert reply == b'+{"total":%d}' % (attempts + 1)

    assert await one.one(scope, TOTAL) == b'+{"total":6}'


async def test_commit_with_a_lost_reply_is_unknown_and_not_sent_again(
    open_store: OpenStore, one: Open, scope: str
) -> None:
    """The connection ends between the command and its reply: done once, and not known here."""
    opened = await open_store(proxied=True)
    await opened.run(scope, add())
    events = [proxy.lose_reply_to(scope.encode()) for proxy in opened.proxies]

    with pytest.raises(OutcomeUnknown):
        await opened.run(scope, add())

    assert any(event.is_set() for event in events)
    assert await one.one(scope, TOTAL) == b'+{"total":2}'
    assert await opened.one(scope, add()) == b'+{"total":3}'


async def test_commit_into_a_black_hole_is_unknown_at_the_deadline(
    open_store: OpenStore, one: Open, scope: str
) -> None:
    """No answer, no end of the connection: given up in time, and the answer is never taken later."""
    opened = await open_store(proxied=True, timeout_s=0.3)
    await opened.run(scope, add())
    links = [link for proxy in opened.proxies for link in proxy.command_links()]
    for link in links:
        link.down.hold()

    with pytest.raises(OutcomeUnknown):
        await opened.run(scope, add())
    for link in links:
        link.release()

    assert await opened.one(scope, Op("t.echo", "u", {"value": "mine"})) == b'+{"value":"mine"}'
    assert await one.one(scope, TOTAL) == b'+{"total":2}'


async def test_commit_cancelled_in_flight_gives_nobody_a_wrong_answer(
    open_store: OpenStore, scope: str
) -> None:
    """Thousands of callers go away while their commands are on the way: all others get their own."""
    opened = await open_store(proxied=True)
    for proxy in opened.proxies:
        for link in proxy.command_links():
            link.down.latency_s = 0.002
    rng = random.Random(7)

    async def ask(number: int) -> tuple[int, bytes]:
        op = Op("t.echo", "u", {"value": number})
        return number, await opened.one(f"{scope}-{number % 5}", op)

    answers: list[tuple[int, bytes]] = []
    for wave in range(0, 3000, 150):
        tasks = [asyncio.create_task(ask(number)) for number in range(wave, wave + 150)]
        for _ in range(rng.randrange(8)):
            await asyncio.sleep(0)
        for task in rng.sample(tasks, 100):
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        answers += [result for result in done if isinstance(result, tuple)]

    assert len(answers) >= 20 * 50
    for number, reply in answers:
        assert orjson.loads(reply[1:]) == {"value": number}
