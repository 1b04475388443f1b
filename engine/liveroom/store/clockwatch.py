"""Whether the store's clock goes on as this machine's does (layer 4).

All times that matter are the store's, so a jump of its clock ends sales early or late, and nothing
breaks: only its answers tell. When a call was answered within a second, the server's clock stood at
what it says sometime within that second; two answers that no steady clock can have given are a jump.
"""

from __future__ import annotations

import math

import structlog


__all__ = ["ClockWatch"]

log = structlog.get_logger("liveroom.store")

_JUMP_S = 1.0
"""What is no jump: clocks that are set right step by step, and those of two servers that differ."""


class ClockWatch:
    """Compares the times of one answer after the other.

    Attributes:
        jumps: how often they did not fit.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._least, self._most = -math.inf, math.inf

    def look(self, server_ms: int, began: float, ended: float) -> None:
        """Take the server's time in the answer to a call.

        Args:
            server_ms: Unix milliseconds.
            began: monotonic seconds when the call was made.
            ended: monotonic seconds when it was answered.
        """
        least, most = server_ms / 1000 - ended, server_ms / 1000 - began
        jump = max(least - self._most, self._least - most)
        if jump > _JUMP_S:
            self.jumps += 1
            log.warning("store clock jumped", seconds=round(jump, 1))
        self._least, self._most = least, most
