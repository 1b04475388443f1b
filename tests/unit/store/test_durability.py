"""What a server's settings promise, what a level costs in waits, and when it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liveroom.errors import ConfigError
from liveroom.store.durability import (
    CONFIG_KEYS,
    INFO_SECTIONS,
    Level,
    Report,
    WaitPlan,
    effective_level,
    plan,
    weakest,
)
from liveroom.store.embedded import EmbeddedServer, find_server
from servers import ExternalRedis, Node, client, debian_redis, until


MEMORY, EVERYSEC, FSYNC, REPLICA = Level


def _info(version: str = "7.0.15", aof: int = 1, **more: Any) -> dict[str, Any]:
    return {"redis_version": version, "aof_enabled": aof, "role": "master", **more}


def _config(sync: str = "everysec", **more: str) -> dict[str, str]:
    settings = {"appendonly": "yes", "appendfsync": sync, "maxmemory-policy": "noeviction"}
    return settings | {name.replace("_", "-"): value for name, value in more.items()}


def _report(
    level: Level, *, version: tuple[int, ...] = (7, 0, 15), waitaof: bool = False, replicas: int = 0
) -> Report:
    return Report(level, ("because",), replicas, waitaof, version, "Redis 7")


@pytest.mark.parametrize(
    ("info", "config", "level", "reason"),
    [
        (_info(aof=0), _config(appendonly="no"), MEMORY, "appendonly is off"),
        (_info(aof=0), {}, MEMORY, "appendonly is off"),
        ({"redis_version": "7.0.15"}, {}, MEMORY, "appendonly is off"),
        (_info(), _config("no"), MEMORY, "appendfsync is no"),
        (_info(), _config("everysec"), EVERYSEC, "takes up to a second"),
        (_info(), _config("always"), FSYNC, "appendfsync is always"),
        (_info(), {}, EVERYSEC, "not verified"),
        (
            _info(),
            _config("always", no_appendfsync_on_rewrite="yes"),
            EVERYSEC,
            "no-appendfsync-on-rewrite",
        ),
        (_info(), {b"appendonly": b"yes", b"appendfsync": b"always"}, FSYNC, "always"),
    ],
)
def test_durability_level_follows_the_settings(
    info: dict[str, Any], config: dict[Any, Any], level: Level, reason: str
) -> None:
    """A plain answer is worth what the append-only file's settings say, and no more."""
    report = effective_level(info, config)
    assert report.level is level
    assert any(reason in text for text in report.reasons)


@pytest.mark.parametrize(
    ("version", "probe", "expected"),
    [
        ("7.0.15", None, False),
        ("7.2.4", None, True),
        ("7.0.15", True, True),
        ("7.4.0", False, False),
    ],
)
def test_durability_waitaof_by_version_or_probe(
    version: str, probe: bool | None, expected: bool
) -> None:
    """The version tells unless someone has looked."""
    assert effective_level(_info(version), _config(), waitaof=probe).waitaof is expected


def test_durability_counts_replicas_in_step() -> None:
    """A replica that still loads does not count, whether the client parses the row or not."""
    rows: dict[str, Any] = {
        "slave0": {"ip": "10.0.0.1", "state": "online"},
        "slave1": "ip=10.0.0.2,port=6379,state=online,offset=14,lag=1",
        "slave2": {"ip": "10.0.0.3", "state": "wait_bgsave"},
        "slave_expires_tracked_keys": 0,
    }
    assert effective_level(_info(connected_slaves=3, **rows), _config()).replicas == 2


@pytest.mark.parametrize(
    ("info", "config", "warning"),
    [
        (_info(), _config(maxmemory_policy="allkeys-lru"), "maxmemory-policy is allkeys-lru"),
        (_info(maxmemory_policy="volatile-ttl"), {}, "maxmemory-policy is volatile-ttl"),
        (
            _info(slave0={"state": "online"}),
            _config(min_replicas_to_write="0"),
            "min-replicas-to-write is 0",
        ),
        (_info(aof_last_write_status="err"), _config(), "last write"),
        (_info() | {"role": "slave"}, _config(), "role is slave"),
    ],
)
def test_durability_warns_of_settings_that_lose_data(
    info: dict[str, Any], config: dict[str, str], warning: str
) -> None:
    """Each dangerous setting is one sentence that names it."""
    (text,) = effective_level(info, config).warnings
    assert warning in text


