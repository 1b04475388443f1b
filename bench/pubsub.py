"""What one publication costs a Redis server, by its size and its number of subscribers.

A real server with nothing else to do, on a core of its own; subscribers are plain connections that
read on the other. `SSUBSCRIBE` and `SPUBLISH`, which the engine uses.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.child import Child
from bench.machine import Cores, cpu_of
from liveroom.store.embedded import find_server, server_version


__all__ = ["Fanout", "FanoutPoint", "deliveries_per_s", "measure_fanout"]

_SUBSCRIBERS = (1, 20, 100, 400)
_SIZES = (500, 5_000, 20_000)
_MOST_BYTES_S = 300e6  # what the readers take in without being the limit
_MOST_READS_S = 25_000.0
_WARM_S = 0.2


@dataclass(frozen=True, slots=True)
class FanoutPoint:
    """One measured publication: CPU microseconds of the server for each."""

    subscribers: int
    size: int
    us: float


@dataclass(frozen=True, slots=True)
class Fanout:
    """What a publication costs: `base + subscribers * (each + per_kb * kB)` microseconds of CPU.

    Attributes:
        server: which one was measured.
        base_us: taking the command.
        each_us: one more subscriber.
        per_kb_us: a thousand more bytes to one subscriber.
        points: what it was fitted to.
    """

    server: str
    base_us: float
    each_us: float
    per_kb_us: float
    points: Sequence[FanoutPoint] = ()

    def us(self, subscribers: float, size: float) -> float:
        """Return the CPU of one publication in microseconds."""
        return self.base_us + subscribers * (self.each_us + self.per_kb_us * size / 1000)


def measure_fanout(cores: Cores, seconds: float) -> Fanout:
    """Measure every pair of subscribers and sizes, `seconds` each."""
    program = find_server()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="liveroom-pubsub-"))
        path = f"{folder}/store.sock"
        words = [str(program), "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        words += ["--appendonly", "no", "--maxclients", "2000"]
        spec = {"command": words, "core": cores.worker, "unix": path}
        keeper = stack.enter_context(Child.module("bench.peers.keeper", **spec))
        points = [
            FanoutPoint(n, size, _one(path, keeper.hello["pid"], n, size, seconds))
            for n in _SUBSCRIBERS
            for size in _SIZES
        ]
    version = ".".join(map(str, server_version(program)))
    return _fitted(f"{Path(program).name} {version}", points)


def _one(path: str, pid: int, subscribers: int, size: int, seconds: float) -> float:
    rate = min(2000.0, _MOST_READS_S / subscribers, _MOST_BYTES_S / subscribers / size)
    command = _command("SPUBLISH", "lr:{bench}", "x" * size)
    with _Readers(path, subscribers), _connected(path) as publisher:
        _publish(publisher, command, rate, _WARM_S)
        before = cpu_of(pid)
        count = _publish(publisher, command, rate, seconds)
        after = cpu_of(pid)
    if before is None or after is None:
        raise OSError("the CPU of another process can only be read on Linux")
    return (after - before) / max(1, count) * 1e6


def _publish(publisher: socket.socket, command: bytes, rate: float, seconds: float) -> int:
    """Send at a rate, each after the answer to the one before; return how many."""
    began, count = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        if (now - began) * rate < count:
            time.sleep(min(0.002, began + count / rate - now + 1e-4))
            continue
        publisher.sendall(command)
        publisher.recv(64)
        count += 1
    return count


class _Readers:
    """Subscribers that read and forget, in a thread."""

    def __init__(self, path: str, count: int) -> None:
        self._sockets = [_connected(path) for _ in range(count)]
        for sock in self._sockets:
            sock.sendall(_command("SSUBSCRIBE", "lr:{bench}"))
            sock.recv(256)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def _read(self) -> None:
        room = bytearray(1 << 18)
        with selectors.DefaultSelector() as selector:
            for sock in self._sockets:
                selector.register(sock, selectors.EVENT_READ, sock)
            while not self._stop.is_set():
                for key, _ in selector.select(0.05):
                    key.data.recv_into(room)


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
    return "".join(parts).encode()


def _fitted(server: str, points: Sequence[FanoutPoint]) -> Fanout:
    """Fit the three prices; medians, so that one disturbed point does not bend them."""
    per_kb = statistics.median(_slopes_by_size(points))
    each = statistics.median(
        (large.us - small.us) / (large.subscribers - small.subscribers)
        for small in points
        for large in points
        if small.size == large.size == min(_SIZES) and small.subscribers < large.subscribers
    )
    each = max(0.0, each - per_kb * min(_SIZES) / 1000)
    alone = next(p for p in points if p.subscribers == 1 and p.size == min(_SIZES))
    base = max(0.0, alone.us - each - per_kb * alone.size / 1000)
    return Fanout(server, base, each, max(0.0, per_kb), points)


def _slopes_by_size(points: Sequence[FanoutPoint]) -> Iterable[float]:
    for small in points:
        for large in points:
            alike = small.subscribers == large.subscribers > 1
            if alike and small.size < large.size:
                yield (large.us - small.us) / (large.size - small.size) / small.subscribers * 1000


def deliveries_per_s(fanout: Fanout, size: int) -> float:
    """Return deliveries/s that one core of the server can make at a size, to many subscribers."""
    return 1e6 / (fanout.each_us + fanout.per_kb_us * size / 1000)
