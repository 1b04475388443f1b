"""Polls: one vote per identity, counted once, until exactly the end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import orjson
import pytest

import harness
from harness import Pair, run
from liveroom import Op, Plugin


MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


class Hand(Plugin):
    """A hand in the store, and timers that are due before any other for as long as one likes."""

    name = "hand"
    lua = """
ops['hand.write'] = function(op) write(op.d.verb, key(op.d.key), unpack(op.d.args)) end
ops['hand.clog'] = function()
  write('SET', key('clog'), 1)
  for i = 1, 40 do at('clog', i, 1) end
end
ops['hand.votes'] = function(op) return {n = call('HLEN', key('votes:' .. op.d.poll))} end
due.clog = function(id) if call('EXISTS', key('clog')) == 1 then at('clog', id, 1) end end
"""


PLUGINS = (Hand,)


def lunch(**changes: Any) -> dict[str, Any]:
    """Return a poll of three options."""
    return {"poll": "lunch", "title": "Lunch?", "options": ["面", "饭", "Soup"]} | changes


async def broken(worker: harness.Worker, room: str, **args: Any) -> list[dict[str, Any]]:
    """Return what the polls' checks find wrong."""
    found = (await run(worker, room, "sys.check", **args)).get("broken") or []
    return [row for row in found if row["what"].startswith("poll")]


async def at_ms(workers: Pair | tuple[harness.Worker], room: str, skew_ms: int) -> None:
    """Move the room's time, and have what is due then run."""
    for worker in workers:
        worker.node.store.skew_ms = skew_ms
    await workers[0].node.hub.commit(room, [])


async def asked(worker: harness.Worker, room: str, **changes: Any) -> harness.Client:
    """Open a room with a poll in it; return the host."""
    await worker.open_room(room)
    host = await worker.control(room)
    poll = lunch(**changes)
    await host.ask("poll.open", key=poll["poll"], **poll)
    return host


def shown(hello: dict[str, Any], name: str) -> Any:
    """Return the value of a state in a greeting, or None."""
    return next((item["d"] for item in hello["states"] if item["st"] == name), None)


# Opening.


async def test_poll_is_seen_by_everyone_and_by_who_comes_late(pair: Pair, room: str) -> None:
    """A durable event, a state with the end, and for each viewer what it voted itself."""
    first, second = pair
    await first.open_room(room)
    host, viewer = await first.control(room), await second.join(room, "vi")

    answer = await host.ask("poll.open", key="k", **lunch(seconds=30))
    event = await viewer.event("poll.opened", poll="lunch")
    assert answer == {
        "poll": "lunch", "opened": True, "status": "open", "ends_ms": event["ts"] + 30_000,
    }  # fmt: skip
    fields = {
        "poll": "lunch", "title": "Lunch?", "options": ["面", "饭", "Soup"], "multiple": False,
        "max_choices": 1, "change": False, "hidden": False, "ends_ms": answer["ends_ms"],
    }  # fmt: skip
    assert event["d"] == fields | {"by": "host"}
    await viewer.state("poll:lunch", lambda d: d == fields | {
        "status": "open", "voters": 0, "tally": [0, 0, 0]
    })  # fmt: skip

    assert await viewer.ask("poll.vote", poll="lunch", options=[1]) == {
        "poll": "lunch", "options": [1],
    }  # fmt: skip
    await host.state("poll:lunch", lambda d: (d["voters"], d["tally"]) == (1, [0, 1, 0]))
    again, other = await first.join(room, "vi"), await first.join(room, "ot")
    assert again.hello["own"]["poll"] == {"lunch": [1]}
    assert "poll" not in other.hello["own"]
    assert shown(other.hello, "poll:lunch")["tally"] == [0, 1, 0]
    assert await broken(first, room) == []


