"""The load's side of the wire, held to the engine's reader."""

from __future__ import annotations

import msgpack
import orjson
import pytest

from liveroom.protocol.frame_builder import text_frame
from liveroom.protocol.frame_reader import FrameReader, Message
from liveroom_loadtest.wire import Address, address_of, encoded, frame_size, header_size


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("text", ["x", "y" * 300])
def test_frame_is_read_by_the_engine(codec: str, text: str) -> None:
    """Masked with zeros, which is valid."""
    command = {"op": "danmaku.send", "d": {"text": text}}
    (message,) = FrameReader(65536, inflate=False).feed(encoded(codec, command))

    assert isinstance(message, Message)
    loads = orjson.loads if codec == "json" else msgpack.unpackb
    assert loads(message.data) == command


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frame_size_is_known_from_its_header(size: int) -> None:
    """Of all three forms."""
    frame = text_frame(b"x" * size)
    assert frame_size(frame, 0) == len(frame)
    assert header_size(frame, 0) == len(frame) - size


def test_address_of_a_url() -> None:
    """WebSocket and HTTP URLs."""
    assert address_of("ws://h:81") == Address("h", 81)
    assert address_of("https://h/x") == Address("h", 443, secure=True)
    assert address_of("ws://[::1]:9").http == "http://[::1]:9"
    with pytest.raises(ValueError, match="expected ws://"):
        address_of("h:80")
