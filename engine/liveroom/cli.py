"""The `liveroom` command (layer 10).

Exit status 2: a setting or an argument cannot be used; 1: it could not be done; both with one
sentence on standard error.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn

import click

from liveroom import __version__, config
from liveroom.errors import ConfigError, StoreError


__all__ = ["cli", "main"]

ROLES = ("viewer", "assistant", "moderator", "host", "service")
COMMANDS = "liveroom.commands"
_DAY_S = 86_400
_PIPE_WIDTH = 250

_config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file with settings; the environment and the options win.",
)


def _fail(status: int, sentence: object) -> NoReturn:
    click.echo(f"liveroom: {sentence}", err=True)
    raise SystemExit(status)


def _sentences(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command's expected failures shown as a sentence instead of a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ConfigError as exc:
            _fail(2, exc)
        except StoreError as exc:
            _fail(1, exc)

    return run


class _Commands(click.Group):
    """The engine's own commands, and those of plugins: entry points of the group `liveroom.commands`.

    One of a plugin is loaded when it is asked for, so it costs the others nothing.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        own = super().list_commands(ctx)
        return sorted({*own, *entry_points(group=COMMANDS).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for point in entry_points(group=COMMANDS, name=cmd_name):
            try:
                found = _of_plugin(point.load())
            except Exception as exc:  # noqa: BLE001  # isolation: the others must still run
                found = _broken(cmd_name, exc)
            self.add_command(found, cmd_name)
            return found
        return None


def _of_plugin(command: click.Command) -> click.Command:
    """Return a plugin's command with `--config`; its callback is given the settings."""
    callback = command.callback
    assert callback is not None, "a command that does something"

    @_config_option
    @_sentences
    def run(config_file: Path | None, **given: Any) -> Any:
        return callback(settings=config.load(config_file), **given)

    command.callback = run
    command.params += run.__click_params__  # type: ignore[attr-defined]  # what the option left
    return command


def _broken(name: str, exc: Exception) -> click.Command:
    """Return what stands in for a command that cannot be loaded."""
    sentence = f"{name} cannot be loaded: {exc}"
    return click.Command(name, callback=lambda: _fail(1, sentence), help=sentence)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Real-time interaction engine for live-commerce rooms."""


@cli.command()
@_config_option
@click.option("--dev", is_flag=True, default=None, help="Let guests in. Never in production.")
@click.option("--demo", is_flag=True, help="Open the room `demo`.")
@click.option("--data", metavar="DIR", help="Where the embedded store keeps its data.")
@click.option("--redis", metavar="URL", help="The store; with a password rather by LIVEROOM_REDIS.")
@click.option("--durability", metavar="LEVEL", help="auto, memory, everysec, fsync or replica.")
@click.option("--workers", type=int, metavar="N", help="Processes that share the port.")
@click.option("--host", help="Where viewers are served.")
@click.option("--port", type=int, help="0 takes a free one.")
@click.option("--ops-host", help="Where the ops page, /metrics, /healthz and /readyz are served.")
@click.option("--ops-port", type=int, help="0 takes a free one.")
@click.option("--drain-s", type=float, metavar="S", help="Window of sending viewers away.")
@click.option("--log-level", help="debug, info, warning or error.")
@click.option("--log-format", help="json, console or auto.")
@_sentences
def serve(config_file: Path | None, demo: bool, **overrides: Any) -> None:
    """Run the engine: its store, its workers, its ops listener.

    Settings come from the defaults, --config, LIVEROOM_* variables and these options, in this
    order; `liveroom config` shows them all.
    """
    from liveroom.children import WorkerFailed
    from liveroom.supervisor import serve as run

    settings = config.load(config_file, overrides=overrides)
    try:
        status = run(settings, demo=demo, announce=click.echo)
    except WorkerFailed as exc:
        _fail(exc.status, exc)
    raise SystemExit(status)


@cli.command()
@_config_option
@click.option(
    "--show",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The show: a .toml or .json file.",
)
@click.option("--viewers", type=click.IntRange(1, 20_000), default=500, show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option(
    "--speed",
    type=click.FloatRange(0.01, 1000),
    default=1.0,
    show_default=True,
    help="Divides the times of the show.",
)
@click.option("--room", default="rehearsal", show_default=True)
@click.option("--url", default="", help="A running engine instead of one of its own.")
@click.option("--token", default="", help="A host's there; better LIVEROOM_JWT_SECRET.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the report here.",
)
@click.option("--log-level", default="warning", show_default=True)
@_sentences
def demo(config_file: Path | None, log_level: str, json_file: Path | None, **options: Any) -> None:
    """Rehearse a show before a simulated audience; status 1 if a cue or a sum did not hold."""
    from liveroom.children import WorkerFailed
    from liveroom.rehearsal import Demo, run

    settings = config.load(config_file, overrides={"log_level": log_level})
    try:
        status = run(settings, Demo(json=json_file, **options), click.echo)
    except WorkerFailed as exc:
        _fail(exc.status, exc)
    raise SystemExit(status)


@cli.command(hidden=True)
def worker() -> None:
    """Serve as the supervisor orders on standard input."""
    from liveroom.worker import run_ordered

    raise SystemExit(run_ordered())


@cli.command()
@_config_option
@click.option("--room", required=True, help="The room's id; * with the role service.")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option("--user", required=True, help="The user's id.")
@click.option("--name", help="What others see; the user's id if left out.")
@click.option("--ttl", type=click.IntRange(1, _DAY_S), default=3600, metavar="S", show_default=True)
@_sentences
def token(
    config_file: Path | None, room: str, role: str, user: str, name: str | None, ttl: int
) -> None:
    """Print a token, signed with the secret of LIVEROOM_JWT_SECRET or of --config."""
    from liveroom.auth.tokens import mint

    settings = config.load(config_file)
    if not settings.signing_secret:
        expected = "the engine's HS256 secret, in LIVEROOM_JWT_SECRET or in --config"
        raise ConfigError("jwt_secret", expected, "none")
    made = mint(
        settings.signing_secret,
        user=user,
        room=room,
        role=role,
        name=name,
        ttl_s=ttl,
        now=time.time(),
        issuer=settings.jwt_issuer or None,
        audience=settings.jwt_audience or None,
    )
    click.echo(made)


@cli.command()
@_config_option
@click.argument("room")
@click.option("--redis", metavar="URL", help="The store; with a password rather by LIVEROOM_REDIS.")
@click.option("--full", is_flag=True, help="Look at everything, however long it takes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_sentences
def audit(config_file: Path | None, room: str, full: bool, as_json: bool, **overrides: Any) -> None:
    """Recompute the invariants of a room and verify its trail; status 1 if something is broken."""
    from liveroom.auditing import run_audit
    from liveroom.log import setup

    settings = config.load(config_file, overrides=overrides)
    setup("error", settings.log_format)
    report = run_audit(settings, room, full=full)
    click.echo(report.to_json() if as_json else report.to_text())
    raise SystemExit(0 if report.sound else 1)


@cli.command(
    "verify-draw", add_help_option=False, context_settings={"ignore_unknown_options": True}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify_draw(arguments: tuple[str, ...]) -> None:
    """Check the proof of a draw (docs/draw-proof.md)."""
    from liveroom.verify_draw import main as check

    raise SystemExit(check(list(arguments)))


@cli.command("config")
@_config_option
@_sentences
def show_config(config_file: Path | None) -> None:
    """Print every setting that holds: name, value, unit, effect."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=40)
    table.add_column("unit", no_wrap=True)
    table.add_column("effect", overflow="fold")
    for row in config.describe(config.load(config_file)):
        table.add_row(*map(Text, row))
    # In a pipe nobody knows the width: one line per setting is what a program wants.
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


@cli.command("version")
def show_version() -> None:
    """Print the version."""
    click.echo(__version__)


def main() -> None:
    """Run the command."""
    cli(prog_name="liveroom")