async def test_poll_opens_once_and_alone(pair: Pair, room: str) -> None:
    """The same again is answered, another content or another poll is refused; then the next one."""
    first, second = pair
    host = await asked(first, room)
    two = await second.control(room, "h2")

    again = await two.ask("poll.open", key="x", **lunch())
    assert (again["opened"], again["status"]) == (False, "open")
    assert await two.refused("poll.open", key="y", **lunch(title="Dinner?")) == "exists"
    other = lunch(poll="dinner")
    running = await two.command("poll.open", key="z", **other)
    assert (running["err"]["code"], running["err"]["poll"]) == ("already_running", "lunch")

    await host.ask("poll.close", poll="lunch")
    assert (await two.ask("poll.open", key="z", **other))["opened"]
    late = await two.ask("poll.open", key="w", **lunch())
    assert (late["opened"], late["status"]) == (False, "closed")
    assert await two.refused("poll.open", key="z", **lunch()) == "key_mismatch"
    await two.event("poll.opened", poll="dinner")
    assert len(two.events("poll.opened")) == 1  # it came after the first
    assert await broken(first, room) == []


async def test_poll_of_two_hosts_at_once(pair: Pair, room: str) -> None:
    """Of two polls in one moment one opens."""
    first, second = pair
    await first.open_room(room)
    hosts = [await first.control(room, "h1"), await second.control(room, "h2")]

    replies = await asyncio.gather(
        *(host.command("poll.open", key="k", **lunch(poll=f"p{n}")) for n, host in enumerate(hosts))
    )

    codes = [reply["err"]["code"] if "err" in reply else "" for reply in replies]
    assert sorted(codes) == ["", "already_running"]
    assert await broken(first, room) == []


# Voting.


async def test_poll_takes_one_vote_of_an_identity(pair: Pair, room: str) -> None:
    """Another tab, another worker: still the same vote; sent again it is answered again."""
    first, second = pair
    host = await asked(first, room)
    tabs = [await worker.join(room, "vi") for worker in pair]

    assert await tabs[0].ask("poll.vote", poll="lunch", options=[2]) == {
        "poll": "lunch", "options": [2],
    }  # fmt: skip
    for tab in tabs:
        assert (await tab.ask("poll.vote", poll="lunch", options=[2]))["options"] == [2]
        assert await tab.refused("poll.vote", poll="lunch", options=[1]) == "already_done"
    guests = [await second.join(room) for _ in range(2)]
    for guest in guests:  # of a development server: each is somebody
        await guest.ask("poll.vote", poll="lunch", options=[0])

    await host.state("poll:lunch", lambda d: (d["voters"], d["tally"]) == (3, [2, 0, 1]))
    assert await broken(first, room) == []


async def test_poll_change_moves_the_vote(pair: Pair, room: str) -> None:
    """Where it is allowed; the number of voters stays."""
    first, second = pair
    host = await asked(first, room, change=True, multiple=True, max_choices=2)
    one, two = await first.join(room, "a"), await second.join(room, "b")

    await one.ask("poll.vote", poll="lunch", options=[0, 1])
    await two.ask("poll.vote", poll="lunch", options=[1])
    answer = await one.ask("poll.vote", poll="lunch", options=[2, 1])

    assert answer["options"] == [1, 2]
    await host.state("poll:lunch", lambda d: (d["voters"], d["tally"]) == (2, [0, 2, 1]))
    totals = [item["d"]["voters"] for item in host.items if item.get("st") == "poll:lunch"]
    assert totals == sorted(totals)
    assert await broken(first, room) == []


async def test_poll_refuses_votes_that_are_none(pair: Pair, room: str) -> None:
    """Unknown options and polls, too many, none, twice the same: typed, and nothing is counted."""
    first, second = pair
    host = await asked(first, room, multiple=True, max_choices=2)
    viewer = await second.join(room, "vi")
    cases: dict[str, list[Any]] = {
        "bad_request": [
            [], [0, 0], [0, 1, 2], [-1], [10], [2**53 + 1], [1.5], ["0"], [True], [None], 0, None,
        ],
        "not_found": [[3], [0, 9]],
    }  # fmt: skip
    for code, votes in cases.items():
        for options in votes:
            await viewer.ask("wallet.get")  # too many bad ones in a row end the connection
            assert await viewer.refused("poll.vote", poll="lunch", options=options) == code, options
    polls: dict[str, tuple[Any, ...]] = {
        "bad_request": ("", "a:b", "a|b", "x" * 33, None, 5),
        "not_found": ("dinner", "Lunch", "x" * 32),
    }
    for code, names in polls.items():
        for poll in names:
            await viewer.ask("wallet.get")
            assert await viewer.refused("poll.vote", poll=poll, options=[0]) == code, poll

    assert (await host.ask("poll.result", poll="lunch"))["voters"] == 0
    assert await broken(first, room) == []


