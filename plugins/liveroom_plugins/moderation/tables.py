"""What one character becomes, per view: tables that fill themselves on first use.

Every rule is a function of one character and is closed: what it returns, it returns unchanged when it
is asked again. `str.translate` applies a table at C speed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache

from .lookalikes import LOOKALIKES


__all__ = [
    "FOLDED",
    "LEET",
    "SOLID",
    "CharTable",
    "digits_of",
    "fold",
    "folded_han",
    "is_han",
    "is_latin",
    "is_separator",
    "is_steady",
    "leet",
    "solid",
]

_MOST_KEPT = 30_000
_MARKS = ((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))
"""Combining marks that only decorate (accents, enclosing circles, "zalgo"). Vowel signs stay."""
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks by their category, invisible all the same."""
_NUMERALS = dict(
    zip("〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖幺弌弍弎", "001234567891234567891123", strict=True)
)
LEET = dict(zip("0134578@$!|", "oieastbasii", strict=True))
"""Digits and signs, and the letters that they resemble."""


class CharTable(dict[int, str]):
    """A table for `str.translate` that asks its rule once per character.

    It forgets everything when it is full, so that a stream of rare characters costs time, not memory.
    """

    def __init__(self, rule: Callable[[str], str]) -> None:
        super().__init__()
        self.rule = rule

    def __missing__(self, code: int) -> str:
        if len(self) >= _MOST_KEPT:
            self.clear()
        result = self[code] = self.rule(chr(code))
        return result


def is_han(char: str) -> bool:
    """Whether this is a Chinese character."""
    return "\u4e00" <= char <= "\u9fff" or "\u3400" <= char <= "\u4dbf" or char >= "\U00020000"


def is_latin(char: str) -> bool:
    """Whether this is a small Latin letter, which all others become."""
    return "a" <= char <= "z"


def is_invisible(char: str) -> bool:
    """Whether this shows nothing: zero-width, bidi, variation selectors, tags, decoration."""
    code = ord(char)
    if 0xFE00 <= code <= 0xFE0F or code >= 0xE0000 or char in _BLANKS:
        return True
    if any(low <= code <= high for low, high in _MARKS):
        return True
    return unicodedata.category(char) in {"Cf", "Cc"} and char not in "\t\n\r"


def is_separator(char: str) -> bool:
    """Whether this stands between words: space, punctuation, symbol, or nothing assigned."""
    return unicodedata.category(char)[0] in "ZPSC"


@cache
def _simplified() -> dict[str, str]:
    """Return the single-character map from traditional to simplified."""
    from opencc import OpenCC

    chars = [chr(code) for code in range(0x3400, 0xA000)]
    plain = OpenCC("t2s").convert("\n".join(chars)).split("\n")
    return {char: simple for char, simple in zip(chars, plain, strict=True) if char != simple}


def _fold_once(char: str) -> str:
    if is_invisible(char):
        return ""
    if char in LOOKALIKES:
        return LOOKALIKES[char]
    if (value := unicodedata.digit(char, None)) is not None:
        return str(value)
    wide = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    kept = "".join(part for part in wide if not is_invisible(part))
    whole = unicodedata.normalize("NFC", kept)
    return "".join(_simplified().get(part, part) for part in whole)


def fold(char: str) -> str:
    """NFKC, case, marks, simplified, look-alikes; nothing for what is invisible."""
    result = _fold_once(char)
    while (again := "".join(map(_fold_once, result))) != result:
        result = again
    return result


def is_steady(char: str) -> bool:
    """Whether folding leaves a Chinese character alone for certain, told without folding it."""
    if char in LOOKALIKES or char in _simplified() or unicodedata.category(char) != "Lo":
        return False
    return is_han(char) and unicodedata.is_normalized("NFKD", char)


FOLDED = CharTable(fold)
"""`fold`, remembered."""


def solid(char: str) -> str:
    """Fold, and drop separators."""
    return "".join(part for part in fold(char) if not is_separator(part))


SOLID = CharTable(solid)
"""`solid`, remembered."""


def folded_han(char: str) -> str:
    """Fold, and drop all but Chinese characters."""
    return "".join(part for part in fold(char) if is_han(part))


def leet(char: str) -> str:
    """Like `solid`, with digits and signs read as the letters that they resemble."""
    return LEET.get(char) or "".join(LEET.get(part, part) for part in solid(char))


def digits_of(char: str) -> str:
    """Fold, with digits in every style as ASCII, and `-` for a separator."""
    folded = fold(char)
    return "".join(_NUMERALS.get(part) or ("-" if is_separator(part) else part) for part in folded)
