"""What a session is given and gives: how it talks, what is done for it, what it counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from liveroom_client.codec import Codec
from liveroom_client.items import Item


__all__ = ["Figures", "Io", "Status", "Terms", "TokenDone"]

Status = Literal["idle", "connecting", "live", "waiting", "ended"]
TokenDone = Callable[[str | None], None]


class Io(Protocol):
    """What a session has done for it. None of it calls back at once, save for a ready token."""

    def open(self, link: int) -> None:
        """Open a connection; then `opened` or `lost` is called."""

    def send(self, link: int, command: bytes) -> None:
        """Send a command, maybe together with others."""

    def close(self, link: int, code: int) -> None:
        """Close a connection; nothing of it is heard any more."""

    def fetch_token(self, room: str, done: TokenDone) -> None:
        """Get the token of a room; None if that failed or there is no way to get one."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a session talks.

    Attributes:
        hello: fields of the hello besides room, token and resume.
        renewable: whether a new token can be had when one ends.
        skim: messages without replies, durable or system events are counted, not decoded.
    """

    codec: Codec
    hello: Item = field(default_factory=dict)
    renewable: bool = False
    skim: bool = False
    reply_timeout_s: float = 10.0
    heartbeat_s: float = 60.0


class Figures:
    """What was counted since the start.

    Attributes:
        messages, bytes: that came, as payloads.
        junk: messages and items that no server should send.
        connects: connections that were greeted.
    """

    __slots__ = ("bytes", "connects", "junk", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.junk = 0
        self.connects = 0
