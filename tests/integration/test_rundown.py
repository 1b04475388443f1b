"""The rundown: plans judged before the show, cues carried out once, by the clock or by a click."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

import harness
from harness import Pair
from liveroom import Body, Call, Commit, Op, Plugin, Surface, command
from liveroom.auth.claims import Role
from liveroom.features.rundown import Rundown
from liveroom.shows import read_json, read_toml, write_json, write_toml


def notice(cue: str, **timing: Any) -> dict[str, Any]:
    """Return a cue that shows its own name."""
    return {"cue": cue, "op": "notice.set", "d": {"text": cue}, **timing}


def poll(cue: str, name: str, **timing: Any) -> dict[str, Any]:
    """Return a cue that opens a poll."""
    d = {"poll": name, "title": "?", "options": ["a", "b"], "seconds": 0}
    return {"cue": cue, "op": "poll.open", "d": d, **timing}


async def show_at(worker: harness.Worker, room: str, *cues: dict[str, Any]) -> harness.Client:
    """Open a room and store a plan; return its host."""
    host = await worker.open_control(room)
    await host.ask("room.open")
    await host.ask("rundown.put", title="t", cues=list(cues))
    return host


async def start(host: harness.Client, key: str = "start") -> dict[str, Any]:
    """Start the show."""
    return await host.ask("rundown.start", key=key)


async def later(worker: harness.Worker, room: str, ms: int) -> None:
    """Move the store's time on for this worker and have what is due run."""
    worker.node.store.skew_ms += ms
    await worker.node.hub.submit(room, Op("sys.sync", "", {}))


async def ended(host: harness.Client, cue: str, status: str = "fired") -> dict[str, Any]:
    """Wait until a cue is as it should be."""
    step: dict[str, Any] = (await host.event("rundown.cue", cue=cue, status=status))["d"]
    return step


async def progress(host: harness.Client) -> dict[str, dict[str, Any]]:
    """Return how far each cue is."""
    return {row["cue"]: row for row in (await host.ask("rundown.get"))["progress"]}


async def expect_sound(host: harness.Client) -> None:
    """Check the room's invariants."""
    found = await host.ask("audit.check")
    assert found["sound"], found["broken"]


# A show.


async def test_rundown_runs_by_the_clock_in_order(pair: Pair, room: str) -> None:
    """Timed, chained and clicked cues each have one effect, in the order of the plan."""
    first, second = pair
    host = await show_at(
        first, room, notice("z", at_s=0.05), notice("a", at_s=0.05),
        {"cue": "end", "op": "poll.close", "d": {"poll": "p"}, "after": "open"},
        poll("open", "p", at_s=0.1), notice("last"),
    )  # fmt: skip
    other, viewer = await second.control(room, "h2"), await second.join(room)

    begun = await start(host)
    await viewer.event("poll.closed", poll="p")
    clicks = await asyncio.gather(
        host.ask("rundown.fire", cue="last"), other.ask("rundown.fire", cue="last")
    )

    assert sorted(click["fired"] for click in clicks) == [False, True]
    await viewer.state("rundown", lambda d: d["status"] == "done")
    shown = [item["d"]["text"] for item in viewer.events("notice")]
    assert shown == ["z", "a", "last"]
    assert [len(viewer.events(name)) for name in ("poll.opened", "poll.closed")] == [1, 1]
    rows = await progress(other)
    assert [row["status"] for row in rows.values()] == ["fired"] * 5
    assert rows["z"]["due_ms"] == rows["a"]["due_ms"] == begun["started_ms"] + 50
    assert rows["open"]["due_ms"] == begun["started_ms"] + 100
    assert rows["end"]["due_ms"] == rows["open"]["fired_ms"]
    await expect_sound(host)


