"""The auditor: recomputes invariants, raises alarm, shows the trail (layer 5)."""

from __future__ import annotations

from liveroom.features.auditor.plugin import Auditor


__all__ = ["Auditor"]