def test_durability_has_no_warning_when_all_is_well() -> None:
    """Replicas with a quorum for writes, and no eviction."""
    config = _config("always", min_replicas_to_write="1")
    assert effective_level(_info(slave0={"state": "online"}), config).warnings == ()


@pytest.mark.parametrize(
    ("requested", "report", "expected"),
    [
        (None, _report(EVERYSEC), WaitPlan(None, None, EVERYSEC)),
        (None, _report(FSYNC, replicas=2), WaitPlan(None, None, FSYNC)),
        (MEMORY, _report(MEMORY), WaitPlan(None, None, MEMORY)),
        (MEMORY, _report(EVERYSEC), WaitPlan(None, None, EVERYSEC)),
        (EVERYSEC, _report(FSYNC), WaitPlan(None, None, FSYNC)),
        (FSYNC, _report(FSYNC), WaitPlan(None, None, FSYNC)),
        (FSYNC, _report(EVERYSEC, waitaof=True), WaitPlan((1, 0, 500), None, FSYNC)),
        (REPLICA, _report(FSYNC, replicas=2), WaitPlan(None, (2, 500), REPLICA)),
        (
            REPLICA,
            _report(EVERYSEC, waitaof=True, replicas=3),
            WaitPlan((1, 0, 500), (2, 500), REPLICA),
        ),
    ],
)
def test_durability_plan_waits_for_what_is_missing(
    requested: Level | None, report: Report, expected: WaitPlan
) -> None:
    """No wait where the plain answer is enough, the cheapest one where it is not."""
    assert plan(requested, report, 2, timeout_ms=500) == expected


@pytest.mark.parametrize(
    ("requested", "report", "reason"),
    [
        (EVERYSEC, _report(MEMORY), r"at most memory on this server: because, came 'everysec'"),
        (FSYNC, _report(MEMORY, waitaof=True), "at most memory"),
        (FSYNC, _report(EVERYSEC), r"because; Redis 7 has no WAITAOF.*7\.2, came 'fsync'"),
        (REPLICA, _report(EVERYSEC, replicas=2), "no WAITAOF"),
        (REPLICA, _report(FSYNC, replicas=1), "2 connected replicas for the level replica, came 1"),
        (None, _report(FSYNC, version=(6, 2, 14)), "7.0 or later"),
        (None, _report(FSYNC, version=()), "7.0 or later"),
    ],
)
def test_durability_plan_refuses_with_the_reason(
    requested: Level | None, report: Report, reason: str
) -> None:
    """A level that the server cannot give is never pretended."""
    with pytest.raises(ConfigError, match=reason):
        plan(requested, report, 2)


def test_durability_plan_refuses_no_replicas() -> None:
    """The level replica with none asked for is a mistake in the settings."""
    with pytest.raises(ConfigError, match="1 or more"):
        plan(REPLICA, _report(FSYNC, replicas=2), 0)


@pytest.mark.parametrize(
    ("waits", "replies", "reached"),
    [
        (WaitPlan(None, None, FSYNC), [], True),
        (WaitPlan((1, 0, 9), None, FSYNC), [[1, 0]], True),
        (WaitPlan((1, 0, 9), None, FSYNC), [[0, 0]], False),
        (WaitPlan((1, 0, 9), None, FSYNC), [], False),
        (WaitPlan(None, (2, 9), REPLICA), [3], True),
        (WaitPlan(None, (2, 9), REPLICA), [1], False),
        (WaitPlan((1, 0, 9), (2, 9), REPLICA), [[1, 2], 2], True),
        (WaitPlan((1, 0, 9), (2, 9), REPLICA), [[1, 2], 1], False),
    ],
)
def test_durability_reached_reads_the_replies(
    waits: WaitPlan, replies: list[Any], reached: bool
) -> None:
    """Every wait has to come back in full."""
    assert waits.reached(replies) is reached


