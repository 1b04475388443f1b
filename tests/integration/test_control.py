"""The control socket: who may what, more rooms on one connection, the trail, live figures."""

from __future__ import annotations

import hashlib
from typing import Any

import aiohttp
import orjson
import pytest

import harness
from liveroom import Op, Plugin
from liveroom.auth.claims import Role
from liveroom.plugin.spec import CommandSpec, Surface
from liveroom.seats import MAX_ROOMS


SOCKETS = {Surface.VIEWER: "/ws", Surface.CONTROL: "/control"}
STAFF = ("assistant", "moderator", "host")
DENIED = {"forbidden", "unknown_op"}


@pytest.fixture
async def worker(store_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on each store."""
    return await start_worker(store_url)


@pytest.fixture
async def embedded(embedded_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker on the embedded store."""
    return await start_worker(embedded_url)


def other(room: str) -> str:
    """Return a second room of the same test."""
    return f"{room}-b"


async def two_rooms(worker: harness.Worker, room: str) -> harness.Client:
    """Return host `hal` in an open room, having joined a second open one."""
    await worker.open_room(room)
    await worker.open_room(other(room))
    host = await worker.join(room, "hal", "host", path="/control")
    await host.ask("sys.join", room=other(room), token=worker.token(other(room), "host", "hal"))
    return host


def about(client: harness.Client, room: str) -> list[dict[str, Any]]:
    """Return the items of the messages that a label says are about a room."""
    labelled = [message[1:] for message in client.messages if message[0] == {"room": room}]
    return [item for message in labelled for item in message]


# Role and surface.


def expected(spec: CommandSpec, surface: Surface, role: str) -> bool:
    """Tell whether the tables say that a role may send a command there."""
    return surface in spec.surfaces and Role(role).at_least(spec.role)


async def allowed(client: harness.Client, op: str) -> bool:
    """Tell whether a command passes the gate: whatever its body is then told."""
    reply = await client.command(op, key="k" * 8)
    await client.ask("wallet.get")  # or the patience with bad commands comes to its end
    return reply.get("err", {}).get("code") not in DENIED


@pytest.mark.parametrize("role", ["viewer", *STAFF])
async def test_control_matrix_is_denied_by_default(
    embedded: harness.Worker, room: str, role: str
) -> None:
    """Every command on every socket passes where the tables let it, and nowhere else."""
    await embedded.open_room(room)
    wrong = {}
    for surface, path in SOCKETS.items():
        if surface is Surface.CONTROL and role == "viewer":
            continue
        client = await embedded.join(room, f"u-{role}", role, path=path)
        for op, bound in embedded.node.manager.commands.items():
            if op == "room.close":  # it would end the test for the others
                continue
            may = await allowed(client, op)
            if may != expected(bound.spec, surface, role):
                wrong[op, path] = "let in" if may else "kept out"

    assert wrong == {}


async def test_control_viewers_never_get_in(embedded: harness.Worker, room: str) -> None:
    """A viewer's token closes the control socket with 4401, whatever the room is."""
    await embedded.open_room(room)
    client = await embedded.connect("/control")
    await client.send({"op": "hello", "d": {"room": room, "token": embedded.token(room)}})

    assert await client.closed() == 4401


async def test_control_host_of_one_room_cannot_touch_another(
    embedded: harness.Worker, room: str
) -> None:
    """Every command of the control socket, with the other room's name in every place there is."""
    await embedded.open_room(room)
    await embedded.open_room(other(room))
    host = await embedded.join(room, "eve", "host", path="/control")
    before = await snapshot(embedded, other(room))

    for op, bound in embedded.node.manager.commands.items():
        if Surface.CONTROL not in bound.spec.surfaces:
            continue
        sent = {"op": op, "id": 900, "key": "swapped", "room": other(room), "d": {}}
        await host.send(sent)
        reply = await host.item(lambda item: item.get("re") == 900 or "err" in item)
        assert reply["err"]["code"] in ("not_found", "bad_request"), (op, reply)
        host.items.clear()
        await host.ask("wallet.get")

    assert await host.refused("sys.join", room=other(room)) == "forbidden"
    stolen = embedded.token(other(room), "viewer", "eve")
    assert await host.refused("sys.join", room=other(room), token=stolen) == "forbidden"
    foreign = embedded.token(other(room), "host", "hal")
    assert await host.refused("sys.join", room=other(room), token=foreign) == "unauthorized"
    assert await http_status(embedded, room, other(room)) == 403
    assert await snapshot(embedded, other(room)) == before


async def http_status(worker: harness.Worker, mine: str, target: str) -> int:
    """Return how the API answers a host's command for a room that its token is not for."""
    headers = {"Authorization": f"Bearer {worker.token(mine, 'host', 'eve')}"}
    url = f"{worker.http}/api/rooms/{target}/commands"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json={"op": "room.close", "d": {}}) as response,
    ):
        return response.status


