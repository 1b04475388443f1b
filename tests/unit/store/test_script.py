"""How the commit script is put together: what is run when, and what each feature is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from liveroom.features.sources import lua_of
from liveroom.store.port import Batch, Listener, Op, Publication
from liveroom.store.redis import RedisStore
from liveroom.store.script import assemble
from liveroom.store.topology import topology_from_url


FEATURES = {
    "room": lua_of("room"),
    "early": "ops['early.say'] = function(op) note('said', op.u, 2) return {heard = 0} end",
    "late": """
heed('said', function(user, amount) write('HINCRBY', key('heard'), user, amount) end)
ops['late.heard'] = function(op) return {n = tonumber(call('HGET', key('heard'), op.u) or 0)} end
""",
    "maker": "for _, n in ipairs({'a', 'b'}) do ops['made.' .. n] = function() return {n = n} end end",
    "broken": "error('never runs to its end')\nops['broken.op'] = function() return {} end",
    "timer": """
due['timer.ring'] = function(id) write('SET', key('rang'), id) end
ops['timer.set'] = function(op) at('timer.ring', op.d.id, now) end
ops['timer.rang'] = function() return {id = call('GET', key('rang')) or nil} end
""",
    "door": "ops['door.in'] = function() expect_open() return {status = room_status()} end",
    "jar": """
-- A jar of sweets: each user takes one; `jar:u` has who took how many.
local fetched = 0
local function begin(jar) jar.took = {} end
local function fetch(jar)
  jar.had, fetched = fetch_askers('jar:u', 'jar.take', 'jar', jar.s.name)
end
local function write_up(jar)
  call_in_parts('HSET', 'jar:u', jar.took)
  jar.took = {}
