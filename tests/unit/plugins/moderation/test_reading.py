"""Judging a place in a view by what stands in the original."""

from __future__ import annotations

import pytest

from liveroom_plugins.moderation.lexicon import Form
from liveroom_plugins.moderation.normalise import VIEWS
from liveroom_plugins.moderation.reading import Spot, is_form, is_leet


def spot(text: str, seen: str, view: str = "tight") -> Spot:
    """Return the place of some characters in a view."""
    track = VIEWS[view].trace(text)
    start = track.text.index(seen)
    return Spot(text, track, start, start + len(seen))


def test_reading_neighbours_are_the_visible_ones() -> None:
    """Invisible characters do not part words; the ends of a text do."""
    place = spot("Ａ\u200bfuck\u200bＢ", "fuck")

    assert (place.before, place.after) == ("a", "b")
    assert (spot("fuck", "fuck").before, spot("fuck", "fuck").after) == (" ", " ")


def test_reading_left_out_is_what_is_visible() -> None:
    """Between each two characters; what cannot be seen is nothing."""
    assert spot("加\u200b微. 信", "加微信").left_out() == ["", ". "]


@pytest.mark.parametrize(
    ("text", "stands"),
    [("fuck", True), ("xfuck", False), ("fuckx", False), ("信fuck信", True), ("fuck1", True)],
)
def test_reading_latin_words_stand_alone(text: str, stands: bool) -> None:
    """Between letters they are another word."""
    assert is_form(spot(text, "fuck"), Form("fuck", (), han=False)) is stands


def test_reading_part_counts_within_a_word_but_not_across_words() -> None:
    """What is spread over two words is no part of one."""
    form = Form("fuck", (), han=False)

    assert is_form(spot("xfuckx", "fuck"), form, part=True)
    assert not is_form(spot("of uckers", "fuck"), form, part=True)


@pytest.mark.parametrize(
    ("text", "stands"), [("as", False), ("ass", True), ("aas", False), ("asssss", True)]
)
def test_reading_doubled_letters_are_doubled_in_the_text(text: str, stands: bool) -> None:
    """A run must be at least as long as in the lexicon."""
    assert is_form(spot(text, "as"), Form("as", (1, 2), han=False)) is stands


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("sh1t", True),
        ("$h!t", True),
        ("5h17", False),
        ("xsh1t", False),
        ("sh1t2", False),
        ("s h1t", False),
    ],
)
def test_reading_leet_is_one_word(text: str, stands: bool) -> None:
    """As many letters as signs, and nothing before or after."""
    assert is_leet(spot(text, "shit", "leet"), Form("shit", (), han=False)) is stands


def test_reading_model_numbers_are_not_leet() -> None:
    """A55 has more digits than letters."""
    assert not is_leet(spot("A55", "as", "leet"), Form("as", (1, 2), han=False))
