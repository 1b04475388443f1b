"""The public contract: what a third party's plugin can do, and that its faults stay its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, NoReturn

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

import harness
from liveroom import (
    Body,
    Call,
    CommandError,
    Commit,
    ConfigError,
    Delivery,
    Empty,
    Engine,
    EventSpec,
    LogEntry,
    Member,
    Op,
    Plugin,
    RoomHandle,
    StateSpec,
    Surface,
    command,
)
from liveroom.features.danmaku import DanmakuSend


class Shout(Body, frozen=True, kw_only=True):
    """Something to shout."""

    text: str = ""


class Cheer(Plugin):
    """Uses every part of the contract."""

    name = "cheer"
    events = (
        EventSpec("cheer.shouted", Delivery.DURABLE, "Someone shouted."),
        EventSpec("cheer.thanks", Delivery.DURABLE, "To the one who shouted."),
        EventSpec("cheer.over", Delivery.DURABLE, "A timer ran."),
        EventSpec("cheer.wave", Delivery.EPHEMERAL, "A wave.", keep=2, per_s=100.0),
    )
    states = (StateSpec("cheers", "How many."), StateSpec("waves", "How many."))
    lua = """
ops['cheer.shout'] = function(op)
  if op.d.text == 'quiet' then fail('rejected', 'not here', {hint = 'louder'}) end
  local total = tonumber(call('GET', key('cheers')) or 0) + 1
  write('SET', key('cheers'), total)
  state('cheers', {total = total})
  emit('cheer.shouted', {user = op.u, text = op.d.text})
  emit_to(op.u, 'cheer.thanks', {total = total})
  at('cheer', op.u, now + 60000)
  return {total = total}
end
due.cheer = function(user) emit('cheer.over', {user = user}) end
ops['cheer.waved'] = function(op)
  local waves = call('GET', key('waves')) or 0
  write('INCRBY', key('waves'), op.d.n)
  state('waves', {n = waves + op.d.n})
