"""Views of a text: the same words under one form each, with a way back to the original.

A view is a chain of stages. `View.text` is what every message passes through; `View.trace` gives the
same with offsets, for the few that have a hit. A lexicon passes through the views of its texts.

| view | made for |
|---|---|
| `tight` | width, case, marks, traditional, look-alikes, zero-width, separators, stretched runs |
| `han` | letters and digits put between Chinese characters |
| `sound` | pinyin and homophones |
| `pieces`, `pieces_sound` | 亻言 for 信, an emoji for a word |
| `leet` | digits and signs for letters |
| `digits` | numbers in every style, for the patterns of contact data |
| `plain` | folded only, for all other patterns |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby

from . import tables
from .parts import PICTURES, PIECES
from .sound import sounding
from .stages import Collapse, JoinLetters, Replace, Spell, Stage, Track, Translate
from .tables import CharTable


__all__ = [
    "DIGIT",
    "FEWEST_DIGITS",
    "REMEMBERED",
    "VIEWS",
    "View",
    "fingerprint",
    "look",
]

REMEMBERED = 512
"""Texts of which what was made of them is kept, the latest: live rooms repeat themselves."""


class View:
    """A chain of stages under a name.

    Args:
        name: as in the table above.
        stages: what is done, in order.
        concerns: whether a text has what this view is made for; without it `tight` says the same.
    """

    def __init__(
        self, name: str, stages: Sequence[Stage], concerns: Callable[[str], object] = bool
    ) -> None:
        self.name = name
        self.concerns = concerns
        self._stages = tuple(stages)
        self._applies = tuple(stage.apply for stage in stages)

    def text(self, original: str) -> str:
        """Return the view of a text."""
        for apply in self._applies:
            original = apply(original)
        return original

    def has_runs(self, original: str) -> bool:
        """Whether runs are drawn together in this text."""
        for stage in self._stages:
            text, original = original, stage.apply(original)
            if isinstance(stage, Collapse) and len(original) < len(text):
                return True
        return False

    def trace(self, original: str) -> Track:
        """Return the view of a text with offsets into it."""
        track = Track.of(original)
        for stage in self._stages:
            track = stage.trace(track)
        return track


_TIGHT = (Translate(tables.SOLID), Collapse())
_SOUND = (Translate(CharTable(sounding)), JoinLetters(), Spell())


def _solid_or_picture(char: str) -> str:
    return char if char in PICTURES else tables.solid(char)


_BARE = (Translate(CharTable(_solid_or_picture)), Collapse())


def _bare(text: str) -> str:
    return _BARE[1].apply(_BARE[0].apply(text))


_PARTS = {_bare(part): whole for part, whole in (PIECES | PICTURES).items()}
_PART = "|".join(map(re.escape, sorted(_PARTS, key=len, reverse=True)))
_FIRST_OF_PART = frozenset(part[0] for part in _PARTS)
_MERGED = (*_BARE, Replace(_PART, _PARTS.__getitem__))

DIGIT = (
    r"[\d①-⑨⑴-⑼⒈-⒐⓪⓵-⓽⓿❶-❾➀-➈➊-➒㊀-㊈㈠-㈨〇零一二三四五六七八九壹贰貳叁叄參肆伍陆陸柒捌玖幺弌弍弎"
)
DIGIT += "²³¹⁰⁴-⁹₀-₉⼀⼆⼋⼳㆒-㆕㋥零六陸🄀-🄊]"
"""Matches what the view `digits` turns into one digit."""
FEWEST_DIGITS = 5
"""Digits that a text must have to be of interest to the view `digits`."""
_digits_in = re.compile(DIGIT).findall


def _has_parts(text: str) -> object:
    return not _FIRST_OF_PART.isdisjoint(text) and _find_part(_bare(text))


def _has_digits(text: str) -> bool:
    return len(text) >= FEWEST_DIGITS <= len(_digits_in(text))


def _is_mixed(text: str) -> object:
    return not text.isascii() and _find_inserted(text)


_find_part = re.compile(_PART).search
_find_inserted = re.compile(
    r"[㐀-鿿][^㐀-鿿]{0,9}?[^\W_㐀-鿿][^㐀-鿿]{0,9}?[㐀-鿿]"  # a letter or digit in between
).search
_find_leet = re.compile(r"[0-9@$!|](?:[A-Za-z]|(?<=[A-Za-z].))").search

VIEWS = {
    view.name: view
    for view in (
        View("tight", _TIGHT),
        View("han", (Translate(CharTable(tables.folded_han)), Collapse()), _is_mixed),
        View("sound", _SOUND),
        View("pieces", (*_MERGED, *_TIGHT), _has_parts),
        View("pieces_sound", (*_MERGED, *_SOUND), _has_parts),
        View("leet", (Translate(CharTable(tables.leet)), Collapse()), _find_leet),
        View(
            "digits",
            (Translate(CharTable(tables.digits_of)), Replace("--+", lambda _: "-")),
            _has_digits,
        ),
        View("plain", (Translate(tables.FOLDED),)),
    )
}
"""Every view by its name."""


_TIGHT_VIEW, _SOUND_VIEW, _PLAIN_VIEW = _BASICS = tuple(
    view for view in VIEWS.values() if view.concerns is bool
)
"""The views that every text has."""


def _by_concern() -> list[tuple[Callable[[str], object], list[View]]]:
    """Return all other views, those of one condition together."""
    views: dict[Callable[[str], object], list[View]] = {}
    for view in VIEWS.values():
        if view not in _BASICS:
            views.setdefault(view.concerns, []).append(view)
    return list(views.items())


_OTHERS = _by_concern()


def _one_of(chars: Iterable[str]) -> str:
    """Return a set of a regular expression, neighbours as ranges: it compiles four times as fast."""
    codes = sorted(map(ord, chars))
    runs = groupby(enumerate(codes), lambda at_code: at_code[1] - at_code[0])
    ends = [[code for _, code in run] for _, run in runs]
    return "[" + "".join(rf"\U{run[0]:08x}-\U{run[-1]:08x}" for run in ends) + "]"


_MARKS = "，。！？、：；～…“”‘’（）《》·,.?;:'\"~()* -"
_HAN = [char for char in map(chr, range(0x3400, 0xA000)) if char not in _FIRST_OF_PART]
_NUMERALS = _one_of([*"0123456789", *filter(re.compile(DIGIT).match, _HAN)])
_is_ordinary = re.compile(
    rf"(?!(?:[^{_NUMERALS[1:]}*+{_NUMERALS}){{{FEWEST_DIGITS}}})(?:"
    rf"([0-9]*+{_one_of(filter(tables.is_steady, _HAN))}*+[0-9]*+)"
    rf"|[0-9]*+{_one_of([*_HAN, *_MARKS])}*+[0-9]*+"
    rf"|[A-Za-z{re.escape(_MARKS)}]+)"
).fullmatch
"""Whether only the basic views concern a text; the group: it is folded as it stands, without marks.

Chinese with few digits, none of them in the middle; or letters without any.
"""


@lru_cache(REMEMBERED)
def look(text: str) -> Mapping[View, str]:
    """Return a text in the views that concern it; all who judge a text share this."""
    ordinary = _is_ordinary(text)
    if ordinary and ordinary.lastindex:  # most are; this is three times as fast
        sound = _SOUND[0].apply(text)
        return {_TIGHT_VIEW: _TIGHT[1].apply(text), _SOUND_VIEW: sound, _PLAIN_VIEW: text}
    seen = {view: view.text(text) for view in _BASICS}
    if not ordinary:
        for concerns, views in _OTHERS:
            if concerns(text):
                seen |= {view: view.text(text) for view in views}
    return seen


def fingerprint(text: str) -> str:
    """Return what two texts have in common that differ in show only; never empty for a text."""
    return look(text)[_TIGHT_VIEW] or Collapse().apply(text.strip())
