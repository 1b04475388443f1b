"""One worker, wired: store, plugins, hub, gate, fronts (layer 7).

`Node` is what a process runs, what tests start inside themselves, and what `liveroom.testing`
hands out. It makes nothing that it was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import random
import secrets
import time
from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from liveroom.auth.jwks import JwksKeys
from liveroom.caller import Performer
from liveroom.config import Settings
from liveroom.connection import Connection
from liveroom.errors import ConfigError, StoreError
from liveroom.features import builtin_plugins
from liveroom.front import Front
from liveroom.gate import Gate, key_source, verifier_of
from liveroom.hub.hub import Hub
from liveroom.metrics import Metrics
from liveroom.plugin.manager import PluginManager, load_plugins
from liveroom.plugin.spec import Plugin
from liveroom.protocol.items import event_item
from liveroom.store.durability import (
    CONFIG_KEYS,
    INFO_SECTIONS,
    Level,
    Report,
    WaitPlan,
    effective_level,
    plan,
    weakest,
)
from liveroom.store.port import LogEntry, Op
from liveroom.store.redis import RedisStore
from liveroom.store.script import assemble
from liveroom.store.topology import topology_from_url


__all__ = ["SYSTEM_SCOPE", "Node", "SystemClock", "tune_collector"]

log = structlog.get_logger("liveroom.node")

SYSTEM_SCOPE = "~sys"
"""The internal scope whose log all workers follow: revocations, the list of rooms."""

READY_SILENCE_S = 8.0
_LAG_EVERY_S = 0.25
_MEMORY_EVERY_S = 5.0
_ANSWER_S = 1.0
_GOODBYE_S = 1.0
_LEAST_WINDOW_S = 1.0
_PER_VIEWER_S = 0.05
_LOOK_EVERY_S = 0.05


def tune_collector() -> None:
    """Have the garbage collector look less often, and never at what is there for good.

    A worker holds hundreds of thousands of long-lived objects (connections) and makes few cycles;
    with the defaults it walks through all of them again and again while viewers join.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class SystemClock:
    """The real clock."""

    def monotonic(self) -> float:
        """Return the event loop's time, which is the monotonic clock's."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000


class Node:
    """A worker.

    Args:
        settings: frozen settings.
        redis_url: where the store is (the embedded server's URL is known only when it runs).
        plugins: further plugins beside the built-in and the configured ones.
    """

    def __init__(self, settings: Settings, redis_url: str, plugins: Sequence[Plugin] = ()) -> None:
        self.settings = settings
        self.worker = f"{secrets.token_hex(4)}"
        self.metrics = Metrics()
        faults = self.metrics.plugin_faults
        self.manager = PluginManager(
            [*builtin_plugins(settings), *load_plugins(settings.plugins), *plugins],
            lambda name: faults.labels(name).inc(),
        )
        self.store = RedisStore(
            topology_from_url(redis_url),
            assemble(self.manager.lua),
            worker=self.worker,
            log_max_entries=settings.log_max_entries,
            key_ttl_ms=settings.key_ttl_s * 1000,
            timeout_s=settings.store_timeout_ms / 1000,
            hooks=bool(settings.webhook_url),
        )
        clock = SystemClock()
        self.hub = Hub(settings, self.store, self.manager, self.metrics, clock, self.worker)
        self._keys = key_source(settings)
        self.gate = Gate(
            verifier_of(settings, self._keys),
            guests=settings.dev,
            max_per_user=settings.max_per_user,
            now_s=time.time,
        )
        self.front = Front(settings, self.hub, self.gate, time.time)
        self.hub.performer = Performer(self.front).perform
        self.trusted = tuple(_network(text) for text in settings.trusted_proxies)
        self.report: Report | None = None
        self.level: Level | None = None
        self.draining = False
        self.metrics.draining.set_function(lambda: self.draining)
        self.metrics.store.watch(self.store)

    async def start(self) -> None:
        """Connect, learn what durability the store gives, follow the system scope.

        What was opened is closed again when that fails: a loop with open handles may not end.
        """
        try:
            await self._start()
        except BaseException:
            with contextlib.suppress(StoreError):
                await self.stop()
            raise

    async def _start(self) -> None:
        await self.hub.start()
        await self._probe_durability()
        system = self.hub.room_for(SYSTEM_SCOPE)
        system.observer = self._on_system_event
        await asyncio.wait_for(system.follower.loaded.wait(), 10)
        await self._load_revocations()
        self.front.start()
        self.hub.every(_LAG_EVERY_S, _LagProbe(self.metrics))
        await self._measure_store()
        self.hub.every(_MEMORY_EVERY_S, self._measure_store)

    async def stop(self) -> None:
        """Close what is left and disconnect."""
        for connection in list(self.front.connections):
            connection.close("restart")
        await self.front.settle()
        await self.hub.stop()
        for connection in list(self.front.connections):
            connection.abort()
        if isinstance(self._keys, JwksKeys):
            await self._keys.close()

    async def drain(self, seconds: float) -> None:
        """Send the viewers away, spread over a window; nothing acknowledged is lost.

        Every viewer is told when to come back (`sys.reconnect`) and closed with 1012; commands in
        flight are answered first. Nobody is closed at once: who follows the hint is greeted elsewhere
        before. A few viewers need a small part of the window.

        Args:
            seconds: the window at most.
        """
        self.draining = True
        connections = list(self.front.connections)
        random.shuffle(connections)
        window = min(seconds, max(_LEAST_WINDOW_S, len(connections) * _PER_VIEWER_S))
        notice = event_item("sys.reconnect", {"after_ms": 0, "spread_ms": round(window * 1000)})
        for connection in connections:
            connection.tell(notice)
        began, step = time.monotonic(), max(16, len(connections) // 200)
        for start in range(0, len(connections), step):
            batch = connections[start : start + step]
            await self._wait_until_gone(
                batch, began + window * (start + len(batch)) / len(connections)
            )
            await self._send_away(batch, began + window + _ANSWER_S)
        await self.front.settle()
        await self._see_off()

    async def _wait_until_gone(self, connections: Sequence[Connection], due: float) -> None:
        """Wait until a moment, or until all have left by themselves."""
        while (left := due - time.monotonic()) > 0 and not all(c.gone for c in connections):  # noqa: ASYNC110
            await asyncio.sleep(min(_LOOK_EVERY_S, left))

    async def _send_away(self, connections: Sequence[Connection], deadline: float) -> None:
        """Close connections once what they sent is answered, or at the deadline."""
        for connection in connections:
            connection.leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self.front.answered()
        for connection in connections:
            connection.close("restart")

    async def _see_off(self) -> None:
        """Give the peers time to answer the close frame: a reset could take it from them."""
        deadline = time.monotonic() + _GOODBYE_S
        while self.front.connections and time.monotonic() < deadline:  # noqa: ASYNC110 -- once
            await asyncio.sleep(0.01)

    @property
    def unready(self) -> list[str]:
        """Why this worker should get no new viewers; empty when it is ready."""
        reasons = ["draining"] if self.draining else []
        silence = self.store.silent_for()
        if silence > READY_SILENCE_S:
            reasons.append(f"the store's channels have been silent for {silence:.0f} s")
        return reasons

    # Start-up.

    async def _probe_durability(self) -> None:
        reports = [await self._probe(address) for address in self.store.addresses()]
        self.report = weakest(reports)
        wanted = Level.parse(self.settings.durability)
        waits: WaitPlan = plan(
            wanted,
            self.report,
            self.settings.durability_replicas,
            timeout_ms=self.settings.store_timeout_ms // 2,
        )
        self.store.waits = waits if waits.commands else None
        self.level = waits.level
        self.metrics.store.durability.labels(waits.level.value).set(1)
        log.info("durability in force", durability=waits.level.value, reasons=self.report.reasons)
        for warning in self.report.warnings:
            log.warning("store setting", warning=warning)

    async def _probe(self, address: str) -> Report:
        info: dict[str, Any] = {}
        for section in INFO_SECTIONS:
            info |= _parse_info(await self.store.ask(address, "INFO", section))
        config: dict[str, Any] = {}
        for key in CONFIG_KEYS:
            try:
                config |= _pairs(await self.store.ask(address, "CONFIG", "GET", key))
            except StoreError:  # a managed server forbids it
                break
        return effective_level(info, config)

    async def _measure_store(self) -> None:
        """Ask the store's servers how much memory they use; what a silent one used is kept."""
        with contextlib.suppress(StoreError, KeyError):
            infos = [await self.store.ask(a, "INFO", "memory") for a in self.store.addresses()]
            self.metrics.store.memory.set(sum(_used_memory(info) for info in infos))

    # The system scope.

    async def _load_revocations(self) -> None:
        reply = await self.hub.submit(SYSTEM_SCOPE, Op("auth.list", "", {}))
        for row in orjson.loads(reply[1:])["revoked"]:
            self.gate.revoke(row)

    def _on_system_event(self, entry: LogEntry) -> None:
        event = orjson.loads(entry.item)
        if event["ev"] == "auth.revoked":
            self.gate.revoke(event["d"])
            self.front.recheck()


class _LagProbe:
    """Measures how late the event loop calls back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._expected = 0.0
        self._worst = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        lag = max(0.0, now - self._expected) if self._expected else 0.0
        self._worst = max(lag, self._worst * 0.9)
        self._metrics.loop_lag_s.set(self._worst)
        self._expected = now + _LAG_EVERY_S


def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(text)
    except ValueError as exc:
        raise ConfigError("trusted_proxies", "networks such as 10.0.0.0/8", text) from exc


def _parse_info(reply: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in reply.decode().splitlines() if ":" in line)
    return {key: value for key, _, value in lines}


def _used_memory(reply: bytes) -> int:
    return int(_parse_info(reply)["used_memory"])


def _pairs(flat: list[bytes]) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in zip(flat[::2], flat[1::2], strict=True)}
