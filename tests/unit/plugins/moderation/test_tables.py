"""What a single character becomes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from liveroom_plugins.moderation.tables import (
    CharTable,
    digits_of,
    fold,
    folded_han,
    is_steady,
    leet,
    solid,
)


RULES = (fold, solid, folded_han, leet, digits_of)


def each(rule: object, text: str) -> str:
    """Apply a rule to every character."""
    assert callable(rule)
    return "".join(rule(char) for char in text)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＦｕＣＫ", "fuck"),
        ("𝐕𝐗 𝓥 ⓥ", "vx v v"),
        ("領臺灣號", "领台湾号"),
        ("fúčḱ", "fuck"),
        ("хаСК ΝΟ νο", "xack no vo"),
        ("🅰🇻", "av"),
        ("微\u200b信\ufe0f\u202e\u2066", "微信"),
        ("①⒉٣❹５", "12345"),
        ("が각ß", "が각ss"),
    ],
)
def test_tables_fold_undoes_dress(text: str, folded: str) -> None:
    """Width, style, case, marks, traditional, other scripts, invisible, digits."""
    assert each(fold, text) == folded


def test_tables_solid_drops_separators() -> None:
    """Spaces, punctuation and symbols go; letters, digits and characters stay."""
    assert each(solid, "微 .信-_*/（）🌹ab\u30001") == "微信ab1"


def test_tables_han_keeps_characters_only() -> None:
    """All but Chinese characters goes."""
    assert each(folded_han, "加a微1ж信カ") == "加微信力"


def test_tables_leet_reads_signs_as_letters() -> None:
    """Digits and signs become the letters that they resemble."""
    assert each(leet, "$h1t @ss ｂ00ｂ") == "shitassboob"


@pytest.mark.parametrize(
    "text", ["138", "１３８", "①③⑧", "一三八", "壹叁捌", "壹叄捌", "幺三八", "❶❸❽", "𝟏𝟑𝟖", "¹³⁸"]
)
def test_tables_digits_of_any_style(text: str) -> None:
    """However it is written, a digit is a digit."""
    assert each(digits_of, text) == "138"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@settings(deadline=None)  # tables are loaded on first use
@given(char=st.characters(codec="utf-8"))
def test_tables_rules_are_closed(rule: object, char: str) -> None:
    """What a rule returns, it returns unchanged when it is asked again."""
    once = each(rule, char)

    assert each(rule, once) == once


def test_tables_char_table_forgets_when_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of rare characters costs no memory without end."""
    monkeypatch.setattr("liveroom_plugins.moderation.tables._MOST_KEPT", 3)
    table = CharTable(str.upper)

    assert "abcdefg".translate(table) == "ABCDEFG"
    assert len(table) <= 3


def test_tables_folding_leaves_steady_characters_alone() -> None:
    """All of them; others may fold to themselves too, and be separators."""
    steady = [char for char in map(chr, range(0x3400, 0xA000)) if is_steady(char)]

    assert len(steady) > 20_000
    assert [char for char in steady if not char == fold(char) == solid(char)] == []
    assert not any(map(is_steady, "領䷀あa1，"))