async def test_poll_ids_swapped(pair: Pair, room: str) -> None:
    """A vote counts for the poll that it names, open or not."""
    first, _ = pair
    host = await asked(first, room)
    viewer = await first.join(room, "vi")
    await host.ask("poll.close", poll="lunch")
    await host.ask("poll.open", key="d", **lunch(poll="dinner", options=["a", "b"]))

    assert await viewer.refused("poll.vote", poll="lunch", options=[0]) == "ended"
    assert await viewer.refused("poll.vote", poll="dinner", options=[2]) == "not_found"
    await viewer.ask("poll.vote", poll="dinner", options=[1])

    assert (await host.ask("poll.result", poll="lunch"))["tally"] == [0, 0, 0]
    assert (await host.ask("poll.result", poll="dinner"))["tally"] == [0, 1]
    again = await first.join(room, "vi")
    assert again.hello["own"]["poll"] == {"dinner": [1]}
    assert await broken(first, room) == []


async def test_poll_votes_of_one_batch_are_counted_and_shown_once(pair: Pair, room: str) -> None:
    """Votes, changes, refusals and a check in one script call; the state has one new version."""
    first, _ = pair
    host = await asked(first, room, change=True)
    await host.state("poll:lunch")
    votes = [
        Op("poll.vote", f"u{n % 40}", {"poll": "lunch", "options": [n % 3]}) for n in range(100)
    ]
    bad = [Op("poll.vote", f"v{n}", {"poll": "lunch", "options": [7]}) for n in range(5)]
    committed = await first.node.hub.commit(room, [*votes, *bad, Op("sys.check", "", {})])

    assert [reply[:1] for reply in committed.replies] == [b"+"] * 100 + [b"-"] * 5 + [b"+"]
    found = orjson.loads(committed.replies[-1][1:]).get("broken") or []
    assert [row for row in found if row["what"].startswith("poll")] == []
    last = {n % 40: n % 3 for n in range(100)}
    tally = [Counter(last.values())[option] for option in range(3)]
    await host.state("poll:lunch", lambda d: (d["voters"], d["tally"]) == (40, tally))
    versions = [item["v"] for item in host.items if item.get("st") == "poll:lunch"]
    assert versions == [1, 2]
    assert await broken(first, room) == []


async def test_poll_counts_whatever_is_voted_over_two_workers(pair: Pair, room: str) -> None:
    """Random votes and changes: what was accepted is what is counted, at every instant."""
    chance = random.Random(3)
    first, second = pair
    host = await asked(first, room, options=["a", "b", "c", "d"], change=True, seconds=0)
    users = [f"u{n}" for n in range(8)]
    clients = {user: [await worker.join(room, user) for worker in pair] for user in users}
    model: dict[str, list[int]] = {}

    async def vote(user: str) -> None:
        for _ in range(10):  # one after the other: the last accepted one is known
            options = [chance.randrange(5)]
            reply = await chance.choice(clients[user]).command(
                "poll.vote", poll="lunch", options=options
            )
            if "d" in reply:
                model[user] = reply["d"]["options"]
            else:
                assert (reply["err"]["code"], options) == ("not_found", [4])

    await asyncio.gather(*(vote(user) for user in users))
    assert await broken(second, room) == []
    result = await host.ask("poll.close", poll="lunch")

    counted = Counter(option for options in model.values() for option in options)
    assert result["tally"] == [counted[option] for option in range(4)]
    assert result["voters"] == len(model)
    await host.state("poll:lunch", lambda d: d["status"] == "closed")
    for item in host.items:
        if item.get("st") == "poll:lunch":
            assert sum(item["d"]["tally"]) == item["d"]["voters"]


# The end.


