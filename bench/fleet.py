"""Several workers on one store, with one load in front of them (what `growth` and `scaling` use)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from bench.child import Answer, Child, ChildFailed
from bench.machine import Cores, cpu_of
from bench.stage import BROWSER
from liveroom.store.embedded import EmbeddedServer


__all__ = ["Fleet", "Seen"]

_JOIN_S = 75.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened in a window; CPU is in seconds.

    Attributes:
        seconds: its length.
        cpu: of all workers together.
        store_cpu: of the store.
        load_cpu: of the viewers.
        sent: messages that viewers sent.
        deliveries: messages shown, times viewers.
        frames: WebSocket frames that viewers received.
        size: bytes that viewers received.
        age: ages of messages when they came: n, p50, p99, max.
        beat: the longest interval between two deliveries, as the workers said at the end.
        shed: items not shown.
        closed: connections that the workers ended.
        published: publications of the store.
        publish_us: CPU microseconds of the store for one publication, by its own count.
        commit_us: the same for one run of the commit script, without its publication.
        commits: runs of the commit script.
        store_out: bytes that the store sent.
    """

    seconds: float
    cpu: float
    store_cpu: float
    load_cpu: float
    sent: float
    deliveries: float
    frames: float
    size: float
    age: dict[str, float]
    beat: float
    shed: float
    closed: float
    published: float
    publish_us: float
    commit_us: float
    commits: float
    store_out: float

    @property
    def us_per_delivery(self) -> float:
        """CPU microseconds of the workers for one message shown to one viewer."""
        return self.cpu / max(1.0, self.deliveries) * 1e6

    @property
    def fault(self) -> str:
        """What a reader must know, or ""."""
        found = []
        if self.shed:
            found.append(f"{self.shed:.0f} shed")
        if self.closed:
            found.append(f"{self.closed:.0f} closed")
        if self.load_cpu / self.seconds > 0.95:
            found.append("the load was the limit")
        return ", ".join(found)


class Fleet:
    """Workers, their store and their viewers."""

    def __init__(self, store: EmbeddedServer, workers: Sequence[Child], load: Child) -> None:
        self.workers = workers
        self._store = store
        self._redis = redis.Redis(unix_socket_path=str(store.socket_path))
        self._load = load
        self.viewers = 0

    @classmethod
    @contextmanager
    def started(cls, cores: Cores, workers: int = 1, **settings: Any) -> Iterator[Fleet]:
        """Start all; the store shares the load's core. With few cores workers share theirs."""
        with ExitStack() as stack:
            store = stack.enter_context(EmbeddedServer(None))
            spec = {"url": store.url, "core": cores.worker, "settings": settings}
            started = [
                stack.enter_context(Child.module("bench.engine", **spec)) for _ in range(workers)
            ]
            load = stack.enter_context(Child.module("bench.load"))
            yield cls(store, started, load)

    @property
    def socket_path(self) -> str:
        """Where the store listens."""
        return str(self._store.socket_path)

    def cpu(self) -> float:
        """Return the CPU seconds of all workers since their start."""
        return sum(float(worker.ask("stats")["cpu"]) for worker in self.workers)

    def open(self, rooms: Sequence[str]) -> None:
        """Open rooms."""
        self.workers[0].ask("open", 60, rooms=list(rooms))

    def join(self, room: str, count: int, probe_every: int = 50) -> None:
        """Bring viewers into a room, the same number to each worker."""
        each = count // len(self.workers)
        for worker in self.workers:
            answer = self._load.ask(
                "join", _JOIN_S, port=worker.hello["port"], room=room, count=each,
                probe_every=probe_every, variants=BROWSER,
            )  # fmt: skip
            if answer["failed"]:
                raise ChildFailed(f"viewers were refused: {answer['failed']}")
        self.viewers += each * len(self.workers)

    def spread(self, rooms: Sequence[str], each: int) -> None:
        """Bring the same number of viewers into each of many rooms, all on the first worker."""
        answer = self._load.ask(
            "spread", _JOIN_S, port=self.workers[0].hello["port"], rooms=list(rooms), each=each,
            probe_every=min(50, each),
        )  # fmt: skip
        if answer["failed"] or answer["joined"] < each * len(rooms):
            raise ChildFailed(
                f"{answer['joined']} came in, others were refused: {answer['failed']}"
            )
        self.viewers += answer["joined"]

    def leave(self) -> None:
        """Have all viewers leave."""
        self._load.ask("leave")
        self.viewers = 0

    def talk(self, rates: dict[str, float], *, scattered: bool = False) -> None:
        """Have viewers send so many messages per second, and wait until all rooms talk."""
        self._load.ask("talk", rates=rates, scattered=scattered)
        # Scattered, a room's first message comes after up to one and a half of its intervals.
        time.sleep(max(1.0, 1.6 / min(rates.values()) if scattered else 0.0))

    def hush(self) -> None:
        """Have nobody talk."""
        self._load.ask("hush")

    def window(self, seconds: float) -> Seen:
        """Let time pass, and return what happened in it."""
        before = self._look()
        time.sleep(seconds)
        after = self._look()
        return self._seen(before, after)

    def _look(self) -> Answer:
        statistics = self._redis.info("stats")
        commands = self._redis.info("commandstats")
        pid = self._store.pid
        return {
            "at": time.monotonic(),
            "workers": [worker.ask("stats") for worker in self.workers],
            "load": self._load.ask("stats"),
            "store_cpu": (cpu_of(pid) if pid is not None else None) or 0.0,
            "out": statistics["total_net_output_bytes"],
            "spublish": commands.get("cmdstat_spublish", {}),
            "evalsha": commands.get("cmdstat_evalsha", {}),
        }

    def _seen(self, before: Answer, after: Answer) -> Seen:
        def load(name: str) -> float:
            difference: float = after["load"][name] - before["load"][name]
            return difference

        def command(name: str, value: str) -> float:
            difference: float = after[name].get(value, 0) - before[name].get(value, 0)
            return difference

        workers = list(zip(before["workers"], after["workers"], strict=True))
        published, commits = command("spublish", "calls"), command("evalsha", "calls")
        script_us = command("evalsha", "usec") - command("spublish", "usec")
        return Seen(
            seconds=after["at"] - before["at"],
            cpu=sum(b["cpu"] - a["cpu"] for a, b in workers),
            store_cpu=after["store_cpu"] - before["store_cpu"],
            load_cpu=load("cpu"),
            sent=load("sent"),
            deliveries=load("hits") / max(1, after["load"]["probes"]) * self.viewers,
            frames=load("frames"),
            size=load("bytes"),
            age=after["load"]["latency"],
            beat=max(worker["beat"] for worker in after["workers"]),
            shed=sum(sum(b["shed"].values()) - sum(a["shed"].values()) for a, b in workers),
            closed=load("closed"),
            published=published,
            publish_us=command("spublish", "usec") / max(1.0, published),
            commit_us=script_us / max(1.0, commits),
            commits=commits,
            store_out=after["out"] - before["out"],
        )
