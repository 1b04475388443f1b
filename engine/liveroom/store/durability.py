"""What an acknowledgement of the store is worth, and what to wait for to make it worth more.

Layer: store, pure: the caller asks the server and hands the answers in. `effective_level` reads
the server's settings and says which level its plain answer has; `plan` says which waits lift an
answer to the level that is wanted, or refuses with the reason.

    level      an acknowledged write survives
    memory     nothing that ends the server
    everysec   the death of the server; a power cut takes the last second
    fsync      a power cut
    replica    a power cut and the loss of the machine: `n` replicas have it too
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from liveroom.errors import ConfigError


__all__ = [
    "CONFIG_KEYS",
    "INFO_SECTIONS",
    "MIN_VERSION",
    "Level",
    "Report",
    "WaitPlan",
    "effective_level",
    "plan",
    "weakest",
]

MIN_VERSION = (7, 0)
"""The oldest server that the engine's commands work on."""

INFO_SECTIONS = ("server", "memory", "persistence", "replication")
"""The sections of `INFO` that `effective_level` reads."""

CONFIG_KEYS = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory-policy",
    "min-replicas-to-write",
)
"""The settings that `effective_level` reads from `CONFIG GET`."""

_WAITAOF_SINCE = (7, 2)


class Level(Enum):
    """How much an acknowledged write survives; each level includes the ones before it."""

    MEMORY = "memory"
    EVERYSEC = "everysec"
    FSYNC = "fsync"
    REPLICA = "replica"

    @property
    def rank(self) -> int:
        """0 for `memory` to 3 for `replica`."""
        return list(Level).index(self)

    def covers(self, other: Level) -> bool:
        """Whether this level promises at least as much as the other."""
        return self.rank >= other.rank

    @classmethod
    def parse(cls, text: str) -> Level | None:
        """Return the level of a setting's text; `None` for `auto`: whatever the server gives.

        Raises:
            ConfigError: it is neither `auto` nor a level.
        """
        if text == "auto":
            return None
        try:
            return cls(text)
        except ValueError:
            names = ", ".join(level.value for level in cls)
            raise ConfigError("durability", f"auto, {names}", text) from None


@dataclass(frozen=True, slots=True)
class Report:
    """What one server, or the weakest of several, gives by itself.

    Attributes:
        level: of a plain answer, with no wait after it (so never `replica`).
        reasons: why it is that level, one sentence each.
        replicas: how many are connected and in step.
        waitaof: whether the server knows `WAITAOF`.
        version: the Redis version whose commands it has: Valkey 8 and 9 say 7.2.4.
        server: the server's own name and version, for people.
        warnings: settings that put acknowledged writes at risk at any level.
    """

    level: Level
    reasons: tuple[str, ...]
    replicas: int
    waitaof: bool
    version: tuple[int, ...]
    server: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitPlan:
    """What to send after a write, on the same connection, before it is answered.

    Attributes:
        waitaof: arguments of `WAITAOF` (local, replicas, timeout in ms), `None` to leave it out.
        wait: arguments of `WAIT` (replicas, timeout in ms), `None` to leave it out.
        level: what is reached once the waits have answered in full.
    """

    waitaof: tuple[int, int, int] | None
    wait: tuple[int, int] | None
    level: Level

    @property
    def commands(self) -> tuple[tuple[str | int, ...], ...]:
        """The commands to send, in this order, in the write's own pipeline."""
        aof = () if self.waitaof is None else (("WAITAOF", *self.waitaof),)
        wait = () if self.wait is None else (("WAIT", *self.wait),)
        return (*aof, *wait)

    def reached(self, replies: Sequence[Any]) -> bool:
        """Whether the replies to `commands` say that the level is reached.

        A wait that timed out undoes nothing: the write is there, only its safety is unknown.
        """
        if len(replies) != len(self.commands):
            return False
        rest = list(replies)
        if self.waitaof is not None and int(rest.pop(0)[0]) < self.waitaof[0]:
            return False
        return self.wait is None or int(rest.pop(0)) >= self.wait[0]


def effective_level(
    info: Mapping[str, Any], config: Mapping[str, Any], *, waitaof: bool | None = None
) -> Report:
    """Read the level that a server's plain answer has from its settings.

    Args:
        info: `INFO` of at least `INFO_SECTIONS`, as parsed by the client.
        config: `CONFIG GET` of `CONFIG_KEYS`; empty where the server forbids it.
        waitaof: what a probe for the command found; judged by the version if left out.
    """
    facts, settings = _texts(info), _texts(config)
    version = _version(facts.get("redis_version", ""))
    level, reason = _policy(facts, settings)
    replicas = _replicas(info)
    return Report(
        level=level,
        reasons=(reason,),
        replicas=replicas,
        waitaof=version >= _WAITAOF_SINCE if waitaof is None else waitaof,
        version=version,
        server=_server(facts),
        warnings=tuple(_warnings(facts, settings, replicas)),
    )


