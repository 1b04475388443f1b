"""Carries out cues that are due: those of a room in their order, each with one effect (layer 5).

The script gives each due cue to one worker for two seconds. Whatever becomes of that worker, the next
one runs the same command under the same idempotency key: the room repeats its answer if the effect
was there already.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import orjson
import structlog

from liveroom.auth.claims import Claims, Role
from liveroom.errors import CommandError, StoreError
from liveroom.failpoints import declare, reach
from liveroom.plugin.context import Engine
from liveroom.store.port import Op
from liveroom.store.replies import refusal


__all__ = ["Runner"]

_PATIENCE_S = 2.0  # how long a cue holds up those after it
_LONGEST_S = 30.0
_CLAIMS_S = 3600
_AGAIN = frozenset({"outcome_unknown", "unavailable", "overloaded"})

_PERFORMED = declare("cue.performed", "a cue's command was carried out, the show does not know")

log = structlog.get_logger("liveroom.rundown")

Place = tuple[str, str, bool]
Row = dict[str, Any]


class Runner:
    """The cues that this worker runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queues: dict[str, deque[Place]] = {}
        self._wanted: set[tuple[str, str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, room: str, run: str, cues: Iterable[str], *, first: bool = False) -> None:
        """Have cues carried out, after those that were wanted before.

        Args:
            room: where.
            run: of which show.
            cues: their names.
            first: they became due just now, and this worker was named.
        """
        names = [cue for cue in cues if (room, run, cue) not in self._wanted]
        self._wanted.update((room, run, cue) for cue in names)
        fresh = [(run, cue, first) for cue in names]
        if room in self._queues:
            self._queues[room].extend(fresh)
        elif fresh:
            self._queues[room] = deque(fresh)
            _ = self._spawn(self._work(room))

    async def close(self) -> None:
        """Leave what is not done to the other workers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work, name="rundown")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _work(self, room: str) -> None:
        """Start one cue when the one before it is done, or has taken long enough."""
        queue = self._queues[room]
        while queue:
            work = self._spawn(self._carry_out(room, *queue.popleft()))
            await asyncio.wait({work}, timeout=_PATIENCE_S)
        del self._queues[room]

    async def _carry_out(self, room: str, run: str, cue: str, first: bool) -> None:
        try:
            await self._run(room, {"run": run, "cue": cue}, first)
        except (CommandError, StoreError) as exc:  # its lease lapses, then it is tried again
            log.warning("cue not carried out yet", room=room, cue=cue, error=str(exc))
        except Exception:
            log.exception("cue not carried out", room=room, cue=cue)
        finally:
            self._wanted.discard((room, run, cue))

    async def _run(self, room: str, place: Row, first: bool) -> None:
        asked = {**place, "worker": self._engine.worker, "first": first}
        taken = await self._ask(room, "rundown.take", asked)
        if not taken["mine"]:
            return
        error = await self._perform(room, place["run"], taken)
        reach(_PERFORMED)
        told = {**place, "nth": taken["nth"]} | error
        await self._ask(room, "rundown.done", told)

    async def _perform(self, room: str, run: str, taken: Row) -> Row:
        """Run the command; return `{}`, or why it was refused for good."""
        cue, nth = taken["plan"], taken["nth"]
        key = f"cue:{run}:{cue['cue']}" + (f":{nth}" if nth > 1 else "")
        claims = _claims(room, run, taken)
        try:
            async with asyncio.timeout(_LONGEST_S):
                await self._engine.perform(room, claims, cue["op"], cue["d"], key)
        except TimeoutError:
            return {"code": "outcome_unknown", "msg": f"no answer within {_LONGEST_S:.0f} s"}
        except CommandError as exc:
            if exc.code.name in _AGAIN:
                raise
            return {"code": exc.code.name, "msg": (exc.detail or exc.code.sentence)[:200]}
        except StoreError:
            raise
        except Exception:
            log.exception("command of a cue failed", room=room, cue=cue["cue"], op=cue["op"])
            return {"code": "internal", "msg": "something failed on the server's side"}
        return {}

    async def _ask(self, room: str, op: str, body: Row) -> Row:
        reply = await self._engine.submit(room, Op(op, "", body))
        if reply[:1] != b"+":
            raise refusal(reply)
        answer: Row = orjson.loads(reply[1:])
        return answer


def _claims(room: str, run: str, taken: Row) -> Claims:
    """Return the claims of whoever started the show, for this room alone."""
    now_s = int(time.time())
    return Claims(
        user=taken["user"],
        name=taken["name"],
        role=Role(taken["role"]),
        room=room,
        exp=now_s + _CLAIMS_S,
        iat=now_s,
        jti=f"rundown-{run}",
        issuer="",
        level=taken["level"],
    )
