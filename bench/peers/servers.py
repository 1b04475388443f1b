"""The servers that are compared: how each is started, greeted and spoken to, and on what terms."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import orjson

from bench.child import Child
from bench.load import SECRET
from bench.machine import Cores
from bench.peers.crowd import MESSAGE, Greeting, text_frame
from bench.peers.install import NGINX_TEMP, Place
from bench.wire import BINARY, client_frame
from liveroom.auth.tokens import mint
from liveroom.protocol.handshake import JSON
from liveroom.store.embedded import EmbeddedServer, find_server


__all__ = ["PEERS", "Peer", "Running", "Terms"]

_HERE = Path(__file__).parent
_ROOM = "bench"
_PIP = "python -m bench.peers --install, or pip install {} into {}/venv"


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a server is compared."""

    batching: str
    durability: str = "none"


@dataclass(slots=True)
class Running:
    """A started server.

    Args:
        port: where its viewers connect.
        pids: returns the processes that do the work, the store's last if there is one.
        stores: how many of those are a store.
    """

    port: int
    pids: Callable[[], list[int]]
    stores: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to compare.

    Args:
        title: as the table shows it.
        terms: batching and durability.
        missing: returns how to get it, or "" when it is there.
        start: starts it, given a place, cores and a stack that ends it.
        greet: returns how viewer n comes in.
        message: the frame that a viewer sends.
        version: returns what was measured; "" for the tree itself.
        memory: whether idle connections are measured too (once per server is enough).
    """

    title: str
    terms: Terms
    missing: Callable[[Place], str]
    start: Callable[[Place, Cores, ExitStack], Running]
    greet: Callable[[int], Greeting]
    message: bytes
    version: Callable[[Place], str]
    memory: bool = True

    @contextmanager
    def running(self, place: Place, cores: Cores) -> Iterator[Running]:
        """Start it, and end it."""
        with ExitStack() as stack:
            yield self.start(place, cores, stack)


# Liveroom.


def _liveroom(beat_ms: int, level: str, *, memory: bool = False) -> Peer:
    def start(place: Place, cores: Cores, stack: ExitStack) -> Running:
        url, store_pid = _store(level, cores, stack)
        settings = {"beat_ms": beat_ms, "danmaku_per_s": 1000}
        spec = {"url": url, "core": cores.worker, "settings": settings}
        worker = stack.enter_context(Child.module("bench.engine", **spec))
        worker.ask("open", rooms=[_ROOM])
        if worker.hello["level"] != level:
            raise RuntimeError(f"expected level {level}, the store gives {worker.hello['level']}")
        return Running(worker.hello["port"], lambda: [worker.pid, store_pid], stores=1)

    return Peer(
        f"liveroom, beat {beat_ms} ms, level {level}",
        Terms(f"yes, each {beat_ms} ms", level),
        lambda place: "",
        start,
        _greet_liveroom,
        text_frame(json.dumps({"op": "danmaku.send", "d": {"text": MESSAGE}})),
        lambda place: "",
        memory,
    )


def _store(level: str, cores: Cores, stack: ExitStack) -> tuple[str, int]:
    if level == "fsync":
        store = stack.enter_context(EmbeddedServer(None))
        assert store.pid is not None
        return store.url, store.pid
    folder = stack.enter_context(TemporaryDirectory(prefix="liveroom-peers-"))
    path = f"{folder}/store.sock"
    words = (str(find_server()), "--port", "0", "--unixsocket", path, "--save", "")
    child = _kept(stack, cores.load, *words, "--appendonly", "no", "--dir", folder, unix=path)
    return f"unix://{quote(path)}", child.hello["pid"]


def _greet_liveroom(number: int) -> Greeting:
    user, now = f"u{number}", time.time()
    token = mint(SECRET, user=user, room=_ROOM, role="viewer", ttl_s=3600, now=now, name=user)
    hello = {"op": "hello", "id": 1, "d": {"room": _ROOM, "token": token, "client": "bench/1"}}
    return Greeting("/ws", JSON, [(text_frame(orjson.dumps(hello).decode()), b'"re":1')])


# The others.


def _kept(stack: ExitStack, core: int | None, *command: str, **options: Any) -> Child:
    """Start a server of somebody else, which ends with this process."""
    return stack.enter_context(
        Child.module("bench.peers.keeper", command=command, core=core, **options)
    )


def _on_node(script: str) -> Callable[[Place, Cores, ExitStack], Running]:
    def start(place: Place, cores: Cores, stack: ExitStack) -> Running:
        (place.node / script).write_bytes((_HERE / "socketio" / script).read_bytes())
        env = {"NODE_ENV": "production"}
        child = _kept(stack, cores.worker, "node", str(place.node / script), "{port}", env=env)
        return Running(child.hello["port"], lambda: [child.hello["pid"]])

    return start


def _on_python(script: str) -> Callable[[Place, Cores, ExitStack], Running]:
    def start(place: Place, cores: Cores, stack: ExitStack) -> Running:
        child = _kept(stack, cores.worker, str(place.python), str(_HERE / script), "{port}")
        return Running(child.hello["port"], lambda: [child.hello["pid"]])

    return start


def _start_nats(place: Place, cores: Cores, stack: ExitStack) -> Running:
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="liveroom-peers-")))
    config = folder / "nats.conf"
    config.write_text((_HERE / "nats.conf").read_text())
    program = str(place.program("nats-server"))
    child = _kept(stack, cores.worker, program, "-c", str(config), config=str(config))
    return Running(child.hello["port"], lambda: [child.hello["pid"]])


def _start_nchan(place: Place, cores: Cores, stack: ExitStack) -> Running:
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="liveroom-peers-")))
    config = folder / "nginx.conf"
    text = (_HERE / "nchan.conf").read_text().replace("{folder}", str(folder))
    config.write_text(text.replace("{modules}", str(place.nginx_modules())))
    words = (str(place.program("nginx")), "-p", str(folder), "-e", "stderr", "-c", str(config))
    child = _kept(stack, cores.worker, *words, config=str(config))
    master = child.hello["pid"]
    return Running(child.hello["port"], lambda: [master, *_children(master)])


def _children(parent: int) -> list[int]:
    """Return the processes that one has started (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


_SOCKETIO = Greeting(
    "/socket.io/?EIO=4&transport=websocket",
    steps=[(b"", b'0{"sid"'), (text_frame("40"), b'40{"sid"')],
)
_SOCKETIO_MESSAGE = text_frame("42" + json.dumps(["danmaku", MESSAGE]))
_NATS_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"echo":true}\r\nSUB room 1\r\nPING\r\n'
_NATS = Greeting(steps=[(b"", b"INFO "), (client_frame(_NATS_CONNECT, BINARY), b"PONG")])
_NATS_MESSAGE = client_frame(b"PUB room %d\r\n%s\r\n" % (len(MESSAGE), MESSAGE.encode()), BINARY)
_EACH = Terms("no: one frame per message")