async def snapshot(worker: harness.Worker, room: str) -> Any:
    """Return position, states and trail of a room."""
    ops = [Op("sys.sync", "", {}), Op("sys.trail", "", {"after": "", "limit": 100})]
    committed = await worker.node.hub.commit(room, ops)
    sync, trail = (orjson.loads(reply[1:]) for reply in committed.replies)
    states = [state for state in sync["states"] if state["st"] != "online"]
    return sync["epoch"], sync["seq"], states, trail


# More rooms on one connection.


async def test_control_messages_say_which_room_they_are_about(
    worker: harness.Worker, room: str
) -> None:
    """What comes from the second room is labelled, what comes from the hello's is not."""
    host = await two_rooms(worker, room)
    ann = await worker.join(room, "ann")
    bob = await worker.join(other(room), "bob")

    await ann.ask("danmaku.send", text="in the first")
    await bob.ask("danmaku.send", text="in the second")
    await bob.ask("wallet.get")
    await host.event("danmaku", text="in the first")
    await host.event("danmaku", text="in the second")

    second = [i["d"]["text"] for i in about(host, other(room)) if i.get("ev") == "danmaku"]
    assert second == ["in the second"]
    assert all("room" not in item for item in [*ann.items, *bob.items])


async def test_control_commands_go_to_the_room_they_name(worker: harness.Worker, room: str) -> None:
    """`room` of the envelope chooses; without it the hello's room is meant."""
    host = await two_rooms(worker, room)
    ann = await worker.join(room, "ann")
    bob = await worker.join(other(room), "bob")

    await host.send({"op": "room.mode", "id": 70, "room": other(room), "d": {"talk": "hosts"}})
    await bob.state("mode", lambda d: d["talk"] == "hosts")
    await host.send({"op": "room.mode", "id": 71, "d": {"like": False}})
    mode = await ann.state("mode", lambda d: not d["like"])

    assert mode["talk"] == "all"
    assert await bob.refused("danmaku.send", text="x") == "not_allowed"


async def test_control_private_events_are_labelled_too(worker: harness.Worker, room: str) -> None:
    """The greeting of a joined room and its resume carry the label; positions are per room."""
    host = await two_rooms(worker, room)
    greeting = next(i for i in about(host, other(room)) if "re" in i)

    assert greeting["d"]["room"] == other(room)
    await host.send({"op": "sys.resume", "id": 80, "room": other(room), "d": {}})
    again = await host.item(lambda item: item.get("re") == 80)
    assert again["d"]["room"] == other(room)


async def test_control_leaves_a_room_and_may_come_back(worker: harness.Worker, room: str) -> None:
    """After `sys.leave` its commands are `not_found`, and nothing comes from it any more."""
    host = await two_rooms(worker, room)
    assert await host.refused("sys.join", room=other(room)) == "already_done"

    await host.ask("sys.leave", room=other(room))
    await host.send({"op": "room.mode", "id": 90, "room": other(room), "d": {"talk": "hosts"}})
    assert (await host.item(lambda i: i.get("re") == 90))["err"]["code"] == "not_found"
    assert worker.node.hub.room(other(room)).online == 0  # type: ignore[union-attr]  # loaded
    assert await host.refused("sys.leave", room=room) == "bad_request"
    await host.ask("sys.join", room=other(room), token=worker.token(other(room), "host", "hal"))


async def test_control_service_token_joins_any_room(embedded: harness.Worker, room: str) -> None:
    """A token for every room needs no second one; 64 rooms are the most."""
    await embedded.open_room(room)
    client = await embedded.connect("/control")
    token = embedded.token("*", "service", "ops")
    await client.send({"op": "hello", "id": 0, "d": {"room": room, "token": token}})
    for number in range(MAX_ROOMS - 1):
        await embedded.open_room(f"{room}-{number}")
        await client.ask("sys.join", room=f"{room}-{number}")

    assert await client.refused("sys.join", room=f"{room}-0") == "already_done"
    assert await client.refused("sys.join", room=other(room)) == "limit_reached"


