"""When two answers to a riddle are the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, strategies as st

from liveroom.features.riddle import plain_answer


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        (
            "cat",
            (
                "CAT",
                " c a t ",
                "cat.",
                "Ｃａｔ！",
                "«cat»",
                "c-a-t",
                "\u200bcat\ufeff",
                "c\u00adat",
            ),
        ),
        ("42", ("４２", "４２。", "(42)", "④②")),
        ("Straße", ("STRASSE", "strasse")),
        ("café", ("cafe\u0301", "CAFÉ")),
        ("ｶﾞ", ("ガ",)),
        ("月亮", ("月 亮", "「月亮」", "月亮！？", "月\u3000亮")),
        ("❤\ufe0f", ("❤",)),
        ("ΣΑΣ", ("σας", "Σασ")),
    ],
)
def test_riddle_same_answers(answer: str, same: tuple[str, ...]) -> None:
    """Width, case, composition, spaces and punctuation make no difference."""
    assert {plain_answer(other) for other in same} == {plain_answer(answer)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "cats"),
        ("cafe", "café"),
        ("C", "C++"),
        ("龍", "龙"),
        ("1", "11"),
        ("😀", "😁"),
        ("", "a"),
    ],
)
def test_riddle_other_answers(one: str, other: str) -> None:
    """Accents, symbols, emoji and the forms of a character do."""
    assert plain_answer(one) != plain_answer(other)


@pytest.mark.parametrize("text", ["", " ", "…!?", "\n\u202e\u200b", "。、「」", "---"])
def test_riddle_an_answer_of_marks_alone_is_none(text: str) -> None:
    """Nothing is left of it."""
    assert plain_answer(text) == ""


@given(st.text(max_size=40))
def test_riddle_plain_answers_are_stable(text: str) -> None:
    """A second time changes nothing, and no line end is left, which the script splits at."""
    plain = plain_answer(text)

    assert plain_answer(plain) == plain
    assert not any(unicodedata.category(char)[0] in "PZC" for char in plain)
