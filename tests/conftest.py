"""Fixtures: real stores, real workers in this process, real sockets."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

import harness
import servers
from liveroom.store.embedded import EmbeddedServer


STORES = ("embedded", "redis", "cluster")
"""Every kind, for the port's contract and its faults."""

ABOVE = ("embedded", "cluster")
"""For what stands on the port: its Lua is run by both servers, for the cluster's nodes are redis-server."""

BROWSER = ("embedded",)
"""For pages, which see a worker and no store."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        default="all",
        help="embedded, redis, cluster or all (as many as prove something)",
    )
    parser.addoption("--pictures", help="a directory that the whole show leaves its pictures in")


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_url" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--store")
        kinds = _stores_of(metafunc.definition.path) if wanted == "all" else (wanted,)
        metafunc.parametrize("store_url", kinds, indirect=True, scope="session")


def _stores_of(file: Path) -> tuple[str, ...]:
    folder = file.relative_to(Path(__file__).parent).parts[0]
    return {"integration": ABOVE, "e2e": BROWSER}.get(folder, STORES)


@pytest.fixture(scope="session")
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a running store; tests that use it run once per kind of store."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def embedded_url() -> Iterator[str]:
    """The engine's own server."""
    with EmbeddedServer(None) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's redis-server 7.0, everysec."""
    if servers.debian_redis() is None:
        pytest.skip("no redis-server on PATH (apt-get install redis-server)")
    server = servers.ExternalRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of three masters: of redis-server where it is there, else of the engine's own."""
    home = tmp_path_factory.mktemp("cluster")
    cluster = servers.Cluster(home, binary=servers.debian_redis())
    cluster.start()
    hosts = ",".join(url.rpartition("//")[2].rstrip("/") for url in cluster.urls)
    yield f"redis+cluster://{hosts}"
    cluster.stop()


@pytest.fixture
def room() -> str:
    """A room name that no other test uses."""
    return f"room-{secrets.token_hex(5)}"


@pytest.fixture
async def start_worker() -> AsyncIterator[harness.StartWorker]:
    """Start workers in this process: `await start_worker(store_url, dev=True, …)`."""
    async with AsyncExitStack() as stack:

        async def start(url: str, **settings: Any) -> harness.Worker:
            return await stack.enter_async_context(harness.running_worker(url, **settings))

        yield start


@pytest.fixture
def start_here(
    start_worker: harness.StartWorker, request: pytest.FixtureRequest
) -> harness.StartWorker:
    """Start workers with the plugin classes of the test module's `PLUGINS` and `WORKER_SETTINGS`."""
    settings = getattr(request.module, "WORKER_SETTINGS", {})

    async def start(url: str, **more: Any) -> harness.Worker:
        plugins = [plugin() for plugin in getattr(request.module, "PLUGINS", ())]
        return await start_worker(url, plugins=plugins, **settings | more)

    return start


@pytest.fixture
async def worker(store_url: str, start_here: harness.StartWorker) -> harness.Worker:
    """One worker on the store."""
    return await start_here(store_url)


@pytest.fixture
async def alone(embedded_url: str, start_here: harness.StartWorker) -> harness.Worker:
    """One worker on the engine's own server, for what is the same on every store."""
    return await start_here(embedded_url)


@pytest.fixture
async def pair(store_url: str, start_here: harness.StartWorker) -> harness.Pair:
    """Two workers on the store."""
    return await start_here(store_url), await start_here(store_url)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A directory for an embedded store's data."""
    return tmp_path / "data"
