"""Real servers for tests: an external Redis, a Cluster of three, a Sentinel set.

Every server dies with the test process (`liveroom.store.child`), keeps its files in the directory
that the caller gives, and is waited for with a deadline. Ports are claimed through byte locks on
one file, so that test runs side by side never choose the same.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import shutil
import signal
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from liveroom.store.child import Child, spawn
from liveroom.store.embedded import find_server, server_version


__all__ = [
    "Cluster",
    "ExternalRedis",
    "Node",
    "SentinelSet",
    "bearing_file_limits",
    "claim_port",
    "client",
    "debian_redis",
    "release_port",
    "until",
    "wait_gone",
]

HOST = "127.0.0.1"
START_TIMEOUT_S = 15.0

# A cluster node also listens on its port + 10000; both stay below the ephemeral ports (32768).
_PORTS = range(17000, 22700)
_BUS_OFFSET = 10000
_SLOTS = 16384


class _PortClaims:
    """The ports that this process holds; the kernel drops the locks when it dies."""

    def __init__(self) -> None:
        path = Path(tempfile.gettempdir()) / f"liveroom-test-ports-{os.getuid()}.lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mine: set[int] = set()

    def claim(self) -> int:
        start = random.randrange(len(_PORTS))
        for offset in range(len(_PORTS)):
            port = _PORTS[(start + offset) % len(_PORTS)]
            if port not in self._mine and self._take(port):
                return port
        raise RuntimeError(f"no free port in {_PORTS}")

    def release(self, port: int) -> None:
        if port in self._mine:
            self._mine.remove(port)
            fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, port)

    def _take(self, port: int) -> bool:
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        self._mine.add(port)
        if _is_free(port) and _is_free(port + _BUS_OFFSET):
            return True
        self.release(port)
        return False


_claims: _PortClaims | None = None


def claim_port() -> int:
    """Return a loopback port that is free, its bus port too, and nobody else's until released."""
    global _claims
    _claims = _claims or _PortClaims()
    return _claims.claim()


def release_port(port: int) -> None:
    """Give a port back."""
    if _claims is not None:
        _claims.release(port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def until(
    condition: Callable[[], object], timeout: float = START_TIMEOUT_S, what: str = ""
) -> None:
    """Poll until the condition holds; an error of the connection counts as not yet.

    Raises:
        TimeoutError: it did not hold in time; names `what`.
    """
    deadline = time.monotonic() + timeout
    while not _holds(condition):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout:g} s still not: {what or condition}")
        time.sleep(0.01)


def _holds(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except (redis.RedisError, OSError):
        return False


def wait_gone(pid: int, timeout: float = 10.0) -> bool:
    """Wait until a process, not needed to be a child, has ended; `False` at the deadline."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout)[0])
    finally:
        os.close(handle)


def client(url: str, **options: Any) -> redis.Redis:
    """Return a blocking client that never sends anything twice."""
    settings = {"decode_responses": True, "socket_timeout": 5.0, "retry": Retry(NoBackoff(), 0)}
    return redis.Redis.from_url(url, **{**settings, **options})


class Node:
    """One server process on a claimed port or a unix socket, with its data in its own directory.

    Args:
        binary: the server program.
        home: its directory; made when it is missing.
        settings: command line settings beside the address.
        tcp: listen on a loopback port, else on a unix socket in `home`.
        lead: arguments before the settings (a configuration file).
    """

    def __init__(
        self,
        binary: Path,
        home: Path,
        settings: Sequence[str] = (),
        *,
        tcp: bool = True,
        lead: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.port = claim_port() if tcp else 0
        self._binary = binary
        self._args = [*lead, *self._address(), "--dir", str(home), *settings]
        self._child: Child | None = None
        home.mkdir(parents=True, exist_ok=True)

    def _address(self) -> list[str]:
        if self.port:
            return ["--port", str(self.port), "--bind", HOST]
        return ["--port", "0", "--unixsocket", str(self.home / "redis.sock")]

    @property
    def url(self) -> str:
        """The address for a client."""
        return f"redis://{HOST}:{self.port}" if self.port else f"unix://{self.home}/redis.sock"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._child is not None
        return self._child.pid

    @property
    def log(self) -> str:
        """What the server has written to its log."""
        return (self.home / "server.log").read_text()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._child = child = spawn(self._binary, self._args, self.home / "server.log")
        with client(self.url, socket_timeout=1.0) as link:
            until(lambda: child.poll() is not None or link.ping(), what=f"{self.url} answers")
        if child.poll() is not None:
            raise RuntimeError(f"{self._binary} ended with {child.poll()}:\n{self.log}")

    def kill(self) -> None:
        """SIGKILL: what a crash does."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """End it if it runs, in order, and start it again on the same address and data."""
        self._end()
        self.start()

    def stop(self) -> None:
        """End it for good and give the port back; at once, for nobody needs its data."""
        self.kill()
        release_port(self.port)

    def pause(self) -> None:
        """SIGSTOP: the connection stays, no answer comes."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self) -> None:
        if self._child is not None:
            self._child.stop(grace=5.0)
            self._child = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()


_AOF = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]


