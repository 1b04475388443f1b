"""The arithmetic of one huge room: how many workers, and what the store between them must carry.

Pure: prices go in, figures come out. Worker counts are computed; the store is simulated, beat by
beat, as a queue with one server, because all workers publish at the same moment of the beat.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace


__all__ = ["TOPOLOGIES", "Layout", "Need", "Prices", "Room", "Traffic", "need", "simulate"]


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost, in CPU microseconds and bytes, as measured.

    Attributes:
        write_us: a worker writes one frame to one more viewer.
        talk_us: a worker takes one more message from a viewer, most being shed.
        block_us: a worker takes one publication of the room, without its messages.
        item_us: one more message in it.
        commit_us: the store runs one beat's commit and publishes it to one worker.
        each_us: the store sends a publication to one more worker.
        per_kb_us: a thousand more bytes of it.
        block_bytes: a publication without messages.
        item_bytes: one more message in it.
        viewer_bytes_s: what one viewer is sent per second at the room's budget.
    """

    write_us: float
    talk_us: float
    block_us: float
    item_us: float
    commit_us: float
    each_us: float
    per_kb_us: float
    block_bytes: float
    item_bytes: float
    viewer_bytes_s: float


@dataclass(frozen=True, slots=True)
class Room:
    """What is asked for.

    Args:
        viewers: in the one room.
        beat_s: between two deliveries.
        talk: messages per viewer and second.
        budget_s: messages/s that each viewer is shown; a worker publishes no more than that.
        worker_use: the share of a core that a worker may use.
        store_use: the same of a store, the beat's burst being waited out.
    """

    viewers: int
    beat_s: float
    talk: float = 0.001
    budget_s: float = 30.0
    worker_use: float = 0.6
    store_use: float = 0.5


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one store was given and how it did, over the simulated time.

    Attributes:
        published: publications per second.
        busy: share of its core; above 1 it falls behind for ever.
        out_bytes_s: what it sends.
        p99_s: from the beat's moment until a publication has left.
        items: messages per second in all publications.
    """

    published: float
    busy: float
    out_bytes_s: float
    p99_s: float
    items: float


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to connect workers, and whether the engine has it."""

    name: str
    built: bool
    about: str


