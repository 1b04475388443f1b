"""The frame reader: RFC 6455 and 7692 row by row, and any cut of the bytes alike."""

from __future__ import annotations

import sys
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from liveroom.protocol.frame_builder import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE_TAIL,
    PING,
    PONG,
    TEXT,
    deflated_frame,
    masked_frame,
    xor_mask,
)
from liveroom.protocol.frame_reader import Close, Frame, FrameReader, Message, Ping, Pong


MASK = b"\x37\xfa\x21\x3d"
LIMIT = 65536
Result = tuple[list[Frame], int | None]


def raw(first: int, payload: bytes = b"", *, length: bytes | None = None) -> bytes:
    """A masked frame whose first byte, and if need be length bytes, are taken as given."""
    if length is None:
        return bytes([first]) + masked_frame(0, payload, mask=MASK)[1:]
    return bytes([first]) + length + MASK + xor_mask(MASK, payload)


def text(payload: bytes) -> bytes:
    return masked_frame(TEXT, payload, mask=MASK)


def close(payload: bytes) -> bytes:
    return masked_frame(CLOSE, payload, mask=MASK)


def fragments(opcode: int, *parts: bytes, rsv1: bool = False) -> bytes:
    """One message in as many frames as there are parts."""
    last = len(parts) - 1
    return b"".join(
        masked_frame(
            CONTINUATION if i else opcode,
            part,
            mask=MASK,
            fin=i == last,
            rsv1=rsv1 and not i,
        )
        for i, part in enumerate(parts)
    )


def deflate(payload: bytes, level: int = 9) -> bytes:
    stream = zlib.compressobj(level, wbits=-15)
    data = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(DEFLATE_TAIL)


def read(chunks: Iterable[bytes], *, limit: int = LIMIT, inflate: bool = False) -> Result:
    """Everything that comes out, and the close code that the stream broke with."""
    reader = FrameReader(limit, inflate=inflate)
    frames = [frame for chunk in chunks for frame in reader.feed(chunk)]
    if reader.error is not None:
        assert reader.closed
        return frames, reader.error.close.number
    return frames, None


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and for short input in two at every place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    if len(data) < 400:
        yield from ([data[:i], data[i:]] for i in range(len(data) + 1))


def check(data: bytes, expected: Result, *, limit: int = LIMIT, inflate: bool = False) -> None:
    for chunks in cuts(data):
        assert read(chunks, limit=limit, inflate=inflate) == expected


# 1: framing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536])
def test_messages_of_every_length_form_arrive(opcode: int, size: int) -> None:
    """7, 16 and 64 bit lengths at their edges."""
    payload = b"*" * size
    check(masked_frame(opcode, payload, mask=MASK), ([Message(opcode, payload)], None))


def test_several_messages_in_one_piece_arrive_in_order() -> None:
    """As a fast sender makes them."""
    data = text(b"one") + masked_frame(BINARY, b"\xff", mask=MASK) + text(b"three") + raw(0x89)
    check(
        data,
        (
            [Message(TEXT, b"one"), Message(BINARY, b"\xff"), Message(TEXT, b"three"), Ping(b"")],
            None,
        ),
    )


def test_frames_with_random_masks_arrive() -> None:
    """Any key, also all zeros."""
    for mask in (None, bytes(4), b"\xff\xff\xff\xff"):
        frame = masked_frame(TEXT, "弹幕".encode(), mask=mask)
        assert read([frame]) == ([Message(TEXT, "弹幕".encode())], None)


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x05Hello",
        b"\x82\x7e\x01\x00" + b"x" * 256,
        b"\x89\x00",
        b"\x88\x02\x03\xe8",
        b"\x81\x00",
    ],
    ids=repr,
)
def test_unmasked_frames_break_the_stream(data: bytes) -> None:
    """RFC 6455, 5.1: a server MUST close."""
    check(text(b"before") + data, ([Message(TEXT, b"before")], 1002))


