"""Children that do not outlive their parent, and how they are ended."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from liveroom.store.child import Child, spawn
from servers import until, wait_gone


PYTHON = Path(sys.executable)
SLEEP = Path(shutil.which("sleep") or "sleep")

PARENT = """
import sys, threading
from pathlib import Path
from liveroom.store.child import spawn
found = []
def start():
    watch = {"watcher": True, "kernel": False, "thread": None}[sys.argv[1]]
    found.append(spawn(Path(sys.argv[2]), ["60"], Path(sys.argv[3]), watch=watch))
if sys.argv[1] == "thread":
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
else:
    start()
print(found[0].pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "tie",
    [
        "watcher",
        "thread",
        pytest.param(
            "kernel", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux's own call")
        ),
    ],
)
def test_child_dies_with_a_killed_parent(tmp_path: Path, tie: str) -> None:
    """SIGKILL of the parent ends the child; the end of the thread that started it does not."""
    command = [sys.executable, "-c", PARENT, tie, str(SLEEP), str(tmp_path / "log")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not wait_gone(pid, timeout=0.1)
        parent.kill()
        assert wait_gone(pid)


def test_child_stop_asks_first(tmp_path: Path) -> None:
    """A child that listens ends by SIGTERM, in its own session, and its watcher is let go."""
    child = spawn(SLEEP, ["60"], tmp_path / "log", watch=True)
    assert child.poll() is None
    assert child.stop() == -signal.SIGTERM
    assert child.poll() == -signal.SIGTERM
    assert child.stop() == -signal.SIGTERM


def _deaf(log: Path) -> Child:
    """Start a child that does not listen to SIGTERM and says when it has stopped listening."""
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); signal.pause()"
    )
    return spawn(PYTHON, ["-c", code], log)


def test_child_stop_ends_a_deaf_one(tmp_path: Path) -> None:
    """A child that does not listen is ended by force once the grace is over."""
    log = tmp_path / "log"
    child = _deaf(log)
    until(lambda: log.stat().st_size, what="it is deaf")
    assert child.stop(grace=0.05) == -signal.SIGKILL


def test_child_output_goes_to_the_log(tmp_path: Path) -> None:
    """Both streams are appended to the file."""
    log = tmp_path / "log"
    log.write_text("before\n")
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    child = spawn(PYTHON, ["-c", code], log)
    assert wait_gone(child.pid)
    assert child.poll() == 0
    assert log.read_text() == "before\nout\nerr\n"


def test_child_started_in_a_thread_outlives_it(tmp_path: Path) -> None:
    """The kernel would end it with the thread; the watcher does not."""
    found: list[Child] = []
    thread = threading.Thread(target=lambda: found.append(spawn(SLEEP, ["60"], tmp_path / "log")))
    thread.start()
    thread.join()
    assert not wait_gone(found[0].pid, timeout=0.1)
    assert found[0].kill() == -signal.SIGKILL
