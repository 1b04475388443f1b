"""One rehearsal, from the first viewer to the report (layer 9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from liveroom.errors import LiveroomError
from liveroom.rehearsal.audience import Audience, Crowd, Outcome
from liveroom.rehearsal.director import Director, RehearsalFailed, faster
from liveroom.rehearsal.report import Check, Report, Tally, cues_of, issued
from liveroom.rehearsal.shop import Shop
from liveroom.rehearsal.wire import Address
from liveroom.shows import Show


__all__ = ["Scene", "Tokens", "rehearse"]

_CLICK_S = 0.5
_KINDS = ("poll", "quiz", "lottery", "stock", "coupon", "redpacket")
_BUSY = ("open", "frozen", "running", "countdown")
_TAIL_S = 20.0
_QUIET_S = 1.0

Item = dict[str, Any]
Tokens = Callable[[str, str], str]
"""Returns the token of a role and a user; empty: such a one cannot be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where a show is rehearsed, and before whom.

    Args:
        addresses: of the workers; the first one is the host's.
        room: a room for it alone.
        tokens: makes tokens.
        viewers: how many.
        speed: times of the show, and of those who answer, are divided by it.
        workers: how many there are, for the report.
    """

    addresses: list[Address]
    room: str
    tokens: Tokens
    viewers: int = 500
    speed: float = 1.0
    workers: int = 1


async def rehearse(show: Show, scene: Scene, say: Callable[[str], object] = print) -> Report:
    """Play a show; return what happened.

    Args:
        show: the plan.
        scene: where and before whom.
        say: told what is going on.

    Raises:
        LiveroomError: the room cannot be opened, the plan is refused.
    """
    return await _Rehearsal(show, scene, say).run()


class _Rehearsal:
    """One show on its way."""

    def __init__(self, show: Show, scene: Scene, say: Callable[[str], object]) -> None:
        self._show = faster(show, scene.speed)
        self._scene = scene
        self._say = say
        self._tally = Tally()
        address, room, tokens = scene.addresses[0], scene.room, scene.tokens
        host = tokens("host", "director")
        service = tokens("service", "shop")
        self._shop = Shop(address, room, service or host, self._tally, sells=bool(service))
        crowd = Crowd(
            scene.addresses,
            room,
            token=lambda user: tokens("viewer", user),
            size=scene.viewers,
            speed=scene.speed,
        )
        self._audience = Audience(crowd, self._take)
        self._director = Director(address, host, room, self._show, click_s=_CLICK_S / scene.speed)

    async def run(self) -> Report:
        """Open, fill, play, settle, report."""
        try:
            await self._director.open()
            joined = await self._audience.join()
            self._say(f"{joined} of {self._scene.viewers} viewers are in room {self._scene.room}")
            for why in self._audience.failed[:3]:
                self._say(f"  {why}")
            self._audience.begin()
            began = time.monotonic()
            faults = await self._play()
            duration = time.monotonic() - began
            await self._tail()
            return await self._report(joined, duration, faults)
        finally:
            await self._audience.leave()
            self._director.close()

    def _take(self, outcome: Outcome) -> None:
        self._tally.take(outcome)
        self._shop.take(outcome)

    async def _play(self) -> list[Check]:
        try:
            await self._director.play()
        except RehearsalFailed as exc:
            return [Check("the show was played to its end", ok=False, detail=str(exc))]
        return []

    async def _tail(self) -> None:
        """Wait until nothing is open any more, and everything said is answered and seen."""
        deadline = time.monotonic() + _TAIL_S
        while time.monotonic() < deadline and self._busy():  # noqa: ASYNC110 -- once
            await asyncio.sleep(0.1)
        await self._audience.settle()
        await self._shop.settle()
        await asyncio.sleep(_QUIET_S)  # the last states may ride half a second

    def _busy(self) -> bool:
        states = self._audience.view.states
        if any(_kind(name) == "rain" for name in states):  # its later drops are not shown yet
            return True
        return any(d["status"] in _BUSY for name, d in states.items() if _kind(name) in _KINDS)

    async def _report(self, joined: int, duration: float, faults: list[Check]) -> Report:
        view, scene = self._audience.view, self._scene
        shown = await self._director.ask("rundown.get", {})
        ops = {cue.cue: cue.op for cue in self._show.cues}
        return Report(
            title=self._show.title,
            room=scene.room,
            workers=scene.workers,
            viewers=scene.viewers,
            joined=joined,
            reconnects=self._audience.reconnects,
            duration_s=round(duration, 2),
            cues=cues_of(shown["progress"], ops, view.events()),
            activities=_activities(view.last),
            counts=self._counts(),
            refused={" ".join(what): n for what, n in self._audience.refused.items()},
            checks=[*faults, *await self._checks(joined)],
        )

    def _counts(self) -> dict[str, int]:
        audience, view = self._audience, self._audience.view
        return {
            "danmaku": audience.done["danmaku.send"],
            "likes": view.last.get("likes", {}).get("total", 0),
            "gifts": len([e for e in view.events("gift.sent") if e["d"]["n"]]),
            "questions": audience.done["qa.ask"],
            "commands": sum(audience.done.values()),
            "unanswered": sum(audience.unanswered.values()),
        }

    async def _checks(self, joined: int) -> list[Check]:
        audience = self._audience
        checks = [
            Check("all viewers came in", joined == self._scene.viewers, str(joined)),
            Check("all viewers are here", audience.connected == joined, str(audience.connected)),
            *(Check("durable events", ok=False, detail=why) for why in audience.view.faults),
            *(Check("payments", ok=False, detail=why) for why in self._shop.faults[:5]),
            *self._tally.checks(audience),
            await self._audit(),
        ]
        for name, d in list(audience.view.last.items()):
            if name.startswith("lottery:") and d["status"] in ("drawn", "settled"):
                checks.append(await self._shop.verify(d["lottery"], d))
            if name.startswith("coupon:"):
                shown = await self._director.ask("coupon.show", {"drop": d["drop"]})
                checks.append(issued(name, shown))
        return checks

    async def _audit(self) -> Check:
        try:
            found = await self._director.ask("audit.check", {})
        except LiveroomError as exc:
            return Check("invariants of the room", ok=False, detail=str(exc))
        counted = sum(found["counted"].values())
        detail = str(found["broken"][:3]) if found["broken"] else f"{counted} comparisons"
        return Check("invariants of the room", found["sound"], detail)


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _activities(states: dict[str, Item]) -> dict[str, Item]:
    """Return what came of each activity, in a few words."""
    found: dict[str, Item] = {}
    for name, d in states.items():
        match _kind(name):
            case "poll":
                found[name] = {"voters": d["voters"], "tally": d.get("tally", [])}
            case "quiz":
                found[name] = {"answered": d["answered"], "right": d.get("right", 0)}
            case "lottery":
                winners = [winner["user"] for winner in d.get("winners", [])]
                found[name] = {"status": d["status"], "entrants": d["entrants"], "winners": winners}
            case "stock":
                sold = ("total", "sold", "reserved", "available")
                found[name] = {figure: d[figure] for figure in sold}
            case "coupon":
                found[name] = {figure: d[figure] for figure in ("quota", "claimed")}
            case "redpacket":
                taken = ("shares", "taken", "grabbed", "refunded")
                found[name] = {figure: d[figure] for figure in taken if figure in d}
            case "qa":
                found[name] = {"open": d["open"], "answered": d["answered"]}
            case _:
                pass
    return found
