"""Both codecs: held to tests/vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given, settings, strategies as st

from liveroom_client.codec import CodecName, Undecodable, codec_of
from spoiled import spoiled


FOLDER = Path(__file__).parents[2] / "vectors"
SERVER = json.loads((FOLDER / "server_items.json").read_text(encoding="utf-8"))
CLIENT = json.loads((FOLDER / "client_messages.json").read_text(encoding="utf-8"))
ITEMS = {case["name"]: case for case in SERVER["items"]}
JSON, PACKED = codec_of("json"), codec_of("msgpack")


def of_items(names: list[str]) -> tuple[bytes, bytes]:
    """Return a message of items, in both codecs."""
    texts = [ITEMS[name]["json"] for name in names]
    head: bytes = msgpack.Packer().pack_array_header(len(names))
    packed = head + b"".join(bytes.fromhex(ITEMS[name]["msgpack"]) for name in names)
    return f"[{','.join(texts)}]".encode(), packed


@pytest.mark.parametrize("name", ITEMS)
def test_codec_reads_what_a_server_sends(name: str) -> None:
    """Each item, in both codecs, is the same value."""
    text, packed = of_items([name])

    assert JSON.decode(text, binary=False) == [ITEMS[name]["item"]]
    assert PACKED.decode(packed, binary=True) == [ITEMS[name]["item"]]


def test_codec_writes_what_a_server_reads() -> None:
    """Every good command of the vectors survives the way through the encoder."""
    for case in CLIENT["cases"]:
        if (
            "json" not in case
            or not case.get("expect")
            or any("error" in e for e in case["expect"])
        ):
            continue
        value = json.loads(case["json"])
        commands = value if isinstance(value, list) else [value]
        text = JSON.join([JSON.encode(command) for command in commands])
        packed = PACKED.join([PACKED.encode(command) for command in commands])
        one: Any = commands if len(commands) > 1 else commands[0]
        assert orjson.loads(text) == msgpack.unpackb(packed) == one, case["name"]


@pytest.mark.parametrize(
    "junk",
    [b"", b"{", b"[1", b'{"re":1}', b"5", b"null", b"\xff\xfe", b"[" * 3000, b'["\xed\xa0\x80"]'],
    ids=repr,
)
def test_codec_refuses_junk_in_json(junk: bytes) -> None:
    """One typed error, whatever came."""
    with pytest.raises(Undecodable):
        JSON.decode(junk, binary=False)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xc1",
        b"\x81\xa1a\x01",
        b"\xdd\xff\xff\xff\xff",  # a list of four milliards, of which nothing comes
        b"\xdb\xff\xff\xff\xffa",  # a text as long
        b"\xdf\xff\xff\xff\xff",
        b"\xc7\xff\x00",
        b"\x91" * 3000,
        b"\x91\xa1\xff",
        b"\x91\x01\x01",
        b"\x91\x81\x90\x01",
    ],
    ids=lambda junk: junk[:6].hex(),
)
def test_codec_refuses_junk_and_lies_about_lengths_in_msgpack(junk: bytes) -> None:
    """One typed error, and no memory for what was only announced."""
    with pytest.raises(Undecodable):
        PACKED.decode(junk, binary=True)


def test_codec_refuses_the_kind_that_was_not_agreed() -> None:
    """Text on a binary connection, and the reverse."""
    for codec, binary in ((JSON, True), (PACKED, False)):
        with pytest.raises(Undecodable):
            codec.decode(b"[]", binary=binary)


@pytest.mark.parametrize("name", ITEMS)
def test_codec_skims_without_missing_what_matters(name: str) -> None:
    """Replies, durable and system events are never taken for the rest."""
    text, packed = of_items([name])
    item = ITEMS[name]["item"]
    matters = "re" in item or "seq" in item or str(item.get("ev", "")).startswith("sys.")

    assert JSON.matters(text) >= matters
    assert PACKED.matters(packed) >= matters


def test_codec_skims_what_only_looks_lively() -> None:
    """Messages of danmaku, likes and states need not be decoded."""
    items = [{"ev": "danmaku", "ts": 1, "d": {"text": "hi"}}, {"st": "likes", "v": 1, "d": {}}]

    assert not JSON.matters(orjson.dumps(items))
    assert not PACKED.matters(msgpack.packb(items))


def test_codec_has_two_names() -> None:
    """Another one is told at once."""
    wrong: Any = "xml"
    name: CodecName = wrong
    with pytest.raises(ValueError, match="json or msgpack"):
        codec_of(name)


TEXTS, MESSAGES = zip(*map(of_items, ([name] for name in ITEMS)), strict=True)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64) | spoiled(TEXTS) | spoiled(MESSAGES))
def test_codec_gives_a_list_or_one_typed_error_of_any_bytes(data: bytes) -> None:
    """Whatever a server sends, in whichever codec was agreed; looking for what matters never fails."""
    for codec in (JSON, PACKED):
        codec.matters(data)
        try:
            items = codec.decode(data, binary=codec.binary)
        except Undecodable:
            continue
        assert type(items) is list
