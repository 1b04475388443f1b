"""How the commit script is put together: what is run when, and what each feature is given."""

from __future__ import annotations

from collections.abc import AsyncIterator

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


def test_script_gives_a_feature_what_its_source_names() -> None:
    """And nothing that has another value later on."""
    source = assemble({"f": "ops['f.op'] = function() return {n = now} end"}).source

    assert "local ops, now = api.ops, api.now" in source or "local now, ops" in source
    assert "api.writes" not in source
    assert "['f'] = {1}" in source


def test_script_differs_when_a_feature_does() -> None:
    """Two versions of the engine on one store do not run each other's script."""
    assert assemble({"f": "-- 1"}).sha != assemble({"f": "-- 2"}).sha
