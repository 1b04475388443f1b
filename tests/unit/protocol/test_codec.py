"""Client messages to commands: good ones, bad ones, lists of both, and any bytes at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import msgpack
import msgspec
import orjson
import pytest
from hypothesis import example, given, settings, strategies as st
from msgspec import Meta

from liveroom.errors import CommandError
from liveroom.protocol.codec import CommandDecoder, Incoming, body_digest, op_of
from liveroom.protocol.messages import Body, Empty, Hello
from spoiled import spoiled


class Note(Body, frozen=True, kw_only=True):
    """A body with a bit of everything."""

    text: Annotated[str, Meta(min_length=1, max_length=8)]
    n: Annotated[int, Meta(ge=1, le=9)] = 1
    tags: tuple[str, ...] = ()


BODIES: dict[str, type[Body]] = {"hello": Hello, "ping": Empty, "note": Note}
DECODER = CommandDecoder(BODIES, max_commands=4)


def decode(body: Any, *, binary: bool) -> list[Incoming]:
    data = msgpack.packb(body) if binary else orjson.dumps(body)
    return DECODER.decode(data, binary=binary)


def refused(data: bytes, *, binary: bool = False) -> str:
    with pytest.raises(CommandError) as caught:
        DECODER.decode(data, binary=binary)
    return caught.value.code.name


both = pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])


@both
def test_one_command_is_decoded(binary: bool) -> None:
    """Op, reply id, key and typed body."""
    sent = {"op": "note", "id": 7, "key": "k-1", "d": {"text": "你好", "n": 3}}
    (incoming,) = decode(sent, binary=binary)
    assert (incoming.op, incoming.id, incoming.key) == ("note", 7, "k-1")
    assert incoming.command is not None
    assert incoming.command.d == Note(text="你好", n=3)
    assert op_of(incoming.command) == "note"
    assert incoming.error is None


@both
def test_lists_are_decoded_in_order(binary: bool) -> None:
    """Up to as many as are allowed."""
    sent = [{"op": "ping", "id": number} for number in range(4)]
    assert [incoming.id for incoming in decode(sent, binary=binary)] == [0, 1, 2, 3]


@both
def test_an_empty_list_is_nothing(binary: bool) -> None:
    """It is valid and does nothing."""
    assert decode([], binary=binary) == []


@both
def test_a_longer_list_is_refused_whole(binary: bool) -> None:
    """Half of it would be worse."""
    for command in ({"op": "ping"}, {"op": "nope"}):
        with pytest.raises(CommandError, match="at most 4"):
            decode([command] * 5, binary=binary)


@both
def test_bad_commands_of_a_list_leave_the_good_ones(binary: bool) -> None:
    """Each has its own error, under its own id where that can be read."""
    sent = [
        {"op": "ping", "id": 1},
        {"op": "note", "id": 2, "d": {"text": ""}},
        {"op": "nope", "id": 3},
        {"op": "note", "id": 4, "d": {"text": "ok"}},
    ]
    got = decode(sent, binary=binary)
    assert [(incoming.id, incoming.error and incoming.error.code.name) for incoming in got] == [
        (1, None),
        (2, "bad_request"),
        (3, "unknown_op"),
        (4, None),
    ]


WRONG_SHAPES: list[tuple[Any, int | None]] = [
    (None, None),
    (5, None),
    ("hello", None),
    ({}, None),
    ({"op": None}, None),
    ({"op": 5, "id": 1}, None),
    ({"op": ["ping"]}, None),
    ({"op": "note", "id": 1}, 1),
    ({"op": "note", "id": 1, "d": None}, 1),
    ({"op": "note", "id": 1, "d": []}, 1),
    ({"op": "note", "id": 1, "d": "text"}, 1),
    ({"op": "note", "id": 1, "d": {"text": 5}}, 1),
    ({"op": "note", "id": 1, "d": {"text": "x" * 9}}, 1),
    ({"op": "note", "id": 1, "d": {"text": "x", "n": 0}}, 1),
    ({"op": "note", "id": 1, "d": {"text": "x", "n": 1.0}}, 1),
    ({"op": "note", "id": 1, "d": {"text": "x", "n": True}}, 1),
    ({"op": "note", "id": 1, "d": {"text": "x", "n": "1"}}, 1),
    ({"op": "note", "id": 1, "d": {"text": "x", "tags": {"a": 1}}}, 1),
    ({"op": "ping", "id": -1}, None),
    ({"op": "ping", "id": 2**53}, None),
    ({"op": "ping", "id": "1"}, None),
    ({"op": "ping", "id": 1.5}, None),
    ({"op": "ping", "id": True}, None),
    ({"op": "ping", "id": 1, "key": 5}, 1),
    ({"op": "ping", "id": 1, "key": "a b"}, 1),
    ({"op": "ping", "id": 1, "key": ""}, 1),
]


@both
@pytest.mark.parametrize(("sent", "reply_id"), WRONG_SHAPES, ids=lambda value: str(value)[:40])
def test_wrong_shapes_are_one_commands_error(sent: Any, reply_id: int | None, binary: bool) -> None:
    """The message is valid, the command is not; the id comes back where it is one."""
    (incoming,) = decode(sent, binary=binary)
    assert incoming.command is None
    assert incoming.id == reply_id
    assert incoming.error is not None
    assert incoming.error.code.name == "bad_request"


BAD_JSON = {
    "empty": b"",
    "space": b" \n",
    "cut": b'{"op":"ping"',
    "two": b'{"op":"ping"} {"op":"ping"}',
    "not json": b"hello",
    "single quotes": b"{'op':'ping'}",
    "trailing comma": b'{"op":"ping",}',
    "comment": b'{"op":"ping"}//',
    "byte order mark": b'\xef\xbb\xbf{"op":"ping"}',
    "NaN": b'{"op":"ping","id":NaN}',
    "NaN deep": b'{"op":"ping","d":{"x":[NaN]}}',
    "Infinity": b'{"op":"ping","id":-Infinity}',
    "1e400": b'{"op":"ping","id":1e400}',
    "10^5000": b'{"op":"ping","id":1' + b"0" * 5000 + b"}",
    "leading zero": b'{"op":"ping","id":01}',
    "hex": b'{"op":"ping","id":0x1}',
    "half surrogate": b'{"op":"note","d":{"text":"\\ud800"}}',
    "half surrogate in op": b'{"op":"\\udfff"}',
    "raw control": b'{"op":"note","d":{"text":"\x01"}}',
    "bad escape": b'{"op":"\\x70ing"}',
    "key without quotes": b'{op:"ping"}',
    "utf-16": '{"op":"ping"}'.encode("utf-16"),
    "depth of lists": b"[" * 1000 + b"]" * 1000,
    "depth of objects": b'{"op":"ping","d":' + b'{"a":' * 1000 + b"1" + b"}" * 1001,
    "depth without end": b'{"op":"ping","d":' + b"[" * 60_000,
}
BAD_MSGPACK = {
    "empty": b"",
    "cut": b"\x82\xa2op\xa4pin",
    "two": b"\x81\xa2op\xa4ping\x01",
    "never used": b"\xc1",
    "json": b'{"op":"ping"}',
    "op not utf-8": b"\x81\xa2op\xa4\xff\xfe\xfd\xfc",
    "key not utf-8": b"\x81\xa2\xff\xff\xa4ping",
    "text not utf-8": b"\x82\xa2op\xa4note\xa1d\x81\xa4text\xa2\xed\xa0",
    "map as a key": b"\x81\x80\x01",
    "list of 2^32-1": b"\xdd\xff\xff\xff\xff",
    "map of 2^32-1": b"\xdf\xff\xff\xff\xff",
    "text of 2^32-1": b"\xdb\xff\xff\xff\xffabc",
    "binary of 2^32-1": b"\xc6\xff\xff\xff\xff",
    "unknown field of 2^32-1": b"\x82\xa2op\xa4ping\xa1x\xdd\xff\xff\xff\xff",
    "timestamp out of range": b"\x82\xa2op\xa4ping\xa2id\xd7\xff" + b"\xff" * 8,
    "depth of lists": b"\x91" * 1000 + b"\xc0",
    "depth of maps": b"\x82\xa2op\xa4ping\xa1d" + b"\x81\xa1a" * 1000 + b"\xc0",
    "depth without end": b"\x91" * 60_000,
}


@pytest.mark.parametrize("data", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_what_is_not_json_is_a_bad_message(data: bytes) -> None:
    """Strict JSON in UTF-8, nothing beside it, of a sane depth."""
    assert refused(data) == "bad_message"


@pytest.mark.parametrize("data", BAD_MSGPACK.values(), ids=BAD_MSGPACK.keys())
def test_what_is_not_messagepack_is_a_bad_message(data: bytes) -> None:
    """Declared sizes are not believed, and depth is bounded."""
    assert refused(data, binary=True) == "bad_message"


def test_declared_sizes_do_not_allocate() -> None:
    """Five bytes cannot ask for gigabytes; a bad depth leaves the stack as it was."""
    before = sys.getrecursionlimit()
    for data in BAD_MSGPACK.values():
        assert refused(data, binary=True) == "bad_message"
    assert sys.getrecursionlimit() == before


@pytest.mark.parametrize(
    ("text", "op", "reply_id", "valid"),
    [
        (b'{"op":"ping","id":1,"id":2}', "ping", 2, True),
        (b'{"op":"note","op":"ping","id":1}', "ping", 1, True),
        (b'{"op":"ping","id":1,"op":"nope"}', "nope", 1, False),
        (b'{"op":"ping","op":"note","id":1}', "note", 1, False),
        (b'{"op":"note","op":"note","d":{"text":"a"},"d":{"text":5}}', "note", None, False),
    ],
)
def test_of_repeated_fields_the_last_counts(
    text: bytes, op: str, reply_id: int | None, valid: bool
) -> None:
    """As most JSON readers have it, by the quick way and by the careful one."""
    (incoming,) = DECODER.decode(text, binary=False)
    assert (incoming.op, incoming.id, incoming.error is None) == (op, reply_id, valid)


@both
def test_a_long_op_is_not_echoed_whole(binary: bool) -> None:
    """An error reply is never larger than a line."""
    (incoming,) = decode({"op": "x" * 10_000}, binary=binary)
    assert incoming.error is not None
    assert len(orjson.dumps(incoming.error.to_wire())) < 300


@both
def test_unknown_ops_with_odd_characters_can_be_answered(binary: bool) -> None:
    """What is quoted in the error is valid JSON again."""
    for op in ('"', "\n", "\x00", "\u2028", "</script>", "😀"):
        (incoming,) = decode({"op": op}, binary=binary)
        assert incoming.error is not None
        assert incoming.error.code.name == "unknown_op"
        orjson.dumps(incoming.error.to_wire())


def test_messagepack_extensions_are_no_commands() -> None:
    """Timestamps and extension types are decoded by the library, and refused as shapes."""
    for data in (b"\xd6\xff\x00\x00\x00\x00", b"\xc7\x04\x05abcd", b"\xc4\x02ab"):
        (incoming,) = DECODER.decode(data, binary=True)
        assert incoming.error is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=5,
)
command_like = st.fixed_dictionaries(
    {"op": st.sampled_from(["ping", "note", "hello", "nope"]) | json_values},
    optional={"id": json_values, "key": json_values, "d": json_values, "x": json_values},
)


def check_answerable(data: bytes, binary: bool) -> None:
    """Whatever comes: commands, or errors that can be told."""
    try:
        got = DECODER.decode(data, binary=binary)
    except CommandError as exc:
        orjson.dumps(exc.to_wire())
        return
    for incoming in got:
        assert (incoming.command is None) == (incoming.error is not None)
        assert incoming.id is None or 0 <= incoming.id < 2**53
        if incoming.error is not None:
            orjson.dumps(incoming.error.to_wire())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.booleans())
@example(b"\x82\xa2op\xa1\xff\xa2id\x01", True)
def test_any_bytes_give_commands_or_errors(data: bytes, binary: bool) -> None:
    """Nothing else can come out, and nothing is raised but CommandError."""
    check_answerable(data, binary)


_CASES = json.loads(
    (Path(__file__).parents[2] / "vectors" / "client_messages.json").read_text(encoding="utf-8")
)["cases"]
TEXTS = [case["json"].encode() for case in _CASES if "json" in case]
PACKED = [bytes.fromhex(case["msgpack"]) for case in _CASES if "msgpack" in case]


@settings(max_examples=200, deadline=None)
@given(spoiled(TEXTS), spoiled(PACKED))
def test_a_spoiled_message_gives_commands_or_errors(text: bytes, packed: bytes) -> None:
    """What is nearly right goes deeper into the decoder than noise."""
    check_answerable(text, False)
    check_answerable(packed, True)


@settings(max_examples=120, deadline=None)
@given(command_like | st.lists(command_like, max_size=3))
def test_anything_like_a_command_gives_commands_or_errors(body: Any) -> None:
    """In both codecs, and both say the same."""
    packed = msgspec.msgpack.encode(_storable(body))
    check_answerable(packed, True)
    check_answerable(msgspec.json.encode(_storable(body)), False)


def _storable(value: Any) -> Any:
    """Replace what neither codec can hold."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(2**63), min(2**64 - 1, value))
    if isinstance(value, list):
        return [_storable(part) for part in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(part) for key, part in value.items()}
    return value


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.integers(1, 9),
    st.integers(0, 2**53 - 1),
)
def test_good_commands_read_alike_in_both_codecs(text: str, n: int, number: int) -> None:
    """The same command, whichever way it came."""
    sent = {"op": "note", "id": number, "d": {"text": text, "n": n}}
    one, two = decode(sent, binary=False), decode(sent, binary=True)
    assert one == two
    assert one[0].command is not None
    assert one[0].command.d == Note(text=text, n=n)


def test_body_digests_tell_bodies_and_commands_apart() -> None:
    """Equal for what is equal after decoding, whatever the order of fields was."""
    digest = body_digest("note", Note(text="a"))
    (same,) = DECODER.decode(b'{"op":"note","d":{"n":1,"text":"a","x":0}}', binary=False)
    assert same.command is not None
    assert body_digest("note", same.command.d) == digest
    assert body_digest("note", Note(text="b")) != digest
    assert body_digest("other", Note(text="a")) != digest
