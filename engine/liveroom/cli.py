"""The `liveroom` command (layer 10).

Exit status 2: a setting or an argument cannot be used; 1: it could not be done; both with one
sentence on standard error.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from liveroom import __version__, config
from liveroom.errors import ConfigError, StoreError


__all__ = ["cli", "main"]

ROLES = ("viewer", "assistant", "moderator", "host", "service")
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
@click.option("--ops-host", help="Where /metrics, /healthz and /readyz are served.")
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
    if not settings.jwt_secret:
        expected = "the engine's HS256 secret, in LIVEROOM_JWT_SECRET or in --config"
        raise ConfigError("jwt_secret", expected, "none")
    made = mint(
        settings.jwt_secret,
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
