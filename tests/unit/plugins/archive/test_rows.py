"""Rows of events and messages: persons apart, and back again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, strategies as st

from liveroom import LogEntry
from liveroom_plugins.archive.rows import danmaku_row, event_row, joined, minute_rows, split


KEYS = st.sampled_from(["user", "by", "name", "top", "a/b", "~", "text", "winners", "n"])
BODIES = st.dictionaries(
    KEYS,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=12,
    ),
)


@given(BODIES)
def test_rows_joined_puts_back_what_split_took_out(body: dict[str, Any]) -> None:
    """Whatever shape a body has, nothing is lost."""
    left, people = split(copy.deepcopy(body))

    assert joined(left, people) == body


@given(BODIES)
def test_rows_split_leaves_no_person(body: dict[str, Any]) -> None:
    """No field that names somebody is left anywhere in the body."""

    def fields(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(fields, value))
        if isinstance(value, dict):
            return set(value).union(*map(fields, value.values()))
        return set()

    assert not {"user", "by"} & fields(split(body)[0])


def test_rows_split_tells_a_users_name_from_a_products() -> None:
    """A name beside a user's id is the user's."""
    body = {"name": "Cup", "top": [{"user": "u1", "name": "Ann", "score": 3}]}

    left, people = split(body)

    assert left == {"name": "Cup", "top": [{"score": 3}]}
    assert people == {"top/0/user": "u1", "top/0/name": "Ann"}


def entry(item: bytes, user: str | None = None) -> LogEntry:
    """Return an entry of the log."""
    return LogEntry(7, 1, user, item)


@pytest.mark.parametrize(
    ("d", "recipient", "expected"),
    [
        (b'{"user":{"id":"u1","name":"Ann"},"n":1}', None, ("u1", "Ann")),
        (b'{"user":"u1","name":"Ann"}', None, ("u1", "Ann")),
        (b'{"by":"host","name":"Cup"}', None, ("host", None)),
        (b'{"lottery":"l1"}', "u9", ("u9", None)),
        (b'{"lottery":"l1"}', "~counters", (None, None)),
        (b'{"user":5}', None, (None, None)),
        (b"[]", None, (None, None)),
    ],
)
def test_rows_event_is_about_somebody(
    d: bytes, recipient: str | None, expected: tuple[str | None, str | None]
) -> None:
    """Whoever did it; else whom it was for, if that is a user."""
    row = event_row("r", "e", 5, entry(b'{"ev":"x.y","seq":7,"ts":9,"d":%b}' % d, recipient))

    assert (row["user"], row["user_name"]) == expected
    assert (row["recipient"], row["session"], row["ts"]) == (recipient, 5, 9)


@pytest.mark.parametrize("item", [b"no json", b"[]", b'{"ev":"x"}', b'{"ev":"x","ts":null,"d":1}'])
def test_rows_unreadable_item_is_kept_as_text(item: bytes) -> None:
    """It holds nothing up, and is not lost."""
    row = event_row("r", "e", 0, entry(item))

    assert (row["name"], row["body"]) == ("unreadable", {"text": item.decode()})


def test_rows_danmaku_keeps_what_else_there_is() -> None:
    """Mode, colour, role and fields that others add stay in `extra`."""
    d = {
        "id": "w-1", "text": "hi\0", "mode": "top", "color": 7, "reply_to": "w-0",
        "user": {"id": "u1", "name": "Ann", "role": "viewer", "level": 3},
    }  # fmt: skip

    row = danmaku_row("r", 5, d, 9)

    assert (row["id"], row["user"], row["user_name"], row["text"]) == ("w-1", "u1", "Ann", "hi")
    assert row["extra"] == {
        "mode": "top", "color": 7, "reply_to": "w-0", "user": {"role": "viewer", "level": 3},
    }  # fmt: skip


def test_rows_minutes_are_the_figures_of_an_event_between_workers() -> None:
    """Each number is a row; what is no minute gives none."""
    item = b'{"ev":"counters.minute","seq":7,"ts":9,"d":{"session":1000,"minute":2,"likes":3}}'
    event = event_row("r", "e", 1000, entry(item, "~counters"))

    assert list(minute_rows(event)) == [
        {"room": "r", "minute_ms": 121_000, "name": "likes", "session": 1000, "value": 3.0}
    ]
    assert list(minute_rows(event | {"recipient": None})) == []
    assert list(minute_rows(event | {"body": {"session": 1, "minute": -1, "likes": 3}})) == []
    assert list(minute_rows(event | {"body": [1]})) == []
