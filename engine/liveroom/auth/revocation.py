"""Which tokens no longer count, though they are signed and in time (layer: leaf, pure).

A token is revoked by its id, or with all tokens that its user was given before a moment. Entries
are facts that only grow: applying one twice, late or in another order gives the same set, so they
may come by push and by poll. An entry is forgotten when every token it could refuse has expired.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

import msgspec

from liveroom.auth.claims import Claims
from liveroom.errors import ConfigError


__all__ = ["RevocationSet", "RevokedToken", "RevokedUser"]

_MAX_LEEWAY_S: Final = 60


class RevokedToken(msgspec.Struct, frozen=True, tag="token"):
    """One token is refused. `until`: its `exp` or later, seconds since 1970."""

    jti: str
    until: int


class RevokedUser(msgspec.Struct, frozen=True, tag="user"):
    """The user's tokens with `iat` before `before` (seconds since 1970) are refused."""

    user: str
    before: int


class RevocationSet:
    """The revocations that a worker knows.

    Args:
        max_life_s: the longest `exp - iat` that a verifier accepts, in seconds.
        max_tokens: how many token ids are kept.
        max_users: how many users are kept.

    When there are more, the entry that would be forgotten first goes early and is counted in
    `overflowed`: then a revoked token may be accepted until it expires, which must be seen.
    """

    def __init__(
        self, *, max_life_s: int, max_tokens: int = 200_000, max_users: int = 100_000
    ) -> None:
        self._tokens = _Latest(_MAX_LEEWAY_S, max_tokens)
        self._users = _Latest(max_life_s + _MAX_LEEWAY_S, max_users)

    def __len__(self) -> int:
        return len(self._tokens.values) + len(self._users.values)

    @property
    def overflowed(self) -> int:
        """How many entries were dropped before their time."""
        return self._tokens.overflowed + self._users.overflowed

    def revoked(self, claims: Claims) -> bool:
        """Tell whether these claims no longer count."""
        if claims.jti in self._tokens.values:
            return True
        before = self._users.values.get(claims.user)
        return before is not None and claims.iat < before

    def apply(self, entries: Iterable[RevokedToken | RevokedUser], now: float) -> int:
        """Take in revocations and forget outdated ones; return how many were news.

        `now` is in seconds since 1970.
        """
        news = sum([self._apply_one(entry, now) for entry in entries])
        self.prune(now)
        return news

    def _apply_one(self, entry: RevokedToken | RevokedUser, now: float) -> bool:
        if isinstance(entry, RevokedToken):
            return self._tokens.put(entry.jti, entry.until, now)
        return self._users.put(entry.user, entry.before, now)

    def prune(self, now: float) -> None:
        """Forget what can refuse no living token any more."""
        self._tokens.prune(now)
        self._users.prune(now)


class _Latest:
    """The greatest moment told for each key, forgotten `keep_s` seconds after that moment."""

    def __init__(self, keep_s: int, limit: int) -> None:
        if limit < 1:
            raise ConfigError("auth.max_revocations", "at least 1", limit)
        self.values: dict[str, int] = {}
        self.overflowed = 0
        self._keep_s = keep_s
        self._limit = limit
        # May hold moments that were raised since; `_drop_first` skips them.
        self._order: list[tuple[int, str]] = []

    def put(self, key: str, moment: int, now: float) -> bool:
        """Take a moment in; False when it is known or over."""
        if moment + self._keep_s <= now or moment <= self.values.get(key, moment - 1):
            return False
        self.values[key] = moment
        heapq.heappush(self._order, (moment, key))
        self._shrink(now)
        return True

    def prune(self, now: float) -> None:
        while self._order and self._order[0][0] + self._keep_s <= now:
            self._drop_first()

    def _shrink(self, now: float) -> None:
        if len(self.values) > self._limit:
            self.prune(now)
        while len(self.values) > self._limit:
            self.overflowed += self._drop_first()
        if len(self._order) > 2 * self._limit:
            self._order = [(moment, key) for key, moment in self.values.items()]
            heapq.heapify(self._order)

    def _drop_first(self) -> bool:
        moment, key = heapq.heappop(self._order)
        if self.values.get(key) != moment:
            return False
        del self.values[key]
        return True