@pytest.mark.parametrize(
    "length",
    [
        b"\xfe\x00\x05",
        b"\xfe\x00\x7d",
        b"\xff" + (5).to_bytes(8, "big"),
        b"\xff" + (126).to_bytes(8, "big"),
        b"\xff" + (65535).to_bytes(8, "big"),
    ],
    ids=repr,
)
def test_lengths_must_be_in_their_shortest_form(length: bytes) -> None:
    """RFC 6455, 5.2."""
    check(raw(0x82, b"Hello", length=length), ([], 1002))


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1002),
        (b"\xff" + (1 << 63).to_bytes(8, "big"), 1002),
        (b"\xff" + ((1 << 63) - 1).to_bytes(8, "big"), 1009),
        (b"\xff" + (1 << 40).to_bytes(8, "big"), 1009),
        (b"\xff" + (65537).to_bytes(8, "big"), 1009),
    ],
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_impossible_lengths_are_refused_at_the_header(
    opcode: int, length: bytes, code: int
) -> None:
    """Before a byte of payload, before the mask even."""
    check(bytes([0x80 | opcode]) + length, ([], code))


def test_a_message_over_the_limit_is_refused_and_one_at_it_is_not() -> None:
    """1009 on the first byte too many."""
    check(text(b"x" * 200), ([Message(TEXT, b"x" * 200)], None), limit=200)
    check(text(b"x" * 201), ([], 1009), limit=200)
    check(text(b"x" * 11), ([], 1009), limit=10)


# 2: pings and pongs ----------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe\xfd", b"\xfe" * 125])
def test_pings_and_pongs_carry_their_data(payload: bytes) -> None:
    """Up to 125 bytes of anything."""
    data = masked_frame(PING, payload, mask=MASK) + masked_frame(PONG, payload, mask=MASK)
    check(data, ([Ping(payload), Pong(payload)], None))


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [126, 65536])
def test_control_frames_over_125_bytes_break_the_stream(opcode: int, size: int) -> None:
    """RFC 6455, 5.5; told by the second byte alone."""
    check(masked_frame(opcode, b"\x03\xe8" + b"x" * size, mask=MASK)[:2], ([], 1002))


# 3, 4: reserved bits and opcodes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("opcode", "rsv", "inflate"),
    [
        (opcode, rsv, inflate)
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
        for rsv in range(1, 8)
        for inflate in (False, True)
        if not (inflate and rsv == 4 and opcode in (TEXT, BINARY))  # permessage-deflate
    ],
)
def test_reserved_bits_break_the_stream(opcode: int, rsv: int, inflate: bool) -> None:
    """Only RSV1 of a data message has a meaning, and only when it was negotiated."""
    data = text(b"before") + raw(0x80 | rsv << 4 | opcode, b"\x03\xe8") + text(b"after")
    check(data, ([Message(TEXT, b"before")], 1002), inflate=inflate)


@pytest.mark.parametrize("fin", [0, 0x80])
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_unknown_opcodes_break_the_stream(opcode: int, fin: int) -> None:
    """Also in the middle of a message."""
    check(text(b"before") + raw(fin | opcode, b"x"), ([Message(TEXT, b"before")], 1002))
    check(raw(0x01, b"begun") + raw(fin | opcode, b"x"), ([], 1002))


# 5: fragments ----------------------------------------------------------------------------------

P1, P2 = masked_frame(PING, b"1", mask=MASK), masked_frame(PING, b"2", mask=MASK)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (fragments(TEXT, b"one ", b"two"), [Message(TEXT, b"one two")]),
        (fragments(BINARY, b"a", b"b", b"c", b"d"), [Message(BINARY, b"abcd")]),
        (fragments(TEXT, b"", b"", b""), [Message(TEXT, b"")]),
        (fragments(TEXT, b"", b"middle", b""), [Message(TEXT, b"middle")]),
        (fragments(BINARY, *[b"x"] * 64), [Message(BINARY, b"x" * 64)]),
        (
            raw(0x01, b"one ") + P1 + raw(0x00, b"two ") + P2 + raw(0x80, b"three"),
            [Ping(b"1"), Ping(b"2"), Message(TEXT, b"one two three")],
        ),
        (
            raw(0x01, b"one ")
            + masked_frame(PONG, b"", mask=MASK)
            + raw(0x80, b"two")
            + text(b"x"),
            [Pong(b""), Message(TEXT, b"one two"), Message(TEXT, b"x")],
        ),
        (raw(0x01, b"never ended") + raw(0x88), [Close(1005, "")]),
    ],
)
def test_fragments_make_one_message(data: bytes, expected: list[Frame]) -> None:
    """Control frames may stand between them (RFC 6455, 5.4)."""
    check(data, (expected, None))


