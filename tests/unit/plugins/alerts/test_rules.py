"""The file of the rules: what it may say, and a sentence for everything that it may not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from liveroom import ConfigError, Role
from liveroom.asyncapi import shipped_manager
from liveroom_plugins.alerts.rules import MAX_RULES, Change, Threshold, read_rules


DOCS = Path(__file__).parents[4] / "docs"


class Known:
    """What the engine's own plugins declare."""

    def __init__(self) -> None:
        self._manager = shipped_manager()
        self.plugins = [plugin.name for plugin in self._manager.plugins] + ["counters"]
        self.events = self._manager.events
        self.states = self._manager.states

    def expect_command(self, op: str, d: dict[str, Any], role: Role) -> None:
        """Refuse what could not be run."""
        self._manager.expect_command(op, d, role)


KNOWN: Any = Known()
FLOOD = """
[[rule]]
name = "flood"
kind = "threshold"
series = "said:danmaku/s"
above = 50
for_s = 5
action = { op = "room.mode", d = { talk = "hosts" } }
"""


def read(text: str) -> list[Any]:
    """Return the rules of a file."""
    return read_rules(text.encode(), "rules.toml", KNOWN)


def test_rules_have_defaults() -> None:
    """Only what makes the rule has to be said."""
    ((rule, series),) = read(FLOOD)

    assert isinstance(rule, Threshold)
    assert (rule.kind, rule.above, rule.below, rule.for_s) == ("threshold", 50, None, 5)
    assert (rule.severity, rule.cooldown_s, rule.clear_s, rule.rooms) == ("warning", 60, 5, ("*",))
    assert (series.kind, series.name, series.rate) == ("said", "danmaku", True)


def test_rules_cover_rooms_by_pattern() -> None:
    """One of the patterns must match the whole id."""
    ((rule, _),) = read(FLOOD + 'rooms = ["shop-*", "demo"]\n')

    assert [rule.covers(room) for room in ("shop-1", "demo", "demo2", "a-shop-1")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_rules_of_the_document_can_be_used() -> None:
    """The worked file of docs/alerts.md is one."""
    text = (DOCS / "alerts.md").read_text("utf-8")
    (block,) = re.findall(r"<!-- example: alerts.toml -->\n```toml\n(.*?)```", text, re.DOTALL)

    rules = [rule for rule, _ in read(block)]

    assert {rule.kind for rule in rules} == {"threshold", "change", "deviation", "missing"}
    assert any(isinstance(rule, Change) and rule.fall for rule in rules)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('kind = "threshold"', 'kind = "treshold"'), "threshold | change | deviation | missing"),
        (('kind = "threshold"\n', ""), "a kind"),
        (('name = "flood"\n', ""), "number 1: expected what a threshold rule has"),
        (('name = "flood"', 'name = "a b"'), "rule a b"),
        (("above = 50", "above = 50\nbelow = 3"), "either `above` or `below`"),
        (("above = 50\n", ""), "either `above` or `below`"),
        (("above = 50", 'above = "many"'), "Expected `float | null`"),
        (("above = 50", "above = nan"), "a number"),
        (("above = 50", "above = inf"), "a number"),
        (("for_s = 5", "for_s = -1"), ">= 0"),
        (("for_s = 5", "for_s = 99999"), "<= 3600"),
        (("for_s = 5", "fore_s = 5"), "unknown field `fore_s`"),
        (("for_s = 5", 'severity = "bad"'), "severity"),
        (("said:danmaku/s", "said:danmako/s"), "danmako is none"),
        (("said:danmaku/s", "said:gift.sent/s"), "an ephemeral event"),
        (("said:danmaku/s", "event:danmaku/s"), "a durable event"),
        (("said:danmaku/s", "event:gift.snet/s"), "gift.snet is none"),
        (("said:danmaku/s", "sum:gift.sent.valeu/s"), "a field of gift.sent"),
        (("said:danmaku/s", "sum:gift.sent/s"), "gift is none"),
        (("said:danmaku/s", "online.nwo"), "a field of online (now, peak, viewers)"),
        (("said:danmaku/s", "online"), "STATE.FIELD"),
        (("said:danmaku/s", "onlin.now"), "a state that there is"),
        (("said:danmaku/s", "stock:.available"), "a state that there is"),
        (("said:danmaku/s", "figure:counter.paid"), "counter is none"),
        (("said:danmaku/s", "figure:counters"), "figure:PLUGIN.NAME"),
        (('op = "room.mode"', 'op = "room.mood"'), "room.mood"),
        (('op = "room.mode"', 'op = "alert.ack"'), "not about alerts"),
        (('op = "room.mode"', 'op = "wallet.credit"'), "a host may send"),
        (('talk = "hosts"', 'talk = "nobody"'), "Invalid enum value"),
        (('talk = "hosts"', 'tlak = "hosts"'), "room.mode has no field 'tlak'"),
        (("[[rule]]", "[[rules]]"), "tables [[rule]], came 'rules'"),
        (("[[rule]]", "[rule]"), "tables [[rule]]"),
        (("above = 50", "above = "), "a TOML file"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(change: tuple[str, str], expected: str) -> None:
    """The sentence names the rule, what was expected and what came."""
    assert change[0] in FLOOD
    with pytest.raises(ConfigError) as refused:
        read(FLOOD.replace(*change))

    assert expected in str(refused.value)
    assert "rules.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (FLOOD.encode() * 2, "one rule of a name"),
        (b"\xff", "a TOML file"),
        (b"rule = [1]", "a kind"),
        (b"rule = 1", "tables [[rule]]"),
        (b"#" * 300_000, "at most 262144 bytes"),
        (b"[[rule]]\n" * (MAX_RULES + 1), f"at most {MAX_RULES} rules"),
    ],
)
def test_rules_file_as_a_whole_is_judged(data: bytes, expected: str) -> None:
    """Too many, too large, two of a name, not TOML at all."""
    with pytest.raises(ConfigError) as refused:
        read_rules(data, "rules.toml", KNOWN)

    assert expected in str(refused.value)


def test_rules_may_be_none() -> None:
    """An empty file is one without rules."""
    assert read("") == []
