"""Which node serves which key: one server, a Sentinel group, or a cluster (layer 4).

redis-py knows how to reach a server (TLS, credentials, Sentinel discovery, slot maps); what is
sent over the connections, and what is sent again, is decided in `link.py` and `redis.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from liveroom.errors import ConfigError, StoreUnavailable


__all__ = ["Address", "Cluster", "SentinelGroup", "SingleServer", "Topology", "topology_from_url"]

Address = str
"""A node's name: `host:port` or the path of a unix socket."""

_CONNECT_TIMEOUT_S = 1.0


def _connection_options() -> dict[str, Any]:
    """Return options of every connection: one try, no read deadline of its own, RESP2."""
    return {
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }


class Topology(Protocol):
    """Where keys live. `refresh` is called again whenever a node says that it is not there."""

    async def refresh(self) -> None:
        """Learn the nodes. Raises StoreUnavailable."""

    def address(self, key: str) -> Address:
        """Return the node that serves a key. Raises StoreUnavailable."""

    def addresses(self) -> list[Address]:
        """Return all nodes that take writes."""

    def connection(self, address: Address) -> AbstractConnection:
        """Return a new, not yet connected connection to a node."""

    async def close(self) -> None:
        """Close what `refresh` opened."""


class SingleServer:
    """One server behind a redis://, rediss:// or unix:// URL."""

    def __init__(self, url: str) -> None:
        try:
            self._pool = ConnectionPool.from_url(url, **_connection_options())
        except ValueError as exc:
            raise ConfigError("redis", "a Redis URL", str(exc)) from exc
        kwargs = self._pool.connection_kwargs
        self._address = kwargs.get("path") or f"{kwargs.get('host')}:{kwargs.get('port', 6379)}"

    async def refresh(self) -> None:
        """Nothing to learn: the address is the configured one."""

    def address(self, key: str) -> Address:
        """Return the only address."""
        return self._address

    def addresses(self) -> list[Address]:
        """Return the only address."""
        return [self._address]

    def connection(self, address: Address) -> AbstractConnection:
        """Return a new connection made as the URL says."""
        made: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # untyped in redis-py
        return made

    async def close(self) -> None:
        """Nothing to close."""


class SentinelGroup:
    """The master of a Sentinel-watched group: redis+sentinel://h1:p1,h2:p2/name[?password=…]."""

    def __init__(self, nodes: list[tuple[str, int]], name: str, options: dict[str, Any]) -> None:
        # One try each: the next one is asked instead, and redis-py would wait for seconds in between.
        asked = _connection_options() | {"socket_timeout": _CONNECT_TIMEOUT_S}
        self._sentinel = Sentinel(nodes, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]  # untyped in redis-py
        self._name = name
        self._options = options | _connection_options()
        self._master: tuple[str, int] | None = None

    async def refresh(self) -> None:
        """Ask the sentinels who the master is."""
        try:
            self._master = await self._sentinel.discover_master(self._name)
        except RedisError as exc:
            raise StoreUnavailable(f"no master known for {self._name}: {exc}") from exc

    def address(self, key: str) -> Address:
        """Return the master's address."""
        if self._master is None:
            raise StoreUnavailable(f"no master known for {self._name}")
        return f"{self._master[0]}:{self._master[1]}"

    def addresses(self) -> list[Address]:
        """Return the master's address."""
        return [self.address("")]

    def connection(self, address: Address) -> AbstractConnection:
        """Return a new connection to the master."""
        host, _, port = address.rpartition(":")
        return Connection(host=host, port=int(port), **self._options)

    async def close(self) -> None:
        """Close the connections to the sentinels."""
        for sentinel in self._sentinel.sentinels:
            await sentinel.aclose()


class Cluster:
    """A Redis Cluster: redis+cluster://host:port,host:port[?password=…]."""

    def __init__(self, nodes: list[tuple[str, int]], options: dict[str, Any]) -> None:
        self._options = options | _connection_options()
        self._startup = [ClusterNode(host, port) for host, port in nodes]
        self._client: RedisCluster | None = None

    async def refresh(self) -> None:
        """Read the slot map anew."""
        if self._client is None:
            options = {k: v for k, v in self._options.items() if k != "retry"}
            self._client = RedisCluster(
                startup_nodes=self._startup, require_full_coverage=False, **options
            )
        try:
            await self._client.nodes_manager.initialize()
        except (RedisError, OSError) as exc:
            raise StoreUnavailable(f"no cluster node answers: {exc}") from exc

    def address(self, key: str) -> Address:
        """Return the master of the key's slot."""
        if self._client is None:
            raise StoreUnavailable("the cluster's slot map is not known yet")
        try:
            slot = self._client.keyslot(key)
            name: str = self._client.nodes_manager.get_node_from_slot(slot).name
        except (RedisError, KeyError) as exc:
            raise StoreUnavailable(f"no node serves the slot of {key}") from exc
        return name

    def addresses(self) -> list[Address]:
        """Return all masters."""
        return [node.name for node in self._client.get_primaries()] if self._client else []

    def connection(self, address: Address) -> AbstractConnection:
        """Return a new connection to one node."""
        host, _, port = address.rpartition(":")
        return Connection(host=host, port=int(port), **self._options)

    async def close(self) -> None:
        """Close the connections over which the slot map was read."""
        if self._client is None:
            return
        manager = self._client.nodes_manager
        # Nodes that left the map, or were only asked for it, are nobody's but ours to close. A list:
        # two nodes of one address are equal, yet each has connections of its own.
        nodes = [*self._startup, *manager.startup_nodes.values(), *manager.nodes_cache.values()]
        await self._client.aclose()
        await asyncio.gather(*(node.disconnect() for node in nodes), return_exceptions=True)


def topology_from_url(url: str) -> Topology:
    """Return the topology that a `redis` setting names. Raises ConfigError."""
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss", "unix"):
        return SingleServer(url)
    if parts.scheme not in ("redis+cluster", "redis+sentinel"):
        raise ConfigError("redis", "embedded, redis://, unix://, redis+cluster:// …", parts.scheme)
    credentials, _, hosts = parts.netloc.rpartition("@")
    nodes = [_host_port(part) for part in hosts.split(",") if part]
    options: dict[str, Any] = {}
    if credentials:
        user, _, password = credentials.partition(":")
        options = {"username": user or None, "password": password}
    if not nodes:
        raise ConfigError("redis", "host:port[,host:port…]", hosts)
    if parts.scheme == "redis+cluster":
        return Cluster(nodes, options)
    name = parts.path.strip("/")
    if not name:
        raise ConfigError("redis", "redis+sentinel://…/name-of-the-master", parts.path)
    return SentinelGroup(nodes, name, options)


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError("redis", "host:port", text)
    return host, int(port)
