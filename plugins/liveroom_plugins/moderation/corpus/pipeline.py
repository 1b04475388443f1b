"""Measures a command's whole way through `inspect`, and the change of a pack in a running worker."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from liveroom import Body, Call, CommandError, Engine, Member, Role, RoomHandle
from liveroom_plugins.moderation.asking import Errands
from liveroom_plugins.moderation.copies import Copies
from liveroom_plugins.moderation.inspector import Inspector
from liveroom_plugins.moderation.lexicon import SHIPPED
from liveroom_plugins.moderation.library import Library
from liveroom_plugins.moderation.options import Options

from .measure import TRAP, benign_lines


__all__ = ["Costs", "measure_pipeline"]

_ROUNDS = 3
_USERS = 500
_GAP_S = 60.0
"""Between two rounds: nobody repeats themselves."""


class Costs(NamedTuple):
    """What moderation costs.

    Attributes:
        inspect_us: of each benign message, the best of a few rounds.
        other_us: of a command that carries no text.
        reload_s: of each change of a shipped pack, from the look at the files to its being in force.
    """

    inspect_us: list[float]
    other_us: float
    reload_s: list[float]


class _Line(Body, frozen=True, kw_only=True):
    text: str


class _Stage:
    """An engine with one room, as far as `inspect` looks at them."""

    def __init__(self, library: Library) -> None:
        self.now = 0.0
        clock = SimpleNamespace(monotonic=lambda: self.now, wall_ms=lambda: int(self.now * 1000))
        engine = cast("Engine", SimpleNamespace(clock=clock, record=lambda room, record: None))
        self.room = cast(
            "RoomHandle",
            SimpleNamespace(id="r", mark=lambda: None, state=lambda name: None),
        )
        errands = Errands()
        copies = Copies(engine, errands)
        copies.of(self.room).take({"rev": 0, "mute": [], "ban": [], "shadow": []})
        self.inspect = Inspector(engine, Options(), library, copies, errands).inspect

    def call(self, op: str, text: str, user: str) -> Call[Any]:
        claims = SimpleNamespace(user=user, role=Role.VIEWER, level=0)
        member = cast("Member", SimpleNamespace(user=user, claims=claims))
        return Call(op, _Line(text=text), member, self.room, "", "")


def measure_pipeline(clock: Callable[[], float] = perf_counter) -> Costs:
    """Run the benign lines of viewers through `inspect`, then change packs."""
    return asyncio.run(_measure(clock))


async def _measure(clock: Callable[[], float]) -> Costs:
    with TemporaryDirectory() as folder:
        packs = [Path(shutil.copy(path, folder)) for path in sorted(SHIPPED.glob("*.toml"))]
        viewers = [path for path in packs if path.stem != "ads_cn"]
        library = Library(viewers, [path for path in packs if path.stem == "ads_cn"])
        await library.load()
        inspected = _inspected(_Stage(library), clock)
        other = _others(_Stage(library), clock)
        return Costs(inspected, other, [await _reloaded(library, path, clock) for path in packs])


def _inspected(stage: _Stage, clock: Callable[[], float]) -> list[float]:
    lines = [line for who, line in benign_lines() if who == "viewer" and who != TRAP]
    best = [float("inf")] * len(lines)
    for _ in range(_ROUNDS):
        stage.now += _GAP_S
        for n, line in enumerate(lines):
            call = stage.call("danmaku.send", line, f"u{n % _USERS}")
            best[n] = min(best[n], _timed(stage, call, clock))
    return [seconds * 1e6 for seconds in best]


def _timed(stage: _Stage, call: Call[Any], clock: Callable[[], float]) -> float:
    start = clock()
    with suppress(CommandError):  # a false positive, or a line that the corpus has thrice
        stage.inspect(call)
    return clock() - start


def _others(stage: _Stage, clock: Callable[[], float], n: int = 10_000) -> float:
    call = stage.call("like.send", "", "u1")
    start = clock()
    for _ in range(n):
        stage.inspect(call)
    return (clock() - start) / n * 1e6


async def _reloaded(library: Library, path: Path, clock: Callable[[], float]) -> float:
    """Return how long the change of a pack takes."""
    before = library.versions
    await asyncio.to_thread(_change, path)
    start = clock()
    await library.reload()
    seconds = clock() - start
    assert library.versions != before, "the file has changed"
    return seconds


def _change(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
