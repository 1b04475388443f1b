"""Measures the prices that `bench.scaling` computes with: a worker, its store, and a bare store."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import redis

from bench.fleet import Fleet, Seen
from bench.machine import Cores
from bench.pubsub import Fanout, measure_fanout
from bench.scale_model import Prices


__all__ = ["Measured", "measure_prices"]

_ROOM = "bench"
_CHANNEL = f"lr:{{{_ROOM}}}"
_BUDGET = 30.0  # messages/s that a viewer is shown: the engine's default
_BLOCKS = ((1, 400.0), (30, 150.0))  # messages in a replayed publication, and how many a second


@dataclass(frozen=True, slots=True)
class Measured:
    """The prices, and what else of the run stands in the report."""

    prices: Prices
    fanout: Fanout
    notes: list[str]


def measure_prices(cores: Cores, *, quick: bool) -> Measured:
    """Measure; half a minute, less if quick."""
    fanout = measure_fanout(cores, 0.3 if quick else 1.0)
    seconds = 1.5 if quick else 4.0
    few, many = (100, 500) if quick else (200, 2200)
    with Fleet.started(cores, beat_ms=100) as fleet:
        fleet.open([_ROOM])
        small = _talked(fleet, few, _BUDGET, seconds)
        lively = _talked(fleet, 0, few * 1.2, seconds)
        large = _talked(fleet, many - few, _BUDGET, seconds)
        payload = _publication(fleet)
        fleet.leave()
        fleet.join(_ROOM, 1, probe_every=1)
        taken = [_replayed(fleet, payload, n, rate, seconds / 2) for n, rate in _BLOCKS]
    write = max(0.1, (large.cpu - small.cpu) / (large.frames - small.frames) * 1e6)
    (one, per_one, one_bytes), (thirty, per_thirty, thirty_bytes) = taken
    item = max(0.0, (per_thirty - per_one) / (thirty - one))
    item_bytes = (thirty_bytes - one_bytes) / (thirty - one)
    commits = small.commits + large.commits
    prices = Prices(
        write_us=write,
        talk_us=max(0.0, _talk(small, lively, write)),
        block_us=max(0.0, per_one - item),
        item_us=item,
        commit_us=(small.store_cpu + large.store_cpu) / max(1.0, commits) * 1e6,
        each_us=fanout.each_us,
        per_kb_us=fanout.per_kb_us,
        block_bytes=one_bytes - item_bytes,
        item_bytes=item_bytes,
        viewer_bytes_s=large.size / large.seconds / many,
    )
    notes = [_note(few, small), _note(few, lively), _note(many, large)]
    return Measured(prices, fanout, notes)


def _talk(calm: Seen, lively: Seen, write_us: float) -> float:
    """Return what one more message costs; most are shed, as in a huge room."""
    used = (lively.cpu / lively.seconds - calm.cpu / calm.seconds) * 1e6
    written = (lively.frames / lively.seconds - calm.frames / calm.seconds) * write_us
    return (used - written) / (lively.sent / lively.seconds - calm.sent / calm.seconds)


def _note(viewers: int, seen: Seen) -> str:
    fault = f"; {seen.fault}" if seen.fault else ""
    return (
        f"{viewers} viewers, {seen.sent / seen.seconds:.0f} messages/s, beat 100 ms: worker"
        f" {seen.cpu / seen.seconds:.0%} and store {seen.store_cpu / seen.seconds:.0%} of a core,"
        f" {seen.commits / seen.seconds:.0f} commits/s{fault}"
    )


def _talked(fleet: Fleet, more: int, rate: float, seconds: float) -> Seen:
    fleet.hush()
    fleet.join(_ROOM, more)
    fleet.talk({_ROOM: rate})
    return fleet.window(seconds)


def _publication(fleet: Fleet) -> list[Any]:
    """Return one of the room's publications while it talks, unpacked."""
    with _client(fleet) as client, client.pubsub() as heard:
        heard.ssubscribe(_CHANNEL)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            message = heard.get_sharded_message(timeout=1)
            if message is None or message["type"] != "smessage":
                continue
            parts: list[Any] = msgpack.unpackb(message["data"], raw=True)
            if parts[9]:
                return parts
    raise TimeoutError("the room published nothing")


def _replayed(
    fleet: Fleet, parts: list[Any], items: int, rate: float, seconds: float
) -> tuple[int, float, int]:
    """Publish as another worker would; return messages, CPU us of the worker and bytes of each."""
    payloads = _payloads(parts, items)
    idle = fleet.window(seconds / 2)
    with _client(fleet) as client:
        before, began, count, payload = fleet.cpu(), time.monotonic(), 0, b""
        while time.monotonic() < began + seconds:
            time.sleep(max(0.0, began + count / rate - time.monotonic()))
            payload = next(payloads)
            client.execute_command("SPUBLISH", _CHANNEL, payload)
            count += 1
        time.sleep(0.1)
        used = fleet.cpu() - before - idle.cpu / idle.seconds * (time.monotonic() - began)
    return items, max(0.0, used / count * 1e6), len(payload)


def _payloads(parts: list[Any], items: int) -> Iterator[bytes]:
    """Yield publications of so many messages each, as one worker sends them: its totals grow."""
    rows, _, _, since = msgpack.unpackb(parts[9])
    rows = (rows * items)[:items]
    said = Counter(row[0] for row in rows)
    for nth in itertools.count(1):
        totals = {kind: n * nth for kind, n in said.items()}
        block = msgpack.packb((rows, {}, totals, since))
        yield msgpack.packb([*parts[:6], b"another", *parts[7:9], block, parts[10]],
                            use_bin_type=False)  # fmt: skip


def _client(fleet: Fleet) -> redis.Redis:
    return redis.Redis(unix_socket_path=fleet.socket_path)
