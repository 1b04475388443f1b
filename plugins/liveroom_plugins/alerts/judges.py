"""Judges: whether a rule holds now. Pure: they are told the time and the samples.

A verdict is True (it holds), False (it does not), or None: not known (yet), so nothing changes.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, Protocol

from liveroom_plugins.alerts.rules import Change, Deviation, Missing, Rule, Threshold
from liveroom_plugins.alerts.track import Track


__all__ = ["Firing", "Judge", "Verdict", "judge_of", "keep_s"]

_EASE: Final = 0.75
"""What was raised by a change is over when the change is less than this part of the rule's."""
_RATE_OVER_S: Final = 5.0
_LEAST_SPREAD: Final = 0.01  # of the mean: what never moved may move by this much


class Verdict(NamedTuple):
    """Whether it holds, what was seen, and what it was held against."""

    holds: bool | None
    value: float | None = None
    base: float | None = None


class Firing(NamedTuple):
    """What is known of an alert that was raised, maybe by another worker."""

    since: float
    base: float | None


UNKNOWN: Final = Verdict(None)


class Judge(Protocol):
    """Looks at one series for one rule."""

    def judge(self, track: Track, now: float, firing: Firing | None) -> Verdict:
        """Return the verdict; called once for each sample, when it was added."""


def judge_of(rule: Rule, *, rate: bool) -> Judge:
    """Return who judges by a rule."""
    match rule:
        case Threshold():
            return _ThresholdJudge(rule, _over(rule.over_s, rate=rate))
        case Change():
            return _ChangeJudge(rule)
        case Deviation():
            return _DeviationJudge(rule, _over(rule.over_s, rate=rate))
        case Missing():
            return _MissingJudge(rule)
        case _:
            raise TypeError(rule)


def keep_s(rule: Rule, *, rate: bool) -> float:
    """Return how far back its judge looks."""
    match rule:
        case Threshold() | Deviation():
            return _over(rule.over_s, rate=rate)
        case Change():
            return rule.window_s + rule.against_s
        case _:
            return 0.0


def _over(asked: float | None, *, rate: bool) -> float:
    if asked is not None:
        return asked
    return _RATE_OVER_S if rate else 0.0  # what is counted comes in lumps


def _newest(track: Track, now: float, over_s: float) -> float | None:
    """Return the mean of a while, if it was looked at for so long; of none: the last sample."""
    if not over_s:
        return track.last
    return track.mean(now - over_s, now) if track.covers(now - over_s) else None


class _Lasting:
    """Has something hold for a while before it counts."""

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._since: float | None = None

    def holds(self, now: float, *, it: bool) -> bool | None:
        if not it:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return True if now - self._since >= self._for_s else None


class _ThresholdJudge:
    def __init__(self, rule: Threshold, over_s: float) -> None:
        self._rule = rule
        self._over_s = over_s
        self._lasting = _Lasting(rule.for_s)

    def judge(self, track: Track, now: float, firing: Firing | None) -> Verdict:
        value = _newest(track, now, self._over_s)
        if value is None:
            return UNKNOWN
        above, below = self._rule.above, self._rule.below
        beyond = value > above if above is not None else below is not None and value < below
        limit = above if above is not None else below
        return Verdict(self._lasting.holds(now, it=beyond), value, limit)


class _ChangeJudge:
    """While it fires the mean of before is frozen: else the fall itself would soon be the base."""

    def __init__(self, rule: Change) -> None:
        self._rule = rule

    def judge(self, track: Track, now: float, firing: Firing | None) -> Verdict:
        rule = self._rule
        cut = now - rule.window_s
        recent = track.mean(cut, now) if track.covers(cut) else None
        if recent is None:
            return UNKNOWN
        if firing is not None and firing.base:
            settled = now - firing.since >= rule.settle_s
            holds = not settled and self._beyond(recent, firing.base, _EASE)
            return Verdict(holds, recent, firing.base)
        base = track.mean(cut - rule.against_s, cut)
        if base is None or not track.covers(cut - rule.against_s / 2):
            return UNKNOWN
        if base <= 0 or base < rule.at_least:
            return Verdict(False, recent, base)
        return Verdict(self._beyond(recent, base, 1.0), recent, base)

    def _beyond(self, recent: float, base: float, part: float) -> bool:
        percent = (recent / base - 1) * 100
        if self._rule.fall is not None:
            return percent <= -self._rule.fall * part
        assert self._rule.rise is not None, "one of the two is there"
        return percent >= self._rule.rise * part


class _DeviationJudge:
    """Mean and variance that forget exponentially; what is beyond the limit is not learned from.

    Unless it stays: after `settle_s` it is what is normal now, and all is learned anew.
    """

    def __init__(self, rule: Deviation, over_s: float) -> None:
        self._rule = rule
        self._over_s = over_s
        self._after_s = rule.half_life_s if rule.after_s is None else rule.after_s
        self._lasting = _Lasting(rule.for_s)
        self._forget()

    def _forget(self) -> None:
        self._mean = self._variance = 0.0
        self._began: float | None = None
        self._at = 0.0
        self._odd_since: float | None = None

    def judge(self, track: Track, now: float, firing: Firing | None) -> Verdict:
        value = _newest(track, now, self._over_s)
        if value is None:
            return UNKNOWN
        if self._began is None:
            self._began, self._at, self._mean = now, now, value
            return UNKNOWN
        odd = self._is_odd(value)
        if now - self._began < self._after_s:
            self._learn(value, now)
            return Verdict(None, value, self._mean)
        if not odd:
            self._odd_since = None
            self._learn(value, now)
        elif self._settled(now):
            self._forget()
            return Verdict(False, value, value)
        self._at = now
        return Verdict(self._lasting.holds(now, it=odd), value, self._mean)

    def _is_odd(self, value: float) -> bool:
        rule = self._rule
        spread = max(math.sqrt(self._variance), rule.min_std, abs(self._mean) * _LEAST_SPREAD)
        off = value - self._mean
        if rule.direction == "above":
            return off > rule.z * spread
        if rule.direction == "below":
            return -off > rule.z * spread
        return abs(off) > rule.z * spread

    def _settled(self, now: float) -> bool:
        if self._odd_since is None:
            self._odd_since = now
        return now - self._odd_since >= self._rule.settle_s

    def _learn(self, value: float, now: float) -> None:
        alpha = 1 - 0.5 ** ((now - self._at) / self._rule.half_life_s)
        off = value - self._mean
        self._mean += alpha * off
        self._variance = (1 - alpha) * (self._variance + alpha * off * off)
        self._at = now


class _MissingJudge:
    def __init__(self, rule: Missing) -> None:
        self._rule = rule
        self._began: float | None = None

    def judge(self, track: Track, now: float, firing: Firing | None) -> Verdict:
        if self._began is None:
            self._began = now
        seen = track.last_seen
        if seen is None:
            if firing is None and not self._rule.always:
                return UNKNOWN
            seen = self._began if self._rule.always else None
        if seen is None:  # raised by another worker, which had seen it
            return UNKNOWN
        silent = now - seen
        return Verdict(silent >= self._rule.for_s, silent, self._rule.for_s)
