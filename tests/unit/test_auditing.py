"""What `liveroom audit` prints."""

from __future__ import annotations

import orjson

from liveroom.auditing import Report


ROW = {"what": "ledger.sum", "key": "ledger", "expected": "0", "found": "5"}


def report(**changes: object) -> Report:
    """Return a report."""
    fields = {
        "room": "demo", "sound": True, "broken": [], "counted": {"ledger.sum": 1, "log.last": 2},
        "trail": 3, "head": "abc",
    }  # fmt: skip
    return Report(**(fields | changes))  # type: ignore[arg-type]


def test_auditing_report_of_a_sound_room() -> None:
    """A table of the checks, the trail, the verdict."""
    lines = report().to_text().splitlines()
    assert [line.split() for line in lines] == [
        ["check", "compared", "broken"],
        ["ledger.sum", "1", "0"],
        ["log.last", "2", "0"],
        ["trail:", "3", "entries,", "head", "abc"],
        ["demo:", "sound"],
    ]


def test_auditing_report_names_what_is_broken() -> None:
    """Also of checks that count nothing as long as all is well."""
    hole = {"what": "log.hole", "key": "log", "expected": "the next of 1-0", "found": "3-0"}
    text = report(sound=False, broken=[ROW, hole], head="").to_text()
    assert "BROKEN ledger.sum at ledger: expected 0, found 5" in text
    assert ["log.hole", "0", "1"] in [line.split() for line in text.splitlines()]
    assert text.endswith("trail: 3 entries, head none\ndemo: 2 broken")


def test_auditing_report_shows_nothing_that_acts_on_a_terminal() -> None:
    """What was found may be anybody's text."""
    text = report(sound=False, broken=[ROW | {"found": "\x1b[2J\nx"}]).to_text()
    assert "\x1b" not in text
    assert "found \\x1b[2J\\nx" in text


def test_auditing_report_as_json_is_the_whole_of_it() -> None:
    """For programs."""
    assert orjson.loads(report(sound=False, broken=[ROW]).to_json()) == {
        "room": "demo",
        "sound": False,
        "broken": [ROW],
        "counted": {"ledger.sum": 1, "log.last": 2},
        "trail": 3,
        "head": "abc",
    }
