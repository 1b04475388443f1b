"""What a worker gathers in memory: visits, sums, and pages of a bounded size."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom_plugins.counters.gather import PAGE, Gathering, source_name
from liveroom_plugins.counters.records import Record


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ms = 1000

    def __call__(self) -> int:
        return self.ms


def gathering() -> tuple[Gathering, Time]:
    """Return a session and its clock."""
    time = Time()
    return Gathering(time), time


def rows(made: Gathering) -> Any:
    """Return the rows of visits of the next page."""
    return made.page().body.get("v", [])


def test_gathering_an_untold_visit_is_one_row() -> None:
    """Who comes and goes between two pages takes one row; tabs of a user are one visit."""
    made, time = gathering()
    made.enter("ann", "app")
    made.enter("ann", "")
    time.ms = 1500
    made.leave("ann")
    assert made.here == 1
    time.ms = 1700
    made.leave("ann")
    made.leave("ann")

    page = made.page()
    assert page.body["v"] == [["ann", "app", 1000, 1700]]
    assert page.body["n"] == {"views": {"app": 1, "": 1}}
    assert (made.here, made.pending, page.more) == (0, False, False)


def test_gathering_a_told_visit_ends_in_a_row_of_its_own() -> None:
    """The row of the end says when it began, so that it stands for itself."""
    made, time = gathering()
    made.enter("ann", "app")
    assert rows(made) == [["ann", "app", 1000, -1]]
    time.ms = 4000
    made.leave("ann")
    made.enter("ann", "tv", view=False)
    page = made.page()
    assert page.body == {"v": [["ann", "app", 1000, 4000], ["ann", "tv", 4000, -1]]}


def test_gathering_tells_anew_of_those_who_are_here() -> None:
    """A forgotten worker repeats when each of its visits began, but for those it is about to tell."""
    made, time = gathering()
    made.enter("ann", "")
    made.page()
    time.ms = 2000
    made.enter("bob", "")
    made.tell_anew()
    assert rows(made) == [["bob", "", 2000, -1], ["ann", "", 1000, -1]]
    made.leave_all(over=True)
    assert [(row[0], row[3] > time.ms) for row in rows(made)] == [("ann", True), ("bob", True)]
    assert made.here == 0


def test_gathering_records_are_the_visits_as_the_store_took_them() -> None:
    """A beginning that is told anew is recorded once."""
    made, time = gathering()
    made.enter("ann", "app")
    first = list(made.page().records("w", 51_000, 50_000))
    made.tell_anew()
    again = list(made.page().records("w", 52_000, 50_001))
    time.ms = 3000
    made.leave("ann")
    last = list(made.page().records("w", 53_000, 50_001))

    known = {"user": "ann", "via": "w"}
    assert first == [Record(ts=51_000, kind="enter", source="app", at=51_000, **known)]  # type: ignore[arg-type]
    assert again == []
    assert last == [Record(ts=53_000, kind="leave", at=53_001, **known)]  # type: ignore[arg-type]


def test_gathering_messages_are_told_one_by_one() -> None:
    """So that each can be taken back; who said something took part, though it be deleted."""
    made, _ = gathering()
    made.enter("ann", "app")
    made.page()
    made.say("w-1", "ann", 5000, "I love it")
    made.say("w-2", "bob", 5001, "how much?")
    made.leave("ann")  # where she came from is what it was when she spoke
    made.delete(6000, ["w-1"], None)
    made.delete(6001, None, "bob")
    page = made.page()
    assert page.body["d"] == [["w-1", "ann", "app", 5000, "g"], ["w-2", "bob", "", 5001, ""]]
    assert page.body["x"] == [{"t": 6000, "i": ["w-1"]}, {"t": 6001, "u": "bob"}]
    assert sorted(page.body["p"]) == ["ann", "bob"]
    told = [r for r in page.records("w", 9000, 0) if r.kind == "danmaku"]
    assert [(r.kind, r.id, r.source, r.mood) for r in told] == [
        ("danmaku", "w-1", "app", "g"), ("danmaku", "w-2", "", ""),
    ]  # fmt: skip
    assert not made.pending


def test_gathering_acts_are_records_of_a_viewer_each() -> None:
    """What somebody did of a kind is one record, but for carts, each of which has its units."""
    made, _ = gathering()
    made.enter("ann", "app")
    for n in (3, 4):
        made.act("ann", "like", n, "app")
        made.click("ann", "i1", "app")
    made.act("bob", "like", 1, "")
    for units in (2, 2, 5):
        made.cart("ann", "i1", units, "app")
    records = list(made.page().acts_as_records(9000))
    assert sorted((r.kind, r.user, r.source, r.item, r.n) for r in records) == [
        ("cart", "ann", "app", "i1", 2), ("cart", "ann", "app", "i1", 2), ("cart", "ann", "app", "i1", 5),
        ("click", "ann", "app", "i1", 2), ("like", "ann", "app", "", 7), ("like", "bob", "", "", 1),
        ("view", "", "app", "", 1),
    ]  # fmt: skip
    assert list(made.page().acts_as_records(9000)) == []


def test_gathering_a_letter_of_who_is_here_is_told_once() -> None:
    """The store need not look at somebody who does the same again; a sum it has to be told."""
    made, _ = gathering()
    made.enter("ann", "app")
    made.act("ann", "like", 3, "app")
    made.act("ann", "like", 4, "app")
    body = made.page().body
    assert body["a"] == [["ann", "LA"]]
    assert body["p"] == ["ann"]
    assert body["n"] == {"views": {"app": 1}, "like": {"app": 7}, "act": {"app": 7}}

    made.act("ann", "like", 1, "app")
    made.act("ann", "share", 1, made.source_of("ann"))
    made.act("gone", "share", 1, made.source_of("gone"))
    body = made.page().body
    assert body["a"] == [["ann", "S"], ["gone", "SA"]]
    assert body["n"]["act"] == {"app": 2, "": 1}


def test_gathering_items_have_clicks_and_carts() -> None:
    """What was done with an item, and by whom."""
    made, _ = gathering()
    made.click("ann", "i1", "")
    made.click("ann", "i1", "")
    made.cart("bob", "i1", 3, "")
    body = made.page().body
    assert body["i"] == {"i1": {"clicks": 2, "carts": 1, "units": 3, "users": ["ann"]}}
    assert body["a"] == [["ann", "K"], ["bob", "T"]]
    assert "i" not in made.page().body


def test_gathering_pages_are_bounded_and_lose_nothing() -> None:
    """However many come and act at once, a page holds so many; sums ride with the first."""
    made, _ = gathering()
    people = [f"u{n}" for n in range(2 * PAGE + 7)]
    for user in people:
        made.enter(user, "")
        made.act(user, "like", 2, "")
        made.click(user, f"i{len(user)}", "")
        made.say(f"w-{user}", user, 1, "")
        made.delete(2, [f"w-{user}"], None)
    told: dict[str, list[str]] = {"v": [], "a": [], "p": [], "i": [], "d": [], "x": []}
    likes = clicks = 0
    numbers = []
    while made.pending:
        page = made.page()
        numbers.append(page.number)
        body = page.body
        assert page.more == made.pending
        assert all(len(body.get(name, ())) <= PAGE for name in "vapdx")
        for name in "va":
            told[name] += [row[0] for row in body.get(name, ())]
        told["p"] += body.get("p", ())
        told["d"] += [row[1] for row in body.get("d", ())]
        told["x"] += [row["i"][0].removeprefix("w-") for row in body.get("x", ())]
        for item in body.get("i", {}).values():
            told["i"] += item.get("users", ())
            clicks += item["clicks"]
        likes += body.get("n", {}).get("like", {}).get("", 0)

    assert {name: sorted(users) for name, users in told.items()} == dict.fromkeys(
        told, sorted(people)
    )
    assert (likes, clicks) == (2 * len(people), len(people))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_gathering_that_is_made_later_has_larger_numbers() -> None:
    """The store passes over what has a number that it knows."""
    early, time = gathering()
    first = early.page().number
    time.ms += 50
    assert Gathering(time).page().number > first


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", ""), ("  ", ""), ("app", "app"), ("App-Push", "app-push"), (" tv.1_a ", "tv.1_a"),
        ("x" * 32, "x" * 32), ("x" * 33, "other"), ("a b", "other"), ("抖音", "other"), ("a|b", "other"),
        ("a\n", "a"),
    ],
)  # fmt: skip
def test_source_names_are_folded(text: str, name: str) -> None:
    """Anybody's text becomes a name that a figure can have."""
    assert source_name(text) == name