def _node_missing(package: str) -> Callable[[Place], str]:
    def missing(place: Place) -> str:
        how = "node and npm, then python -m bench.peers --install"
        return "" if place.has_node(package) else how

    return missing


def _python_missing(package: str, name: str) -> Callable[[Place], str]:
    return lambda place: "" if place.has_python(package) else _PIP.format(name, place.home)


def _nats_missing(place: Place) -> str:
    how = "python -m bench.peers --install, or apt-get install nats-server"
    return "" if place.program("nats-server") else how


def _nchan_missing(place: Place) -> str:
    how = "python -m bench.peers --install, or apt-get install nginx libnginx-mod-nchan"
    if place.program("nginx") is None or place.nginx_modules() is None:
        return how
    return "" if NGINX_TEMP.exists() else f"the directory {NGINX_TEMP} is missing"


def _node_version(package: str) -> Callable[[Place], str]:
    def version(place: Place) -> str:
        described = place.node / "node_modules" / package / "package.json"
        return f"{package} {json.loads(described.read_text())['version']}"

    return version


def _python_version(*packages: str) -> Callable[[Place], str]:
    def version(place: Place) -> str:
        found = sorted(
            path.name.removesuffix(".dist-info").replace("-", " ").replace("_", "-")
            for package in packages
            for path in place.home.glob(f"venv/lib/python*/site-packages/{package}-*.dist-info")
        )
        return ", ".join(found)

    return version


def _debian_version(*packages: str) -> Callable[[Place], str]:
    def version(place: Place) -> str:
        names = [
            path.name.split("_")[:2]
            for package in packages
            for path in (place.home / "packages").glob(f"{package}_*.deb")
        ]
        return ", ".join(f"{n} {v.replace('%3a', ':')}" for n, v in names) or "the system's"

    return version


PEERS: dict[str, Peer] = {
    "liveroom-50": _liveroom(50, "fsync", memory=True),
    "liveroom-100": _liveroom(100, "fsync"),
    "liveroom-50-memory": _liveroom(50, "memory"),
    "liveroom-100-memory": _liveroom(100, "memory"),
    "nats": Peer(
        "NATS, WebSocket",
        Terms("what waits for a viewer's socket goes as one"),
        _nats_missing,
        _start_nats,
        lambda _: _NATS,
        _NATS_MESSAGE,
        _debian_version("nats-server"),
    ),
    "nchan": Peer(
        "nchan on nginx, one worker",
        _EACH,
        _nchan_missing,
        _start_nchan,
        lambda _: Greeting("/room"),
        text_frame(MESSAGE),
        _debian_version("nginx", "libnginx-mod-nchan"),
    ),
    "websockets": Peer(
        "websockets.broadcast",
        _EACH,
        _python_missing("websockets", "websockets"),
        _on_python("websockets_broadcast.py"),
        lambda _: Greeting(),
        text_frame(MESSAGE),
        _python_version("websockets", "uvloop"),
    ),
    "ws": Peer(
        "ws (Socket.IO's engine) alone",
        _EACH,
        _node_missing("ws"),
        _on_node("ws.js"),
        lambda _: Greeting(),
        text_frame(MESSAGE),
        _node_version("ws"),
    ),
    "socketio": Peer(
        "Socket.IO, default options",
        _EACH,
        _node_missing("socket.io"),
        _on_node("socketio.js"),
        lambda _: _SOCKETIO,
        _SOCKETIO_MESSAGE,
        _node_version("socket.io"),
    ),
    "python-socketio": Peer(
        "python-socketio, aiohttp, uvloop",
        _EACH,
        _python_missing("socketio", "python-socketio"),
        _on_python("python_socketio.py"),
        lambda _: _SOCKETIO,
        _SOCKETIO_MESSAGE,
        _python_version("python_socketio", "aiohttp", "uvloop"),
    ),
}
"""In the order of the table."""