async def test_rundown_shows_viewers_nothing_of_the_plan(pair: Pair, room: str) -> None:
    """Staff on every worker is told each step; viewers the status, and no hole in the log."""
    first, second = pair
    host = await show_at(first, room, notice("secret", at_s=0.05), notice("never"))
    staff = await second.join(room, "as", "assistant", path="/control")
    viewer = await second.join(room, "vi")

    await start(host)
    for client in (host, staff):
        assert "fired_ms" in await ended(client, "secret")
        steps = [item["d"]["status"] for item in client.events("rundown.cue")]
        assert steps == ["due", "fired"]
    await host.ask("rundown.stop")

    await viewer.state("rundown", lambda d: d == {"status": "done"})
    assert [item for item in viewer.items if "rundown." in item.get("ev", "")] == []
    states = [item["d"] for item in viewer.items if item.get("st") == "rundown"]
    assert all(set(state) == {"status"} for state in states)
    seqs = [item["seq"] for item in viewer.items if "seq" in item]
    assert seqs == list(range(viewer.hello["seq"] + 1, viewer.hello["seq"] + 1 + len(seqs)))
    text = str(viewer.items) + str((await second.join(room)).hello)
    assert "never" not in text
    assert await viewer.refused("rundown.get") == "unknown_op"


async def test_rundown_starts_once(pair: Pair, room: str) -> None:
    """Of two hosts who start one does; the same key answers as before; another run is a new one."""
    first, second = pair
    host = await show_at(first, room, poll("one", "p"))
    other = await second.control(room, "h2")

    answers = await asyncio.gather(start(host, "k1"), start(other, "k2"))

    assert sorted(answer["started"] for answer in answers) == [False, True]
    assert len({answer["run"] for answer in answers}) == 1
    assert await start(host, "k1") == answers[0]
    assert await host.refused("rundown.start") == "key_required"
    await host.ask("rundown.fire", cue="one")
    await ended(host, "one")
    await host.state("rundown", lambda d: d["status"] == "done")

    again = await start(other, "k3")
    assert again["started"]
    assert again["run"] != answers[0]["run"]
    assert (await progress(host))["one"] == {"cue": "one", "status": "waiting"}
    await host.ask("rundown.fire", cue="one")
    await host.state("rundown", lambda d: d["status"] == "done")
    assert len(host.events("poll.opened")) == 1  # the same poll again is the one that there is


async def test_rundown_is_paused_and_resumed(worker: harness.Worker, room: str) -> None:
    """While it is paused nothing timed runs, clicks do; afterwards all times are later by that."""
    follower = notice("follower", after="click", at_s=50)
    host = await show_at(worker, room, notice("timed", at_s=100), notice("click"), follower)
    begun = (await start(host))["started_ms"]

    assert (await host.ask("rundown.pause"))["paused"]
    assert not (await host.ask("rundown.pause"))["paused"]
    await later(worker, room, 1_000_000)
    await host.ask("rundown.fire", cue="click")
    await ended(host, "click")
    await expect_sound(host)
    resumed = await host.ask("rundown.resume")
    assert not (await host.ask("rundown.resume"))["resumed"]

    shift = resumed["shift_ms"]
    assert shift >= 1_000_000
    rows = await progress(host)
    assert rows["timed"] == {
        "cue": "timed", "status": "waiting", "due_ms": begun + 100_000 + shift,
    }  # fmt: skip
    assert rows["follower"]["due_ms"] < rows["timed"]["due_ms"]
    await expect_sound(host)
    await later(worker, room, 50_000)
    await ended(host, "follower")
    assert (await progress(host))["timed"]["status"] == "waiting"
    await later(worker, room, 50_000)
    await ended(host, "timed")
    assert (await host.ask("rundown.get"))["shift_ms"] == shift


