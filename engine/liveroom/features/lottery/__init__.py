"""Verifiable draws (layer 5): docs/activities/lottery.md, docs/draw-proof.md."""

from __future__ import annotations

from liveroom.features.lottery.plugin import Lottery


__all__ = ["Lottery"]
