"""Regexes that may be run, and those that may not."""

from __future__ import annotations

import pytest

from liveroom_plugins.moderation.patterns import BadPattern, compile_pattern, find_bounded


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d{11}",
        r"(?<!\d)1[3-9]\d(?:-?\d{4}-?\d{4}|-?\d{3}-?\d{5})(?!\d)",
        r"(?:https?://|www\.)[^\s]{3,80}",
        r"(?>a{1,50})b",
        r"(?:a{1,9}+b){1,9}+c",
        r"(?i:abc)|d{2}|(x)(?=y{1,5})",
    ],
)
def test_patterns_bounded_ones_are_taken(pattern: str) -> None:
    """What has few ways is compiled."""
    assert compile_pattern(pattern).pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("(", "a valid regex"),
        ("[b-a]", "a valid regex"),
        ("a*", "empty text"),
        ("(?=a)", "empty text"),
        ("a+", "at most 128 characters"),
        ("(a+)+b", "at most 128 characters"),
        ("a++b", "at most 128 characters"),
        (r"(?:a{1,5}){1,9}b", "steps"),
        (r"(?:\w{0,9}){1,9}b", "steps"),
        (r"(?=(?:a?){30}b)a", "steps"),
        (r"(?:a?){30}b", "steps"),
        (r"(?:a|a|ab){1,20}c", "steps"),
        (r"(a)\1", "steps"),
    ],
)
def test_patterns_dangerous_ones_are_refused(pattern: str, expected: str) -> None:
    """What could hang is refused before it is run, and the message says what was expected."""
    with pytest.raises(BadPattern, match=expected):
        compile_pattern(pattern)


@pytest.mark.parametrize("pad", [0, 380, 383, 500, 507, 511, 512, 900, 5_000])
def test_patterns_long_texts_are_searched_in_windows(pad: int) -> None:
    """A match is found once wherever it stands, and a window's end is not taken for the text's."""
    pattern = compile_pattern(r"(?<!\d)\d{11}(?!\d)")
    text = "x" * pad + "13812345678" + "y" * 700 + "138123456789"

    assert [match.span() for match in find_bounded(pattern, text)] == [(pad, pad + 11)]


def test_patterns_empty_text_has_no_match() -> None:
    """Nothing is found in nothing."""
    assert list(find_bounded(compile_pattern("a"), "")) == []
