"""A child process that does not outlive its parent, even one ended by SIGKILL (layer: store).

On Linux the kernel is asked to signal the child when the parent dies. Elsewhere, and where the
kernel would tie it to the wrong thread, a small watcher process does it (`deathwatch.py`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from liveroom.store import deathwatch


__all__ = ["Child", "spawn"]

_STOP_GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1


def _load_prctl() -> Callable[[int, int], int] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong]
    typed: Callable[[int, int], int] = prctl
    return typed


# Resolved here, not in the child: between fork and exec nothing may be loaded.
_prctl = _load_prctl()


class Child:
    """A process that does not outlive the one that started it. Made by `spawn`."""

    def __init__(
        self, process: subprocess.Popen[bytes], watcher: subprocess.Popen[bytes] | None
    ) -> None:
        self._process = process
        self._watcher = watcher

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; `None` while it runs."""
        status = self._process.poll()
        if status is not None:
            self._dismiss_watcher()
        return status

    def stop(self, grace: float = _STOP_GRACE_S) -> int:
        """Ask it to end, end it after `grace` seconds, return the exit status."""
        if self.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._reap()

    def kill(self) -> int:
        """End it as a crash would; return the exit status."""
        self._process.kill()
        return self._reap()

    def _reap(self) -> int:
        status = self._process.wait()
        self._dismiss_watcher()
        return status

    def _dismiss_watcher(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.communicate(b"x")


def spawn(
    binary: Path,
    args: Sequence[str],
    log: Path,
    *,
    keep_fds: Sequence[int] = (),
    watch: bool | None = None,
) -> Child:
    """Start a program in its own session that dies with this process, even by SIGKILL.

    Args:
        binary: the program.
        args: its arguments.
        log: the file that its output is appended to: an inherited pipe would be held open by a
            process that outlives its reader.
        keep_fds: descriptors that it inherits.
        watch: tie it by a watcher process (`True`) or by the kernel (`False`); by the kernel
            where that works if left out.
    """
    if watch is None:
        watch = not _kernel_can_tie()
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 -- the program is the caller's choice
            [binary, *args],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for the engine, which then stops the server in order.
            start_new_session=True,
            pass_fds=keep_fds,
            preexec_fn=None if watch else _tie_to(os.getpid()),  # noqa: PLW1509 -- one system call
        )
    return Child(process, _watcher(process.pid) if watch else None)


def _kernel_can_tie() -> bool:
    # The kernel signals at the end of the *thread* that forked: only the main one lasts.
    main = threading.current_thread() is threading.main_thread()
    return _prctl is not None and main


def _tie_to(parent: int) -> Callable[[], None]:
    prctl = _prctl
    assert prctl is not None

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # the parent died between the fork and the call

    return tie


def _watcher(pid: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", deathwatch.__file__, str(pid)]
    return subprocess.Popen(  # noqa: S603 -- our own file, our own interpreter
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
