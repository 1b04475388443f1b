"""What the pure parts need of time: any asyncio event loop has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


__all__ = ["Clock", "Timer"]


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Do not make it."""


class Clock(Protocol):
    """A clock that never goes back, in seconds."""

    def time(self) -> float:
        """Return now."""

    def call_later(self, delay: float, callback: Callable[..., Any], /, *args: Any) -> Timer:
        """Call back after a delay."""
