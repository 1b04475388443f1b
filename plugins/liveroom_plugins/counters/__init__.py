"""Streaming counters: every figure of a session, live; docs/counters.md."""

from __future__ import annotations

from liveroom_plugins.counters.batch import recompute
from liveroom_plugins.counters.plugin import Counters
from liveroom_plugins.counters.records import Record


__all__ = ["Counters", "Record", "recompute"]
