"""Digests: what a frame holds, found out once."""

from __future__ import annotations

from typing import Any

import msgpack
import orjson

from liveroom.protocol.frame_builder import BINARY, TEXT, binary_frame, deflated_frame, text_frame
from liveroom_loadtest.digest import Known, digest_of, stamp, stamped_at
from liveroom_loadtest.wire import header_size


def danmaku(text: str, **more: Any) -> dict[str, Any]:
    return {"ev": "danmaku", "ts": 1, "d": {"id": "1", "text": text}} | more


ITEMS = [
    {"re": 3, "d": {}},
    danmaku(stamp(77, "hello")),
    danmaku("no stamp"),
    danmaku(stamp(78, "hello"), kept=True),
    {"ev": "like", "d": {"user": "u", "n": 2}},
    {"ev": "lottery.opened", "seq": 4, "d": {"lottery": "l"}},
    {"ev": "sys.shed", "d": {"danmaku": 5, "like": 9}},
    {"ev": "sys.gap", "d": {}},
    {"st": "likes", "v": 1, "d": {"total": 2}},
]


def test_digest_counts_what_was_shown() -> None:
    """Kept messages are the author's alone: they count as shed; states are newest values."""
    digest = digest_of(ITEMS)

    assert (digest.events, digest.danmaku, digest.stamps) == (5, 2, (77,))
    assert digest.rare is not None
    assert [item["re"] for item in digest.rare.replies] == [3]
    assert [mark[:2] for mark in digest.rare.durable] == [(4, 0)]
    assert [item["ev"] for item in digest.rare.prompts] == ["lottery.opened"]
    assert [item["ev"] for item in digest.rare.system] == ["sys.gap"]
    assert digest.rare.shed == 5


def test_digest_of_messages_alone_holds_nothing_rare() -> None:
    """This is what most frames are."""
    assert digest_of([danmaku("a"), {"st": "likes", "v": 1, "d": {}}]).rare is None


def test_stamp_is_read_back() -> None:
    """Other texts are no stamps."""
    assert stamped_at(stamp(123, "x~y")) == 123
    assert [stamped_at(text) for text in ("", "@~", "@x~", "@²~", "hello", "@12")] == [
        None, None, None, None, None, 12,
    ]  # fmt: skip


def test_known_decodes_each_frame_once_whatever_its_kind() -> None:
    """JSON, MessagePack, deflated: the same digest; the second look costs no decoding."""
    text, binary = orjson.dumps(ITEMS), msgpack.packb(ITEMS)
    frames = [text_frame(text), binary_frame(binary)]
    frames += [deflated_frame(TEXT, text), deflated_frame(BINARY, binary)]
    known = Known()
    for frame in frames:
        assert known.get(frame) is None
        made = known.learn(frame, frame[header_size(frame, 0) :])
        assert made == digest_of(ITEMS)
        assert known.get(bytes(frame)) is made
    assert known.decoded == 4


def test_known_forgets_the_oldest() -> None:
    """It does not grow with the length of a run."""
    known = Known()
    frames = [text_frame(orjson.dumps([{"re": n, "d": {}}])) for n in range(2000)]
    for frame in frames:
        known.learn(frame, frame[header_size(frame, 0) :])
    assert known.get(frames[0]) is None
    assert known.get(frames[-1]) is not None
