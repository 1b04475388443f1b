"""Steps from a text to a view of it, each in two ways: quick, and with offsets (pure).

`apply` runs at C speed and keeps no offsets; `trace` goes character by character and does. Both give
the same characters; a test holds them to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import compress
from operator import methodcaller, ne
from typing import NamedTuple, Protocol

from .sound import spelled
from .tables import CharTable


__all__ = ["Collapse", "JoinLetters", "Replace", "Spell", "Stage", "Track", "Translate"]

_TOKENS = re.compile("[a-z]+|[^a-z ]+")


class Track(NamedTuple):
    """A view's characters with where each came from.

    Args:
        text: the characters.
        starts: for each, the index of the first original character that went into it.
        ends: for each, the index after the last.
        runs: for each, how many equal characters were drawn together in it.
        is_untouched: nothing has been done yet.
    """

    text: str
    starts: list[int]
    ends: list[int]
    runs: list[int]
    is_untouched: bool = False

    @classmethod
    def of(cls, text: str) -> Track:
        """Return the track of an untouched text."""
        n = len(text)
        return cls(text, list(range(n)), list(range(1, n + 1)), [1] * n, is_untouched=True)

    def keep(self, track: Track, low: int, high: int) -> None:
        """Take over the offsets of some characters."""
        self.starts.extend(track.starts[low:high])
        self.ends.extend(track.ends[low:high])
        self.runs.extend(track.runs[low:high])

    def put(self, track: Track, low: int, high: int, n: int) -> None:
        """Let `n` characters stand for some."""
        self.starts.extend([track.starts[low]] * n)
        self.ends.extend([track.ends[high - 1]] * n)
        self.runs.extend([sum(track.runs[low:high])] * n)


class Stage(Protocol):
    """One step of a view."""

    def apply(self, text: str) -> str:
        """Return the text after this step."""
        ...

    def trace(self, track: Track) -> Track:
        """Return the same, with offsets."""
        ...


class Translate:
    """Each character by itself."""

    def __init__(self, table: CharTable) -> None:
        self._table = table
        self.apply: Callable[[str], str] = methodcaller("translate", table)
        """Returns the text after this step."""

    def trace(self, track: Track) -> Track:
        """Return the same, with offsets."""
        table = self._table
        parts = [table[ord(char)] for char in track.text]
        at = [index for index, part in enumerate(parts) for _ in part]
        if track.is_untouched:
            return Track("".join(parts), at, [index + 1 for index in at], [1] * len(at))
        return Track(
            "".join(parts),
            [track.starts[index] for index in at],
            [track.ends[index] for index in at],
            [track.runs[index] for index in at],
        )


class Replace:
    """Matches of a pattern by what a function makes of them."""

    def __init__(self, pattern: str, become: Callable[[str], str]) -> None:
        self._pattern = re.compile(pattern, re.DOTALL)
        self._become = become

    def apply(self, text: str) -> str:
        """Return the text after this step."""
        return self._pattern.sub(lambda match: self._become(match[0]), text)

    def trace(self, track: Track) -> Track:
        """Return the same, with offsets: what is put in covers all that it stands for."""
        if not self._pattern.search(track.text):
            return track
        made, parts, at = Track("", [], [], []), [], 0
        for match in self._pattern.finditer(track.text):
            low, high = match.span()
            become = self._become(match[0])
            parts += [track.text[at:low], become]
            made.keep(track, at, low)
            made.put(track, low, high, len(become))
            at = high
        made.keep(track, at, len(track.text))
        return made._replace(text="".join([*parts, track.text[at:]]))


class Collapse(Replace):
    """Runs of one character become that character."""

    def __init__(self) -> None:
        super().__init__(r"(.)\1+", lambda run: run[0])

    def trace(self, track: Track) -> Track:
        """Return the same, with offsets: what is left covers the whole run."""
        if not self._pattern.search(track.text):
            return track
        chars: list[str] = []
        made = Track("", [], [], [])
        for char, start, end, run in zip(*track[:4], strict=True):
            if chars and chars[-1] == char:
                made.ends[-1] = end
                made.runs[-1] += run
            else:
                chars.append(char)
                made.starts.append(start)
                made.ends.append(end)
                made.runs.append(run)
        return made._replace(text="".join(chars))

    def apply(self, text: str) -> str:
        """Return the text after this step; three times as fast as replacing by the pattern."""
        if not self._pattern.search(text):
            return text
        rest = text[1:]
        return text[:1] + "".join(compress(rest, map(ne, rest, text)))


class JoinLetters(Replace):
    """Letters that stand one by one become a word: w e i x i n."""

    def __init__(self) -> None:
        super().__init__(
            "(?<![a-z])[a-z](?: +[a-z](?![a-z])){2,}", lambda run: run.replace(" ", "")
        )

    def apply(self, text: str) -> str:
        """Return the text after this step; most have too few spaces, or no letters at all."""
        return super().apply(text) if text.count(" ") > 1 and text.islower() else text


class Spell(Replace):
    """Runs of letters become syllables; spaces, which have kept them apart, go."""

    def __init__(self) -> None:
        super().__init__("[a-z]+| +", lambda token: "" if token[0] == " " else spelled(token))

    def apply(self, text: str) -> str:
        """Return the text after this step; most have no letters at all."""
        if not text.islower():
            return text.replace(" ", "")
        tokens = _TOKENS.findall(text)
        return "".join([spelled(one) if "a" <= one[0] <= "z" else one for one in tokens])