async def test_rundown_cues_are_skipped_fired_early_and_again(
    worker: harness.Worker, room: str
) -> None:
    """A skipped cue can be taken back, a timed one fired early, a failed one fired again."""
    close = {"cue": "close", "op": "poll.close", "d": {"poll": "p"}}
    after = notice("after", after="close")
    host = await show_at(
        worker, room, notice("left", at_s=60), notice("soon", at_s=60), close, after,
        notice("never"),
    )  # fmt: skip
    await start(host)

    assert (await host.ask("rundown.skip", cue="left"))["skipped"]
    assert not (await host.ask("rundown.skip", cue="left"))["skipped"]
    assert (await host.ask("rundown.fire", cue="soon"))["fired"]
    await ended(host, "soon")
    assert await host.refused("rundown.skip", cue="soon") == "already_done"
    assert not (await host.ask("rundown.fire", cue="soon"))["fired"]
    await host.event("notice", text="soon")
    await later(worker, room, 60_000)

    await host.ask("rundown.fire", cue="close")
    failed = await ended(host, "close", "failed")
    assert failed["error"]["code"] == "not_found"
    assert (await progress(host))["after"] == {"cue": "after", "status": "waiting"}
    await host.ask("poll.open", key="p", poll="p", title="?", options=["a", "b"], seconds=0)
    assert (await host.ask("rundown.fire", cue="close"))["fired"]
    await host.event("poll.closed", poll="p")
    await ended(host, "after")

    await host.ask("rundown.fire", cue="left")
    await host.event("notice", text="left")
    await host.ask("rundown.skip", cue="never")
    await host.state("rundown", lambda d: d["status"] == "done")
    assert [item["d"]["text"] for item in host.events("notice")] == ["soon", "after", "left"]
    await expect_sound(host)


async def test_rundown_does_not_run_what_is_long_past(worker: harness.Worker, room: str) -> None:
    """A cue whose time passed more than a minute ago, when nobody was there, is not made up for."""
    host = await show_at(worker, room, notice("old", at_s=10), notice("new", at_s=100))
    await start(host)

    await later(worker, room, 102_000)

    assert (await ended(host, "old", "failed"))["error"]["code"] == "expired"
    await host.event("notice", text="new")
    assert [item["d"]["text"] for item in host.events("notice")] == ["new"]


async def test_rundown_acts_for_whoever_started_it(worker: harness.Worker, room: str) -> None:
    """An assistant may fire what a host planned; the effect and the trail name the starter."""
    await show_at(worker, room, notice("hello"))
    starter = await worker.control(room, "boss")
    assistant = await worker.join(room, "as", "assistant", path="/control")
    moderator = await worker.join(room, "mo", "moderator", path="/control")
    await start(starter)

    await assistant.ask("rundown.fire", cue="hello")

    assert (await assistant.event("notice"))["d"]["by"] == "boss"
    trail = [row["e"] for row in (await starter.ask("audit.read"))["entries"]]
    assert any('"notice.set"' in entry and '"boss"' in entry for entry in trail)
    planned = [entry for entry in trail if '"rundown.put"' in entry]
    assert planned
    assert not any("hello" in entry for entry in planned)
    shown = await assistant.ask("rundown.get")
    assert shown["cues"] == [{"cue": "hello", "op": "notice.set"}]
    for op in ("pause", "resume", "stop", "start"):
        assert await moderator.refused(f"rundown.{op}", key="k") == "forbidden"
    assert await moderator.refused("rundown.skip", cue="hello") == "forbidden"
    assert await moderator.refused("rundown.put", cues=[notice("x")]) == "forbidden"


async def test_rundown_refuses_out_of_turn(worker: harness.Worker, room: str) -> None:
    """No plan, no room, not begun, over, no such cue: each has its error."""
    host = await worker.open_control(room)
    assert await host.refused("rundown.start", key="k0") == "no_room"
    await host.ask("room.open")
    assert await host.refused("rundown.start", key="k0") == "not_found"
    assert await host.refused("rundown.get") == "not_found"
    assert await host.refused("rundown.stop") == "not_found"
    await host.ask("rundown.put", cues=[notice("a"), notice("b")])
    steps = [("fire", {"cue": "a"}), ("skip", {"cue": "a"}), ("pause", {}), ("resume", {})]
    for op, d in steps:
        assert await host.refused(f"rundown.{op}", **d) == "too_early", op
    assert await host.ask("rundown.stop") == {"stopped": False, "status": "ready"}

    await start(host)
    assert await host.refused("rundown.fire", cue="c") == "not_found"
    assert await host.refused("rundown.skip", cue="c") == "not_found"
    assert await host.refused("rundown.fire") == "bad_request"
    assert await host.ask("rundown.stop") == {"stopped": True, "status": "done"}
    for op, d in steps:
        assert await host.refused(f"rundown.{op}", **d) == "ended", op
    await host.ask("room.close")
    assert await host.refused("rundown.start", key="k9") == "room_closed"
    await expect_sound(host)


