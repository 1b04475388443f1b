"""The feature: audits of what this worker serves, alarms, and the commands of hosts (layer 5)."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
import structlog
from msgspec import Meta, Struct

from liveroom.auth.claims import Role
from liveroom.config import Settings
from liveroom.errors import CommandError, ConfigError
from liveroom.features.auditor.examiner import Examiner, Findings
from liveroom.features.room import HOST_SURFACES
from liveroom.features.shards import SHARDS
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call, Engine, Member, RoomHandle
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, Result, command
from liveroom.protocol.messages import Body, Empty
from liveroom.store.port import LogEntry, Op
from liveroom.store.replies import refusal


__all__ = ["Auditor"]

MAX_PAGE = 200
MOST_FINDINGS = 50
"""Findings of one room that are remembered."""
MOST_TOLD = 20
"""Findings that one alarm shows."""

_SYSTEM = "~sys"
_RAISED = b'{"ev":"audit.raised"'
_LEASE_PART = 0.9  # of the interval: a worker that comes a little early has its turn

log = structlog.get_logger("liveroom.auditor")

Row = dict[str, Any]


class ReadTrail(Body, frozen=True, kw_only=True):
    """Which page of the trail: after an entry, oldest first, or before one, newest first.

    An empty `before` is the end of the trail.
    """

    after: Annotated[str, Meta(pattern=r"^[0-9]{1,15}-[0-9]{1,10}$(?!\n)")] | None = None
    before: Annotated[str, Meta(pattern=r"^(?:[0-9]{1,15}-[0-9]{1,10})?$(?!\n)")] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class Finding(Struct):
    """An invariant that does not hold: `what` names the check, `key` where."""

    what: str
    key: str
    expected: Any = None
    found: Any = None


class Alarm(Struct):
    """`d` of `audit.alarm`; `more` findings are not shown."""

    room: str
    broken: list[Finding]
    more: int


class Auditor(Plugin):
    """Recomputes what must hold, in every room that somebody serves and in the wallets."""

    name = "auditor"
    lua = lua_of("auditor")
    events = (
        EventSpec(
            "audit.alarm",
            Delivery.SYSTEM,
            "To hosts: invariants of the room do not hold: `{room, broken: [{what, key, expected?, "
            "found?}], more}`.",
            Alarm,
        ),
        EventSpec(
            "audit.raised",
            Delivery.DURABLE,
            "In the log of the system scope: have the hosts of a room told.",
            Alarm,
            internal=True,
        ),
    )

    def __init__(self, settings: Settings) -> None:
        if not 0 < settings.audit_every_s <= 3600:
            raise ConfigError("audit_every_s", "more than 0, at most 3600", settings.audit_every_s)
        self._every_s = settings.audit_every_s
        self._rooms: dict[str, RoomHandle] = {}
        self._broken: dict[str, int] = {}

    async def start(self, engine: Engine) -> None:
        """Begin to audit."""
        self._engine = engine
        self._metrics = engine.metrics.audit
        self._examiner = Examiner(engine.commit)
        self._by_hand = asyncio.Lock()
        engine.every(self._every_s, self.audit)

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Take note of a room that this worker serves."""
        self._rooms[room.id] = room

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Take note of a room in which something happened; pass on an alarm that was raised."""
        if room.id[0] != "~":
            self._rooms[room.id] = room
        elif room.id == _SYSTEM and entry.item.startswith(_RAISED):
            self._tell_hosts(orjson.loads(entry.item)["d"])

    # Audits.

    async def audit(self) -> None:
        """Examine what this worker serves and nobody else has examined in this turn."""
        rooms = self._served()
        shards = [f"~w{number:02d}" for number in range(SHARDS)]
        lease_ms = round(self._every_s * _LEASE_PART * 1000)
        turn = Op("audit.round", "", {"worker": self._engine.worker, "ms": lease_ms})
        scopes = [*rooms, _SYSTEM, *shards]
        found = await self._examiner.examine(scopes, turn)
        for scope in scopes:
            await self._judge(scope, found.get(scope))

    def _served(self) -> list[str]:
        """Return the rooms that this worker still serves and that exist."""
        gone = [name for name, room in self._rooms.items() if self._engine.room(name) is not room]
        for name in gone:
            del self._rooms[name]
            self._see(name, 0)
        return [name for name, room in self._rooms.items() if room.position.epoch]

    async def _judge(self, scope: str, found: Findings | None) -> None:
        """Raise alarm for what is new among the findings, and note what is over."""
        self._see(scope, 0 if found is None else len(found.broken))  # skipped: another one knows
        if found is None:
            return
        self._metrics.checked.inc()
        for row in found.broken:
            self._metrics.broken(row["what"])
        if found.broken or found.alarmed:
            # In a fixed order: what is beyond the limit must not be another part each time.
            rows = sorted(found.broken, key=lambda row: (row["what"], row["key"]))
            judge = Op("audit.judge", "", {"broken": rows[:MOST_FINDINGS]})
            committed = await self._engine.commit(scope, [judge])
            if committed.replies[0][:1] != b"+":
                raise refusal(committed.replies[0])
            await self._announce(scope, orjson.loads(committed.replies[0][1:]))

    async def _announce(self, scope: str, judged: Row) -> None:
        for row in judged.get("tell", ()):
            log.error("invariant broken", room=scope, **row)
        for name in judged.get("over", ()):
            log.info("invariant holds again", room=scope, name=name)
        tell = judged.get("tell", [])
        if tell and scope[0] != "~":
            alarm = {"room": scope, "broken": tell[:MOST_TOLD], "more": len(tell[MOST_TOLD:])}
            await self._engine.submit(_SYSTEM, Op("audit.raise", "", alarm))

    def _tell_hosts(self, alarm: Row) -> None:
        """Tell the hosts on this worker; every worker hears of every alarm."""
        room = self._engine.room(alarm["room"])
        for member in () if room is None else room.members:
            if member.claims.role.at_least(Role.HOST):
                member.tell("audit.alarm", alarm)

    def _see(self, scope: str, broken: int) -> None:
        """Have the gauge show what is known of a scope now."""
        self._metrics.broken_now.inc(broken - self._broken.pop(scope, 0))
        if broken:
            self._broken[scope] = broken

    # Commands.

    @command("audit.check", Empty, role=Role.HOST, surfaces=HOST_SURFACES)
    async def check(self, call: Call[Empty]) -> Result:
        """Recompute the room's invariants now; returns `{sound, broken, counted}`."""
        room = call.room.id
        async with self._by_hand:  # one at a time, however many hosts ask how often
            found = (await self._examiner.examine([room], Op("audit.look", "", {})))[room]
        return {"sound": not found.broken, "broken": found.broken, "counted": found.counted}

    @command("audit.read", ReadTrail, role=Role.HOST, surfaces=HOST_SURFACES)
    async def read(self, call: Call[ReadTrail]) -> Result:
        """Read the room's trail; returns `{entries: [{id, e, h}], head}`."""
        after, before, limit = call.body.after, call.body.before, call.body.limit
        if after is not None and before is not None:
            raise CommandError("bad_request", "expected after or before, came both")
        page = {"after": after or ""} if before is None else {"before": before}
        reply = await call.room.submit(Op("sys.trail", call.user, page | {"limit": limit}))
        if reply[:1] != b"+":
            raise refusal(reply)
        answer: Row = orjson.loads(reply[1:])
        return {"entries": answer.get("entries", []), "head": answer.get("head", "")}
