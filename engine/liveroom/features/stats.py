"""Live figures of a room for those who steer it: who is there, what is said, what happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec import Struct

from liveroom.auth.claims import Role
from liveroom.core.clock import Clock
from liveroom.plugin.context import Call, Engine, Member, RoomHandle
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, Result, Surface, command
from liveroom.protocol.messages import Body
from liveroom.store.port import LogEntry


__all__ = ["Stats"]

_TELL_S = 1.0


class Watch(Body, frozen=True, kw_only=True):
    """Begin or stop being told."""

    on: bool = True


class StatsTold(Struct):
    """`d` of `stats`: totals since this worker serves the room, rates per second."""

    online: dict[str, int]
    likes: int
    said: dict[str, int]
    said_per_s: dict[str, float]
    happened: dict[str, int]
    happened_per_s: dict[str, float]


class _Figures:
    """What was counted of one room, and what of it was told."""

    def __init__(self, room: RoomHandle, now: float) -> None:
        self.room = room
        self.watchers: dict[str, Member] = {}
        self.happened: Counter[str] = Counter()
        self._said: Counter[str] = Counter(room.heard)
        self._before: Counter[str] = Counter()
        self._at = now

    def tell(self, now: float) -> dict[str, Any]:
        """Return what `stats` says now; rates are over the time since the last one."""
        room, elapsed = self.room, max(now - self._at, 1e-3)
        said = Counter(room.heard)
        told = {
            "online": room.state("online") or {"now": room.online, "peak": 0, "viewers": 0},
            "likes": (room.state("likes") or {"total": 0})["total"],
            "said": dict(said),
            "said_per_s": _rates(said, self._said, elapsed),
            "happened": dict(self.happened),
            "happened_per_s": _rates(self.happened, self._before, elapsed),
        }
        self._said, self._before, self._at = said, Counter(self.happened), now
        return told


class Stats(Plugin):
    """Every worker hears all that a room says, so the figures of one worker are the room's."""

    name = "stats"
    events = (
        EventSpec(
            "stats",
            Delivery.SYSTEM,
            "Once a second to those who asked with `stats.watch`: `{online, likes, said, "
            "said_per_s, happened, happened_per_s}`; `said` counts ephemeral items by kind, those "
            "shed included, `happened` durable events by name.",
            StatsTold,
        ),
    )

    def __init__(self) -> None:
        self._watched: dict[str, _Figures] = {}

    async def start(self, engine: Engine) -> None:
        """Begin telling."""
        self._clock: Clock = engine.clock
        engine.every(_TELL_S, self._tell)

    @command("stats.watch", Watch, role=Role.ASSISTANT, surfaces=(Surface.CONTROL,), audited=False)
    def watch(self, call: Call[Watch]) -> Result:
        """Be told the room's figures once a second, or no more; returns `{watching}`."""
        if call.body.on:
            figures = self._watched.get(call.room.id)
            if figures is None:
                figures = _Figures(call.room, self._clock.monotonic())
                self._watched[call.room.id] = figures
            figures.watchers[call.member.session] = call.member
        else:
            self._forget(call.room.id, call.member)
        return {"watching": call.body.on}

    def left(self, room: RoomHandle, member: Member) -> None:
        """Tell nobody who has gone."""
        self._forget(room.id, member)

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Count what happens in a room that is watched."""
        figures = self._watched.get(room.id)
        if figures is not None:
            figures.happened[_event_name(entry.item)] += 1

    def _forget(self, room_id: str, member: Member) -> None:
        figures = self._watched.get(room_id)
        if figures is not None:
            figures.watchers.pop(member.session, None)
            if not figures.watchers:
                del self._watched[room_id]

    def _tell(self) -> None:
        now = self._clock.monotonic()
        for figures in list(self._watched.values()):
            told = figures.tell(now)
            for member in list(figures.watchers.values()):
                member.tell("stats", told)


def _event_name(item: bytes) -> str:
    """Return the `ev` of an item as the script writes it: it stands first."""
    return item[7 : item.index(b'"', 7)].decode()


def _rates(now: Counter[str], before: Counter[str], seconds: float) -> dict[str, float]:
    return {kind: round((n - before[kind]) / seconds, 1) for kind, n in now.items()}
