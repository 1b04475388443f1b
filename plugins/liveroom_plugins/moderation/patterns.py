"""Patterns that cannot hang a worker: a regex of a pack is judged before it is ever run.

Backtracking explores the ways in which a pattern can be laid over a text. How many steps that takes is
bounded here from the pattern's structure, so a pattern that could explode is refused, whatever the
text. Possessive repeats (`x{1,9}+`) and atomic groups (`(?>…)`) have one way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]  # the one parser that agrees with `re`
from typing import Any, NamedTuple


__all__ = ["MAX_MATCH", "MAX_STEPS", "BadPattern", "compile_pattern", "find_bounded"]

MAX_STEPS = 10_000
"""Steps that matching may take at one position of a text; above it a pattern is refused."""
MAX_MATCH = 128
"""Characters that a match may have."""
_WINDOW = 512
"""Characters that a pattern is given at a time; windows overlap by `MAX_MATCH`."""
_PLENTY = 10**9


class BadPattern(ValueError):
    """A regex that is wrong or could take too long."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a compiled pattern.

    Raises:
        BadPattern: with what was expected instead.
    """
    try:
        compiled = re.compile(pattern)
        tree = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadPattern(f"a valid regex ({error})") from error
    low, high = tree.getwidth()
    if low == 0:
        raise BadPattern("a regex that does not match the empty text")
    if high > MAX_MATCH:
        raise BadPattern(
            f"a regex whose matches have at most {MAX_MATCH} characters: bound repeats"
        )
    if (steps := _effort(tree).steps) > MAX_STEPS:
        hint = "make repeats shorter or possessive"
        raise BadPattern(f"a regex of at most {MAX_STEPS} steps at a position, not {steps}: {hint}")
    return compiled


def find_bounded(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Yield the matches in a text, window by window."""
    last = 0
    for at in range(0, max(1, len(text) - MAX_MATCH), _WINDOW - MAX_MATCH):
        end = min(at + _WINDOW, len(text))
        for match in pattern.finditer(text, at, end):
            is_cut = match.end() == end < len(text)  # the next window has all of it
            if match.start() >= last and not is_cut:
                last = match.end()
                yield match


class _Effort(NamedTuple):
    """Bounds for one position: in how many ways something matches, and the steps to try them all."""

    ways: int
    steps: int


_ONE = _Effort(1, 1)
_HOPELESS = _Effort(_PLENTY, _PLENTY)


def _effort(tree: Any) -> _Effort:
    """Return the bounds of a parsed pattern: what follows is tried once for each way so far."""
    ways, steps = 1, 0
    for op, value in tree:
        part = _effort_of(str(op), value)
        steps = min(_PLENTY, steps + ways * part.steps)
        ways = min(_PLENTY, ways * part.ways)
    return _Effort(ways, steps)


def _effort_of(op: str, value: Any) -> _Effort:
    match op:
        case "MAX_REPEAT" | "MIN_REPEAT":
            return _repeated(*value)
        case "POSSESSIVE_REPEAT":
            return _Effort(1, min(_PLENTY, int(value[1]) * _effort(value[2]).steps))
        case "ATOMIC_GROUP":
            return _Effort(1, _effort(value).steps)
        case "ASSERT" | "ASSERT_NOT":
            return _Effort(1, _effort(value[1]).steps)
        case "BRANCH":
            efforts = [_effort(branch) for branch in value[1]]
            return _Effort(sum(e.ways for e in efforts), sum(e.steps for e in efforts))
        case "SUBPATTERN":
            return _effort(value[3])
        case "GROUPREF" | "GROUPREF_EXISTS":
            return _HOPELESS
        case _:  # a character, a set, an anchor
            return _ONE


def _repeated(low: int, high: int, body: Any) -> _Effort:
    """With `w` ways a turn there are w**low + … + w**high, and each turn is tried for each of them."""
    turn, ways, steps, so_far = _effort(body), 0, 1, 1
    for count in range(min(high, MAX_MATCH) + 1):
        ways += so_far if count >= low else 0
        steps += so_far * turn.steps if count < high else 0
        so_far = min(_PLENTY, so_far * turn.ways)
    return _Effort(min(_PLENTY, ways), min(_PLENTY, steps))
