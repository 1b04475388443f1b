"""Rooms open, change and close: by whom, for whom, and as which states and events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import harness
from harness import Pair


def state_of(hello: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a whole state item of a greeting."""
    found: dict[str, Any] = next(state for state in hello["states"] if state["st"] == name)
    return found


async def durable(client: harness.Client, seq: int) -> dict[str, Any]:
    """Wait for the event with a number."""
    return await client.item(lambda item: item.get("seq") == seq)


async def test_room_opens_once(pair: Pair, room: str) -> None:
    """Of two hosts who open a room at once one opens it; a third attempt changes nothing."""
    first, second = pair
    one, two = await first.open_control(room, "h1"), await second.open_control(room, "h2")

    answers = await asyncio.gather(
        one.ask("room.open", title="one"), two.ask("room.open", title="two")
    )

    assert sorted(answer["opened"] for answer in answers) == [False, True]
    title = "one" if answers[0]["opened"] else "two"
    assert await two.ask("room.open", title="three") == {"opened": False}
    for client in (one, two):
        shown = await client.state("room")
        assert (shown["status"], shown["title"]) == ("open", title)
        await client.event("room.opened", title=title)
        assert len(client.events("room.opened")) == 1


async def test_room_changes_reach_both_workers_as_state_and_event(pair: Pair, room: str) -> None:
    """Update, close and reopen are durable events and the newest value of `room`, everywhere."""
    first, second = pair
    await first.open_room(room, title="before")
    host = await first.open_control(room)
    viewers = [await first.join(room), await second.join(room)]

    await host.ask(
        "room.update", title="<b>新品</b>", cover="https://x.test/c.png", tags=["a", "b"]
    )
    await host.ask("room.close")
    await host.ask("room.open")

    wanted = {"title": "<b>新品</b>", "cover": "https://x.test/c.png", "tags": ["a", "b"]}
    for viewer in viewers:
        updated = await viewer.event("room.updated", by="host")
        assert updated["d"] == wanted | {"by": "host"}
        closed = await viewer.event("room.closed", by="host")
        again = updated["seq"] + 2
        opened = await durable(viewer, again)
        assert (closed["seq"], opened["ev"]) == (updated["seq"] + 1, "room.opened")
        first_seq = viewer.hello["seq"] + 1
        assert viewer.durable() == [(seq, 0) for seq in range(first_seq, again + 1)]
        shown = await viewer.state("room", lambda d: d["status"] == "open" and "tags" in d)
        assert wanted.items() <= shown.items()
        assert shown["opened_ms"] > 0


async def test_room_fields_left_out_stay(worker: harness.Worker, room: str) -> None:
    """An update changes what it names; an empty list takes the tags away."""
    host = await worker.open_control(room)
    await host.ask("room.open", title="t", cover="c", tags=["x"])

    await host.ask("room.update", title="u")
    shown = await host.state("room", lambda d: d["title"] == "u")
    assert (shown["cover"], shown["tags"]) == ("c", ["x"])

    await host.ask("room.update", tags=[])
    shown = await host.state("room", lambda d: "tags" not in d)
    assert (shown["title"], shown["cover"]) == ("u", "c")


async def test_room_shows_a_stream_until_it_is_taken_away(
    worker: harness.Worker, room: str
) -> None:
    """The address of the video is state and event; an empty one takes it away."""
    host = await worker.open_control(room)
    address = "https://cdn.test/live/a.m3u8?t=1"
    await host.ask("room.open", stream=address)
    viewer = await worker.join(room)
    assert state_of(viewer.hello, "room")["d"]["stream"] == address

    await host.ask("room.update", title="t")
    assert (await viewer.event("room.updated"))["d"]["stream"] == address
    await host.ask("room.update", stream="")
    await viewer.state("room", lambda d: d["title"] == "t" and "stream" not in d)
    assert "stream" not in (await viewer.item(lambda item: item.get("seq") == 3))["d"]


@pytest.mark.parametrize(
    "address",
    [
        "http://cdn.test/a.m3u8", "javascript:alert(1)", "data:video/mp4,", "//cdn.test/a",
        "https://", "https://cdn.test/a b", "https://u:p@cdn.test/a", "https://?a", " ",
        "https://cdn.test/\n", "https://cdn.test/" + "a" * 484, 5,
    ],
)  # fmt: skip
async def test_room_stream_is_an_https_address(
    embedded_url: str, start_worker: harness.StartWorker, room: str, address: Any
) -> None:
    """Anything else is refused: pages hand it to a player."""
    worker = await start_worker(embedded_url)
    await worker.open_room(room)
    host = await worker.open_control(room)
    assert await host.refused("room.update", stream=address) == "bad_request"


async def test_room_update_of_an_old_version_is_refused(pair: Pair, room: str) -> None:
    """Two hosts on two workers do not overwrite each other: the later is told the version."""
    first, second = pair
    await first.open_room(room, title="0")
    one, two = await first.open_control(room, "h1"), await second.open_control(room, "h2")
    version = state_of(one.hello, "room")["v"]

    await one.ask("room.update", title="1", if_version=version)
    late = await two.command("room.update", title="2", if_version=version)

    assert late["err"]["code"] == "version_conflict"
    assert late["err"]["version"] == version + 1
    await two.ask("room.update", title="2", if_version=late["err"]["version"])
    shown = await one.item(lambda item: item.get("st") == "room" and item["v"] == version + 2)
    assert shown["d"]["title"] == "2"
    assert await one.refused("room.mode", like=False, if_version=version + 9) == "version_conflict"


