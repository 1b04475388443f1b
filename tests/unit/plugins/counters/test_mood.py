"""Words in messages: pleased, displeased, or neither."""

from __future__ import annotations

import pytest

from liveroom_plugins.counters.mood import mood_of


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("hello", ""), ("", ""), ("666", ""), ("最后一件", ""), ("很喜欢!", "g"), ("不喜欢", "b"), ("太贵了", "b"),
        ("质量不错,就是太贵", ""), ("I LOVE it", "g"), ("not good", "b"), ("goodbye", ""), ("a badge", ""),
        ("Great, thanks, but overpriced", "g"),
    ],
)  # fmt: skip
def test_mood_is_that_of_most_words(text: str, mood: str) -> None:
    """A contrary counts as what it means; part of a word is none."""
    assert mood_of(text) == mood
