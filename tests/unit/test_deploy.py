"""What `deploy/` says is true of the engine: names of settings, metrics and manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

import harness
from liveroom.config import Settings


ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
SETTINGS = {f"LIVEROOM_{field.name.upper()}" for field in fields(Settings)}
OF_THE_SUPERVISOR = {"liveroom_worker_up", "liveroom_worker_restarts_total"}


def _environments(node: Any) -> Iterator[str]:
    """Yield each name of the engine's settings in a document."""
    if isinstance(node, dict):
        yield from (name for name in node if str(name).startswith("LIVEROOM_"))
        for value in node.values():
            yield from _environments(value)
    elif isinstance(node, list):
        for value in node:
            yield from _environments(value)


@pytest.mark.parametrize("file", [DEPLOY / "compose.yaml", *MANIFESTS], ids=lambda file: file.name)
def test_deploy_sets_only_what_is_a_setting(file: Path) -> None:
    """A misspelled one would stop the engine at its start."""
    named = {
        name
        for document in yaml.safe_load_all(file.read_text())
        for name in _environments(document)
    }
    assert named <= SETTINGS


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_deploy_manifests_fit_the_schema_of_kubernetes(file: Path) -> None:
    """No unknown field, no wrong type."""
    schema = pytest.importorskip("kubernetes_validate")
    for document in yaml.safe_load_all(file.read_text()):
        if not document["apiVersion"].startswith("kustomize"):
            schema.validate(document, "1.32", strict=True)


def test_deploy_kustomization_names_every_manifest() -> None:
    """Nothing is left out."""
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert set(listed["resources"]) == {file.name for file in MANIFESTS} - {"kustomization.yaml"}


def test_deploy_proxy_waits_longer_than_the_heartbeat() -> None:
    """Else quiet rooms are cut off."""
    text = (DEPLOY / "nginx" / "liveroom.conf").read_text()
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s", text)
    assert int(seconds) >= 2 * Settings().heartbeat_s


def test_deploy_gives_time_to_drain() -> None:
    """Whoever ends the engine waits for its viewers to leave."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    unit = (DEPLOY / "systemd" / "liveroom.service").read_text()
    engine = next(
        document
        for document in yaml.safe_load_all((DEPLOY / "kubernetes" / "engine.yaml").read_text())
        if document["kind"] == "Deployment"
    )
    given = [
        int(compose["services"]["engine-a"]["stop_grace_period"].removesuffix("s")),
        int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]),
        engine["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] - 5,
    ]
    assert min(given) >= Settings().drain_s + 10


async def test_deploy_alerts_watch_metrics_that_exist(
    start_worker: harness.StartWorker, embedded_url: str
) -> None:
    """An alert on a name that nothing exports is silent for ever."""
    worker = await start_worker(embedded_url)
    told = worker.node.metrics.render().decode()
    for alert in ALERTS:
        for name in set(re.findall(r"liveroom_[a-z_]+", alert["expr"])) - OF_THE_SUPERVISOR:
            family = re.sub(r"_(bucket|total)$", "", name)
            assert re.search(rf"^# TYPE {family}(_total)? ", told, re.MULTILINE), name


def test_deploy_every_alert_has_its_part_of_the_runbook() -> None:
    """Whoever is woken finds what to do."""
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    parts = re.findall(r"^## (\w+)$", runbook, re.MULTILINE)
    assert parts == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"


async def test_deploy_counts_of_the_store_are_watched_and_shown(
    start_worker: harness.StartWorker, embedded_url: str
) -> None:
    """Each has an alert and a panel: the engine mends these faults, so nothing else tells of them."""
    worker = await start_worker(embedded_url)
    told = worker.node.metrics.render().decode()
    counts = [
        "liveroom_channel_reconnects_total",
        "liveroom_script_reloads_total",
        "liveroom_redirects_total",
        "liveroom_store_clock_jumps_total",
    ]
    panels = (DEPLOY / "grafana" / "liveroom.json").read_text()
    watched = [alert["expr"] for alert in ALERTS]
    for name in counts:
        assert f"# TYPE {name} counter" in told
        assert any(name in expr for expr in watched), name
        assert name in panels
