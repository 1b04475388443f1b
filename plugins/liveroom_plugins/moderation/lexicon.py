"""Packs: what is looked for, read from TOML and checked before anything is done with it.

A pack is immutable and knows its version, a hash of what was read. Loading does all the work that
depends on the words alone, so it may run in a thread while the former pack goes on serving.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import msgspec

from .normalise import VIEWS
from .pack_file import (
    GroupRow,
    PackError,
    PackRow,
    PatternRow,
    WordRow,
    read_bytes,
    read_row,
    read_words,
)
from .patterns import BadPattern, compile_pattern
from .sound import BARRIER
from .tables import SOLID, is_han


__all__ = [
    "SHIPPED",
    "Action",
    "Form",
    "Levels",
    "Pack",
    "PackError",
    "Pattern",
    "Phrase",
    "Word",
    "load_pack",
    "load_shipped",
]

MAX_WORDS = 200_000
MAX_PATTERNS = 64
SHIPPED = Path(__file__).parent / "packs"


class Action(IntEnum):
    """What is done about a hit, the heavier the greater."""

    PASS = 0
    MASK = 1
    HOLD = 2
    SHADOW = 3
    REJECT = 4
    MUTE = 5


class Form(NamedTuple):
    """A phrase in the `tight` view.

    Args:
        text: its characters.
        runs: how often each is repeated at least; empty: once each.
        han: it is of Chinese characters alone.
    """

    text: str
    runs: tuple[int, ...]
    han: bool


class Phrase(NamedTuple):
    """Where one word, or every word of a pack (`rule` empty), means something else."""

    text: str
    form: Form
    rule: str


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a pack, ready to be looked for.

    Args:
        rule: its name in hits, `pack:word`.
        form: how it looks in the `tight` view.
        syllables: how it sounds; empty where that does not count.
        chars: the characters of these syllables.
        alone: its sound counts whatever the characters.
    """

    rule: str
    text: str
    category: str
    level: int
    action: Action
    form: Form
    syllables: str
    chars: str
    part: bool
    alone: bool


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression of a pack."""

    rule: str
    category: str
    level: int
    action: Action
    pattern: re.Pattern[str]
    view: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """Words, patterns and allowed phrases under one name and version."""

    name: str
    version: str
    about: str
    sample: bool
    words: Sequence[Word] = field(repr=False)
    patterns: Sequence[Pattern] = field(repr=False)
    allowed: Sequence[Phrase] = field(repr=False)


class Levels(msgspec.Struct, frozen=True):
    """How strict a room is, by category: 0 nothing is looked for … 4 everything.

    A word of level 1 is the gravest: it counts from the setting 1 on.

    Args:
        overall: for every category that has no setting of its own.
        by_category: settings of their own.
    """

    overall: int = 4
    by_category: Mapping[str, int] = msgspec.field(default_factory=dict)

    def admits(self, category: str, level: int) -> bool:
        """Whether a word of this category and level counts."""
        return level <= self.by_category.get(category, self.overall)


def load_shipped(*names: str) -> list[Pack]:
    """Return packs that come with the plugin."""
    return [load_pack(SHIPPED / f"{name}.toml") for name in names]


def load_pack(path: str | Path) -> Pack:
    """Return a pack that has passed every check.

    Raises:
        PackError: naming the file, the entry, what was expected and what came.
    """
    file = Path(path)
    raw = read_bytes(file)
    row = read_row(file, raw)
    reader = _Reader(file, row, hashlib.sha256(raw))
    words = [word for index, group in enumerate(row.group) for word in reader.group(index, group)]
    if not words and not row.pattern:
        raise PackError(file, "the file", "at least one word or pattern", "none")
    patterns = reader.patterns()
    allowed = [*reader.allowed, *reader.pack_wide()]
    version = reader.digest.hexdigest()[:12]
    return Pack(row.name, version, row.about, row.sample, words, patterns, allowed)


class _Reader:
    """Turns rows into entries and remembers what has been seen."""

    def __init__(self, file: Path, row: PackRow, digest: hashlib._Hash) -> None:
        self.file = file
        self.digest = digest
        self.allowed: list[Phrase] = []
        self._row = row
        self._seen: dict[str, str] = {}
        self._verdicts: dict[tuple[str, tuple[int, ...]], tuple[str, object]] = {}

    def group(self, index: int, group: GroupRow) -> Iterator[Word]:
        """Yield the words of a group."""
        for at, entry in enumerate(group.words):
            row = entry if isinstance(entry, WordRow) else WordRow(text=entry)
            yield from self._word(f"group[{index}].words[{at}]", group, row)
        for at, text in enumerate(self._beside(index, group)):
            yield from self._word(
                f"group[{index}] {group.file} word {at}", group, WordRow(text=text)
            )

    def patterns(self) -> list[Pattern]:
        """Return the patterns of the pack."""
        rows = self._row.pattern
        if len(rows) > MAX_PATTERNS:
            raise PackError(self.file, "pattern", f"at most {MAX_PATTERNS}", len(rows))
        return [self._pattern(f"pattern[{at}]", row) for at, row in enumerate(rows)]

    def pack_wide(self) -> Iterator[Phrase]:
        """Yield the phrases that excuse every word of the pack."""
        for at, text in enumerate(self._row.allow):
            yield Phrase(text, self._form(f"allow[{at}]", text), "")

    def _beside(self, index: int, group: GroupRow) -> list[str]:
        if not group.file:
            return []
        if Path(group.file).name != group.file:
            entry = f"group[{index}].file"
            raise PackError(self.file, entry, "the name of a file beside the pack", group.file)
        raw = read_bytes(file := self.file.parent / group.file)
        self.digest.update(raw)
        return read_words(file, raw)

    def _word(self, entry: str, group: GroupRow, row: WordRow) -> Iterator[Word]:
        self._expect_new(entry, row.text)
        form = self._form(entry, row.text)
        level, action = row.level or group.level, _action(row.action or group.action)
        verdict = (group.category, level, action, row.part, row.sound)
        rule = f"{self._row.name}:{row.text}"
        self.allowed += [Phrase(text, self._form(entry, text), rule) for text in row.allow]
        first, known = self._verdicts.setdefault((form.text, form.runs), (entry, verdict))
        if known != verdict:
            raise PackError(
                self.file, entry, f"the verdict of {first}, which looks alike", row.text
            )
        if first == entry:
            sound = _syllables(form, row)
            chars = _chars(form, row.text) if sound else ""
            head = (rule, row.text, group.category, level, action)
            yield Word(*head, form, sound, chars, row.part, bool(row.sound))

    def _expect_new(self, entry: str, text: str) -> None:
        first = self._seen.setdefault(text, entry)
        if first != entry:
            raise PackError(self.file, entry, f"a word that is not in {first} already", text)
        if len(self._seen) > MAX_WORDS:
            raise PackError(self.file, entry, f"at most {MAX_WORDS} words", "more")

    def _form(self, entry: str, text: str) -> Form:
        form = _form(text)
        if not form.text:
            raise PackError(self.file, entry, "a word with letters, digits or characters", text)
        if len(form.text) < 2 and not form.runs:
            raise PackError(self.file, entry, "a word of two characters or more", text)
        return form

    def _pattern(self, entry: str, row: PatternRow) -> Pattern:
        self._expect_new(f"{entry}.id", row.id)
        try:
            compiled = compile_pattern(row.pattern)
        except BadPattern as error:
            raise PackError(self.file, f"{entry}.pattern", str(error), row.pattern) from error
        rule, needs = f"{self._row.name}:{row.id}", tuple(map(VIEWS[row.view].text, row.needs))
        return Pattern(
            rule, row.category, row.level, _action(row.action), compiled, row.view, needs
        )


def _action(name: str) -> Action:
    return Action[name.upper()]


def _form(text: str) -> Form:
    tight = VIEWS["tight"]
    form = tight.text(text)
    runs = tuple(tight.trace(text).runs) if len(form) != len(text) else ()
    return Form(form, runs if set(runs) - {1} else (), all(map(is_han, form)))


def _chars(form: Form, text: str) -> str:
    chars = text.translate(SOLID)
    return form.text if chars == form.text else chars  # one string for both


def _syllables(form: Form, row: WordRow) -> str:
    if row.sound is False or not form.han:
        return ""
    syllables = VIEWS["sound"].text(row.text)
    return "" if BARRIER in syllables else syllables
