"""How much one sender may send: token buckets (layer: core).

All of them keep one float per bucket instead of "tokens and when they were counted": the moment at
which the bucket will be full again (the generic cell rate algorithm, the "theoretical arrival time"
of ATM policing). A bucket that is full lies in the past and needs no upkeep, whatever its age.
`now` is monotonic seconds everywhere.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum

from liveroom.errors import ConfigError


__all__ = [
    "ConnectionLimits",
    "ConnectionQuota",
    "Cooldown",
    "NamedBuckets",
    "TokenBucket",
    "Verdict",
]

_LONG_AGO = float("-inf")
# A sender that waits exactly `retry_after` must pass in spite of float rounding.
_SLACK_S = 1e-6


class TokenBucket:
    """`rate` tokens per second, at most `burst` saved up; starts full.

    Args:
        rate: tokens per second, above 0.
        burst: the most tokens that can be taken at once, at least 1.

    Raises:
        ConfigError: `rate` or `burst` is out of range.
    """

    __slots__ = ("_burst_s", "_full_at", "_token_s")

    def __init__(self, rate: float, burst: float) -> None:
        # Both by hand: a room makes one of these for nearly every message.
        if not rate > 0:
            raise ConfigError("rate", "a number above 0", rate)
        if not burst >= 1:
            raise ConfigError("burst", "a number of at least 1", burst)
        self._token_s = 1.0 / rate
        self._burst_s = burst / rate
        self._full_at = _LONG_AGO

    def take(self, now: float, n: float = 1) -> bool:
        """Take `n` tokens if they are there; take none and return False if not."""
        full_at = self._full_at
        if full_at < now:
            full_at = now
        full_at += n * self._token_s
        if full_at - now > self._burst_s + _SLACK_S:
            return False
        self._full_at = full_at
        return True

    def retry_after(self, now: float, n: float = 1) -> float:
        """Seconds until `take(n)` can succeed: 0.0 if now, infinity if `n` is above the burst."""
        wanted_s = n * self._token_s
        if wanted_s > self._burst_s + _SLACK_S:
            return float("inf")
        full_at = self._full_at
        if full_at < now:
            full_at = now
        wait = full_at + wanted_s - self._burst_s - now
        return max(0.0, wait)


class NamedBuckets:
    """A token bucket for each name; beyond `most` names the one not seen for longest is forgotten.

    Args:
        rate: tokens per second, above 0.
        burst: the most tokens that can be taken at once, at least 1.
        most: how many names are remembered.

    Raises:
        ConfigError: `rate` or `burst` is out of range.
    """

    def __init__(self, rate: float, burst: float, most: int = 10_000) -> None:
        TokenBucket(rate, burst)  # refuses what is out of range now
        self._rate, self._burst, self._most = rate, burst, most
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """Return how many names are remembered."""
        return len(self._buckets)

    def take(self, name: str, now: float, n: float = 1) -> float:
        """Take `n` tokens of a name; return 0.0, or in how many seconds they could be taken."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self._rate, self._burst)
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return 0.0 if bucket.take(now, n) else bucket.retry_after(now, n)


class Cooldown(TokenBucket):
    """A token bucket that shuts for a while when it is overdrawn: the chat rule.

    Three messages in two seconds are fine, the fourth is refused and so is everything in the ten
    seconds after it. Trying during the cool-off does not prolong it. Afterwards the bucket is full.

    Args:
        rate: messages per second.
        burst: messages at once.
        cooloff_s: seconds of silence after a breach, 0 for none.
    """

    __slots__ = ("_cooloff_s", "_shut_until")

    def __init__(self, rate: float = 1.5, burst: float = 3, cooloff_s: float = 10.0) -> None:
        TokenBucket.__init__(self, rate, burst)
        if not cooloff_s >= 0:
            raise ConfigError("cooloff_s", "seconds >= 0", cooloff_s)
        self._cooloff_s = cooloff_s
        self._shut_until = _LONG_AGO

    def take(self, now: float, n: float = 1) -> bool:
        """Take `n` tokens; when they are not there, shut for the cool-off and return False."""
        if now < self._shut_until:
            return False
        if TokenBucket.take(self, now, n):
            return True
        if self._cooloff_s:
            self._shut_until = now + self._cooloff_s
            self._full_at = _LONG_AGO
        return False

    def retry_after(self, now: float, n: float = 1) -> float:
        """Seconds until `take(n)` can succeed, the cool-off included."""
        if now < self._shut_until:
            return self._shut_until - now
        return TokenBucket.retry_after(self, now, n)


