"""A process of the bench that is asked and answers: one JSON object per line, both ways.

A child ends when its standard input does, so nothing outlives the bench, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self


__all__ = ["Child", "ChildFailed", "serve_parent"]

_STOP_S = 8.0
_TAIL = 1500

Answer = dict[str, Any]


class ChildFailed(RuntimeError):
    """A child ended or did not answer in time; holds its last words."""


class Child:
    """Runs `python -m MODULE ARGS…` or a program, and asks it.

    Args:
        command: a program with its arguments.
        ready_s: seconds until its first line, which is kept in `hello`.
    """

    def __init__(self, *command: str, ready_s: float = 20.0) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the child
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._name = command[2] if command[1] == "-m" else command[0]
        self._unread = b""
        self.hello = self._answer(ready_s)

    @classmethod
    def module(cls, name: str, **spec: Any) -> Self:
        """Run a module of the bench with a JSON argument."""
        return cls(sys.executable, "-m", name, json.dumps(spec))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def ask(self, do: str, timeout_s: float = 30.0, **spec: Any) -> Answer:
        """Send a request and return the answer. Raises ChildFailed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **spec}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise self._failed("ended") from exc
        answer = self._answer(timeout_s)
        if "error" in answer:
            raise ChildFailed(f"{do}: {answer['error']}")
        return answer

    def wait(self, timeout_s: float) -> Answer:
        """Return the next line of a child that speaks by itself."""
        return self._answer(timeout_s)

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        words = self._last_words()
        if words:
            sys.stderr.write(f"\n{self._name} said: {words}\n")
        self._errors.close()

    def _answer(self, timeout_s: float) -> Answer:
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(deadline - time.monotonic()):
                    raise self._failed(f"gave no answer within {timeout_s:g} s")
                got = os.read(self._process.stdout.fileno(), 1 << 16)
                if not got:
                    raise self._failed("ended")
                self._unread += got
        line, _, self._unread = self._unread.partition(b"\n")
        answer: Answer = json.loads(line)
        return answer

    def _failed(self, what: str) -> ChildFailed:
        return ChildFailed(f"{self._name} {what}\n{self._last_words()}")

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-_TAIL:].strip()


async def serve_parent(hello: Answer, handle: Callable[[Answer], Awaitable[Answer]]) -> None:
    """Be a child: say hello, then answer requests until the parent goes."""
    reader = asyncio.StreamReader(limit=1 << 24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps(hello), flush=True)
    while line := await reader.readline():
        try:
            answer = await handle(json.loads(line))
        except Exception as exc:  # noqa: BLE001  # the parent shows it beside the row
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(answer), flush=True)
