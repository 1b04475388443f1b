"""Danmaku: what is shown, to whom, in which order, and how much one user may send."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import Any

import pytest
from hypothesis import given, strategies as st

import harness
from liveroom.core.clock import FakeClock
from liveroom.errors import CommandError
from liveroom.features.danmaku import Danmaku
from liveroom.features.text import MAX_LINE, shown_text


FAMILY = "👨\u200d👩\u200d👧\u200d👦"
KEPT = (
    "<script>alert(1)</script>",
    "&amp; \"quoted\" 'single' \\ \\u0041 / %s {} 0",
    "弹幕护体！！！前方高能",
    f"{FAMILY} 🇨🇳 👍🏽 ❤\ufe0f",
    "مرحبا بالجميع",
    "नमस्ते می\u200cخواهم",
    "x" * MAX_LINE,
    "👍" * MAX_LINE,
)
CLEANED = {
    "e\u0301": "é",
    "  spaces around\t": "spaces around",
    "one\ntwo\r\nthree": "onetwothree",
    "a\u0000b\u0007c\u001b[31m": "abc[31m",
    "\u202egnp.exe\u202c": "gnp.exe",
    "\u2066a\u2069\u200eb\u200f\u061c": "ab",
    "line\u2028para\u2029end": "lineparaend",
    "e\u0000\u0301": "é",
    "x" * MAX_LINE + "\u202e\n ": "x" * MAX_LINE,
}
REFUSED: tuple[dict[str, Any], ...] = (
    {"text": ""}, {"text": "   "}, {"text": "\u202e\n\u0000"}, {"text": "x" * (MAX_LINE + 1)},
    {"text": "x" * 501}, {"text": 5}, {"text": None}, {}, {"text": "x", "mode": "fly"},
    {"text": "x", "color": -1}, {"text": "x", "color": 0x1000000}, {"text": "x", "color": "red"},
    {"text": "x", "color": 1.5}, {"text": "x", "reply_to": "r" * 65}, {"text": "x", "reply_to": 1},
)  # fmt: skip


async def danmaku_of(client: harness.Client, count: int) -> list[dict[str, Any]]:
    """Wait until a client was shown so many danmaku; return their bodies."""
    await client.item(lambda _: len(client.events("danmaku")) >= count)
    return [item["d"] for item in client.events("danmaku")]


@given(st.text(max_size=3 * MAX_LINE))
def test_danmaku_clean_text_leaves_only_what_can_be_shown(text: str) -> None:
    """The result is NFC, of bounded length, without controls, and cleaning it changes nothing."""
    try:
        clean = shown_text(text, MAX_LINE)
    except CommandError:
        clean = ""
    if not clean:  # then all of it was invisible, or it was too long
        with pytest.raises(CommandError, match="bad_request"):
            shown_text(text, MAX_LINE)
        return
    assert 0 < len(clean) <= MAX_LINE
    assert unicodedata.is_normalized("NFC", clean)
    assert not {unicodedata.category(c) for c in clean} & {"Cc", "Cs", "Zl", "Zp"}
    assert shown_text(clean, MAX_LINE) == clean


@given(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=MAX_LINE))
def test_danmaku_clean_text_changes_no_visible_text(text: str) -> None:
    """Letters, digits, punctuation and symbols pass as they are (but for NFC)."""
    if len(unicodedata.normalize("NFC", text)) <= MAX_LINE:
        assert shown_text(text, MAX_LINE) == unicodedata.normalize("NFC", text)


async def test_danmaku_has_its_declared_shape(worker: harness.Worker, room: str) -> None:
    """Text, place, colour, reply and who sent it; defaults; a server time; no sequence number."""
    await worker.open_room(room)
    viewer = await worker.join(room, "vi")

    plain = await viewer.ask("danmaku.send", text="a")
    await viewer.ask("danmaku.send", text="b", mode="top", color=0, reply_to=plain["id"])

    one, two = await viewer.event("danmaku", text="a"), await viewer.event("danmaku", text="b")
    user = {"id": "vi", "name": viewer.hello["name"], "role": "viewer"}
    rest = {"user": user, "text": "a", "mode": "scroll", "color": 0xFFFFFF}
    assert one["d"] == {"id": plain["id"]} | rest
    assert (two["d"]["mode"], two["d"]["color"]) == ("top", 0)
    assert two["d"]["reply_to"] == plain["id"] != two["d"]["id"]
    assert set(one) == {"ev", "ts", "d"}
    assert one["ts"] >= viewer.hello["now"] - 1000


async def test_danmaku_text_is_cleaned_and_never_altered_further(
    worker: harness.Worker, room: str
) -> None:
    """Markup, emoji, joiners and any script arrive as sent, in both codecs."""
    await worker.open_room(room)
    sender = await worker.join(room, "mo", "moderator")  # no rate limit
    packed = await worker.join(room, subprotocol=harness.MSGPACK)
    expected = [*KEPT, *CLEANED.values()]

    for text in (*KEPT, *CLEANED):
        await sender.ask("danmaku.send", text=text)

    for client in (sender, packed):
        shown = await danmaku_of(client, len(expected))
        assert [d["text"] for d in shown] == expected


async def test_danmaku_refuses_what_cannot_be_shown(worker: harness.Worker, room: str) -> None:
    """Empty, too long, a wrong colour or place: a typed error each, and nothing is shown."""
    await worker.open_room(room)
    sender = await worker.join(room, "mo", "moderator")
    packed = await worker.join(room, "mo2", "moderator", subprotocol=harness.MSGPACK)

    for client in (sender, packed):
        for body in REFUSED:
            assert await client.refused("danmaku.send", **body) == "bad_request", body
    await sender.ask("danmaku.send", text="last")

    await packed.event("danmaku", text="last")
    assert len(packed.events("danmaku")) == 1


async def test_danmaku_rate_is_per_user_with_a_cool_off(worker: harness.Worker, room: str) -> None:
    """Three at once, then ten seconds of silence: for all tabs of the user, and for no other."""
    clock = FakeClock()
    plugin = next(p for p in worker.node.manager.plugins if isinstance(p, Danmaku))
    plugin._clock = clock
    await worker.open_room(room)
    tabs = [await worker.join(room, "vi"), await worker.join(room, "vi")]
    other = await worker.join(room, "other")

    for n in range(3):
        await tabs[n % 2].ask("danmaku.send", text=f"{n}")
    refused = await tabs[0].command("danmaku.send", text="fourth")
    assert refused["err"]["code"] == "rate_limited"
    assert refused["err"]["retry_ms"] == 10_000
    await other.ask("danmaku.send", text="mine")

    clock.advance(9.9)
    plugin._forget()
    for client in (tabs[1], await worker.join(room, "vi")):  # coming back does not help
        refused = await client.command("danmaku.send", text="still")
        assert (refused["err"]["code"], refused["err"]["retry_ms"]) == ("rate_limited", 100)

    clock.advance(0.1)
    for n in range(3):
        await tabs[0].ask("danmaku.send", text=f"again {n}")
    clock.advance(60)
    plugin._forget()
    assert plugin._limits == {}
    shown = [item["d"]["text"] for item in other.events("danmaku")]
    assert "fourth" not in shown
    assert "still" not in shown


async def test_danmaku_order_is_the_same_for_all(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """However messages of two workers interleave, every viewer sees one order, each once."""
    workers = [await start_worker(store_url, danmaku_per_s=1000) for _ in range(2)]
    await workers[0].open_room(room)
    clients = [await workers[n % 2].join(room, f"u{n}") for n in range(8)]

    sent = await asyncio.gather(
        *(c.ask("danmaku.send", text=f"{i}") for i in range(3) for c in clients)
    )

    orders = [[d["id"] for d in await danmaku_of(client, len(sent))] for client in clients]
    assert all(order == orders[0] for order in orders)
    assert sorted(orders[0]) == sorted(reply["id"] for reply in sent)


async def test_danmaku_recent_are_given_to_late_joiners(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """The newest few, in order, on any worker, the same items as those who were there saw."""
    workers = [await start_worker(store_url, recent_danmaku=5) for _ in range(2)]
    await workers[0].open_room(room)
    sender = await workers[0].join(room, "mo", "moderator")
    assert sender.hello["snapshot"]["danmaku"] == []

    for n in range(12):
        await sender.ask("danmaku.send", text=f"{n}")
    await sender.event("danmaku", text="11")

    late = await workers[1].join(room)
    assert late.hello["snapshot"]["danmaku"] == sender.events("danmaku")[-5:]
    assert late.events("danmaku") == []


async def test_danmaku_are_equal_in_every_variant(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """JSON and MessagePack, deflated and plain, on a worker with and one without deflate."""
    one = await start_worker(store_url, deflate_min_bytes=32)
    two = await start_worker(store_url, deflate=False)
    await one.open_room(room)
    sender = await one.join(room, "mo", "moderator")
    clients = [
        await worker.join(room, subprotocol=codec, compress=window)
        for worker in (one, two)
        for codec in (harness.JSON, harness.MSGPACK)
        for window in (0, 15)
    ]
    assert [bool(c.ws.compress) for c in clients] == [False, True, False, True] + [False] * 4

    for n in range(6):
        await sender.ask("danmaku.send", text=f"重要的事情说三遍 {n} " * 6, color=n, mode="top")

    await sender.event("danmaku", color=5)
    for client in clients:
        await client.event("danmaku", color=5)
        assert client.events("danmaku") == sender.events("danmaku")
