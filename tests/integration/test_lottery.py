"""Draws over the wire: entering, drawing, claiming, and a proof that stands by itself."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import orjson
import pytest

import harness
from harness import Pair
from liveroom import Op, Plugin
from liveroom.core.position import Position
from liveroom.errors import StoreUnavailable
from liveroom.features.lottery import Lottery
from liveroom.verify_draw import verify


LEASE_OVER_MS = 16_000
DAY_MS = 86_400_000
CLAIM_MS = 60_000
CHAIN = "c0" * 32


class Hand(Plugin):
    """Stands for other features, and for a hand in the store."""

    name = "hand"
    lua = """
ops['hand.note'] = function(op) note(op.d.kind, op.u, op.d.amount) end
ops['hand.write'] = function(op) write(op.d.verb, key(op.d.key), unpack(op.d.args)) end
ops['hand.read'] = function(op) return {value = call(op.d.verb, key(op.d.key), unpack(op.d.args))} end
"""


PLUGINS = (Hand,)


def rules(**changes: Any) -> dict[str, Any]:
    """Return a draw of one minute for three prizes of two kinds."""
    prizes = [
        {"prize": "phone", "title": "Phone", "n": 1, "value": 500_000},
        {"prize": "tea", "title": "奶茶", "n": 2},
    ]
    return {"lottery": "l1", "title": "Draw", "prizes": prizes, "seconds": 60} | changes


def plugin_of(worker: harness.Worker) -> Lottery:
    """Return the worker's plugin."""
    return next(p for p in worker.node.manager.plugins if isinstance(p, Lottery))


async def run(worker: harness.Worker, room: str, name: str, user: str = "", /, **d: Any) -> Any:
    """Run an operation by itself; return its answer, or the code of its refusal."""
    committed = await worker.node.hub.commit(room, [Op(name, user, d)])
    reply = committed.replies[0]
    assert reply[:1] != b"!", reply
    answer = orjson.loads(reply[1:])
    return answer if reply[:1] == b"+" else answer["code"]


async def later(room: str, ms: int, *workers: harness.Worker) -> None:
    """Let time pass, and everything run that is due then."""
    for worker in workers:
        worker.node.store.skew_ms += ms
    while True:
        committed = await workers[0].node.hub.commit(room, [])
        if not 0 < committed.due_ms <= committed.now_ms:
            return


async def opened(worker: harness.Worker, room: str, **changes: Any) -> harness.Client:
    """Open a room and a draw; return the host."""
    await worker.open_room(room)
    host = await worker.control(room)
    await host.ask("lottery.open", key="open", **rules(**changes))
    return host


async def enter_many(worker: harness.Worker, room: str, users: list[str]) -> None:
    """Have many users enter, as their workers would."""
    more = {"lottery": "l1", "level": 0, "staff": False, "here_ms": 0}
    for first in range(0, len(users), 128):
        ops = [
            Op("lottery.enter", user, more | {"nonce": f"{n:04x}", "name": user.upper()})
            for n, user in enumerate(users[first : first + 128])
        ]
        committed = await worker.node.hub.commit(room, ops)
        assert {reply[:1] for reply in committed.replies} == {b"+"}, committed.replies[0]


async def get_proof(
    worker: harness.Worker, room: str, lottery: str = "l1", role: str = "viewer"
) -> tuple[int, Any]:
    """Return the status and body of the proof's route."""
    headers = {"Authorization": f"Bearer {worker.token(room, role)}"}
    url = f"{worker.http}/api/rooms/{room}/lotteries/{lottery}/proof"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        return response.status, orjson.loads(await response.read())


async def proven(worker: harness.Worker, room: str, lottery: str = "l1") -> dict[str, Any]:
    """Return a draw's proof, which must hold."""
    status, proof = await get_proof(worker, room, lottery)
    assert status == 200, proof
    verify(proof)
    assert isinstance(proof, dict)
    return proof


async def assert_books(worker: harness.Worker, room: str) -> None:
    """Check the invariants as the auditor does."""
    found = await run(worker, room, "sys.check")
    mine = [row for row in found.get("broken", []) if row["what"].startswith("lottery")]
    assert mine == []
    assert found["counted"]["lottery.entrants"] >= 1


async def test_lottery_draws_and_anybody_can_prove_it(pair: Pair, room: str) -> None:
    """From the opening to the winners; what was bound before is what is shown after."""
    first, second = pair
    host = await opened(first, room)
    viewers = [await pair[n % 2].join(room, f"v{n}") for n in range(8)]
    for n, viewer in enumerate(viewers[:7]):
        entered = await viewer.ask("lottery.enter", lottery="l1", nonce=f"AB{n}")
        assert entered == {"lottery": "l1", "nonce": f"ab{n}"}
    assert await viewers[0].ask("lottery.enter", lottery="l1") == {"lottery": "l1", "nonce": "ab0"}

    await later(room, 60_000, first, second)

    drawn = (await viewers[7].event("lottery.drawn"))["d"]
    bound = (await viewers[0].event("lottery.opened"))["d"]
    frozen = (await viewers[0].event("lottery.frozen"))["d"]
    sealed = (await viewers[0].event("lottery.sealed"))["d"]
    assert frozen["entrants"] == sealed["entrants"] == drawn["entrants"] == 7
    assert (drawn["of"], sealed["root"]) == (3, drawn["root"])
    assert hashlib.sha256(bound["rules"].encode()).hexdigest() == bound["rules_hash"]

    proof = await proven(second, room)
    for worker in pair:
        assert await proven(worker, room) == proof
        assert proof["commitment"] == bound["commitment"]
        assert proof["rules"] == bound["rules"]
        assert (proof["root"], proof["digest"]) == (drawn["root"], drawn["digest"])
        assert proof["seed"] == drawn["seed"]
        assert proof["entrants"] == [[f"v{n}", f"ab{n}"] for n in range(7)]
        assert proof["frozen_ms"] == bound["ends_ms"] == bound["opened_ms"] + 60_000

    winners = [{"prize": w["prize"], "user": w["user"]} for w in drawn["winners"]]
    assert winners == proof["winners"]
    assert [w["prize"] for w in winners] == ["phone", "tea", "tea"]
    assert len({w["user"] for w in winners}) == 3
    won = {w["user"]: w["prize"] for w in winners}
    for n, viewer in enumerate(viewers):
        shown = await viewer.state("lottery:l1", lambda d: d["status"] == "drawn")
        assert shown["winners"] == drawn["winners"]
        if f"v{n}" in won:
            told = (await viewer.event("lottery.won"))["d"]
            assert told["prize"] == won[f"v{n}"]
            assert told["claim_by_ms"] == drawn["claim_by_ms"] == shown["claim_by_ms"]
        else:
            assert viewer.events("lottery.won") == []
    assert len(host.events("lottery.drawn")) == 1
    await host.state("lotteries", lambda d: d is None)
    await assert_books(first, room)


