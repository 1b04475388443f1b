"""Where the worker's time goes: py-spy beside a measured window (`--profile DIR`).

Sampling slows the worker by a few per cent: figures of such a run are not for the table.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Self


__all__ = ["Profile", "hottest"]

_RATE = 200
_WAIT_S = 20
_SHOWN = 14


class Profile:
    """Profiles a process for as long as a window, if a directory is given."""

    def __init__(self, folder: Path | None, pid: int, name: str) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._path = folder / f"{name}.stacks" if folder else None
        tool = Path(sys.executable).with_name("py-spy")
        found = str(tool) if tool.exists() else shutil.which("py-spy")
        if self._path is None:
            return
        if found is None:
            raise FileNotFoundError("--profile needs py-spy (pip install py-spy)")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._command = [
            found, "record", "--pid", str(pid), "--format", "raw", "--output", str(self._path),
            "--rate", str(_RATE),
        ]  # fmt: skip

    def __enter__(self) -> Self:
        if self._path is not None:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is None or self._path is None:
            return
        self._process.send_signal(signal.SIGINT)  # it writes what it has
        try:
            self._process.wait(_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._path.exists():
            sys.stderr.write(f"{self._path}\n{hottest(self._path)}\n")


def hottest(path: Path) -> str:
    """Return the functions with the most samples: of their own, and with what they call."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        stack, _, count = line.rpartition(" ")
        names = stack.split(";")
        own[names[-1]] += int(count)
        for name in set(names):
            whole[name] += int(count)
    total = max(1, sum(own.values()))
    lines = [f"{total} samples; share of its own, then with what it calls"]
    lines += [f"  own  {count / total:6.1%}  {name}" for name, count in own.most_common(_SHOWN)]
    lines += [
        f"  all  {count / total:6.1%}  {name}" for name, count in whole.most_common(2 * _SHOWN)
    ]
    return "\n".join(lines)