async def test_control_revoked_second_token_closes_the_connection(
    embedded: harness.Worker, room: str
) -> None:
    """A connection is no better than the worst of its tokens."""
    host = await two_rooms(embedded, room)
    claims = embedded.node.hub.room(other(room)).viewers[0].claims  # type: ignore[union-attr]
    row = {"jti": claims.jti, "until": claims.exp}
    await embedded.node.hub.submit("~sys", Op("auth.revoke", "", row))

    assert await host.closed() == 4401


async def test_control_join_is_not_for_viewers(embedded: harness.Worker, room: str) -> None:
    """On `/ws` one connection is in one room."""
    await embedded.open_room(room)
    ann = await embedded.join(room, "ann")

    assert await ann.refused("sys.join", room=other(room)) == "unknown_op"


# The trail.


class Secret(Plugin):
    """Takes a secret in a commit."""

    name = "secret"
    lua = "ops['secret.keep'] = function(op) return {kept = op.d._word ~= nil} end"


async def trail(worker: harness.Worker, room: str) -> list[dict[str, Any]]:
    """Return the trail's entries; the chain of their hashes is checked on the way."""
    op = Op("sys.trail", "", {"after": "", "limit": 1000})
    reply = (await worker.node.hub.commit(room, [op])).replies[0]
    answer, chain = orjson.loads(reply[1:]), ""
    entries = answer.get("entries", [])
    for entry in entries:
        chain = hashlib.sha1((chain + entry["e"]).encode()).hexdigest()
        assert chain == entry["h"]
    assert answer.get("head", "") == chain
    return [orjson.loads(entry["e"]) for entry in entries]


async def test_trail_tells_who_did_what(worker: harness.Worker, room: str) -> None:
    """Commands of those who steer the room, also refused ones; not the viewers'."""
    await worker.open_room(room)
    host = await worker.join(room, "hal", "host", path="/control")
    ann = await worker.join(room, "ann")
    await host.ask("room.update", title="New")
    await host.refused("room.update", title="Old", if_version=1)
    await ann.ask("danmaku.send", text="hello")

    told = [(e["user"], e["role"], e["op"], e.get("code")) for e in await trail(worker, room)]
    assert told == [
        ("host", "host", "room.open", None),
        ("hal", "host", "room.update", None),
        ("hal", "host", "room.update", "version_conflict"),
    ]
    last = (await trail(worker, room))[-1]
    assert last["d"] == {"title": "Old", "if_version": 1}
    assert last["surface"] == "/control"


async def test_trail_counts_a_repeated_key_once(worker: harness.Worker, room: str) -> None:
    """A double click is one deed."""
    await worker.open_room(room)
    host = await worker.join(room, "hal", "host", path="/control")
    for _ in range(2):
        await host.ask("room.update", key="same-key", title="Twice")

    assert [entry["op"] for entry in await trail(worker, room)] == ["room.open", "room.update"]


async def test_trail_leaves_secrets_out(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A field that begins with `_` reaches the handler and not the trail."""
    worker = await start_worker(embedded_url, plugins=[Secret()])
    op = Op("secret.keep", "hal", {"_word": "xyzzy", "n": 1}, audit="hal|host|secret.keep|/control")
    reply = (await worker.node.hub.commit(room, [op])).replies[0]

    assert orjson.loads(reply[1:]) == {"kept": True}
    assert [entry["d"] for entry in await trail(worker, room)] == [{"n": 1}]


# Live figures.


async def test_stats_tell_what_the_room_says(worker: harness.Worker, room: str) -> None:
    """A watcher is told, others are not; what was shed counts as said."""
    await worker.open_room(room)
    host = await worker.join(room, "hal", "host", path="/control")
    helper = await worker.join(room, "ann", "assistant", path="/control")
    ann = await worker.join(room, "ann")
    assert await host.ask("stats.watch") == {"watching": True}

    for number in range(3):
        await ann.ask("danmaku.send", text=f"m{number}")
    await host.ask("room.update", title="New")

    told = await host.item(
        lambda i: (
            i.get("ev") == "stats"
            and i["d"]["said"].get("danmaku") == 3
            and i["d"]["happened"].get("room.updated") == 1
        )
    )
    assert told["d"]["online"]["now"] >= 0
    assert helper.events("stats") == ann.events("stats") == []
    assert await host.ask("stats.watch", on=False) == {"watching": False}
    assert await ann.refused("stats.watch") == "unknown_op"
