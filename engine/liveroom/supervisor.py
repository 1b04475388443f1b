"""`liveroom serve`: the store, the workers and the ops listener of one engine (layer 9).

The supervisor serves no viewer. It starts processes, starts them again when they die, and tells
how they are. Nothing that it started outlives it: workers see the end of their pipe, the store is
tied to it by the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import orjson
import structlog
from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)

from liveroom import __version__
from liveroom.auth.tokens import mint
from liveroom.children import Backoff, WorkerFailed, WorkerSlot
from liveroom.config import Settings
from liveroom.errors import ConfigError, LiveroomError
from liveroom.exposition import merge
from liveroom.gate import key_source
from liveroom.handover import DEMO_ROOM, DRAIN_SLACK_S, STATUS_FAILED, Order, secrets_of
from liveroom.log import setup
from liveroom.store.embedded import EmbeddedServer
from liveroom.web.page import HTTP_IDLE_S, ops_page_routes


__all__ = ["reserve_port", "serve"]

log = structlog.get_logger("liveroom.supervisor")

EMBEDDED = "embedded"

_WEAKEST_FIRST = ("memory", "everysec", "fsync", "replica")

_READY_EVERY_S = 0.05
_STORE_EVERY_S = 0.1
_KILL_AFTER_S = DRAIN_SLACK_S + 1.0  # beyond drain_s, which is 25 at most: out within 30
_DEV_HOST_S = 12 * 3600  # how long the console's address of a development server is good
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST_TEMP = 60  # characters; a unix socket's path holds about 100


def serve(
    settings: Settings, *, demo: bool = False, announce: Callable[[str], None] = print
) -> int:
    """Run an engine until SIGTERM or SIGINT; return the exit status.

    Args:
        settings: frozen settings.
        demo: open the demo room.
        announce: told the addresses, when every worker is ready.

    Raises:
        ConfigError: a setting cannot be used, a port is taken.
        StoreError: the store does not start.
        WorkerFailed: a worker does not start.
    """
    settings = _with_key(settings)  # a missing one is told before anything is started
    setup(settings.log_level, settings.log_format, secrets=secrets_of(settings))
    disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped there
    kind = EMBEDDED if settings.redis == EMBEDDED else "external"
    log.info("engine starting", workers=settings.workers, store=kind, data=settings.data or None)
    if settings.dev and settings.host not in _LOOPBACK:
        log.warning("guests come in from outside: dev is on", host=settings.host)
    # Until the loop has its own handler: leave in order, stopping what was started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    temp = gettempdir() if len(gettempdir()) <= _LONGEST_TEMP else "/tmp"  # noqa: S108 -- made private
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(reserve_port(settings.host, settings.port))
        settings = replace(settings, port=listener.getsockname()[1])
        run_dir = stack.enter_context(TemporaryDirectory(prefix="liveroom-run-", dir=temp))
        store = None
        if settings.redis == EMBEDDED:
            data = Path(settings.data) if settings.data else None
            store = stack.enter_context(EmbeddedServer(data))
        return asyncio.run(_Supervisor(settings, store, run_dir, demo, announce).run())


def _with_key(settings: Settings) -> Settings:
    """Return settings that can check tokens: a development server makes a key for this run.

    Raises:
        ConfigError: no key and no `dev`, or keys that cannot be read.
    """
    if key_source(settings) is None:
        return replace(settings, jwt_secret=secrets.token_hex(32))
    return settings


def reserve_port(host: str, port: int) -> socket.socket:
    """Bind a port without listening, so that this engine's workers may share it and no other.

    Raises:
        ConfigError: it is taken, or this machine has no such address.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if port:  # SO_REUSEPORT alone would share it with another engine of the same user
            with socket.socket(family, kind, proto) as alone:
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(address)
        return _bound(socket.socket(family, kind, proto), address)
    except OSError as exc:
        raise ConfigError("port", "a free one", f"{host}:{port}: {exc.strerror}") from exc


def _bound(made: socket.socket, address: Any) -> socket.socket:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind(address)
    except OSError:  # another program's connections, long closed, may still be remembered
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    return made


