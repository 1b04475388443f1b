"""What an alert says."""

from __future__ import annotations

from liveroom_plugins.alerts.judges import Verdict
from liveroom_plugins.alerts.rules import Action, Change, Missing, Threshold
from liveroom_plugins.alerts.words import action_body, sentence


def test_words_are_filled_in() -> None:
    """Numbers short, the key by name, what is not known as a question mark."""
    rule = Threshold(
        name="low",
        series="stock:*.available",
        below=5,
        text="{key}: {value} of {base} in {room} {x}",
    )

    assert sentence(rule, "demo", "sku-1", Verdict(True, 3.0, 5)) == "sku-1: 3 of 5 in demo {x}"
    assert sentence(rule, "demo", "sku-1", Verdict(True)) == "sku-1: ? of ? in demo {x}"


def test_words_have_defaults_by_kind() -> None:
    """A rule without a text says what it looks at."""
    low = Threshold(name="low", series="stock:*.available", below=5)
    fall = Change(name="fall", series="sum:flash.paid.amount/s", fall=40)
    silent = Missing(name="silent", series="said:danmaku/s")

    assert sentence(low, "r", "sku-1", Verdict(True, 3, 5)) == (
        "stock:sku-1.available is 3, the limit is 5"
    )
    assert sentence(fall, "r", "", Verdict(True, 48.126, 100)) == (
        "sum:flash.paid.amount/s is 48.13, was 100"
    )
    assert sentence(silent, "r", "", Verdict(True, 31)) == "said:danmaku/s: nothing for 31 s"


def test_words_of_an_action_are_filled_in_at_any_depth() -> None:
    """What is no text stays as it is."""
    action = Action(op="notice.set", d={"text": "Only {value} left", "more": [{"of": "{key}"}, 7]})
    rule = Threshold(name="low", series="stock:*.available", below=5, action=action)

    assert action_body(rule, "r", "sku-1", Verdict(True, 2.0)) == {
        "text": "Only 2 left", "more": [{"of": "sku-1"}, 7],
    }  # fmt: skip
    assert action.d["text"] == "Only {value} left"