def weakest(reports: Iterable[Report]) -> Report:
    """Return what a room may count on when it can live on any of these servers (a Cluster)."""
    found = list(reports)
    low = min(found, key=lambda report: report.level.rank)
    return Report(
        level=low.level,
        reasons=low.reasons,
        replicas=min(report.replicas for report in found),
        waitaof=all(report.waitaof for report in found),
        version=min(report.version for report in found),
        server=low.server,
        warnings=tuple(dict.fromkeys(text for report in found for text in report.warnings)),
    )


def plan(
    requested: Level | None, report: Report, replicas: int = 1, *, timeout_ms: int = 1000
) -> WaitPlan:
    """Return the waits that give an answer the requested level on this server.

    Args:
        requested: the level, `None` for what the server gives by itself.
        report: of the server, or of the weakest one.
        replicas: how many must have the write; only read for `replica`.
        timeout_ms: for each wait.

    Raises:
        ConfigError: the server cannot give the level; says what it can, and why.
    """
    if report.version < MIN_VERSION:
        raise ConfigError("redis", "a server of version 7.0 or later", report.server)
    if requested is None:
        return WaitPlan(None, None, report.level)
    waitaof = _fsync_wait(requested, report, timeout_ms)
    if requested is not Level.REPLICA:
        return WaitPlan(waitaof, None, max(requested, report.level, key=_rank))
    _check_replicas(report, replicas)
    return WaitPlan(waitaof, (replicas, timeout_ms), Level.REPLICA)


def _rank(level: Level) -> int:
    return level.rank


def _fsync_wait(requested: Level, report: Report, timeout_ms: int) -> tuple[int, int, int] | None:
    """Return the `WAITAOF` that lifts a plain answer to `fsync`, if one is needed."""
    needed = Level.FSYNC if requested is Level.REPLICA else requested
    if report.level.covers(needed):
        return None
    # With no file, or one that is never synced, WAITAOF would wait for ever.
    if needed is Level.FSYNC and report.waitaof and report.level is Level.EVERYSEC:
        return (1, 0, timeout_ms)
    reasons = list(report.reasons)
    if needed is Level.FSYNC and report.level is Level.EVERYSEC:
        reasons.append(f"{report.server} has no WAITAOF, which came with Redis 7.2")
    expected = f"at most {report.level.value} on this server: {'; '.join(reasons)}"
    raise ConfigError("durability", expected, requested.value)


def _check_replicas(report: Report, replicas: int) -> None:
    if replicas < 1:
        raise ConfigError("replicas", "1 or more for the level replica", replicas)
    if report.replicas < replicas:
        expected = f"{replicas} connected replicas for the level replica"
        raise ConfigError("durability", expected, report.replicas)


def _policy(facts: Mapping[str, str], settings: Mapping[str, str]) -> tuple[Level, str]:
    """Return the level of a plain answer and why."""
    if facts.get("aof_enabled", "0") == "0" or settings.get("appendonly") == "no":
        return Level.MEMORY, "appendonly is off: no write goes to a file when it is answered"
    sync = settings.get("appendfsync")
    if sync is None:
        return Level.EVERYSEC, (
            "CONFIG cannot be read here: appendonly is on (INFO says so), appendfsync is taken"
            " for everysec, the server's default, and not verified"
        )
    if sync == "always" and settings.get("no-appendfsync-on-rewrite") == "yes":
        return Level.EVERYSEC, (
            "appendfsync is always, but no-appendfsync-on-rewrite suspends it while the file is"
            " rewritten"
        )
    return {
        "always": (Level.FSYNC, "appendfsync is always: an answer means that it is on the disk"),
        "everysec": (Level.EVERYSEC, "appendfsync is everysec: a power cut takes up to a second"),
    }.get(sync, (Level.MEMORY, f"appendfsync is {sync}: a power cut takes up to half a minute"))


def _warnings(
    facts: Mapping[str, str], settings: Mapping[str, str], replicas: int
) -> Iterable[str]:
    policy = settings.get("maxmemory-policy") or facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"maxmemory-policy is {policy}: a full server deletes rooms and wallets;"
            " expected noeviction"
        )
    if replicas and settings.get("min-replicas-to-write") == "0":
        yield (
            "min-replicas-to-write is 0: a master that is cut off goes on answering writes that"
            " a failover loses; expected 1 or more"
        )
    if facts.get("aof_last_write_status", "ok") != "ok":
        yield "the last write to the append-only file failed: look at the server's log and disk"
    if facts.get("role", "master") != "master":
        yield f"the server's role is {facts['role']}: it takes no writes; expected master"


def _replicas(info: Mapping[str, Any]) -> int:
    """Count the replicas that are in step."""
    rows = [_text(value) for key, value in info.items() if re.fullmatch(r"slave\d+", key)]
    return sum("online" in row for row in rows)


def _server(facts: Mapping[str, str]) -> str:
    if "valkey_version" in facts:
        return f"Valkey {facts['valkey_version']}"
    return f"Redis {facts.get('redis_version', 'of unknown version')}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _texts(mapping: Mapping[Any, Any]) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in mapping.items()}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
