"""Alerts as a plugin: who judges, who is told, what is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from liveroom import (
    HOST_SURFACES,
    Call,
    Clock,
    Commit,
    ConfigError,
    Empty,
    Engine,
    LogEntry,
    Member,
    Plugin,
    Result,
    Role,
    RoomHandle,
    StoreError,
    command,
)
from liveroom_plugins.alerts.desk import Desk
from liveroom_plugins.alerts.file import RulesFile
from liveroom_plugins.alerts.shapes import EVENTS, AlertOf
from liveroom_plugins.alerts.watch import Pair, Watch


__all__ = ["Alerts"]

log = structlog.get_logger("liveroom.alerts")

_EVERY_S: Final = 1.0
_TOLD: Final = b'{"ev":"alert.told"'
_DEFAULT: Final = Path(__file__).with_name("default.toml")
"""The rules of whoever gives none."""


class AlertMetrics:
    """What alerts count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rules = Gauge("liveroom_alert_rules", "Rules in force", registry=registry)
        self.bad_file = Gauge(
            "liveroom_alert_rules_bad", "1: the file cannot be used, old rules hold",
            registry=registry,
        )  # fmt: skip
        self._raised = Counter(
            "liveroom_alerts_raised", "Alerts raised by this worker", ["severity"],
            registry=registry,
        )  # fmt: skip

    def raised(self, severity: str) -> None:
        """Count one."""
        self._raised.labels(severity).inc()


class Alerts(Plugin):
    """Every worker samples the rooms that it serves; in each one of them judges, and raises.

    Args:
        every_s: how often.
        clock: tells when a sample is taken; the engine's if left out.
    """

    name = "alerts"
    lua = (resources.files("liveroom_plugins.alerts") / "alerts.lua").read_text(encoding="utf-8")
    events = EVENTS

    def __init__(self, every_s: float = _EVERY_S, clock: Clock | None = None) -> None:
        self._every_s = every_s
        self._clock = clock
        self._desks: dict[str, Desk] = {}
        self._rules: Sequence[Pair] = ()
        self._problem = ""

    async def start(self, engine: Engine) -> None:
        """Read the rules and begin. Raises ConfigError."""
        self._engine = engine
        self._now = (self._clock or engine.clock).monotonic
        self.metrics = AlertMetrics(engine.metrics.registry)
        self._file = RulesFile(_path(engine), engine)
        self._rules = self._file.read()
        self.metrics.rules.set(len(self._rules))
        engine.every(min(self._every_s, _EVERY_S / 2), self.reload)
        engine.every(self._every_s, self.tick)

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Look after a room that this worker serves."""
        self._desk(room)

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Count what happens; pass on what is to be told."""
        if room.id[0] == "~":
            return
        self._desk(room).watch.observe(entry)
        if entry.item.startswith(_TOLD):
            self._tell(room, orjson.loads(entry.item)["d"])

    def reload(self) -> None:
        """Take the rules of a file that has changed; keep the old ones if it cannot be used."""
        if not self._file.changed():
            return
        try:
            self._rules = self._file.read()
        except ConfigError as exc:
            self._problem = str(exc)
            log.warning("rules not taken, the old ones hold", error=self._problem)
        else:
            self._problem = ""
            for desk in self._desks.values():
                desk.watch.set_rules(self._rules)
            log.info("rules taken", rules=len(self._rules))
            self.metrics.rules.set(len(self._rules))
        self.metrics.bad_file.set(bool(self._problem))

    async def tick(self) -> None:
        """Sample every room, and judge where it is this worker's turn."""
        now = self._now()
        gone = [
            name for name, desk in self._desks.items() if self._engine.room(name) is not desk.room
        ]
        for name in gone:
            del self._desks[name]
        desks = [desk for desk in self._desks.values() if desk.wanted]
        done = await asyncio.gather(*(desk.tick(now) for desk in desks), return_exceptions=True)
        for desk, error in zip(desks, done, strict=True):
            if isinstance(error, StoreError):
                log.warning("rules not judged", room=desk.room.id, error=str(error))
            elif error is not None:
                log.error("rules not judged", room=desk.room.id, exc_info=error)

    def _desk(self, room: RoomHandle) -> Desk:
        desk = self._desks.get(room.id)
        if desk is None or desk.room is not room:
            watch = Watch(room, self._rules)
            desk = self._desks[room.id] = Desk(self._engine, watch, self.metrics.raised)
        return desk

    def _tell(self, room: RoomHandle, d: dict[str, Any]) -> None:
        """Tell the staff on this worker; every worker that serves the room hears of it."""
        for member in _staff(room.members):
            member.tell("alert", d)

    # Commands.

    @command("alert.ack", AlertOf, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def ack(self, call: Call[AlertOf]) -> Commit:
        """Say that one has seen an alert; returns `{alert, acknowledged, by}`."""
        return Commit("alert.ack", {"alert": call.body.alert}, idempotent=True)

    @command("alert.list", Empty, role=Role.MODERATOR, surfaces=HOST_SURFACES, audited=False)
    async def list(self, call: Call[Empty]) -> Result:
        """Return `{live, past, rules, problem}`: alerts now and before, and what is wrong with the file."""
        reply = await call.room.submit(call.operation("alert.list", {}))
        if reply[:1] != b"+":
            return reply
        answer = orjson.loads(reply[1:])
        return {
            "live": answer.get("live", []),
            "past": answer.get("past", []),
            "rules": len(self._rules),
            "problem": self._problem,
        }


def _staff(members: Iterable[Member]) -> Iterable[Member]:
    return [member for member in members if member.claims.role.at_least(Role.MODERATOR)]


def _path(engine: Engine) -> Path:
    given = engine.settings.plugin.get("alerts", {})
    unknown = min(given.keys() - {"rules"}, default=None)
    if unknown is not None:
        raise ConfigError(f"plugin.alerts.{unknown}", "rules", "an unknown option")
    path = given.get("rules", str(_DEFAULT))
    if not isinstance(path, str) or not path:
        raise ConfigError("plugin.alerts.rules", "the name of a TOML file", path)
    return Path(path)
