"""What a frame holds, found out once however many viewers get it (pure).

A hub writes the same bytes to every viewer. So a process of viewers decodes a frame once and knows
it again by its bytes; for every further viewer it costs a look-up, and yet each viewer counts and
checks everything that it was shown.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import msgpack
import orjson

from liveroom_loadtest.oracle import Mark, mark_of


__all__ = ["PROMPTS", "Digest", "Known", "digest_of", "stamp", "stamped_at"]

Item = dict[str, Any]

_RSV1, _OPCODE, _TEXT = 0x40, 0x0F, 0x1
_TAIL = b"\0\0\xff\xff"
_KEPT_FRAMES = 1024
PROMPTS = frozenset({"flash.started", "lottery.opened"})
"""Events that viewers act on."""


class Rare(NamedTuple):
    """What few frames hold."""

    replies: tuple[Item, ...]
    durable: tuple[Mark, ...]
    prompts: tuple[Item, ...]
    system: tuple[Item, ...]
    shed: int


class Digest(NamedTuple):
    """What a viewer has to know of a frame.

    Args:
        events: of all kinds but `sys.…`.
        danmaku: messages that were shown, without those kept for their author alone.
        stamps: when these were sent, monotonic ns.
        rare: the rest, if there is any.
    """

    events: int
    danmaku: int
    stamps: tuple[int, ...]
    rare: Rare | None


def stamp(now_ns: int, phrase: str) -> str:
    """Return a message's text that tells when it was sent."""
    return f"@{now_ns}~{phrase}"


def stamped_at(text: str) -> int | None:
    """Return when a message was sent, if it tells."""
    head, _, _ = text.partition("~")
    return int(head[1:]) if head[:1] == "@" and head[1:].isascii() and head[1:].isdigit() else None


def digest_of(items: list[Item]) -> Digest:
    """Return what a message holds."""
    stamps: list[int] = []
    found = _Found()
    for item in items:
        if "ev" not in item:
            found.take_other(item)
        elif item["ev"] == "danmaku":
            found.events += 1
            if not item.get("kept"):
                found.danmaku += 1
                at = stamped_at(item["d"]["text"])
                if at is not None:
                    stamps.append(at)
        else:
            found.take_event(item)
    return Digest(found.events, found.danmaku, tuple(stamps), found.rare())


class _Found:
    """What was found so far."""

    def __init__(self) -> None:
        self.events = self.danmaku = self._shed = 0
        self._replies: list[Item] = []
        self._durable: list[Mark] = []
        self._prompts: list[Item] = []
        self._system: list[Item] = []

    def take_other(self, item: Item) -> None:
        """Take a reply; states are newest values, nothing is counted of them."""
        if "re" in item:
            self._replies.append(item)

    def take_event(self, item: Item) -> None:
        """Take an event that is no message."""
        name = item["ev"]
        if name == "sys.shed":
            self._shed += item["d"].get("danmaku", 0)
        elif name.startswith("sys."):
            self._system.append(item)
        else:
            self.events += 1
            if "seq" in item:
                self._durable.append(mark_of(item))
            if name in PROMPTS:
                self._prompts.append(item)

    def rare(self) -> Rare | None:
        """Return what few frames hold; None if this one does not."""
        made = Rare(
            tuple(self._replies),
            tuple(self._durable),
            tuple(self._prompts),
            tuple(self._system),
            self._shed,
        )
        return made if any(made) else None


class Known:
    """The frames seen lately, by their bytes."""

    def __init__(self) -> None:
        self._digests: dict[bytes, Digest] = {}
        self.get = self._digests.get
        self.decoded = 0

    def learn(self, frame: bytes, payload: bytes) -> Digest:
        """Decode a frame that is new; return what it holds. Raises ValueError."""
        if frame[0] & _RSV1:
            payload = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + _TAIL)
        loads = orjson.loads if frame[0] & _OPCODE == _TEXT else msgpack.unpackb
        digest = digest_of(loads(payload))
        self.decoded += 1
        if len(self._digests) >= _KEPT_FRAMES:
            del self._digests[next(iter(self._digests))]
        self._digests[frame] = digest
        return digest
