"""Items and the messages that are made of them (layer 2).

Every server message is a list of items. An item exists as JSON bytes from the moment it is made;
its MessagePack form is made once, when the first viewer of that codec needs it. A message is framed
once per variant and the same bytes go to every viewer of that variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import orjson

from liveroom.errors import CommandError
from liveroom.protocol.frame_builder import binary_frame, deflated_frame, text_frame


__all__ = [
    "Item",
    "Message",
    "event_item",
    "frame_of",
    "refusal_item",
    "reply_item",
    "room_item",
    "stored_reply_item",
]

_TEXT, _BINARY = 1, 2


class Item:
    """One item as JSON bytes, and as MessagePack once somebody asked for it."""

    __slots__ = ("_packed", "json")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._packed: bytes | None = None

    @property
    def packed(self) -> bytes:
        """The item as MessagePack."""
        if self._packed is None:
            self._packed = msgpack.packb(orjson.loads(self.json))
        return self._packed


class Message:
    """A list of items, framed lazily once per variant (codec, deflated or not).

    Args:
        items: what every viewer is given.
        deflate_min: bytes below which a frame goes plain.
        sheddable: kind -> how many items of it a viewer misses that is not given this message.
    """

    __slots__ = ("_deflate_min", "frames", "items", "sheddable")

    def __init__(
        self, items: Sequence[Item], deflate_min: int, sheddable: Mapping[str, int] | None = None
    ) -> None:
        self.items = items
        self.sheddable = sheddable or {}
        self._deflate_min = deflate_min
        self.frames: list[bytes | None] = [None, None, None, None]

    def frame(self, variant: int) -> bytes:
        """Return the RFC 6455 frame of a variant (bit 0: MessagePack, bit 1: deflate)."""
        ready = self.frames[variant]
        if ready is None:
            ready = self.frames[variant] = frame_of(self.items, variant, self._deflate_min)
        return ready


def frame_of(items: Sequence[Item], variant: int, deflate_min: int = 0) -> bytes:
    """Return one frame with these items; `deflate_min` is read for deflated variants only."""
    binary = bool(variant & 1)
    payload = _packed_list(items) if binary else b"[" + b",".join([i.json for i in items]) + b"]"
    if variant & 2 and len(payload) >= deflate_min:
        return deflated_frame(_BINARY if binary else _TEXT, payload)
    return binary_frame(payload) if binary else text_frame(payload)


def _packed_list(items: Sequence[Item]) -> bytes:
    head: bytes = msgpack.Packer().pack_array_header(len(items))
    return head + b"".join([item.packed for item in items])


def reply_item(re: int, d: Any) -> Item:
    """Return `{"re": re, "d": d}`."""
    return Item(b'{"re":%d,"d":%b}' % (re, orjson.dumps(d)))


def room_item(room: str) -> Item:
    """Return `{"room": room}`: the rest of the message is about this room.

    Leads every message about a room that a control connection joined after its hello's.
    """
    return Item(orjson.dumps({"room": room}))


def stored_reply_item(re: int, reply: bytes) -> Item:
    """Return the reply that the store's script gave: "+" and JSON, or "-" and JSON.

    The bytes pass unchanged, so a repeated idempotency key gets an equal answer.
    """
    field = b"d" if reply[:1] == b"+" else b"err"
    return Item(b'{"re":%d,"%b":%b}' % (re, field, reply[1:]))


def refusal_item(re: int | None, error: CommandError) -> Item:
    """Return `{"re": re, "err": …}`; `re` is null when the command's id could not be read."""
    number = b"null" if re is None else b"%d" % re
    return Item(b'{"re":%b,"err":%b}' % (number, orjson.dumps(error.to_wire())))


def event_item(name: str, d: Any, ts: int | None = None, **extra: Any) -> Item:
    """Return an event without a sequence number (ephemeral, or from the system).

    Args:
        name: its `ev`.
        d: its body.
        ts: server time in ms, where it matters.
        extra: further fields of the item.
    """
    item: dict[str, Any] = {"ev": name}
    if ts is not None:
        item["ts"] = ts
    item["d"] = d
    if extra:
        item |= extra
    return Item(orjson.dumps(item))
