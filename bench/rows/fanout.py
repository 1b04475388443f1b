"""CPU per socket write in fan-out, against a C loop that writes the same frame.

The engine's figure is a difference: the same talk in front of many and of few viewers. What talk
costs by itself (reading, committing, encoding) is in both and cancels.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.child import Child
from bench.report import Bar, Reading
from bench.stage import BROWSER, Bench, Stage, Window


__all__ = ["c_loop", "run"]

BAR = Bar("<= 1.25x the C loop", 1.25)
_BEAT_MS = 50
_TALK = 80.0  # messages/s: some in every beat


def run(bench: Bench) -> Iterable[Reading]:
    """Measure."""
    few, many = bench.pick((100, 1000), (80, 400))
    seconds = bench.pick(4.0, 1.2)
    with bench.stage("write", beat_ms=_BEAT_MS, danmaku_per_s=1000) as stage:
        stage.open("bench")
        small = _window(stage, few, seconds)
        large = _window(stage, many - few, seconds)
        frame = base64.b64decode(stage.load.ask("frame")["frame"])
        stage.load.ask("leave")
        limit = c_loop(bench, stage.load, many, frame, seconds)
    cost = (large.cpu - small.cpu) / (large.written - small.written) * 1e6
    reading = Reading(
        what=f"CPU per socket write in fan-out, {many} viewers, {len(frame)} B frames,"
        f" beat {_BEAT_MS} ms",
        bar=BAR.text,
        measured=f"{cost:.1f} us",
        values={"us_per_write": cost, "c_us_per_write": limit, "frame_bytes": len(frame)},
        notes=[
            f"written {large.written:.0f}, received {large.frames:.0f} frames; {large.load_text}"
        ],
    )
    if limit is not None:
        reading.measured += f" = {cost / limit:.2f}x"
        reading.reached = BAR.verdict(cost / limit)
        reading.beside = f"C loop {limit:.1f} us per write"
    else:
        reading.beside = "C loop not run: no C compiler (gcc or cc) here"
    yield reading


def c_loop(
    bench: Bench, load: Child, count: int, frame: bytes, seconds: float, beat_ms: int = _BEAT_MS
) -> float | None:
    """Return CPU microseconds per write of the C loop; None without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    core = -1 if bench.cores.worker is None else bench.cores.worker
    with tempfile.TemporaryDirectory(prefix="liveroom-bench-") as folder:
        program, data = Path(folder, "cwrite"), Path(folder, "frame")
        source = Path(__file__).parents[1] / "cwrite.c"
        subprocess.run([compiler, "-O2", "-o", program, source], check=True, timeout=60)
        data.write_bytes(frame)
        words = (str(word) for word in (program, count, data, beat_ms, seconds, core))
        with Child(*words) as writer:
            load.ask("connect", port=writer.hello["port"], count=count)
            done = writer.wait(seconds + 15)
            load.ask("leave")
    cost: float = done["cpu"] / done["writes"] * 1e6
    return cost


def _window(stage: Stage, more: int, seconds: float) -> Window:
    stage.load.ask("hush")
    stage.join("bench", more, variants=BROWSER)
    stage.talk(_TALK)
    return stage.window(seconds, f"-{more}")
