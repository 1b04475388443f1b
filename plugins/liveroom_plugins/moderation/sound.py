"""How Chinese sounds: toneless syllables, one private-use character each.

Readings come from pypinyin's data file; the package itself is not imported, for it would load its
phrases too (57 MB a worker). A character has one reading here, its first.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .tables import fold, is_han, is_latin, is_separator


__all__ = ["BARRIER", "sounding", "spelled", "syllable_of"]

BARRIER = "\x1f"
"""Stands for what has no sound; nothing in a lexicon matches across it."""
_FIRST = 0xE000
_LONGEST = 6  # zhuang
_LONGEST_TOKEN = 36
_DOUBLED = re.compile(r"(.)\1+")


class _Readings(NamedTuple):
    of_char: dict[str, str]  # 信 -> the code of "xin"
    codes: dict[str, str]  # "xin" -> its code


def _toneless(reading: str) -> str:
    parts = unicodedata.normalize("NFD", reading).replace("u\u0308", "v")
    return "".join(part for part in parts if part.isascii())


def _readings_file() -> Path:
    found = find_spec("pypinyin")
    assert found is not None, "pypinyin is a dependency of this package"
    assert found.submodule_search_locations, "pypinyin is a package"
    return Path(found.submodule_search_locations[0]) / "pinyin_dict.json"


@cache
def _readings() -> _Readings:
    raw: dict[str, str] = json.loads(_readings_file().read_bytes())
    codes: dict[str, str] = {}
    of_char = {}
    for code, readings in raw.items():
        char = chr(int(code))
        plain = _toneless(readings.partition(",")[0])
        if "\u4e00" <= char <= "\u9fff" and set(plain) & set("aeiouv"):
            of_char[char] = codes.setdefault(plain, chr(_FIRST + len(codes)))
    return _Readings(of_char, codes)


def syllable_of(char: str) -> str:
    """Return the code of a character's syllable, or `BARRIER`."""
    return _readings().of_char.get(char, BARRIER)


def sounding(char: str) -> str:
    """Fold; characters become syllables, letters stay to be spelled, separators become a space."""
    return "".join(map(_sounding, fold(char)))


def _sounding(part: str) -> str:
    if is_han(part):
        return syllable_of(part)
    if is_latin(part):
        return part
    if is_separator(part):
        return " "
    return "" if part.isdigit() else BARRIER


@lru_cache(maxsize=4096)
def spelled(token: str) -> str:
    """Return the syllables of a run of letters that is pinyin throughout, else `BARRIER`.

    Pinyin doubles no letter within a syllable: what is none as it stands may be stretched.
    """
    if len(token) > _LONGEST_TOKEN:
        return BARRIER
    return _syllables(token) or _syllables(_DOUBLED.sub(r"\1", token)) or BARRIER


def _syllables(token: str) -> str:
    codes = _readings().codes
    best: list[str | None] = [""]  # the fewest syllables up to here
    for end in range(1, len(token) + 1):
        ways = [
            before + codes[token[start:end]]
            for start in range(max(0, end - _LONGEST), end)
            if (before := best[start]) is not None and token[start:end] in codes
        ]
        best.append(min(ways, key=len, default=None))
    return best[-1] or ""
