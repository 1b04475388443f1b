"""The rules' text: one for each meaning, with nothing left unsaid."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from liveroom.errors import CommandError
from liveroom.features.lottery.draw import METHOD, canonical
from liveroom.features.lottery.rules import LotteryOpen, rules_of


def body(**changes: Any) -> LotteryOpen:
    """Return the body of a command."""
    prizes = [{"prize": "a", "title": "A", "n": 1}]
    given = {"lottery": "l1", "title": "T", "prizes": prizes, "seconds": 60} | changes
    return msgspec.convert(given, LotteryOpen)


def test_rules_say_every_default() -> None:
    """Nothing that decides is left to the reader."""
    assert json.loads(rules_of(body())) == {
        "method": METHOD,
        "title": "T",
        "prizes": [{"prize": "a", "title": "A", "n": 1}],
        "conditions": {},
        "seconds": 60,
        "exclude": {"staff": True, "users": [], "winners": "none"},
        "claim_s": 172_800,
        "reserves": 3,
        "redraws": 3,
    }


def test_rules_of_one_meaning_have_one_text() -> None:
    """The order of fields and users, invisible characters and conditions that are off say nothing."""
    one = body(title="T\u200b", exclude={"users": ["b", "a", "b"]}, conditions={"follow": False})
    two = body(title=" T\u200b", exclude={"winners": "none", "users": ["a", "b"]})
    assert rules_of(one) == rules_of(two)
    assert rules_of(one) == canonical(json.loads(rules_of(one)))
    assert rules_of(body(conditions={"follow": True})) != rules_of(body())
    assert rules_of(body(conditions={"gift": 0})) != rules_of(body())


def test_rules_are_canonical_in_any_language() -> None:
    """Texts stand as they are: only quotes, backslashes and controls are escaped (RFC 8785)."""
    text = rules_of(body(title='奶茶 "x" \\ é \u2028'.replace("\u2028", "")))
    assert '"title":"奶茶 \\"x\\" \\\\ é"' in text


@pytest.mark.parametrize(
    "changes",
    [
        {"conditions": {"watch_s": 1}, "seconds": 120},
        {"prizes": [{"prize": "a", "title": " ", "n": 1}]},
        {"conditions": {"danmaku": "\u202e"}},
    ],
)
def test_rules_that_cannot_hold_are_refused(changes: dict[str, Any]) -> None:
    """What the shapes cannot say."""
    with pytest.raises(CommandError) as refused:
        rules_of(body(**changes))
    assert refused.value.code.name == "bad_request"


def test_rules_without_an_end_may_ask_for_any_watch_time() -> None:
    """Nobody knows how long such a draw is open."""
    assert '"watch_s":3600' in rules_of(body(seconds=0, conditions={"watch_s": 3600}))
