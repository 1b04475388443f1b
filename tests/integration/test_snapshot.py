"""What a viewer is given when it comes in, and that nothing is missing between that and later."""

from __future__ import annotations

import asyncio
from typing import Any

import harness
from liveroom import Plugin
from liveroom.core.clock import FakeClock


class Probe(Plugin):
    """Shows in the snapshot how often one was taken, and to each viewer its own name."""

    name = "probe"
    lua = """
parts.taken = function() return {count = call('INCR', key('taken'))} end
own.me = function(user) return {user = user, greeted = call('HINCRBY', key('greeted'), user, 1)} end
own.nothing = function() return nil end
"""


def newest(client: harness.Client) -> dict[str, dict[str, Any]]:
    """Return the newest item of every state that a client knows: greeting, then deltas."""
    known: dict[str, dict[str, Any]] = {}
    deltas = [item for item in client.items if "st" in item]
    for item in client.hello["states"] + deltas:
        assert item["v"] >= known.get(item["st"], item)["v"], "versions only grow"
        known[item["st"]] = item
    return known


async def knows(client: harness.Client, state: str, **wanted: Any) -> None:
    """Wait until the newest value of a state that a client knows is this."""
    nothing: dict[str, Any] = {"d": {}}
    await client.item(lambda _: wanted.items() <= newest(client).get(state, nothing)["d"].items())


def position(client: harness.Client) -> dict[str, Any]:
    """Return where a client stands: the greeting's position moves with every durable event.

    A snapshot may be a beat old; what came since then is in the same message.
    """
    seq, sub = max([(client.hello["seq"], client.hello["sub"]), *client.durable()])
    return {"epoch": client.hello["epoch"], "seq": seq, "sub": sub}


async def test_snapshot_holds_parts_states_and_what_is_the_viewers_own(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Everyone gets the room's parts and states; what is the viewer's own is its own."""
    worker = await start_worker(store_url, plugins=[Probe()])
    await worker.open_room(room, title="t")
    ann, bob = await worker.join(room, "ann"), await worker.join(room, "bob")
    tab = await worker.join(room, "ann")

    for client, user, greeted in ((ann, "ann", 1), (bob, "bob", 1), (tab, "ann", 2)):
        hello = client.hello
        assert (hello["user"], hello["room"], hello["role"]) == (user, room, "viewer")
        assert hello["resumed"] is False
        assert position(client)["seq"] == 1
        assert set(hello["snapshot"]) == {"danmaku", "taken"}
        assert hello["own"]["me"] == {"user": user, "greeted": greeted}
        states = {item["st"]: item["d"] for item in hello["states"]}
        assert states["room"]["title"] == "t"
        assert states["mode"] == {"talk": "all", "like": True, "gift": True}
    assert len({client.hello["session"] for client in (ann, bob, tab)}) == 3


async def test_snapshot_is_shared_by_those_who_join_in_one_beat(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """One is taken for all of them; the next beat's joiners get a new one."""
    worker = await start_worker(store_url, plugins=[Probe()])
    host = await worker.open_control(room)
    await host.ask("room.open")
    clock = FakeClock(monotonic=worker.node.hub.clock.monotonic() + 1)
    worker.node.hub.clock = clock

    together = await asyncio.gather(*(worker.join(room, f"u{n}") for n in range(20)))
    taken = {client.hello["snapshot"]["taken"]["count"] for client in together}
    assert len(taken) == 1
    assert (await worker.join(room)).hello["snapshot"]["taken"]["count"] in taken

    clock.advance(2 * worker.node.settings.beat_ms / 1000)
    later = await worker.join(room)
    assert later.hello["snapshot"]["taken"]["count"] == taken.pop() + 1


async def test_snapshot_and_deltas_make_the_whole_state(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Whoever comes in the middle of it knows in the end what those know who saw it all."""
    first, second = [await start_worker(store_url) for _ in range(2)]
    await first.open_room(room)
    host, early = await first.open_control(room), await second.join(room)
    clients = [early]

    async def change() -> None:
        for n in range(40):
            await host.ask("room.update", title=f"{n}")
            await host.ask("like.send", n=1)
            await host.ask("room.mode", like=n % 2 == 1)

    async def come() -> None:
        for worker in (first, second) * 6:
            clients.extend([await worker.join(room)])

    await asyncio.gather(change(), come())
    await host.ask("room.close")

    for client in clients:
        await knows(client, "room", status="closed")
        await knows(client, "likes", total=40)
    wanted = newest(early)
    wanted.pop("online", None)  # told by a timer
    for client in clients:
        known = newest(client)
        assert {name: known[name] for name in wanted} == wanted
        first_seq = client.hello["seq"] + 1
        count = len(client.durable())
        assert client.durable() == [(first_seq + n, 0) for n in range(count)]
        assert client.durable()[-1] == early.durable()[-1]


async def test_snapshot_of_a_resuming_viewer_is_left_out(worker: harness.Worker, room: str) -> None:
    """It has the parts already; it gets what it missed, in the same message, and the states."""
    await worker.open_room(room)
    viewer = await worker.join(room, "ann")
    since = position(viewer)
    await viewer.close()
    host = await worker.open_control(room)
    await host.ask("room.update", title="missed")
    await host.event("room.updated")

    back = await worker.join(room, "ann", resume=since)

    assert back.hello["resumed"]
    assert back.hello["snapshot"] == {}
    assert [(item["ev"], item["seq"]) for item in back.items if "seq" in item] == [
        ("room.updated", since["seq"] + 1)
    ]
    assert {"room", "mode"} <= {state["st"] for state in back.hello["states"]}
