"""One danmaku through decoding, limits, inspection and encoding; see bench/one_command.py."""

from __future__ import annotations

from collections.abc import Iterable

from bench.child import Child
from bench.report import Bar, Reading
from bench.stage import Bench
from liveroom.store.embedded import EmbeddedServer


__all__ = ["run"]

BAR = Bar("<= 60 us", 60.0)


def run(bench: Bench) -> Iterable[Reading]:
    """Measure both codecs, and a command that is refused."""
    speakers = bench.pick(1500, 300)
    with (
        EmbeddedServer(None) as store,
        Child.module(
            "bench.one_command",
            url=store.url,
            core=bench.cores.worker,
            speakers=speakers,
        ) as child,
    ):
        found = child.ask("run", 60)
    yield Reading(
        what="one danmaku through decode, limits, inspect, encode",
        bar=BAR.text,
        measured=f"{found['json_us']:.1f} us JSON, {found['msgpack_us']:.1f} us MessagePack",
        reached=BAR.verdict(max(found["json_us"], found["msgpack_us"])),
        beside=f"msgspec decode + orjson encode alone: {found['codec_us']:.1f} us",
        values=found,
        notes=[
            (
                f"with a reply wanted {found['reply_us']:.1f} us; refused for its rate"
                f" {found['refused_us']:.1f} us; {found['messages']:,} messages, cheapest quarter"
                f" {found['json_low_us']:.1f} us; commit and delivery are not in"
            )
        ],
    )
