"""Worker processes as their supervisor sees them (layer 9)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import Any

import aiohttp
import msgspec
import orjson

from liveroom.errors import LiveroomError
from liveroom.handover import Order, failure_note, ops_socket


__all__ = ["Backoff", "WorkerFailed", "WorkerSlot"]

_ASK_TIMEOUT_S = 2.0


class WorkerFailed(LiveroomError):
    """A worker could not start: its exit status and what it said."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(status, said)
        self.status = status
        self.said = said

    def __str__(self) -> str:
        return self.said


class Backoff:
    """How long to wait before something is started again: longer each time it dies young.

    Args:
        first: seconds after the first death.
        longest: seconds at most.
        settled: a life of so many seconds starts the count anew.
    """

    def __init__(self, first: float = 0.1, longest: float = 5.0, settled: float = 30.0) -> None:
        self._first = first
        self._longest = longest
        self._settled = settled
        self._next = first

    def after(self, lived: float) -> float:
        """Return the seconds to wait after a life of `lived` seconds."""
        if lived >= self._settled:
            self._next = self._first
        delay, self._next = self._next, min(self._longest, self._next * 2)
        return delay


class WorkerSlot:
    """The place of one worker."""

    def __init__(self, order: Order) -> None:
        self.index = order.index
        self.restarts = 0
        self._order = order
        self._process: asyncio.subprocess.Process | None = None

    @property
    def up(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.returncode is None

    async def live(self) -> int:
        """Start the worker; return its exit status when it has ended."""
        failure_note(self._order.run_dir, self.index).unlink(missing_ok=True)
        # In a session of its own: Ctrl-C is for the supervisor, which then ends it in order.
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "liveroom", "worker",
            stdin=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None, "asked for"
        with contextlib.suppress(ConnectionError):  # it has ended already
            process.stdin.write(self._order.encode())
            await process.stdin.drain()
        self._order = msgspec.structs.replace(self._order, demo=False)  # a host may have closed it
        return await process.wait()

    def last_words(self, status: int) -> str:
        """Return why the worker could not start."""
        try:
            return failure_note(self._order.run_dir, self.index).read_text(encoding="utf-8")
        except OSError:
            return f"worker {self.index} ended with status {status}"

    def signal(self, number: signal.Signals) -> None:
        """Signal the worker, if there is one."""
        if self._process is not None and self.up:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ask(self, path: str) -> bytes | None:
        """Return what the worker answers on its socket; None if it does not."""
        connector = aiohttp.UnixConnector(str(ops_socket(self._order.run_dir, self.index)))
        timeout = aiohttp.ClientTimeout(total=_ASK_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.get(f"http://worker{path}") as response,
            ):
                return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def report(self) -> dict[str, Any]:
        """Return whether the worker is ready, and why not."""
        answer = await self.ask("/readyz") if self.up else None
        if answer is None:
            reason = "starting, or does not answer" if self.up else "not running"
            return {"worker": self.index, "ready": False, "reasons": [reason], "durability": None}
        report: dict[str, Any] = orjson.loads(answer)
        return report
