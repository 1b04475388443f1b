"""What a viewer insists on: asked under one key until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from liveroom_loadtest.crowd import Crowd
from liveroom_loadtest.viewer import Viewer


__all__ = ["Errand"]

Item = dict[str, Any]

_AGAIN = frozenset({"unavailable", "outcome_unknown", "overloaded", "rate_limited"})
_MOST_ASKED = 30
_AGAIN_MS = 300


class Errand:
    """One command that is asked again until there is an answer.

    Args:
        crowd: counts it as long as it is open.
        viewer: who asks.
        op: what.
        d: its body.
        key: its key; empty where the command is the same twice by itself.
        done: told the answer, and whether every time was answered: else it may have been done
            although a later time was refused.
    """

    __slots__ = ("_crowd", "_d", "_done", "_key", "_op", "_silent", "_tries", "_viewer")

    def __init__(
        self,
        crowd: Crowd,
        viewer: Viewer,
        op: str,
        d: Item,
        key: str,
        done: Callable[[Item, bool], None],
    ) -> None:
        self._crowd = crowd
        self._viewer = viewer
        self._op = op
        self._d = d
        self._key = key
        self._done = done
        self._tries = 0
        self._silent = False
        crowd.errands += 1

    def run(self, wait_s: float = 0.0) -> None:
        """Begin, now or later."""
        if wait_s:
            asyncio.get_running_loop().call_later(wait_s, self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        if not self._viewer.here and not self._crowd.ending:  # who is away asks when it is back
            self.run(_AGAIN_MS / 1000)
            return
        self._tries += 1
        self._viewer.ask(self._op, self._d, self._answered, self._key)

    def _answered(self, viewer: Viewer, item: Item | None) -> None:
        code = item["err"]["code"] if item and "err" in item else ""
        if item is not None and code not in _AGAIN:
            self._crowd.errands -= 1
            self._done(item, not self._silent)
            return
        self._silent |= item is None or code == "outcome_unknown"
        if self._tries >= _MOST_ASKED or self._crowd.ending:
            self._crowd.errands -= 1
            self._crowd.problem(f"{self._op}: never answered ({code or 'silence'})")
            return
        wait = item["err"].get("retry_ms", _AGAIN_MS) if item else _AGAIN_MS
        self.run(wait / 1000)
