"""A private PostgreSQL server for tests: on a unix socket, under a user that is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from liveroom.store.child import Child, spawn


__all__ = ["PostgresServer", "why_not"]

_START_S = 20.0
_USERS = ("postgres", "nobody")


def _program(name: str) -> str | None:
    newest_first = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(newest_first[0]) if newest_first else shutil.which(name)


def why_not() -> str:
    """Return why there can be no server here; empty if there can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "no PostgreSQL server here (apt-get install postgresql)"
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no setpriv to become another user"
    return ""


class PostgresServer:
    """One server with its data in a directory of its own, gone when it is stopped."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="liveroom-pg-"))
        self._data = self.home / "data"
        self._child: Child | None = None
        self._databases = 0
        if os.getuid() == 0:
            owner = pwd.getpwnam(next(name for name in _USERS if _exists(name)))
            os.chown(self.home, owner.pw_uid, owner.pw_gid)
            as_owner = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
            # The kernel forgets whom to tell of the parent's death when the user changes.
            self._become = [str(shutil.which("setpriv")), *as_owner, "--pdeathsig", "KILL"]
        else:
            self._become = []
        self._run(
            "initdb", "-D", str(self._data), "-U", "liveroom", "--auth=trust", "-N", "-E=UTF8"
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = [*self._become, str(_program("postgres")), "-D", str(self._data)]
        words += ["-k", str(self.home), "-c", "listen_addresses=", "-c", "fsync=off"]
        self._child = spawn(Path(words[0]), words[1:], self.home / "server.log")
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert time.monotonic() < deadline, (self.home / "server.log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, and every connection to it."""
        if self._child is not None:
            os.kill(self._child.pid, signal.SIGINT)
            self._child.stop()
            self._child = None

    def close(self) -> None:
        """End it and remove its files."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def database(self) -> str:
        """Make an empty database; return its URL."""
        self._databases += 1
        name = f"archive{self._databases}"
        self._run("createdb", "-h", str(self.home), "-U", "liveroom", name)
        return f"postgresql://liveroom@/{name}?host={self.home}"

    def _answers(self) -> bool:
        words = ["psql", "-h", str(self.home), "-U", "liveroom", "-d", "postgres", "-c", "SELECT 1"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def _run(self, name: str, *words: str) -> None:
        made = subprocess.run(
            [*self._become, str(_program(name)), *words],
            capture_output=True, text=True, check=False, cwd=self.home,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
