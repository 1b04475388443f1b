"""Named places where a test may end a worker (layer 0).

A worker can die anywhere. Where it matters what was done before and what was not, the code names
the place, and costs one look into a dictionary that is almost always empty:

    _ANSWERED = declare("commit.answered", "the batch was answered, nobody was told")
    ...
    reach(_ANSWERED)

A test inside the process arms a place with an action of its own. A worker in a process of its own
is armed by the environment: `LIVEROOM_TEST_FAILPOINT=name` or `name:nth` ends it with SIGKILL when it
comes to that place for the first or nth time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from types import MappingProxyType


__all__ = ["ENVIRONMENT", "POINTS", "arm", "armed_by", "declare", "disarm_all", "reach"]

ENVIRONMENT = "LIVEROOM_TEST_FAILPOINT"

_points: dict[str, str] = {}
_armed: dict[str, _Armed] = {}

POINTS: Mapping[str, str] = MappingProxyType(_points)
"""Every place that was declared, with what is true when it is reached."""


class _Armed:
    """What happens at a place, from the reach after `after` others on."""

    __slots__ = ("_action", "_left")

    def __init__(self, action: Callable[[], None], after: int) -> None:
        self._action = action
        self._left = after

    def reached(self) -> None:
        if self._left:
            self._left -= 1
        else:
            self._action()


def declare(name: str, where: str) -> str:
    """Name a place; called once, when the module that has it is imported.

    Args:
        name: `part.place`, unique.
        where: what is true when it is reached.

    Raises:
        ValueError: another place has this name.
    """
    if name in _points and _points[name] != where:
        raise ValueError(f"two places are called {name}: {_points[name]!r} and {where!r}")
    _points[name] = where
    return name


def reach(name: str) -> None:
    """Be at a place: nothing happens unless it is armed."""
    if name in _armed:
        _armed[name].reached()


def arm(name: str, action: Callable[[], None], after: int = 0) -> None:
    """Have an action done at a place, until it is disarmed.

    Args:
        name: of the place; it need not be declared yet.
        action: called at every reach but the first `after`.
        after: how many reaches pass first.
    """
    _armed[name] = _Armed(action, after)


def disarm_all() -> None:
    """Let every place be passed again."""
    _armed.clear()


def armed_by(environ: Mapping[str, str]) -> str:
    """Arm what the environment names with the death of this process; return the place's name.

    Raises:
        ValueError: it is not `name` or `name:nth`.
    """
    name, _, nth = environ.get(ENVIRONMENT, "").partition(":")
    if name:
        arm(name, _die, int(nth or 1) - 1)
    return name


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


armed_by(os.environ)
