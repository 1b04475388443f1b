"""Runs the matcher over the corpus and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from random import Random
from time import perf_counter
from typing import NamedTuple

from liveroom_plugins.moderation.lexicon import Word, load_shipped
from liveroom_plugins.moderation.matcher import Matcher

from .transforms import TRANSFORMS, Transform


__all__ = [
    "Case",
    "Report",
    "Row",
    "benign_lines",
    "evasive_cases",
    "measure",
    "shipped_matchers",
]

AUDIENCES = {"viewer": ("abuse", "contact"), "host": ("ads_cn", "contact")}
"""Which packs read whose text."""
TRAP = "trap"
"""Marks viewers' lines that are made to trip a word list; they are counted apart."""
_ROUNDS = 3
_CARRIERS = ("{}", "主播，{}，看到没", "我说 {} 哈哈", "大家好 {}", "{} 666")
_NUMBERS = ("电话{}", "我的号码 {} 记一下", "{}", "找我：{}")
_QQ_NUMBERS = ("qq{}", "QQ：{}", "扣扣 {} 在线")
_UNTOUCHED = Transform("none: the words as they stand", lambda word, _: word.text, numbers=True)


class Case(NamedTuple):
    """A dressed-up word in a sentence: to be found between `start` and `end`."""

    text: str
    start: int
    end: int
    word: str


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one transform."""

    name: str
    cases: int
    caught: int
    missed: Sequence[Case]

    @property
    def recall(self) -> float:
        """The share that was caught."""
        return self.caught / self.cases if self.cases else 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """A run over the whole corpus.

    Args:
        rows: by transform, the first for untouched words.
        benign: how many lines nothing may be found in.
        wrong: those in which something was found, with what.
        traps: how many lines hold a word by accident.
        sprung: those in which something was found, with what.
        benign_us: microseconds for each benign line.
        evasive_us: microseconds for each evasive line.
    """

    rows: Sequence[Row]
    benign: int
    wrong: Sequence[tuple[str, str]]
    traps: int
    sprung: Sequence[tuple[str, str]]
    benign_us: Sequence[float]
    evasive_us: Sequence[float]

    @property
    def false_positives(self) -> float:
        """The share of benign lines in which something was found."""
        return len(self.wrong) / self.benign


def shipped_matchers() -> dict[str, Matcher]:
    """Return a matcher for each audience."""
    return {who: Matcher(load_shipped(*packs)) for who, packs in AUDIENCES.items()}


def benign_lines() -> Iterator[tuple[str, str]]:
    """Yield who speaks and what they say."""
    who = "viewer"
    text = (files(__package__) / "benign.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("@") and line[1:] in {*AUDIENCES, TRAP}:
            who = line[1:]
        elif line and not line.startswith("# "):
            yield who, line


def evasive_cases(transform: Transform, who: str, seed: int) -> Iterator[Case]:
    """Yield the cases of a transform against the packs that read this audience's text."""
    random = Random(f"{seed}:{transform.name}:{who}")  # noqa: S311  # a seed must give one corpus
    own = AUDIENCES[who][:1] if who == "host" else AUDIENCES[who]
    for word, carriers in _subjects(own, random, numbers=transform.numbers):
        dressed = transform.of_word(word, random)
        if dressed is not None:
            before, after = random.choice(carriers).split("{}")
            start = len(before)
            yield Case(before + dressed + after, start, start + len(dressed), word.text)


def _subjects(
    packs: Sequence[str], random: Random, *, numbers: bool
) -> Iterator[tuple[Word, Sequence[str]]]:
    """Yield every word of the packs, then numbers, with the sentences that they may stand in."""
    words = [word for pack in load_shipped(*packs) for word in pack.words]
    for word in words:
        yield word, _CARRIERS
    if numbers and "contact" in packs:
        for _ in range(200):
            phone = f"1{random.choice('3456789')}{random.randrange(10**9):09}"
            yield replace(words[0], text=phone, syllables=""), _NUMBERS
            number = str(random.randrange(10**6, 10**10))
            yield replace(words[0], text=number, syllables=""), _QQ_NUMBERS


def measure(seed: int = 1, clock: Callable[[], float] = perf_counter) -> Report:
    """Run everything once for what is found, and a few times more for how long it takes."""
    matchers = shipped_matchers()
    rows, texts = [], []
    for transform in (_UNTOUCHED, *TRANSFORMS):
        cases = [
            (matchers[who], case)
            for who in AUDIENCES
            for case in evasive_cases(transform, who, seed)
        ]
        texts += [(matcher, case.text) for matcher, case in cases]
        rows.append(_row(transform.name, cases))
    benign = [(matchers[who], line) for who, line in benign_lines() if who != TRAP]
    traps = [(matchers["viewer"], line) for who, line in benign_lines() if who == TRAP]
    counted = (len(benign), _wrong(benign), len(traps), _wrong(traps))
    return Report(rows, *counted, _timed(benign, clock), _timed(texts, clock))


def _wrong(lines: Sequence[tuple[Matcher, str]]) -> list[tuple[str, str]]:
    found = [(line, matcher.find(line)) for matcher, line in lines]
    return [(line, ", ".join(hit.rule for hit in hits)) for line, hits in found if hits]


def _row(name: str, cases: Sequence[tuple[Matcher, Case]]) -> Row:
    missed = [case for matcher, case in cases if not _is_caught(matcher, case)]
    return Row(name, len(cases), len(cases) - len(missed), missed)


def _is_caught(matcher: Matcher, case: Case) -> bool:
    return any(hit.start < case.end and case.start < hit.end for hit in matcher.find(case.text))


def _timed(texts: Sequence[tuple[Matcher, str]], clock: Callable[[], float]) -> list[float]:
    """Return microseconds for each text, the best of a few rounds: none is heard twice in a row."""
    best = [float("inf")] * len(texts)
    for _ in range(_ROUNDS):
        for n, (matcher, text) in enumerate(texts):
            start = clock()
            matcher.find(text)
            best[n] = min(best[n], clock() - start)
    return [seconds * 1e6 for seconds in best]
