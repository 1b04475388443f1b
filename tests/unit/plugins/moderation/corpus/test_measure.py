"""The bars: recall, false positives, and the size of the corpus."""

from __future__ import annotations

import pytest

from liveroom_plugins.moderation.corpus.measure import (
    Report,
    benign_lines,
    evasive_cases,
    measure,
)
from liveroom_plugins.moderation.corpus.transforms import TRANSFORMS


@pytest.fixture(scope="module")
def report() -> Report:
    return measure(seed=2)


def test_measure_untouched_words_are_all_found(report: Report) -> None:
    """Before any trick."""
    assert report.rows[0].missed == []


@pytest.mark.parametrize("number", range(1, 11))
def test_measure_recall_of_each_transform(report: Report, number: int) -> None:
    """At least 95 %, on a hundred cases and more."""
    row = report.rows[number]

    assert row.cases > 100
    assert row.recall >= 0.95, [case.text for case in row.missed][:20]


def test_measure_false_positives(report: Report) -> None:
    """At most half a percent of honest lines."""
    assert report.false_positives <= 0.005, report.wrong


def test_measure_benign_lines_are_many_and_different() -> None:
    """Over a thousand, with waves, last pieces, prices and sizes, for both audiences."""
    lines = list(benign_lines())
    texts = {line for _, line in lines}

    assert len(texts) == len(lines) >= 1_000
    assert {who for who, _ in lines} == {"viewer", "host", "trap"}
    assert {"666", "最后一件", "199 299 399 哪个好", "XL XXL XXXL", "how much is it"} <= texts


def test_measure_one_seed_makes_one_corpus() -> None:
    """And another another."""
    first, again, other = (list(evasive_cases(TRANSFORMS[3], "viewer", seed)) for seed in (1, 1, 2))

    assert first == again != other
    assert all(0 <= case.start < case.end <= len(case.text) for case in first)
