"""What viewers do: talk, like, give, buy, enter a draw, lose the connection."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from liveroom_loadtest.crowd import Crowd
from liveroom_loadtest.digest import stamp
from liveroom_loadtest.errands import Errand
from liveroom_loadtest.phrases import PHRASES
from liveroom_loadtest.scenario import Danmaku, Flash, Gifts, Likes, Lottery
from liveroom_loadtest.viewer import Viewer


__all__ = ["Acts", "giver_numbers"]

Item = dict[str, Any]

_TICK_S = 0.005


def giver_numbers(viewers: int, gifts: Gifts) -> range:
    """Return which viewers give, spread over all."""
    return range(0, viewers, max(1, viewers // gifts.givers))[: gifts.givers]


class Acts:
    """Everything that the viewers of this process do in the scenario.

    Args:
        crowd: the viewers.
    """

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._rng = crowd.rng
        self._keys = itertools.count(1)
        scenario = crowd.scenario
        everyone = crowd.viewers
        late = scenario.storm.share if scenario.storm else 0.0
        split = len(everyone) - round(len(everyone) * late)
        self.first, self.late = everyone[:split], everyone[split:]
        dropped = scenario.herd.share if scenario.herd else 0.0
        self.herd = self._rng.sample(everyone, round(len(everyone) * dropped))
        self.gifts = self.wanted = 0
        self.entered: set[str] = set()
        self.perhaps_entered: set[str] = set()
        self.reservations: dict[str, int] = {}
        self.decided: list[float] = []
        crowd.on_prompt = self._prompted
        self._bought: set[int] = set()

    async def play(self, began: float) -> None:
        """Do everything, from `began` on, until the scenario's time is over."""
        scenario = self._crowd.scenario
        async with asyncio.TaskGroup() as group:
            for work in self._works(began, began + scenario.seconds):
                group.create_task(work)

    def _works(self, began: float, until: float) -> Iterator[Coroutine[Any, Any, None]]:
        scenario = self._crowd.scenario
        speakers = self._speakers()
        if scenario.danmaku is not None and speakers:
            yield self._at_rate(
                began, until, scenario.danmaku.per_s, self._talker(scenario.danmaku, speakers)
            )
        if scenario.likes is not None and speakers:
            yield self._at_rate(
                began, until, scenario.likes.per_s, self._liker(scenario.likes, speakers)
            )
        if scenario.gifts is not None:
            givers = self._givers(scenario.gifts)
            share = len(givers) / scenario.gifts.givers * self._crowd.part.of
            if givers:
                yield self._at_rate(
                    began, until, scenario.gifts.per_s * share, self._giver(scenario.gifts, givers)
                )
        if scenario.herd is not None:
            yield self._stampede(began + scenario.herd.at_s)
        yield self._rest(until)

    @staticmethod
    async def _rest(until: float) -> None:
        await asyncio.sleep(max(0.0, until - time.monotonic()))

    def _speakers(self) -> list[Viewer]:
        """Return those who are here all the time, in random order."""
        dropped = {viewer.number for viewer in self.herd}
        steady = [viewer for viewer in self.first if viewer.number not in dropped]
        made = steady or list(self.first)
        self._rng.shuffle(made)
        return made

    def _givers(self, gifts: Gifts) -> list[Viewer]:
        numbers = set(giver_numbers(self._crowd.scenario.crowd.viewers, gifts))
        return [viewer for viewer in self.first if viewer.number in numbers]

    async def _at_rate(
        self, began: float, until: float, per_s: float, act: Callable[[], None]
    ) -> None:
        """Do something so many times a second over all processes, this one's share of it."""
        rate, done = per_s / self._crowd.part.of, self._rng.random()
        await asyncio.sleep(max(0.0, began - time.monotonic()))
        while (now := time.monotonic()) < until:
            due = (now - began) * rate
            while done < due:
                act()
                done += 1
            await asyncio.sleep(_TICK_S)

    # Talking.

    def _talker(self, danmaku: Danmaku, speakers: list[Viewer]) -> Callable[[], None]:
        crowd, phrases = self._crowd, itertools.cycle(PHRASES)
        turns = zip(itertools.count(), itertools.cycle(speakers))

        def talk() -> None:
            number, viewer = next(turns)
            if not viewer.here:
                return
            d = {"text": stamp(time.monotonic_ns(), next(phrases))}
            crowd.sent[viewer.room] += 1
            crowd.second.sent += 1
            if number % danmaku.ask_every:
                viewer.tell("danmaku.send", d)
            else:
                viewer.ask("danmaku.send", d, self._talked)

        return talk

    def _talked(self, viewer: Viewer, item: Item | None) -> None:
        if item is None:
            self._crowd.unsure.add(viewer.room)
        elif "err" in item:
            self._crowd.said_no(viewer, item["err"])

    def _liker(self, likes: Likes, speakers: list[Viewer]) -> Callable[[], None]:
        turns = itertools.cycle(reversed(speakers))

        def like() -> None:
            next(turns).ask("like.send", {"n": self._rng.randint(1, 10)}, self._heard)

        return like

    def _heard(self, viewer: Viewer, item: Item | None) -> None:
        if item is not None and "err" in item:
            self._crowd.explain(item["err"]["code"])

    # What moves money or goods.

    def _key(self) -> str:
        return f"{self._crowd.part.run}-{self._crowd.part.number}-{next(self._keys)}"

    def _giver(self, gifts: Gifts, givers: list[Viewer]) -> Callable[[], None]:
        turns = itertools.cycle(givers)

        def given(item: Item, sure: bool) -> None:
            if "d" in item:
                self.gifts += 1
            else:
                self._crowd.problem(f"gift.send: {item['err']['code']}")

        def give() -> None:
            d = {"gift": gifts.gift, "n": 1, "combo": False}
            Errand(self._crowd, next(turns), "gift.send", d, self._key(), given).run()

        return give

    # What viewers answer to.

    def _prompted(self, viewer: Viewer, item: Item) -> None:
        scenario = self._crowd.scenario
        if item["ev"] == "flash.started" and scenario.flash is not None:
            self._buy(viewer, item["d"]["sku"], scenario.flash)
        elif item["ev"] == "lottery.opened" and scenario.lottery is not None:
            self._enter(viewer, item["d"]["lottery"], scenario.lottery)

    def _buy(self, viewer: Viewer, sku: str, flash: Flash) -> None:
        if viewer.number in self._bought or self._rng.random() >= flash.buyers:
            return
        self._bought.add(viewer.number)
        self.wanted += 1
        key, answers = self._key(), []

        def decided(item: Item, sure: bool) -> None:
            answers.append(item)
            self.decided.append(time.monotonic())
            self._take_decision(viewer, key, answers)

        d = {"sku": sku, "n": 1, "price": flash.price}
        wait = self._rng.random() * flash.within_s
        for _ in range(1 + (self._rng.random() < flash.repeats)):
            Errand(self._crowd, viewer, "flash.reserve", d, key, decided).run(wait)

    def _take_decision(self, viewer: Viewer, key: str, answers: list[Item]) -> None:
        newest = answers[-1]
        if "err" in newest:
            if newest["err"]["code"] not in ("sold_out", "limit_reached", "ended", "too_early"):
                self._crowd.problem(f"flash.reserve: {newest['err']['code']}")
            return
        granted = {item["d"]["reservation"] for item in answers if "d" in item}
        if len(granted) > 1:
            self._crowd.ledger.fault(f"{viewer.user}: two reservations under {key}: {granted}")
        for name in granted:
            self.reservations[name] = newest["d"]["n"]

    def _enter(self, viewer: Viewer, lottery: str, draw: Lottery) -> None:
        if self._rng.random() >= draw.share:
            return

        def entered(item: Item, sure: bool) -> None:
            if "d" in item:
                self.entered.add(viewer.user)
            elif item["err"]["code"] != "ended":
                self._crowd.problem(f"lottery.enter: {item['err']['code']}")
            elif not sure:
                self.perhaps_entered.add(viewer.user)

        wait = self._rng.random() * draw.seconds * 0.7
        Errand(self._crowd, viewer, "lottery.enter", {"lottery": lottery}, "", entered).run(wait)

    async def _stampede(self, at: float) -> None:
        """Have the network of a share of the viewers end, and all of them come back."""
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        crowd = self._crowd
        gone = [viewer for viewer in self.herd if viewer.here]
        if len(gone) == len(crowd.viewers):  # some of them were about to say something
            crowd.unsure.update(viewer.room for viewer in gone)
        for viewer in gone:
            viewer.hang_up(rudely=True)
        async with asyncio.TaskGroup() as group:
            for viewer in gone:
                group.create_task(crowd.come_back(viewer))
