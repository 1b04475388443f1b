"""One load test from its beginning to its end: the process that leads the others."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import aiohttp

from liveroom_loadtest.acts import giver_numbers
from liveroom_loadtest.crowd import Part
from liveroom_loadtest.desk import Desk
from liveroom_loadtest.engine import Gauges, Target, machine_seconds
from liveroom_loadtest.oracle import Ledger, unequal_ends
from liveroom_loadtest.processes import Processes, processes
from liveroom_loadtest.ringside import Draw, Sale, audited, drawn, sold
from liveroom_loadtest.scenario import Scenario, ScenarioError
from liveroom_loadtest.seconds import Timeline


__all__ = ["Options", "Played", "Swarm"]

Item = dict[str, Any]

_JOIN_S = 600.0
_ANSWER_S = 60.0
_STAND_EVERY_S = 0.5
_QUIET_S = 0.3
_SUMS = (
    "join_failed", "back", "back_failed", "not_resumed", "gifts", "wanted", "decoded",
)  # fmt: skip
_SALE_ROOMS = 8
"""Rooms in which there is a sale or a draw, at most."""


class Options(NamedTuple):
    """How it is run.

    Args:
        rooms: names of rooms that are open already; empty: new ones are opened.
        per_address: viewers for each source address on loopback; 0: one address for all.
        say: told what happens, a sentence at a time.
        show: told every second how it is.
    """

    rooms: Sequence[str] = ()
    per_address: int = 20
    say: Callable[[str], None] = lambda text: None
    show: Callable[[Timeline, int, str], None] = lambda timeline, at, phase: None


class Played(NamedTuple):
    """What came of it, before it is judged."""

    scenario: Scenario
    timeline: Timeline
    ledger: Ledger
    marks: dict[str, float]
    """Moments (monotonic seconds) and spans."""
    came: Item
    counts: Counter[str]
    problems: Counter[str]
    """Errors, in words."""
    retried: Counter[str]
    """Why viewers had to try again to come in or back."""
    judged: int
    sale: Sale | None
    draw: Draw | None
    broken: int | None
    others_cores: float | None


class Swarm:
    """A run.

    Args:
        scenario: what is played.
        target: against which engine.
        options: how.
    """

    def __init__(self, scenario: Scenario, target: Target, options: Options) -> None:
        self._scenario = scenario
        self._target = target
        self._options = options
        self._run = secrets.token_hex(4)
        self._timeline = Timeline()
        self._ledger = Ledger()
        self._phase = "start"
        self._marks: dict[str, float] = {}
        self._rooms = list(options.rooms) or [
            f"load-{self._run}-{number}" for number in range(scenario.crowd.rooms)
        ]

    async def run(self) -> Played:
        """Play it. Raises ScenarioError, DeskFailed, LoadFailed."""
        self._check()
        async with contextlib.AsyncExitStack() as stack:
            desk = None
            if self._target.secret:
                desk = Desk(self._target.address, self._target.secret, self._run)
                await stack.enter_async_context(desk)
                await self._prepare(desk)
            self._options.say(f"{self._scenario.crowd.processes} processes start")
            load = await stack.enter_async_context(
                processes(self._parts(), self._scenario, self._timeline.take)
            )
            watching = asyncio.create_task(self._watch())
            try:
                return await self._play(load, desk)
            finally:
                watching.cancel()

    def _check(self) -> None:
        """Check what needs a host. Raises ScenarioError."""
        needs = [name for name in ("flash", "lottery", "gifts") if getattr(self._scenario, name)]
        if needs and not self._target.secret:
            raise ScenarioError(f"{needs[0]}: needs a host and a back end: give --secret")
        if not self._target.secret and not self._options.rooms:
            raise ScenarioError("crowd.rooms: without --secret no room can be opened: give --room")

    def _parts(self) -> list[Part]:
        address, crowd = self._target.address, self._scenario.crowd
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise ScenarioError(f"url: {address.host}: {exc.strerror}") from exc
        resolved = address._replace(host=str(found[0][4][0]))
        return [
            Part(
                index, crowd.processes, resolved, address.host, self._rooms, self._target.secret,
                self._run, self._options.per_address,
            )
            for index in range(crowd.processes)
        ]  # fmt: skip

    async def _prepare(self, desk: Desk) -> None:
        scenario = self._scenario
        if not self._options.rooms:
            await desk.open(self._rooms)
        if scenario.gifts is not None:
            numbers = giver_numbers(scenario.crowd.viewers, scenario.gifts)
            await desk.give_money(self._rooms[0], [f"load{number}" for number in numbers])
        if scenario.flash is not None:
            for room in self._stages:
                await desk.arm(room, self._name, scenario.flash.units, scenario.flash.price)

    @property
    def _stages(self) -> list[str]:
        """The rooms in which there is a sale or a draw."""
        return self._rooms[:_SALE_ROOMS]

    @property
    def _name(self) -> str:
        """The name of the item, the sale and the draw of this run."""
        return f"load-{self._run}"

    # The phases.

    async def _play(self, load: Processes, desk: Desk | None) -> Played:
        came = _together(await self._phase_of("join", load, _JOIN_S))
        await asyncio.sleep(_QUIET_S)
        await load.ask("judge", _ANSWER_S)
        self._options.say(
            f"{came['joined']:,} viewers are here; {self._scenario.seconds:g} s begin"
        )
        busy, begin = machine_seconds(), time.monotonic() + 0.3
        self._mark("play", begin)
        host = asyncio.create_task(self._host(desk, begin))
        answers = await self._phase_of("play", load, self._scenario.seconds + _JOIN_S, at=begin)
        self._mark("settle", time.monotonic())
        self._marks["machine"] = machine_seconds() - busy
        await host
        if self._scenario.storm is not None:
            came = _together(answers)
        judged = await self._settle(load)
        sale, draw, broken = await self._look(desk)
        self._mark("end", time.monotonic())
        return self._played(await load.ask("end", _ANSWER_S), came, judged, (sale, draw, broken))

    def _mark(self, name: str, at: float) -> None:
        self._marks[name] = at

    async def _phase_of(
        self, do: str, load: Processes, patience_s: float, **order: Any
    ) -> list[Item]:
        self._phase = do
        self._marks.setdefault(do, time.monotonic())
        return await load.ask(do, patience_s, **order)

    async def _host(self, desk: Desk | None, begin: float) -> None:
        """Start the sale and the draw at their time. Raises DeskFailed."""
        flash, lottery = self._scenario.flash, self._scenario.lottery
        if desk is not None and flash is not None:
            await _until(begin + flash.at_s)
            await asyncio.gather(
                *(desk.ask(room, "flash.start", sku=self._name) for room in self._stages)
            )
        if desk is not None and lottery is not None:
            await _until(begin + lottery.at_s)
            prizes = [{"prize": "one", "title": "One", "n": lottery.winners}]
            for room in self._stages:
                await desk.ask(
                    room, "lottery.open", lottery=self._name, title="Load test", prizes=prizes,
                    seconds=0,
                )  # fmt: skip
            await _until(begin + lottery.at_s + lottery.seconds)
            for room in self._stages:
                await desk.ask(room, "lottery.freeze", lottery=self._name)

    async def _settle(self, load: Processes) -> int:
        """Wait until everyone stands at the same place and every account adds up; return how many did.

        What does not in time is a fault.
        """
        self._phase = "settle"
        deadline = time.monotonic() + self._scenario.settle_s
        accepted: dict[str, int] = {}
        unsure: list[str] = []
        while True:
            answers = await load.ask("stand", _ANSWER_S, accepted=accepted, unsure=unsure)
            known = (accepted, unsure)
            accepted, unsure = _accepted(answers)
            ends = unequal_ends(answer["ends"] for answer in answers)
            wrong = sum(answer["wrong"] for answer in answers)
            open_ = sum(answer["waiting"] + answer["away"] for answer in answers)
            if known == (accepted, unsure) and not (ends or wrong or open_):
                break
            if time.monotonic() > deadline:
                self._blame(answers, ends, wrong)
                break
            await asyncio.sleep(_STAND_EVERY_S)
        return sum(answer["judged"] - answer["wrong"] for answer in answers)

    def _blame(self, answers: list[Item], ends: list[str], wrong: int) -> None:
        for text in ends:
            self._ledger.fault(text)
        told = [text for answer in answers for text in answer["wrong_first"]]
        for text in told:
            self._ledger.fault(text)
        self._ledger.fault_count += wrong - len(told)

    async def _look(self, desk: Desk | None) -> tuple[Sale | None, Draw | None, int | None]:
        """Ask the engine what is left, who won, and whether its invariants hold."""
        if desk is None:
            return None, None, None
        sale = draw = None
        if self._scenario.flash is not None:
            sale = await sold(desk, self._stages, self._name)
        if self._scenario.lottery is not None:
            draw = await drawn(desk, self._stages, self._name)
        return sale, draw, await audited(desk, self._rooms)

    def _played(
        self, ends: list[Item], came: Item, judged: int,
        looked: tuple[Sale | None, Draw | None, int | None],
    ) -> Played:  # fmt: skip
        counts: Counter[str] = Counter()
        problems: Counter[str] = Counter()
        retried: Counter[str] = Counter()
        decided: list[list[float]] = []
        sale, draw, broken = looked
        for end in ends:
            self._timeline.take(int(self._marks["end"]), end["second"], {})
            self._ledger.merge(end["ledger"])
            problems.update(end["problems"])
            retried.update(end["retried"])
            for name in _SUMS:
                counts[name] += end[name]
            if sale is not None:
                sale.take(end["reservations"])
            if draw is not None:
                draw.entered.update(end["entered"])
                draw.perhaps_entered.update(end["perhaps_entered"])
            decided.append(end["decided"])
        self._count_decisions(counts, [one for one in decided if one[0]])
        return Played(
            self._scenario, self._timeline, self._ledger, self._marks, came, counts, problems, retried,
            judged, sale, draw, broken, self._others(),
        )  # fmt: skip

    def _count_decisions(self, counts: Counter[str], decided: list[list[float]]) -> None:
        counts["decided"] = int(sum(one[0] for one in decided))
        if decided:
            self._marks["deciding"] = max(one[2] for one in decided) - min(
                one[1] for one in decided
            )

    def _others(self) -> float | None:
        """Return how busy the machine was with other things while it was played."""
        begin, end = self._marks["play"], self._marks["settle"]
        busy = self._marks["machine"]
        if not busy:
            return None
        own = sum(
            span(self._timeline, name, begin, end)
            for name in ("engine_cpu", "store_cpu", "load_cpu")
        )
        return max(0.0, busy - own) / (end - begin)

    async def _watch(self) -> None:
        """Read the engine's gauges once a second, and show how it is."""
        gauges = Gauges(self._target)
        timeout = aiohttp.ClientTimeout(total=0.8)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                at = int(time.monotonic())
                self._timeline.take(at, {}, gauges.processes() | await gauges.metrics(session))
                self._options.show(self._timeline, at - 2, self._phase)
                await _until(at + 1.02)


def span(timeline: Timeline, gauge: str, begin: float, end: float) -> float:
    """Return by how much a gauge that only grows has grown from `begin` to `end`."""
    values = [
        shown[gauge]
        for at, shown in sorted(timeline.gauges.items())
        if begin - 1 <= at <= end and gauge in shown
    ]
    return float(values[-1] - values[0]) if len(values) > 1 else 0.0


def _together(answers: list[Item]) -> Item:
    """Return how many came in all processes, and in how many seconds."""
    joined = sum(answer["joined"] for answer in answers)
    seconds = max(a["ended"] for a in answers) - min(a["began"] for a in answers)
    return {"joined": joined, "seconds": seconds}


def _accepted(answers: list[Item]) -> tuple[dict[str, int], list[str]]:
    """Return how many messages each room accepted, and the rooms of which that is not known."""
    accepted: Counter[str] = Counter()
    for answer in answers:
        accepted.update(answer["sent"])
        accepted.subtract(answer["refused"])
    return dict(accepted), sorted({room for answer in answers for room in answer["unsure"]})


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
