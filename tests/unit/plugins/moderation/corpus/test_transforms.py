"""The ten tricks."""

from __future__ import annotations

from random import Random

import pytest

from liveroom_plugins.moderation.corpus.transforms import TRANSFORMS
from liveroom_plugins.moderation.lexicon import Word, load_shipped


WORDS = {word.text: word for word in load_shipped("contact")[0].words}


def variants(number: int, word: Word, n: int = 20) -> set[str | None]:
    """Return what a transform makes of a word under some seeds."""
    return {TRANSFORMS[number - 1].of_word(word, Random(seed)) for seed in range(n)}


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "加vx"), (2, "微信联系我"), (6, "加vx"), *((n, "加微信") for n in (3, 4, 5, 7, 8, 9))],
)
def test_transforms_change_what_they_apply_to(number: int, text: str) -> None:
    """A dressed word is not the word."""
    made = variants(number, WORDS[text], 200)

    assert len(made - {None, text}) >= 1
    assert text not in made


def test_transforms_do_not_apply_everywhere() -> None:
    """Letters cannot be traditional, characters not Cyrillic, words not numbers."""
    assert variants(2, WORDS["加vx"]) == {None}
    assert variants(6, WORDS["加微信"]) == {None}
    assert variants(7, WORDS["加vx"]) == {None}
    assert variants(10, WORDS["加微信"]) == {None}


def test_transforms_are_seeded() -> None:
    """The same seed makes the same corpus."""
    for transform in TRANSFORMS:
        word = WORDS["加微信"]
        assert transform.of_word(word, Random(7)) == transform.of_word(word, Random(7))
