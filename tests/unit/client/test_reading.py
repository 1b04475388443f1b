"""Items: what is known is shown, what is not is surfaced raw, junk is counted."""

from __future__ import annotations

from typing import Any

import pytest

from fakewire import Stage
from liveroom_client.items import Event


def gift(seq: int, sub: int = 0) -> dict[str, Any]:
    """Return a durable event."""
    return {"ev": "gift.sent", "seq": seq, "ts": 5, "d": {"n": seq}} | ({"sub": sub} if sub else {})


def staged(**more: Any) -> Stage:
    """Return a live session at seq 10 that records gifts and likes."""
    stage = Stage(**more)
    stage.listen("gift.sent", "like", "sdk.raw", "sdk.state")
    stage.live()
    return stage


def seqs(stage: Stage) -> list[tuple[int, int]]:
    """Return the positions of the gifts that were shown."""
    return [(event.seq, event.sub) for event in stage.shown["gift.sent"]]


def test_reading_shows_events_and_states() -> None:
    """Typed and small."""
    stage = staged()
    stage.feed(
        {"ev": "like", "ts": 7, "d": {"n": 1}}, gift(11), gift(11, 3), {"st": "a", "v": 1, "d": {}}
    )

    assert stage.shown["like"] == [Event("like", {"n": 1}, "demo", None, 0, 7)]
    assert seqs(stage) == [(11, 0), (11, 3)]
    assert [state.key for state in stage.shown["sdk.state"]] == ["a"]
    assert stage.main.position == {"epoch": "e1", "seq": 11, "sub": 3}


def test_reading_surfaces_what_is_of_the_future() -> None:
    """Unknown items, events and fields do no harm, and `sdk.raw` has them all."""
    stage = staged()
    items = [{"zz": 1}, {"ev": "new.thing", "d": 5, "more": 1}, {"ev": "sys.new", "d": None}]
    stage.feed(*items)

    assert stage.shown["sdk.raw"][-3:] == items
    assert stage.session.figures.junk == 0


@pytest.mark.parametrize(
    "junk",
    [
        5, None, "re", "room", [], ["ev"], {"ev": 5, "d": {}}, {"ev": None, "d": {}},
        {"ev": "gift.sent", "seq": "11", "d": {}}, {"ev": "gift.sent", "seq": 11.0, "d": {}},
        {"ev": "gift.sent", "seq": 11, "sub": "a", "d": {}}, {"ev": "gift.sent", "seq": True, "d": {}},
        {"st": [], "v": 1, "d": {}}, {"st": "a"}, {"ev": "sys.shed", "d": 5},
        {"ev": "sys.shed", "d": {"like": []}}, {"ev": "sys.shed"}, {"ev": "sys.reconnect", "d": 1},
        {"room": []}, {"room": {}},
    ],
    ids=repr,
)  # fmt: skip
def test_reading_counts_junk_and_goes_on(junk: Any) -> None:
    """An item without shape costs nothing but itself."""
    stage = staged()
    stage.feed(junk)
    stage.feed(gift(11))

    assert seqs(stage) == [(11, 0)]
    assert stage.session.figures.junk in (0, 1)
    assert stage.session.figures.junk or junk == []
    assert stage.session.status == "live"


def test_reading_drops_what_was_seen_and_asks_for_what_is_missing() -> None:
    """Once, however many events come behind the hole."""
    stage = staged()
    stage.feed(gift(9), gift(11), gift(11), gift(14), gift(15))
    assert seqs(stage) == [(11, 0)]
    assert stage.ops().count("sys.resume") == 1
    assert stage.last("sys.resume")["d"] == {"resume": {"epoch": "e1", "seq": 11, "sub": 0}}

    resumed = {"re": stage.last("sys.resume")["id"], "d": _resumed(11)}
    stage.feed(resumed, *[gift(seq) for seq in range(12, 16)])
    assert [seq for seq, _ in seqs(stage)] == [11, 12, 13, 14, 15]


def test_reading_begins_anew_after_a_gap() -> None:
    """`sys.gap`: nothing durable counts until the snapshot is there; states are of the new epoch."""
    stage = staged()
    stage.feed({"st": "likes", "v": 50, "d": {"total": 50}})
    stage.feed({"ev": "sys.gap", "d": {"from": None, "to": None, "epoch": "e2"}}, gift(11), gift(1))
    assert stage.last("sys.resume")["d"] == {}
    assert seqs(stage) == []

    states = [{"st": "likes", "v": 1, "d": {"total": 1}}]
    fresh = _resumed(3) | {"epoch": "e2", "resumed": False, "states": states}
    stage.reply(1, "sys.resume", fresh, gift(4))

    assert seqs(stage) == [(4, 0)]
    assert stage.main.states == {"likes": {"total": 1}}
    assert stage.main.position == {"epoch": "e2", "seq": 4, "sub": 0}


def test_reading_leaves_on_the_server_what_is_not_read() -> None:
    """A slow reader gets every durable event, in order, and once; listeners as well."""
    stage = staged(inbox=2)
    inbox = stage.outlet.inbox
    assert inbox is not None
    inbox.read = True
    inbox._take()  # the greeting
    for seq in range(11, 21):
        stage.feed(gift(seq), {"ev": "like", "d": {"n": seq}})
    assert stage.main.position == {"epoch": "e1", "seq": 13, "sub": 0}
    assert "sys.resume" not in stage.ops()

    read: list[int | None] = []
    while len(inbox):
        shown = inbox._take()
        if isinstance(shown, Event) and shown.name == "gift.sent":
            read.append(shown.seq)
        if stage.main.resuming:
            since = stage.last("sys.resume")["d"]["resume"]["seq"]
            missed = [gift(seq) for seq in range(since + 1, 21)]
            stage.reply(1, "sys.resume", _resumed(since), *missed)

    assert read == list(range(11, 21))
    assert [seq for seq, _ in seqs(stage)] == read
    assert inbox.shed == {"like": 9}


def test_reading_adds_up_what_was_shed() -> None:
    """`sys.shed` is shown, too."""
    stage = staged()
    stage.listen("sys.shed")
    stage.feed({"ev": "sys.shed", "d": {"like": 2}}, {"ev": "sys.shed", "d": {"like": 3}})

    assert stage.main.shed == {"like": 5}
    assert len(stage.shown["sys.shed"]) == 2


def test_reading_ignores_rooms_that_are_not_followed() -> None:
    """Everything behind the name of a room is of that room; replies are of nobody's."""
    stage = staged()
    stage.ask("a")
    stage.feed(
        {"room": "b"},
        gift(11),
        {"st": "a", "v": 1, "d": {}},
        {"re": stage.last("a")["id"], "d": {}},
    )

    assert (seqs(stage), stage.main.states, stage.answers) == ([], {}, [{}])


def _resumed(seq: int) -> dict[str, Any]:
    return {
        "session": "s", "room": "demo", "epoch": "e1", "seq": seq, "resumed": True, "now": 1,
    }  # fmt: skip
