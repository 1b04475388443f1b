"""Visits in the store: whatever the order in which workers tell of them, the sums are those of a batch."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from counting import Shop, counting
from liveroom import Op
from liveroom_plugins.counters import Record
from liveroom_plugins.counters.batch import recompute


HOUR_MS = 3_600_000
STEP_MS = 8000  # a worker that is silent for longer than ten seconds is taken for dead
PEOPLE, WORKERS = 60, 3
ONLINE = ("peak_online", "avg_online")
EXACT = ("viewers", "watch_s", "avg_watch_s")
SKETCHED = ("median_watch_s", "p90_watch_s")


@pytest.fixture
async def shop(embedded_url: str) -> AsyncIterator[Shop]:
    """A worker with counters."""
    async with counting(embedded_url) as made:
        yield made


class Teller:
    """A worker as the store sees it; its clock is that of the session, but for the store's delay."""

    def __init__(self, shop: Shop, room: str, name: str, opened: int) -> None:
        self.shop, self.room, self.name, self.opened = shop, room, name, opened
        self.number = 0
        self.here: set[str] = set()
        self.records: list[Record] = []

    async def tell(self, rows: list[list[Any]], now: int) -> None:
        """Tell of visits, `now` ms after the opening."""
        self.number += 1
        before = set(self.here)
        for user, _, _, past in rows:
            (self.here.add if past < 0 else self.here.discard)(user)
        body = {
            "w": self.name,
            "s": str(self.opened),
            "q": self.number,
            "m": now,
            "here": len(self.here),
            "known": self.number > 1,
        }
        body |= {"v": rows} if rows else {}
        op = Op("counters.add", "", body)
        (reply,) = (await self.shop.worker.node.hub.commit(self.room, [op])).replies
        assert reply[:1] == b"+", reply
        self.record(rows, before, orjson.loads(reply[1:]))

    def record(self, rows: list[list[Any]], here: set[str], answer: dict[str, Any]) -> None:
        """Keep what an archive has of visits: by the time as the store has taken it."""
        for user, source, first, past in rows:
            known: dict[str, Any] = {"ts": answer["now"], "user": user, "via": self.name}
            if user not in here:
                at = first + answer["off"]
                self.records.append(Record(kind="enter", source=source, at=at, **known))
            here.add(user)
            if past >= 0:
                self.records.append(Record(kind="leave", at=past + answer["off"], **known))
                here.discard(user)


async def opened_room(shop: Shop, room: str) -> int:
    """Open a room; return its session."""
    await shop.worker.open_room(room)
    _, answer = await shop.get(room)
    session: int = answer["session"]
    return session


async def at_time(shop: Shop, opened: int, now: int) -> None:
    """Set the store's clock to a moment of the session."""
    (answer,) = [(await shop.worker.node.hub.commit("~clock", [])).now_ms]
    shop.worker.node.store.skew_ms += opened + now - answer


