"""The locustfile against a real engine: every kind of user, and an exit status that tells."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import harness


LOCUSTFILE = Path(__file__).parents[3] / "loadtest" / "locustfile.py"
LIMIT_S = 50
OF_EACH = {
    "Watcher": {"like.send"},
    "Chatter": {"danmaku.send"},
    "Buyer": {"wallet.get", "gift.send", "flash.reserve"},
    "Host": {"shelf.put", "flash.arm", "flash.stop", "poll.open"},
}


class Locust:
    """It, headless in a process of its own."""

    def __init__(self, worker: harness.Worker, room: str) -> None:
        if importlib.util.find_spec("locust") is None:
            pytest.skip("needs locust: make setup")
        self._where = ("--host", worker.http.replace("http", "ws"), "--room", room)

    async def start(self, *args: str) -> None:
        """Start it with twelve users."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--json",
            "-u", "12", "-r", "12", *self._where, *args,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd="/",
            env=os.environ | {"PYTHONWARNINGS": "ignore", "LIVEROOM_JWT_SECRET": ""},
        )  # fmt: skip
        self._heard = asyncio.create_task(self._process.communicate())

    async def ended(self) -> tuple[int | None, Any, str]:
        """Wait for its end; return its status, the counts by name, what it said."""
        try:
            async with asyncio.timeout(LIMIT_S):
                out, err = await self._heard
        finally:
            self.kill()
        counted = {row["name"]: row for row in json.loads(out)}
        return self._process.returncode, counted, err.decode()

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does."""
        self._process.terminate()

    def kill(self) -> None:
        """End it, if it runs."""
        if self._process.returncode is None:
            self._process.kill()


async def test_locust_users_of_every_kind_do_their_commands_without_a_failure(
    start_worker: harness.StartWorker, embedded_url: str, room: str
) -> None:
    """Against an engine as in production, where nobody comes in or buys without token and money."""
    worker = await start_worker(embedded_url, dev=False)
    await worker.open_room(room)
    viewer = await worker.join(room, "ann")
    locust = Locust(worker, room)
    await locust.start("--jwt-secret", harness.SECRET)
    try:
        await viewer.event("danmaku")
        await viewer.event("gift.sent")
        await viewer.state("likes", lambda d: d["total"] > 0)
        await viewer.item(sells)
        await viewer.event("poll.closed")
        locust.stop()
        status, counted, said = await locust.ended()
    finally:
        locust.kill()

    assert status == 0, said
    assert {name: row["num_failures"] for name, row in counted.items() if row["num_failures"]} == {}
    assert counted["join"]["num_requests"] == 12
    for kind, wanted in OF_EACH.items():
        assert wanted <= counted.keys(), kind
    assert "danmaku" in counted, "ages of what was shown"


def sells(item: dict[str, Any]) -> bool:
    """Whether an item shows a sale of which something was taken."""
    return str(item.get("st")).startswith("stock:") and bool(item["d"]["reserved"])


async def test_locust_fails_when_the_engine_refuses(
    start_worker: harness.StartWorker, embedded_url: str, room: str
) -> None:
    """Guests where there are none: status 1, and the code that they were sent away with."""
    worker = await start_worker(embedded_url, dev=False)
    locust = Locust(worker, room)
    await locust.start("-t", "3s")
    status, counted, said = await locust.ended()

    assert status == 1, said
    assert counted["join"]["num_failures"] == counted["join"]["num_requests"] > 0
    assert "closed with 4401" in said, said


def test_locust_leaves_this_process_alone(pytestconfig: pytest.Config) -> None:
    """Its plugin for pytest is not loaded: gevent would replace sockets and threads of all tests."""
    assert not pytestconfig.pluginmanager.has_plugin("locust")
    assert not sys.modules.keys() & {"gevent", "locust"}
