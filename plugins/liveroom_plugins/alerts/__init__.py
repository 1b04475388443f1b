"""Alerts: rules over what a room shows, and what is done when they hold (docs/alerts.md)."""

from __future__ import annotations

from liveroom_plugins.alerts.plugin import Alerts


__all__ = ["Alerts"]