@pytest.mark.parametrize(
    "data",
    [
        raw(0x09, b"ping"),
        raw(0x0A, b"pong"),
        raw(0x08, b"\x03\xe8"),
        raw(0x80, b"nothing to continue"),
        raw(0x00, b"nothing to continue"),
        raw(0x01, b"begun") + text(b"new"),
        raw(0x01, b"begun") + raw(0x01, b"new"),
        raw(0x02, b"begun") + raw(0x82, b"new"),
        fragments(TEXT, b"whole", b"message") + raw(0x80, b"and more"),
    ],
    ids=repr,
)
def test_fragments_out_of_place_break_the_stream(data: bytes) -> None:
    """RFC 6455, 5.4 and 5.5."""
    frames, code = read([data])
    assert code == 1002
    check(data, (frames, 1002))


def test_fragments_are_counted() -> None:
    """64 frames make a message, the 65th is refused by its header: 1008."""
    assert read([fragments(TEXT, *[b""] * 64)]) == ([Message(TEXT, b"")], None)
    assert read([fragments(TEXT, *[b""] * 65)]) == ([], 1008)
    assert read([fragments(BINARY, *[b""] * 10_000)]) == ([], 1008)


def test_fragments_are_summed() -> None:
    """1009 by the header of the fragment that is too much."""
    check(
        fragments(BINARY, b"x" * 60, b"y" * 40),
        ([Message(BINARY, b"x" * 60 + b"y" * 40)], None),
        limit=100,
    )
    check(raw(0x02, b"x" * 60) + raw(0x80, b"y" * 41)[:2], ([], 1009), limit=100)


def test_control_frames_do_not_count_as_the_message_they_interrupt() -> None:
    """Neither its bytes nor its fragments."""
    ping = masked_frame(PING, b"p" * 90, mask=MASK)
    data = raw(0x02, b"x" * 60) + ping * 70 + raw(0x80, b"y")
    expected = [Ping(b"p" * 90)] * 70 + [Message(BINARY, b"x" * 60 + b"y")]
    assert read([data], limit=61) == (expected, None)


# 6: UTF-8 --------------------------------------------------------------------------------------

VALID_UTF8 = [
    "κόσμε",
    "弹幕 🎁",
    "\x00",
    "\x7f\x80",
    "\u07ff\u0800",
    "\uffff\U00010000",
    "\U0010ffff",
    "\ufffe",
]
INVALID_UTF8 = [
    b"\x80",
    b"\xbf\x80",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce",
    b"\xe1\xbd",
    b"\xf0\x9f\x8e",
]


@pytest.mark.parametrize("string", VALID_UTF8)
def test_utf8_arrives_however_it_is_fragmented(string: str) -> None:
    """Also cut in the middle of a character."""
    data = string.encode()
    check(text(data), ([Message(TEXT, data)], None))
    for i in range(len(data) + 1):
        check(fragments(TEXT, data[:i], data[i:]), ([Message(TEXT, data)], None))


@pytest.mark.parametrize("data", INVALID_UTF8, ids=repr)
def test_text_that_is_not_utf8_breaks_the_stream(data: bytes) -> None:
    """Short and long (other paths), whole and in fragments; binary may be anything."""
    check(text(data), ([], 1007))
    check(text(b"x" * 200 + data), ([], 1007))
    check(fragments(TEXT, *(data[i : i + 1] for i in range(len(data)))), ([], 1007))
    check(masked_frame(BINARY, data, mask=MASK), ([Message(BINARY, data)], None))


@pytest.mark.parametrize(
    "first", [b"\xff", b"\xce\xba\xed\xa0\x80", b"\xc0", b"\xf4\x90", b"\xed\xa0"], ids=repr
)
def test_text_that_can_no_longer_be_utf8_fails_in_its_first_fragment(first: bytes) -> None:
    """At once, not when the message ends."""
    check(raw(0x01, first), ([], 1007))


