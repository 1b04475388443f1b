"""Finding what packs hold in a text, whatever it is dressed up as.

One automaton looks for all words in each view that concerns the text; only for what it finds are
offsets made and the finding judged (`reading`). What an allowed phrase explains is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from ahocorasick_rs import AhoCorasick, MatchKind

from .hits import Excuse, Hit, settle
from .lexicon import Levels, Pack, Pattern, Phrase, Word
from .normalise import VIEWS, View
from .patterns import find_bounded
from .reading import Spot, is_excuse, is_form, is_leet, is_sound, sounds_like
from .stages import Track
from .tables import SOLID, is_han


__all__ = ["Matcher"]

_EVERYTHING = Levels()
_LOOKS = tuple(VIEWS[name] for name in ("tight", "han", "pieces", "leet"))
_SOUNDS = tuple(VIEWS[name] for name in ("sound", "pieces_sound"))
_T = TypeVar("_T")


class _Found(Generic[_T]):
    """What an automaton has found in a view of a text; offsets are made when first asked for."""

    def __init__(
        self, view: View, text: str, places: Sequence[tuple[_T, int, int]], length: int = 0
    ) -> None:
        self.view = view
        self.text = text
        self.places = places
        self.length = length  # of the view
        self._track: Track | None = None
        self._has_runs: bool | None = None

    def spot(self, start: int, end: int) -> Spot:
        """Return a place with its way back to the text."""
        if self._track is None:
            self._track = self.view.trace(self.text)
        return Spot(self.text, self._track, start, end)

    def has_runs(self) -> bool:
        """Whether the view has drawn anything together."""
        if self._has_runs is None:
            self._has_runs = self.view.has_runs(self.text)
        return self._has_runs


class _Index(Generic[_T]):
    """An automaton, and what stands under each of its strings."""

    def __init__(self, entries: Iterable[tuple[str, _T]]) -> None:
        under: dict[str, list[_T]] = {}
        for string, entry in entries:
            under.setdefault(string, []).append(entry)
        self._entries = list(under.values())
        automaton = AhoCorasick(list(under), matchkind=MatchKind.Standard, store_patterns=False)
        self._find = automaton.find_matches_as_indexes

    def find(self, view: View, text: str, seen: str) -> list[_Found[_T]]:
        """Return what may stand in a text, given its view; nothing or one."""
        places = self._find(seen, overlapping=True)
        if not places:
            return []
        entries = self._entries
        found = [(entry, low, high) for n, low, high in places for entry in entries[n]]
        return [_Found(view, text, found, len(seen))]


class _Patterns:
    """The patterns of one view."""

    def __init__(self, view: View, entries: Iterable[tuple[Pattern, Pack]]) -> None:
        self._view = view
        self._entries = [entry for entry in entries if entry[0].view == view.name]
        needs = {need for pattern, _ in self._entries for need in pattern.needs or ("",)}
        self._may_match = re.compile("|".join(map(re.escape, sorted(needs)))).search

    def find(self, text: str) -> list[Hit]:
        """Return the matches in a text; most texts lack what every pattern needs."""
        if not self._entries or not self._view.concerns(text):
            return []
        seen = self._view.text(text)
        return list(self._matches(seen, text)) if self._may_match(seen) else []

    def _matches(self, seen: str, text: str) -> Iterator[Hit]:
        found: _Found[None] = _Found(self._view, text, ())
        for pattern, pack in self._entries:
            if _has_any(seen, pattern.needs):
                for match in find_bounded(pattern.pattern, seen):
                    yield Hit.of(pattern, pack, found.spot(*match.span()).span, self._view.name)


def _has_any(text: str, needs: Sequence[str]) -> bool:
    for need in needs:  # twice as fast as any()
        if need in text:
            return True
    return not needs


class Matcher:
    """Packs put together; immutable, so that a reload is the change of one reference.

    Args:
        packs: what to look for.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        self.versions = {pack.name: pack.version for pack in packs}
        words = [(word, pack) for pack in packs for word in pack.words]
        phrases = [(phrase, pack) for pack in packs for phrase in pack.allowed]
        looks: list[tuple[Word | Phrase, Pack]] = [*words, *phrases]
        patterns = [(pattern, pack) for pack in packs for pattern in pack.patterns]
        used = {word.category for word, _ in words} | {pattern.category for pattern, _ in patterns}
        self.categories = frozenset(used)
        self._looks = _Index((entry[0].form.text, entry) for entry in looks)
        heard = [(entry[0].syllables, entry) for entry in words if entry[0].syllables]
        self._sounds = _Index(entry for entry in heard if not _must_be_spelled(entry[1][0]))
        self._spelled = _Index(entry for entry in heard if _must_be_spelled(entry[1][0]))
        self._patterns = [_Patterns(VIEWS[name], patterns) for name in ("plain", "digits")]

    def find(self, text: str, levels: Levels = _EVERYTHING) -> list[Hit]:
        """Return what a text holds, in the order of the text; one hit per rule and place."""
        looks = [
            found
            for view in _LOOKS
            if view.concerns(text)
            for found in self._looks.find(view, text, view.text(text))
        ]
        sounds = [f for view in _SOUNDS if view.concerns(text) for f in self._listen(view, text)]
        hits = [hit for found in looks for hit in _looked(found)] if looks else []
        if sounds:
            hits += [hit for found in sounds for hit in _heard(found)]
        for patterns in self._patterns:
            hits += patterns.find(text)
        if not hits:
            return hits
        return settle(hits, [excuse for found in looks for excuse in _excuses(found)], levels)

    def _listen(self, view: View, text: str) -> list[_Found[tuple[Word, Pack]]]:
        seen = view.text(text)
        found = self._sounds.find(view, text, seen)
        if text.upper() != text.lower():  # it has letters
            found += self._spelled.find(view, text, seen)
        return found


def _must_be_spelled(word: Word) -> bool:
    """Whether homophones of a word are too common to count: two syllables."""
    return len(word.syllables) < 3 and not word.alone


def _looked(found: _Found[tuple[Word | Phrase, Pack]]) -> Iterator[Hit]:
    for (word, pack), start, end in found.places:
        if isinstance(word, Word) and (not word.form.runs or found.has_runs()):
            spot = found.spot(start, end)
            if _is_there(found.view, spot, word):
                yield Hit.of(word, pack, spot.span, found.view.name)


def _is_there(view: View, spot: Spot, word: Word) -> bool:
    if view.name == "leet":
        return is_leet(spot, word.form)
    return is_form(spot, word.form, part=word.part)


def _heard(found: _Found[tuple[Word, Pack]]) -> Iterator[Hit]:
    solid = found.text.translate(SOLID)
    is_aligned = len(solid) == found.length and all(map(is_han, solid))  # a sound for each
    for (word, pack), start, end in found.places:
        if is_aligned and not sounds_like(solid[start:end], word):
            continue  # seen without offsets
        spot = found.spot(start, end)
        if is_sound(spot, word):
            yield Hit.of(word, pack, spot.span, found.view.name)


def _excuses(found: _Found[tuple[Word | Phrase, Pack]]) -> Iterator[Excuse]:
    for (phrase, pack), start, end in found.places:
        if isinstance(phrase, Phrase) and is_excuse(spot := found.spot(start, end), phrase.form):
            yield Excuse(pack.name, phrase.rule, *spot.span)
