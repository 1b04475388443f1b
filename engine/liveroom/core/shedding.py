"""Which ephemeral items a room shows when there are too many (layer: core).

Start-time fair queueing by user: each item gets a start tag, which is what its user has been charged
so far; the items with the lowest tags are kept, the others are shed at once (nothing is queued, for
a danmaku of yesterday is worth nothing). Two things differ from the textbook, which queues:

- Charges fade with time (e-fold in `FADE_S`) instead of being caught up by a virtual clock that
  jumps to the tag in service. A user speaks perhaps once in ten seconds; a clock that follows the
  flooders forgets what they had before that user comes back. Instead of shrinking all charges, the
  price of an item grows: that is the virtual time, and it touches nobody's entry.
- While items are being shed, part of the burst is kept for users who are charged well below the
  greediest ones. Else a flood would take every token the moment it drops into the bucket, and an
  ordinary clump of messages, which the burst is for, would find none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import exp
from operator import attrgetter, itemgetter
from typing import Generic, Protocol, TypeVar

from liveroom.errors import ConfigError


__all__ = ["FADE_S", "FairShedder", "Sheddable"]

FADE_S = 60.0
"""Seconds after which a charge counts for 1/e of a new one."""

# A charge or credit below this many items is forgotten: a charge after about 2.3 * FADE_S.
_FAINT = 0.1
# What being shed empty-handed is worth, in items; one such credit is faint after about 11 s. Small:
# a flooder is shed in every beat, and must not save up for free items.
_CREDIT = 0.12
_MOST_CREDIT = 0.24
# Share of the burst that is kept back, and of the rate that fills it up again.
_RESERVED_BURST = 0.5
_RESERVED_RATE = 0.25
# Users charged at most this share of the greediest one's charge may use what is kept back.
_MODEST = 0.5
_MIN_WEIGHT = 1e-3
# In units of FADE_S: floats are far from their end when the price is brought back to 1.
_REPRICE_AGE = 20.0
_FIRST_SWEEP = 256
_ALWAYS = float("-inf")

_must = attrgetter("must")
_charge = itemgetter(1)


class Sheddable(Protocol):
    """What the shedder has to know about an item."""

    @property
    def user(self) -> str:
        """Whose share it uses."""
        ...

    @property
    def weight(self) -> float:
        """The user's share relative to others; 1.0 is everyone's, 2.0 gets twice as much."""
        ...

    @property
    def must(self) -> bool:
        """Always kept, and neither its user nor the budget is charged (paid, from the host)."""
        ...


ItemT = TypeVar("ItemT", bound=Sheddable)


class FairShedder(Generic[ItemT]):
    """The ephemeral budget of one room.

    Args:
        rate_per_s: items per second that are shown, above 0.
        burst_s: how many seconds' worth a quiet room saves up; at least one item.
        max_users: most users remembered between two calls.

    Raises:
        ConfigError: a value is out of range.
    """

    __slots__ = (
        "_at",
        "_burst",
        "_charges",
        "_greediest",
        "_max_users",
        "_priced_at",
        "_rate",
        "_reserve",
        "_sweep_above",
        "_tokens",
    )

    def __init__(self, rate_per_s: float, burst_s: float = 1.0, max_users: int = 10_000) -> None:
        if not rate_per_s > 0:
            raise ConfigError("rate_per_s", "a number above 0", rate_per_s)
        if not burst_s * rate_per_s >= 1:
            raise ConfigError("burst_s", f"at least {1 / rate_per_s} s (one item)", burst_s)
        if max_users < 2:
            raise ConfigError("max_users", "an integer of at least 2", max_users)
        self._rate = rate_per_s
        self._burst = self._tokens = rate_per_s * burst_s
        self._reserve = 0.0
        self._max_users = max_users
        self._at = self._priced_at = float("-inf")
        # What each user has been charged, in the prices of then; below 0: what it is owed.
        self._charges: dict[str, float] = {}
        self._greediest = 0.0
        self._sweep_above = min(_FIRST_SWEEP, max_users)

    @property
    def remembered(self) -> int:
        """How many users' charges are held."""
        return len(self._charges)

    def admit(self, now: float, items: list[ItemT]) -> tuple[list[ItemT], list[ItemT]]:
        """Split the items of one beat into those to show and those to shed.

        Args:
            now: monotonic seconds.
            items: in the order of arrival.

        Returns:
            (kept, shed), both in the order of arrival; `kept` is `items` itself when all fit.
            While a room sheds, "fit" leaves out what is kept back for modest users.
        """
        elapsed = now - self._at
        self._at = now
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        quiet = self._tokens == self._burst
        if quiet:
            self._reserve = 0.0
        musts = sum(map(_must, items))
        ordinary = len(items) - musts
        if ordinary <= self._tokens - self._reserve:
            self._tokens -= ordinary
            return items, []
        kept, shed = self._contend(self._price(now), items, musts)
        if not quiet:
            grown = self._reserve + elapsed * self._rate * _RESERVED_RATE
            self._reserve = min(self._burst * _RESERVED_BURST, grown)
        return kept, shed

    def _contend(
        self, price: float, items: list[ItemT], musts: int
    ) -> tuple[list[ItemT], list[ItemT]]:
        starts, charges = self._tag(price, items)
        order = sorted(range(len(items)), key=starts.__getitem__)
        taken = musts + self._grant(order[musts:], starts)
        if taken > musts:
            self._tokens -= taken - musts
            self._greediest = max(self._greediest, starts[order[taken - 1]])
        kept = [items[i] for i in sorted(order[:taken])]
        out = sorted(order[taken:])
        shed = [items[i] for i in out]
        _uncharge(price, charges, shed, [starts[i] for i in out])
        self._remember(price, charges)
        return kept, shed

    def _tag(
        self, price: float, items: Sequence[Sheddable]
    ) -> tuple[list[float], dict[str, float]]:
        """Return each item's start tag, and each user's charge if everything were kept."""
        known = self._charges
        faint = _FAINT * price
        starts: list[float] = []
        charges: dict[str, float] = {}
        for item in items:
            if item.must:
                starts.append(_ALWAYS)
                continue
            user = item.user
            start = charges.get(user)
            if start is None:
                start = known.get(user, 0.0)
                if -faint < start < faint:
                    start = 0.0
            starts.append(start)
            charges[user] = start + price / max(item.weight, _MIN_WEIGHT)
        return starts, charges

    def _grant(self, order: list[int], starts: list[float]) -> int:
        """Return how many of the items, lowest tag first, the budget allows."""
        free = int(max(0.0, self._tokens - self._reserve))
        modest = bisect_right(order, self._greediest * _MODEST, key=starts.__getitem__)
        return min(len(order), int(self._tokens), max(free, modest))

    def _price(self, now: float) -> float:
        """Return what an item costs now, in the unit of the charges."""
        age = (now - self._priced_at) / FADE_S
        if age <= _REPRICE_AGE:
            return exp(age)
        inflation = exp(-age)
        self._charges = {user: charge * inflation for user, charge in self._charges.items()}
        self._greediest *= inflation
        self._priced_at = now
        return 1.0

    def _remember(self, price: float, charges: dict[str, float]) -> None:
        """Take over the charges of one beat; now and then forget the faint ones."""
        self._charges.update(charges)
        if len(self._charges) <= self._sweep_above:
            return
        faint = _FAINT * price
        left = {u: charge for u, charge in self._charges.items() if abs(charge) > faint}
        half = self._max_users // 2
        if len(left) > half:
            left = dict(sorted(left.items(), key=_charge, reverse=True)[:half])
        self._charges = left
        self._sweep_above = min(max(_FIRST_SWEEP, 2 * len(left)), self._max_users)


def _uncharge(
    price: float, charges: dict[str, float], shed: Sequence[Sheddable], starts: list[float]
) -> None:
    """Put each user back to the start tag of its first shed item; credit the empty-handed."""
    for item, start in zip(shed, starts, strict=True):
        user = item.user
        if charges[user] > start:
            credited = max(start - _CREDIT * price, -_MOST_CREDIT * price)
            charges[user] = credited if start <= 0.0 else start
