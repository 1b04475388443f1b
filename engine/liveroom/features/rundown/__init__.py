"""The rundown: prepared commands that are carried out by the clock or by a click (layer 5)."""

from __future__ import annotations

from liveroom.features.rundown.plugin import Rundown


__all__ = ["Rundown"]