# 7: close --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999],
)
def test_close_codes_arrive(code: int) -> None:
    """Those of the RFC, the registry, libraries and applications."""
    check(close(code.to_bytes(2, "big") + b"why"), ([Close(code, "why")], None))


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
)
def test_close_codes_that_may_not_be_sent_break_the_stream(code: int) -> None:
    """RFC 6455, 7.4."""
    check(close(code.to_bytes(2, "big")), ([], 1002))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", ([Close(1005, "")], None)),
        (b"\x03", ([], 1002)),
        (b"\x03\xe8", ([Close(1000, "")], None)),
        (b"\x03\xe8" + "再见".encode(), ([Close(1000, "再见")], None)),
        (b"\x03\xe8" + b"*" * 123, ([Close(1000, "*" * 123)], None)),
        (b"\x03\xe8\xce\xba\xed\xa0\x80", ([], 1007)),
        (b"\x03\xe8\xe1\xbd", ([], 1007)),
    ],
)
def test_close_payloads_are_judged(payload: bytes, expected: Result) -> None:
    """RFC 6455, 5.5.1."""
    check(close(payload), expected)


@pytest.mark.parametrize(
    "after", [text(b"late"), raw(0x89), close(b"\x03\xe8"), b"\xff" * 40, raw(0x80, b"x")], ids=repr
)
def test_data_after_close_is_ignored(after: bytes) -> None:
    """In the same piece and in later ones."""
    check(text(b"x") + close(b"\x03\xe8") + after, ([Message(TEXT, b"x"), Close(1000, "")], None))


def test_nothing_is_kept_after_close() -> None:
    """Neither an unfinished message nor what came in the same piece."""
    reader = FrameReader(LIMIT, inflate=False)
    assert reader.feed(raw(0x01, b"begun") + close(b"\x03\xe8") + b"late") == [Close(1000, "")]
    assert reader.closed
    assert not reader.mid_message


def test_data_after_an_error_is_ignored_and_nothing_is_kept() -> None:
    """What came before it is not lost, what comes after it costs nothing."""
    reader = FrameReader(LIMIT, inflate=False)
    assert reader.feed(text(b"before") + raw(0x02, b"begun") + raw(0xF1) + text(b"after")) == [
        Message(TEXT, b"before")
    ]
    error = reader.error
    assert error is not None
    assert error.close.number == 1002
    assert error.__traceback__ is None
    assert error.__context__ is None
    assert reader.feed(text(b"later")) == []
    assert reader.error is error
    assert reader.closed
    assert not reader.mid_message


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"\x81\x00", "expected a masked frame, came one without a mask"),
        (raw(0x83), "expected an opcode of RFC 6455, came 3"),
        (raw(0x09), "expected a whole control frame, came a fragment"),
        (raw(0x80), "expected a new message, came a continuation"),
        (raw(0x01) + raw(0x81), "expected a continuation, came a new message"),
        (raw(0xC1), "expected no such reserved bits here, came 100"),
        (raw(0x82, length=b"\xfe\x00\x05"), "expected 5 in its shortest form"),
        (close(b"\x03\xed"), "expected a close code of RFC 6455, 7.4, came 1005"),
        (raw(0x82, length=b"\xfe\xff\xff"), "expected at most 100 bytes in a message"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(data: bytes, detail: str) -> None:
    """For whoever writes a client."""
    reader = FrameReader(100, inflate=False)
    assert reader.feed(data) == []
    assert reader.error is not None
    assert reader.error.detail == detail


# permessage-deflate ----------------------------------------------------------------------------

HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692, 7.2.3.1


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (raw(0xC1, HELLO), b"Hello"),
        (fragments(TEXT, HELLO[:3], HELLO[3:], rsv1=True), b"Hello"),
        (raw(0xC1, b"\x00\x05\x00\xfa\xffHello\x00"), b"Hello"),
        (raw(0xC1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), b"Hello"),
        (fragments(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"\x00", rsv1=True), b"Hello"),
        (raw(0xC1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), b"HelloHello"),
        (raw(0xC1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), b"Hello"),
        (raw(0xC1, b"\x00"), b""),
        (raw(0x81, b"Hello"), b"Hello"),
        (raw(0xC1, deflate("弹幕".encode() * 500)), "弹幕".encode() * 500),
        (raw(0xC1, deflate(b"x" * LIMIT)), b"x" * LIMIT),
    ],
)
def test_deflated_messages_arrive(data: bytes, payload: bytes) -> None:
    """The RFC's examples (7.2.3), fragments, final blocks, and plain ones in between."""
    check(data + data, ([Message(TEXT, payload)] * 2, None), inflate=True)