async def test_rundown_state_goes_after_the_show(worker: harness.Worker, room: str) -> None:
    """Ten minutes after the end nobody is told of it any more; the plan can be started again."""
    host = await show_at(worker, room, notice("a", at_s=5000))
    await start(host)
    await host.ask("rundown.stop")
    await later(worker, room, 601_000)

    await host.state("rundown", lambda d: d is None)
    late = await worker.join(room)
    assert [state for state in late.hello["states"] if state["st"] == "rundown"] == []
    assert (await start(host, "again"))["started"]
    await later(worker, room, 601_000)
    shown = await host.ask("rundown.get")
    assert shown["status"] == "running"
    await expect_sound(host)


# Plans.


async def test_rundown_is_put_by_two_hosts(pair: Pair, room: str) -> None:
    """The later is told the version; the same plan again changes nothing; a running one stays."""
    first, second = pair
    host = await show_at(first, room, notice("a"))
    other = await second.control(room, "h2")
    version = (await other.ask("rundown.get"))["version"]

    changed = await host.ask("rundown.put", cues=[notice("b")], if_version=version)
    assert changed == {"changed": True, "cues": 1, "version": version + 1}
    late = await other.command("rundown.put", cues=[notice("c")], if_version=version)
    assert (late["err"]["code"], late["err"]["version"]) == ("version_conflict", version + 1)
    same = await other.ask("rundown.put", cues=[notice("b")], if_version=version)
    assert same == {"changed": False, "cues": 1, "version": version + 1}
    assert await other.refused("rundown.start", key="s", if_version=version) == "version_conflict"
    begun = await other.ask("rundown.start", key="t", if_version=version + 1)
    assert begun["version"] == version + 2
    assert await host.refused("rundown.put", cues=[notice("c")]) == "already_running"
    assert [cue["cue"] for cue in (await host.ask("rundown.get"))["cues"]] == ["b"]


BAD_PLANS: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "unknown op": ([{"cue": "x", "op": "poll.opne"}], "unknown_op", "poll.opne"),
    "viewers only": ([{"cue": "x", "op": "auth.revoke"}], "bad_request", "cannot be planned"),
    "back end only": ([{"cue": "x", "op": "flash.confirm"}], "unknown_op", "/control"),
    "nested": ([{"cue": "x", "op": "rundown.stop"}], "bad_request", "cannot be planned"),
    "wallet": ([{"cue": "x", "op": "wallet.get"}], "bad_request", "cannot be planned"),
    "connection": ([{"cue": "x", "op": "stats.watch"}], "bad_request", "cannot be planned"),
    "hello": ([{"cue": "x", "op": "hello"}], "unknown_op", "hello"),
    "bad body": ([{"cue": "x", "op": "notice.set", "d": {"text": 1}}], "bad_request", "str"),
    "no body": ([{"cue": "x", "op": "poll.open"}], "bad_request", "missing"),
    "misspelt": ([notice("x") | {"d": {"text": "a", "secs": 3}}], "bad_request", "secs"),
    "same name": ([notice("x"), notice("x")], "bad_request", "different names"),
    "after nothing": ([notice("x", after="y")], "bad_request", "no cue y"),
    "after itself": ([notice("x", after="x")], "bad_request", "circle"),
    "circle": ([notice("x", after="y"), notice("y", after="x")], "bad_request", "circle"),
    "label": ([notice("x", label="\x07")], "bad_request", "label"),
}