async def test_lottery_seed_is_nowhere_before_it_is_shown(
    alone: harness.Worker, room: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the log, the states, the trail nor the server's own log knows it until then."""
    host = await opened(alone, room)
    viewer = await alone.join(room, "v1")
    await viewer.ask("lottery.enter", lottery="l1")
    seed = (await run(alone, room, "hand.read", verb="HGET", key="lottery:l1", args=["seed"]))[
        "value"
    ]

    entries = await alone.node.store.read_log(room, Position("", 0, 0), 1000)
    said = [entry.item for entry in entries]
    said += [orjson.dumps(client.items) for client in (host, viewer)]
    said += [orjson.dumps(await run(alone, room, "sys.sync"))]
    said += [orjson.dumps(await run(alone, room, "sys.trail", after="", limit=100))]
    said += [orjson.dumps((await alone.join(room, "v2")).hello)]
    assert b"lottery.open" in b"".join(said)
    assert seed.encode() not in b"".join(said)

    await later(room, 60_000, alone)
    assert (await viewer.event("lottery.drawn"))["d"]["seed"] == seed
    output = capsys.readouterr()
    assert seed not in output.out + output.err


# Opening.


async def test_lottery_open_is_done_once(pair: Pair, room: str) -> None:
    """The same rules answer alike, other rules need another draw, and there is one at a time."""
    first, second = pair
    await first.open_room(room)
    host, other = await first.control(room), await second.control(room, "host2")

    made = await host.ask("lottery.open", key="k", **rules())
    assert made["opened"]
    assert made["ends_ms"] == made["opened_ms"] + 60_000
    assert await host.ask("lottery.open", key="k", **rules()) == made
    assert await other.ask("lottery.open", key="k2", **rules()) == made | {"opened": False}
    assert await other.refused("lottery.open", key="k3", **rules(seconds=61)) == "exists"
    later_one = await other.command("lottery.open", key="k4", **rules(lottery="l2"))
    assert later_one["err"]["code"] == "already_running"
    assert later_one["err"]["lottery"] == "l1"

    await host.ask("lottery.cancel", lottery="l1")
    await other.ask("lottery.open", key="k5", **rules(lottery="l2"))
    await host.event("lottery.opened", lottery="l2")
    assert len(host.events("lottery.opened")) == 2


BAD: tuple[tuple[str, dict[str, Any]], ...] = (
    ("bad_request", {"prizes": []}),
    ("bad_request", {"prizes": [{"prize": "a", "title": "A", "n": 0}]}),
    ("bad_request", {"prizes": [{"prize": "a", "title": "A", "n": 10_001}]}),
    ("bad_request", {"prizes": [{"prize": p, "title": "A", "n": 6000} for p in "ab"]}),
    ("bad_request", {"prizes": [{"prize": "a", "title": "A", "n": 1}] * 2}),
    ("bad_request", {"prizes": [{"prize": f"p{n}", "title": "A", "n": 1} for n in range(21)]}),
    ("amount_too_large", {"prizes": [{"prize": "a", "title": "A", "n": 1, "value": 5_000_001}]}),
    ("bad_request", {"prizes": [{"prize": "a", "title": "A", "n": 1, "odds": 2}]}),
    ("bad_request", {"seconds": 3601}),
    ("bad_request", {"seconds": 9}),
    ("bad_request", {"claim_s": 59}),
    ("bad_request", {"title": "\u202e"}),
    ("bad_request", {"conditions": {"likez": 3}}),
    ("bad_request", {"conditions": {"likes": 0}}),
    ("bad_request", {"conditions": {"watch_s": 181}, "seconds": 300}),
    ("bad_request", {"conditions": {"gift": -1}}),
    ("bad_request", {"exclude": {"users": ["no good"]}}),
    ("bad_request", {"exclude": {"users": [f"u{n}" for n in range(101)]}}),
    ("bad_request", {"exclude": {"winners": "all"}}),
)


async def test_lottery_open_refuses_rules_that_cannot_hold(
    alone: harness.Worker, room: str
) -> None:
    """What is wrong is refused before anything is bound; only hosts open draws."""
    await alone.open_room(room)
    host, viewer = await alone.control(room), await alone.join(room, "v1")

    for number, (code, change) in enumerate(BAD):
        assert await host.refused("lottery.open", key=f"k{number}", **rules(**change)) == code, (
            change
        )
    assert await host.refused("lottery.open", **rules()) == "key_required"
    assert await viewer.refused("lottery.open", key="k", **rules()) == "unknown_op"
    moderator = await alone.control(room, "mod", "moderator")
    for op in ("lottery.freeze", "lottery.cancel", "lottery.winners"):
        assert await moderator.refused(op, lottery="l1") == "forbidden"
        assert await host.refused(op, lottery="l1") == "not_found"
    assert await viewer.refused("lottery.enter", lottery="l1") == "not_found"
    assert await viewer.refused("lottery.claim", key="k", lottery="l1") == "not_found"
    assert (await get_proof(alone, room))[0] == 404
    assert host.events("lottery.opened") == []
    await host.ask("lottery.open", key="ok", **rules(conditions={"watch_s": 180}, seconds=300))


async def test_lottery_proofs_are_held_up_by_no_reader(
    alone: harness.Worker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few are sent at once: whoever asks and does not read has a while, then others have it."""
    monkeypatch.setattr("liveroom.features.lottery.plugin._SEND_S", 0.2)
    host = await opened(alone, room)
    await enter_many(alone, room, ["v1", "v2"])
    await later(room, 60_000, alone)
    await host.event("lottery.drawn")
    proof = await proven(alone, room)

    begun = 0

    async def endless(fields: dict[str, Any]) -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        while True:
            yield bytes(1 << 16)

    monkeypatch.setattr("liveroom.features.lottery.plugin.checked_pieces", endless)
    request = (
        f"GET /api/rooms/{room}/lotteries/l1/proof HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {alone.token(room)}\r\n\r\n"
    )
    deaf = [socket.create_connection(("127.0.0.1", alone.port)) for _ in range(4)]
    for made in deaf:
        made.sendall(request.encode())

    async def all_dropped() -> bool:
        return begun == len(deaf) and plugin_of(alone)._proofs == 0

    await harness.until(all_dropped)
    monkeypatch.undo()
    assert await proven(alone, room) == proof
    for made in deaf:
        made.close()


async def test_lottery_open_needs_an_open_room(alone: harness.Worker, room: str) -> None:
    """Nothing begins, and nobody enters, in a room that is closed."""
    host = await opened(alone, room)
    viewer = await alone.join(room, "v1")
    await host.ask("room.close")

    assert await viewer.refused("lottery.enter", lottery="l1") == "room_closed"
    await host.ask("lottery.cancel", lottery="l1")
    assert await host.refused("lottery.open", key="k", **rules(lottery="l2")) == "room_closed"


# Entering.


async def test_lottery_enter_judges_the_end_by_the_store(pair: Pair, room: str) -> None:
    """At the end nobody comes in, though no timer has run and no worker has noticed."""
    first, second = pair
    await opened(first, room)
    early, late = await first.join(room, "early"), await second.join(room, "late")
    first.node.store.skew_ms = second.node.store.skew_ms = 59_000
    answer = await early.ask("lottery.enter", lottery="l1")

    second.node.store.skew_ms = 60_000
    assert await late.refused("lottery.enter", lottery="l1") == "ended"
    assert await early.ask("lottery.enter", lottery="l1") == answer  # also afterwards
    assert (await early.event("lottery.frozen"))["d"]["entrants"] == 1
    assert [user for user, _ in (await drawn_proof(first, early, room))["entrants"]] == ["early"]


async def drawn_proof(
    worker: harness.Worker, client: harness.Client, room: str, lottery: str = "l1"
) -> dict[str, Any]:
    """Wait for the winners; return the proof."""
    await client.event("lottery.drawn", lottery=lottery)
    return await proven(worker, room, lottery)


async def missing(client: harness.Client) -> list[str]:
    """Return which conditions are not met."""
    reply = await client.command("lottery.enter", lottery="l1")
    if "d" in reply:
        return []
    assert reply["err"]["code"] == "not_eligible", reply
    names: list[str] = reply["err"]["missing"]
    return names


async def test_lottery_conditions_are_all_asked_for(pair: Pair, room: str) -> None:
    """Each condition is named until it is met, by facts since the opening, from any worker."""
    first, second = pair
    await first.open_room(room)
    user, tab = await first.join(room, "ann"), await second.join(room, "ann")
    await run(first, room, "hand.note", "ann", kind="gift", amount=5000)  # before: does not count
    await user.ask("like.send", n=50)
    host = await first.control(room)
    conditions = {
        "danmaku": "新年好", "likes": 10, "gift": 1000, "follow": True, "watch_s": 100, "level": 3,
        "bought": True,
    }  # fmt: skip
    await host.ask("lottery.open", key="k", **rules(conditions=conditions, seconds=300))
    for client in (user, tab):
        await client.event("lottery.opened")
    every = ["danmaku", "likes", "gift", "bought", "watch_s", "follow", "level"]
    assert await missing(user) == every

    await user.ask("danmaku.send", text="大家 新年好呀")
    assert await missing(user) == every[1:]
    await tab.ask("like.send", n=4)
    await user.ask("like.send", n=5)
    assert (await missing(tab))[0] == "likes"
    await user.ask("like.send", n=1)
    assert await missing(user) == every[2:]
    await run(first, room, "hand.note", "ann", kind="gift", amount=999)
    assert await missing(user) == every[2:]
    await run(second, room, "hand.note", "ann", kind="gift", amount=1)
    await run(second, room, "hand.note", "ann", kind="buy", amount=1)
    assert await missing(user) == every[4:]
    await user.ask("viewer.follow")
    assert await missing(user) == ["watch_s", "level"]

    await watch_on(room, 100, first, second)
    assert await missing(user) == ["level"]
    fan = await first.connect()
    await fan.ask("hello", room=room, token=first.token(room, "viewer", "ann", level=3))
    assert await missing(fan) == []
    await assert_books(first, room)


async def fact(worker: harness.Worker, room: str, name: str) -> Any:
    """Return a fact as the store knows it; False for none."""
    where = {"verb": "HGET", "key": "lottery:l1:fact", "args": [name]}
    return (await run(worker, room, "hand.read", **where))["value"]


async def test_lottery_facts_are_committed_with_the_beat(pair: Pair, room: str) -> None:
    """What was done through one worker counts through another, without an entry in between."""
    first, second = pair
    await first.open_room(room)
    here, there = await first.join(room, "ann"), await second.join(room, "ann")
    host = await first.control(room)
    conditions = {"danmaku": "Hi", "likes": 7}
    await host.ask("lottery.open", key="k", **rules(conditions=conditions))
    await there.event("lottery.opened")
    await there.ask("like.send", n=7)
    await there.ask("danmaku.send", text="Oh hI!")

    while await fact(first, room, "likes|ann") != "7":  # noqa: ASYNC110 -- no message tells
        await asyncio.sleep(0.01)
    while await fact(first, room, "said|ann") != "1":  # noqa: ASYNC110 -- no message tells
        await asyncio.sleep(0.01)
    assert await missing(here) == []
    await later(room, 60_000, first, second)
    await there.event("lottery.drawn")
    await there.ask("like.send", n=7)
    assert await fact(first, room, "likes|ann") is False


async def test_lottery_gift_of_any_value_meets_zero(alone: harness.Worker, room: str) -> None:
    """`gift: 0` asks for a gift, not for a value."""
    await opened(alone, room, conditions={"gift": 0})
    viewer = await alone.join(room, "v1")
    assert await missing(viewer) == ["gift"]
    await run(alone, room, "hand.note", "v1", kind="gift", amount=1)
    assert await missing(viewer) == []


def advanced(now: Callable[[], float], seconds: float) -> Callable[[], float]:
    """Return a clock that is ahead of another."""
    return lambda: now() + seconds


async def watch_on(room: str, seconds: int, *workers: harness.Worker) -> None:
    """Let time pass on the store's clock and on the workers' own."""
    for worker in workers:
        attendance = plugin_of(worker).attendance
        attendance.now = advanced(attendance.now, seconds)
    await later(room, seconds * 1000, *workers)


async def watched_ms(worker: harness.Worker, room: str, user: str) -> int:
    """Return how long a user has watched, as the store knows it."""
    found = await fact(worker, room, f"watch|{user}")
    return int(found.partition("|")[0]) if found else 0


async def test_lottery_watch_time_is_counted_once(pair: Pair, room: str) -> None:
    """Over tabs, workers and reports: only time since the opening, and each moment once."""
    first, second = pair
    await first.open_room(room)
    tabs = [await worker.join(room, "ann") for worker in (first, first, second)]
    await watch_on(room, 500, first, second)  # before it opens
    host = await first.control(room)
    await host.ask("lottery.open", key="k", **rules(conditions={"watch_s": 100}, seconds=400))
    for tab in tabs:
        await tab.event("lottery.opened")

    await watch_on(room, 60, first, second)
    for worker in pair * 2:
        await plugin_of(worker).report_watching()
    assert 60_000 <= await watched_ms(first, room, "ann") < 70_000
    assert await missing(tabs[2]) == ["watch_s"]

    for tab in tabs:
        await tab.close()
    for worker in pair:
        attendance = plugin_of(worker).attendance
        while attendance.here_ms(room, "ann"):  # noqa: ASYNC110 -- no message tells
            await asyncio.sleep(0.01)
    await watch_on(room, 100, first, second)  # nobody is here
    back = await second.join(room, "ann")
    assert await missing(back) == ["watch_s"]
    await watch_on(room, 25, first, second)
    assert await missing(back) == ["watch_s"]
    assert await watched_ms(first, room, "ann") < 80_000
    await watch_on(room, 25, first, second)
    assert await missing(back) == []


async def test_lottery_watch_time_counts_when_one_leaves(alone: harness.Worker, room: str) -> None:
    """What was watched is committed when the last tab closes, not half a minute later."""
    await opened(alone, room, conditions={"watch_s": 60}, seconds=300)
    viewer = await alone.join(room, "ann")
    await watch_on(room, 61, alone)
    await viewer.close()

    while await watched_ms(alone, room, "ann") < 61_000:  # noqa: ASYNC110 -- no message tells
        await asyncio.sleep(0.01)
    assert await missing(await alone.join(room, "ann")) == []


async def test_lottery_leaves_out_whom_the_rules_leave_out(pair: Pair, room: str) -> None:
    """Staff, named users, and who has won in this room before."""
    first, second = pair
    host = await opened(first, room, exclude={"users": ["eve"]}, prizes=one_prize())
    ann, eve = await first.join(room, "ann"), await second.join(room, "eve")
    helper = await first.join(room, "helper", "assistant")
    for client in (eve, helper, host):
        reply = await client.command("lottery.enter", lottery="l1")
        assert (reply["err"]["code"], reply["err"]["excluded"]) == ("not_eligible", True)
    await ann.ask("lottery.enter", lottery="l1")
    await later(room, 60_000, first, second)
    proof = await drawn_proof(first, ann, room)
    assert [row["user"] for row in proof["winners"]] == ["ann"]

    again = rules(lottery="l2", exclude={"staff": False, "winners": "room"}, prizes=one_prize())
    await host.ask("lottery.open", key="k2", **again)
    assert await ann.refused("lottery.enter", lottery="l2") == "not_eligible"
    for client in (eve, helper):
        await client.ask("lottery.enter", lottery="l2")
    await later(room, 60_000, first, second)
    await drawn_proof(first, eve, room, "l2")

    await later(room, 31 * DAY_MS, first, second)
    await host.ask("lottery.open", key="k3", **again | {"lottery": "l3"})
    await ann.ask("lottery.enter", lottery="l3")


def one_prize(n: int = 1) -> list[dict[str, Any]]:
    """Return prizes of one kind."""
    return [{"prize": "a", "title": "A", "n": n}]


async def test_lottery_counts_its_entrants_aloud(alone: harness.Worker, room: str) -> None:
    """The state follows, and who comes back is told that it has entered."""
    host = await opened(alone, room)
    viewer = await alone.join(room, "v1")
    assert "lottery" not in viewer.hello["own"]
    await viewer.ask("lottery.enter", lottery="l1")
    await enter_many(alone, room, [f"u{n}" for n in range(50)])

    await later(room, 1000, alone)
    await host.state("lottery:l1", lambda d: d["entrants"] == 51)
    assert (await alone.join(room, "v1")).hello["own"]["lottery"] == {"entered": "l1"}
    assert "lottery" not in (await alone.join(room, "v2")).hello["own"]


# Freezing, giving up.


async def test_lottery_without_an_end_is_frozen_by_the_host(pair: Pair, room: str) -> None:
    """Only such a draw can be: what the rules say of the end cannot be changed."""
    first, second = pair
    host = await opened(first, room)
    assert await host.refused("lottery.freeze", lottery="l1") == "too_early"
    await host.ask("lottery.cancel", lottery="l1")
    assert await host.refused("lottery.freeze", lottery="l1") == "ended"

    made = await host.ask("lottery.open", key="k2", **rules(lottery="l2", seconds=0))
    assert "ends_ms" not in made
    viewer = await second.join(room, "v1")
    await viewer.ask("lottery.enter", lottery="l2")
    frozen = await host.ask("lottery.freeze", lottery="l2")
    assert frozen == {"lottery": "l2", "frozen": True, "entrants": 1}
    assert await host.ask("lottery.freeze", lottery="l2") == frozen | {"frozen": False}
    other = await first.join(room, "v2")
    assert await other.refused("lottery.enter", lottery="l2") == "ended"
    proof = await drawn_proof(second, viewer, room, "l2")
    assert proof["winners"] == [{"prize": "phone", "user": "v1"}]


async def test_lottery_cancel_is_seen_by_all_and_final(pair: Pair, room: str) -> None:
    """Before it is drawn a draw can be given up, with the fact that it was; afterwards not."""
    first, second = pair
    host = await opened(first, room)
    viewer = await second.join(room, "v1")
    await viewer.ask("lottery.enter", lottery="l1")

    assert await host.ask("lottery.cancel", lottery="l1") == {"lottery": "l1", "cancelled": True}
    assert await host.ask("lottery.cancel", lottery="l1") == {"lottery": "l1", "cancelled": False}
    told = (await viewer.event("lottery.cancelled"))["d"]
    assert told == {"lottery": "l1", "was": "open", "entrants": 1, "by": "host"}
    await viewer.state("lottery:l1", lambda d: d["status"] == "cancelled" and "seed" not in d)
    assert await viewer.refused("lottery.enter", lottery="l1") == "ended"
    assert await viewer.refused("lottery.claim", key="c", lottery="l1") == "ended"
    assert (await get_proof(first, room))[1]["err"]["code"] == "ended"
    assert await host.refused("lottery.open", key="k2", **rules(title="Another")) == "exists"
    await later(room, 70_000, first, second)
    assert viewer.events("lottery.frozen") == []
    await viewer.state("lotteries", lambda d: d is None)

    await host.ask("lottery.open", key="k3", **rules(lottery="l2"))
    await later(room, 60_000, first, second)
    await viewer.event("lottery.drawn")
    assert await host.refused("lottery.cancel", lottery="l2") == "already_done"
    await later(room, 700_000, first, second)
    await viewer.state("lottery:l1", lambda d: d is None)  # not sent to joiners for ever


async def test_lottery_without_entrants_is_settled_at_once(pair: Pair, room: str) -> None:
    """Nobody wins, and that can be proven, too."""
    first, second = pair
    await opened(first, room)
    viewer = await second.join(room, "v1")
    await later(room, 60_000, first, second)

    assert (await viewer.event("lottery.settled"))["d"] == {"lottery": "l1", "of": 0, "claimed": 0}
    proof = await proven(first, room)
    assert (proof["entrants"], proof["winners"], proof["reserves"]) == ([], [], [])
    await assert_books(first, room)


# Drawing.


async def freeze_for(worker: harness.Worker, room: str, holder: str) -> Any:
    """Freeze the draw and give somebody the lease in the same step, so that no worker gets it."""
    body = {"lottery": "l1", "worker": holder}
    committed = await worker.node.hub.commit(room, [Op("lottery.lease", "", body)])
    leased = orjson.loads(committed.replies[0][1:])
    assert leased["leased"]
    return leased


async def test_lottery_is_drawn_by_another_worker_if_one_dies(pair: Pair, room: str) -> None:
    """Whoever had begun is waited for as long as its lease; what it left behind does no harm."""
    first, second = pair
    await opened(first, room)
    viewer = await second.join(room, "v1")
    users = sorted(f"u{n}" for n in range(40))
    await enter_many(first, room, users)
    first.node.store.skew_ms = second.node.store.skew_ms = 60_000
    await freeze_for(first, room, "dead")
    dead = {"lottery": "l1", "worker": "dead"}
    await run(first, room, "lottery.order", "", **dead, **{"from": 0, "users": ["u1", "u2"]})

    for worker in pair:
        plugin_of(worker).look()
        mine = {"lottery": "l1", "worker": worker.node.worker}
        assert await run(worker, room, "lottery.lease", **mine) == {"leased": False}
    assert viewer.events("lottery.drawn") == []

    await later(room, LEASE_OVER_MS, first, second)
    plugin_of(second).look()
    await drawn_proof(first, viewer, room)
    assert await run(first, room, "lottery.order", **dead, **{"from": 0, "users": []}) == "final"
    assert await run(first, room, "lottery.draw", **dead, draw_key="", digest="") == "final"
    await assert_books(first, room)


async def test_lottery_drawn_by_two_workers_has_one_result(pair: Pair, room: str) -> None:
    """Both try at the same time; winners and proof are told once."""
    first, second = pair
    await opened(first, room)
    viewer = await second.join(room, "v1")
    await enter_many(first, room, [f"u{n}" for n in range(600)])
    await later(room, 60_000, first, second)
    for _ in range(20):
        for worker in pair:
            plugin_of(worker).drawings.begin(room, "l1")
        await asyncio.sleep(0)
    proof = await drawn_proof(first, viewer, room)

    # Whoever comes late with a lease of its own making cannot change it.
    body = {"lottery": "l1", "worker": second.node.worker}
    assert (await run(second, room, "lottery.lease", **body)) == {"leased": False}
    seal = body | {"root": "00" * 32, "entrants": 600}
    assert await run(second, room, "lottery.seal", **seal) == "final"
    await first.node.hub.commit(room, [])
    assert len(viewer.events("lottery.drawn")) == len(viewer.events("lottery.sealed")) == 1
    assert await proven(second, room) == proof


async def test_lottery_script_takes_only_what_fits(alone: harness.Worker, room: str) -> None:
    """A worker that computes wrongly, or is not the one that draws, is refused."""
    await opened(alone, room, prizes=one_prize(2))
    await enter_many(alone, room, ["u1", "u2", "u3"])
    alone.node.store.skew_ms = 60_000
    await freeze_for(alone, room, "w")
    mine, root = {"lottery": "l1", "worker": "w"}, "ab" * 32

    def order(first: int, *users: str) -> dict[str, Any]:
        return mine | {"from": first, "users": list(users)}

    done = mine | {"draw_key": "k", "digest": "d", "drawn_ms": 1}
    assert await run(alone, room, "lottery.draw", **done) == "too_early"
    assert (
        await run(alone, room, "lottery.seal", **mine, root=root, entrants=2) == "amount_mismatch"
    )
    other = mine | {"worker": "x"}
    assert await run(alone, room, "lottery.seal", **other, root=root, entrants=3) == "not_allowed"
    sealed = await run(alone, room, "lottery.seal", **mine, root=root, entrants=3)
    assert (
        await run(alone, room, "lottery.seal", **mine, root="cd" * 32, entrants=3) == "already_done"
    )
    assert await run(alone, room, "lottery.order", **order(1, "u1")) == "version_conflict"
    done["drawn_ms"] = sealed["drawn_ms"]
    assert await run(alone, room, "lottery.draw", **done) == "version_conflict"  # no order yet
    await run(alone, room, "lottery.order", **order(0, "u1", "u2", "u3"))
    wrong = done | {"drawn_ms": sealed["drawn_ms"] - 1}
    assert await run(alone, room, "lottery.draw", **wrong) == "version_conflict"
    await run(alone, room, "lottery.draw", **done)
    await assert_books(alone, room)


async def test_lottery_in_a_room_that_nobody_serves_is_drawn(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A worker that has no viewers of the room looks after it all the same."""
    first = await start_worker(store_url)
    await opened(first, room)
    await enter_many(first, room, ["u1", "u2"])
    body = {"lottery": "l1", "worker": "dead"}
    first.node.store.skew_ms = 60_000
    await first.node.hub.commit(room, [Op("lottery.lease", "", body)])

    second = await start_worker(store_url)
    second.node.store.skew_ms = 60_000 + LEASE_OVER_MS
    first_plugin, plugin = plugin_of(first), plugin_of(second)
    first_plugin.drawings.begin = lambda *_: None  # type: ignore[method-assign]
    second.node.store.skew_ms += 60_000  # whoever else had the turn to look has had it
    await plugin.look_far()
    while (await get_proof(second, room))[0] != 200:  # noqa: ASYNC110 -- no message tells
        await asyncio.sleep(0.02)
    assert len((await proven(second, room))["winners"]) == 2


async def test_lottery_of_many_winners_tells_each(pair: Pair, room: str) -> None:
    """Hundreds of winners are told page by page; until then no other draw begins."""
    first, second = pair
    host = await opened(first, room, prizes=one_prize(450))
    users = [f"u{n:04d}" for n in range(2000)]
    await enter_many(first, room, users)
    viewer = await second.join(room, users[7])
    await later(room, 60_000, first, second)
    drawn = (await viewer.event("lottery.drawn"))["d"]
    assert (drawn["of"], len(drawn["winners"])) == (450, 100)

    await host.state("lotteries", lambda d: d is None)
    proof = await proven(second, room)
    assert len(proof["winners"]) == 450
    assert len(proof["reserves"]) == 1350
    log = await first.node.store.read_log(room, Position("", 0, 0), 5000)
    told = [entry.user for entry in log if b"lottery.won" in entry.item]
    assert told == [row["user"] for row in proof["winners"]]
    shown: list[dict[str, Any]] = []
    page = await host.ask("lottery.winners", lottery="l1", limit=200)
    while True:
        shown += page["winners"]
        if "next" not in page:
            break
        page = await host.ask("lottery.winners", lottery="l1", at=page["next"], limit=200)
    assert [row["user"] for row in shown] == told
    assert shown[0]["name"] == shown[0]["user"].upper()
    await assert_books(first, room)


async def test_lottery_overdue_is_shown_and_ends_when_it_is_drawn(pair: Pair, room: str) -> None:
    """A reveal that does not come is seen by everyone; the draw can still be made, or given up."""
    first, second = pair
    await opened(first, room)
    viewer = await second.join(room, "v1")
    await viewer.ask("lottery.enter", lottery="l1")
    for worker in pair:
        plugin_of(worker).drawings.begin = lambda *_: None  # type: ignore[method-assign]
    await later(room, 60_000, first, second)
    await later(room, 600_000, first, second)

    late = await viewer.state("lottery:l1", lambda d: d.get("overdue", False))
    assert late["status"] == "frozen"
    for worker in pair:
        del plugin_of(worker).drawings.begin
        plugin_of(worker).look()
    await viewer.state("lottery:l1", lambda d: d["status"] == "drawn" and "overdue" not in d)


# The beacon.


def signed(seed: str = "00") -> dict[str, str]:
    """Return something that looks like a round of a beacon."""
    signature = seed * 48
    return {
        "signature": signature,
        "randomness": hashlib.sha256(bytes.fromhex(signature)).hexdigest(),
    }


async def now_s(worker: harness.Worker, room: str) -> int:
    """Return the store's time in seconds."""
    return (await worker.node.hub.commit(room, [])).now_ms // 1000


async def test_lottery_with_a_beacon_waits_for_its_round(pair: Pair, room: str) -> None:
    """Sealed first; drawn with the one round that the rules name, once it can be known."""
    first, second = pair
    await first.open_room(room)
    host, viewer = await first.control(room), await second.join(room, "v1")
    genesis = await now_s(first, room)
    beacon = {"chain": CHAIN, "round": 11, "genesis": genesis, "period": 9}
    await host.ask("lottery.open", key="k", **rules(beacon=beacon))
    await enter_many(first, room, [f"u{n}" for n in range(9)])
    mine: dict[str, Any] = {"lottery": "l1", "round": 11} | signed()
    assert await host.refused("lottery.beacon", **mine) == "too_early"

    await later(room, 60_000, first, second)
    await viewer.event("lottery.sealed")
    shown = await viewer.state("lottery:l1", lambda d: "root" in d)
    assert shown["beacon"]["at_ms"] == (genesis + 90) * 1000
    assert await host.refused("lottery.beacon", **mine) == "too_early"  # cannot be known yet
    await later(room, 32_000, first, second)
    plugin_of(first).look()
    assert viewer.events("lottery.drawn") == []

    assert await host.refused("lottery.beacon", **mine | {"round": 12}) == "bad_request"
    wrong = mine | {"randomness": signed("01")["randomness"]}
    assert await host.refused("lottery.beacon", **wrong) == "bad_request"
    assert await host.ask("lottery.beacon", **mine) == {"lottery": "l1", "accepted": True}
    proof = await drawn_proof(second, viewer, room)
    assert proof["beacon"] == {"round": 11} | signed()
    assert (await viewer.event("lottery.beacon"))["d"] == mine
    assert await host.ask("lottery.beacon", **mine) == {"lottery": "l1", "accepted": False}
    assert await host.refused("lottery.beacon", **mine | signed("01")) == "already_done"


async def test_lottery_beacon_must_come_after_the_entries(alone: harness.Worker, room: str) -> None:
    """A round that may be known before the entries are fixed is refused, at the latest then."""
    await alone.open_room(room)
    host = await alone.control(room)
    genesis = await now_s(alone, room)

    def drawn_by(round_: int, **more: Any) -> dict[str, Any]:
        beacon = {"chain": CHAIN, "round": round_, "genesis": genesis, "period": 10}
        return rules(beacon=beacon, **more)

    assert await host.refused("lottery.open", key="1", **drawn_by(6)) == "bad_request"
    assert await host.refused("lottery.open", key="2", **drawn_by(400)) == "bad_request"
    quicknet = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
    known = {"chain": quicknet, "round": 10**9, "genesis": genesis, "period": 3}
    assert await host.refused("lottery.open", key="3", **rules(beacon=known)) == "bad_request"
    assert await host.refused("lottery.beacon", lottery="l1", round=1, **signed()) == "not_found"

    await host.ask("lottery.open", key="4", **drawn_by(10, seconds=0))
    await later(room, 100_000, alone)
    assert await host.refused("lottery.freeze", lottery="l1") == "expired"
    await host.ask("lottery.cancel", lottery="l1")
    assert await host.refused("lottery.beacon", lottery="l1", round=10, **signed()) == "ended"

    await host.ask("lottery.open", key="5", **rules(lottery="l2"))
    assert await host.refused("lottery.beacon", lottery="l2", round=1, **signed()) == "bad_request"


# Claiming.


async def drawn(
    workers: Pair, room: str, users: list[str], **changes: Any
) -> tuple[harness.Client, dict[str, Any]]:
    """Have users draw lots; return the host and the proof."""
    host = await opened(workers[0], room, claim_s=CLAIM_MS // 1000, **changes)
    await enter_many(workers[0], room, users)
    await later(room, 60_000, *workers)
    return host, await drawn_proof(workers[0], host, room)


async def claim(worker: harness.Worker, room: str, user: str, **d: Any) -> Any:
    """Claim as a user; return the answer or the code of the refusal."""
    client = await worker.join(room, user)
    reply = await client.command(
        "lottery.claim", key=f"{user}-{random.random()}", lottery="l1", **d
    )
    await client.close()
    return reply["d"] if "d" in reply else reply["err"]["code"]


async def test_lottery_claims_go_to_winners_in_time(pair: Pair, room: str) -> None:
    """A winner claims once, others never; the contact is for the host alone."""
    first, second = pair
    host, proof = await drawn(pair, room, [f"u{n}" for n in range(20)])
    phone, tea, last = [row["user"] for row in proof["winners"]]

    joined = await second.join(room, phone)
    won = joined.hello["own"]["lottery"]["won"]
    assert [(w["prize"], w["claimed"]) for w in won] == [("phone", False)]
    got = await claim(second, room, phone, contact="138 0000 0000")
    assert (got["prize"], got["title"]) == ("phone", "Phone")
    assert await claim(first, room, phone, contact="another") == got
    assert await claim(first, room, proof["reserves"][0]) == "not_eligible"
    stranger = await first.join(room, "stranger")
    assert await stranger.refused("lottery.claim", key="k", lottery="l1") == "not_eligible"
    assert await stranger.refused("lottery.claim", key="k2", lottery="l1", user=tea) == "forbidden"
    assert await stranger.refused("lottery.claim", lottery="l1") == "key_required"

    shop = {"Authorization": f"Bearer {first.token('*', 'service', 'shop')}"}
    command = {"op": "lottery.claim", "id": 1, "key": "k", "d": {"lottery": "l1", "user": tea}}
    url = f"{first.http}/api/rooms/{room}/commands"
    async with (
        aiohttp.ClientSession(headers=shop) as session,
        session.post(url, json=command) as response,
    ):
        assert (await response.json())["replies"][0]["d"]["prize"] == "tea"

    winners = await host.ask("lottery.winners", lottery="l1")
    assert (winners["of"], winners["claimed"]) == (3, 2)
    rows = {row["user"]: row for row in winners["winners"]}
    assert rows[phone]["contact"] == "138 0000 0000"
    assert "claimed_ms" not in rows[last]
    log = await first.node.store.read_log(room, Position("", 0, 0), 1000)
    sync = await run(first, room, "sys.sync")
    trail = await run(first, room, "sys.trail", after="", limit=100)
    assert b"138 0000" not in b"".join(e.item for e in log) + orjson.dumps([sync, trail])

    await claim(second, room, last)
    settled = await host.event("lottery.settled")
    assert settled["d"] == {"lottery": "l1", "of": 3, "claimed": 3}
    assert await claim(first, room, phone) == got
    assert "lottery" not in (await first.join(room, phone)).hello["own"]
    await assert_books(first, room)


def holds(users: list[str]) -> Callable[[Any], bool]:
    """Return a check that a state's winners are these."""
    return lambda d: d is not None and [row["user"] for row in d.get("winners", ())] == users


async def test_lottery_redraws_what_is_not_claimed(pair: Pair, room: str) -> None:
    """Three times, to the next of the published order; then it is settled."""
    first, second = pair
    host, proof = await drawn(pair, room, [f"u{n}" for n in range(30)])
    order = [row["user"] for row in proof["winners"]] + proof["reserves"]
    assert len(order) == 12
    await claim(second, room, order[1])

    holders = [order[0], order[2]]
    for number, new in enumerate((order[3:5], order[5:7], order[7:9]), start=1):
        await later(room, CLAIM_MS + 1, first, second)
        told = (await host.event("lottery.redrawn", round=number))["d"]
        assert [row["user"] for row in told["winners"]] == new
        assert [row["prize"] for row in told["winners"]] == ["phone", "tea"]
        for late in holders:
            assert await claim(first, room, late) == "expired"
        await host.state("lottery:l1", holds([new[0], order[1], new[1]]))
        holders = new
        await assert_books(first, room)
    got = await claim(second, room, holders[0])
    assert got["prize"] == "phone"
    assert await claim(second, room, order[9]) == "not_eligible"

    await later(room, CLAIM_MS + 1, first, second)
    settled = await host.event("lottery.settled")
    assert settled["d"] == {"lottery": "l1", "of": 3, "claimed": 2}
    assert await claim(first, room, holders[1]) == "expired"
    assert await claim(first, room, holders[0]) == got
    final = await proven(second, room)
    assert [redraw["given"] for redraw in final["redraws"]] == [
        [[0, order[n]], [2, order[n + 1]]] for n in (3, 5, 7)
    ]
    assert final["digest"] == proof["digest"]
    await assert_books(first, room)


async def test_lottery_redraws_until_nobody_is_left(pair: Pair, room: str) -> None:
    """With fewer reserves than prizes the rest is left over, and that is said."""
    first, second = pair
    host, proof = await drawn(pair, room, ["a", "b", "c", "d"])
    (only,) = proof["reserves"]
    await later(room, CLAIM_MS + 1, first, second)
    told = (await host.event("lottery.redrawn"))["d"]
    assert told["winners"] == [{"prize": "phone", "user": only, "name": only.upper()}]
    assert (await claim(first, room, only))["prize"] == "phone"
    settled = await host.event("lottery.settled")  # at once: nothing can be claimed any more
    assert settled["d"] == {"lottery": "l1", "of": 3, "claimed": 1}
    await proven(first, room)
    await assert_books(first, room)


async def test_lottery_redraws_in_pages(pair: Pair, room: str) -> None:
    """Hundreds of prizes go on in steps; who claims meanwhile keeps the prize."""
    first, second = pair
    users = [f"u{n:04d}" for n in range(1500)]
    host, proof = await drawn(pair, room, users, prizes=one_prize(350))
    winners = [row["user"] for row in proof["winners"]]
    await host.state("lotteries", lambda d: d is None)
    body = {"lottery": "l1"}
    kept = winners[::7]
    for user in kept:
        await run(first, room, "lottery.claim", user, **body, user=user)
    await later(room, CLAIM_MS + 1, first, second)
    told = (await host.event("lottery.redrawn"))["d"]
    assert (told["of"], len(told["winners"])) == (350 - len(kept), 100)

    final = await proven(second, room)
    given = [pair for redraw in final["redraws"] for pair in redraw["given"]]
    assert [user for _, user in given] == proof["reserves"][: 350 - len(kept)]
    assert [slot for slot, _ in given] == [n for n, user in enumerate(winners) if user not in kept]
    await assert_books(first, room)


async def test_lottery_claims_can_be_made_in_a_closed_room(pair: Pair, room: str) -> None:
    """The show is over, the prize is not lost: its winner claims, or the back end for it."""
    host, proof = await drawn(pair, room, ["a", "b", "c"])
    winner = proof["winners"][0]["user"]
    client = await pair[1].join(room, winner)
    await host.ask("room.close")
    assert (await client.ask("lottery.claim", key="k", lottery="l1"))["prize"] == "phone"


# The proof and the books.


async def test_lottery_proof_comes_with_the_draw_and_goes_after_a_month(
    alone: harness.Worker, room: str
) -> None:
    """Not before it is drawn, for tokens of the room alone, and not for ever."""
    host = await opened(alone, room)
    await enter_many(alone, room, ["u1", "u2"])
    status, body = await get_proof(alone, room)
    assert (status, body["err"]["code"]) == (425, "too_early")
    assert await host.refused("lottery.winners", lottery="l1") == "too_early"
    assert await host.refused("lottery.claim", key="k", lottery="l1") == "too_early"
    await later(room, 60_000, alone)
    await drawn_proof(alone, host, room)
    headers = {"Authorization": f"Bearer {alone.token('elsewhere')}"}
    url = f"{alone.http}/api/rooms/{room}/lotteries/l1/proof"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        assert response.status == 403

    await later(room, 29 * DAY_MS, alone)
    await proven(alone, room)
    await later(room, 2 * DAY_MS, alone)
    assert (await get_proof(alone, room))[0] == 404
    found = await run(alone, room, "hand.read", verb="KEYS", key="lottery:*", args=[])
    assert not found["value"]


async def test_lottery_proofs_are_sent_a_few_at_a_time(alone: harness.Worker, room: str) -> None:
    """Whoever asks for more is told to come back."""
    await opened(alone, room)
    plugin = plugin_of(alone)
    plugin._proofs = 4
    status, body = await get_proof(alone, room)
    assert (status, body["err"]["code"]) == (503, "overloaded")


async def test_lottery_proof_that_is_cut_off_does_not_look_whole(
    alone: harness.Worker, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store goes away half-way the connection breaks: no text that ends well."""
    host = await opened(alone, room)
    await enter_many(alone, room, [f"u{n}" for n in range(300)])
    await later(room, 60_000, alone)
    await drawn_proof(alone, host, room)
    commit = alone.node.hub.commit

    async def fail_late(scope: str, ops: Any, **options: Any) -> Any:
        if ops and ops[0].name == "lottery.page" and ops[0].body["after"]:
            raise StoreUnavailable("gone")
        return await commit(scope, ops, **options)

    monkeypatch.setattr(alone.node.hub, "commit", fail_late)
    with pytest.raises(aiohttp.ClientError):
        await get_proof(alone, room)
    monkeypatch.undo()
    await proven(alone, room)


async def test_lottery_tells_the_back_end(
    start_worker: harness.StartWorker, embedded_url: str, room: str
) -> None:
    """Winners and claims are put into the outbox, without what a winner told about itself."""
    hooks = {"webhook_url": "http://127.0.0.1:9/hooks", "webhook_secret": "whsec_" + "A" * 32}
    worker = await start_worker(embedded_url, plugins=[Hand()], **hooks)
    _, proof = await drawn((worker, worker), room, ["a", "b", "c", "d"])
    winner = proof["winners"][0]["user"]
    await claim(worker, room, winner, contact="secret street 1")

    where = {"verb": "XRANGE", "key": "outbox", "args": ["-", "+"]}
    rows = (await run(worker, room, "hand.read", **where))["value"]
    sent = {fields[1]: orjson.loads(fields[3]) for _, fields in rows if "lottery." in fields[1]}
    assert sorted(sent) == ["lottery.claimed", "lottery.drawn"]
    assert (sent["lottery.drawn"]["of"], sent["lottery.drawn"]["digest"]) == (3, proof["digest"])
    assert (sent["lottery.claimed"]["user"], sent["lottery.claimed"]["prize"]) == (winner, "phone")
    assert "secret street" not in str(rows)


TAMPER: tuple[tuple[str, str, str, list[Any]], ...] = (
    ("lottery.entrants", "HINCRBY", "lottery:l1", ["n", 1]),
    ("lottery.entrants", "ZADD", "lottery:l1:in", [0, "zz  Z"]),
    ("lottery.order", "ZADD", "lottery:l1:order", [99, "zz"]),
    ("lottery.ranks", "ZINCRBY", "lottery:l1:order", [50, "u1"]),
    ("lottery.claims", "HSET", "lottery:l1:claim", ["0", "u1|1"]),
    ("lottery.one_way", "HSET", "lottery:l1", ["status", "open"]),
    ("lottery.in_order", "HSET", "lottery:l1", ["drawn", "1"]),
    ("lottery.winners", "HSET", "lottery:l1", ["w", "2"]),
    ("lottery.running", "HSET", "lottery", ["running", "l1"]),
    ("lottery.seed", "HDEL", "lottery:l1", ["seed"]),
    ("lottery.record", "DEL", "lottery:l1", []),
)


async def test_lottery_books_show_what_was_tampered_with(
    start_worker: harness.StartWorker, embedded_url: str
) -> None:
    """Each invariant is looked after: a hand in the store is noticed."""
    worker = await start_worker(embedded_url, plugins=[Hand()])
    for number, (what, verb, key, args) in enumerate(TAMPER):
        room = f"tampered-{number}"
        worker.node.store.skew_ms = 0
        await drawn((worker, worker), room, ["u1", "u2", "u3", "u4", "u5"])
        await assert_books(worker, room)
        await run(worker, room, "hand.write", verb=verb, key=key, args=args)
        found = await run(worker, room, "sys.check")
        assert what in {row["what"] for row in found["broken"]}, (what, found["broken"])


def test_lottery_bodies_fit_what_the_script_says() -> None:
    """The declared shapes are those of the AsyncAPI document."""
    plugin = Lottery()
    assert all(event.body is not None for event in plugin.events)
    assert all(state.body is not None for state in plugin.states)
    assert msgspec.json.schema(plugin.states[0].body)
