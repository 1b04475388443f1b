"""The blocks of ephemeral items: what they carry, and how a lost one is noticed."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from liveroom.core.lanes import Ephemeral, Lanes
from liveroom.core.shedding import FairShedder
from liveroom.hub.ingress import Block, Hearing, Ingress, _pack_block, unpack_block
from liveroom.protocol.items import Item


def _block(totals: Counter[str], items: int, shed: int = 0, since: int = 1000) -> Block:
    """The next block of a worker whose running totals are these, and who began to speak then."""
    said = [Ephemeral("danmaku", "u", "s", 1.0, False, Item(b'{"n":%d}' % n)) for n in range(items)]
    totals.update({"danmaku": items + shed})
    counts = {"danmaku": shed} if shed else {}
    return unpack_block(_pack_block(Block(said, counts, totals, since)))


def test_block_survives_packing() -> None:
    """Items, counts and totals arrive as they were sent."""
    block = _block(Counter(), 2, shed=3)

    assert [e.item.json for e in block.items] == [b'{"n":0}', b'{"n":1}']
    assert block.counts == {"danmaku": 3}
    assert block.totals == {"danmaku": 5}
    assert block.since == 1000


def test_hearing_counts_what_a_lost_block_held() -> None:
    """A block that never came, shown and shed items alike, is the difference of the totals."""
    totals, hearing = Counter[str](), Hearing()
    assert hearing.missed("w1", _block(totals, 4)) == {}
    assert hearing.missed("w1", _block(totals, 2, shed=1)) == {}

    _block(totals, 5, shed=7)  # lost on the way

    assert hearing.missed("w1", _block(totals, 1)) == {"danmaku": 12}
    assert hearing.missed("w1", _block(totals, 1)) == {}


def test_hearing_keeps_workers_apart_and_takes_a_fresh_start() -> None:
    """A worker's first block sets its base; one that loaded the room anew owes nothing."""
    hearing, first, second = Hearing(), Counter[str](), Counter[str]()
    hearing.missed("w1", _block(first, 9))

    assert hearing.missed("w2", _block(second, 1)) == {}
    assert hearing.missed("w1", _block(Counter(), 1, since=2000)) == {}


def test_hearing_counts_what_was_lost_of_those_who_began_later() -> None:
    """Whoever first spoke when all was heard already lost what is missing; of others nobody knows."""
    hearing, late, early = Hearing(), Counter[str](), Counter[str]()
    hearing.begin(5000)
    hearing.begin(9000)  # a hole was filled: that is no beginning
    for totals in (late, early):
        _block(totals, 7)  # lost on the way

    assert hearing.missed("w1", _block(late, 1, since=6000)) == {"danmaku": 7}
    assert hearing.missed("w2", _block(early, 1, since=4000)) == {}
    assert hearing.missed("w2", _block(early, 1, since=4000)) == {}


def test_hearing_gives_up_a_block_that_was_overtaken() -> None:
    """It was counted as missed: shown as well, it would be told twice."""
    totals, hearing = Counter[str](), Hearing()
    hearing.missed("w1", _block(totals, 1))
    overtaken, next_one = _block(totals, 2), _block(totals, 1)

    assert hearing.missed("w1", next_one) == {"danmaku": 2}
    assert hearing.missed("w1", overtaken) is None
    assert hearing.missed("w1", _block(totals, 1)) == {}


class Grid:
    """A grid whose next moment never comes in a test."""

    beat_s = 3600.0

    def next(self, now: float) -> float:
        """Return it."""
        return now + self.beat_s

    def server_ms(self, now: float) -> int:
        """Return the store's time."""
        return round(now * 1000)


async def test_ingress_a_flush_alone_makes_nobody_wait() -> None:
    """Figures that are flushed every second must not delay a quiet room's next message by a beat."""
    sent: list[Any] = []
    flushed: list[int] = []
    batcher: Any = SimpleNamespace(broadcast=sent.append)
    grid: Any = Grid()
    ingress = Ingress(
        batcher, grid, Lanes(lambda kind: FairShedder[Any](1e6)),
        keep=lambda kind: 0, flush=lambda: flushed.append(1), on_shed=lambda items: None,
    )  # fmt: skip
    ingress.mark()
    await asyncio.sleep(0)
    assert (len(flushed), sent) == (1, [])
    for wanted in (1, 1):  # at once, then with the beat
        ingress.add(Ephemeral("danmaku", "u", "s", 1.0, False, Item(b"{}")))
        await asyncio.sleep(0)
        assert len(sent) == wanted
