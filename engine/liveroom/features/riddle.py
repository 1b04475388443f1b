"""When two answers to a riddle are the same."""

from __future__ import annotations

import unicodedata


__all__ = ["plain_answer"]

# Punctuation, separators, controls and formats; then the selectors of an emoji's looks.
_LEFT_OUT = frozenset("PZC")
_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))


def plain_answer(text: str) -> str:
    """Return what is compared: NFKC and case folded, without spaces and punctuation.

    So "Ｃａｔ！", " cat " and "CAT" are one answer. Symbols such as "+" and emoji stay: they may be
    the answer. Traditional and simplified characters differ. May be empty.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFKC", "".join(filter(_counts, folded)))


def _counts(char: str) -> bool:
    return unicodedata.category(char)[0] not in _LEFT_OUT and char not in _SELECTORS
