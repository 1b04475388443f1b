"""Masks over spans of a text that never cut what a reader sees as one character."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


__all__ = ["MASK", "is_boundary", "mask", "widened"]

MASK = "***"
_JOINER = "\u200d"


def mask(text: str, spans: Iterable[tuple[int, int]], sign: str = MASK) -> str:
    """Return the text with each span replaced; spans that touch after widening become one."""
    parts, at = [], 0
    for low, high in _merged(widened(text, *span) for span in spans):
        parts += [text[at:low], sign]
        at = high
    return "".join([*parts, text[at:]])


def widened(text: str, low: int, high: int) -> tuple[int, int]:
    """Return the span with its ends moved outward to where characters end for a reader.

    A stray mark behind it is taken along: it would settle on the mask.
    """
    while not is_boundary(text, low):
        low -= 1
    while high < len(text) and (not is_boundary(text, high) or _extends(text[high])):
        high += 1
    return low, high


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if merged and low < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def is_boundary(text: str, at: int) -> bool:
    """Whether a reader's character ends before this index (the rules of UAX 29 that matter here)."""
    if at <= 0 or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if before == "\r" and after == "\n":
        return False
    if _is_control(before) or _is_control(after):
        return True
    if _extends(after):
        return False
    if before == _JOINER:
        return not _is_picture(after)
    if _is_flag_letter(before) and _is_flag_letter(after):
        return _flag_letters_before(text, at) % 2 == 0
    return not _is_one_syllable(before, after)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Zl", "Zp"}


def _extends(char: str) -> bool:
    code = ord(char)
    return (
        unicodedata.category(char) in {"Mn", "Me", "Mc"}
        or char in "\u200c\u200d\uff9e\uff9f"
        or 0x1F3FB <= code <= 0x1F3FF
        or 0xE0020 <= code <= 0xE007F
    )


def _is_picture(char: str) -> bool:
    return ord(char) >= 0x2190 and unicodedata.category(char) in {"So", "Cn"}


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flag_letters_before(text: str, at: int) -> int:
    low = at
    while low and _is_flag_letter(text[low - 1]):
        low -= 1
    return at - low


def _is_one_syllable(before: str, after: str) -> bool:
    """Whether two parts of a Hangul syllable meet."""
    first, second = _hangul(before), _hangul(after)
    if not first or not second:
        return False
    if first == "L":
        return second != "T"
    if first in {"V", "LV"}:
        return second in {"V", "T"}
    return second == "T"


def _hangul(char: str) -> str:
    code = ord(char)
    if 0x1100 <= code <= 0x115F or 0xA960 <= code <= 0xA97C:
        return "L"
    if 0x1160 <= code <= 0x11A7 or 0xD7B0 <= code <= 0xD7C6:
        return "V"
    if 0x11A8 <= code <= 0x11FF or 0xD7CB <= code <= 0xD7FB:
        return "T"
    if 0xAC00 <= code <= 0xD7A3:
        return "LVT" if (code - 0xAC00) % 28 else "LV"
    return ""
