"""The process of one worker: serves until it is told to go, then sends its viewers away (layer 9).

Started by the supervisor (`liveroom worker`, hidden), which gives the order over standard input.
Answers /metrics, /healthz and /readyz on a unix socket that only this user can reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time

import orjson
import structlog
import uvloop
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, disable_created_metrics

from liveroom.config import Settings
from liveroom.errors import ConfigError, LiveroomError, StoreError, StoreUnavailable
from liveroom.handover import (
    DEMO_ROOM,
    DRAIN_SLACK_S,
    STATUS_CONFIG,
    STATUS_FAILED,
    Order,
    failure_note,
    ops_socket,
    secrets_of,
)
from liveroom.log import setup
from liveroom.node import Node, tune_collector
from liveroom.store.port import Op
from liveroom.web.app import Web


__all__ = ["run_ordered", "run_worker"]

log = structlog.get_logger("liveroom.worker")

_ORPHAN_GRACE_S = 2.0
_STATUS_TERMINATED = 128 + signal.SIGTERM


def run_ordered(pipe: int = 0) -> int:
    """Read the order from a pipe and do it, for as long as the pipe's other end lives."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(pipe, 65_536)
        if not more:
            return STATUS_FAILED  # the supervisor has gone
        line += more
    order = Order.decode(line)
    return run_worker(
        order.settings, order.redis_url, order.index, order.run_dir, demo=order.demo, parent=pipe
    )


def run_worker(
    settings: Settings,
    redis_url: str,
    index: int,
    run_dir: str,
    *,
    demo: bool = False,
    parent: int | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        settings: frozen settings; the port is shared with the other workers.
        redis_url: where the store is.
        index: which worker this is.
        run_dir: where its unix socket is put.
        demo: open the demo room.
        parent: a descriptor whose end of file means that the supervisor has gone.
    """
    setup(settings.log_level, settings.log_format, secrets=secrets_of(settings), worker=index)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped there
    try:
        order = Order(
            settings=settings, redis_url=redis_url, index=index, run_dir=run_dir, demo=demo
        )
        return uvloop.run(_run(order, parent))
    except ConfigError as exc:
        return _failed(run_dir, index, str(exc), STATUS_CONFIG)
    except (LiveroomError, OSError) as exc:
        return _failed(run_dir, index, str(exc), STATUS_FAILED)
    except Exception as exc:
        log.exception("worker failed")
        text = f"worker {index} failed: {type(exc).__name__}, see the log"
        return _failed(run_dir, index, text, STATUS_FAILED)


async def _run(order: Order, parent: int | None) -> int:
    return await _Worker(order, parent).run()


def _failed(run_dir: str, index: int, text: str, status: int) -> int:
    """Leave word for the supervisor, which tells it once for all workers."""
    with contextlib.suppress(OSError):
        failure_note(run_dir, index).write_text(text, encoding="utf-8")
    return status


class _Worker:
    """One life of a worker."""

    def __init__(self, order: Order, parent: int | None) -> None:
        self._order = order
        self._parent = parent
        self._node = Node(order.settings, order.redis_url)
        self._web = Web(self._node)
        self._ops = web.AppRunner(_ops_app(self._node, order.index), access_log=None)
        self._socket = ops_socket(order.run_dir, order.index)
        self._stop = asyncio.Event()
        self._serving = False
        self._orphaned = False
        self._drain_s = order.settings.drain_s

    async def run(self) -> int:
        """Serve, drain, return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        if self._parent is not None:
            watch = threading.Thread(
                target=self._watch_parent, args=(self._parent, loop), name="parent", daemon=True
            )
            watch.start()
        await self._start()
        self._serving = True
        log.info("worker ready", pid=os.getpid(), port=self._order.settings.port)
        await self._stop.wait()
        return await self._finish()

    async def _start(self) -> None:
        settings = self._order.settings
        try:
            await self._node.start()
        except TimeoutError as exc:
            raise StoreUnavailable("the store did not answer in time") from exc
        if self._order.demo:
            await _open_demo(self._node)
        try:
            await self._web.start(reuse_port=True)
        except OSError as exc:
            address = f"{settings.host}:{settings.port}"
            raise ConfigError("port", "a free one", f"{address}: {exc.strerror}") from exc
        tune_collector()
        await self._ops.setup()
        self._socket.unlink(missing_ok=True)
        await web.UnixSite(self._ops, str(self._socket)).start()

    async def _finish(self) -> int:
        log.info("worker draining", connections=len(self._node.front.connections))
        try:
            async with asyncio.timeout(self._drain_s + DRAIN_SLACK_S):
                self._node.draining = True
                await self._web.stop_accepting()
                await self._node.drain(self._drain_s)
                await self._node.stop()
                await self._web.close()
        except TimeoutError:
            log.exception("worker did not finish in time")
            return STATUS_FAILED
        finally:
            self._leave_run_dir()
        await self._ops.cleanup()
        log.info("worker done")
        return 0

    def _on_signal(self) -> None:
        """Begin to drain; at once when nobody is here yet, or when asked a second time."""
        if self._stop.is_set():
            os._exit(_STATUS_TERMINATED)
        if not self._serving:
            os._exit(0)
        self._stop.set()

    # A thread: it must see the end even if a plugin holds the loop.
    def _watch_parent(self, pipe: int, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(OSError):
            while os.read(pipe, 4096):
                continue
        self._orphaned, self._drain_s = True, 0.0
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(self._stop.set)
        time.sleep(_ORPHAN_GRACE_S)
        self._leave_run_dir()
        os._exit(STATUS_FAILED)

    def _leave_run_dir(self) -> None:
        """Remove the socket, and what the supervisor cannot remove any more."""
        with contextlib.suppress(OSError):
            self._socket.unlink(missing_ok=True)
            if self._orphaned:
                self._socket.parent.rmdir()  # only the last worker finds it empty


async def _open_demo(node: Node) -> None:
    opened = await node.hub.submit(DEMO_ROOM, Op("room.open", "demo-host", {"title": "Demo"}))
    if opened[:1] != b"+":
        raise StoreError(f"the demo room was not opened: {opened.decode(errors='replace')}")


def _ops_app(node: Node, index: int) -> web.Application:
    async def metrics(request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=node.metrics.render(), headers=headers)

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        reasons = node.unready
        report = {
            "worker": index,
            "ready": not reasons,
            "reasons": reasons,
            "durability": node.level.value if node.level else None,
        }
        return web.json_response(
            report, status=503 if reasons else 200, dumps=lambda data: orjson.dumps(data).decode()
        )

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app
