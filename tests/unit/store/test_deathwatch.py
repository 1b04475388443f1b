"""The watcher: quiet while told so, deadly at the end of the pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from liveroom.store import deathwatch
from liveroom.store.deathwatch import watch


LISTENING = "import signal, sys; print(flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + LISTENING


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Give a pipe; its write end may be closed by the test."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def _process(code: str) -> subprocess.Popen[bytes]:
    """Start a process and wait until it has set itself up."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def test_deathwatch_stops_the_process_at_the_end_of_the_pipe(pipe: tuple[int, int]) -> None:
    """The engine's end of the pipe closes with the engine: the server gets SIGTERM."""
    reader, writer = pipe
    process = _process(LISTENING)
    watcher = threading.Thread(target=watch, args=(process.pid, reader))
    watcher.start()
    os.close(writer)
    assert process.wait(10) == -signal.SIGTERM
    watcher.join(10)
    assert not watcher.is_alive()


def test_deathwatch_ends_a_deaf_process_by_force(pipe: tuple[int, int]) -> None:
    """A server that does not stop within the grace is ended."""
    reader, writer = pipe
    process = _process(DEAF)
    os.close(writer)
    watch(process.pid, reader, grace=0.05)
    assert process.wait(10) == -signal.SIGKILL


def test_deathwatch_leaves_alone_after_a_byte(pipe: tuple[int, int]) -> None:
    """A byte means that the server has ended: its number may be another's by now."""
    reader, writer = pipe
    process = _process(LISTENING)
    os.write(writer, b"x")
    os.close(writer)
    watch(process.pid, reader)
    assert process.poll() is None
    process.kill()
    process.wait()


def test_deathwatch_accepts_a_process_that_has_gone(pipe: tuple[int, int]) -> None:
    """Nothing to stop is not an error."""
    reader, writer = pipe
    process = _process(LISTENING)
    process.kill()
    process.wait()
    os.close(writer)
    watch(process.pid, reader)


def test_deathwatch_runs_as_a_program() -> None:
    """By its path, without the package, as `spawn` starts it."""
    process = _process(LISTENING)
    command = [sys.executable, "-I", "-S", deathwatch.__file__, str(process.pid)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as watcher:
        assert process.wait(10) == -signal.SIGTERM
        assert watcher.wait(10) == 0