@pytest.mark.parametrize(
    "deflated",
    [
        b"",
        b"\xff\xff\xff\xff",
        b"not deflate data at all",
        b"\x00\x05\x00\xfa\xffHel",
        b"\x00\x05\x00\x00\x00Hello\x00",
        HELLO[:4],
        HELLO + b"\x00\x00\xff\xff",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00",
        b"\x03\x00" * 5000 + b"\x00",
        b"\x4b\x04\x22\x00",
        deflate(b"\xff" * 400),
        deflate(b"x" * 400 + b"\xe1\xbd"),
    ],
    ids=lambda data: repr(data[:16]),
)
def test_bad_deflate_data_breaks_the_stream(deflated: bytes) -> None:
    """Garbage, cut short, unended, endless final blocks, text that is not UTF-8: 1007."""
    check(raw(0xC1, deflated), ([], 1007), inflate=True)


def test_deflate_data_that_is_cut_short_breaks_the_stream() -> None:
    """A block of 100 bytes that takes the tail for its own is no message, even as binary."""
    check(raw(0xC2, b"\x00\x64\x00\x9b\xffHel"), ([], 1007), inflate=True)


def test_deflated_text_fails_in_its_first_fragment() -> None:
    """UTF-8 is judged on what is inflated so far."""
    data = deflate(b"\xff" + b"x" * 50)
    stream = raw(0x41, data + DEFLATE_TAIL)
    check(stream, ([], 1007), inflate=True)


@pytest.mark.parametrize(
    "data",
    [
        raw(0x41, HELLO[:3]) + raw(0xC0, HELLO[3:]),
        raw(0x41, HELLO[:3]) + raw(0x40, HELLO[3:]),
        raw(0x01, b"plain") + raw(0xC0, HELLO),
        raw(0xC9, b"ping"),
        raw(0xCA, b"pong"),
        raw(0xC8, b"\x03\xe8"),
        raw(0xA1, b"x"),
        raw(0xD1, HELLO),
    ],
    ids=repr,
)
def test_rsv1_stands_on_the_first_frame_of_a_message_only(data: bytes) -> None:
    """RFC 7692, 6."""
    check(data, ([], 1002), inflate=True)


def test_deflated_messages_are_limited_by_what_they_inflate_to() -> None:
    """1009 on the first byte too many, in one frame or spread over fragments."""
    check(
        raw(0xC2, deflate(b"x" * 1000)),
        ([Message(BINARY, b"x" * 1000)], None),
        limit=1000,
        inflate=True,
    )
    check(raw(0xC2, deflate(b"x" * 1001)), ([], 1009), limit=1000, inflate=True)
    wire = deflate(b"x" * 1001)
    check(
        fragments(BINARY, wire[:3], wire[3:6], wire[6:], rsv1=True),
        ([], 1009),
        limit=1000,
        inflate=True,
    )


def test_deflate_bomb_is_refused_with_flat_memory() -> None:
    """100 MB in 100 kB: never more than the limit comes into being."""
    frame = masked_frame(BINARY, deflate(bytes(100_000_000)), mask=MASK, rsv1=True)
    assert 65536 < len(frame) < 200_000
    reader = FrameReader(1 << 20, inflate=True)
    tracemalloc.start()
    try:
        assert reader.feed(frame) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reader.error is not None
    assert reader.error.close.number == 1009
    assert peak < 4 << 20


def test_shared_frames_of_the_builder_can_be_read() -> None:
    """What `deflated_frame` makes for clients is what a reader with the extension takes."""
    payload = b'{"op":"danmaku.send"}' * 40
    frame = deflated_frame(TEXT, payload)
    assert frame[1] < 126
    check(raw(frame[0], frame[2:]), ([Message(TEXT, payload)], None), inflate=True)


# Memory and work -------------------------------------------------------------------------------


def test_an_idle_reader_is_small() -> None:
    """One stands behind every viewer, and after a message nothing of it stays."""
    reader = FrameReader(LIMIT, inflate=True)
    reader.feed(fragments(TEXT, b"a", b"b") + raw(0xC1, HELLO) + text(b"x" * 5000))
    assert not hasattr(reader, "__dict__")
    assert not reader.mid_message
    held = sum(sys.getsizeof(getattr(reader, name)) for name in ("_buffer", "_unfinished"))
    assert sys.getsizeof(reader) + held < 400


class CountingReader(FrameReader):
    """Counts how often it looks at the bytes."""

    looks = 0

    def _take_frames(self, data: bytes, frames: list[Frame]) -> int:
        self.looks += 1
        return super()._take_frames(data, frames)