async def test_poll_ends_by_the_servers_clock(pair: Pair, room: str) -> None:
    """Its timer closes it, whoever is there; the event tells the result, and the clock has no name."""
    first, second = pair
    host = await asked(first, room, seconds=15, hidden=True)
    viewer = await second.join(room, "vi")
    await viewer.ask("poll.vote", poll="lunch", options=[0])

    await at_ms(pair, room, 15_000)

    closed = await viewer.event("poll.closed", poll="lunch")
    assert closed["d"] == {"poll": "lunch", "tally": [1, 0, 0], "voters": 1, "by": ""}
    await viewer.state("poll:lunch", lambda d: d["status"] == "closed" and d["tally"] == [1, 0, 0])
    assert await viewer.refused("poll.vote", poll="lunch", options=[1]) == "ended"
    assert (await viewer.ask("poll.vote", poll="lunch", options=[0]))["options"] == [0]  # as it was
    assert await host.ask("poll.close", poll="lunch") == closed["d"]
    assert await broken(first, room) == []


async def test_poll_takes_no_vote_at_its_end_though_the_timer_is_late(
    pair: Pair, room: str
) -> None:
    """The vote is judged by the script's clock; the next poll may open all the same."""
    first, _ = pair
    host = await asked(first, room, seconds=15)
    await run(first, room, "hand.clog")
    vote = Op("poll.vote", "late", {"poll": "lunch", "options": [0]})

    await at_ms(pair, room, 15_000)
    reply = (await first.node.hub.commit(room, [vote])).replies[0]

    assert orjson.loads(reply[1:])["code"] == "ended"
    assert (await host.ask("poll.result", poll="lunch"))["status"] == "closed"
    assert host.events("poll.closed") == []  # nothing has run yet
    assert (await host.ask("poll.open", key="k", **lunch(poll="next")))["opened"]
    closed = await host.event("poll.closed", poll="lunch", by="")
    opened = await host.event("poll.opened", poll="next")
    assert (closed["d"]["voters"], opened["seq"]) == (0, closed["seq"] + 1)
    await run(first, room, "hand.write", verb="DEL", key="clog", args=[])
    await host.ask("poll.close", poll="next")
    await host.event("poll.closed", poll="next")
    assert len(host.events("poll.closed")) == 2
    assert await broken(first, room) == []


async def test_poll_votes_race_the_end(pair: Pair, room: str) -> None:
    """While one worker's clock passes the end, each vote is either counted or refused as ended."""
    first, second = pair
    host = await asked(first, room, seconds=15)
    clients = [await pair[n % 2].join(room, f"u{n}") for n in range(24)]

    async def vote(n: int, client: harness.Client) -> dict[str, Any]:
        return await client.command("poll.vote", poll="lunch", options=[n % 3])

    early = [asyncio.create_task(vote(n, client)) for n, client in enumerate(clients[:12])]
    await early[0]
    second.node.store.skew_ms = 15_000
    rest = [asyncio.create_task(vote(n, client)) for n, client in enumerate(clients[12:])]
    replies = await asyncio.gather(*early, *rest)

    accepted = [reply["d"]["options"][0] for reply in replies if "d" in reply]
    assert {reply["err"]["code"] for reply in replies if "err" in reply} == {"ended"}
    closed = await host.event("poll.closed", by="")
    assert closed["d"]["tally"] == [accepted.count(option) for option in range(3)]
    assert closed["d"]["voters"] == len(accepted)
    assert len(host.events("poll.closed")) == 1
    assert await broken(first, room) == []


async def test_poll_without_an_end_is_closed_by_hand(pair: Pair, room: str) -> None:
    """Two hosts close it at once: one result, the same answer for both and ever after."""
    first, second = pair
    host = await asked(first, room, seconds=0)
    viewer = await second.join(room, "vi")
    await viewer.ask("poll.vote", poll="lunch", options=[2])
    await at_ms(pair, room, DAY_MS)
    assert (await host.ask("poll.result", poll="lunch"))["status"] == "open"
    two = await second.control(room, "h2")

    answers = await asyncio.gather(
        host.ask("poll.close", poll="lunch"), two.ask("poll.close", poll="lunch")
    )

    assert answers[0] == answers[1]
    assert answers[0]["tally"] == [0, 0, 1]
    assert answers[0]["by"] in ("host", "h2")
    closed = await viewer.event("poll.closed")
    assert closed["d"] == answers[0]
    assert len(viewer.events("poll.closed")) == 1
    assert await host.refused("poll.close", poll="dinner") == "not_found"
    assert await broken(first, room) == []


