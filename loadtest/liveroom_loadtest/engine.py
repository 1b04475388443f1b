"""The engine under load: started for the test, or one that runs; what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from liveroom_loadtest.scenario import Engine
from liveroom_loadtest.wire import Address, address_of


__all__ = ["EngineFailed", "Gauges", "Target", "own_engine"]

_READY = re.compile(r"liveroom is ready: (http://\S+?)/? .*ops (http://\S+)")
_START_S, _STOP_S = 40.0, 40.0
_SAMPLE = re.compile(r"^(liveroom_\w+)(?:\{[^}]*\})? ([-+.\deE]+)$", re.MULTILINE)
_SUMMED = (
    "liveroom_frames_written_total", "liveroom_commits_total", "liveroom_commit_ops_total",
    "liveroom_queue_bytes", "liveroom_connections",
)  # fmt: skip
_HIGHEST = ("liveroom_beat_seconds", "liveroom_loop_lag_seconds")


class EngineFailed(Exception):
    """The engine did not start."""


class Target(NamedTuple):
    """The engine under load.

    Args:
        address: where viewers are served.
        secret: that tokens are signed with; empty: guests.
        pid: of its supervisor, if it runs on this machine; 0: not known.
        ops: the address of its metrics; empty: not known.
    """

    address: Address
    secret: str
    pid: int = 0
    ops: str = ""


@contextlib.asynccontextmanager
async def own_engine(engine: Engine) -> AsyncIterator[Target]:
    """Run `liveroom serve` with a store of its own; yield where it is. Raises EngineFailed."""
    secret = secrets.token_hex(24)
    with tempfile.TemporaryDirectory(prefix="liveroom-load-") as folder:
        log = Path(folder) / "engine.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "liveroom", "serve", "--workers", str(engine.workers),
                "--host", "127.0.0.1", "--port", "0", "--ops-port", "0", "--drain-s", "0.5",
                "--log-level", "warning",
                env=_environment(engine, secret), stdout=asyncio.subprocess.PIPE, stderr=errors,
                cwd=folder, start_new_session=True,
            )  # fmt: skip
        try:
            viewers, ops = await _ready(process, log)
            yield Target(address_of(viewers), secret, process.pid, ops)
        finally:
            await _stop(process)


def _environment(engine: Engine, secret: str) -> dict[str, str]:
    """Return the environment: the scenario's settings alone, and a store that nobody else has."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVEROOM_")}
    given = {f"LIVEROOM_{name.upper()}": _text(value) for name, value in engine.settings.items()}
    return clean | {"LIVEROOM_JWT_SECRET": secret} | given


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _ready(process: asyncio.subprocess.Process, log: Path) -> tuple[str, str]:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            while line := (await process.stdout.readline()).decode():
                found = _READY.search(line)
                if found:
                    return found[1], found[2]
    except TimeoutError:
        pass
    raise EngineFailed(f"the engine did not start: {_last_words(log)}")


def _last_words(log: Path) -> str:
    return (
        " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:]) or "it said nothing"
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Gauges:
    """What the engine costs, read while it is under load.

    Args:
        target: the engine.
    """

    def __init__(self, target: Target) -> None:
        self._ops = target.ops.rstrip("/")
        self._pid = target.pid
        self._spent = {"engine_cpu": 0.0, "store_cpu": 0.0}
        self._read_at: dict[int, float] = {}

    def processes(self) -> dict[str, float]:
        """Return processor seconds and memory so far; what is not known is left out.

        A worker that dies takes its clock along, and another comes: each process's time is added up.
        """
        children = _children(self._pid) if self._pid else []
        stores = [pid for pid in children if _is_store(pid)]
        workers = [pid for pid in children if pid not in stores]
        if not workers:
            return {}
        for name, pids in (("engine_cpu", workers), ("store_cpu", stores)):
            self._spent[name] += sum(map(self._since, pids))
        return self._spent | {"engine_rss": sum(map(_rss, workers))}

    def _since(self, pid: int) -> float:
        """Return what a process used since it was looked at last; all of it the first time."""
        now = cpu_seconds(pid)
        before, self._read_at[pid] = self._read_at.get(pid, 0.0), now
        return max(0.0, now - before)

    async def metrics(self, session: aiohttp.ClientSession) -> dict[str, float]:
        """Return some of the engine's own metrics; none if they cannot be had."""
        if not self._ops:
            return {}
        try:
            async with session.get(f"{self._ops}/metrics") as response:
                return samples(await response.text())
        except (aiohttp.ClientError, TimeoutError):
            return {}


def samples(text: str) -> dict[str, float]:
    """Return the metrics that a report shows, over all workers."""
    found: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        if name in _SUMMED:
            found[name] = found.get(name, 0.0) + float(value)
        elif name in _HIGHEST:
            found[name] = max(found.get(name, 0.0), float(value))
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process that may be gone: then 0 (Linux)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_seconds() -> float:
    """Return the processor time of everything on this machine since it started; 0: not known."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, soft, steal = map(int, first.split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is_store(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"valkey" in line or b"redis-server" in line
