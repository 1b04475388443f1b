"""Scenarios: what is taken, and how a wrong one is told."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveroom_loadtest.scenario import ScenarioError, load_scenario, made_from, resized


ROOT = Path(__file__).parents[3]
SCENARIOS = sorted((ROOT / "loadtest" / "liveroom_loadtest" / "scenarios").iterdir())


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_scenario_that_comes_with_the_package_is_valid(file: Path) -> None:
    """Each states objectives, and is small enough to run within a minute on two cores."""
    scenario = load_scenario(file)

    assert scenario.objectives
    assert {one.figure for one in scenario.objectives} >= {"errors", "oracle_faults"}
    assert scenario.seconds <= 20
    assert scenario.crowd.viewers <= 1000


def test_scenario_files_are_the_seven() -> None:
    """Those that the documentation tells of."""
    names = {file.stem for file in SCENARIOS}
    assert names == {"steady", "storm", "flood", "flash", "lottery", "herd", "rooms"}


def scenario(**tables: Any) -> dict[str, Any]:
    return {"title": "t"} | tables


def test_scenario_of_the_documentation_has_every_field() -> None:
    """It is valid, and names every table and field that there is."""
    text = (Path(__file__).parents[3] / "docs" / "loadtest.md").read_text(encoding="utf-8")
    example = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])
    made = made_from(example)

    every = set(msgspec.to_builtins(made)) - {"about"}
    assert set(example) == every
    for name in every - {"title", "seconds", "settle_s", "seed", "objectives"}:
        assert set(example[name]) >= set(msgspec.to_builtins(getattr(made, name))) - {"gift"}, name


WRONG = [
    ({"tilte": "t"}, "unknown field `tilte`"),
    (scenario(crowd={"viewers": 0}), "crowd.viewers: Expected `int` >= 1"),
    (scenario(crowd={"viewers": -5}), "crowd.viewers: Expected `int` >= 1"),
    (scenario(crowd={"viewrs": 5}), "crowd: Object contains unknown field `viewrs`"),
    (scenario(danmaku={"per_s": -1}), "danmaku.per_s: Expected `float` >= 0.0"),
    (scenario(danmaku={"per_s": "many"}), "danmaku.per_s: Expected `float`, got `str`"),
    (scenario(crowd={"codec": "xml"}), "crowd.codec: Invalid enum value 'xml'"),
    (scenario(crowd={"viewers": 3, "rooms": 4}), "crowd.rooms: expected at most 3"),
    (scenario(seconds=5, herd={"at_s": 5}), "herd.at_s: expected below seconds (5), came 5"),
    (scenario(storm={"at_s": 1, "share": 1.5}), "storm.share: Expected `float` <= 1.0"),
    (scenario(crowd={"viewers": 10}, danmaku={"per_s": 20}), "danmaku.per_s: expected at most 14"),
    (scenario(objectives=[{"figure": "speed", "at_most": 1}]), "objectives[0].figure: expected one of"),
    (scenario(objectives=[{"figure": "errors"}]), "objectives[0]: expected at_most or at_least"),
    ({}, "missing required field `title`"),
]  # fmt: skip


@pytest.mark.parametrize(("tables", "sentence"), WRONG, ids=lambda value: str(value)[:40])
def test_scenario_that_is_wrong_is_told_by_its_place(tables: Any, sentence: str) -> None:
    """The sentence names the field, what was expected and what came."""
    with pytest.raises(ScenarioError) as caught:
        made_from(tables)

    assert sentence in str(caught.value)


def test_scenario_file_that_cannot_be_read_is_told_with_its_name(tmp_path: Path) -> None:
    """As is one that is no TOML."""
    file = tmp_path / "s.toml"
    with pytest.raises(ScenarioError, match=r"s\.toml: cannot be read"):
        load_scenario(file)

    file.write_text("title = ")
    with pytest.raises(ScenarioError, match=r"s\.toml: not TOML"):
        load_scenario(file)


def test_scenario_of_another_size_is_checked_again() -> None:
    """Ten viewers may not say what five hundred may."""
    made = made_from(scenario(danmaku={"per_s": 50}))

    assert resized(made, viewers=100, seconds=3).crowd.viewers == 100
    assert resized(made, workers=2).engine.workers == 2
    with pytest.raises(ScenarioError, match="each viewer who is there"):
        resized(made, viewers=10)