def visits_of(rng: random.Random, most: int) -> list[tuple[str, str, int, int]]:
    """Return (user, worker, from, past): tabs that overlap, touch, follow or repeat each other."""
    visits = []
    for number in range(PEOPLE):
        for worker in range(WORKERS):
            at = rng.randrange(HOUR_MS // 2)
            for _ in range(rng.choice([0, 1, 1, 2, most])):
                past = at + rng.choice([0, 1, 999, 1000, rng.randrange(1, 400_000)])
                visits.append((f"u{number}", f"w{worker}", at, min(past, HOUR_MS)))
                at = past + rng.choice([0, 1, 500, rng.randrange(1, 60_000)])
                if at >= HOUR_MS:
                    break
    return visits


async def expect_equal(
    shop: Shop, room: str, tellers: list[Teller], exact: tuple[str, ...]
) -> None:
    """Compare what stands for visits with what they add up to."""
    await shop.check(room)
    _, answer = await shop.get(room)
    live = answer["metrics"]
    records = [record for teller in tellers for record in teller.records]
    batch = recompute(records, answer["session"], answer["now"], closed=False)["metrics"]
    assert {name: live[name] for name in exact} == {name: batch[name] for name in exact}
    for name in SKETCHED:
        assert live[name] == pytest.approx(batch[name], rel=0.0101, abs=0.001)


@pytest.mark.parametrize("seed", range(3))
async def test_visits_told_when_they_are_over_are_joined(shop: Shop, room: str, seed: int) -> None:
    """Rows of whole visits, an hour late, in any order of workers and users.

    Who was online when cannot be known any more, as those minutes are folded; for how long is.
    """
    rng = random.Random(seed)
    opened = await opened_room(shop, room)
    visits = visits_of(rng, most=5)  # of one viewer at most 15, as many as are kept apart
    tellers = [Teller(shop, room, f"w{n}", opened) for n in range(WORKERS)]
    await at_time(shop, opened, HOUR_MS)
    for teller in rng.sample(tellers, len(tellers)):
        mine: list[list[Any]] = [
            [u, "", first, past] for u, w, first, past in visits if w == teller.name
        ]
        people = sorted({user for user, w, _, _ in visits if w == teller.name})
        users = rng.sample(people, len(people))
        mine.sort(key=lambda row: users.index(row[0]))
        for start in range(0, len(mine), 100):
            await teller.tell(mine[start : start + 100], HOUR_MS)

    await expect_equal(shop, room, tellers, EXACT)


async def test_visits_told_as_they_happen_are_joined(shop: Shop, room: str) -> None:
    """Beginnings and ends apart, minute by minute, while minutes are folded behind them."""
    rng = random.Random(4)
    opened = await opened_room(shop, room)
    visits = visits_of(rng, most=25)
    tellers = [Teller(shop, room, f"w{n}", opened) for n in range(WORKERS)]
    for now in range(STEP_MS, HOUR_MS + STEP_MS, STEP_MS):
        await at_time(shop, opened, now)
        for teller in rng.sample(tellers, WORKERS):
            rows = []
            for user, worker, first, past in visits:
                if worker == teller.name and now - STEP_MS < past <= now:
                    rows.append([user, "", first, past])
                elif worker == teller.name and now - STEP_MS < first <= now:
                    rows.append([user, "", first, -1])
            await teller.tell(rows, now)

    await expect_equal(shop, room, tellers, EXACT + ONLINE)


async def test_visits_on_a_worker_that_died_end_when_it_told_last(shop: Shop, room: str) -> None:
    """However many they were, page after page; those on another worker go on."""
    opened = await opened_room(shop, room)
    dead, alive = (Teller(shop, room, name, opened) for name in ("dead", "alive"))
    people = [f"u{n}" for n in range(450)]
    await at_time(shop, opened, 1000)
    for start in range(0, 450, 150):
        await dead.tell([[user, "", 1000, -1] for user in people[start : start + 150]], 1000)
    await alive.tell([["u7", "", 1000, -1], ["u8", "", 1000, -1]], 1000)
    for now in (9000, 17_000):
        await at_time(shop, opened, now)
        await alive.tell([], now)
    for _ in range(4):
        await shop.worker.node.hub.commit(room, [])

    await shop.check(room)
    figures = await shop.figures(room, viewers=450, online=2)
    assert figures["watch_s"] == pytest.approx(2 * 16, abs=450 * 0.2 + 2)

    rows = [[user, "", 1000, 5000] for user in people[:3]]
    await dead.tell(rows, 17_000)
    after = await shop.figures(room, viewers=450, online=2)
    assert after["watch_s"] - figures["watch_s"] == pytest.approx(3 * 4, abs=2.5)
    await shop.check(room)


async def test_visits_told_twice_or_of_no_session_count_for_nothing(shop: Shop, room: str) -> None:
    """A number that is known is passed over; a session that is not is said to be gone."""
    opened = await opened_room(shop, room)
    teller = Teller(shop, room, "w0", opened)
    await at_time(shop, opened, 5000)
    await teller.tell([["ann", "", 1000, 3000]], 5000)
    teller.number -= 1
    await teller.tell([["bob", "", 1000, 3000]], 5000)
    await shop.figures(room, viewers=1, watch_s=2.0)

    stranger = Op("counters.add", "", {"w": "w0", "s": "123", "q": 9, "m": 1, "here": 0})
    (reply,) = (await shop.worker.node.hub.commit(room, [stranger])).replies
    assert reply == b'+{"gone":true}'
