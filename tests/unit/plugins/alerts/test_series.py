"""What a series reads."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from liveroom import LogEntry
from liveroom.asyncapi import shipped_manager
from liveroom_plugins.alerts.series import Happened, parse_series


class Room:
    """What a series looks at in a room."""

    id = "r"

    def __init__(self) -> None:
        self.heard = Counter({"danmaku": 7})
        self.values: dict[str, Any] = {
            "online": {"now": 3, "peak": 9, "viewers": 12},
            "stock:cup": {"available": 4, "status": "running"},
            "stock:pot": {"available": None},
        }

    def state(self, name: str) -> Any:
        """Return a value."""
        return self.values.get(name)

    def states(self, prefix: str) -> list[str]:
        """Return names."""
        return [name for name in self.values if name.startswith(prefix)]


class Known:
    """What is declared."""

    def __init__(self) -> None:
        manager = shipped_manager()
        self.plugins = ["counters"]
        self.events, self.states = manager.events, manager.states


KNOWN: Any = Known()


def happened(*texts: str) -> Happened:
    """Return the count of some events."""
    room: Any = Room()
    made = Happened(room, [parse_series(text, KNOWN) for text in texts])
    for seq, item in enumerate(
        (
            b'{"ev":"gift.sent","seq":1,"ts":1,"d":{"value":200,"user":{"id":"u1"}}}',
            b'{"ev":"gift.sent","seq":2,"ts":1,"d":{"value":50}}',
            b'{"ev":"gift.sent","seq":3,"ts":1,"d":{"value":true}}',
            b'{"ev":"notice","seq":4,"ts":1,"d":{"text":"x"}}',
            b'{"ev":"room.closed","seq":5,"ts":1,"d":{}}',
        )
    ):
        made.add(LogEntry(seq, 0, None, item))
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event:gift.sent/s", 3),
        ("event:gift.sent", 3),
        ("sum:gift.sent.value/s", 250),
        ("event:notice/s", 1),
        ("sum:notice.text/s", 0),
        ("said:danmaku/s", 7),
        ("said:like/s", 0),
        ("online.now", 3),
        ("online.now/s", 3),
        ("stock:cup.available", 4),
        ("stock:cup.status", None),
        ("stock:pot.available", None),
        ("stock:none.available", None),
        ("figure:counters.paid.today", 5),
        ("figure:counters.other", None),
    ],
)
def test_series_reads_a_number_or_none(text: str, expected: float | None) -> None:
    """Of what happens, how often so far; of states and figures the number that is there."""
    series = parse_series(text, KNOWN)

    assert series.read("", happened(text), {"counters.paid.today": 5}) == expected


def test_series_of_events_and_others_with_a_slash_are_rates() -> None:
    """Of events, how many per second is the only thing to ask."""
    texts = ("event:notice", "sum:gift.sent.value", "said:like", "online.now/s", "online.now")

    assert [parse_series(text, KNOWN).rate for text in texts] == [True, True, True, True, False]


def test_series_of_every_key_has_the_keys_that_there_are() -> None:
    """Each is read by its own."""
    series = parse_series("stock:*.available", KNOWN)
    counted = happened()

    keys = list(series.keys(counted.room))
    assert keys == ["cup", "pot"]
    assert [series.read(key, counted, {}) for key in keys] == [4, None]
    assert list(parse_series("online.now", KNOWN).keys(counted.room)) == [""]