@pytest.mark.parametrize("name", BAD_PLANS)
async def test_rundown_refuses_bad_plans_before_the_show(
    name: str, embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """The sentence names the cue, and nothing is stored."""
    cues, code, said = BAD_PLANS[name]
    host = await (await start_worker(embedded_url)).open_control(room)

    refused = (await host.command("rundown.put", cues=[notice("good"), *cues]))["err"]

    assert refused["code"] == code
    assert refused["msg"].startswith("cue x: ")
    assert said in refused["msg"]
    assert refused["cue"] == "x"
    assert await host.refused("rundown.get") == "not_found"


async def test_rundown_refuses_what_is_no_plan(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Too many cues, times that are none, fields that nobody knows."""
    host = await (await start_worker(embedded_url)).open_control(room)
    bad: list[list[Any]] = [
        [], [notice(f"c{n}") for n in range(201)], [notice("x", at_s=-1)],
        [notice("x", at_s=86_401)], [notice("x", at_s="soon")], [notice("x", at=3)],
        [notice("not a name")], [notice("x", label="l" * 81)], [{"cue": "x", "d": {}}], ["x"],
        [notice("x") | {"d": {"text": "a", "if_version": 2**60}}],
    ]  # fmt: skip
    for cues in bad:
        assert await host.refused("rundown.put", cues=cues) == "bad_request", cues
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert await host.refused("rundown.put", cues=[notice("x") | {"d": {"text": deep}}])
    most = [notice(f"c{n}", at_s=n) for n in range(200)]
    assert (await host.ask("rundown.put", cues=most))["cues"] == 200


# Workers that die.


class Note(Body, frozen=True, kw_only=True):
    """What to say."""

    text: str


class Slow(Plugin):
    """A host command that hangs before or after its effect, on the workers where it is told to."""

    name = "slow"
    lua = "ops['slow.say'] = function(op) emit('slow.said', {text = op.d.text}) end"

    def __init__(self, hang: str = "") -> None:
        self.hang = hang
        self.hanging = asyncio.Event()

    @command(
        "slow.say", Note, role=Role.HOST, surfaces=(Surface.CONTROL, Surface.SERVICE), keyed=True
    )
    async def say(self, call: Call[Note]) -> Any:
        """Say it, sooner or later; returns `{}`."""
        if self.hang == "before":
            await self._hang()
        reply = await call.room.submit(call.operation("slow.say", {"text": call.body.text}))
        if self.hang == "after":
            await self._hang()
        return reply

    async def _hang(self) -> None:
        self.hanging.set()
        await asyncio.Event().wait()


SAY = {"cue": "say", "op": "slow.say", "d": {"text": "once"}}


def rundown_of(worker: harness.Worker) -> Rundown:
    """Return the feature of a worker."""
    return next(p for p in worker.node.manager.plugins if isinstance(p, Rundown))


@pytest.mark.parametrize("hang", ["before", "after"])
async def test_rundown_outlives_the_worker_that_ran_a_cue(
    hang: str, store_url: str, room: str
) -> None:
    """Died between due and done, before the effect or after it: another one carries on; once."""
    slow = Slow(hang)
    async with harness.running_worker(store_url, [Slow()]) as second:
        viewer_host = await show_at(second, room, SAY, notice("next", after="say"))
        await start(viewer_host)
        async with harness.running_worker(store_url, [slow]) as first:
            click = await first.control(room)
            assert (await click.ask("rundown.fire", cue="say"))["fired"]
            await slow.hanging.wait()
            assert not (await viewer_host.ask("rundown.fire", cue="say"))["fired"]
            await expect_sound(viewer_host)

        second.node.store.skew_ms += 2_500
        await ended(viewer_host, "next")

        assert len(viewer_host.events("slow.said")) == 1
        assert (await progress(viewer_host))["say"]["status"] == "fired"
        await expect_sound(viewer_host)


async def test_rundown_goes_on_after_a_restart_without_anybody(store_url: str, room: str) -> None:
    """Every worker died; the first of the new ones finishes what was due, though nobody is there."""
    slow = Slow("before")
    async with harness.running_worker(store_url, [slow]) as first:
        host = await show_at(first, room, SAY, notice("timed", at_s=30))
        await start(host)
        await host.ask("rundown.fire", cue="say")
        await slow.hanging.wait()

    async with harness.running_worker(store_url, [Slow()]) as second:
        second.node.store.skew_ms += 31_000
        await rundown_of(second).sweep()
        host = await second.control(room)
        known = {state["st"]: state["d"] for state in host.hello["states"]}
        if known["rundown"]["status"] != "done":
            await host.state("rundown", lambda d: d["status"] == "done")
        rows = await progress(host)

    assert {row["status"] for row in rows.values()} == {"fired"}


async def test_rundown_gives_up_what_can_never_be_done(store_url: str, room: str) -> None:
    """A fault of the command's handler is an error of its cue, and the show goes on."""

    class Broken(Plugin):
        name = "broken"

        @command("broken.go", Note, role=Role.HOST, surfaces=(Surface.CONTROL,))
        def go(self, call: Call[Note]) -> Commit:
            """Fail; returns nothing."""
            raise RuntimeError(call.body.text)

    async with harness.running_worker(store_url, [Broken()]) as worker:
        bad = {"cue": "bad", "op": "broken.go", "d": {"text": "boom"}, "at_s": 0}
        host = await show_at(worker, room, bad, notice("good", at_s=0.01))
        await start(host)

        assert (await ended(host, "bad", "failed"))["error"]["code"] == "internal"
        await ended(host, "good")
        assert (await host.ask("rundown.get"))["status"] == "running"  # it may be tried again
        assert (await host.ask("rundown.skip", cue="bad"))["skipped"]
        await host.state("rundown", lambda d: d["status"] == "done")


# Files.


async def test_rundown_is_exported_and_imported(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """What was put comes back the same in both formats, and can be put again."""
    worker = await start_worker(embedded_url)
    pinned = {"cue": "pin", "op": "shelf.pin", "d": {"item": None}, "after": "p", "at_s": 1.5}
    host = await show_at(worker, room, poll("p", "p", label="Ein „Test“", at_s=3), pinned)
    url = f"{worker.http}/api/rooms/{room}/rundown"
    headers = {"Authorization": f"Bearer {worker.token(room, 'host', 'h')}"}

    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(url) as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            plain = read_json(await answer.read())
        async with session.get(url, headers={"Accept": "application/toml"}) as answer:
            assert (answer.status, answer.content_type) == (200, "application/toml")
            text = await answer.text()
            assert read_toml(text) == plain
        for data, kind in ((write_json(plain), "json"), (write_toml(plain).encode(), "toml")):
            await host.ask("rundown.put", cues=[notice("other")])
            typed = {"Content-Type": f"application/{kind}"}
            async with session.put(url, data=data, headers=typed) as answer:
                assert (await answer.json())["changed"], kind
            assert (await host.ask("rundown.get"))["cues"][1] == pinned

    assert [cue.cue for cue in plain.cues] == ["p", "pin"]


async def test_rundown_files_are_refused(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """What is no show, is of no known kind, is too late, or comes from somebody else."""
    worker = await start_worker(embedded_url)
    host = await show_at(worker, room, notice("a"))
    url = f"{worker.http}/api/rooms/{room}/rundown"

    async def put(data: str, kind: str, query: str = "", role: str = "host") -> tuple[int, str]:
        headers = {
            "Authorization": f"Bearer {worker.token(room, role, 'h')}", "Content-Type": kind,
        }  # fmt: skip
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.put(url + query, data=data) as answer,
        ):
            err = (await answer.json()).get("err", {})
            return answer.status, err.get("code", "") + " " + err.get("msg", "")

    unknown = '[[cues]]\ncue = "x"\nop = "poll.opne"'
    toml, good = "application/toml", '[[cues]]\ncue = "x"\nop = "notice.set"\nd.text = "a"'
    for data, kind, query, said in [
        (unknown, toml, "", "unknown_op cue x: there is no command 'poll.opne'"),
        ("title = ", toml, "", "bad_message expected TOML"),
        ("{", "application/json", "", "bad_message expected JSON"),
        (good, "text/plain", "", "bad_request expected application/json"),
        (good, toml, "?if_version=99", "version_conflict"),
        (good, toml, "?if_version=x", "bad_request if_version"),
    ]:
        status, told = await put(data, kind, query)
        assert status >= 400
        assert told.startswith(said)
    assert (await put(good, toml, role="moderator"))[0] == 403
    assert [cue["cue"] for cue in (await host.ask("rundown.get"))["cues"]] == ["a"]
    assert (await put(good, toml, role="service"))[0] == 200
