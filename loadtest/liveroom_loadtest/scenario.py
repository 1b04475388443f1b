"""Scenarios: what a crowd does, and what is expected of the engine, as TOML (pure)."""

from __future__ import annotations

import tomllib
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from liveroom_loadtest.figures import FIGURES


__all__ = ["Objective", "Scenario", "ScenarioError", "load_scenario", "made_from", "resized"]

SPEAKS_PER_S = 1.4
"""Messages a second of one viewer; the engine takes 1.5."""

Positive = Annotated[float, Meta(gt=0, le=1_000_000)]
Rate = Annotated[float, Meta(ge=0, le=1_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Text = Annotated[str, Meta(min_length=1, max_length=400)]


class ScenarioError(Exception):
    """A scenario cannot be used: where, what was expected, what came."""


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Crowd(_Table, frozen=True):
    """Who comes, and how. `join_per_s` 0: as fast as it goes."""

    viewers: Count = 500
    rooms: Annotated[int, Meta(ge=1, le=10_000)] = 1
    processes: Annotated[int, Meta(ge=1, le=64)] = 2
    join_per_s: Rate = 0
    join_at_once: Count = 64
    codec: Literal["json", "msgpack"] = "json"
    deflate: bool = False
    probe_every: Count = 10


class Danmaku(_Table, frozen=True):
    """Messages, over all rooms; one in `ask_every` wants a reply."""

    per_s: Rate
    ask_every: Count = 10


class Likes(_Table, frozen=True):
    """`like.send`, over all rooms."""

    per_s: Rate


class Gifts(_Table, frozen=True):
    """Gifts under keys, over all rooms; each giver is given money first."""

    per_s: Rate
    gift: Text = "rose"
    givers: Annotated[int, Meta(ge=1, le=5000)] = 50


class Storm(_Table, frozen=True):
    """A share of the viewers comes only now, all at once."""

    at_s: Seconds
    share: Share = 0.8
    join_at_once: Count = 256


class Herd(_Table, frozen=True):
    """A share of the viewers loses the connection at one moment and comes back with its position."""

    at_s: Seconds
    share: Share = 0.8


class Flash(_Table, frozen=True):
    """A sale of few units to many; `repeats` of the buyers click twice, under one key."""

    at_s: Seconds
    units: Count
    price: Count = 990
    buyers: Share = 0.8
    within_s: Seconds = 0.5
    repeats: Share = 0.2


class Lottery(_Table, frozen=True):
    """A draw; `share` of the viewers enter within `seconds`, then it is frozen and drawn."""

    at_s: Seconds
    seconds: Positive = 5
    share: Share = 0.8
    winners: Annotated[int, Meta(ge=1, le=10_000)] = 10


class Engine(_Table, frozen=True):
    """The engine that `--engine` starts: workers, and settings by their names."""

    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    settings: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)


class Objective(_Table, frozen=True):
    """What a figure has to be."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None


class Scenario(_Table, frozen=True):
    """One load test."""

    title: Text
    about: str = ""
    seconds: Positive = 20
    settle_s: Positive = 10
    seed: int = 1
    crowd: Crowd = Crowd()
    engine: Engine = Engine()
    danmaku: Danmaku | None = None
    likes: Likes | None = None
    gifts: Gifts | None = None
    storm: Storm | None = None
    herd: Herd | None = None
    flash: Flash | None = None
    lottery: Lottery | None = None
    objectives: list[Objective] = []


def load_scenario(path: Traversable) -> Scenario:
    """Read a file. Raises ScenarioError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path}: cannot be read: {exc}") from exc
    try:
        return made_from(tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        raise ScenarioError(f"{path}: not TOML: {exc}") from exc
    except ScenarioError as exc:
        raise ScenarioError(f"{path}: {exc}") from exc


def made_from(tables: Any) -> Scenario:
    """Return the scenario of plain tables. Raises ScenarioError."""
    try:
        made = msgspec.convert(tables, Scenario)
    except msgspec.ValidationError as exc:
        raise ScenarioError(_place(str(exc))) from exc
    _check(made)
    return made


def resized(
    scenario: Scenario,
    *,
    viewers: int | None = None,
    processes: int | None = None,
    seconds: float | None = None,
    workers: int | None = None,
) -> Scenario:
    """Return it with another crowd, time or engine; None leaves as it is. Raises ScenarioError."""
    plain: dict[str, Any] = msgspec.to_builtins(scenario)
    given = (
        (plain["crowd"], "viewers", viewers),
        (plain["crowd"], "processes", processes),
        (plain, "seconds", seconds),
        (plain["engine"], "workers", workers),
    )
    for table, name, value in given:
        if value is not None:
            table[name] = value
    return made_from(plain)


def _place(sentence: str) -> str:
    """Return msgspec's sentence with the place in front, as in `crowd.viewers: …`."""
    what, _, place = sentence.rpartition(" - at `$")
    return f"{place.rstrip('`').removeprefix('.')}: {what}" if what else sentence


def _check(scenario: Scenario) -> None:
    """Check what is about several fields. Raises ScenarioError."""
    crowd = scenario.crowd
    if crowd.rooms > crowd.viewers:
        raise ScenarioError(
            f"crowd.rooms: expected at most {crowd.viewers} viewers' worth, came {crowd.rooms}"
        )
    for name in ("storm", "herd", "flash", "lottery"):
        part = getattr(scenario, name)
        if part is not None and part.at_s >= scenario.seconds:
            raise ScenarioError(
                f"{name}.at_s: expected below seconds ({scenario.seconds:g}), came {part.at_s:g}"
            )
    _check_speech(scenario)
    for number, objective in enumerate(scenario.objectives):
        _check_objective(f"objectives[{number}]", objective)


def _check_speech(scenario: Scenario) -> None:
    if scenario.danmaku is None:
        return
    most = speakers(scenario) * SPEAKS_PER_S
    if scenario.danmaku.per_s > most:
        raise ScenarioError(
            f"danmaku.per_s: expected at most {most:g}, as each viewer who is there all the time "
            f"may send {SPEAKS_PER_S:g} a second, came {scenario.danmaku.per_s:g}"
        )


def speakers(scenario: Scenario) -> float:
    """Return about how many viewers are there from the beginning to the end."""
    here = 1.0 - (scenario.storm.share if scenario.storm else 0.0)
    if scenario.herd and scenario.herd.share < 1:
        here *= 1.0 - scenario.herd.share
    return scenario.crowd.viewers * here


def _check_objective(place: str, objective: Objective) -> None:
    if objective.figure not in FIGURES:
        known = ", ".join(FIGURES)
        raise ScenarioError(f"{place}.figure: expected one of {known}; came {objective.figure}")
    if objective.at_most is None and objective.at_least is None:
        raise ScenarioError(f"{place}: expected at_most or at_least, came neither")
