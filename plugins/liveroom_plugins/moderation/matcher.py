"""Finding what packs hold in a text, whatever it is dressed up as.

One automaton looks for all words, how they sound, and what patterns need, in all views that concern
the text at once. Only for what it finds are offsets made and the finding judged (`reading`). What an
allowed phrase explains is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ahocorasick_rs import AhoCorasick, MatchKind

from .hits import Excuse, Hit, settle
from .lexicon import Levels, Pack, Pattern, Phrase, Word
from .normalise import VIEWS, View, look
from .patterns import find_bounded
from .reading import Spot, is_excuse, is_form, is_leet, is_sound, sounds_like
from .sound import BARRIER
from .stages import Track
from .tables import SOLID, is_han


__all__ = ["Matcher"]

_EVERYTHING = Levels()
_LOOKS = tuple(VIEWS[name] for name in ("tight", "han", "pieces", "leet"))
_SOUNDS = tuple(VIEWS[name] for name in ("sound", "pieces_sound"))
_DIGITS = VIEWS["digits"]
_Entry = tuple[Word | Phrase, Pack]
_Place = tuple[int, int, int]
"""The number of a string, where it begins, where it ends."""


class _Found:
    """What an automaton has found in a view of a text; offsets are made when first asked for."""

    def __init__(
        self, view: View, text: str, seen: str, places: Sequence[tuple[_Entry, int, int]] = ()
    ) -> None:
        self.view = view
        self.text = text
        self.seen = seen
        self.places = places
        self._track: Track | None = None
        self._has_runs: bool | None = None

    def spot(self, start: int, end: int) -> Spot:
        """Return a place with its way back to the text."""
        if self._track is None:
            same = self.seen == self.text  # and so is each character: tables are closed
            self._track = Track.of(self.text) if same else self.view.trace(self.text)
        return Spot(self.text, self._track, start, end)

    def has_runs(self) -> bool:
        """Whether the view has drawn anything together."""
        if self._has_runs is None:
            self._has_runs = self.view.has_runs(self.text)
        return self._has_runs


class _Index:
    """An automaton, and what stands under each of its strings; `bare` strings have nothing there."""

    def __init__(self, entries: Iterable[tuple[str, _Entry]], bare: Iterable[str]) -> None:
        under: dict[str, list[_Entry]] = {string: [] for string in bare}
        for string, entry in entries:
            under.setdefault(string, []).append(entry)
        self._entries = list(under.values())
        automaton = AhoCorasick(list(under), matchkind=MatchKind.Standard, store_patterns=False)
        self._find = automaton.find_matches_as_indexes

    def places(self, seen: Mapping[View, str]) -> list[_Place]:
        """Return where strings stand in the views of a text, as if these were one text."""
        joined = BARRIER.join(seen.values())
        try:
            return self._find(joined, overlapping=True)
        except UnicodeEncodeError:  # half a character, which only some views throw away
            whole = joined.encode(errors="replace").decode()
            return self._find(whole, overlapping=True)

    def found(
        self, text: str, seen: Mapping[View, str], places: Sequence[_Place]
    ) -> Iterator[_Found]:
        """Yield what these places are, view by view."""
        at, entries = 0, self._entries
        for view, shown in seen.items():
            end = at + len(shown)
            here = [
                (entry, low - at, high - at)
                for n, low, high in places
                if at <= low < end
                for entry in entries[n]
            ]
            if here:
                yield _Found(view, text, shown, here)
            at = end + len(BARRIER)


class _Patterns:
    """The patterns of one view."""

    def __init__(self, view: View, entries: Iterable[tuple[Pattern, Pack]]) -> None:
        self.view = view
        self._entries = [entry for entry in entries if entry[0].view == view.name]
        self.needs = {need for pattern, _ in self._entries for need in pattern.needs or ("",)}
        """One of these is in every text that a pattern matches."""
        self._may_match = re.compile("|".join(map(re.escape, sorted(self.needs)))).search

    def find(self, text: str, seen: str) -> list[Hit]:
        """Return the matches in a text, given its view; most texts lack what every pattern needs."""
        if not self._entries or not self._may_match(seen):
            return []
        return list(self._matches(seen, text))

    def _matches(self, seen: str, text: str) -> Iterator[Hit]:
        found = _Found(self.view, text, seen)
        for pattern, pack in self._entries:
            if _has_any(seen, pattern.needs):
                for match in find_bounded(pattern.pattern, seen):
                    yield Hit.of(pattern, pack, found.spot(*match.span()).span, self.view.name)


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
        words: list[tuple[Word, Pack]] = [(word, pack) for pack in packs for word in pack.words]
        phrases = [(phrase, pack) for pack in packs for phrase in pack.allowed]
        patterns = [(pattern, pack) for pack in packs for pattern in pack.patterns]
        used = {word.category for word, _ in words} | {pattern.category for pattern, _ in patterns}
        self.categories = frozenset(used)
        self._patterns = [_Patterns(VIEWS[name], patterns) for name in ("plain", "digits")]
        needs = self._patterns[0].needs
        self._always = "" in needs
        """Whether there is a pattern that needs nothing: any text may match it."""
        strings: list[tuple[str, _Entry]] = [
            *((word.form.text, (word, pack)) for word, pack in words),
            *((phrase.form.text, (phrase, pack)) for phrase, pack in phrases),
            *((word.syllables, (word, pack)) for word, pack in words if word.syllables),
        ]
        self._words = _Index(strings, needs - {""})

    def find(self, text: str, levels: Levels = _EVERYTHING) -> list[Hit]:
        """Return what a text holds, in the order of the text; one hit per rule and place."""
        seen = look(text)
        places = self._words.places(seen)
        if not places and _DIGITS not in seen and not self._always:
            return []
        found = {one.view: one for one in self._words.found(text, seen, places)}
        looks = [found[view] for view in _LOOKS if view in found]
        hits = [hit for one in looks for hit in _looked(one)]
        hits += [hit for view in _SOUNDS if view in found for hit in _heard(found[view])]
        for patterns in self._patterns:
            if patterns.view in seen:
                hits += patterns.find(text, seen[patterns.view])
        if not hits:
            return hits
        return settle(hits, [excuse for one in looks for excuse in _excuses(one)], levels)


def _must_be_spelled(word: Word) -> bool:
    """Whether homophones of a word are too common to count: two syllables."""
    return len(word.syllables) < 3 and not word.alone


def _looked(found: _Found) -> Iterator[Hit]:
    for (word, pack), start, end in found.places:
        if isinstance(word, Word) and (not word.form.runs or found.has_runs()):
            spot = found.spot(start, end)
            if _is_there(found.view, spot, word):
                yield Hit.of(word, pack, spot.span, found.view.name)


def _is_there(view: View, spot: Spot, word: Word) -> bool:
    if view.name == "leet":
        return is_leet(spot, word.form)
    return is_form(spot, word.form, part=word.part)


def _heard(found: _Found) -> Iterator[Hit]:
    solid = found.text.translate(SOLID)
    has_letters = found.text.upper() != found.text.lower()
    is_aligned = len(solid) == len(found.seen) and all(map(is_han, solid))  # a sound for each
    for (word, pack), start, end in found.places:
        assert isinstance(word, Word), "a phrase has no sound"
        if _must_be_spelled(word) and not has_letters:
            continue
        if is_aligned and not sounds_like(solid[start:end], word):
            continue  # seen without offsets
        spot = found.spot(start, end)
        if is_sound(spot, word):
            yield Hit.of(word, pack, spot.span, found.view.name)


def _excuses(found: _Found) -> Iterator[Excuse]:
    for (phrase, pack), start, end in found.places:
        if isinstance(phrase, Phrase) and is_excuse(spot := found.spot(start, end), phrase.form):
            yield Excuse(pack.name, phrase.rule, *spot.span)
