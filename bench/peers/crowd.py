"""The viewers: connected and greeted here, then read and spoken for by a loop in C (crowd.c).

A loop in Python would be full long before the servers that write a frame per message are; in C one
core reads several times what one core writes.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.wire import TEXT, client_frame


__all__ = ["MESSAGE", "NO_COMPILER", "Crowd", "Greeting", "Totals", "compiler", "text_frame"]

NO_COMPILER = "the viewers and the limit are written in C: gcc or cc is needed"

_STAMP = "@0000000000000000000~"

MESSAGE = (
    _STAMP + "What size at 175 cm, and do you ship it to Berlin? 666 lol, I take two if so :)"
)[:100]
"""The danmaku that everyone sends: 100 bytes, of which 21 are the time of sending."""

_BATCH = 50
_PATIENCE_S = 15.0


def compiler() -> str | None:
    """Return the C compiler, if there is one."""
    return shutil.which("gcc") or shutil.which("cc")


@dataclass(frozen=True, slots=True)
class Greeting:
    """How a viewer comes in: the upgrade, then what is said and what is waited for.

    Args:
        path: of the upgrade request.
        subprotocol: what is asked for, or "".
        steps: pairs of a frame to send (or b"") and the bytes to wait for in what comes back.
    """

    path: str = "/"
    subprotocol: str = ""
    steps: Sequence[tuple[bytes, bytes]] = ()

    @property
    def request(self) -> bytes:
        """The upgrade request; no extension is offered, so nothing is compressed."""
        lines = [
            f"GET {self.path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        if self.subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {self.subprotocol}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class Totals(ctypes.Structure):
    """What the viewers have seen; `marked` counts only what was sent since the last mark."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "sent", "frames", "bytes", "hits", "marked_sent", "marked_hits", "closed", "unsent",
            "late_ns",
        )
    ]  # fmt: skip
    sent: int
    frames: int
    bytes: int
    hits: int
    marked_sent: int
    marked_hits: int
    closed: int
    unsent: int
    late_ns: int


class Crowd:
    """All viewers of one server, in this process."""

    def __init__(self, library: Path) -> None:
        self._lib = ctypes.CDLL(str(library))
        self._lib.crowd_age.restype = ctypes.c_double
        self._lib.crowd_age.argtypes = [ctypes.c_double]
        self._lib.crowd_run.argtypes = [
            ctypes.c_double, ctypes.c_double, ctypes.c_int64, ctypes.c_char_p, ctypes.c_int,
            ctypes.c_int,
        ]  # fmt: skip
        self._sockets: list[socket.socket] = []

    @classmethod
    @contextlib.contextmanager
    def build(cls) -> Iterator[Self]:
        """Compile the loop into a temporary directory. Raises FileNotFoundError without gcc."""
        program = compiler()
        if program is None:
            raise FileNotFoundError(NO_COMPILER)
        with tempfile.TemporaryDirectory(prefix="liveroom-peers-") as folder:
            library = Path(folder, "crowd.so")
            words = (program, "-O2", "-shared", "-fPIC", "-o", library)
            subprocess.run([*words, Path(__file__).with_name("crowd.c")], check=True, timeout=60)
            crowd = cls(library)
            try:
                yield crowd
            finally:
                crowd.leave()

    def connect(self, port: int, greetings: Sequence[Greeting]) -> None:
        """Bring in one viewer per greeting. Raises ConnectionError, TimeoutError."""
        for start in range(0, len(greetings), _BATCH):
            self._connect(port, greetings[start : start + _BATCH])

    def connect_plain(self, port: int, count: int) -> None:
        """Open connections without any greeting (to the C loop)."""
        for _ in range(count):
            self._add(_opened(port), b"")

    def run(
        self, seconds: float, *, rate: float = 0.0, message: bytes = b"", until: int = -1
    ) -> Totals:
        """Read for so long, or until `until` marked messages came; return what was seen so far."""
        self._lib.crowd_run(
            seconds, rate, until, message, len(message), message.find(_STAMP.encode())
        )
        return self.totals()

    def mark(self) -> Totals:
        """Begin a window."""
        self._lib.crowd_mark()
        return self.totals()

    def totals(self) -> Totals:
        """Return what was seen so far."""
        totals = Totals()
        self._lib.crowd_totals(ctypes.byref(totals))
        return totals

    def age(self, share: float) -> float:
        """Return a quantile of the ages since the mark in seconds; below 0: there are none."""
        seconds: float = self._lib.crowd_age(share)
        return seconds

    def frame(self) -> bytes:
        """Return the last frame with a message in it."""
        room = ctypes.create_string_buffer(1 << 18)
        size: int = self._lib.crowd_frame(room)
        return room.raw[:size]

    def leave(self) -> None:
        """Close all connections."""
        self._lib.crowd_clear()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def _connect(self, port: int, greetings: Sequence[Greeting]) -> None:
        # Each step is sent by all of a batch before anyone waits, so that round trips overlap.
        sockets = [_opened(port) for _ in greetings]
        for sock, greeting in zip(sockets, greetings, strict=True):
            sock.sendall(greeting.request)
        rests = [_upgraded(sock) for sock in sockets]
        for step in range(len(greetings[0].steps)):
            for sock, greeting in zip(sockets, greetings, strict=True):
                if greeting.steps[step][0]:
                    sock.sendall(greeting.steps[step][0])
            for number, (sock, greeting) in enumerate(zip(sockets, greetings, strict=True)):
                rests[number] = _until(sock, rests[number], greeting.steps[step][1])
        for sock, rest in zip(sockets, rests, strict=True):
            self._add(sock, rest)

    def _add(self, sock: socket.socket, rest: bytes) -> None:
        self._sockets.append(sock)
        if self._lib.crowd_add(sock.fileno(), rest, len(rest)):
            raise OSError("a connection could not be watched")


def text_frame(text: str) -> bytes:
    """Return a client's text frame."""
    return client_frame(text.encode(), TEXT)


def _opened(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _upgraded(sock: socket.socket) -> bytes:
    got = _until(sock, b"", b"\r\n\r\n")
    head, _, rest = got.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(head[:200].decode(errors="replace"))
    return rest


def _until(sock: socket.socket, got: bytes, wanted: bytes) -> bytes:
    while wanted not in got:
        more = sock.recv(1 << 16)
        if not more:
            raise ConnectionError(f"closed while waiting for {wanted!r}: {got[-200:]!r}")
        got += more
    return got
