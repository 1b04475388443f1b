"""A worker with the bench's settings, in a process of its own, pinned to its core.

`python -m bench.engine '{"url": …, "core": …, "settings": {…}}'`, then requests as in `Worker`.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
from typing import Any

import structlog
import uvloop

from bench.child import Answer, serve_parent
from bench.load import SECRET
from bench.machine import pin, raise_file_limit, rss
from liveroom.auth.claims import Claims, Role
from liveroom.config import load
from liveroom.node import Node, tune_collector
from liveroom.store.port import Batch, Op
from liveroom.web.app import Web


__all__ = ["SETTINGS", "Worker", "log_to_stderr"]

SETTINGS: dict[str, Any] = {
    "jwt_secret": SECRET,
    "port": 0,
    # One address holds all viewers; what one viewer may do is as in production.
    "max_per_ip": 0,
    "handshakes_per_s": 0.0,
    "backlog": 4096,
}


def log_to_stderr() -> None:
    """Keep standard output for answers."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class Worker:
    """Answers what the bench asks about the worker beside which it runs."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def handle(self, request: Answer) -> Answer:
        """Do what the parent asks."""
        do = request.pop("do")
        answer: Answer = await getattr(self, f"do_{do}")(**request)
        return answer

    async def do_open(self, rooms: list[str]) -> Answer:
        """Open rooms."""
        for room in rooms:
            await self._op(room, "room.open", {})
        return {}

    async def do_op(self, room: str, name: str, body: dict[str, Any]) -> Answer:
        """Carry out an operation as the host."""
        return await self._op(room, name, body)

    async def do_sell(self, room: str, sku: str, total: int, per_user: int) -> Answer:
        """Put an article on the shelf and start its flash sale."""
        now = int(time.time())
        host = Claims("host", "host", Role.HOST, room, now + 3600, now, "", "bench")
        perform = self._node.hub.perform
        article = {"sku": sku, "price": 9900}
        shelf = {"item": f"i-{sku}", "title": sku, "currency": "CNY", "skus": [article]}
        await perform(room, host, "shelf.put", shelf)
        sale = {"sale": sku, "sku": sku, "price": 990, "total": total, "per_user": per_user}
        return await perform(room, host, "flash.arm", {**sale, "starts_in_s": 0}, f"arm-{sku}")

    async def do_stock(self, room: str, sku: str) -> Answer:
        """Return what the store has of an article, and what of its books does not add up."""
        ops = [Op("sys.sync", "", {}), Op("sys.check", "", {})]
        committed = await self._node.store.commit(room, Batch(ops))
        sync, check = (json.loads(reply[1:]) for reply in committed.replies)
        (state,) = (s["d"] for s in sync["states"] if s["st"] == f"stock:{sku}")
        return {**state, "broken": check.get("broken", [])}

    async def do_request(self, room: str, sku: str, batch: int) -> Answer:
        """Return the script's SHA-1 and a batch of reservations as redis-benchmark is given them."""
        body = {"sku": sku, "n": 1}
        ops = [
            Op("flash.reserve", f"r{n}-__rand_int__", body, f"k{n}-__rand_int__", "0" * 24)
            for n in range(batch)
        ]
        sha, key, request = self._node.store.command_for(room, ops)
        return {"sha": sha, "key": key, "request": request.decode()}

    async def do_script(self, room: str, sku: str, batch: int, seconds: float) -> Answer:
        """Return reservations/s of the commit script alone: one batch after the other."""
        store, count, number = self._node.store, 0, 0
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            ops = [
                Op("flash.reserve", f"s{n}", {"sku": sku, "n": 1}, f"{sku}-{n}", "0" * 24)
                for n in range(number, number + batch)
            ]
            number += batch
            committed = await store.commit(room, Batch(ops, durable=True))
            count += sum(reply[:1] == b"+" for reply in committed.replies)
        return {"per_s": count / (time.monotonic() - began)}

    async def do_collect(self) -> Answer:
        """Collect garbage, so that memory is what is held."""
        gc.collect()
        return {"rss": rss()}

    async def do_stats(self) -> Answer:
        """Return CPU seconds, resident bytes and what the metrics counted since the start."""
        sample = self._node.metrics.registry.get_sample_value
        return {
            "at": time.monotonic(),
            "cpu": time.process_time(),
            "rss": rss(),
            "frames": sample("liveroom_frames_written_total"),
            "beat": sample("liveroom_beat_seconds"),
            "lag": sample("liveroom_loop_lag_seconds"),
            "shed": self._by_label("liveroom_shed_items_total", "kind"),
            "closes": self._by_label("liveroom_closes_total", "code"),
            "connections": len(self._node.front.connections),
        }

    def _by_label(self, name: str, label: str) -> dict[str, float]:
        return {
            sample.labels[label]: sample.value
            for family in self._node.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name
        }

    async def _op(self, room: str, name: str, body: dict[str, Any]) -> Answer:
        reply = await self._node.hub.submit(room, Op(name, "host", body))
        if reply[:1] != b"+":
            raise RuntimeError(reply.decode())
        answer: Answer = json.loads(reply[1:])
        return answer


async def _main(spec: Answer) -> None:
    raise_file_limit()
    node = Node(load(environ={}, overrides=SETTINGS | spec["settings"]), spec["url"])
    await node.start()
    web = Web(node)
    port = await web.start()
    tune_collector()
    level = node.level.value if node.level is not None else "?"
    await serve_parent({"port": port, "level": level}, Worker(node).handle)
    # Not drained: the viewers are the bench's own, and gone.
    await web.stop_accepting()
    await node.stop()
    await web.close()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    pin(given["core"])
    log_to_stderr()
    uvloop.run(_main(given))
