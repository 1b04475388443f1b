"""What one shared deflate block per frame saves and costs, against one per connection."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable

from bench.load import stamped
from bench.report import Reading
from bench.stage import Bench
from liveroom.protocol.items import Item, event_item, frame_of


__all__ = ["run"]

_SIZES = (3, 20, 60)  # danmaku per frame: a quiet beat, 200/s at 100 ms, a flood
_VIEWERS = 500


def run(bench: Bench) -> Iterable[Reading]:
    """Measure frames of both codecs."""
    seconds = bench.pick(0.4, 0.1)
    for variant, codec in ((0, "JSON"), (1, "MessagePack")):
        for size in _SIZES:
            yield _reading(_batch(size), size, variant, codec, seconds)


def _reading(items: list[Item], size: int, variant: int, codec: str, seconds: float) -> Reading:
    plain = frame_of(items, variant)
    small = frame_of(items, variant | 2)
    build = _cost(lambda: frame_of(items, variant), seconds)
    both = _cost(lambda: frame_of(items, variant | 2), seconds)
    stream = zlib.compressobj(3, zlib.DEFLATED, -15)
    own = _cost(lambda: stream.compress(plain) + stream.flush(zlib.Z_SYNC_FLUSH), seconds)
    saved = 1 - len(small) / len(plain)
    return Reading(
        what=f"shared deflate, {codec}, {size} danmaku in a frame",
        bar="-",
        measured=f"{len(plain):,} -> {len(small):,} B (-{saved:.0%}); {both - build:.0f} us a frame",
        beside=f"per connection: {own:.0f} us for each viewer;"
        f" shared by {_VIEWERS}: {(both - build) / _VIEWERS:.2f} us",
        values={
            "plain_bytes": len(plain),
            "deflated_bytes": len(small),
            "frame_us": build,
            "deflate_us": both - build,
            "own_stream_us": own,
        },
    )


def _batch(size: int) -> list[Item]:
    return [
        event_item(
            "danmaku",
            {
                "id": f"9f3c01ab-{n}",
                "user": {"id": f"u{n * 7919 % 5000}", "name": f"Viewer {n}", "role": "viewer"},
                "text": stamped(n),
                "mode": "scroll",
                "color": 0xFFFFFF,
            },
            1_760_000_000_000 + n,
        )
        for n in range(size)
    ]


def _cost(work: Callable[[], object], seconds: float) -> float:
    """Return CPU microseconds of one call."""
    work()
    count, began, end = 0, time.process_time(), time.process_time() + seconds
    while (now := time.process_time()) < end:
        for _ in range(20):
            work()
        count += 20
    return (now - began) / count * 1e6
