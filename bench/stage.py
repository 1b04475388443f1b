"""What rows stand on: a store, a worker and a load generator, started and ended together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.child import Answer, Child, ChildFailed
from bench.machine import Cores, cpu_of
from bench.profile import Profile
from liveroom.store.embedded import EmbeddedServer


__all__ = ["Bench", "Stage", "Window"]

ALL_VARIANTS = [0, 1, 2, 3]
"""JSON and MessagePack, plain and deflated."""
BROWSER = [2]
"""What a browser agrees on: JSON, deflated."""


@dataclass(frozen=True, slots=True)
class Bench:
    """How a run is done.

    Args:
        quick: rows take at most 5 s, with fewer viewers; the figures are rougher.
        profile: a directory for profiles of the worker; None: none are taken.
    """

    cores: Cores
    quick: bool = False
    profile: Path | None = None

    def pick(self, full: Any, quick: Any) -> Any:
        """Return one of two, by how thorough the run is."""
        return quick if self.quick else full

    @contextmanager
    def stage(self, name: str, **settings: Any) -> Iterator[Stage]:
        """Start a store, a worker and a load generator; end them all."""
        with ExitStack() as stack:
            # This process is on the load's core, and what it starts inherits that.
            store = stack.enter_context(EmbeddedServer(None))
            spec = {"url": store.url, "core": self.cores.worker, "settings": settings}
            worker = stack.enter_context(Child.module("bench.engine", **spec))
            load = stack.enter_context(Child.module("bench.load"))
            yield Stage(self, name, store, worker, load)


class Stage:
    """A worker under load."""

    def __init__(
        self, bench: Bench, name: str, store: EmbeddedServer, worker: Child, load: Child
    ) -> None:
        self._bench = bench
        self._name = name
        self.store = store
        self.worker = worker
        self.load = load

    @property
    def port(self) -> int:
        """Where the worker listens."""
        port: int = self.worker.hello["port"]
        return port

    def open(self, *rooms: str) -> None:
        """Open rooms."""
        self.worker.ask("open", rooms=list(rooms))

    def join(self, room: str, count: int, **options: Any) -> Answer:
        """Bring viewers into a room. Raises ChildFailed when one is refused."""
        answer = self.load.ask("join", 60, port=self.port, room=room, count=count, **options)
        if answer["failed"]:
            raise ChildFailed(f"viewers were refused: {answer['failed']}")
        return answer

    def talk(self, rate: float, room: str = "bench", *, settle_s: float = 1.0) -> None:
        """Have a room's viewers send so many messages per second."""
        self.load.ask("talk", rates={room: rate})
        time.sleep(settle_s)

    def window(self, seconds: float, label: str = "") -> Window:
        """Let time pass, and return what happened in it."""
        with Profile(self._bench.profile, self.worker.pid, self._name + label):
            before = self._look()
            time.sleep(seconds)
            after = self._look()
        return Window(before, after)

    def watch(self, do: str, timeout_s: float, **spec: Any) -> tuple[Answer, Window]:
        """Have the load do something that ends by itself; return its answer and what happened."""
        with Profile(self._bench.profile, self.worker.pid, f"{self._name}-{do}"):
            before = self._look()
            answer = self.load.ask(do, timeout_s, **spec)
            after = self._look()
        return answer, Window(before, after)

    def _look(self) -> _Look:
        pid = self.store.pid
        store = cpu_of(pid) if pid is not None else None
        return _Look(self.worker.ask("stats"), self.load.ask("stats"), store or 0.0)


@dataclass(frozen=True, slots=True)
class _Look:
    worker: Answer
    load: Answer
    store_cpu: float


class Window:
    """What happened between two looks."""

    def __init__(self, before: _Look, after: _Look) -> None:
        self._before = before
        self._after = after

    @property
    def seconds(self) -> float:
        """Its length by the worker's clock."""
        return self._worker("at")

    @property
    def cpu(self) -> float:
        """CPU seconds of the worker."""
        return self._worker("cpu")

    @property
    def busy(self) -> float:
        """The worker's share of one core."""
        return self.cpu / self.seconds

    @property
    def written(self) -> float:
        """Frames that the worker wrote in fan-out."""
        return self._worker("frames")

    @property
    def shed(self) -> dict[str, float]:
        """Items that were not shown, by kind."""
        before, after = self._before.worker["shed"], self._after.worker["shed"]
        lost = {kind: count - before.get(kind, 0) for kind, count in after.items()}
        return {kind: count for kind, count in lost.items() if count}

    @property
    def beat(self) -> float:
        """Seconds between two deliveries, as the worker said at the end."""
        beat: float = self._after.worker["beat"]
        return beat

    @property
    def rss(self) -> int:
        """The worker's resident bytes at the end."""
        resident: int = self._after.worker["rss"]
        return resident

    @property
    def sent(self) -> float:
        """Messages that viewers sent."""
        return self._load("sent")

    @property
    def shown(self) -> float:
        """Messages that each viewer was shown, as the probes saw it."""
        probes: int = self._after.load["probes"]
        return self._load("hits") / max(1, probes)

    @property
    def frames(self) -> float:
        """Frames that the viewers received."""
        return self._load("frames")

    @property
    def bytes(self) -> float:
        """Bytes that the viewers received."""
        return self._load("bytes")

    @property
    def closed(self) -> float:
        """Connections that the worker ended."""
        return self._load("closed")

    @property
    def last_close(self) -> str:
        """What the worker said when it ended the last one."""
        words: str = self._after.load["last_close"]
        return words

    @property
    def latency(self) -> dict[str, float]:
        """Ages in seconds of messages when they came: n, p50, p99, max."""
        latency: dict[str, float] = self._after.load["latency"]
        return latency

    @property
    def load_text(self) -> str:
        """How busy the other core was: whether the load was the limit."""
        load = self._load("cpu") / self.seconds
        store = (self._after.store_cpu - self._before.store_cpu) / self.seconds
        lag = self._after.load["lag"] * 1000
        return f"load {load:.0%} and store {store:.0%} of a core, load late by at most {lag:.0f} ms"

    def _worker(self, name: str) -> float:
        difference: float = self._after.worker[name] - self._before.worker[name]
        return difference

    def _load(self, name: str) -> float:
        difference: float = self._after.load[name] - self._before.load[name]
        return difference