async def test_poll_is_forgotten_in_steps(pair: Pair, room: str) -> None:
    """Ten minutes later late joiners are not shown it; a day later the votes go; the result stays."""
    first, second = pair
    host = await asked(first, room, seconds=15)
    viewer = await second.join(room, "vi")
    await viewer.ask("poll.vote", poll="lunch", options=[1])
    result = await host.ask("poll.close", poll="lunch")

    await at_ms(pair, room, 9 * MINUTE_MS)
    assert shown((await second.join(room)).hello, "poll:lunch")["status"] == "closed"
    await at_ms(pair, room, 11 * MINUTE_MS)
    await viewer.state("poll:lunch", lambda d: d is None)
    assert shown((await second.join(room)).hello, "poll:lunch") is None
    assert (await run(first, room, "hand.votes", poll="lunch"))["n"] == 1
    assert await broken(first, room) == []

    await at_ms(pair, room, DAY_MS + MINUTE_MS)
    assert (await run(first, room, "hand.votes", poll="lunch"))["n"] == 0
    assert await host.ask("poll.close", poll="lunch") == result
    assert (await host.ask("poll.result", poll="lunch"))["tally"] == [0, 1, 0]
    assert await viewer.refused("poll.vote", poll="lunch", options=[1]) == "ended"
    assert (await host.ask("poll.open", key="n", **lunch(seconds=15)))["opened"] is False
    assert shown((await first.join(room)).hello, "poll:lunch") is None
    assert await broken(first, room) == []


async def test_poll_of_a_closed_room(pair: Pair, room: str) -> None:
    """Nobody votes and none opens, but it ends and may be closed."""
    first, second = pair
    host = await asked(first, room)
    viewer = await second.join(room, "vi")
    await host.ask("room.close")
    await viewer.event("room.closed")

    assert await viewer.refused("poll.vote", poll="lunch", options=[0]) == "room_closed"
    vote = Op("poll.vote", "vi", {"poll": "lunch", "options": [0]})
    reply = (await first.node.hub.commit(room, [vote])).replies[0]
    assert (
        orjson.loads(reply[1:])["code"] == "room_closed"
    )  # nor where a worker has not heard of it
    assert await host.refused("poll.open", key="k", **lunch(poll="x")) == "room_closed"
    assert (await host.ask("poll.close", poll="lunch"))["voters"] == 0


# Who sees and does what.


async def test_poll_hidden_is_shown_to_assistants_alone(pair: Pair, room: str) -> None:
    """Viewers see that others voted, not what; with the close they see all."""
    first, second = pair
    host = await asked(first, room, hidden=True)
    viewer, assistant = (
        await second.join(room, "vi"), await second.join(room, "as", "assistant", path="/control"),
    )  # fmt: skip
    await viewer.ask("poll.vote", poll="lunch", options=[1])

    open_state = await viewer.state("poll:lunch", lambda d: d["voters"] == 1)
    assert "tally" not in open_state
    assert "tally" not in shown((await first.join(room)).hello, "poll:lunch")
    result = await assistant.ask("poll.result", poll="lunch")
    assert result == {
        "poll": "lunch", "status": "open", "ends_ms": open_state["ends_ms"], "tally": [0, 1, 0],
        "voters": 1,
    }  # fmt: skip
    assert await assistant.refused("poll.result", poll="dinner") == "not_found"
    await host.ask("poll.close", poll="lunch")
    await viewer.state("poll:lunch", lambda d: d.get("tally") == [0, 1, 0])


async def test_poll_is_the_hosts(alone: harness.Worker, room: str) -> None:
    """An assistant may look; a viewer may vote; opening needs a key."""
    host = await asked(alone, room)
    assistant = await alone.join(room, "as", "assistant", path="/control")
    viewer = await alone.join(room, "vi")

    assert await assistant.refused("poll.open", key="k", **lunch()) == "forbidden"
    assert await assistant.refused("poll.close", poll="lunch") == "forbidden"
    await assistant.ask("poll.vote", poll="lunch", options=[0])
    for op in ("poll.open", "poll.close", "poll.result"):
        assert await viewer.refused(op, key="k", **lunch()) == "unknown_op"
    assert await host.refused("poll.open", **lunch()) == "key_required"


