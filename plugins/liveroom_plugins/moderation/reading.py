"""Whether characters found in a view are the word that they look like (pure).

A view throws away what an evader puts in, and with it what tells words apart. Here it is looked up in
the original: the ends of Latin words, what was left out in between, how often a letter is repeated.
"""

from __future__ import annotations

from typing import NamedTuple

from .lexicon import Form, Word
from .stages import Track
from .tables import FOLDED, LEET, is_latin


__all__ = ["Spot", "is_excuse", "is_form", "is_leet", "is_sound", "sounds_like"]

MAX_LEFT_OUT = 6
"""Visible characters that may stand between two characters of a word …"""
MAX_LEFT_OUT_OF_TWO = 4
"""… and of one that has two only."""
_CLAUSE_ENDS = frozenset(",.!?;:，。！？；：、\n")
_SHORT = 2


class Spot(NamedTuple):
    """Some characters of a view of a text."""

    text: str
    track: Track
    start: int
    end: int

    @property
    def span(self) -> tuple[int, int]:
        """Where they come from in the text."""
        return self.track.starts[self.start], self.track.ends[self.end - 1]

    @property
    def before(self) -> str:
        """The visible character before it in the text, folded; a space where there is none."""
        for at in range(self.span[0] - 1, -1, -1):
            if folded := FOLDED[ord(self.text[at])]:
                return folded[-1]
        return " "

    @property
    def after(self) -> str:
        """The visible character after it."""
        for at in range(self.span[1], len(self.text)):
            if folded := FOLDED[ord(self.text[at])]:
                return folded[0]
        return " "

    def left_out(self) -> list[str]:
        """What is visible in the text between each two characters of the view."""
        ends = self.track.ends[self.start : self.end - 1]
        starts = self.track.starts[self.start + 1 : self.end]
        pairs = zip(ends, starts, strict=True)
        return [
            self.text[end:start].translate(FOLDED) if end < start else "" for end, start in pairs
        ]


def is_form(spot: Spot, form: Form, *, part: bool = False) -> bool:
    """Whether a phrase stands here; a `part` may stand in a longer word."""
    gaps = spot.left_out()
    if len(max(gaps, key=len, default="")) > _most_left_out(form) or not _is_run_out(spot, form):
        return False
    if form.han:
        return len(form.text) > _SHORT or _is_one_clause(spot, gaps)
    if part and not any(gaps):
        return True
    return not _is_cut(spot, form.text)


def is_excuse(spot: Spot, form: Form) -> bool:
    """Whether an allowed phrase stands here as it is: stretched, it excuses nothing."""
    runs = spot.track.runs[spot.start : spot.end]
    return max(runs) == max(form.runs, default=1) and is_form(spot, form)


def is_leet(spot: Spot, form: Form) -> bool:
    """Whether this is a Latin word with some letters written as digits or signs."""
    low, high = spot.span
    written = spot.text[low:high].translate(FOLDED)
    letters = sum(map(is_latin, written))
    return (
        _SHORT <= letters < len(written) <= 2 * letters
        and all(is_latin(char) or char in LEET for char in written)
        and _is_run_out(spot, form)
        and not spot.before.isalnum()
        and not spot.after.isalnum()
    )


def _is_run_out(spot: Spot, form: Form) -> bool:
    """Whether what is doubled in the phrase is doubled here."""
    if not form.runs:
        return True
    runs = spot.track.runs[spot.start : spot.end]
    return all(have >= need for have, need in zip(runs, form.runs, strict=False))


def _most_left_out(form: Form) -> int:
    return MAX_LEFT_OUT if len(form.text) > _SHORT else MAX_LEFT_OUT_OF_TWO


def is_sound(spot: Spot, word: Word) -> bool:
    """Whether these syllables are the word spelled, or written with characters of its sound."""
    if any(len(gap) > _SHORT for gap in spot.left_out()):
        return False
    starts = spot.track.starts[spot.start : spot.end]
    return sounds_like("".join([FOLDED[ord(spot.text[start])][:1] for start in starts]), word)


def sounds_like(written: str, word: Word) -> bool:
    """Whether characters (a letter for a spelled one) of the word's sound are meant as the word."""
    spelled = sum(map(is_latin, written))
    same = sum(char == own for char, own in zip(written, word.chars, strict=True))
    if same == len(written):
        return False  # the word itself, which the other views judge
    if word.alone or spelled + same == len(written):
        return True
    return len(written) > 3 or (len(written) == 3 and spelled + same > 0)


def _is_one_clause(spot: Spot, gaps: list[str]) -> bool:
    """Two characters over the end of a clause are a word only where one side stands free."""
    if not any(map(_CLAUSE_ENDS.intersection, gaps)):
        return True
    return not (spot.before.isalnum() and spot.after.isalnum())


def _is_cut(spot: Spot, form: str) -> bool:
    """Whether a Latin end of the phrase is in the middle of a word."""
    if is_latin(form[0]) and _goes_on(spot.before, form):
        return True
    return is_latin(form[-1]) and _goes_on(spot.after, form)


def _goes_on(neighbour: str, form: str) -> bool:
    return is_latin(neighbour) or (len(form) <= _SHORT and neighbour.isdigit())
