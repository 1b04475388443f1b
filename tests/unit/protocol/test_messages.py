"""The shapes that every feature shares: patterns, bounds, envelopes."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from liveroom.protocol.messages import (
    KEY_PATTERN,
    MAX_SAFE,
    ROOM_PATTERN,
    Body,
    Empty,
    Envelope,
    Hello,
    ResumeBody,
    TokenBody,
    envelope_type,
)


def decoded(kind: type[Any], text: str) -> Any:
    return msgspec.json.decode(text, type=kind)


@pytest.mark.parametrize("room", ["r", "R1", "a.b-c_d", "0", "x" * 64])
def test_room_ids_are_taken(room: str) -> None:
    """Letters, digits, dot, dash and underscore; 64 at most."""
    assert Hello(room=room) == decoded(Hello, f'{{"room":"{room}"}}')


BAD_ROOMS = [
    "",
    "x" * 65,
    "-a",
    ".a",
    "_a",
    "~sys",
    "a b",
    "a/b",
    "a{b}",
    "a\n",
    "a\r\n",
    "á",
    "a:b",
]


@pytest.mark.parametrize("room", BAD_ROOMS)
def test_room_ids_are_refused(room: str) -> None:
    """Nothing that means something in a key of the store, no internal scope, no line end."""
    text = msgspec.json.encode({"room": room}).decode()
    with pytest.raises(msgspec.ValidationError):
        decoded(Hello, text)


@pytest.mark.parametrize("key", ["", "x" * 65, "a b", "a\n", "a{", "ключ", "a/b"])
def test_idempotency_keys_are_refused(key: str) -> None:
    """They become part of a key of the store."""
    kind = envelope_type("t", Empty)
    text = msgspec.json.encode({"op": "t", "key": key}).decode()
    with pytest.raises(msgspec.ValidationError):
        decoded(kind, text)


def test_patterns_read_alike_whole_or_searched() -> None:
    """Some readers of a JSON Schema search, others match the whole."""
    for pattern in (ROOM_PATTERN, KEY_PATTERN):
        assert re.search(pattern, "abc")
        assert re.fullmatch(pattern, "abc")
        assert not re.search(pattern, "abc\n")


@pytest.mark.parametrize("number", ["-1", "9007199254740992", "1.5", '"1"', "true", "[1]", "1e3"])
def test_reply_ids_are_small_whole_numbers(number: str) -> None:
    """So that every JSON reader gives back the number that was sent."""
    with pytest.raises(msgspec.ValidationError):
        decoded(envelope_type("t", Empty), f'{{"op":"t","id":{number}}}')


@pytest.mark.parametrize(
    "resume",
    [
        "{}",
        '{"epoch":"e"}',
        '{"seq":1}',
        '{"epoch":"e","seq":-1}',
        '{"epoch":1,"seq":1}',
        '{"epoch":"' + "e" * 65 + '","seq":1}',
        '{"epoch":"e","seq":1,"sub":-1}',
        '{"epoch":"e","seq":9007199254740992}',
        "[]",
        '"x"',
    ],
)
def test_positions_are_refused(resume: str) -> None:
    """A position is an epoch and two numbers."""
    for kind in (Hello, ResumeBody):
        with pytest.raises(msgspec.ValidationError):
            decoded(kind, f'{{"room":"r","resume":{resume}}}')


def test_unknown_fields_are_ignored() -> None:
    """So that shapes can grow."""
    kind = envelope_type("t", Empty)
    assert decoded(kind, '{"op":"t","new":[1,{"x":2}],"d":{"also":"new"}}').d == Empty()


def test_envelope_needs_a_body_only_where_the_body_needs_something() -> None:
    """`d` may be left out where every field has a default."""

    class Given(Body, frozen=True, kw_only=True):
        n: int = 1

    assert decoded(envelope_type("t", Given), '{"op":"t"}').d == Given(n=1)
    with pytest.raises(msgspec.ValidationError, match="`d`"):
        decoded(envelope_type("t", TokenBody), '{"op":"t"}')


def test_envelope_of_one_command_takes_no_other() -> None:
    """The name is checked, not assumed."""
    with pytest.raises(msgspec.ValidationError):
        decoded(envelope_type("a.b", Empty), '{"op":"a.c"}')


def test_envelopes_have_the_fields_of_every_command() -> None:
    """What `Envelope` promises to mypy is there."""
    made = decoded(envelope_type("a.b_c", Empty), '{"op":"a.b_c","id":3,"key":"k"}')
    assert (made.d, made.id, made.key) == (Empty(), 3, "k")
    assert type(made).__name__ == "ABCCommand"
    assert set(Envelope.__struct_fields__) == set(type(made).__struct_fields__)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=70) | st.sampled_from(
    ["demo", "a.b-c", "demo\n", "x" * 65, "guest:ann"]
)
_ODD = (
    st.none()
    | st.booleans()
    | st.integers(-1, MAX_SAFE + 1)
    | _TEXTS
    | st.lists(_TEXTS, max_size=2)
)
_POSITION = st.fixed_dictionaries({}, optional={"epoch": _ODD, "seq": _ODD, "sub": _ODD, "x": _ODD})
_HELLO = st.fixed_dictionaries(
    {"room": _TEXTS | _ODD},
    optional={"token": _ODD, "resume": _POSITION | _ODD, "client": _ODD, "source": _ODD, "x": _ODD},
)


@settings(max_examples=300, deadline=None)
@given(_HELLO)
def test_any_hello_is_within_its_bounds_or_refused(body: dict[str, Any]) -> None:
    """What is taken may be used as a part of a key, and as numbers, without another look."""
    try:
        hello = msgspec.json.decode(msgspec.json.encode(body), type=Hello)
    except msgspec.ValidationError:
        return

    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", hello.room)
    assert len(hello.token) <= 4096
    assert len(hello.client) <= 64
    assert len(hello.source) <= 32
    if hello.resume is not None:
        assert len(hello.resume.epoch) <= 64
        assert 0 <= hello.resume.seq <= MAX_SAFE
        assert 0 <= hello.resume.sub <= MAX_SAFE
