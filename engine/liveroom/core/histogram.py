"""Quantiles of many measurements in little memory (layer: core).

Buckets grow by a constant factor, so every answer is within a fixed relative error of a measured
value, whatever the unit and the range (the idea of DDSketch). Two histograms of equal error add up
without loss, so each worker and each load process keeps its own.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import ceil, log, nan
from typing import Any

from liveroom.errors import ConfigError


__all__ = ["Histogram"]

# Everything up to here counts as zero: below any latency, far above where floats lose their bits.
_ZERO = 1e-12


class Histogram:
    """Counts of positive numbers in logarithmic buckets.

    Args:
        error: relative error of `quantile`, between 0 and 1; 0.02 needs about 60 buckets per
            factor of ten.

    Raises:
        ConfigError: `error` is out of range.
    """

    __slots__ = (
        "_buckets",
        "_gamma",
        "_per_log",
        "_zeros",
        "count",
        "error",
        "max",
        "min",
        "total",
    )

    def __init__(self, error: float = 0.02) -> None:
        if not 0 < error < 1:
            raise ConfigError("error", "a number between 0 and 1", error)
        self.error = error
        self._gamma = (1 + error) / (1 - error)
        self._per_log = 1 / log(self._gamma)
        # Bucket i holds (gamma ** (i - 1), gamma ** i].
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self.count = 0
        self.total = 0.0
        self.min = float("inf")
        self.max = float("-inf")

    @property
    def mean(self) -> float:
        """The exact mean; NaN without measurements."""
        return self.total / self.count if self.count else nan

    def record(self, x: float) -> None:
        """Count one measurement. What is not above zero counts as zero in `quantile`.

        Raises:
            ValueError: `x` is not a number.
            OverflowError: `x` is infinite.
        """
        if x > _ZERO:
            bucket = ceil(log(x) * self._per_log)
            buckets = self._buckets
            buckets[bucket] = buckets.get(bucket, 0) + 1
        elif x <= _ZERO:
            self._zeros += 1
        else:
            raise ValueError("histogram: expected a number, came NaN")
        self.count += 1
        self.total += x
        if x < self.min:
            self.min = x
        if x > self.max:
            self.max = x

    def quantile(self, q: float) -> float:
        """Return the value that a share `q` (0 to 1) of the measurements does not exceed.

        It is within `error` of the measurement of rank `floor(q * (count - 1))`; NaN without
        measurements.

        Raises:
            ValueError: `q` is out of range.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"quantile: expected 0 to 1, came {q!r}")
        if not self.count:
            return nan
        rank = int(q * (self.count - 1))
        if rank < self._zeros:
            return 0.0
        return min(max(self._middle(self._bucket_of(rank)), self.min), self.max)

    def merge(self, other: Histogram) -> None:
        """Add everything that `other` has counted.

        Raises:
            ValueError: its error is another one, so its buckets are too.
        """
        if other.error != self.error:
            raise ValueError(f"merge: expected error {self.error}, came {other.error}")
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self._zeros += other._zeros
        self.count += other.count
        self.total += other.total
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers that JSON can carry to another process."""
        return {
            "error": self.error,
            "zeros": self._zeros,
            "buckets": sorted(self._buckets.items()),
            "total": self.total,
            "range": [self.min, self.max] if self.count else None,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Histogram:
        """Read what `to_dict` wrote."""
        histogram = cls(plain["error"])
        histogram._zeros = plain["zeros"]
        histogram._buckets = dict(plain["buckets"])
        histogram.count = histogram._zeros + sum(histogram._buckets.values())
        histogram.total = plain["total"]
        if plain["range"]:
            histogram.min, histogram.max = plain["range"]
        return histogram

    def _bucket_of(self, rank: int) -> int:
        """Return the bucket that holds the measurement of this rank, zeros included."""
        numbers = sorted(self._buckets)
        seen = list(accumulate(self._buckets[number] for number in numbers))
        return numbers[bisect_right(seen, rank - self._zeros)]

    def _middle(self, bucket: int) -> float:
        """Return the number that is equally far, relatively, from both ends of the bucket."""
        return float(2 * self._gamma**bucket / (self._gamma + 1))
