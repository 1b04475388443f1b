"""deploy/compose.yaml without containers: its very commands as processes, and a show through its proxy."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

import harness
import servers
from deployed import DEPLOY, ROOT, Ground, Image, image_of, interpolated, only_known
from liveroom.auth.tokens import mint
from liveroom_client import Event, HostClient, LiveClient, connect
from liveroom_client.items import Shown


NGINX_COMMAND = ["nginx", "-g", "daemon off;"]
MAPPED = {
    "build",
    "image",
    "command",
    "environment",
    "depends_on",
    "healthcheck",
    "stop_grace_period",
}
PLACES = {"ports", "volumes", "networks"}
OF_CONTAINERS = {"restart", "ulimits", "read_only", "tmpfs", "cap_drop", "security_opt"}
"""What only an engine for containers can do: nothing stands for it here."""


class Compose:
    """The services of the file, started in the order that it asks for."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        document = yaml.safe_load(interpolated((DEPLOY / "compose.yaml").read_text(), environ))
        self.services: dict[str, dict[str, Any]] = document["services"]
        (network,) = document["networks"].values()
        (subnet,) = (config["subnet"] for config in network["ipam"]["config"])
        ((there, inside),) = (port.split(":") for port in self.services["proxy"]["ports"])
        self.ground = Ground(
            home, self.services, {int(there): ("proxy", int(inside))}, {subnet: "127.0.0.0/8"}
        )  # fmt: skip
        self.url = f"127.0.0.1:{self.ground.port('proxy', int(inside))}"
        self._image = image_of((ROOT / "Dockerfile").read_text())
        self._running: set[str] = set()

    def up(self) -> None:
        """Start all."""
        for name in self.services:
            if name not in self._running:
                self.start(name)

    def start(self, name: str) -> None:
        """Start a service after those that it depends on."""
        service = self.services[name]
        only_known(service, MAPPED | PLACES | OF_CONTAINERS)
        needed = service.get("depends_on", {})
        for other in needed.keys() - self._running:
            self.start(other)
        for other, terms in needed.items():
            assert terms == {"condition": "service_healthy"}
            self.wait_healthy(other)
        image = self._image_of(service)
        environment = image.environment | service.get("environment", {})
        self.ground.start(name, service.get("command", image.command), environment)
        self._running.add(name)

    def wait_healthy(self, name: str) -> None:
        """Run the service's own health check, or its image's, until it passes."""
        service = self.services[name]
        told = service.get("healthcheck", {"test": ["CMD"], "interval": "10s", "retries": 3})
        words = told["test"][1:] or self._image_of(service).healthcheck
        assert told["test"][0] == "CMD"
        seconds = int(told["interval"].removesuffix("s")) * told["retries"]
        self.ground.wait_for(name, words, seconds)

    def listens(self) -> bool:
        """Whether the proxy takes connections. Raises OSError: not yet."""
        host, _, port = self.url.partition(":")
        socket.create_connection((host, int(port)), 1.0).close()
        return True

    def stop(self, name: str) -> int:
        """End a service as the file gives it time; return its exit status."""
        grace = self.services[name].get("stop_grace_period", "10s")
        return self.ground.stop(name, float(grace.removesuffix("s")))

    def _image_of(self, service: dict[str, Any]) -> Image:
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
            return self._image
        command = NGINX_COMMAND if service["image"].startswith("nginx:") else []
        return Image({}, command, [], [])


@pytest.fixture
def compose(tmp_path: Path) -> Iterator[Compose]:
    """All services, running and healthy."""
    made = Compose(tmp_path, {"LIVEROOM_JWT_SECRET": harness.SECRET})
    with made.ground:
        made.up()
        servers.until(made.listens, what="the proxy listens")
        yield made


def test_compose_gives_each_engine_an_address_of_its_own() -> None:
    """Within the network whose `X-Forwarded-For` they trust: the proxy's names stay true."""
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    (config,) = document["networks"]["live"]["ipam"]["config"]
    network = ipaddress.ip_network(config["subnet"])
    engines = [service for service in document["services"].values() if "build" in service]
    addresses = {
        ipaddress.ip_address(engine["networks"]["live"]["ipv4_address"]) for engine in engines
    }
    assert len(addresses) == len(engines)
    assert all(address in network for address in addresses)
    trusted = {engine["environment"]["LIVEROOM_TRUSTED_PROXIES"] for engine in engines}
    assert trusted == {str(network)}


class Viewers:
    """People who came through the proxy, and all that they saw."""

    def __init__(self, compose: Compose, room: str) -> None:
        self._compose = compose
        self._room = room
        self._reading: list[asyncio.Task[None]] = []
        self.clients: list[LiveClient] = []
        self.seen: list[list[Shown]] = []

    async def come(self, stack: AsyncExitStack, count: int) -> None:
        """Have some more come in."""
        for _ in range(count):
            name = f"v{len(self.clients)}"
            live = connect(
                f"ws://{self._compose.url}/ws", room=self._room, token=token(self._room, name)
            )
            self.clients.append(await stack.enter_async_context(live))
            self.seen.append([])
            self._reading.append(asyncio.create_task(self._read(live, self.seen[-1])))

    async def _read(self, live: LiveClient, seen: list[Shown]) -> None:
        async for item in live:
            seen.append(item)  # noqa: PERF401 -- each is there as soon as it came

    async def all_saw(self, name: str, count: int) -> None:
        """Wait until everybody saw so many."""
        async with asyncio.timeout(harness.PATIENCE_S):
            while min(len(row) for row in self.all(name)) < count:  # noqa: ASYNC110 -- nobody tells
                await asyncio.sleep(0.01)

    def all(self, name: str) -> list[list[Event]]:
        """Return what each of them saw of a name."""
        return [
            [item for item in seen if isinstance(item, Event) and item.name == name]
            for seen in self.seen
        ]