def debian_redis() -> Path | None:
    """Return the `redis-server` on PATH when it is 7.0 or later; tests skip without it."""
    found = shutil.which("redis-server")
    usable = found is not None and server_version(Path(found)) >= (7, 0)
    return Path(found) if found is not None and usable else None


class ExternalRedis(Node):
    """The system's `redis-server`, append-only file on and synced every second."""

    def __init__(
        self,
        home: Path,
        settings: Sequence[str] = (),
        *,
        tcp: bool = True,
        binary: Path | None = None,
    ) -> None:
        found = binary or debian_redis()
        if found is None:
            raise RuntimeError("no redis-server >= 7.0 on PATH")
        super().__init__(found, home, [*_AOF, *settings], tcp=tcp)


def bearing_file_limits(binary: Path, home: Path) -> Path:
    """Return a program that runs another so that a write beyond RLIMIT_FSIZE fails, and no more.

    Without it the kernel ends the process there. So a limit stands for a full disk.
    """
    script = home / "bearing"
    script.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {binary} \"$@\"\n")
    script.chmod(0o700)
    return script


class _Group(ABC):
    """Servers that start and stop together."""

    nodes: list[Node]

    def start(self) -> None:
        """Start all; none is left running when one does not come up."""
        try:
            self._form()
        except BaseException:
            self.stop()
            raise

    @abstractmethod
    def _form(self) -> None: ...

    def stop(self) -> None:
        """End all."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()


class Cluster(_Group):
    """Three masters that share the slots; a lost node takes only its own slots away.

    Args:
        home: directory for the nodes' data.
        binary: the server program; `find_server()` if left out.
        settings: further command line settings of every node.
    """

    def __init__(
        self, home: Path, *, binary: Path | None = None, settings: Sequence[str] = ()
    ) -> None:
        program = binary or find_server()
        words = [*_AOF, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
        words += ["--cluster-require-full-coverage", "no", *settings]
        self.nodes = [Node(program, home / f"node{index}", words) for index in range(3)]

    @property
    def urls(self) -> list[str]:
        """The nodes' addresses."""
        return [node.url for node in self.nodes]

    def kill(self, index: int) -> None:
        """SIGKILL one node."""
        self.nodes[index].kill()

    def restart(self, index: int) -> None:
        """Start one node again and wait until all agree that it is back."""
        self.nodes[index].restart()
        self.wait_ok()

    def wait_ok(self) -> None:
        """Wait until every node sees every other and every slot served."""
        for node in self.nodes:
            with client(node.url) as link:
                until(partial(_is_whole, link), what=f"{node.url} sees the cluster whole")

    def owner(self, slot: int) -> int:
        """Return the index of the node that serves a slot."""
        return next(index for index, node in enumerate(self.nodes) if slot in _slots_of(node))

    def begin_migration(self, slot: int, source: int, target: int) -> None:
        """Open a slot for migration: keys may now be on either node."""
        ids = [self._id(index) for index in (source, target)]
        with client(self.nodes[target].url) as link:
            link.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
        with client(self.nodes[source].url) as link:
            link.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])

    def migrate_keys(self, slot: int, source: int, target: int, most: int) -> int:
        """Move some keys of an open slot; return how many were left to move before."""
        with client(self.nodes[source].url, decode_responses=False) as link:
            keys = link.execute_command("CLUSTER GETKEYSINSLOT", slot, most)
            if keys:
                port = self.nodes[target].port
                link.execute_command("MIGRATE", HOST, port, "", 0, 5000, "KEYS", *keys)
            return len(keys)

    def end_migration(self, slot: int, target: int) -> None:
        """Give the slot to the target, the target first."""
        wanted = self._id(target)
        order = [target, *(i for i in range(len(self.nodes)) if i != target)]
        for index in order:
            with client(self.nodes[index].url) as link:
                link.execute_command("CLUSTER SETSLOT", slot, "NODE", wanted)

    def _id(self, index: int) -> str:
        with client(self.nodes[index].url) as link:
            return str(link.execute_command("CLUSTER MYID"))

    def _form(self) -> None:
        for node in self.nodes:
            node.start()
        for index, node in enumerate(self.nodes):
            self._assign(index, node)
        self.wait_ok()

    def _assign(self, index: int, node: Node) -> None:
        count = len(self.nodes)
        first, after = (_SLOTS * edge // count for edge in (index, index + 1))
        with client(node.url) as link:
            link.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
            link.execute_command("CLUSTER ADDSLOTSRANGE", first, after - 1)
            link.execute_command("CLUSTER MEET", HOST, self.nodes[0].port)


def _slots_of(node: Node) -> set[int]:
    """Return the slots that a node serves, as it says itself."""
    with client(node.url) as link:
        text = link.execute_command("CLUSTER NODES")
    lines = text.values() if isinstance(text, dict) else str(text).splitlines()
    mine = next(
        line for line in lines if "myself" in str(line["flags"] if isinstance(line, dict) else line)
    )
    if isinstance(mine, dict):
        return {n for first, last in _ranges(mine["slots"]) for n in range(first, last + 1)}
    words = [word for word in mine.split()[8:] if not word.startswith("[")]
    return {
        n for first, last in _ranges([w.split("-") for w in words]) for n in range(first, last + 1)
    }


def _ranges(rows: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    return [(int(row[0]), int(row[-1])) for row in rows]


def _is_whole(link: Any) -> bool:
    info = _fields(link.execute_command("CLUSTER INFO"))
    nodes = str(link.execute_command("CLUSTER NODES"))
    return (
        info["cluster_state"] == "ok"
        and info["cluster_size"] == "3"
        and info["cluster_slots_ok"] == str(_SLOTS)
        and "fail" not in nodes
    )


def _fields(reply: Any) -> dict[str, str]:
    """Return CLUSTER INFO as a mapping, whether the client has parsed it or not."""
    if isinstance(reply, dict):
        return {str(key): str(value) for key, value in reply.items()}
    return dict(line.split(":", 1) for line in str(reply).split())


class SentinelSet(_Group):
    """A master, its replicas and three sentinels that fail over after a second of silence.

    Args:
        home: directory for the data.
        binary: the server program; `find_server()` if left out.
        down_after_ms: silence after which the master counts as down.
        replicas: how many.
        seen_at: the port at which all others reach the master, if a proxy stands before it.
        settings: further command line settings of master and replicas.
    """

    name = "liveroom"

    def __init__(
        self,
        home: Path,
        *,
        binary: Path | None = None,
        down_after_ms: int = 1000,
        replicas: int = 1,
        seen_at: int = 0,
        settings: Sequence[str] = (),
    ) -> None:
        program = binary or find_server()
        # Without the delay's five seconds the master sends its data to the replica at once.
        words = [*_AOF, "--repl-diskless-sync-delay", "0", *settings]
        self.master = Node(program, home / "master", words)
        self._seen_at = seen_at or self.master.port
        words += ["--replicaof", f"{HOST} {self._seen_at}"]
        self.replicas = [
            Node(program, home / f"replica{i}" if i else home / "replica", words)
            for i in range(replicas)
        ]
        self.replica = self.replicas[0]
        self.sentinels = [
            self._sentinel(program, home / f"sentinel{i}", down_after_ms) for i in range(3)
        ]
        self.nodes = [self.master, *self.replicas, *self.sentinels]

    def _sentinel(self, program: Path, home: Path, down_after_ms: int) -> Node:
        home.mkdir(parents=True)
        config = home / "sentinel.conf"
        config.write_text(
            f"sentinel monitor {self.name} {HOST} {self._seen_at} 2\n"
            f"sentinel down-after-milliseconds {self.name} {down_after_ms}\n"
            f"sentinel failover-timeout {self.name} 5000\n"
        )
        return Node(program, home, ["--sentinel"], lead=[str(config)])

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The sentinels' addresses, as a client of Sentinel takes them."""
        return [(HOST, node.port) for node in self.sentinels]

    def current_master(self) -> tuple[str, int]:
        """Ask the first sentinel for the master's address."""
        with client(self.sentinels[0].url) as link:
            host, port = link.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", self.name)
        return str(host), int(port)

    def _form(self) -> None:
        self.master.start()
        for replica in self.replicas:
            replica.start()
        # A sentinel asks the master for its replicas when it starts, then only every ten seconds.
        with client(self.master.url) as link:
            until(lambda: self._in_step(link), what="the replicas are in step")
        for node in self.sentinels:
            node.start()
            self._hurry(node)
        for node in self.sentinels:
            self._wait_informed(node)

    def _in_step(self, link: Any) -> bool:
        """Whether a write reaches all replicas: one that counts as online may have received nothing yet."""
        told = link.info("replication")
        if not all("online" in str(told.get(f"slave{i}")) for i in range(len(self.replicas))):
            return False
        link.set("in-step", "1", px=1)
        return bool(link.wait(len(self.replicas), 500) == len(self.replicas))

    def _hurry(self, sentinel: Node) -> None:
        """Make a sentinel talk every 200 ms instead of every second or two."""
        with client(sentinel.url) as link:
            for period in ("info-period", "publish-period", "ask-period", "ping-period"):
                link.execute_command("SENTINEL DEBUG", period, 200)

    def _wait_informed(self, sentinel: Node) -> None:
        """Wait until a sentinel knows the others and the replica: before, it cannot fail over."""
        wanted = len(self.replicas)
        with client(sentinel.url) as link:

            def informed() -> bool:
                master = link.sentinel_master(self.name)
                return bool(master["num-other-sentinels"] == 2 and master["num-slaves"] == wanted)

            until(informed, what=f"{sentinel.url} knows the set")
