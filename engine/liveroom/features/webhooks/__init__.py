"""Signed webhooks to the commerce back end, at least once (layer 5)."""

from __future__ import annotations

from liveroom.features.webhooks.plugin import Webhooks


__all__ = ["Webhooks"]