end
local jars, jar_of, open_jar, save = keep_books('jar:', begin, fetch, write_up)
ops['jar.fill'] = function(op) open_jar(op.d.n, {name = op.d.jar, left = op.d.left}).dirty = true end
ops['jar.take'] = function(op)
  local jar = jar_of('1')
  if jar.s.left == 0 then fail('sold_out', 'none left') end
  if jar.had[op.u] then fail('limit_reached', 'one each') end
  jar.s.left, jar.dirty, jar.had[op.u] = jar.s.left - 1, true, '1'
  jar.took[#jar.took + 1], jar.took[#jar.took + 2] = op.u, '1'
  return {left = jar.s.left, fetched = fetched, same = jars['1'] == jar}
end
ops['jar.look'] = function()
  local jar = jar_of('1')
  save(jar)
  return {left = cjson.decode(call('GET', key('jar:1'))).left, users = call('HLEN', key('jar:u'))}
end
ops['jar.none'] = function() return {none = jar_of('2') == nil} end
ops['jar.turns'] = function() return {turns = in_turn({[3] = true, [10] = true, [7] = true})} end
""",
}


class Deaf(Listener):
    """Hears nothing."""

    def on_publication(self, publication: Publication) -> None:
        """Take a publication."""

    def on_subscribed(self, scope: str) -> None:
        """Take that a subscription holds."""


@pytest.fixture
async def store(embedded_url: str) -> AsyncIterator[RedisStore]:
    """A store that runs the script of these features."""
    made = RedisStore(topology_from_url(embedded_url), assemble(FEATURES), worker="w1")
    await made.start(Deaf())
    yield made
    await made.close()


async def run(store: RedisStore, room: str, *names: str, **body: object) -> list[object]:
    """Commit ops of user `ann` in one batch; return their replies, or the text of a refusal."""
    ops = [Op(name, "ann", dict(body)) for name in names]
    committed = await store.commit(room, Batch(ops))
    return [orjson.loads(reply[1:]) for reply in committed.replies]


async def test_script_runs_a_feature_whose_op_is_asked(store: RedisStore, room: str) -> None:
    """Also twice in a batch, and beside one whose source breaks off."""
    assert await run(store, room, "late.heard", "late.heard") == [{"n": 0}, {"n": 0}]


async def test_script_lets_features_hear_of_each_other(store: RedisStore, room: str) -> None:
    """Who heeds is run before the first note, though nothing of its own was asked."""
    assert await run(store, room, "early.say", "early.say", "late.heard") == [
        {"heard": 0}, {"heard": 0}, {"n": 4},
    ]  # fmt: skip


async def test_script_finds_names_made_up_at_run_time(store: RedisStore, room: str) -> None:
    """The source does not show them, so everyone is asked."""
    assert await run(store, room, "made.b", "made.a") == [{"n": "b"}, {"n": "a"}]


async def test_script_leaves_a_broken_feature_out(store: RedisStore, room: str) -> None:
    """Its ops are unknown, the others' work, joins and snapshots too."""
    refused, snapshot = await run(store, room, "broken.op", "sys.snapshot")

    assert isinstance(refused, dict)
    assert isinstance(snapshot, dict)
    assert refused["code"] == "unknown_op"
    assert "parts" in snapshot


async def test_script_runs_timers_of_features_not_asked(store: RedisStore, room: str) -> None:
    """A timer finds its feature by its kind."""
    await run(store, room, "timer.set", id="x")
    await store.commit(room, Batch())

    assert await run(store, room, "timer.rang") == [{"id": "x"}]


async def test_script_asks_for_the_status_until_it_changes(store: RedisStore, room: str) -> None:
    """A room that opens and closes within a batch is open for what comes between."""
    steps = ["door.in", "room.open", "door.in", "door.in", "room.close", "door.in"]
    answers: list[Any] = await run(store, room, *steps)

    assert [answer.get("code") for answer in answers] == ["no_room", *[None] * 4, "room_closed"]
    assert answers[3] == {"status": "open"}


async def take(store: RedisStore, room: str, *users: str) -> list[Any]:
    """Have users take a sweet each, in one batch, and look what is left."""
    ops = [Op("jar.take", user, {"jar": "a"}) for user in users]
    committed = await store.commit(room, Batch([*ops, Op("jar.look", "", {})]))
    return [orjson.loads(reply[1:]) for reply in committed.replies]


async def test_script_keeps_books_over_a_batch(store: RedisStore, room: str) -> None:
    """Read once with all who ask, changed by one after the other, written once, also when looked at."""
    await run(store, room, "jar.fill", jar="a", n="1", left=3)

    first = await take(store, room, "ann", "bob", "ann")
    assert first[:2] == [{"left": n, "fetched": 2, "same": True} for n in (2, 1)]
    assert first[2]["code"] == "limit_reached"
    assert first[3] == {"left": 1, "users": 2}

    second = await take(store, room, "bob", "cy", "dee")
    assert [answer.get("code") for answer in second] == ["limit_reached", None, "sold_out", None]
    assert second[3] == {"left": 0, "users": 3}
    assert await run(store, room, "jar.none") == [{"none": True}]


async def test_script_writes_more_than_one_command_takes(store: RedisStore, room: str) -> None:
    """Users beyond what one command holds are read one by one or not at all, and all written."""
    await run(store, room, "jar.fill", jar="a", n="1", left=5000)

    answers = await take(store, room, *(f"u{n}" for n in range(2300)))

    assert answers[0]["fetched"] == 2000
    assert answers[-1] == {"left": 2700, "users": 2300}


async def test_script_takes_turns(store: RedisStore, room: str) -> None:
    """All of them in the order of numbers, from any of them on."""
    (answer,) = await run(store, room, "jar.turns")

    assert isinstance(answer, dict)
    turns = [int(text) for text in answer["turns"]]
    first = turns.index(3)
    assert turns[first:] + turns[:first] == [3, 7, 10]


def test_script_gives_a_feature_what_its_source_names() -> None:
    """And nothing that has another value later on."""
    source = assemble({"f": "ops['f.op'] = function() return {n = now} end"}).source

    assert "local ops, now = api.ops, api.now" in source or "local now, ops" in source
    assert "api.writes" not in source
    assert "['f'] = {1}" in source


def test_script_differs_when_a_feature_does() -> None:
    """Two versions of the engine on one store do not run each other's script."""
    assert assemble({"f": "-- 1"}).sha != assemble({"f": "-- 2"}).sha
