"""Real-time interaction engine for live-commerce rooms.

What stands in `__all__` is the public API: what a plugin may import. It is loaded on first use, so
that `import liveroom.protocol` (a client) brings in neither the server nor Redis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from liveroom.auth.claims import Claims, Role
    from liveroom.config import Settings
    from liveroom.core.clock import Clock
    from liveroom.core.position import Position
    from liveroom.errors import CommandError, ConfigError, LiveroomError, StoreError
    from liveroom.features.room import HOST_SURFACES, Version
    from liveroom.features.soldout import SoldOut
    from liveroom.features.text import plain_text, shown_text
    from liveroom.features.wallet import MAX_AMOUNT, Payments
    from liveroom.plugin.context import Call, Engine, Member, RoomHandle, expect_any_room
    from liveroom.plugin.rest import CLAIMS, answer_command, json_answer, json_body
    from liveroom.plugin.spec import (
        Commit,
        Delivery,
        EventSpec,
        Plugin,
        Result,
        StateSpec,
        Surface,
        command,
        open_to,
    )
    from liveroom.protocol.messages import Body, Empty, Ident
    from liveroom.store.port import History, LogEntry, Op

__all__ = [
    "CLAIMS",
    "HOST_SURFACES",
    "MAX_AMOUNT",
    "Body",
    "Call",
    "Claims",
    "Clock",
    "CommandError",
    "Commit",
    "ConfigError",
    "Delivery",
    "Empty",
    "Engine",
    "EventSpec",
    "History",
    "Ident",
    "LiveroomError",
    "LogEntry",
    "Member",
    "Op",
    "Payments",
    "Plugin",
    "Position",
    "Result",
    "Role",
    "RoomHandle",
    "Settings",
    "SoldOut",
    "StateSpec",
    "StoreError",
    "Surface",
    "Version",
    "answer_command",
    "command",
    "expect_any_room",
    "json_answer",
    "json_body",
    "open_to",
    "plain_text",
    "shown_text",
]

__version__ = "0.1.0"

_HOMES = {
    "liveroom.auth.claims": ("Claims", "Role"),
    "liveroom.config": ("Settings",),
    "liveroom.core.clock": ("Clock",),
    "liveroom.core.position": ("Position",),
    "liveroom.errors": ("CommandError", "ConfigError", "LiveroomError", "StoreError"),
    "liveroom.features.room": ("HOST_SURFACES", "Version"),
    "liveroom.features.soldout": ("SoldOut",),
    "liveroom.features.text": ("plain_text", "shown_text"),
    "liveroom.features.wallet": ("MAX_AMOUNT", "Payments"),
    "liveroom.plugin.context": ("Call", "Engine", "Member", "RoomHandle", "expect_any_room"),
    "liveroom.plugin.rest": ("CLAIMS", "answer_command", "json_answer", "json_body"),
    "liveroom.plugin.spec": (
        "Commit", "Delivery", "EventSpec", "Plugin", "Result", "StateSpec", "Surface", "command",
        "open_to",
    ),
    "liveroom.protocol.messages": ("Body", "Empty", "Ident"),
    "liveroom.store.port": ("History", "LogEntry", "Op"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'liveroom' has no attribute {name!r}")
    return getattr(import_module(home), name)
