"""Followers and shares: exact totals, and effects that are a sample."""

from __future__ import annotations

import asyncio

import orjson
import pytest

import harness
from harness import Pair, run
from liveroom import Op, Plugin


class Ear(Plugin):
    """Hears what follows tell other features, and has a hand in the store."""

    name = "ear"
    lua = """
heed('follow', function(user, n) write('HINCRBY', key('ear'), user, n) end)
ops['ear.heard'] = function() return hash('ear') end
ops['ear.write'] = function(op) write(op.d.verb, key(op.d.key), unpack(op.d.args)) end
"""


PLUGINS = (Ear,)


async def broken(worker: harness.Worker, room: str) -> list[str]:
    """Return what the checks find wrong."""
    found = (await run(worker, room, "sys.check")).get("broken") or []
    return [row["what"] for row in found if row["what"].startswith("follow")]


async def test_follow_counts_a_user_once(pair: Pair, room: str) -> None:
    """Two tabs on two workers are one follower; everyone sees the total, the viewer its own."""
    first, second = pair
    await first.open_room(room)
    tabs = [await worker.join(room, "vi") for worker in pair]
    other = await second.join(room, "ot")
    assert tabs[0].hello["own"]["follow"] == {"following": False}

    answers = await asyncio.gather(*(tab.ask("viewer.follow") for tab in tabs))

    assert sorted(answer["new"] for answer in answers) == [False, True]
    assert all((answer["following"], answer["total"]) == (True, 1) for answer in answers)
    await other.state("followers", lambda d: d == {"total": 1})
    assert (await other.ask("viewer.follow"))["total"] == 2
    late = (await first.join(room, "vi")).hello
    assert late["own"]["follow"] == {"following": True}
    assert {"total": 2} in [item["d"] for item in late["states"] if item["st"] == "followers"]
    assert await broken(first, room) == []


async def test_follow_is_shown_and_told_the_first_time_only(pair: Pair, room: str) -> None:
    """Who leaves and comes back is counted, but is no news and earns nothing again."""
    first, second = pair
    await first.open_room(room)
    viewer, other = await first.join(room, "vi"), await second.join(room, "ot")

    assert (await viewer.ask("viewer.follow"))["new"] is True
    assert await viewer.ask("viewer.follow", on=False) == {
        "following": False, "new": False, "total": 0,
    }  # fmt: skip
    assert (await viewer.ask("viewer.follow", on=False))["total"] == 0
    assert await viewer.ask("viewer.follow") == {"following": True, "new": False, "total": 1}
    assert (await other.ask("viewer.follow"))["new"] is True

    await viewer.item(lambda _: len(viewer.events("viewer.follow")) == 2)
    shown = {item["d"]["user"]["id"]: item["d"]["user"] for item in viewer.events("viewer.follow")}
    assert shown.keys() == {"vi", "ot"}
    assert shown["ot"] == {"id": "ot", "name": shown["ot"]["name"], "role": "viewer"}
    assert await run(first, room, "ear.heard") == {"vi": "1", "ot": "1"}
    assert await broken(first, room) == []


async def test_follow_total_is_exact_over_two_workers(pair: Pair, room: str) -> None:
    """Whoever follows and unfollows in whatever order, the total is who follows."""
    first, second = pair
    await first.open_room(room)
    users = [f"u{n}" for n in range(10)]
    clients = {user: [await worker.join(room, user) for worker in pair] for user in users}

    async def toggle(number: int, user: str) -> None:
        for n in range(number + 1):
            await clients[user][n % 2].ask("viewer.follow", on=n % 2 == 0)

    await asyncio.gather(*(toggle(number, user) for number, user in enumerate(users)))

    late = await second.join(room)
    assert {"total": 5} in [item["d"] for item in late.hello["states"] if item["st"] == "followers"]
    assert await run(first, room, "ear.heard") == dict.fromkeys(users, "1")
    assert await broken(first, room) == []


async def test_share_is_counted_and_shown(pair: Pair, room: str) -> None:
    """The total is exact; where it went is shown if it was told."""
    first, second = pair
    await first.open_room(room)
    sharers = [await worker.join(room, f"s{n}") for n, worker in enumerate(pair)]
    viewer = await second.join(room, "vi")

    await sharers[0].ask("viewer.share", to="朋友圈")
    await sharers[1].ask("viewer.share")
    await sharers[1].ask("viewer.share")

    await viewer.state("shares", lambda d: d == {"total": 3})
    shown = await viewer.event("viewer.share", to="朋友圈")
    assert shown["d"]["user"]["id"] == "s0"
    await viewer.item(lambda _: len(viewer.events("viewer.share")) == 3)
    assert await broken(first, room) == []


async def test_share_is_limited_per_user(alone: harness.Worker, room: str) -> None:
    """Three at once, then slowly; the refusal says when, other users go on."""
    await alone.open_room(room)
    tabs = [await alone.join(room, "vi") for _ in range(2)]
    for n in range(3):
        await tabs[n % 2].ask("viewer.share")

    reply = await tabs[0].command("viewer.share")
    assert reply["err"]["code"] == "rate_limited"
    assert 0 < reply["err"]["retry_ms"] <= 10_000
    assert await tabs[1].refused("viewer.share") == "rate_limited"
    other = await alone.join(room, "ot")
    await other.ask("viewer.share")
    await other.state("shares", lambda d: d == {"total": 4})


async def test_follow_refuses_what_is_none(alone: harness.Worker, room: str) -> None:
    """Flags that are none, places that are none, a room that is closed."""
    await alone.open_room(room)
    viewer = await alone.join(room, "vi")
    for on in (1, "yes", None):
        assert await viewer.refused("viewer.follow", on=on) == "bad_request", on
    for to in ("", "x" * 33, "a\nb", "\u202ea", 5):
        assert await viewer.refused("viewer.share", to=to) == "bad_request", to

    host = await alone.control(room)
    await host.ask("room.close")
    await viewer.event("room.closed")
    assert await viewer.refused("viewer.follow") == "room_closed"
    assert await viewer.refused("viewer.share") == "room_closed"
    follow = Op("viewer.follow", "vi", {"on": True, "name": "Vi"})
    reply = (await alone.node.hub.commit(room, [follow])).replies[0]
    assert orjson.loads(reply[1:])["code"] == "room_closed"


@pytest.mark.parametrize(
    ("what", "verb", "name", "args"),
    [
        ("follow.shown", "SADD", "followers", ["ghost"]),
        ("follow.shown", "SET", "shares", ["9"]),
        ("follow.sets", "SADD", "unfollowed", ["vi"]),
    ],
)
async def test_follow_check_finds_what_was_bent(
    alone: harness.Worker, room: str, what: str, verb: str, name: str, args: list[str]
) -> None:
    """A hand in the store is found."""
    await alone.open_room(room)
    viewer = await alone.join(room, "vi")
    await viewer.ask("viewer.follow")
    await viewer.ask("viewer.share")
    await viewer.state("shares")
    assert await broken(alone, room) == []

    await run(alone, room, "ear.write", verb=verb, key=name, args=args)

    assert what in await broken(alone, room)
