"""Likes: an exact total, and effects that are a counted sample."""

from __future__ import annotations

import asyncio
import random

import harness
from harness import Pair


def shed(client: harness.Client, kind: str) -> int:
    """Return how many items of a kind the client was told that it was not shown."""
    return sum(item["d"].get(kind, 0) for item in client.events("sys.shed"))


async def all_accounted_for(client: harness.Client, sent: int) -> None:
    """Wait until what was shown and what was shed make what was sent."""
    await client.item(lambda _: len(client.events("like")) + shed(client, "like") >= sent)
    assert len(client.events("like")) + shed(client, "like") == sent


async def test_like_total_is_exact_over_two_workers(pair: Pair, room: str) -> None:
    """Every tap counts once wherever it came in; the total only grows and ends exact."""
    first, second = pair
    await first.open_room(room)
    clients = [await worker.join(room, f"u{n}") for n in range(3) for worker in pair]
    taps = [random.Random(7).randint(1, 100) for _ in range(60)]

    await asyncio.gather(
        *(clients[i % len(clients)].ask("like.send", n=n) for i, n in enumerate(taps))
    )

    for client in clients:
        await client.state("likes", lambda d: d["total"] == sum(taps))
        totals = [item["d"]["total"] for item in client.items if item.get("st") == "likes"]
        assert totals == sorted(totals)
    late = await second.join(room)
    assert {"total": sum(taps)} in [s["d"] for s in late.hello["states"] if s["st"] == "likes"]


async def test_like_effects_are_sampled_and_the_rest_is_counted(pair: Pair, room: str) -> None:
    """Shown and shed make what was sent, for everyone; the sender is shown all of its own."""
    first, second = pair
    await first.open_room(room)
    sender, near, far = (
        await first.join(room, "s"), await first.join(room, "n"), await second.join(room, "f"),
    )  # fmt: skip

    sent = 0
    for _ in range(3):
        await sender.send(*({"op": "like.send", "d": {"n": 2}} for _ in range(40)))
        sent += 40

    for client in (near, far):
        await all_accounted_for(client, sent)
        assert shed(client, "like") > 0
        assert client.events("like")[0]["d"] == {"user": "s", "n": 2}
        assert not any("kept" in item for item in client.events("like"))
    await sender.item(lambda _: len(sender.events("like")) == sent)
    await sender.item(lambda _: shed(sender, "like") == shed(near, "like"))
    kept = [item for item in sender.events("like") if item.get("kept")]
    assert len(kept) == shed(sender, "like")
    await sender.state("likes", lambda d: d["total"] == 2 * sent)
    registry = first.node.metrics.registry
    counted = registry.get_sample_value("liveroom_shed_items_total", {"kind": "like"})
    assert counted == shed(near, "like")


async def test_like_refuses_bad_counts(worker: harness.Worker, room: str) -> None:
    """Zero, negative, too many, not whole: a typed error, and the total stays."""
    await worker.open_room(room)
    clients = [
        await worker.join(room, "u"), await worker.join(room, "p", subprotocol=harness.MSGPACK),
    ]  # fmt: skip
    for client in clients:
        for n in (0, -1, 101, 2**53 + 1, 2**64 - 1, 1.5, "1", None, True):
            assert await client.refused("like.send", n=n) == "bad_request", n
        await client.ask("like.send")

    await clients[0].state("likes", lambda d: d["total"] == 2)
    late = await worker.join(room)
    assert {"total": 2} in [s["d"] for s in late.hello["states"] if s["st"] == "likes"]
