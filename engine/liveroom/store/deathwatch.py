"""End a server whose engine has died, where the kernel cannot be asked to (layer: store).

Run as a program, by its path, with the server's process id as its argument and a pipe from the
engine on standard input. A byte on the pipe means that the server has ended and nothing is left to
do. The end of the file means that the engine has gone: the server is told to stop, and ended if it
does not. Imports nothing of the engine: one small process that starts in milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time


__all__ = ["watch"]


def watch(pid: int, pipe: int, grace: float = 10.0) -> None:
    """Wait for the pipe; at its end stop the process `pid`, by force after `grace` seconds."""
    if os.read(pipe, 1):
        return
    deadline = time.monotonic() + grace
    _signal(pid, signal.SIGTERM)
    while _signal(pid, 0):
        if time.monotonic() > deadline:
            _signal(pid, signal.SIGKILL)
            return
        time.sleep(0.02)


def _signal(pid: int, number: int) -> bool:
    """Send it; return whether there was such a process of ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.stdin.fileno())