class Verdict(IntEnum):
    """What to do with what a connection just sent."""

    OK = 0
    """Within the quota: handle it."""
    REFUSE = 1
    """Over the quota: answer `rate_limited`, do nothing else with it."""
    CLOSE = 2
    """Over the quota for too long: close the connection (4029)."""


# Module globals: reading a member off an enum class costs as much as the rest of `check`.
_OK = Verdict.OK
_REFUSE = Verdict.REFUSE
_CLOSE = Verdict.CLOSE


class ConnectionQuota:
    """What every connection may send; one object shared by all of them.

    Args:
        messages_per_s: messages (commands, when they come in a list) per second.
        messages_burst: messages at once.
        bytes_per_s: payload bytes per second.
        bytes_burst: payload bytes at once; not below the largest message that is allowed, or that
            message can never pass.
        close_after_s: how many seconds' worth beyond the burst is one too many.

    Raises:
        ConfigError: a value is out of range.
    """

    __slots__ = ("byte_burst_s", "byte_s", "close_after_s", "message_burst_s", "message_s")

    def __init__(
        self,
        messages_per_s: float,
        messages_burst: float,
        bytes_per_s: float,
        bytes_burst: float,
        close_after_s: float = 3.0,
    ) -> None:
        _expect("messages_per_s", "a number above 0", messages_per_s, messages_per_s > 0)
        _expect("messages_burst", "a number of at least 1", messages_burst, messages_burst >= 1)
        _expect("bytes_per_s", "a number above 0", bytes_per_s, bytes_per_s > 0)
        _expect("bytes_burst", "a number of at least 1", bytes_burst, bytes_burst >= 1)
        _expect("close_after_s", "seconds above 0", close_after_s, close_after_s > 0)
        self.message_s = 1.0 / messages_per_s
        self.message_burst_s = messages_burst / messages_per_s
        self.byte_s = 1.0 / bytes_per_s
        self.byte_burst_s = bytes_burst / bytes_per_s
        self.close_after_s = close_after_s


class ConnectionLimits:
    """Messages/s and bytes/s of one connection.

    What is refused still counts, for it was read and has to be answered. So a sender that ignores
    refusals runs into debt and gets at most `close_after_s` seconds' worth of them before the close;
    one that waits `retry_after` is let in again.
    """

    __slots__ = ("_bytes_full_at", "_messages_full_at", "_quota")

    def __init__(self, quota: ConnectionQuota) -> None:
        self._quota = quota
        self._messages_full_at = _LONG_AGO
        self._bytes_full_at = _LONG_AGO

    def check(self, now: float, messages: int, size: int) -> Verdict:
        """Count `messages` messages of `size` bytes together and judge them as one."""
        quota = self._quota
        full_at = self._messages_full_at
        if full_at < now:
            full_at = now
        self._messages_full_at = full_at = full_at + messages * quota.message_s
        debt_s = full_at - quota.message_burst_s
        full_at = self._bytes_full_at
        if full_at < now:
            full_at = now
        self._bytes_full_at = full_at = full_at + size * quota.byte_s
        full_at -= quota.byte_burst_s
        if full_at > debt_s:
            debt_s = full_at
        debt_s -= now
        if debt_s <= _SLACK_S:
            return _OK
        return _REFUSE if debt_s <= quota.close_after_s else _CLOSE

    def retry_after(self, now: float, messages: int = 1, size: int = 0) -> float:
        """Seconds until `messages` messages of `size` bytes would be let in."""
        quota = self._quota
        by_messages = max(self._messages_full_at, now) + messages * quota.message_s
        by_bytes = max(self._bytes_full_at, now) + size * quota.byte_s
        wait = max(by_messages - quota.message_burst_s, by_bytes - quota.byte_burst_s) - now
        return max(0.0, wait)


def _expect(setting: str, expected: str, came: float, holds: bool) -> None:
    if not holds:
        raise ConfigError(setting, expected, came)
