"""What a run was made on: a reader needs it to judge the figures."""

from __future__ import annotations

import datetime as dt
import os
import platform
import sys
from pathlib import Path
from typing import Any

from liveroom import __version__
from liveroom_loadtest.engine import Target


__all__ = ["described"]


def described(target: Target) -> dict[str, Any]:
    """Return what the load ran on, and against what."""
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "liveroom": __version__,
        "engine": target.address.http,
        "same_machine": bool(target.pid) or target.address.host.startswith("127."),
        "load_before": [round(value, 2) for value in os.getloadavg()]
        if sys.platform != "win32"
        else [],
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?"
    )
