"""The manifests without a cluster: what their containers run, probed and ended as they ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

import harness
from deployed import DEPLOY, ROOT, Ground, image_of


MANIFESTS = DEPLOY / "kubernetes"
NAMES = ("liveroom", "liveroom-store", "liveroom-replica")


class Pods:
    """The containers of Deployment and StatefulSets, one of each."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        documents = [
            document
            for file in sorted(MANIFESTS.glob("*.yaml"))
            for document in yaml.safe_load_all(file.read_text())
        ]
        self.documents = documents
        self._config = {
            one["metadata"]["name"]: one["data"] for one in documents if one["kind"] == "ConfigMap"
        }
        self.specs: dict[str, dict[str, Any]] = {
            one["metadata"]["name"]: one["spec"]["template"]["spec"]
            for one in documents
            if one["kind"] in ("Deployment", "StatefulSet")
        }

    def container(self, name: str) -> dict[str, Any]:
        """Return the only container of a pod."""
        (container,) = self.specs[name]["containers"]
        made: dict[str, Any] = container
        return made

    def start(self, name: str) -> None:
        """Start what the container runs."""
        container, image = self.container(name), image_of((ROOT / "Dockerfile").read_text())
        assert "command" not in container
        if not container["image"].startswith("liveroom:"):
            self.ground.start(name, container["args"], {})
            return
        environment = dict(image.environment)
        for source in container["envFrom"]:
            if "configMapRef" in source:
                environment |= self._config[source["configMapRef"]["name"]]
            else:
                environment["LIVEROOM_JWT_SECRET"] = harness.SECRET
        self.ground.start(name, image.command, environment)

    async def passes(self, name: str, kind: str) -> bool:
        """Probe a container once, as the kubelet does."""
        probe = self.container(name)[kind]
        if "exec" in probe:
            done = await asyncio.to_thread(self.ground.run, name, probe["exec"]["command"])
            return done.returncode == 0
        (port,) = (
            one["containerPort"]
            for one in self.container(name)["ports"]
            if one["name"] == probe["httpGet"]["port"]
        )
        url = f"http://127.0.0.1:{self.ground.port(name, port)}{probe['httpGet']['path']}"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return 200 <= response.status < 400
        except aiohttp.ClientConnectionError:
            return False

    async def wait(self, name: str, kind: str, *, passes: bool = True) -> None:
        """Probe until it passes, or no longer does, within the time that the manifest gives it."""
        probe = self.container(name)[kind]
        seconds = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        async with asyncio.timeout(seconds):
            while await self.passes(name, kind) is not passes:
                assert not self.ground.ended(name), self.ground.log(name)
                await asyncio.sleep(0.02)


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    """Nothing runs yet."""
    with Ground(tmp_path, NAMES) as ground:
        yield Pods(ground)


async def test_kubernetes_probes_tell_when_an_engine_is_ready_and_when_it_leaves(
    pods: Pods,
) -> None:
    """Ready with its store; while it is drained not ready but alive, and gone before it is killed."""
    pods.start("liveroom-store")
    await pods.wait("liveroom-store", "readinessProbe")
    pods.start("liveroom-replica")
    pods.start("liveroom")
    await pods.wait("liveroom", "startupProbe")
    for kind in ("readinessProbe", "livenessProbe"):
        assert await pods.passes("liveroom", kind), kind

    client = await harness.Client.open(f"ws://127.0.0.1:{pods.ground.port('liveroom', 8080)}/ws")
    grace = pods.specs["liveroom"]["terminationGracePeriodSeconds"]
    leaving = asyncio.create_task(asyncio.to_thread(pods.ground.stop, "liveroom", grace - 5))
    await pods.wait("liveroom", "readinessProbe", passes=False)
    assert await pods.passes("liveroom", "livenessProbe")
    assert await leaving == 0, pods.ground.log("liveroom")
    await client.close()


def test_kubernetes_ports_lead_to_containers_that_listen_there(pods: Pods) -> None:
    """Services, the ingress and the network policies name ports that the pods they choose have."""
    named: dict[str, set[str]] = {}
    for one in pods.documents:
        chosen = one.get("spec", {}).get("podSelector") or one.get("spec", {}).get("selector", {})
        app = chosen.get("matchLabels", chosen).get("app")
        if one["kind"] == "Service":
            told = {str(row.get("targetPort", row["port"])) for row in one["spec"]["ports"]}
        elif one["kind"] == "NetworkPolicy":
            rules = one["spec"]["ingress"]
            told = {str(row["port"]) for rule in rules for row in rule["ports"]}
        else:
            continue
        named.setdefault(app, set()).update(told)

    assert named.keys() == {"liveroom", "liveroom-store"}
    for app, ports in named.items():
        listened = pods.container(app)["ports"]
        has = {row["name"] for row in listened} | {str(row["containerPort"]) for row in listened}
        assert ports <= has, app
    (ingress,) = (one for one in pods.documents if one["kind"] == "Ingress")
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "liveroom", "port": {"name": "live"}}
