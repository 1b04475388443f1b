"""What plugins may read and hear beside their own: a room's log, its states, what was published."""

from __future__ import annotations

from typing import Any

import harness
from liveroom import Op, Plugin, Position, RoomHandle


async def test_history_reads_a_log_at_one_instant(store_url: str, room: str) -> None:
    """Entries after a place, where the log ends, and how many it has dropped."""
    async with harness.running_worker(store_url) as worker:
        engine = worker.node.hub
        nothing = await engine.history(room, Position("", 0, 0), 10)
        await worker.open_room(room)
        for number in range(5):
            await engine.commit(room, [Op("room.update", "x", {"title": f"{number}"})])
        start = Position("", 0, 0)
        first = await engine.history(room, start, 4)
        last = first.entries[-1]
        rest = await engine.history(room, start._replace(seq=last.seq, sub=last.sub), 4)
        await engine.commit(room, [Op("sys.trim", "", {"older_ms": -1000})])
        later = await engine.history(room, start, 4)

    assert (nothing.end.epoch, nothing.dropped, nothing.entries) == ("", 0, [])
    assert [entry.seq for entry in first.entries + rest.entries] == [1, 2, 3, 4, 5, 6]
    assert first.end == rest.end == later.end
    assert (first.end.seq, first.dropped) == (6, 0)
    assert later.dropped + len(later.entries) == 6
    assert later.dropped >= 5
    assert b'"title":"0"' in first.entries[1].item


class Ear(Plugin):
    """Takes note of what is published."""

    name = "ear"

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, Any], int]] = []

    def published(self, room: RoomHandle, event: str, d: dict[str, Any], ts: int) -> None:
        """Take a note."""
        self.heard.append((room.id, event, d, ts))


async def test_history_of_what_is_published_is_told_to_one_worker(
    embedded_url: str, room: str
) -> None:
    """The worker that took a message hears of it, shed or not; the other one does not."""
    ear, other = Ear(), Ear()
    async with (
        harness.running_worker(embedded_url, plugins=[ear], danmaku_per_s=1) as worker,
        harness.running_worker(embedded_url, plugins=[other]) as second,
    ):
        await worker.open_room(room)
        viewers = [await worker.join(room, f"u{number}") for number in range(6)]
        watcher = await second.join(room, "eve")
        for number, viewer in enumerate(viewers):
            await viewer.ask("danmaku.send", text=f"message {number}")
        await watcher.event("danmaku", text="message 0")

    said = [d["text"] for _, event, d, _ in ear.heard if event == "danmaku"]
    assert said == [f"message {number}" for number in range(6)]
    assert [event for _, event, _, _ in other.heard] == ["viewer.enter"]
    assert {name for name, _, _, _ in ear.heard} == {room}
    assert all(ts > 1_700_000_000_000 for _, _, _, ts in ear.heard)


async def test_history_of_states_names_those_that_have_a_value(
    embedded_url: str, room: str
) -> None:
    """By the beginning of their names; one that was taken away is not among them."""
    async with harness.running_worker(embedded_url) as worker:
        await worker.open_room(room)
        host = await worker.control(room)
        await host.ask("notice.set", text="hello")
        await host.state("notice")
        handle = worker.node.hub.room(room)
        assert handle is not None
        assert {"room", "mode", "notice"} <= set(handle.states(""))
        assert handle.states("no") == ["notice"]
        await host.ask("notice.set", text="")
        await host.state("notice", lambda d: d is None)
        assert handle.states("no") == []
