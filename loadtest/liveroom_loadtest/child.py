"""A process of viewers: does what the leading process says, and tells every second how it is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

import orjson
import uvloop

from liveroom_loadtest.acts import Acts
from liveroom_loadtest.crowd import Crowd, Part
from liveroom_loadtest.scenario import made_from
from liveroom_loadtest.seconds import Second
from liveroom_loadtest.wire import Address


__all__ = ["raise_file_limit", "run_child"]

Item = dict[str, Any]

_LAG_S = 0.02


def run_child(pipe: Connection, part: Item, scenario: Item) -> None:
    """Be such a process until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the leading process says when it is over
    raise_file_limit()
    address = Address(*part.pop("address"))
    crowd = Crowd(Part(address=address, **part), made_from(scenario))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        uvloop.run(_Child(pipe, crowd).run())


def raise_file_limit() -> int:
    """Allow as many connections as this process may have at all; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class _Child:
    def __init__(self, pipe: Connection, crowd: Crowd) -> None:
        self._pipe = pipe
        self._crowd = crowd
        self._acts = Acts(crowd)
        self._orders: asyncio.Queue[Item | None] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Answer orders until there are no more."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe.fileno(), self._on_order)
        self._tasks = [asyncio.create_task(work) for work in (self._tick(), self._watch_lag())]
        self._say({"did": "start", "pid": os.getpid()})
        while (order := await self._orders.get()) is not None:
            do: Callable[[Item], Awaitable[Item]] = getattr(self, f"_do_{order.pop('do')}")
            try:
                answer = await do(order)
            except Exception as exc:  # noqa: BLE001  # the leading process shows it
                answer = {"failed": f"{type(exc).__name__}: {exc}"}
            self._say({"did": ""} | answer)
        loop.remove_reader(self._pipe.fileno())
        for task in self._tasks:
            task.cancel()
        await self._crowd.leave()

    def _on_order(self) -> None:
        try:
            self._orders.put_nowait(orjson.loads(self._pipe.recv_bytes()))
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._orders.put_nowait(None)

    def _say(self, what: Item) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send_bytes(orjson.dumps(what, option=orjson.OPT_NON_STR_KEYS))

    # Orders.

    async def _do_join(self, order: Item) -> Item:
        made = self._crowd.scenario.crowd
        came = await self._crowd.join(self._acts.first, made.join_per_s, made.join_at_once)
        gc.collect()
        gc.freeze()
        return came

    async def _do_judge(self, order: Item) -> Item:
        self._crowd.judge_from_now()
        return {}

    async def _do_play(self, order: Item) -> Item:
        """Play the scenario; the storm comes in meanwhile."""
        storm = self._crowd.scenario.storm
        if storm is None:
            await self._acts.play(order["at"])
            return {}
        playing = asyncio.create_task(self._acts.play(order["at"]))
        await asyncio.sleep(max(0.0, order["at"] + storm.at_s - time.monotonic()))
        came = await self._crowd.join(self._acts.late, 0, storm.join_at_once)
        await playing
        return came

    async def _do_stand(self, order: Item) -> Item:
        return self._crowd.stand(order["accepted"], order["unsure"])

    async def _do_end(self, order: Item) -> Item:
        """Leave, and tell everything that was not told yet."""
        crowd, acts = self._crowd, self._acts
        crowd.miss_at_the_end()
        await crowd.leave()
        return {
            "second": self._told(),
            "ledger": crowd.ledger.to_plain(),
            "problems": crowd.problems,
            "join_failed": crowd.join_failed,
            "retried": crowd.retried,
            "back": crowd.back,
            "back_failed": crowd.back_failed,
            "not_resumed": crowd.not_resumed,
            "gifts": acts.gifts,
            "wanted": acts.wanted,
            "reservations": acts.reservations,
            "decided": [
                len(acts.decided),
                min(acts.decided, default=0),
                max(acts.decided, default=0),
            ],
            "entered": sorted(acts.entered),
            "perhaps_entered": sorted(acts.perhaps_entered),
            "decoded": crowd.known.decoded,
        }

    # What is told by itself.

    async def _tick(self) -> None:
        while True:
            due = int(time.monotonic() + 0.5) + 1  # a timer may be early
            await asyncio.sleep(due - time.monotonic())
            self._crowd.give_up_late()
            self._say({"at": due - 1, "second": self._told(), "gauges": self._gauges()})

    def _told(self) -> Item:
        second, self._crowd.second = self._crowd.second, Second()
        return second.to_plain()

    def _gauges(self) -> dict[str, float]:
        return {
            "here": sum(viewer.here for viewer in self._crowd.viewers),
            "load_cpu": time.process_time(),
        }

    async def _watch_lag(self) -> None:
        while True:
            due = time.monotonic() + _LAG_S
            await asyncio.sleep(_LAG_S)
            self._crowd.second.lags.record(max(0.0, time.monotonic() - due))
