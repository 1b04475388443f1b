"""Moderation: what viewers and hosts write, against packs of words and patterns.

The text engine is pure, save for the classifier's HTTP call; `plugin` brings it into rooms. Enabled as
`liveroom_plugins.moderation:Moderation`.
"""

from __future__ import annotations

from .hits import Hit, heaviest
from .lexicon import Action, Levels, Pack, PackError, load_pack, load_shipped
from .masking import mask
from .matcher import Matcher
from .plugin import Moderation


__all__ = [
    "Action",
    "Hit",
    "Levels",
    "Matcher",
    "Moderation",
    "Pack",
    "PackError",
    "heaviest",
    "load_pack",
    "load_shipped",
    "mask",
]
