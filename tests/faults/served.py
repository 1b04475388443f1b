"""`liveroom serve` as a process on a store of the test's, to be killed, stopped and restarted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

import harness
from faults.figures import Metrics


__all__ = ["Served", "metrics_of_all", "serving"]

_READY = re.compile(r"liveroom is ready: http://([^/\s]+)/.* · ops (http://\S+)/\n")
_START_S = 40.0
_OPEN = {
    "JWT_SECRET": harness.SECRET, "PORT": "0", "OPS_PORT": "0", "MESSAGES_PER_S": "10000",
    "BYTES_PER_S": "100000000", "HANDSHAKES_PER_S": "0", "MAX_PER_IP": "0", "MAX_PER_USER": "0",
    "STORE_TIMEOUT_MS": "500", "DRAIN_S": "5", "DANMAKU_PER_S": "2",
}  # fmt: skip


class Served:
    """One engine: a supervisor and its workers."""

    def __init__(
        self, home: Path, store_url: str, name: str, workers: int, *, files: int = 0, **env: str
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._out, self._log = home / f"{name}.out", home / f"{name}.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LIVEROOM_")}
        settings = _OPEN | {"REDIS": store_url, "WORKERS": str(workers)} | env
        clean |= {f"LIVEROOM_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "liveroom", "serve"]
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=log,
                env=clean,
                preexec_fn=_limited(files),  # noqa: PLW1509 -- one system call
            )
        self.address = self._ops = ""

    async def ready(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(_START_S):
            while b"\n" not in self._out.read_bytes():
                assert self.process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.02)
        found = _READY.match(self._out.read_text())
        assert found, self._out.read_text()
        self.address, self._ops = found[1], found[2]

    async def metrics(self) -> str:
        """Return what /metrics says."""
        timeout = aiohttp.ClientTimeout(total=3)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{self._ops}/metrics") as response,
        ):
            return await response.text()

    async def ready_again(self) -> bool:
        """Whether /readyz says so."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._ops}/readyz") as response,
        ):
            return response.status == 200

    def worker_pids(self) -> list[int]:
        """Return the newest process id of each worker."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line[:1] == "{"]
        said = {line["worker"]: line["pid"] for line in lines if line["event"] == "worker ready"}
        return [said[index] for index in sorted(said)]

    def log(self) -> str:
        """Return what it logged."""
        return self._log.read_text()

    async def end(self) -> int:
        """SIGTERM; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 40)

    def kill(self) -> None:
        """SIGKILL, which takes the workers along."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _limited(files: int) -> Callable[[], None] | None:
    if not files:
        return None
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


@asynccontextmanager
async def serving(
    home: Path,
    store_url: str,
    name: str = "engine",
    workers: int = 2,
    *,
    files: int = 0,
    **env: str,
) -> AsyncIterator[Served]:
    """Run an engine, with at most so many open files if that is named."""
    made = Served(home, store_url, name, workers, files=files, **env)
    try:
        await made.ready()
        yield made
    finally:
        made.kill()


def metrics_of_all(*engines: Served) -> Metrics:
    """Return what reads the metrics of those engines that answer."""

    async def read() -> str:
        told = []
        for engine in engines:
            with suppress(aiohttp.ClientError, OSError, TimeoutError):  # it has ended
                told.append(await engine.metrics())
        return "\n".join(told)

    return read
