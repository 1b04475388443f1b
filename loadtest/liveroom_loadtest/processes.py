"""The processes of viewers, as the leading process sees them."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import AsyncIterator, Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import orjson

from liveroom_loadtest.child import run_child
from liveroom_loadtest.crowd import Part
from liveroom_loadtest.scenario import Scenario


__all__ = ["LoadFailed", "Processes", "processes"]

Item = dict[str, Any]
OnTick = Callable[[int, Item, dict[str, float]], None]

_START_S = 120.0
_LEAVE_S = 5.0


class LoadFailed(Exception):
    """A process of viewers did not do what it should."""


class Processes:
    """All processes of viewers: each is told the same, and answers."""

    def __init__(self, parts: Sequence[Part], scenario: Scenario, on_tick: OnTick) -> None:
        context = multiprocessing.get_context("spawn")
        self._on_tick = on_tick
        self._pipes: list[Connection] = []
        self._answers: list[asyncio.Queue[Item]] = []
        self._made = []
        plain = msgspec.to_builtins(scenario)
        for part in parts:
            ours, theirs = context.Pipe()
            made = context.Process(
                target=run_child, args=(theirs, part._asdict(), plain), daemon=True
            )
            made.start()
            theirs.close()
            self._made.append(made)
            self._pipes.append(ours)
            self._answers.append(asyncio.Queue())

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [made.pid for made in self._made if made.pid is not None]

    def listen(self) -> None:
        """Begin to take what they say."""
        loop = asyncio.get_running_loop()
        for index, pipe in enumerate(self._pipes):
            loop.add_reader(pipe.fileno(), self._on_message, index)

    def _on_message(self, index: int) -> None:
        try:
            said: Item = orjson.loads(self._pipes[index].recv_bytes())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._pipes[index].fileno())
            said = {"did": "", "failed": "it ended"}
        if "did" in said:
            self._answers[index].put_nowait(said)
        else:
            self._on_tick(said["at"], said["second"], said["gauges"])

    async def started(self) -> None:
        """Wait until all are there. Raises LoadFailed."""
        await self._answered(_START_S)

    async def ask(self, do: str, patience_s: float, **order: Any) -> list[Item]:
        """Tell all to do something; return their answers. Raises LoadFailed."""
        message = orjson.dumps({"do": do} | order)
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send_bytes(message)
        return await self._answered(patience_s)

    async def _answered(self, patience_s: float) -> list[Item]:
        try:
            async with asyncio.timeout(patience_s):
                answers = [await queue.get() for queue in self._answers]
        except TimeoutError as exc:
            raise LoadFailed(f"a process of viewers did not answer in {patience_s:.0f} s") from exc
        for index, answer in enumerate(answers):
            if "failed" in answer:
                raise LoadFailed(f"process {index} of viewers: {answer['failed']}")
        return answers

    async def end(self) -> None:
        """End them: they leave when their pipe ends."""
        loop = asyncio.get_running_loop()
        for pipe in self._pipes:
            loop.remove_reader(pipe.fileno())
            pipe.close()
        for made in self._made:
            await asyncio.to_thread(made.join, _LEAVE_S)
            if made.is_alive():
                made.kill()
                await asyncio.to_thread(made.join)


@contextlib.asynccontextmanager
async def processes(
    parts: Sequence[Part], scenario: Scenario, on_tick: OnTick
) -> AsyncIterator[Processes]:
    """Run processes of viewers. Raises LoadFailed."""
    made = Processes(parts, scenario, on_tick)
    made.listen()
    try:
        await made.started()
        yield made
    finally:
        await made.end()
