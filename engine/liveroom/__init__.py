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
    from liveroom.plugin.context import Call, Engine, Member, RoomHandle
    from liveroom.plugin.spec import (
        Commit,
        Delivery,
        EventSpec,
        Plugin,
        Result,
        StateSpec,
        Surface,
        command,
    )
    from liveroom.protocol.messages import Body, Empty
    from liveroom.store.port import LogEntry, Op

__all__ = [
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
    "LiveroomError",
    "LogEntry",
    "Member",
    "Op",
    "Plugin",
    "Position",
    "Result",
    "Role",
    "RoomHandle",
    "Settings",
    "StateSpec",
    "StoreError",
    "Surface",
    "command",
]

__version__ = "0.1.0"

_HOMES = {
    "liveroom.auth.claims": ("Claims", "Role"),
    "liveroom.config": ("Settings",),
    "liveroom.core.clock": ("Clock",),
    "liveroom.core.position": ("Position",),
    "liveroom.errors": ("CommandError", "ConfigError", "LiveroomError", "StoreError"),
    "liveroom.plugin.context": ("Call", "Engine", "Member", "RoomHandle"),
    "liveroom.plugin.spec": (
        "Commit", "Delivery", "EventSpec", "Plugin", "Result", "StateSpec", "Surface", "command",
    ),
    "liveroom.protocol.messages": ("Body", "Empty"),
    "liveroom.store.port": ("LogEntry", "Op"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'liveroom' has no attribute {name!r}")
    return getattr(import_module(home), name)