async def test_room_updates_of_one_batch_conflict_too(worker: harness.Worker, room: str) -> None:
    """Two updates that ride in one commit were made without sight of each other."""
    await worker.open_room(room)
    host = await worker.open_control(room)
    version = state_of(host.hello, "room")["v"]

    update = {"op": "room.update", "d": {"title": "x", "if_version": version}}
    await host.send(update | {"id": 901}, update | {"id": 902})

    assert "d" in await host.item(lambda item: item.get("re") == 901)
    second = await host.item(lambda item: item.get("re") == 902)
    assert second["err"]["code"] == "version_conflict"
    assert second["err"]["version"] == version + 1


async def test_room_mode_binds_viewers_and_not_moderators(pair: Pair, room: str) -> None:
    """Talk, like and gift can each be taken from viewers; moderators keep them."""
    first, second = pair
    await first.open_room(room)
    moderator = await first.join(room, "mo", "moderator", path="/control")
    viewer = await second.join(room, "vi")
    for client in (moderator, viewer):
        await client.ask("wallet.get")  # demo money

    shown = await moderator.ask("room.mode", talk="hosts", gift=False)
    assert shown == {"talk": "hosts", "like": True, "gift": False}
    await viewer.state("mode", lambda d: d == shown)
    assert await viewer.refused("danmaku.send", text="hi") == "not_allowed"
    assert await viewer.refused("gift.send", key="v1", gift="rose") == "not_allowed"
    await viewer.ask("like.send")
    await moderator.ask("danmaku.send", text="hi")
    await moderator.ask("gift.send", key="m1", gift="rose")

    await moderator.ask("room.mode", talk="all", like=False, gift=True)
    await viewer.state("mode", lambda d: d == {"talk": "all", "like": False, "gift": True})
    assert await viewer.refused("like.send") == "not_allowed"
    await moderator.ask("like.send")
    await viewer.ask("danmaku.send", text="hi")
    await viewer.ask("gift.send", key="v2", gift="rose")


async def test_room_closed_takes_nothing_and_lets_nobody_in(pair: Pair, room: str) -> None:
    """Viewers stay connected and are refused, new ones are turned away, until it opens again."""
    first, second = pair
    await first.open_room(room)
    host, viewer = await first.open_control(room), await second.join(room, "vi")
    await viewer.ask("wallet.get")

    await host.ask("room.close")
    await viewer.event("room.closed")
    assert await viewer.refused("danmaku.send", text="hi") == "room_closed"
    assert await viewer.refused("like.send") == "room_closed"
    assert await viewer.refused("gift.send", key="k", gift="rose") == "room_closed"
    assert await host.refused("room.update", title="x") == "room_closed"
    assert await host.refused("room.close") == "room_closed"
    late = await second.connect()
    assert await late.refused("hello", room=room, token="") == "room_closed"
    assert await late.closed() == 4404

    assert (await host.ask("room.open"))["opened"]
    await viewer.event("room.opened")
    await viewer.ask("danmaku.send", text="hi")
    assert (await second.join(room)).hello["room"] == room


async def test_room_unknown_is_for_its_host_alone(worker: harness.Worker, room: str) -> None:
    """Viewers and moderators are told `no_room`; the host comes in and opens it."""
    for role, path in (("viewer", "/ws"), ("moderator", "/control")):
        client = await worker.connect(path)
        token = worker.token(room, role)
        assert await client.refused("hello", room=room, token=token) == "no_room"
        assert await client.closed() == 4404

    host = await worker.open_control(room)
    assert await host.refused("room.update", title="x") == "no_room"
    assert (await host.ask("room.open"))["opened"]
    await host.event("room.opened")
    await worker.join(room)


async def test_room_commands_need_their_role(worker: harness.Worker, room: str) -> None:
    """A moderator may change the mode and no more; the viewers' socket knows no such commands."""
    await worker.open_room(room)
    moderator = await worker.join(room, "mo", "moderator", path="/control")
    on_ws = await worker.join(room, "host", "host")

    for op in ("room.open", "room.update", "room.close", "gift.catalogue"):
        body: Any = {"gifts": [{"id": "a", "name": "a", "price": 1}]} if "gift" in op else {}
        assert await moderator.refused(op, **body) == "forbidden"
        assert await on_ws.refused(op, **body) == "unknown_op"
    await moderator.ask("room.mode", like=False)


async def test_room_fields_are_bounded(worker: harness.Worker, room: str) -> None:
    """What is too long, too many or of the wrong kind is refused, and changes nothing."""
    await worker.open_room(room, title="t" * 100, tags=["x" * 32] * 10)
    host = await worker.open_control(room)
    bad: list[tuple[str, Any]] = [
        ("title", "t" * 101), ("cover", "c" * 501), ("tags", ["x"] * 11), ("tags", ["x" * 33]),
        ("tags", "x"), ("title", 5), ("if_version", -1), ("if_version", 1.5),
        ("if_version", 2**53), ("if_version", 2**64 - 1),
    ]  # fmt: skip
    for field, value in bad:
        assert await host.refused("room.update", **{field: value}) == "bad_request", field
    modes: list[dict[str, Any]] = [{"talk": "nobody"}, {"like": "yes"}, {"gift": 1}]
    for mode in modes:
        assert await host.refused("room.mode", **mode) == "bad_request", mode
    assert host.events("room.updated") == []
