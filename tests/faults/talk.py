"""What is said while something breaks, and whether each of it was shown or counted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from faults.fan import Fan
from faults.people import Ledger, Person


__all__ = ["Account", "Talker", "account", "last_words"]

_MOST_TRIES = 16
"""To speak at every worker behind one address: each new connection comes to any of them."""
_COME_S = 5.0


class Talker(Person):
    """Says one thing after the other, as fast as a person may."""

    pace_s = 0.75  # below what the engine takes for a flood

    async def work(self, working: Callable[[], bool]) -> None:
        """Talk while there is work."""
        for n in itertools.count(1):
            if not working():
                return
            await self.say(f"line {n} of {self.user}")
            await asyncio.sleep(self.pace_s)

    async def say(self, text: str) -> str | None:
        """Say something; return which worker accepted it, None if it is not known that one did."""
        self.ledger.tried.add(text)
        reply = await self.command("danmaku.send", text=text)
        if reply is None:
            return None
        if "err" in reply:
            self.ledger.tried.discard(text)
            return None
        worker: str = reply["d"]["id"].rpartition("-")[0]
        self.ledger.said[text] = worker
        return worker


async def last_words(
    ledger: Ledger, room: str, fronts: Callable[[], Sequence[str]], session: aiohttp.ClientSession
) -> set[str]:
    """Have every worker say something more; return those that could: the others are no more.

    What a worker had said and was lost is counted with what it says next.
    """
    spoke: set[str] = set()
    for n in range(_MOST_TRIES):
        if not set(ledger.said.values()) - spoke:
            break
        talker = Talker(ledger, room, f"last{n}", fronts)
        talker.turn = n
        living = asyncio.create_task(talker.live(session))
        try:
            async with asyncio.timeout(_COME_S):
                await talker.here.wait()
            spoke |= {await talker.say(f"last words, the {len(ledger.tried)}th") or ""}
        except TimeoutError:
            continue
        finally:
            await talker.leave()
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
    return spoke


@dataclass
class Account:
    """What became of what was accepted, for one viewer who was there all the time, greeted once.

    Attributes:
        shown: how much of it the viewer was shown.
        shed: how much the viewer was told that it was not shown.
        uncounted: how much is missing and was not told.
        excess: how much more was told than can be missing.
        doubled: how much was shown twice.
        gone: how much is missing of what workers accepted that are no more.
    """

    shown: int
    shed: int
    uncounted: int
    excess: int
    doubled: int
    gone: int

    @property
    def holds(self) -> bool:
        """Whether accepted = shown + shed, but for what a worker took along that was killed."""
        return self.uncounted <= self.gone and not self.doubled and not self.excess


def account(ledger: Ledger, fan: Fan, spoke: set[str]) -> Account:
    """Compare what was accepted with what a viewer was shown and told.

    Whether something was accepted is not always known: then it may be among what was shed.
    """
    missing = [text for text in ledger.said if not fan.shown[text]]
    perhaps = [t for t in ledger.tried - ledger.said.keys() if not fan.shown[t]]
    return Account(
        shown=len(ledger.said) - len(missing),
        shed=fan.shed,
        uncounted=max(0, len(missing) - fan.shed),
        excess=max(0, fan.shed - len(missing) - len(perhaps)),
        doubled=sum(count > 1 for count in fan.shown.values()),
        gone=sum(ledger.said[text] not in spoke for text in missing),
    )
