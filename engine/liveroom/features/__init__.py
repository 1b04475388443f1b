"""Built-in features; each is a plugin of the public contract (layer 5)."""

from __future__ import annotations

from liveroom.config import Settings
from liveroom.features.access import Access
from liveroom.features.auditor import Auditor
from liveroom.features.danmaku import Danmaku
from liveroom.features.flash import FlashSales
from liveroom.features.follow import Follow
from liveroom.features.gift import Gifts
from liveroom.features.leases import Leases
from liveroom.features.like import Likes
from liveroom.features.lottery import Lottery
from liveroom.features.notice import Notice
from liveroom.features.poll import Polls
from liveroom.features.presence import Presence
from liveroom.features.qa import Questions
from liveroom.features.quiz import Quiz
from liveroom.features.rank import Rank
from liveroom.features.room import RoomFeature
from liveroom.features.rundown import Rundown
from liveroom.features.shelf import Shelf
from liveroom.features.stats import Stats
from liveroom.features.system import System
from liveroom.features.wallet import Wallet
from liveroom.features.webhooks import Webhooks
from liveroom.plugin.spec import Plugin


__all__ = ["builtin_plugins"]


def builtin_plugins(settings: Settings) -> list[Plugin]:
    """Return the features that every room has, in the order in which their hooks run."""
    return [
        System(),
        Access(),
        RoomFeature(),
        Presence(settings),
        Danmaku(settings),
        Likes(),
        Wallet(settings),
        Gifts(),
        Shelf(),
        FlashSales(),
        Follow(),
        Polls(),
        Stats(),
        Rank(),
        Questions(),
        Quiz(),
        Leases(),
        Webhooks(settings),
        Auditor(settings),
        Lottery(),
        Notice(),
        Rundown(),
    ]
