"""Repeats and floods in one room, by user and by room (pure: the caller passes the time).

The same text again from one user is a repeat. The same text from many users is a wave ("666"): it is
folded into one line with a count, never deleted. Texts are the same when their fingerprints are.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

import msgspec

from .normalise import fingerprint


__all__ = ["Flood", "FloodLimits", "Judgement", "Verdict", "shortened"]

_KEPT_OF_RUN = 6
_RUNS = re.compile(r"(.{1,4}?)\1{6,}", re.DOTALL)


class Verdict(Enum):
    """What a message is in its room."""

    PASS = "pass"  # noqa: S105  # not a secret
    FOLD = "fold"  # part of a wave: show one line with the count
    REPEAT = "repeat"  # this user has just said that
    STRETCH = "stretch"  # little said at length: show it shortened


# Module globals: reading a member off an enum class takes longer than a look into a dictionary.
_PASS, _FOLD, _REPEAT, _STRETCH = Verdict


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """When something is too much.

    Args:
        repeat_ms: for how long a user's text counts as said.
        repeats: how often a user may say the same within that time; 1: once.
        wave_users: from how many different users on the same text is a wave.
        wave_ms: within how long.
        stretch: characters from which on a text of few different ones is stretched.
        variety: the least share of different characters in such a text.
        said: how many pairs of user and text are remembered, the latest.
        texts: how many different texts are remembered, the latest.
    """

    repeat_ms: int = 30_000
    repeats: int = 2
    wave_users: int = 5
    wave_ms: int = 10_000
    stretch: int = 40
    variety: float = 0.1
    said: int = 5_000
    texts: int = 2_000


class Judgement(msgspec.Struct, frozen=True):
    """A verdict with its reasons.

    Attributes:
        verdict: what the message is.
        count: how often this user has said it lately, or how often the wave has.
        users: how many different users have said it lately, at most `wave_users`.
        key: what the text has in common with those that are the same.
    """

    verdict: Verdict
    count: int
    users: int
    key: str


class _Text:
    """Who has said one thing lately, the latest last."""

    __slots__ = ("count", "last_ms", "users")

    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self.count = 0
        self.last_ms = 0


class Flood:
    """Remembers what was said in one room; bounded in memory by its limits.

    Args:
        limits: when something is too much.
    """

    def __init__(self, limits: FloodLimits | None = None) -> None:
        self._limits = limits or FloodLimits()
        # By user and text: how often of late, and when last.
        self._said: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._texts: OrderedDict[str, _Text] = OrderedDict()
        self._times: deque[int] = deque(maxlen=1_000)

    def judge(self, user: str, text: str, now_ms: int, *, alone: bool = False) -> Judgement:
        """Note a message and say what it is; the heaviest that is true of it, a wave before all.

        With `alone` nobody else hears it: then it is no part of a wave.
        """
        key = _key(text)
        if alone:
            return self._judge_alone(user, key, text, now_ms)
        self._times.append(now_ms)
        wave, own = self._heard(key, user, now_ms), self._own(user, key, now_ms)
        users = len(wave.users)
        if users >= self._limits.wave_users:
            return Judgement(_FOLD, wave.count, users, key)
        return self._judge_own(own, users, key, text)

    def _judge_alone(self, user: str, key: str, text: str, now_ms: int) -> Judgement:
        known = self._texts.get(key)
        if known is not None and len(known.users) >= self._limits.wave_users:
            return Judgement(_FOLD, known.count, len(known.users), key)
        return self._judge_own(self._own(user, key, now_ms), 0, key, text)

    def _judge_own(self, own: int, users: int, key: str, text: str) -> Judgement:
        if own > self._limits.repeats:
            return Judgement(_REPEAT, own, users, key)
        verdict = _STRETCH if self._is_stretched(text) else _PASS
        return Judgement(verdict, own, users, key)

    def per_second(self, now_ms: int, over_ms: int = 5_000) -> float:
        """Return how many messages a second have come of late: the room's pressure."""
        recent = 0
        for at in reversed(self._times):
            if now_ms - at >= over_ms:
                break
            recent += 1
        return recent * 1000 / over_ms

    def _own(self, user: str, key: str, now_ms: int) -> int:
        said, pair = self._said, (user, key)
        before = said.get(pair)
        if before is None:
            said[pair] = (1, now_ms)
            if len(said) > self._limits.said:
                said.popitem(last=False)
            return 1
        times, last_ms = before
        count = times + 1 if now_ms - last_ms < self._limits.repeat_ms else 1
        said[pair] = (count, now_ms)
        said.move_to_end(pair)
        return count

    def _heard(self, key: str, user: str, now_ms: int) -> _Text:
        texts = self._texts
        text = texts.get(key)
        if text is None:
            text = texts[key] = _Text()
            if len(texts) > self._limits.texts:
                texts.popitem(last=False)
        else:
            texts.move_to_end(key)
            if now_ms - text.last_ms >= self._limits.wave_ms:
                text.users.clear()
                text.count = 0
            text.users.pop(user, None)
        text.count += 1
        text.last_ms = now_ms
        text.users[user] = now_ms
        if len(text.users) > 1:
            self._forget_old(text.users, now_ms)
        return text

    def _forget_old(self, users: dict[str, int], now_ms: int) -> None:
        """Keep as many users as make a wave, and those only while they are recent."""
        oldest = next(iter(users))
        while (
            len(users) > self._limits.wave_users or now_ms - users[oldest] >= self._limits.wave_ms
        ):
            del users[oldest]
            oldest = next(iter(users))

    def _is_stretched(self, text: str) -> bool:
        if len(text) < self._limits.stretch:
            return False
        return len(set(text.casefold())) < len(text) * self._limits.variety


def shortened(text: str) -> str:
    """Return a text in which what is repeated without a break is left six times."""
    return _RUNS.sub(lambda run: run[1] * _KEPT_OF_RUN, text)


def _key(text: str) -> str:
    """Return a fingerprint of bounded length."""
    key = fingerprint(text)
    return key if len(key) <= 32 else blake2b(key.encode(), digest_size=16).hexdigest()
