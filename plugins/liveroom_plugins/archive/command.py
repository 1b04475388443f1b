"""`liveroom export`: a session of the archive as a file."""

from __future__ import annotations

from pathlib import Path

import click

from liveroom import ConfigError, Settings
from liveroom_plugins.archive.export import COLUMNS, FORMATS, export_session
from liveroom_plugins.archive.options import archive_url


__all__ = ["export"]


@click.command()
@click.argument("session", required=False)
@click.option("--room", help="The newest session of this room, instead of SESSION.")
@click.option("--format", "form", type=click.Choice([*FORMATS]), default="csv", show_default=True)
@click.option("--what", type=click.Choice([*COLUMNS]), default="events", show_default=True)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Else standard output."
)
@click.option("--archive", "url", metavar="URL", help="Else that of [plugin.archive].")
def export(
    session: str | None,
    room: str | None,
    form: str,
    what: str,
    out: Path | None,
    url: str | None,
    settings: Settings,
) -> None:
    """Write a session (ROOM@OPENED_MS) of the archive as CSV, JSON lines or Parquet."""
    if (session is None) == (room is None):
        raise ConfigError("session", "either SESSION or --room", "both" if session else "neither")
    if form == "parquet" and out is None:
        raise ConfigError("out", "a file: Parquet is not written to standard output", "none")
    found = export_session(url or archive_url(settings), session, room, what, form, out)
    if out is not None:
        click.echo(f"{what} of {found.name} in {out}", err=True)
