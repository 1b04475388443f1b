"""Masks."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from liveroom_plugins.moderation.masking import MASK, is_boundary, mask, widened


FAMILY = "👨‍👩‍👧‍👦"
PARTS = [
    "a",
    "信",
    "e\u0301",
    FAMILY,
    "👍🏽",
    "🇨🇳",
    "🇺",
    "각",
    "\u1100\u1161\u11a8",
    "\r\n",
    "1️⃣",
    "\u0300",
    "\u200d",
    "ก็",
    "\n",
]
TEXTS = st.lists(st.sampled_from(PARTS) | st.characters(codec="utf-8"), max_size=14).map("".join)
SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=4)


def graphemes(text: str) -> int:
    """Return how many characters a reader sees."""
    return sum(is_boundary(text, at) for at in range(1, len(text) + 1))


@pytest.mark.parametrize(
    "text", ["e\u0301", FAMILY, "👍🏽", "🇨🇳", "\u1100\u1161\u11a8", "\r\n", "1️⃣", "ก็"]
)
def test_masking_sees_one_character_where_a_reader_does(text: str) -> None:
    """Marks, joined pictures, flags, Hangul: one each."""
    assert graphemes(text) == 1


@pytest.mark.parametrize(
    ("text", "n"),
    [("ab", 2), ("🇨🇳🇺🇸", 2), ("🇨🇳🇺", 2), ("각가", 2), ("a\u200db", 2), ("\n\u0301", 2)],
)
def test_masking_sees_several_where_a_reader_does(text: str, n: int) -> None:
    """What is not joined is counted each."""
    assert graphemes(text) == n


def test_masking_replaces_spans_in_the_original() -> None:
    """The rest of the text stays, byte for byte."""
    assert mask("你个 傻\u200b逼 啊", [(3, 6)]) == "你个 *** 啊"


def test_masking_spans_that_overlap_become_one() -> None:
    """Two findings in one place are one mask; neighbours are two."""
    assert mask("abcdef", [(2, 4), (1, 3)]) == "a***ef"
    assert mask("abcdef", [(0, 2), (2, 4)]) == "******ef"


def test_masking_never_cuts_a_character() -> None:
    """A span that ends within a reader's character takes all of it."""
    text = f"x{FAMILY}y"

    assert mask(text, [(2, 3)]) == "x***y"


@given(text=TEXTS, spans=SPANS)
def test_masking_changes_nothing_outside_its_spans(text: str, spans: list[tuple[int, int]]) -> None:
    """As many characters are seen outside the masks as before."""
    inside = [(low, min(low + n, len(text))) for low, n in spans if low < len(text)]
    covered = {at for span in inside for at in range(*widened(text, *span))}
    outside = sum(is_boundary(text, at + 1) for at in range(len(text)) if at not in covered)
    masked = mask(text, inside)

    masks = masked.count(MASK[0]) - sum(
        text[at] == MASK[0] for at in range(len(text)) if at not in covered
    )
    assert masks % len(MASK) == 0
    assert graphemes(masked) == outside + masks


@given(text=TEXTS)
def test_masking_without_spans_is_the_text(text: str) -> None:
    """Nothing to mask, nothing changed."""
    assert mask(text, []) == text
