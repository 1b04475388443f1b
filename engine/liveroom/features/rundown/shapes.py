"""Bodies of the rundown's commands, events and states (layer 5)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from liveroom.features.room import Version
from liveroom.protocol.messages import Body, Ident
from liveroom.shows import Cues, Title


__all__ = [
    "CueOf",
    "CueStep",
    "RundownPut",
    "RundownStart",
    "RundownState",
    "Step",
]

CueStatus = Literal["waiting", "due", "fired", "failed", "skipped"]


class RundownPut(Body, frozen=True, kw_only=True):
    """The whole plan."""

    cues: Cues
    title: Title = ""
    if_version: Version | None = None


class RundownStart(Body, frozen=True, kw_only=True):
    """Begin, if the plan is still the one that was seen."""

    if_version: Version | None = None


class CueOf(Body, frozen=True, kw_only=True):
    """Which cue."""

    cue: Ident


class CueStep(Struct, kw_only=True):
    """`d` of `rundown.cue`; times are the server's. `error` is `{code, msg}` of a cue that failed."""

    cue: str
    status: CueStatus
    due_ms: int | UnsetType = UNSET
    fired_ms: int | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET


class Step(CueStep, kw_only=True):
    """`d` of `rundown.step`, between workers; `worker` is to run it when it is due."""

    run: str
    worker: str | UnsetType = UNSET


class RundownState(Struct):
    """`d` of the state `rundown`: nothing of what is planned."""

    status: Literal["ready", "running", "paused", "done"]
