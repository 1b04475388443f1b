"""Outcomes: figures, verdicts, and what becomes of what was not measured."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from liveroom_loadtest.figures import FIGURES, shown
from liveroom_loadtest.oracle import Ledger, Track, mark_of
from liveroom_loadtest.outcome import figures_of, judged, outcome_of, per_delivery, to_json
from liveroom_loadtest.ringside import Draw, Sale
from liveroom_loadtest.scenario import Objective, made_from
from liveroom_loadtest.seconds import Second, Timeline
from liveroom_loadtest.swarm import Played


TABLES: dict[str, Any] = {
    "title": "<b>Both</b>",
    "gifts": {"per_s": 1},
    "herd": {"at_s": 1},
    "objectives": [
        {"figure": "age_p99_ms", "at_most": 150},
        {"figure": "oversell", "at_most": 0},
        {"figure": "joins_per_s", "at_least": 5, "at_most": 20},
    ],
}


def played(**changed: Any) -> Played:
    """Ten viewers, two seconds of play; 100 events, the engine used one second of a core."""
    timeline = Timeline()
    for at in range(10, 15):
        second = Second()
        second.joined = 10 if at == 10 else 0
        if at in (12, 13):
            second.events, second.frames, second.bytes, second.danmaku, second.shed = (
                50,
                10,
                5000,
                40,
                10,
            )
            second.ages.record(0.1)
        gauges = {"engine_cpu": at / 2, "engine_rss": 1024.0 * at, "here": 10, "load_cpu": 1.0}
        timeline.take(at, second.to_plain(), gauges)
    made = Played(
        scenario=made_from(TABLES), timeline=timeline, ledger=Ledger(),
        marks={"join": 10.0, "play": 12.0, "settle": 14.0, "end": 15.0, "deciding": 2.0},
        came={"joined": 10, "seconds": 1.0}, counts=Counter(back=4), problems=Counter(), retried=Counter({"429": 2}), judged=10,
        sale=Sale(total=5, available=0, held=5, granted={"a": 3, "b": 2}), draw=None, broken=0,
        others_cores=None,
    )  # fmt: skip
    return made._replace(**changed)


def test_outcome_figures_of_a_run() -> None:
    """Of the span of the play, per second or per event."""
    figures = figures_of(played())

    assert figures["joined"] == 10
    assert figures["joins_per_s"] == 10
    assert figures["age_p99_ms"] == pytest.approx(100, rel=0.03)
    assert figures["deliveries_per_s"] == 50
    assert figures["bytes_per_delivery"] == 100
    assert figures["shed_share"] == 20
    assert figures["engine_cores"] == 0.75
    assert figures["cpu_us_per_delivery"] == 15_000
    assert figures["back"] == 4
    assert figures["retries"] == 2
    assert figures["reserved"] == 5
    assert figures["oversell"] == 0
    assert figures["reply_p99_ms"] is None, "nothing was asked"
    assert set(figures) == set(FIGURES)


def test_outcome_knows_a_sale_that_does_not_add_up() -> None:
    """More granted than there were; other numbers in the engine; one reservation for two."""
    sale = Sale(total=4, held=4, granted={"a": 3, "b": 2})
    assert figures_of(played(sale=sale))["oversell"] == 2

    sale.take({"b": 2})
    assert figures_of(played(sale=sale))["oversell"] == 3
    left = Sale(total=9, available=4, held=5, granted={"a": 5})
    assert figures_of(played(sale=left, counts=Counter(wanted=20)))["undersell"] == 4


def test_outcome_knows_a_draw_that_does_not_add_up() -> None:
    """Strangers, too few, and what was found while it was looked at."""
    draw = Draw(wanted=3, winners=["a", "x"], entered={"a", "b"}, faults=["proof"])
    assert figures_of(played(draw=draw))["draw_faults"] == 3


def test_outcome_knows_lost_gifts() -> None:
    """Acknowledged, and in no log; or in the log and never acknowledged."""
    ledger = Ledger()
    track = Track(ledger, "u", "r")
    track.greeted({"epoch": "e", "seq": 0, "sub": 0, "resumed": False})
    track.take([mark_of({"ev": "gift.sent", "seq": 1, "d": {"n": 1}})])

    lost = [
        figures_of(played(ledger=ledger, counts=Counter(gifts=n)))["gifts_lost"] for n in range(3)
    ]
    assert lost == [1, 0, 1]


@pytest.mark.parametrize(
    ("objective", "value", "reached"),
    [
        (Objective(figure="errors", at_most=0), 0, True),
        (Objective(figure="errors", at_most=0), 1, False),
        (Objective(figure="joined", at_least=5), 5, True),
        (Objective(figure="joined", at_least=5), 4, False),
        (Objective(figure="joined", at_least=5, at_most=5), 6, False),
        (Objective(figure="age_p99_ms", at_most=100), None, False),
    ],
)
def test_outcome_verdict(objective: Objective, value: float | None, reached: bool) -> None:
    """What was not measured was not reached."""
    assert judged(objective, value).reached is reached


def test_outcome_says_what_was_wanted() -> None:
    """As people read it."""
    wanted = [judged(objective, None).wanted for objective in made_from(TABLES).objectives]
    assert wanted == ["<= 150 ms", "= 0", ">= 5/s and <= 20/s"]
    assert judged(Objective(figure="joined", at_least=5, at_most=5), 5).wanted == "= 5"
    assert shown("shed_share", 12.345) == "12.35%"
    assert shown("shed_share", None) == "not measured"


def test_outcome_holds_every_scenario_to_the_oracle() -> None:
    """Also one that states nothing of it."""
    assert outcome_of(played(), {}).reached
    ledger = Ledger()
    ledger.fault("<hole>")
    outcome = outcome_of(played(ledger=ledger), {})
    assert not outcome.reached
    assert outcome.faults == ["<hole>"]


def test_outcome_as_json_has_what_the_page_shows() -> None:
    """Figures, units, objectives, series by the second, faults."""
    plain = orjson.loads(to_json(outcome_of(played(), {"cores": 2})))

    assert plain["reached"] is True
    assert plain["figures"]["oversell"] == 0
    assert plain["units"]["age_p99_ms"] == "ms"
    assert [row["figure"] for row in plain["objectives"]][-2:] == ["oracle_faults", "joined"]
    assert plain["series"]["deliveries"] == [[0, 0], [1, 0], [2, 50], [3, 50], [4, 0]]
    assert plain["series"]["engine_cores"] == [[1, 0.5], [2, 0.5], [3, 0.5], [4, 0.5]]
    assert plain["scenario"]["crowd"]["viewers"] == 500
    assert plain["phases_s"]["settle"] == 4


def test_outcome_tells_what_each_delivery_took_while_it_was_played() -> None:
    """Not of the seconds before and after, nor of one in which nothing was shown."""
    series = {
        "deliveries": [(1, 10.0), (2, 1000.0), (3, 0.0), (4, 500.0), (5, 1.0)],
        "engine_cores": [(1, 1.0), (2, 0.5), (3, 0.1), (4, 0.5), (5, 1.0)],
    }
    assert per_delivery(series, 1.5, 4.5) == {"cpu_us_per_delivery": [(2, 500.0), (4, 1000.0)]}
