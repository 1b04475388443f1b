"""The viewers' end of a WebSocket: addresses, and frames however TCP cuts them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from liveroom.protocol.frame_builder import close_frame, ping_frame, text_frame
from liveroom.rehearsal.wire import Address, Line, LineError, address_of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h:1/x", Address("h", 1, secure=False)), ("wss://h", Address("h", 443, secure=True)),
        ("http://h", Address("h", 80, secure=False)), ("https://[::1]:9", Address("::1", 9, True)),
    ],
)  # fmt: skip
def test_wire_reads_addresses(url: str, expected: Address) -> None:
    """With what goes without saying."""
    assert address_of(url) == expected


@pytest.mark.parametrize("url", ["", "h:1", "ftp://h", "ws://", "ws://h:x"])
def test_wire_refuses_what_is_no_address(url: str) -> None:
    """A sentence, not a guess."""
    with pytest.raises(ValueError, match=r"expected ws://|could not be cast"):
        address_of(url)


def test_wire_addresses_are_written_as_urls() -> None:
    """IPv6 in brackets."""
    assert Address("::1", 9, secure=True).http("/a") == "https://[::1]:9/a"
    assert b"Host: [::1]:9\r\n" in Address("::1", 9, secure=False).upgrade("/ws")


class Pipe(asyncio.Transport):
    """A transport that remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


def line_on(pipe: Pipe, taken: list[bytes]) -> Line:
    """Return a line on a transport, after its upgrade."""
    line = Line(b"GET", taken.append)
    line.connection_made(pipe)
    line.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    return line


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
async def test_wire_reads_frames_however_they_are_cut(step: int) -> None:
    """Short, long and longest payloads, a ping between them."""
    payloads = [b"a", b"b" * 200, b"c" * 70_000]
    pipe = Pipe()
    taken: list[bytes] = []
    line = line_on(pipe, taken)
    frames = [text_frame(payload) for payload in payloads]
    stream = frames[0] + ping_frame(b"?") + frames[1]

    for at in range(0, len(stream), step):
        line.data_received(stream[at : at + step])
    for at in range(0, len(frames[2]), 4096):
        line.data_received(frames[2][at : at + 4096])

    assert taken == payloads
    assert line.messages == 3
    assert [frame[:2] for frame in pipe.written[1:]] == [b"\x8a\x81"]  # one masked pong of a byte


async def test_wire_tells_why_it_was_closed() -> None:
    """Whoever waits for a reply is told the code; whoever asks later, that it is over."""
    pipe = Pipe()
    line = line_on(pipe, [])
    waiting = asyncio.ensure_future(line.ask("x"))
    await asyncio.sleep(0)

    line.data_received(close_frame(4401, "no"))
    line.connection_lost(None)

    with pytest.raises(LineError, match="4401: no"):
        await waiting
    with pytest.raises(LineError, match="is closed"):
        await line.ask("y")
    assert pipe.closed


async def test_wire_a_refused_upgrade_is_an_error() -> None:
    """The status line says why."""
    pipe = Pipe()
    line = Line(b"GET", lambda payload: None)
    line.connection_made(pipe)
    line.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    with pytest.raises(LineError, match="503"):
        await line.upgraded
