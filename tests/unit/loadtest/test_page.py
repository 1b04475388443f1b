"""The page: one file that loads nothing, with everything in it escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from liveroom_loadtest.figures import FIGURES
from liveroom_loadtest.outcome import Outcome, judged
from liveroom_loadtest.page import to_html
from liveroom_loadtest.scenario import Objective, made_from


class Balance(HTMLParser):
    """Notes the tags that stay open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "line", "i"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("i", "line"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass


def outcome(value: float) -> Outcome:
    figures: dict[str, float | None] = dict.fromkeys(FIGURES)
    return Outcome(
        scenario=made_from({"title": "<script>", "about": "a & b"}),
        figures=figures | {"age_p99_ms": value, "load_lag_p99_ms": 80, "others_cores": 1.0},
        verdicts=[judged(Objective(figure="age_p99_ms", at_most=100), value)],
        series={"age_p99_ms": [(0, 1.0), (1, value)], "viewers": [(0, 5.0)], "errors": [(0, 0.0)]},
        faults=["<img src=x>"],
        problems={"lost": 3},
        retried={"refused: HTTP/1.1 429": 1500},
        phases={"join": 0.0, "play": 0.5, "settle": 0.9, "end": 1.0},
        machine={"cores": 2},
    )


def test_page_is_whole_and_loads_nothing() -> None:
    """Texts are text; no script, no address of anywhere."""
    page = to_html(outcome(50))
    balance = Balance()
    balance.feed(page)

    assert balance.open == []
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"\b(?:src|href|url)\s*[=(]", page.replace("&lt;img src=x&gt;", ""))
    assert page.count("<svg") == 2


def test_page_tells_whether_objectives_were_reached_and_what_makes_figures_rough() -> None:
    """With a word, not with a colour alone."""
    assert "FAIL" not in to_html(outcome(50))
    page = to_html(outcome(150))
    assert page.count(">FAIL<") == 2
    assert "late by 80 ms" in page
    assert "Other programs used 1.00 cores" in page
    assert "3 x lost" in page
    assert "1,500 x refused: HTTP/1.1 429" in page


def test_page_draws_what_an_objective_allows_and_no_chart_of_nothing() -> None:
    """The limit stands in the chart of its figure; what was zero all the time is one sentence."""
    page = to_html(outcome(50))
    assert page.count('class="limit"') == 1
    assert "age_p99_ms at most 100" in page
    assert "Zero all the time: Errors a second." in page
    assert "Errors a second</" not in page
