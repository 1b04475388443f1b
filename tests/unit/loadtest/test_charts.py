"""Charts: numbers as lines, without a library."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from liveroom_loadtest.charts import Chart, nice_top, to_svg


def test_chart_is_xml_with_a_line_for_each_name() -> None:
    """Titles are escaped, moments are marked, a single point is a circle."""
    lines = {"a": [(0, 1.0), (1, 3.0)], "b": [(1, 2.0)], "c": []}
    svg = ET.fromstring(to_svg(Chart('<"&', lines, {"play": 0.5, "far": 99}, 4)))

    assert svg.get("aria-label") == '<"&'
    assert [made.get("class") for made in svg.iter("polyline")] == ["c0"]
    assert [made.get("class") for made in svg.iter("circle")] == ["c1"]
    assert [made.text for made in svg.iter("title")] == ["play"]
    assert [made.text for made in svg.iter("text")][-5:] == ["0 s", "1 s", "2 s", "3 s", "4 s"]


@pytest.mark.parametrize(("limit", "drawn"), [(5.0, True), (400.0, False)])
def test_chart_shows_a_limit_that_is_in_sight(limit: float, drawn: bool) -> None:
    """One far above would press the lines flat; one of something else is not here."""
    limits = {"a": limit, "other": 1.0}
    svg = ET.fromstring(to_svg(Chart("t", {"a": [(0, 2.0), (1, 3.0)]}, {}, 1, limits)))

    found = [made.text for made in svg.iter("title")]
    assert found == (["a at most 5"] if drawn else [])
    tops = [float(made.text or "0") for made in svg.iter("text") if "s" not in str(made.text)]
    assert max(tops) == (8 if drawn else 4)


def test_chart_of_nothing_is_nothing() -> None:
    """A scenario without messages has no ages."""
    assert to_svg(Chart("t", {"a": []}, {}, 1)) == ""
    assert to_svg(Chart("t", {"a": [(0, 0.0), (1, 0.0)]}, {}, 1)) != ""


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (3, 4), (4, 4), (9, 10), (101, 200), (0.3, 0.4)]
)
def test_chart_top_divides_well(value: float, top: float) -> None:
    """Four steps of 1, 2, 2.5 or 5 times a power of ten."""
    assert nice_top(value) == pytest.approx(top)