def test_durability_levels_include_the_lower_ones() -> None:
    """The order of the enum is the order of the promises."""
    assert [level.rank for level in Level] == [0, 1, 2, 3]
    assert FSYNC.covers(EVERYSEC)
    assert FSYNC.covers(FSYNC)
    assert not EVERYSEC.covers(FSYNC)


def test_durability_parse_knows_auto_and_the_levels() -> None:
    """`auto` asks for nothing; anything unknown is refused with the choices."""
    assert Level.parse("auto") is None
    assert Level.parse("fsync") is FSYNC
    with pytest.raises(ConfigError, match=r"memory, everysec, fsync, replica, came 'disk'"):
        Level.parse("disk")


def test_durability_weakest_takes_the_lowest_of_each() -> None:
    """A room of a Cluster may live on any node."""
    weak = _report(EVERYSEC, version=(7, 2, 4), waitaof=True, replicas=1)
    strong = _report(FSYNC, version=(7, 0, 15), replicas=2)
    report = weakest([strong, weak])
    assert (report.level, report.replicas, report.waitaof) == (EVERYSEC, 1, False)
    assert report.version == (7, 0, 15)


def _probe(url: str) -> Report:
    with client(url) as link:
        info: Any = link.info(*INFO_SECTIONS)
        config: Any = link.config_get(*CONFIG_KEYS)
    return effective_level(info, config)


def _write_and_wait(url: str, waits: WaitPlan) -> list[Any]:
    with client(url) as link:
        link.set("a", "1")
        return [link.execute_command(*command) for command in waits.commands]


def test_durability_of_the_embedded_server(tmp_path: Path) -> None:
    """The default store gives fsync by itself and has nothing to warn of."""
    with EmbeddedServer(tmp_path) as server:
        report = _probe(server.url)
    assert (report.level, report.warnings, report.replicas) == (FSYNC, (), 0)
    assert report.server.startswith("Valkey 9.")
    assert plan(FSYNC, report) == WaitPlan(None, None, FSYNC)


def test_durability_waitaof_lifts_an_everysec_server(tmp_path: Path) -> None:
    """Where WAITAOF is known, its answer is what the plan counts on."""
    settings = ["--appendonly", "yes", "--appendfsync", "everysec"]
    with Node(find_server(), tmp_path, settings, tcp=False) as node:
        waits = plan(FSYNC, _probe(node.url), timeout_ms=4000)
        assert waits.waitaof == (1, 0, 4000)
        assert waits.reached(_write_and_wait(node.url, waits))


def test_durability_replica_is_seen_and_waited_for(tmp_path: Path) -> None:
    """A real replica counts once it is in step, and WAIT answers for it."""
    settings = ["--appendonly", "yes", "--appendfsync", "always"]
    binary = find_server()
    with Node(binary, tmp_path / "m", [*settings, "--repl-diskless-sync-delay", "0"]) as master:
        of_master = [*settings, "--replicaof", f"127.0.0.1 {master.port}"]
        with Node(binary, tmp_path / "r", of_master, tcp=False):
            until(lambda: _probe(master.url).replicas == 1, what="the replica is in step")
            report = _probe(master.url)
            waits = plan(REPLICA, report, 1, timeout_ms=4000)
            assert waits.reached(_write_and_wait(master.url, waits))
    assert any("min-replicas-to-write" in text for text in report.warnings)


@pytest.mark.skipif(debian_redis() is None, reason="no redis-server >= 7.0 on PATH")
def test_durability_of_redis_7_0(tmp_path: Path) -> None:
    """An everysec server without WAITAOF is reported as such and cannot be asked for fsync."""
    with ExternalRedis(tmp_path, tcp=False) as server:
        report = _probe(server.url)
    assert report.level is EVERYSEC
    assert report.waitaof is (report.version >= (7, 2))
    if not report.waitaof:
        with pytest.raises(ConfigError, match=f"{report.server} has no WAITAOF"):
            plan(FSYNC, report)
