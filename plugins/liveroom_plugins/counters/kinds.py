"""What viewers do that is counted: kinds, and how each comes to be known."""

from __future__ import annotations

from typing import Final


__all__ = ["INTERACTIONS", "LETTERS"]

LETTERS: Final = {"like": "L", "share": "S", "click": "K", "cart": "T"}
"""Kinds that workers gather, and the letter of each in a viewer's record; `A` is any interaction.

Messages are gathered one by one (said.lua), as they may be deleted later. The store counts the others
itself, in the step in which they happen (viewers.lua)."""

INTERACTIONS: Final = (
    "like",
    "danmaku",
    "share",
    "gift",
    "vote",
    "question",
    "upvote",
    "quiz",
    "lottery",
    "follow",
    "coupon",
    "redpacket",
)
"""What counts as an interaction; clicks, carts and orders are the way to a sale instead."""
