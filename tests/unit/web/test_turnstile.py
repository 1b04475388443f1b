"""The order in which those pass who come at once."""

from __future__ import annotations

import asyncio

from liveroom.web.turnstile import Turnstile


async def come(turnstile: Turnstile, passed: list[int], number: int) -> None:
    """Pass, and leave the number behind."""
    await turnstile.wait()
    passed.append(number)


async def test_a_few_pass_at_once() -> None:
    """Nobody waits while there are places left in this turn."""
    passed: list[int] = []
    turnstile = Turnstile(3)
    for number in range(3):
        await come(turnstile, passed, number)
    assert passed == [0, 1, 2]


async def test_many_pass_in_turns_and_in_order() -> None:
    """So many per turn of the loop; who comes later stands behind those who wait."""
    passed: list[int] = []
    turnstile = Turnstile(3)
    tasks = [asyncio.create_task(come(turnstile, passed, n)) for n in range(8)]
    seen = []
    while len(passed) < 9:
        await asyncio.sleep(0)
        seen.append(len(passed))
        if len(passed) == 3 and len(tasks) == 8:
            tasks.append(asyncio.create_task(come(turnstile, passed, 8)))
    assert passed == list(range(9))
    assert max(b - a for a, b in zip([0, *seen], seen, strict=False)) == 3


async def test_who_is_cancelled_takes_no_place() -> None:
    """The next one passes in its stead."""
    passed: list[int] = []
    turnstile = Turnstile(1)
    tasks = [asyncio.create_task(come(turnstile, passed, n)) for n in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert passed == [0, 2, 3]


async def test_after_a_crowd_it_is_open_again() -> None:
    """No turn goes on when nobody waits."""
    passed: list[int] = []
    turnstile = Turnstile(2)
    await asyncio.gather(*(come(turnstile, passed, n) for n in range(5)))
    for _ in range(3):
        await asyncio.sleep(0)
    await come(turnstile, passed, 5)
    await come(turnstile, passed, 6)
    assert passed == list(range(7))
