"""Holds a server of somebody else: starts it, tells its port and pid, ends it with its parent.

`python -m bench.peers.keeper '{"command": ["…", "{port}"], "core": 0, "env": {}}'`: `{port}` in the
command, and in the file `config`, becomes a free port. Its own CPU and memory are not counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import pin, raise_file_limit


__all__ = ["main"]

_READY_S = 15.0
_STOP_S = 5.0
_TAIL = 1000


def main() -> None:
    """Run until standard input ends."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    # Ctrl-C goes to the whole group: the server must live until it is ended here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_file_limit()
    pin(given["core"])
    path = given.get("unix", "")
    port = 0 if path else _free_port()
    config = Path(given["config"]) if given.get("config") else None
    if config is not None:
        config.write_text(config.read_text().replace("{port}", str(port)))
    command = [word.replace("{port}", str(port)) for word in given["command"]]
    env = os.environ | given.get("env", {})
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=env
        ) as server,
    ):
        try:
            _wait(server, port, path)
            print(json.dumps({"pid": server.pid, "port": port}), flush=True)
            sys.stdin.read()
        finally:
            if server.poll() is not None:  # by itself: its last words tell why
                said.seek(0)
                sys.stderr.write(said.read().decode(errors="replace")[-_TAIL:])
            _end(server)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _wait(server: subprocess.Popen[bytes], port: int, path: str) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with status {server.returncode}")
        with contextlib.suppress(OSError):
            family = socket.AF_UNIX if path else socket.AF_INET
            with socket.socket(family) as sock:
                sock.connect(path or ("127.0.0.1", port))
            return
        time.sleep(0.03)
    raise SystemExit(f"the server took no connection within {_READY_S:g} s")


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    main()
