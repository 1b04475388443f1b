"""Whether a message is pleased or displeased, by the words in it: coarse, and the same for everyone."""

from __future__ import annotations

import re
from typing import Final


__all__ = ["BAD", "GOOD", "mood_of"]

_GOOD_ZH: Final = (
    "喜欢", "好看", "好用", "好吃", "漂亮", "满意", "划算", "便宜", "值得", "推荐", "不错", "很棒", "太棒", "真棒", "厉害",
    "支持", "爱了", "良心", "实惠", "优秀", "谢谢", "给力",
)  # fmt: skip
_BAD_ZH: Final = (
    "难看", "难用", "难吃", "失望", "太贵", "好贵", "骗人", "骗子", "假货", "垃圾", "退货", "退款", "投诉", "质量差", "太差",
    "差评", "后悔", "坑人", "太卡", "无聊", "不好", "不喜欢", "不满意", "不划算", "不值", "不推荐", "没用",
)  # fmt: skip
_GOOD_EN: Final = (
    "love", "great", "good", "nice", "beautiful", "awesome", "amazing", "excellent", "perfect", "thanks", "recommend",
)  # fmt: skip
_BAD_EN: Final = (
    "bad", "terrible", "awful", "hate", "ugly", "scam", "fake", "refund", "disappointed", "disappointing", "overpriced",
    "boring", "not good", "not great", "not nice", "don't like", "don't recommend",
)  # fmt: skip

GOOD: Final = "g"
BAD: Final = "b"


def _either(chinese: tuple[str, ...], english: tuple[str, ...]) -> str:
    words = "|".join(re.escape(word) for word in english)
    return "|".join(map(re.escape, chinese)) + rf"|\b(?:{words})\b"


# Displeasure first: "不喜欢" and "not good" hold the words of their contrary.
_WORDS: Final = re.compile(
    f"(?P<{BAD}>{_either(_BAD_ZH, _BAD_EN)})|(?P<{GOOD}>{_either(_GOOD_ZH, _GOOD_EN)})"
)


# Literals alone: the search skips to their first characters. Most messages have none of them.
_any_word: Final = re.compile(
    "|".join(map(re.escape, (*_GOOD_ZH, *_BAD_ZH, *_GOOD_EN, *_BAD_EN)))
).search


def mood_of(text: str) -> str:
    """Return GOOD or BAD, whichever has more words in it; empty if neither has."""
    lower = text.lower()
    if not _any_word(lower):
        return ""
    score = 0
    for found in _WORDS.finditer(lower):
        score += 1 if found.lastgroup == GOOD else -1
    return "" if not score else GOOD if score > 0 else BAD