BAD: list[tuple[str, Any]] = [
    ("poll", ""), ("poll", "a:b"), ("poll", "x" * 33), ("poll", None),
    ("title", ""), ("title", " "), ("title", "t" * 61), ("title", "a\nb"), ("title", "\u202ea"),
    ("options", ["a"]), ("options", [str(n) for n in range(11)]), ("options", ["a", "a"]),
    ("options", ["a", " a "]), ("options", ["a", ""]), ("options", ["a", "x" * 26]),
    ("options", ["e\u0301", "é"]), ("options", ["a", "b\x00"]), ("options", ["a", 1]),
    ("seconds", -1), ("seconds", 1), ("seconds", 14), ("seconds", 1801), ("seconds", 2**53 + 1),
    ("seconds", 15.5), ("seconds", "60"), ("multiple", 1), ("change", "yes"), ("hidden", 0),
    ("max_choices", 2), ("max_choices", 0), ("max_choices", 11),
]  # fmt: skip


async def test_poll_refuses_what_is_no_poll(alone: harness.Worker, room: str) -> None:
    """Every field has a shape and a limit; at the limits it opens."""
    await alone.open_room(room)
    host = await alone.control(room)
    for n, (field, value) in enumerate(BAD):
        await host.ask("wallet.get")  # too many bad ones in a row end the connection
        code = await host.refused("poll.open", key=f"k{n}", **lunch(**{field: value}))
        assert code == "bad_request", (field, value)
    three = lunch(multiple=True, max_choices=4)
    assert await host.refused("poll.open", key="more", **three) == "bad_request"

    most = {
        "poll": "x" * 32, "title": "题" * 60, "options": [f"{n}".ljust(25, "项") for n in range(10)],
        "multiple": True, "seconds": 1800,
    }  # fmt: skip
    assert (await host.ask("poll.open", key="most", **most))["opened"]
    state = await host.state(f"poll:{most['poll']}")
    assert (state["options"], state["max_choices"]) == (most["options"], 10)
    await host.ask("poll.vote", poll=most["poll"], options=list(range(10)))
    await host.state(f"poll:{most['poll']}", lambda d: d["tally"] == [1] * 10)
    assert await broken(alone, room) == []


# What the auditor would find.


@pytest.mark.parametrize(
    ("what", "verb", "name", "args"),
    [
        ("poll.sum", "HSET", "poll:lunch", ["tally", "[5,0,0]"]),
        ("poll.tally", "HSET", "poll:lunch", ["tally", "[-1,1,2]"]),
        ("poll.votes", "HSET", "poll:lunch", ["tally", "[0,1,1]"]),
        ("poll.votes", "HSET", "votes:lunch", ["u1", "2"]),
        ("poll.voters", "HDEL", "votes:lunch", ["u1"]),
        ("poll.open", "SET", "polling", ["dinner"]),
        ("poll.shown", "HSET", "poll:lunch", ["ends", "1"]),
        ("poll.known", "ZADD", "polls", [1, "gone"]),
    ],
)
async def test_poll_check_finds_what_was_bent(
    alone: harness.Worker, room: str, what: str, verb: str, name: str, args: list[Any]
) -> None:
    """A hand in the store is found, by the name of what it touched."""
    await asked(alone, room)
    for n in range(2):
        vote = Op("poll.vote", f"u{n}", {"poll": "lunch", "options": [n]})
        await alone.node.hub.commit(room, [vote])
    assert await broken(alone, room) == []

    await run(alone, room, "hand.write", verb=verb, key=name, args=args)

    assert what in {row["what"] for row in await broken(alone, room)}


async def test_poll_check_counts_very_many_votes_only_when_asked(
    alone: harness.Worker, room: str
) -> None:
    """Above 20,000 voters the sums are checked, with `full` every vote."""
    await asked(alone, room)
    many = [str(n) for n in range(20_001)]
    for start in range(0, len(many), 2000):
        pairs = [text for user in many[start : start + 2000] for text in (user, "0")]
        await run(alone, room, "hand.write", verb="HSET", key="votes:lunch", args=pairs)
    bent = ["tally", "[20000,1,0]", "voters", str(len(many))]
    await run(alone, room, "hand.write", verb="HSET", key="poll:lunch", args=bent)

    sums = {row["what"] for row in await broken(alone, room)}
    assert "poll.votes" not in sums
    assert "poll.votes" in {row["what"] for row in await broken(alone, room, full=True)}
