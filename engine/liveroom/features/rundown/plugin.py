"""The feature: commands of hosts, steps of cues, what a worker left behind (layer 5)."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from liveroom.auth.claims import Role
from liveroom.errors import CommandError, StoreError
from liveroom.features.leases import take_lease
from liveroom.features.room import HOST_SURFACES
from liveroom.features.rundown.files import RundownFiles
from liveroom.features.rundown.plan import capped, checked
from liveroom.features.rundown.runner import Runner
from liveroom.features.rundown.shapes import (
    CueOf,
    CueStep,
    RundownPut,
    RundownStart,
    RundownState,
    Step,
)
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call, Engine, Member, RoomHandle
from liveroom.plugin.spec import (
    Commit,
    Delivery,
    EventSpec,
    Plugin,
    Result,
    StateSpec,
    command,
)
from liveroom.protocol.messages import Empty
from liveroom.store.port import LogEntry, Op
from liveroom.store.replies import refusal


if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

__all__ = ["Rundown"]

_SYSTEM = "~sys"
_STEP = b'{"ev":"rundown.step"'
_SCAN_S = 1.0
_SWEEP_S = 5.0
_SWEPT_AT_ONCE = 32

log = structlog.get_logger("liveroom.rundown")


class Rundown(Plugin):
    """One plan per room; the script keeps its clock, any worker carries out what is due."""

    name = "rundown"
    lua = lua_of("rundown")
    events = (
        EventSpec(
            "rundown.cue",
            Delivery.SYSTEM,
            "To assistants, moderators and hosts: how far a cue is: `{cue, status: "
            "waiting|due|fired|failed|skipped, due_ms?, fired_ms?, error?: {code, msg}}`.",
            CueStep,
        ),
        EventSpec(
            "rundown.step",
            Delivery.DURABLE,
            "Between workers: the same, with `run` and the worker that is to run what is due.",
            Step,
            internal=True,
        ),
    )
    states = (
        StateSpec(
            "rundown",
            "`{status: ready|running|paused|done}`, nothing of the plan; null ten minutes after "
            "the end.",
            RundownState,
        ),
    )

    def __init__(self) -> None:
        self._shows: set[str] = set()
        self._staff: dict[str, set[Member]] = defaultdict(set)

    async def start(self, engine: Engine) -> None:
        """Begin looking after shows."""
        self._engine = engine
        self._runner = Runner(engine)
        engine.every(_SCAN_S, self.scan)
        engine.every(_SWEEP_S, self.sweep)

    async def stop(self) -> None:
        """Leave the cues to the other workers."""
        await self._runner.close()

    def routes(self) -> Iterable[AbstractRouteDef]:
        """Plans as files."""
        return RundownFiles(lambda: self._engine).routes()

    # Commands.

    @command("rundown.put", RundownPut, role=Role.HOST, surfaces=HOST_SURFACES)
    def put(self, call: Call[RundownPut]) -> Commit:
        """Store the room's plan, each body checked; returns `{changed, cues, version}`."""
        d = checked(call.body, call.role, self._engine.expect_command)
        return Commit("rundown.put", d, durable=True, idempotent=True)

    @command("rundown.start", RundownStart, role=Role.HOST, surfaces=HOST_SURFACES, keyed=True)
    async def begin(self, call: Call[RundownStart]) -> Result:
        """Start the show's clock; returns `{started, status, started_ms, run, version}`."""
        claims = call.member.claims
        d = {"name": claims.name, "role": capped(call.role).value, "level": claims.level}
        if call.body.if_version is not None:
            d["if_version"] = call.body.if_version
        await self._list(call.room.id)
        return await call.room.submit(call.operation("rundown.start", d), durable=True)

    @command("rundown.fire", CueOf, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    def fire(self, call: Call[CueOf]) -> Commit:
        """Carry out a cue now, once however often it is clicked; returns `{cue, fired, status}`."""
        return Commit("rundown.fire", {"cue": call.body.cue}, durable=True, idempotent=True)

    @command("rundown.skip", CueOf, role=Role.HOST, surfaces=HOST_SURFACES)
    def skip(self, call: Call[CueOf]) -> Commit:
        """Leave a waiting cue out; returns `{cue, skipped}`."""
        return Commit("rundown.skip", {"cue": call.body.cue}, durable=True, idempotent=True)

    @command("rundown.pause", Empty, role=Role.HOST, surfaces=HOST_SURFACES)
    def pause(self, call: Call[Empty]) -> Commit:
        """Stop the show's clock; returns `{paused, version}`."""
        return Commit("rundown.pause", {}, durable=True, idempotent=True)

    @command("rundown.resume", Empty, role=Role.HOST, surfaces=HOST_SURFACES)
    def resume(self, call: Call[Empty]) -> Commit:
        """Let the clock go on, all times later by the pause; returns `{resumed, shift_ms?, version}`."""
        return Commit("rundown.resume", {}, durable=True, idempotent=True)

    @command("rundown.stop", Empty, role=Role.HOST, surfaces=HOST_SURFACES)
    def end(self, call: Call[Empty]) -> Commit:
        """End the show; what still waits is not run; returns `{stopped, status}`."""
        return Commit("rundown.stop", {}, durable=True, idempotent=True)

    @command("rundown.get", Empty, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    async def get(self, call: Call[Empty]) -> Result:
        """Show the plan, `d` of its cues to hosts only; returns it with `{status, version, progress}`."""
        answer = _answer(await call.room.submit(Op("rundown.get", call.user, {})))
        if not call.role.at_least(Role.HOST):
            for cue in answer["cues"]:
                del cue["d"]
        return answer

    # Steps.

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Take note of staff, and of a show that is on."""
        if member.claims.role.at_least(Role.ASSISTANT):
            self._staff[room.id].add(member)
        shown = room.state("rundown")
        if shown is not None and shown["status"] in ("running", "paused"):
            self._shows.add(room.id)

    def left(self, room: RoomHandle, member: Member) -> None:
        """Forget staff that has gone."""
        staff = self._staff.get(room.id)
        if staff is not None:
            staff.discard(member)
            if not staff:
                del self._staff[room.id]

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Run what is due and this worker's; tell the staff."""
        if not entry.item.startswith(_STEP):
            return
        step = orjson.loads(entry.item)["d"]
        run, worker = step.pop("run"), step.pop("worker", "")
        self._shows.add(room.id)
        if step["status"] == "due" and worker == self._engine.worker:
            self._runner.want(room.id, run, [step["cue"]], first=True)
        for member in self._staff.get(room.id, ()):
            if member.claims.role.at_least(Role.ASSISTANT):  # its token may have changed
                member.tell("rundown.cue", step)

    # What nobody is at.

    async def scan(self) -> None:
        """Look for cues of rooms served here that a worker began and did not finish."""
        for room in list(self._shows):
            if self._engine.room(room) is None or not await self._look(room):
                self._shows.discard(room)

    async def sweep(self) -> None:
        """Do the same for all rooms in which a show was started: perhaps nobody serves one."""
        if not await take_lease(self._engine, _SYSTEM, "rundown", 0.9 * _SWEEP_S):
            return
        listed = _answer(await self._engine.submit(_SYSTEM, Op("rundown.listed", "", {})))
        rooms = iter(listed["rooms"])
        while page := list(itertools.islice(rooms, _SWEPT_AT_ONCE)):
            on = await asyncio.gather(*map(self._look, page))
            over = [room for room, still in zip(page, on, strict=True) if not still]
            if over:
                await self._engine.submit(_SYSTEM, Op("rundown.unlist", "", {"rooms": over}))

    async def _look(self, room: str) -> bool:
        """Take up what is left in a room; tell whether its show is on."""
        scan = Op("rundown.scan", "", {"worker": self._engine.worker})
        try:
            answer = _answer((await self._engine.commit(room, [scan])).replies[0])
        except (CommandError, StoreError) as exc:
            log.warning("show not looked after", room=room, error=str(exc))
            return True
        self._runner.want(room, answer.get("run", ""), answer.get("cues", ()))
        return bool(answer["on"])

    async def _list(self, room: str) -> None:
        try:
            await self._engine.submit(_SYSTEM, Op("rundown.list", "", {"room": room}))
        except StoreError as exc:  # it matters only if every worker that serves the room dies
            log.warning("show not listed", room=room, error=str(exc))


def _answer(reply: bytes) -> dict[str, Any]:
    if reply[:1] != b"+":
        raise refusal(reply)
    answer: dict[str, Any] = orjson.loads(reply[1:])
    return answer