def test_a_dribbled_frame_is_looked_at_a_few_times_and_pins_no_more_than_itself() -> None:
    """One byte per piece must not cost the square of the length."""
    payload = b"x" * 60_000
    *pieces, last = [bytes([byte]) for byte in text(payload)]
    reader = CountingReader(LIMIT, inflate=False)
    tracemalloc.start()
    try:
        assert not any(reader.feed(piece) for piece in pieces)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reader.mid_message
    assert reader.feed(last) == [Message(TEXT, payload)]
    assert reader.looks < 8
    assert peak < 2 * len(payload)


def test_mid_message_tells_of_what_is_unfinished() -> None:
    """So that the connection can limit how long that may be."""
    reader = FrameReader(LIMIT, inflate=False)
    states = [reader.mid_message]
    for piece in (b"\x01", raw(0x01, b"a")[1:], b"", raw(0x80, b"b")):
        reader.feed(piece)
        states.append(reader.mid_message)
    assert states == [False, True, True, True, False]


# Any cut of any bytes, against an oracle --------------------------------------------------------


class BrokenStream(Exception):
    """The oracle's verdict."""


class Oracle:
    """RFC 6455 read slowly over the whole input; deflate only as the strategy makes it."""

    def __init__(self, data: bytes, limit: int, most: int) -> None:
        self.data, self.limit, self.most = data, limit, most
        self.frames: list[Frame] = []
        self.parts: list[bytes] = []
        self.kind = self.deflated = 0

    def run(self) -> Result:
        try:
            while self.one_frame():
                pass
        except BrokenStream as broken:
            return self.frames, broken.args[0]
        return self.frames, None

    def take(self, count: int) -> bytes | None:
        if len(self.data) < count:
            return None
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def one_frame(self) -> bool:
        head = self.take(2)
        if head is None:
            return False
        fin, rsv, opcode = head[0] >> 7, head[0] >> 4 & 7, head[0] & 15
        self.judge_head(fin, rsv, opcode, head[1])
        length = self.length(head[1] & 127)
        if length is None:
            return False
        if opcode < 8:
            self.judge_size(length)
        body = self.take(4 + length)
        if body is None:
            return False
        payload = bytes(octet ^ body[i % 4] for i, octet in enumerate(body[4:]))
        if opcode < 8:
            self.data_frame(fin, rsv, opcode, payload)
            return True
        return self.control_frame(opcode, payload)

    def judge_head(self, fin: int, rsv: int, opcode: int, second: int) -> None:
        good = second >= 128
        if opcode in (8, 9, 10):
            good = good and fin == 1 and rsv == 0 and second & 127 <= 125
        elif opcode == 0:
            good = good and rsv == 0 and bool(self.parts)
        else:
            good = good and rsv in (0, 4) and opcode in (1, 2) and not self.parts
        if not good:
            raise BrokenStream(1002)

    def length(self, code: int) -> int | None:
        if code < 126:
            return code
        raw_length = self.take(2 if code == 126 else 8)
        if raw_length is None:
            return None
        length = int.from_bytes(raw_length, "big")
        if not (126 if code == 126 else 65536) <= length < 1 << 63:
            raise BrokenStream(1002)
        return length

    def judge_size(self, length: int) -> None:
        if length + sum(map(len, self.parts)) > self.limit:
            raise BrokenStream(1009)
        if len(self.parts) == self.most:
            raise BrokenStream(1008)

    def data_frame(self, fin: int, rsv: int, opcode: int, payload: bytes) -> None:
        if opcode:
            self.kind, self.deflated = opcode, rsv
        self.parts.append(payload)
        whole = b"".join(self.parts)
        if fin and self.deflated:
            whole = zlib.decompressobj(-15).decompress(whole + DEFLATE_TAIL)
        if self.kind == TEXT and (fin or not self.deflated):
            self.judge_text(whole, bool(fin))
        if fin:
            self.frames.append(Message(self.kind, whole))
            self.parts = []

    def judge_text(self, data: bytes, final: bool) -> None:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            if final or error.reason != "unexpected end of data":
                raise BrokenStream(1007) from None

    def control_frame(self, opcode: int, payload: bytes) -> bool:
        if opcode != 8:
            self.frames.append(Ping(payload) if opcode == 9 else Pong(payload))
            return True
        code = int.from_bytes(payload[:2], "big") if payload else 1005
        known = code in {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
        if payload and (len(payload) == 1 or not known):
            raise BrokenStream(1002)
        self.judge_text(payload[2:], final=True)
        self.frames.append(Close(code, payload[2:].decode()))
        return False


def deflated_fragments(payload: bytes, places: list[int]) -> bytes:
    wire = deflate(payload)
    marks = [0, *sorted(place % len(wire) for place in places), len(wire)]
    return fragments(TEXT, *(wire[a:b] for a, b in pairwise(marks)), rsv1=True)


STRINGS = st.text(max_size=30).map(str.encode)
PAYLOADS = st.one_of(
    STRINGS, st.binary(max_size=30), st.sampled_from([130, 300, 310]).map(lambda n: b"y" * n)
)
MASKS = st.binary(min_size=4, max_size=4)
GOOD_FRAMES = st.one_of(
    st.builds(lambda p, m: masked_frame(TEXT, p, mask=m), STRINGS, MASKS),
    st.builds(lambda p, m: masked_frame(BINARY, p, mask=m), PAYLOADS, MASKS),
    st.builds(lambda p, m: masked_frame(PING, p[:125], mask=m), PAYLOADS, MASKS),
    st.builds(
        lambda p: fragments(TEXT, *(p[i : i + 1] for i in range(len(p[:7])))) or raw(0x8A), STRINGS
    ),
    st.builds(lambda ps: fragments(BINARY, *ps), st.lists(PAYLOADS, min_size=1, max_size=6)),
    st.builds(deflated_fragments, STRINGS, st.lists(st.integers(0, 99), max_size=4)),
)
ODD_FRAMES = st.one_of(
    st.builds(
        lambda first, p, m: bytes([first]) + masked_frame(0, p, mask=m)[1:],
        st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x88, 0x89, 0x8A]),
        PAYLOADS,
        MASKS,
    ),
    st.builds(
        lambda code, p: close(code.to_bytes(2, "big") + p[:60]), st.integers(990, 5010), PAYLOADS
    ),
    st.builds(lambda n: b"\x82\xff" + n.to_bytes(8, "big"), st.integers(0, (1 << 64) - 1)),
    st.builds(lambda n: b"\x82\xfe" + n.to_bytes(2, "big") + MASK, st.integers(0, 65535)),
    # RSV1 is left to well-formed messages: what garbage inflates to is zlib's own affair.
    st.binary(max_size=12).map(lambda junk: bytes([junk[0] & 0xBF]) + junk[1:] if junk else junk),
)
STREAMS = st.builds(
    lambda good, odd: b"".join(good + odd),
    st.lists(GOOD_FRAMES, max_size=6),
    st.lists(st.one_of(ODD_FRAMES, GOOD_FRAMES), max_size=3),
)


