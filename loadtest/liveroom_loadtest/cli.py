"""The `liveroom-loadtest` command: options in, report and exit status out.

Exit status 0: every objective was reached; 1: one was not; 2: it could not be run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NoReturn

import click
import uvloop

from liveroom.errors import LiveroomError
from liveroom_loadtest.child import raise_file_limit
from liveroom_loadtest.desk import DeskFailed
from liveroom_loadtest.engine import EngineFailed, Target, own_engine
from liveroom_loadtest.figures import FIGURES, shown
from liveroom_loadtest.machine import described
from liveroom_loadtest.outcome import Outcome, outcome_of, to_json
from liveroom_loadtest.page import to_html
from liveroom_loadtest.processes import LoadFailed
from liveroom_loadtest.progress import progress
from liveroom_loadtest.scenario import Scenario, ScenarioError, load_scenario, resized
from liveroom_loadtest.swarm import Options, Played, Swarm
from liveroom_loadtest.wire import address_of


__all__ = ["cli", "main"]

SCENARIOS = files("liveroom_loadtest") / "scenarios"
"""Those that come with the package."""

_STATUS_MISSED, _STATUS_NOT_RUN = 1, 2

_file = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Load tests for live rooms."""


@cli.command()
@click.argument("scenario")
@click.option("--url", default="", help="A running engine: ws://host:port.")
@click.option(
    "--engine", is_flag=True, help="Start an engine for the test, with a store of its own."
)
@click.option("--viewers", type=int, metavar="N", help="How many come, instead of the scenario's.")
@click.option("--processes", type=int, metavar="P", help="Processes that hold them.")
@click.option("--seconds", type=float, metavar="S", help="How long it is played.")
@click.option("--workers", type=int, metavar="W", help="Of the engine that --engine starts.")
@click.option(
    "--secret", default="", help="That tokens are signed with; better LIVEROOM_JWT_SECRET."
)
@click.option("--room", "rooms", multiple=True, help="An open room; else new ones are opened.")
@click.option("--pid", type=int, default=0, help="Of the running engine's supervisor, for its CPU.")
@click.option("--ops", default="", help="The running engine's ops listener, for its metrics.")
@click.option(
    "--per-address",
    type=int,
    default=20,
    show_default=True,
    help="Viewers for each source address on loopback; 0: one address.",
)
@click.option("--html", type=_file, help="Write the report here.")
@click.option("--json", "json_file", type=_file, help="Write the figures here.")
@click.option("--quiet", is_flag=True, help="No progress.")
def swarm(scenario: str, html: Path | None, json_file: Path | None, **given: Any) -> None:
    """Play SCENARIO, a TOML file or the name of one of `scenarios`."""
    try:
        played = _scenario_of(scenario, given)
        raise_file_limit()
        outcome = uvloop.run(_run(played, given))
    except (ScenarioError, DeskFailed, EngineFailed, LoadFailed, LiveroomError) as exc:
        _not_run(exc)
    except KeyboardInterrupt:
        _not_run("interrupted")
    if html is not None:
        html.write_text(to_html(outcome), encoding="utf-8")
    if json_file is not None:
        json_file.write_bytes(to_json(outcome))
    _tell(outcome)
    raise SystemExit(0 if outcome.reached else _STATUS_MISSED)


@cli.command()
def scenarios() -> None:
    """List the scenarios that come with this command."""
    for file in sorted(SCENARIOS.iterdir(), key=lambda file: file.name):
        made = load_scenario(file)
        click.echo(f"{file.name.removesuffix('.toml'):16} {made.title}: {made.about}")


@cli.command()
def figures() -> None:
    """List the figures that objectives may name."""
    for name, figure in FIGURES.items():
        click.echo(f"{name:20} {figure.unit:6} {figure.meaning}")


def _scenario_of(text: str, given: dict[str, Any]) -> Scenario:
    named = SCENARIOS / f"{text}.toml"
    file: Traversable = named if "/" not in text and named.is_file() else Path(text)
    names = ("viewers", "processes", "seconds", "workers")
    return resized(load_scenario(file), **{name: given[name] for name in names})


async def _run(scenario: Scenario, given: dict[str, Any]) -> Outcome:
    async with _target(scenario, given) as target:
        machine = described(target)
        with progress(quiet=given["quiet"]) as (say, show):
            options = Options(given["rooms"], given["per_address"], say, show)
            played: Played = await Swarm(scenario, target, options).run()
    return outcome_of(played, machine)


@contextlib.asynccontextmanager
async def _target(scenario: Scenario, given: dict[str, Any]) -> AsyncIterator[Target]:
    """Yield the engine. Raises ScenarioError, EngineFailed."""
    if given["engine"] == bool(given["url"]):
        raise ScenarioError("expected --url or --engine, one of them")
    if given["engine"]:
        async with own_engine(scenario.engine) as target:
            yield target
        return
    try:
        address = address_of(given["url"])
    except ValueError as exc:
        raise ScenarioError(f"--url: {exc}") from exc
    secret = given["secret"] or os.environ.get("LIVEROOM_JWT_SECRET", "")
    yield Target(address, secret, given["pid"], given["ops"])


def _tell(outcome: Outcome) -> None:
    click.echo(f"\n{outcome.scenario.title}")
    for name, value in outcome.figures.items():
        if value is not None:
            click.echo(f"  {name:20} {shown(name, value)}")
    for text in outcome.faults:
        click.echo(f"FAULT {text}")
    for text, count in outcome.problems.items():
        click.echo(f"ERROR {count} x {text}")
    for text, count in outcome.retried.items():
        click.echo(f"RETRY {count} x {text}")
    click.echo()
    for verdict in outcome.verdicts:
        word = "PASS" if verdict.reached else "FAIL"
        name = verdict.objective.figure
        click.echo(f"{word} {name} {verdict.wanted}: {shown(name, verdict.value)}")


def _not_run(why: object) -> NoReturn:
    click.echo(f"liveroom-loadtest: {why}", err=True)
    raise SystemExit(_STATUS_NOT_RUN)


def main() -> None:
    """Run the command."""
    cli(prog_name="liveroom-loadtest")