end
joins[#joins + 1] = function(op) if op.u == 'nobody' then fail('forbidden', 'not you') end end
parts.cheer = function() return {total = tonumber(call('GET', key('cheers')) or 0)} end
own.cheer = function(user) return cjson.encode(user) end
"""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate = asyncio.Event()
        self._waves = 0

    async def start(self, engine: Engine) -> None:
        self._engine = engine
        self.seen.append("start")

    async def stop(self) -> None:
        self.seen.append("stop")

    def joined(self, room: RoomHandle, member: Member) -> None:
        self.seen.append(f"joined {member.user} {len(room.members)} {room.online}")

    def left(self, room: RoomHandle, member: Member) -> None:
        self.seen.append(f"left {member.user} {len(room.members)}")

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        if b"cheer." in entry.item:
            self.seen.append(f"observed {entry.seq}-{entry.sub} {entry.user}")

    def inspect(self, call: Call[Any]) -> Awaitable[None] | None:
        if isinstance(call.body, DanmakuSend):
            if "boo" in call.body.text:
                raise CommandError("rejected", "no booing", word="boo")
            call.body = replace(call.body, text=call.body.text.replace("damn", "****"))
            if "?" in call.body.text:
                return self._ask(call)
        return None

    async def _ask(self, call: Call[DanmakuSend]) -> None:
        await self.gate.wait()
        if "bad" in call.body.text:
            raise CommandError("rejected", "asked and refused")

    @command("cheer.shout", Shout, keyed=True)
    def shout(self, call: Call[Shout]) -> Commit:
        """Have the store decide."""
        return Commit("cheer.shout", {"text": call.body.text}, durable=True)

    @command("cheer.wave", Empty)
    async def wave(self, call: Call[Empty]) -> dict[str, Any]:
        """Gather, and show at once."""
        await asyncio.sleep(0)
        self._waves += 1
        call.room.publish("cheer.wave", {"user": call.user}, member=call.member)
        call.room.mark()
        return {"known": call.room.state("cheers")}

    @command("cheer.rules", Empty, surfaces=(Surface.VIEWER,), inspected=False)
    def rules(self, call: Call[Empty]) -> bytes:
        """Answer as a script would."""
        return b'+{"rules":[1,2]}'

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        waves, self._waves = self._waves, 0
        if waves:
            yield Op("cheer.waved", "", {"n": waves})

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/rooms/{room}/cheers", self._cheers), web.get("/boom", self._boom)]

    async def _cheers(self, request: web.Request) -> web.Response:
        room = self._engine.room(request.match_info["room"])
        if room is None:
            raise CommandError("no_room")
        return web.json_response(room.state("cheers"))

    async def _boom(self, request: web.Request) -> NoReturn:
        raise CommandError("overloaded", retry_ms=1500)


class Broken(Plugin):
    """Raises wherever it is called."""

    name = "broken"
    events = (EventSpec("broken.item", Delivery.EPHEMERAL, "Never comes."),)

    async def stop(self) -> None:
        raise RuntimeError("stop")

    def joined(self, room: RoomHandle, member: Member) -> None:
        raise RuntimeError("joined")

    def left(self, room: RoomHandle, member: Member) -> None:
        raise RuntimeError("left")

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        raise RuntimeError("observe")

    def inspect(self, call: Call[Any]) -> Awaitable[None] | None:
        if call.op != "danmaku.send":
            return None
        if call.body.text == "async":
            return self._inspect()
        raise RuntimeError("inspect")

    async def _inspect(self) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("inspect")

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        yield Op("like.add", "", {"n": 1})
        raise RuntimeError("flush")

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/broken", self._route)]

    async def _route(self, request: web.Request) -> NoReturn:
        raise RuntimeError("route")

    @command("broken.sync", Empty)
    def sync(self, call: Call[Empty]) -> NoReturn:
        """Raise at once."""
        raise RuntimeError("command")

    @command("broken.async", Empty)
    async def asynchronous(self, call: Call[Empty]) -> NoReturn:
        """Raise later."""
        await asyncio.sleep(0)
        raise RuntimeError("command")

    @command("broken.publish", Shout)
    def publish(self, call: Call[Shout]) -> None:
        """Publish what was never declared so."""
        call.room.publish(call.body.text, {})


class BrokenLua(Plugin):
    """Has Lua that raises wherever it is called."""

    name = "broken-lua"
    lua = """
ops['broken.raise'] = function() error('on purpose') end
ops['broken.index'] = function() local nothing; return nothing.field end
ops['broken.write'] = function(op)
  write('SET', key('broken'), 1)
  write('LPUSH', key('broken'), 1) -- a string by now
  emit('room.updated', {by = 'broken'})
end
ops['broken.answer'] = function() return 5 end
ops['broken.encode'] = function() write('SET', key('never'), 1); return {f = function() end} end
ops['broken.emit'] = function() emit('room.updated', {f = function() end}) end
ops['broken.state'] = function() state('room', {f = function() end}) end
ops['broken.args'] = function() write('SET', key('broken'), {}) end
ops['broken.nobody'] = function() emit_to(nil, 'room.updated', {}) end
due['broken'] = function() error('on purpose') end
ops['broken.timer'] = function() at('broken', 'x', now) end
joins[#joins + 1] = function(op) write('SET', key('never'), 1); error('on purpose') end
parts.broken = function() error('on purpose') end
own.broken = function() return {f = function() end} end
"""
    LUA_OPS = (
        "broken.raise", "broken.index", "broken.write", "broken.answer", "broken.encode",
        "broken.emit", "broken.args", "broken.nobody",
    )  # fmt: skip

    @command("broken.lua", Shout)
    def lua_op(self, call: Call[Shout]) -> Commit:
        """Have a Lua handler raise."""
        return Commit(call.body.text, {})


def faults(worker: harness.Worker, plugin: str) -> float:
    """Return how many faults of a plugin were counted."""
    registry = worker.node.metrics.registry
    return registry.get_sample_value("liveroom_plugin_faults_total", {"plugin": plugin}) or 0.0


async def get(worker: harness.Worker, path: str, token: str | None = None) -> tuple[int, Any]:
    """Ask the API, as a service if no token is named."""
    token = worker.token("*", "service", "shop") if token is None else token
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"{worker.http}/api{path}") as response,
    ):
        return response.status, await response.json()


async def reply_to(client: harness.Client, number: int) -> dict[str, Any]:
    """Wait for the reply to a command."""
    return await client.item(lambda item: item.get("re") == number)


async def count_of(client: harness.Client, event: str, count: int) -> None:
    """Wait until an event has come so often."""
    await client.item(lambda _: len(client.events(event)) == count)


async def test_plugin_op_decides_logs_and_tells(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A keyed command with a Lua op: answer, state, public and private event, timer, snapshot."""
    workers = [await start_worker(store_url, plugins=[Cheer()]) for _ in range(2)]
    await workers[0].open_room(room)
    ann, bob = await workers[0].join(room, "ann"), await workers[1].join(room, "bob")

    assert await ann.refused("cheer.shout", text="hey") == "key_required"
    answers = [await ann.ask("cheer.shout", key="k", text="hey") for _ in range(2)]
    assert answers == [{"total": 1}] * 2
    refused = await ann.command("cheer.shout", key="q", text="quiet")
    assert refused["err"] == {"code": "rejected", "msg": "not here", "hint": "louder"}
    await bob.ask("cheer.shout", key="k", text="ho")

    for client, own in ((ann, 1), (bob, 2)):
        await client.state("cheers", lambda d: d == {"total": 2})
        await client.event("cheer.shouted", user="bob", text="ho")
        await client.event("cheer.thanks", total=own)
        assert len(client.events("cheer.thanks")) == 1
        assert len(client.events("cheer.shouted")) == 2

    workers[1].node.store.skew_ms = 61_000
    await bob.ask("like.send")
    for client in (ann, bob):
        for user in ("ann", "bob"):
            await client.event("cheer.over", user=user)
    late = await workers[0].join(room, "eve")
    assert (late.hello["snapshot"]["cheer"], late.hello["own"]["cheer"]) == ({"total": 2}, "eve")
    turned_away = await workers[0].connect()
    token = workers[0].token(room, "viewer", "nobody")
    assert await turned_away.refused("hello", room=room, token=token) == "forbidden"
    assert await turned_away.closed() == 4403
    assert faults(workers[0], "cheer") == 0


async def test_plugin_hooks_see_what_happens(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Start, joined, observed in order and once, left, stop; flush, publish, keep; routes."""
    plugin = Cheer()
    async with harness.running_worker(store_url, [plugin]) as worker:
        other = await start_worker(store_url)  # has not got the plugin
        await worker.open_room(room)
        plugin.seen = [line for line in plugin.seen if "host" not in line]
        ann, far = await worker.join(room, "ann"), await other.join(room, "far")
        await ann.ask("cheer.shout", key="k", text="hey")
        thanks = await ann.event("cheer.thanks")
        for _ in range(5):
            await ann.ask("cheer.wave")
        for client in (ann, far):
            await client.state("waves", lambda d: d == {"n": 5})
            await count_of(client, "cheer.wave", 5)
        assert await ann.ask("cheer.wave") == {"known": {"total": 1}}
        assert await ann.ask("cheer.rules") == {"rules": [1, 2]}
        assert await far.refused("cheer.rules") == "unknown_op"
        assert await get(worker, f"/rooms/{room}/cheers") == (200, {"total": 1})
        status, body = await get(worker, "/boom")
        assert (status, body["err"]["code"], body["err"]["retry_ms"]) == (503, "overloaded", 1500)
        assert (await get(worker, "/boom", worker.token(room, "host")))[0] == 403
        assert (await get(worker, f"/rooms/{room}/cheers", "nonsense"))[0] == 401
        await ann.close()

    seq = thanks["seq"]
    assert plugin.seen == [
        "start", "joined ann 1 1", f"observed {seq}-0 None", f"observed {seq}-1 ann", "left ann 0",
        "stop",
    ]  # fmt: skip


async def test_plugin_inspectors_refuse_replace_and_wait(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """At once or after a wait; what is waited for holds nobody else up."""
    plugin = Cheer()
    worker = await start_worker(store_url, plugins=[plugin])
    await worker.open_room(room)
    ann = await worker.join(room, "mo", "moderator")

    refused = await ann.command("danmaku.send", text="boo!")
    assert refused["err"] == {"code": "rejected", "msg": "no booing", "word": "boo"}
    await ann.ask("danmaku.send", text="damn good")
    await ann.event("danmaku", text="**** good")
    await ann.send(
        {"op": "danmaku.send", "id": 901, "d": {"text": "may I?"}},
        {"op": "danmaku.send", "id": 902, "d": {"text": "bad?"}},
        {"op": "danmaku.send", "id": 903, "d": {"text": "not asked"}},
    )
    await ann.event("danmaku", text="not asked")
    assert not any(item.get("re") in (901, 902) for item in ann.items)
    plugin.gate.set()
    assert "d" in await ann.item(lambda item: item.get("re") == 901)
    assert (await ann.item(lambda item: item.get("re") == 902))["err"]["msg"] == "asked and refused"
    await ann.event("danmaku", text="may I?")
    assert len(ann.events("danmaku")) == 3
    assert faults(worker, "cheer") == 0


async def test_plugin_faults_stay_its_own(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Hooks that raise are skipped and counted, commands answered `internal`; all else goes on."""
    good = Cheer()
    async with harness.running_worker(store_url, [Broken(), good]) as worker:
        await worker.open_room(room)
        ann = await worker.join(room, "mo", "moderator")
        assert "joined mo 1 1" in good.seen

        for op in ("broken.sync", "broken.async"):
            before = faults(worker, "broken")
            assert await ann.refused(op) == "internal"
            assert faults(worker, "broken") > before
        for text in ("sync", "async"):
            before = faults(worker, "broken")
            await ann.ask("danmaku.send", text=text)
            await ann.event("danmaku", text=text)
            assert faults(worker, "broken") > before
        for undeclared in ("no.such", "room.opened"):
            assert await ann.refused("broken.publish", text=undeclared) == "internal"
        before = faults(worker, "broken")
        assert (await get(worker, "/broken"))[0] == 500
        assert faults(worker, "broken") > before

        before = faults(worker, "broken")
        await ann.ask("cheer.shout", key="k", text="hey")  # observe
        await ann.ask("cheer.wave")  # flush
        await ann.state("waves", lambda d: d == {"n": 1})
        await ann.event("cheer.wave")
        assert any(line.startswith("observed") for line in good.seen)
        assert faults(worker, "broken") >= before + 2
        await ann.close()
    assert good.seen[-2:] == ["left mo 0", "stop"]
    assert faults(worker, "broken") > before + 3
    assert faults(worker, "cheer") == 0


async def test_plugin_lua_faults_stay_its_own(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A Lua handler that raises is answered `internal`; the others of its batch are not touched."""
    worker = await start_worker(store_url, plugins=[BrokenLua(), Cheer()])
    await worker.open_room(room, title="t")
    ann = await worker.join(room, "ann")
    assert set(ann.hello["snapshot"]) == {"danmaku", "cheer"}
    assert ann.hello["own"]["cheer"] == "ann"
    good = 0

    for op in BrokenLua.LUA_OPS:
        before = faults(worker, "broken-lua")
        await ann.send(
            {"op": "cheer.shout", "id": 800 + good, "key": f"a{op}", "d": {"text": op}},
            {"op": "broken.lua", "id": 900 + good, "d": {"text": op}},
            {"op": "cheer.shout", "id": 801 + good, "key": f"b{op}", "d": {"text": op}},
        )
        for _ in range(2):
            reply = await reply_to(ann, 800 + good)
            good += 1
            assert reply.get("d") == {"total": good}, op
        assert (await reply_to(ann, 898 + good))["err"]["code"] == "internal", op
        assert faults(worker, "broken-lua") == before + 1, op

    await ann.ask("broken.lua", text="broken.state")  # its answer stands, the state stays
    await ann.ask("broken.lua", text="broken.timer")
    await ann.ask("cheer.shout", key="last", text="hey")
    await ann.state("cheers", lambda d: d == {"total": good + 1})
    await ann.event("cheer.shouted", text="hey")
    assert not [item for item in ann.items if item.get("st") == "room"]
    assert ann.events("room.updated") == []
    first_seq = ann.hello["seq"] + 1
    public = [seq for seq, sub in ann.durable() if sub == 0 and seq >= first_seq]
    assert public == list(range(first_seq, first_seq + len(public)))


class TwinName(Plugin):
    """The name of a built-in feature."""

    name = "danmaku"


class TwinCommand(Plugin):
    """A command of a built-in feature."""

    name = "twin"

    @command("like.send", Empty)
    def like(self, call: Call[Empty]) -> None:
        """Never called."""


class TwinSystem(Plugin):
    """A command of the engine itself."""

    name = "twin"

    @command("sys.ping", Empty)
    def ping(self, call: Call[Empty]) -> None:
        """Never called."""


class TwinEvent(Plugin):
    """An event of a built-in feature."""

    name = "twin"
    events = (EventSpec("gift.sent", Delivery.DURABLE, "Mine."),)


class TwinState(Plugin):
    """A state of a built-in feature."""

    name = "twin"
    states = (StateSpec("likes", "Mine."),)


@pytest.mark.parametrize("twin", [TwinName, TwinCommand, TwinSystem, TwinEvent, TwinState])
async def test_plugin_that_takes_a_taken_name_is_refused_at_start(twin: type[Plugin]) -> None:
    """Whose name, command, event or state is taken does not start; the error says which."""
    names = {
        TwinName: "danmaku", TwinCommand: "like.send", TwinSystem: "sys.ping",
        TwinEvent: "gift.sent", TwinState: "likes",
    }  # fmt: skip
    with pytest.raises(ConfigError, match=names[twin].replace(".", r"\.")):
        async with harness.running_worker("unix:///nowhere", [twin()]):
            pytest.fail("it started")


async def test_plugin_that_cannot_start_stops_the_engine(
    store_url: str, start_worker: harness.StartWorker
) -> None:
    """The error names it; the plugins before it are stopped, and nothing stays open."""

    class Unready(Plugin):
        name = "unready"

        async def start(self, engine: Engine) -> None:
            raise RuntimeError("no such device")

    before = Cheer()
    with pytest.raises(ConfigError, match=r"unready to start.*no such device"):
        await start_worker(store_url, plugins=[before, Unready()])
    assert before.seen == ["start", "stop"]
