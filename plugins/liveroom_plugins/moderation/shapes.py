"""What moderators send, what everyone and the staff are told."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom import Body, Delivery, EventSpec, StateSpec, Version


__all__ = [
    "EVENTS",
    "STATES",
    "Ban",
    "Delete",
    "HeldMessage",
    "Mode",
    "Mute",
    "OfUser",
    "ReadLog",
    "Remove",
]

MAX_S = 315_360_000
"""Ten years."""

UserId = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$(?!\n)", description="a user id")
]
HeldId = Annotated[str, Meta(pattern=r"^h[0-9]{1,12}$(?!\n)", description="from `mod.held`")]
Reason = Annotated[str, Meta(max_length=80)]
Strictness = Annotated[int, Meta(ge=0, le=4, description="0: no words are looked for; 4: all")]
Category = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)", description="of words")]


class OfUser(Body, frozen=True, kw_only=True):
    """Whom it is about."""

    user: UserId


class Remove(OfUser, frozen=True, kw_only=True):
    """Whom to send away, and why."""

    reason: Reason | None = None


class Mute(Remove, frozen=True, kw_only=True):
    """Who may not speak, for how long."""

    seconds: Annotated[int, Meta(ge=1, le=MAX_S)]


class Ban(Remove, frozen=True, kw_only=True):
    """Who, for how long; 0: for good."""

    seconds: Annotated[int, Meta(ge=0, le=MAX_S)] = 0


class Mode(Body, frozen=True, kw_only=True):
    """How viewers may speak; fields left out stay as they are."""

    slow_s: Annotated[int, Meta(ge=0, le=300)] | None = None
    delay_s: Annotated[int, Meta(ge=0, le=60)] | None = None
    followers: bool | None = None
    level: Annotated[int, Meta(ge=0, le=1000)] | None = None
    emote_only: bool | None = None
    unique: bool | None = None
    filter: Strictness | None = None
    levels: Annotated[dict[Category, Strictness], Meta(max_length=64)] | None = None
    if_version: Version | None = None


class HeldMessage(Body, frozen=True, kw_only=True):
    """What waits to be looked at."""

    id: HeldId


class Delete(Body, frozen=True, kw_only=True):
    """One message, or all of a user's."""

    id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    user: UserId | None = None


class ReadLog(Body, frozen=True, kw_only=True):
    """Which page, the newest first."""

    offset: Annotated[int, Meta(ge=0, le=1000)] = 0
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Sanctioned(Struct):
    """`d` of `mod.muted` and `mod.banned`; `until_ms` 0: for good; `by` is a user id."""

    user: str
    until_ms: int
    by: str


class Lifted(Struct):
    """`d` of `mod.unmuted` and `mod.unbanned`; `by` is empty when it was over by itself."""

    user: str
    by: str


class Told(Struct):
    """`d` of `mod.notice`."""

    what: Literal["mute", "unmute", "rejected", "expired"]
    until_ms: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    held: str | UnsetType = UNSET


class Deleted(Struct):
    """`d` of `danmaku.deleted`: these messages, or all of a user's up to now."""

    by: str
    ids: list[str] | UnsetType = UNSET
    user: str | UnsetType = UNSET


class Held(Struct):
    """`d` of `mod.held`; `body` is that of the command `op`, as JSON."""

    id: str
    op: str
    body: str
    kind: str
    user: str
    name: str
    role: str
    level: int
    text: str
    rules: list[str]
    at_ms: int
    until_ms: int


class Settled(Struct):
    """`d` of `mod.settled`."""

    id: str
    how: Literal["approved", "rejected", "expired"]
    by: str
    user: str


class Said(Struct):
    """A message as `danmaku` will show it, as far as a moderator needs it."""

    id: str
    user: dict[str, str]
    text: str


class Delayed(Struct):
    """`d` of `mod.delayed`."""

    until_ms: int
    messages: list[Said]


class Dropped(Struct):
    """`d` of `mod.dropped`."""

    ids: list[str]
    by: str


class Wave(Struct):
    """`d` of `danmaku.wave`: `n` more have said so on one worker since it was told last."""

    text: str
    n: int


class ModState(Struct):
    """`d` of the state `mod`; `levels` are those of categories that differ from `filter`."""

    slow_s: int
    delay_s: int
    followers: bool
    level: int
    emote_only: bool
    unique: bool
    filter: int
    levels: dict[str, int]


EVENTS = (
    EventSpec(
        "mod.muted", Delivery.DURABLE, "A user may not speak: `{user, until_ms, by}`.", Sanctioned
    ),
    EventSpec("mod.unmuted", Delivery.DURABLE, "A user may speak again: `{user, by}`.", Lifted),
    EventSpec(
        "mod.banned",
        Delivery.DURABLE,
        "A user may not be here: `{user, until_ms, by}`; 0: for good.",
        Sanctioned,
    ),
    EventSpec("mod.unbanned", Delivery.DURABLE, "A user may come again: `{user, by}`.", Lifted),
    EventSpec(
        "mod.notice",
        Delivery.DURABLE,
        "To one viewer: `{what: mute|unmute|rejected|expired, until_ms?, reason?, held?}`.",
        Told,
    ),
    EventSpec(
        "danmaku.deleted",
        Delivery.DURABLE,
        "Take messages off the screen: `{ids?, user?, by}`.",
        Deleted,
    ),
    EventSpec(
        "mod.held",
        Delivery.SYSTEM,
        "To moderators: a message waits: `{id, op, body, kind, user, name, role, level, text, "
        "rules, at_ms, until_ms}`.",
        Held,
    ),
    EventSpec(
        "mod.settled",
        Delivery.SYSTEM,
        "To moderators: it waits no more: `{id, how: approved|rejected|expired, by, user}`.",
        Settled,
    ),
    EventSpec(
        "mod.delayed",
        Delivery.SYSTEM,
        "To moderators: what viewers will be shown: `{until_ms, messages: [{id, user, text, …}]}`.",
        Delayed,
    ),
    EventSpec(
        "mod.dropped",
        Delivery.SYSTEM,
        "To moderators: it will not be shown: `{ids, by}`.",
        Dropped,
    ),
    EventSpec(
        "danmaku.wave",
        Delivery.EPHEMERAL,
        "Many say the same: `{text, n}`, how many more since it was told last.",
        Wave,
        per_s=10.0,
    ),
    EventSpec(
        "mod.changed", Delivery.DURABLE, "To workers: what each keeps a copy of.", internal=True
    ),
)

STATES = (
    StateSpec(
        "mod",
        "How viewers may speak: `{slow_s, delay_s, followers, level, emote_only, unique, filter, "
        "levels}`.",
        ModState,
    ),
)
