"""Frames as bytes: the RFC's own examples, limits, and what deflates how."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from liveroom.protocol.frame_builder import (
    BINARY,
    DEFLATE_MIN,
    DEFLATE_TAIL,
    NO_STATUS,
    PING,
    TEXT,
    binary_frame,
    close_frame,
    deflated_frame,
    is_sendable_close,
    masked_frame,
    ping_frame,
    pong_frame,
    text_frame,
    xor_mask,
)


DANMAKU = b"[" + b",".join(b'{"ev":"danmaku","d":{"id":"%d"}}' % i for i in range(40)) + b"]"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (text_frame(b"Hello"), b"\x81\x05Hello"),
        (text_frame(b""), b"\x81\x00"),
        (binary_frame(b"x" * 125), b"\x82\x7d" + b"x" * 125),
        (binary_frame(b"x" * 126), b"\x82\x7e\x00\x7e" + b"x" * 126),
        (binary_frame(b"x" * 256), b"\x82\x7e\x01\x00" + b"x" * 256),
        (binary_frame(b"x" * 65535), b"\x82\x7e\xff\xff" + b"x" * 65535),
        (binary_frame(b"x" * 65536), b"\x82\x7f\0\0\0\0\0\1\0\0" + b"x" * 65536),
        (ping_frame(), b"\x89\x00"),
        (ping_frame(b"Hello"), b"\x89\x05Hello"),
        (pong_frame(b"Hello"), b"\x8a\x05Hello"),
        (close_frame(1000), b"\x88\x02\x03\xe8"),
        (close_frame(4001, "no token"), b"\x88\x0a\x0f\xa1no token"),
        (close_frame(), b"\x88\x00"),
        (
            masked_frame(TEXT, b"Hello", mask=b"\x37\xfa\x21\x3d"),
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        ),
        (masked_frame(TEXT, b"Hel", mask=bytes(4), fin=False), b"\x01\x83\0\0\0\0Hel"),
        (masked_frame(BINARY, b"", mask=bytes(4), rsv1=True), b"\xc2\x80\0\0\0\0"),
        (masked_frame(BINARY, b"x" * 126, mask=bytes(4)), b"\x82\xfe\x00\x7e\0\0\0\0" + b"x" * 126),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_frames_have_the_bytes_of_the_rfc(frame: bytes, expected: bytes) -> None:
    """RFC 6455, 5.7, and every length form at its edges."""
    assert frame == expected


@pytest.mark.parametrize("build", [ping_frame, pong_frame])
def test_control_frames_refuse_more_than_fits(build: Callable[[bytes], bytes]) -> None:
    """125 bytes go, 126 do not (RFC 6455, 5.5)."""
    assert len(build(b"x" * 125)) == 127
    with pytest.raises(ValueError, match="at most 125 bytes of control data, came 126"):
        build(b"x" * 126)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [("x" * 123, 123), ("x" * 124, 123), ("弹" * 41, 123), ("x" + "弹" * 41, 121), ("\ud800", 1)],
)
def test_close_reason_is_cut_to_whole_characters(reason: str, kept: int) -> None:
    """The close path never fails on a reason, and never sends half a character."""
    text = close_frame(1008, reason)[4:]
    assert len(text) == kept
    assert text.decode()


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535, 70000])
def test_close_frame_refuses_codes_that_may_not_be_sent(code: int) -> None:
    """RFC 6455, 7.4."""
    assert not is_sendable_close(code)
    with pytest.raises(ValueError, match=f"came {code}"):
        close_frame(code)


def test_close_frame_sends_no_status_as_nothing() -> None:
    """What was read as 1005 can be sent back as it is."""
    assert close_frame(NO_STATUS, "never seen") == b"\x88\x00"


def split(frame: bytes) -> tuple[int, bytes]:
    """First byte and payload of an unmasked frame, with its length checked."""
    first, length = frame[0], frame[1]
    payload = frame[2:] if length < 126 else frame[4:]
    assert len(payload) == (length if length < 126 else int.from_bytes(frame[2:4], "big"))
    return first, payload


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("level", [1, 6, 9])
def test_deflated_frame_inflates_to_its_payload(opcode: int, level: int) -> None:
    """RSV1, FIN, no tail: as RFC 7692, 7.2.2, says it is to be read."""
    first, deflated = split(deflated_frame(opcode, DANMAKU, level))
    assert first == 0xC0 | opcode
    assert len(deflated) < len(DANMAKU) / 2
    assert not deflated.endswith(DEFLATE_TAIL)
    assert zlib.decompressobj(-15).decompress(deflated + DEFLATE_TAIL) == DANMAKU


def test_deflated_frames_need_no_context_and_disturb_none() -> None:
    """Valid for a client that resets its inflater and for one that keeps it."""
    first, second = DANMAKU, DANMAKU[::-1]
    kept = zlib.decompressobj(-15)
    for payload in (first, second, first):
        wire = split(deflated_frame(TEXT, payload))[1] + DEFLATE_TAIL
        assert kept.decompress(wire) == payload
        assert zlib.decompressobj(-15).decompress(wire) == payload


def test_deflated_frame_goes_plain_below_the_least_size() -> None:
    """At the edge: one byte makes the difference."""
    assert deflated_frame(TEXT, b"x" * (DEFLATE_MIN - 1)) == text_frame(b"x" * (DEFLATE_MIN - 1))
    assert split(deflated_frame(TEXT, b"x" * DEFLATE_MIN))[0] == 0xC1


def test_deflated_frame_goes_plain_when_nothing_is_gained() -> None:
    """Every byte once does not shrink."""
    payload = bytes(range(256))
    assert deflated_frame(BINARY, payload) == binary_frame(payload)


SIZES = st.one_of(st.integers(0, 140), st.integers(2040, 2056))


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=4, max_size=4), SIZES, st.binary(min_size=1, max_size=7))
def test_xor_mask_is_the_rfcs_octet_by_octet(mask: bytes, size: int, seed: bytes) -> None:
    """RFC 6455, 5.3, for both ways of doing it and where they meet."""
    payload = (seed * (size // len(seed) + 1))[:size]
    masked = xor_mask(mask, payload)
    assert masked == bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))
    assert xor_mask(mask, masked) == payload


def test_masked_frame_takes_a_fresh_mask_each_time() -> None:
    """Unpredictable masks are the client's duty (RFC 6455, 5.3)."""
    masks = {masked_frame(PING, b"")[2:6] for _ in range(20)}
    assert len(masks) == 20