@settings(max_examples=250, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 1 << 16), max_size=8))
def test_any_cut_of_any_stream_gives_what_the_rfc_says(data: bytes, places: list[int]) -> None:
    """Good streams, and good ones that go bad, against the oracle."""
    expected = Oracle(data, limit=309, most=5).run()
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    pieces = [data[a:b] for a, b in pairwise(marks)]
    for chunks in (pieces, [data], [data[i : i + 1] for i in range(len(data))]):
        reader = FrameReader(309, inflate=True, max_fragments=5)
        frames = [frame for chunk in chunks for frame in reader.feed(chunk)]
        assert (frames, reader.error and reader.error.close.number) == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_the_reader_raise(data: bytes, inflate: bool) -> None:
    """Whatever comes: messages, or one error with a code of the table."""
    frames, code = read([data], inflate=inflate)
    assert code in (None, 1002, 1007, 1008, 1009)
    assert (frames, code) == read([data[i : i + 1] for i in range(len(data))], inflate=inflate)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([0xC1, 0xC2, 0x41]), st.binary(max_size=120), st.binary(max_size=60))
def test_no_deflate_data_makes_the_reader_raise(first: int, one: bytes, two: bytes) -> None:
    """Garbage that inflates, by chance, is a message; all other is one error."""
    data = raw(first, one) + raw(0x80, two)
    frames, code = read([data], inflate=True, limit=500)
    assert code in (None, 1002, 1007, 1009)
    assert all(isinstance(frame, Message) and len(frame.data) <= 500 for frame in frames)
