"""Ten ways in which a word is dressed up to pass a filter; each a seeded function of a word.

None uses the matcher's own tables, save for pieces and pictures: how a character is written in pieces
is nowhere else to be had. A function returns None where its trick does not apply to a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from opencc import OpenCC
from pypinyin import Style, lazy_pinyin, pinyin

from liveroom_plugins.moderation.lexicon import Word
from liveroom_plugins.moderation.parts import PICTURES, PIECES


__all__ = ["NUMBER_FORMS", "TRANSFORMS", "Transform"]

_STYLES = {
    "full width": 0xFF41,
    "bold": 0x1D41A,
    "sans": 0x1D5BA,
    "mono": 0x1D68A,
    "circled": 0x24D0,
}
_HIDDEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202e\u202c\u2066\u2069\ufe0f\u180e"
_SEPARATORS = " .-_*/|~,·•、，。+^=…'\u3000\u00a0"
_TWINS = {
    "a": "аαᴀ", "b": "ЬʙΒ", "c": "сϲᴄ", "d": "ԁᴅ", "e": "еЕεᴇ", "f": "ꜰƒ", "g": "ɡɢ", "h": "һНʜ", "i": "іΙıɪ",
    "j": "јᴊ", "k": "кκᴋ", "l": "ʟⳑ", "m": "мΜᴍ", "n": "Νոɴ", "o": "оοσᴏ", "p": "рρᴘ", "q": "ԛ", "r": "гʀ",
    "s": "ѕꜱ", "t": "тτᴛ", "u": "υսᴜ", "v": "νѵᴠ", "w": "ԝᴡ", "x": "хχ", "y": "уүʏ", "z": "ᴢΖ",
}  # fmt: skip
_FILLERS = "0123456789abcdeghkmnpqtxyzABCDEX"
_COMMON = [bytes([high, low]) for high in range(0xB0, 0xD8) for low in range(0xA1, 0xFF)]
"""The 3,755 characters of everyday use: level 1 of GB 2312."""
NUMBER_FORMS = {
    "characters": "零一二三四五六七八九",
    "banker's": "零壹贰叁肆伍陆柒捌玖",
    "circled": "⓪①②③④⑤⑥⑦⑧⑨",
    "black": "⓿❶❷❸❹❺❻❼❽❾",
    "full width": "０１２３４５６７８９",
    "maths": "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
}


@dataclass(frozen=True, slots=True)
class Transform:
    """A trick.

    Args:
        name: as in the table.
        of_word: returns the dressed word, or None where it does not apply.
        numbers: whether it leaves a telephone number the number that it is.
    """

    name: str
    of_word: Callable[[Word, Random], str | None]
    numbers: bool = False


def _width(word: Word, random: Random) -> str | None:
    first = random.choice(list(_STYLES.values()))
    styled = [
        chr(first + ord(char.lower()) - ord("a")) if char.isascii() and char.isalpha() else char
        for char in word.text
    ]
    return "".join(styled) if styled != list(word.text) else None


def _traditional(word: Word, random: Random) -> str | None:
    changed = _converter().convert(word.text)
    return changed if changed != word.text else None


@cache
def _converter() -> OpenCC:
    return OpenCC("s2t")


def _hidden(word: Word, random: Random) -> str | None:
    return _between(word.text, random, lambda: random.choice(_HIDDEN) * random.randint(1, 3))


def _separated(word: Word, random: Random) -> str | None:
    sign = random.choice(_SEPARATORS)
    return _between(word.text, random, lambda: sign)


def _stretched(word: Word, random: Random) -> str | None:
    times = [random.randint(1, 4) if char.isalnum() else 1 for char in word.text]
    times[-1] += times == [1] * len(times)
    return "".join(char * n for char, n in zip(word.text, times, strict=True))


def _lookalike(word: Word, random: Random) -> str | None:
    chars = [
        random.choice(_TWINS[char]) if char in _TWINS and random.random() < 0.6 else char
        for char in word.text.lower()
    ]
    return "".join(chars) if chars != list(word.text.lower()) else None


def _filled(word: Word, random: Random) -> str | None:
    if not word.form.han:
        return None
    return _between(word.text, random, lambda: random.choice(_FILLERS) * random.randint(1, 2))


def _by_sound(word: Word, random: Random) -> str | None:
    """Pinyin for all of it or for a part, or one homophone (two, where the word is long)."""
    if not word.syllables:
        return None
    chars, spelled = list(word.chars), lazy_pinyin(word.chars)
    way = random.randrange(3) if len(chars) > 2 or word.alone else 0
    if way == 0:
        return _spelled(spelled, random)
    for at in random.sample(range(len(chars)), 1 if len(chars) < 4 else 2):
        chars[at] = f" {spelled[at]} " if way == 1 else _homophone(chars[at], spelled[at], random)
    return "".join(chars).strip()


def _spelled(syllables: Sequence[str], random: Random) -> str:
    """Write pinyin as one does: where it is run together, an apostrophe before a vowel."""
    if sign := random.choice(["", " ", "'"]):
        return sign.join(syllables)
    return "".join(f"'{one}" if at and one[0] in "aoe" else one for at, one in enumerate(syllables))


def _homophone(char: str, syllable: str, random: Random) -> str:
    return random.choice(_homophones().get(syllable, char).replace(char, "") or char)


@cache
def _homophones() -> dict[str, str]:
    """Return the everyday characters of each syllable, by their first reading."""
    found: dict[str, str] = {}
    for pair in _COMMON:
        char = pair.decode("gb2312", "ignore")
        if char:
            reading = pinyin(char, style=Style.NORMAL)[0][0]
            found[reading] = found.get(reading, "") + char
    return found


def _in_pieces(word: Word, random: Random) -> str | None:
    chars = list(word.text)
    places = [at for at, char in enumerate(chars) if char in _pieces()]
    if not places:
        return None
    at = random.choice(places)
    chars[at] = random.choice(_pieces()[chars[at]])
    return "".join(chars)


@cache
def _pieces() -> dict[str, list[str]]:
    """Return the ways to write a character in pieces or as a picture."""
    ways: dict[str, list[str]] = {}
    for piece, char in (PIECES | PICTURES).items():
        ways.setdefault(char, []).append(piece)
    return ways


def _number(word: Word, random: Random) -> str | None:
    """Write the digits of a number in another style, now and then with signs in between."""
    if not word.text.isdigit():
        return None
    forms = random.choice(list(NUMBER_FORMS.values()))
    return random.choice(["", "", "-", " ", "."]).join(forms[int(digit)] for digit in word.text)


def _between(text: str, random: Random, filler: Callable[[], str]) -> str | None:
    """Put something between some of the characters, at least two of them."""
    gaps = [at for at in range(1, len(text)) if text[at].isalnum() and text[at - 1].isalnum()]
    if not gaps:
        return None
    chosen = set(
        gaps if random.random() < 0.5 else random.sample(gaps, random.randint(1, len(gaps)))
    )
    return "".join(filler() + char if at in chosen else char for at, char in enumerate(text))


TRANSFORMS = (
    Transform("width and style: ＶＸ, 𝐕𝐗, ⓥⓧ", _width),
    Transform("traditional: 領 for 领", _traditional),
    Transform("zero-width, bidi, selectors", _hidden, numbers=True),
    Transform("separators: 微.信, f u c k", _separated, numbers=True),
    Transform("stretched: 加加微微信, fuuuck", _stretched),
    Transform("look-alikes: Cyrillic х for x", _lookalike),
    Transform("inserted: 加1微b信", _filled),
    Transform("pinyin and homophones: wei xin, 薇信", _by_sound),
    Transform("pieces and pictures: 亻言, 🐎", _in_pieces),
    Transform("number forms: 九, ⑨, 玖", _number, numbers=True),
)
"""The ten, in the order of the table."""
