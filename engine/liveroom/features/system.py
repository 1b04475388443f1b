"""Events that the engine itself sends to a connection; declared here so that they are documented."""

from __future__ import annotations

from msgspec import Struct, field

from liveroom.plugin.spec import Delivery, EventSpec, Plugin


__all__ = ["System"]


class Gap(Struct):
    """`d` of `sys.gap`; `from` and `to` are null: what is missing cannot be named any more."""

    since: int | None = field(name="from")
    until: int | None = field(name="to")
    epoch: str


class Reconnect(Struct):
    """`d` of `sys.reconnect`."""

    after_ms: int
    spread_ms: int


class TokenEnds(Struct):
    """`d` of `sys.token`; Unix ms."""

    expires_ms: int


class System(Plugin):
    """Declares the system events; the hub and the front send them."""

    name = "system"
    events = (
        EventSpec(
            "sys.shed",
            Delivery.SYSTEM,
            "How many items of each kind were not shown to you since the last such event.",
            dict[str, int],
        ),
        EventSpec(
            "sys.gap",
            Delivery.SYSTEM,
            "History was lost (a new epoch): ask `sys.resume` without a position for a snapshot.",
            Gap,
        ),
        EventSpec(
            "sys.reconnect",
            Delivery.SYSTEM,
            "The worker goes away: reconnect after `after_ms` plus a random part of `spread_ms`.",
            Reconnect,
        ),
        EventSpec(
            "sys.token",
            Delivery.SYSTEM,
            "The token ends at `expires_ms`: send `sys.token` with a new one.",
            TokenEnds,
        ),
    )
