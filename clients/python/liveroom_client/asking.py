"""What everything that sends commands has in common: one generic command."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from liveroom_client.items import Item


__all__ = ["Answer", "Asking"]

Answer = dict[str, Any]


class Asking(ABC):
    """Sends a command and waits for its answer."""

    __slots__ = ()

    @abstractmethod
    async def ask(
        self,
        op: str,
        d: Item | None = None,
        *,
        key: str | bool = False,
        if_version: int | None = None,
        room: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send any command and return the reply's `d`; see LiveClient. Raises LiveError."""
