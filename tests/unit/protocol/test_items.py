"""Items and the frames that are made of them."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given, settings, strategies as st

from liveroom.errors import CommandError
from liveroom.protocol.frame_builder import DEFLATE_TAIL
from liveroom.protocol.items import (
    Item,
    Message,
    event_item,
    frame_of,
    refusal_item,
    reply_item,
    stored_reply_item,
)


JSON, MSGPACK, JSON_DEFLATE, MSGPACK_DEFLATE = range(4)


def opened(frame: bytes) -> tuple[int, bool, Any]:
    """Return the opcode, whether it was deflated, and the decoded payload of one whole frame."""
    first, size = frame[0], frame[1]
    start = {126: 4, 127: 10}.get(size, 2)
    length = size if start == 2 else int.from_bytes(frame[2:start], "big")
    payload = frame[start:]
    assert len(payload) == length
    assert first & 0x80, "whole"
    if first & 0x40:
        payload = zlib.decompressobj(-15).decompress(payload + DEFLATE_TAIL)
    decode = orjson.loads if first & 0x0F == 1 else msgpack.unpackb
    return first & 0x0F, bool(first & 0x40), decode(payload)


def test_items_have_the_shapes_of_the_wire() -> None:
    """Replies, stored replies, refusals, events."""
    error = CommandError("rate_limited", retry_ms=250, limit=3)
    cases = [
        (reply_item(3, {"x": 1}), {"re": 3, "d": {"x": 1}}),
        (stored_reply_item(4, b'+{"n":2}'), {"re": 4, "d": {"n": 2}}),
        (
            stored_reply_item(5, b'-{"code":"muted","msg":"no"}'),
            {"re": 5, "err": {"code": "muted", "msg": "no"}},
        ),
        (
            refusal_item(6, error),
            {
                "re": 6,
                "err": {
                    "code": "rate_limited",
                    "msg": "too many of these in a short time",
                    "retry_ms": 250,
                    "limit": 3,
                },
            },
        ),
        (event_item("like", {"n": 1}), {"ev": "like", "d": {"n": 1}}),
        (event_item("x", {}, 5, kept=True), {"ev": "x", "ts": 5, "d": {}, "kept": True}),
    ]
    for item, expected in cases:
        assert orjson.loads(item.json) == expected
        assert msgpack.unpackb(item.packed) == expected


def test_a_refusal_without_a_readable_id_says_so() -> None:
    """`re` is null, in both codecs."""
    item = refusal_item(None, CommandError("bad_message"))
    assert orjson.loads(item.json)["re"] is None
    assert msgpack.unpackb(item.packed)["re"] is None


def test_stored_replies_pass_unchanged() -> None:
    """So a repeated idempotency key gets the same bytes."""
    stored = b'+{"b":1.50, "a":[ 1 ]}'
    assert stored_reply_item(1, stored).json == b'{"re":1,"d":' + stored[1:] + b"}"


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 70_000])
def test_a_message_is_a_list_in_every_variant(count: int) -> None:
    """Also where MessagePack needs longer heads, and when there is nothing in it."""
    items = [Item(b'{"ev":"x"}')] * count
    for variant in range(4):
        opcode, _, got = opened(frame_of(items, variant))
        assert got == [{"ev": "x"}] * count
        assert opcode == (2 if variant & 1 else 1)


def test_frames_are_made_once_per_variant() -> None:
    """The same bytes for every viewer."""
    message = Message([event_item("x", {"n": 1})], 256)
    for variant in range(4):
        assert message.frame(variant) is message.frame(variant)


def test_deflate_begins_where_it_pays() -> None:
    """Below the minimum a frame goes plain, and so does everything for who did not ask."""
    long = [event_item("danmaku", {"text": "hello " * 20})] * 10
    for variant, deflated in ((JSON, False), (JSON_DEFLATE, True), (MSGPACK_DEFLATE, True)):
        assert opened(frame_of(long, variant, 256))[1] is deflated
    assert opened(frame_of(long, JSON_DEFLATE, 1_000_000))[1] is False


def test_an_item_is_packed_once() -> None:
    """And only for who needs it."""
    item = event_item("x", {})
    assert item._packed is None
    assert item.packed is item.packed


json_objects = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(json_objects, max_size=5))
def test_every_variant_says_the_same(bodies: list[dict[str, Any]]) -> None:
    """Whatever is in the items."""
    items = [event_item("x", body) for body in bodies]
    expected = [{"ev": "x", "d": body} for body in bodies]
    assert [opened(frame_of(items, variant))[2] for variant in range(4)] == [expected] * 4
