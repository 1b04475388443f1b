"""Messages to bytes and back, in both codecs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgpack
import orjson

from liveroom.protocol.handshake import JSON, MSGPACK


__all__ = ["Codec", "CodecName", "Undecodable", "codec_of"]

CodecName = Literal["json", "msgpack"]


class Undecodable(ValueError):
    """A message is not in its codec's language, or is not a list."""


class Codec(Protocol):
    """One of the two languages of the wire."""

    subprotocol: str
    binary: bool

    def encode(self, command: dict[str, Any]) -> bytes:
        """Return one command. Raises TypeError, ValueError or OverflowError."""

    def join(self, commands: Sequence[bytes]) -> bytes:
        """Return one message of commands that are encoded already."""

    def decode(self, payload: bytes, *, binary: bool) -> list[Any]:
        """Return the items of a message. Raises Undecodable."""

    def matters(self, payload: bytes) -> bool:
        """Return whether a message may hold a reply, a durable event or one of the system."""


class _Json:
    subprotocol = JSON
    binary = False

    def encode(self, command: dict[str, Any]) -> bytes:
        return orjson.dumps(command)

    def join(self, commands: Sequence[bytes]) -> bytes:
        return commands[0] if len(commands) == 1 else b"[" + b",".join(commands) + b"]"

    def decode(self, payload: bytes, *, binary: bool) -> list[Any]:
        if binary:
            raise Undecodable("expected text, came a binary message")
        try:
            return _listed(orjson.loads(payload))
        except orjson.JSONDecodeError as exc:
            raise Undecodable(f"expected JSON: {exc}") from None

    def matters(self, payload: bytes) -> bool:
        return b'"re":' in payload or b'"seq":' in payload or b'"sys.' in payload


class _MsgPack:
    subprotocol = MSGPACK
    binary = True

    def encode(self, command: dict[str, Any]) -> bytes:
        data: bytes = msgpack.packb(command)
        return data

    def join(self, commands: Sequence[bytes]) -> bytes:
        if len(commands) == 1:
            return commands[0]
        head: bytes = msgpack.Packer().pack_array_header(len(commands))
        return head + b"".join(commands)

    def decode(self, payload: bytes, *, binary: bool) -> list[Any]:
        if not binary:
            raise Undecodable("expected a binary message, came text")
        try:
            return _listed(msgpack.unpackb(payload))
        except (ValueError, msgpack.UnpackException, RecursionError) as exc:
            raise Undecodable(f"expected MessagePack: {exc}") from None

    def matters(self, payload: bytes) -> bool:
        return b"\xa2re" in payload or b"\xa3seq" in payload or b"sys." in payload


def _listed(value: Any) -> list[Any]:
    if type(value) is not list:
        raise Undecodable(f"expected a list of items, came {type(value).__name__}")
    return value


_CODECS: dict[str, Codec] = {"json": _Json(), "msgpack": _MsgPack()}


def codec_of(name: CodecName) -> Codec:
    """Return a codec by its name."""
    try:
        return _CODECS[name]
    except KeyError:
        raise ValueError(f"expected the codec json or msgpack, came {name!r}") from None
