"""How a run is while it runs: one line that is written anew on a terminal, else one every few seconds."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live
from rich.text import Text

from liveroom_loadtest.seconds import Second, Timeline


__all__ = ["line_of", "progress"]

Say = Callable[[str], None]
Show = Callable[[Timeline, int, str], None]

_PLAIN_EVERY = 3


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[tuple[Say, Show]]:
    """Yield what is told sentences, and what is shown the seconds."""
    console = Console(stderr=True)
    if quiet:
        yield lambda text: None, lambda timeline, at, phase: None
    elif sys.stderr.isatty():
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield console.print, lambda line, at, phase: live.update(Text(line_of(line, at, phase)))
    else:
        yield _plain_say, _plain_show


def _plain_say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- this is the command's progress


def _plain_show(timeline: Timeline, at: int, phase: str) -> None:
    if at % _PLAIN_EVERY == 0:
        _plain_say(line_of(timeline, at, phase))


def line_of(timeline: Timeline, at: int, phase: str) -> str:
    """Return how the second `at` was."""
    second = timeline.seconds.get(at, Second())
    nothing: Counter[str] = Counter()
    gauges, before = (timeline.gauges.get(one, nothing) for one in (at, at - 1))
    cores = gauges.get("engine_cpu", 0) - before.get("engine_cpu", gauges.get("engine_cpu", 0))
    parts = [
        f"{phase:6}",
        f"{int(gauges.get('here', 0)):,} viewers",
        f"{second.joined:,} joins/s",
        f"{second.frames:,} frames/s",
        f"{second.events:,} shown/s",
        f"{second.bytes / 1e6:.1f} MB/s",
        _ages(second),
        f"engine {cores:.2f} cores",
        f"{second.errors} errors",
    ]
    return " · ".join(part for part in parts if part)


def _ages(second: Second) -> str:
    if not second.ages.count:
        return ""
    low, high = (second.ages.quantile(q) * 1000 for q in (0.5, 0.99))
    return f"age p50 {low:.0f} p99 {high:.0f} ms"
