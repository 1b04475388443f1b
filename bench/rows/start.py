"""From the command to the first message that came back, with everything installed."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

from bench.report import Bar, Reading
from bench.stage import Bench


__all__ = ["run"]

BAR = Bar("<= 60 s with installation", 60.0)
DEMO_ROOM = "demo"
_PATIENCE_S = 20.0
_REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: liveroom.v1.json\r\n\r\n"
)


def run(bench: Bench) -> Iterable[Reading]:
    """Measure, if there is a command to start."""
    what = "start to first danmaku: `liveroom serve --dev --demo`, installed already"
    if importlib.util.find_spec("liveroom.cli") is None:
        yield Reading(what, BAR.text, "not measured", notes=["there is no liveroom.cli yet"])
        return
    up, echoed = _first_danmaku()
    yield Reading(
        what=what,
        bar=BAR.text,
        measured=f"{echoed:.2f} s",
        reached=BAR.verdict(echoed),
        values={"listening_s": up, "echoed_s": echoed},
        notes=[f"took connections after {up:.2f} s; installing is not in (see docs/benchmarks.md)"],
    )


def _first_danmaku() -> tuple[float, float]:
    from bench.wire import client_frame

    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="liveroom-bench-") as folder:
        began = time.monotonic()
        process = _start(port, folder)
        try:
            link = _connect(port, began + _PATIENCE_S)
            up = time.monotonic() - began
            with link:
                link.sendall(_REQUEST)
                _read_until(link, b"\r\n\r\n")
                hello = b'{"op":"hello","id":1,"d":{"room":"%b"}}' % DEMO_ROOM.encode()
                link.sendall(client_frame(hello))
                _read_until(link, b'"re":1')
                said = b'{"op":"danmaku.send","d":{"text":"first words of this run"}}'
                link.sendall(client_frame(said))
                _read_until(link, b"first words of this run")
                return up, time.monotonic() - began
        finally:
            _stop(process)


def _start(port: int, folder: str) -> subprocess.Popen[bytes]:
    own = {"LIVEROOM_PORT": str(port), "LIVEROOM_OPS_PORT": "0", "LIVEROOM_DRAIN_S": "0"}
    command = "import sys; from liveroom.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", command, "serve", "--dev", "--demo", "--data", folder],
        env=os.environ | own,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _connect(port: int, until: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def _read_until(link: socket.socket, mark: bytes) -> None:
    """Read until a mark has come; what is before it is of no interest."""
    seen = b""
    while mark not in seen:
        got = link.recv(1 << 16)
        if not got:
            raise ConnectionError(f"expected {mark!r}, the connection ended after {seen[-200:]!r}")
        seen += got
