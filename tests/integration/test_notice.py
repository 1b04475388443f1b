"""The notice: shown to everyone, replaced, taken away, over by the store's clock."""

from __future__ import annotations

from typing import Any

import harness


async def later(worker: harness.Worker, room: str, ms: int) -> None:
    """Move the store's time on and have what is due run."""
    worker.node.store.skew_ms += ms
    await worker.node.hub.commit(room, [])


async def test_notice_is_a_state_and_an_event(worker: harness.Worker, room: str) -> None:
    """Those who are there and those who come later see it, cleaned."""
    await worker.open_room(room)
    moderator = await worker.join(room, "mo", "moderator", path="/control")
    viewer = await worker.join(room)

    assert await moderator.ask("notice.set", text=" back\x07 at 九点\u202e ") == {"until_ms": 0}

    event = await viewer.event("notice")
    assert event["d"] == {"text": "back at 九点", "by": "mo"}
    assert "seq" in event
    shown = {"text": "back at 九点", "level": "info", "until_ms": 0}
    assert await viewer.state("notice") == shown
    late = await worker.join(room)
    assert [s["d"] for s in late.hello["states"] if s["st"] == "notice"] == [shown]


async def test_notice_is_over_in_its_time(worker: harness.Worker, room: str) -> None:
    """A newer one is not taken away by the timer of the one before."""
    await worker.open_room(room)
    host, viewer = await worker.control(room), await worker.join(room)

    first = await host.ask("notice.set", text="one", level="warn", seconds=60)
    assert (await viewer.state("notice"))["until_ms"] == first["until_ms"] > 0
    second = await host.ask("notice.set", text="two", seconds=120)
    assert second["until_ms"] > first["until_ms"] + 50_000

    await later(worker, room, 61_000)
    late = await worker.join(room)
    assert [s["d"]["text"] for s in late.hello["states"] if s["st"] == "notice"] == ["two"]
    assert (await host.ask("audit.check"))["sound"]
    await later(worker, room, 60_000)
    await viewer.state("notice", lambda d: d is None)
    assert (await host.ask("audit.check"))["sound"]
    assert [s for s in (await worker.join(room)).hello["states"] if s["st"] == "notice"] == []


async def test_notice_is_taken_away(worker: harness.Worker, room: str) -> None:
    """An empty text takes it away, with its timer."""
    await worker.open_room(room)
    host, viewer = await worker.control(room), await worker.join(room)
    await host.ask("notice.set", text="one", seconds=60)

    assert await host.ask("notice.set", text="") == {"until_ms": 0}

    await viewer.event("notice", text="")
    await viewer.state("notice", lambda d: d is None)
    assert (await host.ask("audit.check"))["sound"]


async def test_notice_refuses(worker: harness.Worker, room: str) -> None:
    """Whom it is not for, what cannot be shown, what was changed meanwhile."""
    assert await (await worker.open_control(room)).refused("notice.set", text="x") == "no_room"
    await worker.open_room(room)
    host = await worker.control(room)
    assistant = await worker.join(room, "as", "assistant", path="/control")
    assert await assistant.refused("notice.set", text="x") == "forbidden"
    assert await (await worker.join(room)).refused("notice.set", text="x") == "unknown_op"
    bad: list[dict[str, Any]] = [
        {"text": "x" * 201}, {"text": "\x07"}, {"text": 5}, {}, {"text": "x", "level": "loud"},
        {"text": "x", "seconds": 0}, {"text": "x", "seconds": 86_401},
    ]  # fmt: skip
    for body in bad:
        assert await host.refused("notice.set", **body) == "bad_request", body
    await host.ask("notice.set", text="x", if_version=0)
    assert await host.refused("notice.set", text="y", if_version=0) == "version_conflict"
    await host.ask("room.close")
    assert await host.refused("notice.set", text="z") == "room_closed"