def token(room: str, user: str, role: str = "viewer") -> str:
    return mint(harness.SECRET, user=user, room=room, role=role, ttl_s=600, now=time.time())


async def as_shop(compose: Compose, room: str, op: str, **d: Any) -> dict[str, Any]:
    """Send a command to /api through the proxy; return its reply."""
    url = f"http://{compose.url}/api/rooms/{room}/commands"
    headers = {"Authorization": f"Bearer {token('*', 'shop', 'service')}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json={"op": op, "id": 1, "key": f"{op}-1", "d": d}) as response,
    ):
        reply: dict[str, Any] = (await response.json())["replies"][0]["d"]
        return reply


async def ops(compose: Compose, engine: str, path: str) -> str:
    """Ask an engine's ops listener, which the file does not publish."""
    url = f"http://127.0.0.1:{compose.ground.port(engine, 9090)}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


async def connections(compose: Compose, *engines: str, total: int) -> list[int]:
    """Wait until engines hold so many connections together; return how many each."""
    while True:
        told = [await ops(compose, engine, "/metrics") for engine in engines]
        rows = [
            re.findall(r"^liveroom_connections\{.*\} (\S+)$", text, re.MULTILINE) for text in told
        ]
        counts = [int(sum(map(float, row))) for row in rows]
        if sum(counts) == total:
            return counts
        await asyncio.sleep(0.05)


def pre_stop() -> list[str]:
    """Return the command that Kubernetes runs in an engine before it asks it to end."""
    (engine,) = (
        document
        for document in yaml.safe_load_all((DEPLOY / "kubernetes" / "engine.yaml").read_text())
        if document["kind"] == "Deployment"
    )
    (container,) = engine["spec"]["template"]["spec"]["containers"]
    command: list[str] = container["lifecycle"]["preStop"]["exec"]["command"]
    return command


async def test_compose_carries_a_show_and_an_engine_leaves_it_unnoticed(compose: Compose) -> None:
    """Two engines behind the proxy are one room; every gift is seen once, also while one is drained."""
    room = "shop"
    await is_set_up(compose)
    async with AsyncExitStack() as stack:
        host = HostClient(f"ws://{compose.url}/control", room=room, token=token(room, "h", "host"))
        await stack.enter_async_context(host)
        await host.open("Evening")
        viewers = Viewers(compose, room)
        await viewers.come(stack, 6)
        both = await connections(compose, "engine-a", "engine-b", total=7)
        assert min(both) >= 3, "the proxy gives both engines viewers"

        await viewers.clients[0].send("hello")
        await viewers.all_saw("danmaku", 1)
        assert (await as_shop(compose, room, "wallet.topup", user="v0", amount=10**7))["balance"]
        drained = asyncio.Event()
        giving = asyncio.create_task(give_until(drained, viewers.clients[0]))
        knocking = asyncio.create_task(knock_until(drained, compose))
        await asyncio.to_thread(compose.ground.run, "engine-a", pre_stop())
        status = await asyncio.to_thread(compose.stop, "engine-a")
        drained.set()
        given = await giving
        assert await knocking == {101}, "whoever comes meanwhile is let in by the other engine"

        assert status == 0, compose.ground.log("engine-a")
        await viewers.all_saw("gift.sent", given)
        for seen in viewers.all("gift.sent"):
            assert [event.seq for event in seen] == [
                event.seq for event in viewers.all("gift.sent")[0]
            ]
            assert len({event.seq for event in seen}) == given
        assert await connections(compose, "engine-b", total=7)
        await viewers.come(stack, 1)
    assert compose.stop("engine-b") == 0


async def is_set_up(compose: Compose) -> None:
    """See that the engines got what the file gives them: level, replica, the page's origin."""
    for engine in ("engine-a", "engine-b"):
        report = json.loads(await ops(compose, engine, "/readyz"))
        assert (report["durability"], len(report["workers"])) == ("fsync", 2)
    with servers.client(f"redis://127.0.0.1:{compose.ground.port('replica', 6379)}") as link:
        servers.until(lambda: link.info("replication")["master_link_status"] == "up")
    page = compose.url.replace("127.0.0.1", "http://localhost")
    async with aiohttp.ClientSession() as session:
        assert await upgraded(session, compose, Origin=page) == 101
        assert await upgraded(session, compose, Origin="https://elsewhere.example") == 403


async def upgraded(session: aiohttp.ClientSession, compose: Compose, **headers: str) -> int:
    """Ask for a WebSocket and leave it; return the status."""
    asked = {
        "Upgrade": "websocket", "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
    }  # fmt: skip
    async with session.get(f"http://{compose.url}/ws", headers=asked | headers) as response:
        response.close()
        return response.status


async def give_until(enough: asyncio.Event, giver: LiveClient) -> int:
    """Give roses one after the other; return how many were acknowledged."""
    given = 0
    while not enough.is_set():
        await giver.gift("rose")
        given += 1
        await asyncio.sleep(0.1)
    return given


async def knock_until(enough: asyncio.Event, compose: Compose) -> set[int]:
    """Connect as a newcomer again and again, without a second try; return how it was answered."""
    answers: set[int] = set()
    async with aiohttp.ClientSession() as session:
        while not enough.is_set():
            answers.add(await upgraded(session, compose))
            await asyncio.sleep(0.1)
    return answers