TOPOLOGIES: dict[str, Layout] = {
    "flat": Layout("flat", True, "all workers on one channel of one store"),
    "shared budget": Layout(
        "shared budget",
        False,
        "flat, each worker publishes its share of the room's budget only, counts of the rest once a second",
    ),
    "channels": Layout(
        "channels", True, "the room is cut into rooms of their own, each on a store of its own"
    ),
    "relays": Layout(
        "relays",
        False,
        "channels, and one relay for each: what the others say comes merged, a beat later",
    ),
}
"""Ways to carry one room."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a room needs in a layout; `why` says what does not hold, if anything.

    Attributes:
        workers: of one core each.
        groups: channels, each with a store.
        store: the busiest store.
        inbound: publications per second that a worker takes.
        inbound_use: share of the worker's core for them.
        added_s: delay that the layout adds to a message from the farthest worker, at p99.
        out_bits_s: to all viewers together.
    """

    room: Room
    layout: Layout
    workers: int
    groups: int
    store: Traffic
    inbound: float
    inbound_use: float
    added_s: float
    out_bits_s: float
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether every part stays within its limit."""
        return not self.why


@dataclass(frozen=True, slots=True)
class _Group:
    """Workers on one store."""

    workers: int
    talk_s: float  # messages/s of one worker before its budget
    budget_s: float  # messages/s that one worker publishes at most
    counts_s: float = 0.0  # how long counts of what was shed wait for a message to go with
    merged_items_s: float = 0.0  # messages/s that a relay puts in, one publication a beat


_BEATS = 40
_JITTER_S = 0.003  # event loops and the network spread what is due at one moment
_MAX_GROUPS = 4096


def simulate(prices: Prices, group: _Group, beat_s: float, seed: int = 7) -> Traffic:
    """Return how a store does with the publications of its workers."""
    dice = random.Random(seed)
    free, served, size_all, items_all, count = 0.0, 0.0, 0.0, 0.0, 0
    waits: list[float] = []
    most = max(1, round(group.budget_s * beat_s))
    for beat in range(_BEATS):
        due = beat * beat_s
        blocks = [
            float(min(most, size))
            for size in (_said(dice, group, beat_s) for _ in range(group.workers))
            if size is not None
        ]
        if group.merged_items_s:
            blocks.append(group.merged_items_s * beat_s)
        arrivals = sorted(due + dice.random() * _JITTER_S for _ in blocks)
        for at, items in zip(arrivals, blocks, strict=True):
            size = prices.block_bytes + items * prices.item_bytes
            each = prices.each_us + prices.per_kb_us * size / 1000
            cost = (prices.commit_us + (group.workers - 1) * each) / 1e6
            free = max(free, at) + cost
            served += cost
            size_all += size * group.workers
            items_all += items
            count += 1
            waits.append(free - due)
    seconds = _BEATS * beat_s
    waits.sort()
    p99 = waits[round(0.99 * (len(waits) - 1))] if waits else 0.0
    return Traffic(count / seconds, served / seconds, size_all / seconds, p99, items_all / seconds)


def _said(dice: random.Random, group: _Group, beat_s: float) -> int | None:
    """Return how many messages a worker publishes in a beat; None: nothing, no counts either."""
    said = _poisson(dice, group.talk_s * beat_s)
    if group.talk_s > group.budget_s:
        share = group.budget_s / group.talk_s
        kept = sum(dice.random() < share for _ in range(said))
        counts_go = group.counts_s <= beat_s or dice.random() < beat_s / group.counts_s
        return kept if kept or (said and counts_go) else None
    return said or None


def _poisson(dice: random.Random, expected: float) -> int:
    if expected > 30:
        return max(0, round(dice.gauss(expected, math.sqrt(expected))))
    limit, product, count = math.exp(-expected), dice.random(), 0
    while product > limit:
        product *= dice.random()
        count += 1
    return count


def need(prices: Prices, room: Room, layout: Layout) -> Need:
    """Return the smallest number of groups and workers that holds; else the nearest miss."""
    groups = 1
    found = _with_groups(prices, room, layout, groups)
    if layout.name in ("flat", "shared budget"):
        return found
    while not found.holds and groups < _MAX_GROUPS:
        groups = max(groups + 1, round(groups * 1.25))
        found = _with_groups(prices, room, layout, groups)
    return found


def _with_groups(prices: Prices, room: Room, layout: Layout, groups: int) -> Need:
    """Find the workers for a number of groups: what they must take grows with their number."""
    workers, traffic, inbound_use = _workers(prices, room, 0.0), None, 0.0
    for _ in range(8):
        group = _group(room, layout, workers, groups)
        traffic = simulate(prices, group, room.beat_s)
        inbound_use = (traffic.published * prices.block_us + traffic.items * prices.item_us) / 1e6
        more = _workers(prices, room, inbound_use)
        if more <= workers or inbound_use > room.worker_use / 2:  # more would only make it worse
            break
        workers = more
    assert traffic is not None
    root = _root(prices, room, layout, groups)
    busiest = max((traffic, root), key=lambda t: t.busy) if root is not None else traffic
    added = traffic.p99_s + (root.p99_s + room.beat_s if root is not None else 0.0)
    found = Need(
        room, layout, workers, groups, busiest, traffic.published, inbound_use, added,
        room.viewers * prices.viewer_bytes_s * 8,
    )  # fmt: skip
    return replace(found, why=_why(found))


def _workers(prices: Prices, room: Room, inbound_use: float) -> int:
    """Return how many workers write to all viewers in what others' messages leave them."""
    writing = room.viewers * prices.write_us / room.beat_s / 1e6
    reading = room.viewers * room.talk * prices.talk_us / 1e6
    left = max(0.05, room.worker_use - inbound_use)
    return math.ceil((writing + reading) / left)


def _group(room: Room, layout: Layout, workers: int, groups: int) -> _Group:
    size = math.ceil(workers / groups)
    talk = room.viewers * room.talk / workers
    if layout.name == "shared budget":
        return _Group(size, talk, room.budget_s / workers, counts_s=1.0)
    if layout.name == "relays" and groups > 1:
        # The relay is one more subscriber; it puts in one block a beat, of the whole budget.
        return _Group(size + 1, talk, room.budget_s, merged_items_s=room.budget_s)
    return _Group(size, talk, room.budget_s)


def _root(prices: Prices, room: Room, layout: Layout, groups: int) -> Traffic | None:
    """Return the traffic of the store between relays: one merged block of each, every beat."""
    if layout.name != "relays" or groups == 1:
        return None
    said = room.viewers * room.talk / groups
    return simulate(prices, _Group(groups, said, room.budget_s), room.beat_s)


def _why(found: Need) -> str:
    room, why = found.room, []
    if found.store.busy > room.store_use:
        why.append("the store is full")
    elif found.store.p99_s > room.beat_s / 2:
        why.append("publications leave after half of the beat")
    if found.inbound_use > room.worker_use / 2:
        why.append("workers are busy with each other")
    return ", ".join(why)
