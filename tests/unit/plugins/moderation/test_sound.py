"""Syllables."""

from __future__ import annotations

import pytest

from liveroom_plugins.moderation.sound import BARRIER, sounding, spelled, syllable_of


def sounds(text: str) -> str:
    """Return the syllables of some characters."""
    return "".join(map(syllable_of, text))


@pytest.mark.parametrize(
    ("token", "chars"),
    [("weixin", "微信"), ("xian", "先"), ("xi", "西"), ("lvse", "绿色"), ("nihaoma", "你好吗")],
)
def test_sound_spelled_pinyin_equals_its_characters(token: str, chars: str) -> None:
    """What is spelled and what is written sound alike."""
    assert spelled(token) == sounds(chars)


@pytest.mark.parametrize("token", ["world", "xq", "brb", "v", "a" * 40])
def test_sound_what_is_no_pinyin_is_a_barrier(token: str) -> None:
    """English does not sound like Chinese."""
    assert spelled(token) == BARRIER


def test_sound_homophones_are_equal() -> None:
    """Characters of one sound have one code, whatever their tone."""
    assert sounds("微信薇芯") == sounds("威心维新")


def test_sound_rare_characters_have_none() -> None:
    """A character without a reading is a barrier."""
    assert syllable_of("\U00020000") == BARRIER


def test_sound_keeps_letters_and_gaps_for_spelling() -> None:
    """Letters stay, separators become a space, digits go, other scripts are a barrier."""
    assert [sounding(char) for char in "力Ｗ·1ж"] == [syllable_of("力"), "w", " ", "", BARRIER]
