"""What a client is shown: events, states and greetings, small and typed. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct


__all__ = ["Event", "Greeting", "Item", "Shown", "State", "greeting_of"]

Item = dict[str, Any]


class Event(Struct, frozen=True, gc=False):
    """Something that happened.

    Attributes:
        name: `danmaku`, `gift.sent`, …
        d: its body.
        room: where.
        seq: its number, if it is durable.
        sub: its number among those for you alone.
        ts: server time in Unix ms, where it is known.
        kept: it was shed for everyone else and is shown to you because you said it.
    """

    name: str
    d: Any
    room: str
    seq: int | None = None
    sub: int = 0
    ts: int | None = None
    kept: bool = False


class State(Struct, frozen=True, gc=False):
    """The newest value of a key; `value` None: the key is gone."""

    key: str
    value: Any
    v: int
    room: str


class Greeting(Struct, frozen=True, kw_only=True):
    """The answer to a hello, a `sys.join` or a `sys.resume`.

    Attributes:
        resumed: nothing was missed. False: drop what was derived from earlier items and begin from
            `snapshot`, `own` and the states.
    """

    session: str
    user: str = ""
    name: str = ""
    role: str = ""
    room: str
    epoch: str
    seq: int
    sub: int = 0
    resumed: bool
    now: int
    beat_ms: int = 0
    snapshot: dict[str, Any] = {}
    states: list[Any] = []
    own: dict[str, Any] = {}


Shown = Event | State | Greeting


def greeting_of(d: Any) -> Greeting:
    """Return the greeting in a reply's `d`. Raises ValueError."""
    return msgspec.convert(d, Greeting)
