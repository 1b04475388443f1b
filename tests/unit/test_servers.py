"""The helper that starts real servers for the other tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from liveroom.store.embedded import find_server
from servers import (
    Cluster,
    ExternalRedis,
    Node,
    SentinelSet,
    claim_port,
    client,
    debian_redis,
    release_port,
    until,
    wait_gone,
)


def test_cluster_serves_all_slots_and_takes_a_node_back(tmp_path: Path) -> None:
    """A write lands on each node; a killed node takes only its slots away, and returns with them."""
    with Cluster(tmp_path) as cluster:
        nodes = [client(url) for url in cluster.urls]
        keys = [_own_key(index) for index in range(3)]
        assert [node.set(key, "1") for node, key in zip(nodes, keys, strict=True)] == [True] * 3
        cluster.kill(1)
        assert nodes[0].get(keys[0]) == "1"
        with pytest.raises(redis.ConnectionError):
            nodes[1].get(keys[1])
        cluster.restart(1)
        assert nodes[1].get(keys[1]) == "1"
        for node in nodes:
            node.close()


def _own_key(index: int) -> str:
    """Return a key whose slot is the node's: 16384 slots in three equal parts."""
    return next(
        key
        for number in range(1000)
        if key_slot((key := f"k{number}").encode()) * 3 // 16384 == index
    )


def test_sentinel_promotes_the_replica(tmp_path: Path) -> None:
    """Writes reach the replica; after the master's death the sentinels name it."""
    with SentinelSet(tmp_path, down_after_ms=300) as group:
        assert group.current_master() == ("127.0.0.1", group.master.port)
        group.master.kill()
        until(lambda: group.current_master()[1] == group.replica.port, what="failover")
        with client(group.replica.url) as link:
            until(lambda: link.set("a", "1"), what="the new master takes writes")


@pytest.mark.skipif(debian_redis() is None, reason="no redis-server >= 7.0 on PATH")
@pytest.mark.parametrize("tcp", [True, False])
def test_external_redis_restarts_with_its_data(tmp_path: Path, tcp: bool) -> None:
    """The same address and the same data after an orderly restart."""
    with ExternalRedis(tmp_path, tcp=tcp) as server:
        with client(server.url) as link:
            link.set("a", "1")
        url = server.url
        server.restart()
        assert server.url == url
        with client(url) as link:
            assert link.get("a") == "1"


def test_node_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    """A wrong setting is an error with the server's words, not a timeout."""
    node = Node(find_server(), tmp_path, ["--no-such-setting", "1"], tcp=False)
    with pytest.raises(RuntimeError, match="no-such-setting"):
        node.start()


def test_node_dies_with_the_test_process(tmp_path: Path) -> None:
    """A test run that is killed leaves no server behind."""
    code = (
        "import sys; from pathlib import Path; from servers import Node;"
        "from liveroom.store.embedded import find_server;"
        "node = Node(find_server(), Path(sys.argv[1])); node.start();"
        "print(node.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.send_signal(signal.SIGKILL)
        assert wait_gone(pid)


def test_ports_are_claimed_across_processes() -> None:
    """A port is not given twice, here or to another process that looks there first."""
    mine, other = claim_port(), claim_port()
    code = (
        "import random, servers; random.randrange = lambda count: {port} - servers._PORTS.start;"
        "print(servers.claim_port())"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code.replace("{port}", str(mine))]
    kept = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    release_port(mine)
    freed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    release_port(other)
    assert mine != other
    assert int(kept.stdout) not in {mine, other}
    assert int(freed.stdout) == mine
