"""Bodies of the commands and events of alerts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom import Body, Delivery, EventSpec


__all__ = ["EVENTS", "AlertOf", "AlertTold"]


class AlertOf(Body, frozen=True, kw_only=True):
    """Which alert."""

    alert: Annotated[str, Meta(pattern=r"^a[0-9]{1,12}$(?!\n)")]


class Acknowledged(Struct):
    """Who has seen it, and when."""

    by: str
    ms: int


class Acted(Struct):
    """The automatic action: `done` when it was run, `code` if it was refused."""

    op: str
    d: dict[str, Any]
    ms: int
    done: bool | UnsetType = UNSET
    code: str | UnsetType = UNSET


class AlertTold(Struct, kw_only=True):
    """`d` of `alert`; times are the server's. `base` is what `value` was held against."""

    alert: str
    status: Literal["raised", "acknowledged", "resolved"]
    room: str
    name: str
    rule: str
    kind: Literal["threshold", "change", "deviation", "missing"]
    severity: Literal["info", "warning", "critical"]
    series: str
    text: str
    since_ms: int
    key: str | UnsetType = UNSET
    value: float | UnsetType = UNSET
    base: float | UnsetType = UNSET
    ack: Acknowledged | UnsetType = UNSET
    act: Acted | UnsetType = UNSET
    ended_ms: int | UnsetType = UNSET
    reason: Literal["cleared", "closed", "unwatched", "gone"] | UnsetType = UNSET


Record = dict[str, Any]
"""An alert as the script keeps it."""

EVENTS = (
    EventSpec(
        "alert",
        Delivery.SYSTEM,
        "To moderators and hosts: an alert was raised, acknowledged or resolved: `{alert, status, "
        "room, name, rule, kind, severity, series, text, since_ms, key?, value?, base?, ack?, act?, "
        "ended_ms?, reason?}`.",
        AlertTold,
    ),
    EventSpec(
        "alert.told",
        Delivery.DURABLE,
        "Between workers: have the staff of the room told.",
        AlertTold,
        internal=True,
    ),
)
