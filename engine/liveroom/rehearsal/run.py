"""The command `liveroom demo`: options in, report and exit status out (layer 9)."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import uvloop

from liveroom.auth.tokens import mint
from liveroom.children import WorkerFailed
from liveroom.config import Settings
from liveroom.errors import ConfigError, LiveroomError
from liveroom.log import setup
from liveroom.rehearsal.play import Scene, Tokens, rehearse
from liveroom.rehearsal.plugins import plugins_of
from liveroom.rehearsal.report import Report, lines
from liveroom.rehearsal.stage import stage
from liveroom.rehearsal.wire import Address, address_of
from liveroom.shows import Show, load_show


__all__ = ["Demo", "rehearse_as", "run"]

_TOKEN_S = 6 * 3600
_STATUS_NOT_OK = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What is to be rehearsed, and where.

    Args:
        show: the file of the show, TOML or JSON.
        viewers: how many come.
        workers: how many processes serve them, if the engine is started for it.
        speed: times of the show are divided by it.
        room: the sandbox.
        url: of a running engine, instead of one of its own; tokens are signed with `jwt_secret`.
        token: of the host there, if there is no secret; then the viewers are guests.
        json: where the report is written, too.
    """

    show: Path
    viewers: int = 500
    workers: int = 2
    speed: float = 1.0
    room: str = "rehearsal"
    url: str = ""
    token: str = ""
    json: Path | None = None


def run(settings: Settings, demo: Demo, say: Callable[[str], object] = print) -> int:
    """Rehearse a show; return the exit status: 0 only if every cue was fired and everything held.

    Raises:
        ConfigError: the show or a setting cannot be used.
        StoreError: the store does not start.
        WorkerFailed: a worker does not start.
    """
    show = load_show(demo.show)
    _raise_file_limit()
    setup(settings.log_level, settings.log_format)
    try:
        report = uvloop.run(rehearse_as(settings, demo, show, say))
    except (ConfigError, WorkerFailed):
        raise
    except LiveroomError as exc:
        say(f"the rehearsal failed: {exc}")
        return _STATUS_NOT_OK
    if demo.json is not None:
        demo.json.write_bytes(_json(report))
    for line in lines(report):
        say(line)
    return 0 if report.ok else _STATUS_NOT_OK


async def rehearse_as(
    settings: Settings, demo: Demo, show: Show, say: Callable[[str], object]
) -> Report:
    """Rehearse a show where the options say. Raises LiveroomError."""
    place = _there(settings, demo) if demo.url else _here(settings, demo, show)
    async with place as (address, tokens):
        scene = Scene(
            addresses=[address],
            room=demo.room,
            tokens=tokens,
            viewers=demo.viewers,
            speed=demo.speed,
            workers=demo.workers,
        )
        return await rehearse(show, scene, say)


@contextlib.asynccontextmanager
async def _here(
    settings: Settings, demo: Demo, show: Show
) -> AsyncIterator[tuple[Address, Tokens]]:
    made = replace(settings, plugins=plugins_of(show, settings))
    async with stage(made, demo.workers) as (address, secret):
        yield address, _signed(secret, demo.room)


@contextlib.asynccontextmanager
async def _there(settings: Settings, demo: Demo) -> AsyncIterator[tuple[Address, Tokens]]:
    try:
        address = address_of(demo.url)
    except ValueError as exc:
        raise ConfigError("url", "ws://host:port or wss://host:port", demo.url) from exc
    if settings.signing_secret:
        issuer, audience = settings.jwt_issuer, settings.jwt_audience
        yield address, _signed(settings.signing_secret, demo.room, issuer, audience)
    elif demo.token:
        yield address, _guests(demo.token)
    else:
        raise ConfigError("token", "a host's token, or the engine's LIVEROOM_JWT_SECRET", "none")


def _signed(secret: str, room: str, issuer: str = "", audience: str = "") -> Tokens:
    """Return what signs tokens as the platform would."""

    def token(role: str, user: str) -> str:
        return mint(
            secret, user=user, room=room, role=role, ttl_s=_TOKEN_S, now=time.time(),
            issuer=issuer or None, audience=audience or None,
        )  # fmt: skip

    return token


def _guests(host: str) -> Tokens:
    """Return the one token that there is; a development server lets viewers in as guests."""
    return lambda role, user: {"host": host, "viewer": f"guest:{user}"}.get(role, "")


def _json(report: Report) -> bytes:
    fields = {"ok": report.ok} | msgspec.to_builtins(report)
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def _raise_file_limit() -> None:
    """Allow as many connections as this process may have at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