class _Supervisor:
    """One run of an engine."""

    def __init__(
        self,
        settings: Settings,
        store: EmbeddedServer | None,
        run_dir: str,
        demo: bool,
        announce: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._demo = demo
        self._announce = announce
        url = settings.redis if store is None else store.url
        self._slots = [
            WorkerSlot(Order(
                settings=settings, redis_url=url, index=index, run_dir=run_dir,
                demo=demo and index == 0,
            ))
            for index in range(settings.workers)
        ]  # fmt: skip
        self._stop = asyncio.Event()
        self._was_ready = False
        self._store_restarts = 0
        self._began = time.monotonic()

    async def run(self) -> int:
        """Keep everything running until told to stop; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        async with self._ops() as address:
            jobs = [self._keep(slot) for slot in self._slots]
            keepers = [asyncio.create_task(job) for job in (*jobs, self._greet(address))]
            store = asyncio.create_task(self._keep_store())
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait({stopped, store, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            clean = await self._shut_down(keepers)
            store.cancel()
            results = await asyncio.gather(*keepers, store, return_exceptions=True)
        _raise_first(results)
        log.info("engine stopped", clean=clean)
        return 0 if clean else STATUS_FAILED

    def _on_signal(self) -> None:
        if self._stop.is_set():  # asked twice: the workers leave at once
            self._signal_all(signal.SIGTERM)
        self._stop.set()

    def _signal_all(self, number: signal.Signals) -> None:
        for slot in self._slots:
            slot.signal(number)

    async def _shut_down(self, keepers: list[asyncio.Task[None]]) -> bool:
        """End the workers; return whether all left by themselves."""
        log.info("engine stopping")
        self._stop.set()
        self._signal_all(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._settings.drain_s + _KILL_AFTER_S)
        if late:
            log.error("workers killed", workers=[slot.index for slot in self._slots if slot.up])
            self._signal_all(signal.SIGKILL)
            await asyncio.wait(late)
        return not late

    # What is kept running.

    async def _keep(self, slot: WorkerSlot) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            began = time.monotonic()
            status = await slot.live()
            if self._stop.is_set():
                return
            said = slot.last_words(status)
            if not self._was_ready:
                raise WorkerFailed(status if status > 0 else STATUS_FAILED, said)
            delay = backoff.after(time.monotonic() - began)
            log.error("worker ended", worker=slot.index, reason=said, restart_in_s=delay)
            slot.restarts += 1
            await self._pause(delay)

    async def _keep_store(self) -> None:
        backoff = Backoff()
        began = time.monotonic()
        while self._store is not None:
            await asyncio.sleep(_STORE_EVERY_S)
            if self._store.alive:
                continue
            delay = backoff.after(time.monotonic() - began)
            log.error("store ended", status=self._store.poll(), restart_in_s=delay)
            await asyncio.sleep(delay)
            self._store_restarts += 1
            began = time.monotonic()
            try:
                await asyncio.to_thread(self._store.restart)
            except LiveroomError as exc:
                log.warning("store not restarted yet", error=str(exc))
        await self._stop.wait()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _greet(self, ops: str) -> None:
        """Say where the engine is, once it is ready."""
        while not (await self._report())["ready"]:
            await self._pause(_READY_EVERY_S)
            if self._stop.is_set():
                return
        self._was_ready = True
        room = f" (room {DEMO_ROOM})" if self._demo else ""
        viewers = _url(self._settings.host, self._settings.port)
        self._announce(f"liveroom is ready: {viewers}{room} · ops {ops}{self._console(viewers)}")
        await self._stop.wait()

    def _console(self, viewers: str) -> str:
        """Return a line with the host console's address; nothing but on a development server."""
        settings = self._settings
        if not (settings.dev and settings.jwt_secret):
            return ""
        token = mint(
            settings.signing_secret, user="demo-host", room=DEMO_ROOM, role="host",
            ttl_s=_DEV_HOST_S, now=time.time(),
            issuer=settings.jwt_issuer or None, audience=settings.jwt_audience or None,
        )  # fmt: skip
        return f"\nhost console: {viewers}host?room={DEMO_ROOM}#token={token}"

    # What is told.

    @contextlib.asynccontextmanager
    async def _ops(self) -> AsyncIterator[str]:
        """Serve the ops listener; yield its address."""
        host, port = self._settings.ops_host, self._settings.ops_port
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/status", self._status)
        app.router.add_routes(ops_page_routes())
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=HTTP_IDLE_S
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as exc:
            raise ConfigError("ops_port", "a free one", f"{host}:{port}: {exc.strerror}") from exc
        try:
            yield _url(host, runner.addresses[0][1])
        finally:
            await runner.cleanup()

    async def _report(self) -> dict[str, Any]:
        workers = await asyncio.gather(*(slot.report() for slot in self._slots))
        levels = {row["durability"] for row in workers if row["durability"]}
        report = {
            "ready": all(row["ready"] for row in workers) and not self._stop.is_set(),
            "durability": min(levels, key=_WEAKEST_FIRST.index, default=None),
            "workers": workers,
        }
        if self._store is not None:
            report["store"] = {"up": self._store.alive, "restarts": self._store_restarts}
        return report

    async def _readyz(self, request: web.Request) -> web.Response:
        report = await self._report()
        return _json(report, 200 if report["ready"] else 503)

    async def _status(self, request: web.Request) -> web.Response:
        """Tell the page what it shows beside the metrics: /readyz and more, always with status 200."""
        report = await self._report()
        for row in report["workers"]:
            row["restarts"] = self._slots[row["worker"]].restarts
        about = {
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._began),
            "stopping": self._stop.is_set(),
        }
        return _json(about | report)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        answers = await asyncio.gather(*(slot.ask("/metrics") for slot in self._slots))
        texts = {str(i): answer.decode() for i, answer in enumerate(answers) if answer is not None}
        up = [answer is not None for answer in answers]
        text = merge(texts, "worker") + self._own_metrics(up)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _own_metrics(self, up: list[bool]) -> str:
        registry = CollectorRegistry()
        answers = Gauge(
            "liveroom_worker_up", "Whether the worker answers", ["worker"], registry=registry
        )
        restarts = Counter(
            "liveroom_worker_restarts", "Times a worker was started again", ["worker"],
            registry=registry,
        )  # fmt: skip
        for slot in self._slots:
            answers.labels(str(slot.index)).set(up[slot.index])
            restarts.labels(str(slot.index)).inc(slot.restarts)
        if self._store is not None:
            store = Counter(
                "liveroom_store_restarts", "Times the embedded store was started again",
                registry=registry,
            )  # fmt: skip
            store.inc(self._store_restarts)
        return generate_latest(registry).decode()


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(body, status=status, dumps=lambda data: orjson.dumps(data).decode())


def _raise_first(results: list[BaseException | None]) -> None:
    for result in results:
        if isinstance(result, Exception):
            raise result


def _url(host: str, port: int) -> str:
    """Return an address that a person on this machine can open."""
    any_address = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- looked up
    shown = any_address.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
