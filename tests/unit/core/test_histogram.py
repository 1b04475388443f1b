from __future__ import annotations

import json
import math
import pickle

import pytest
from hypothesis import given, strategies as st

from liveroom.core.histogram import Histogram
from liveroom.errors import ConfigError


POSITIVE = st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=200)
QUANTILES = st.floats(0, 1)


def filled(values: list[float], error: float = 0.02) -> Histogram:
    histogram = Histogram(error)
    for value in values:
        histogram.record(value)
    return histogram


@given(POSITIVE, QUANTILES, st.sampled_from([0.005, 0.02, 0.1]))
def test_histogram_quantile_is_within_its_error(
    values: list[float], q: float, error: float
) -> None:
    """Against the sorted list, over eighteen orders of magnitude."""
    exact = sorted(values)[int(q * (len(values) - 1))]
    assert filled(values, error).quantile(q) == pytest.approx(exact, rel=error * 1.0001)


@given(POSITIVE, POSITIVE, QUANTILES)
def test_histogram_merge_equals_recording_everything(
    left: list[float], right: list[float], q: float
) -> None:
    """Two workers' histograms add up to the one of both."""
    merged, both = filled(left), filled(left + right)
    merged.merge(filled(right))
    assert merged.quantile(q) == both.quantile(q)
    assert (merged.count, merged.min, merged.max) == (both.count, both.min, both.max)
    assert merged.mean == pytest.approx(both.mean)


@given(st.lists(st.floats(-10, 1e6), max_size=50), QUANTILES)
def test_histogram_survives_json_and_pickle(values: list[float], q: float) -> None:
    """What a load process sends home answers as the original does."""
    histogram = filled(values)
    plain = histogram.to_dict()
    for copy in (
        Histogram.from_dict(json.loads(json.dumps(plain))),
        pickle.loads(pickle.dumps(histogram)),
    ):
        assert copy.count == len(values)
        assert copy.quantile(q) == pytest.approx(histogram.quantile(q), nan_ok=True)
        assert copy.to_dict() == plain


def test_histogram_without_measurements_has_no_quantile() -> None:
    """NaN says "nothing measured"; zero would be a boast."""
    assert math.isnan(Histogram().quantile(0.5))
    assert math.isnan(Histogram().mean)


def test_histogram_counts_what_is_not_positive_as_zero() -> None:
    """Clocks of two machines can make a latency negative; it must not break the table."""
    histogram = filled([-1.0, 0.0, 0.0, 5.0])
    assert histogram.quantile(0.5) == 0.0
    assert histogram.quantile(1.0) == pytest.approx(5.0)
    assert (histogram.count, histogram.min) == (4, -1.0)


@pytest.mark.parametrize(("value", "error"), [(math.nan, ValueError), (math.inf, OverflowError)])
def test_histogram_refuses_no_number_and_stays_whole(value: float, error: type[Exception]) -> None:
    """A refused value leaves no trace."""
    histogram = filled([1.0])
    before = histogram.to_dict()
    with pytest.raises(error):
        histogram.record(value)
    assert histogram.to_dict() == before


def test_histogram_stays_small() -> None:
    """A hundred thousand latencies from 10 us to 10 s take a few hundred buckets."""
    histogram = filled([1e-5 * 10 ** (6 * i / 100_000) for i in range(100_000)])
    assert len(histogram.to_dict()["buckets"]) < 360


def test_histogram_refuses_what_does_not_fit() -> None:
    """Another error on merge, a quantile out of range, an error out of range."""
    with pytest.raises(ValueError, match=r"expected error 0\.02, came 0\.1"):
        Histogram(0.02).merge(Histogram(0.1))
    with pytest.raises(ValueError, match="expected 0 to 1, came 99"):
        filled([1.0]).quantile(99)
    with pytest.raises(ConfigError, match="error: expected"):
        Histogram(0)
