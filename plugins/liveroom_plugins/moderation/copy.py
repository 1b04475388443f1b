"""What a worker knows of a room: who may not speak, how viewers may speak, what was said lately."""

from __future__ import annotations

import re
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from liveroom import Call, CommandError, Member, RoomHandle

from .flood import Flood
from .normalise import fingerprint
from .outbox import Outbox


__all__ = ["SANCTIONS", "RoomCopy", "is_emotes"]

SANCTIONS: Final = ("mute", "ban", "shadow")
MAX_TEXTS = 2000
UNIQUE_S = 60.0
FOLLOWS_S = 10.0
"""For how long a follower is believed to follow still."""

_NAMED: Final = re.compile(r"\[[^\[\]\s]{1,8}\]|\s")
_PICTURES: Final = frozenset({"So", "Sk", "Mn", "Me", "Cf"})

Row = Mapping[str, Any]


def is_emotes(text: str) -> bool:
    """Tell whether a text is pictures alone: emoji, or names in brackets such as [笑]."""
    rest = _NAMED.sub("", text)
    return all(unicodedata.category(char) in _PICTURES for char in rest)


class RoomCopy:
    """A room on this worker. The sanctions are the store's; the rest is this worker's own.

    Args:
        room: the room.
    """

    def __init__(self, room: RoomHandle) -> None:
        self.room = room
        self.rev = -1
        """Of the sanctions as they are known whole; -1: they have not been read."""
        self._heard = -1
        self.flood = Flood()
        self.outbox = Outbox(room)
        self._sanctions: dict[str, dict[str, Row]] = {what: {} for what in SANCTIONS}
        self._spoke: dict[str, float] = {}
        self._said: OrderedDict[str, float] = OrderedDict()
        self._follows: dict[str, float] = {}
        self._renamed: OrderedDict[tuple[str, str], None] = OrderedDict()

    @property
    def loaded(self) -> bool:
        """Whether the sanctions have been read."""
        return self.rev >= 0

    @property
    def bans(self) -> Mapping[str, Row]:
        """Who may not be here."""
        return self._sanctions["ban"]

    # The sanctions.

    def take(self, answer: Mapping[str, Any]) -> bool:
        """Take what the store says; return whether that is no older than what was heard."""
        if answer["rev"] < self._heard:
            return False
        self.rev = self._heard = answer["rev"]
        if "mute" in answer:
            for what in SANCTIONS:
                self._sanctions[what] = {row["user"]: row for row in answer[what]}
        return True

    def hear(self, d: Mapping[str, Any]) -> bool:
        """Take one change; return whether the copy is whole with it: none before it was missed."""
        if d["rev"] <= self._heard:
            return True
        self._heard = d["rev"]
        what: str = d["what"]
        if what in SANCTIONS:
            self._sanctions[what][d["row"]["user"]] = d["row"]
        else:
            self._sanctions[what.removeprefix("un")].pop(d["user"], None)
        if not self.loaded or d["rev"] != self.rev + 1:
            return False
        self.rev = d["rev"]
        return True

    def impose(self, what: str, row: Row) -> None:
        """Let a sanction hold here before the store has told of it."""
        self._sanctions[what].setdefault(row["user"], row)

    def under(self, what: str, member: Member) -> Row | None:
        """Return the sanction that holds for a member."""
        rows = self._sanctions[what]
        row = rows.get(member.user) if rows else None  # for most rooms there are none
        return row if row is not None and member.claims.role.rank < row["rank"] else None

    def close_banned(self, users: Iterable[str]) -> None:
        """Close the connections of banned users."""
        for user in users:
            for member in self.room.of_user(user):
                row = self.under("ban", member)
                if row is not None:
                    member.close("banned", row.get("reason", ""))

    # How viewers may speak.

    def expect_mode(self, call: Call[Any], text: str, now: float, *, alone: bool = False) -> None:
        """Raise CommandError unless the room's mode lets a viewer say this now.

        With `alone` nobody else hears it: then others may say the same.
        """
        mode = self.room.state("mod")
        if not mode:
            return
        if call.member.claims.level < mode["level"]:
            raise CommandError("not_eligible", f"the room is for level {mode['level']} and above")
        if mode["emote_only"] and not is_emotes(text):
            raise CommandError("not_allowed", "only emotes now")
        self._expect_slow(call.user, mode["slow_s"], now)
        if mode["unique"]:
            self._expect_new(text, now, alone=alone)
        self._spoke[call.user] = now

    def needs_follow(self, user: str, now: float) -> bool:
        """Tell whether it has to be asked whether a viewer follows."""
        mode = self.room.state("mod")
        return bool(mode) and mode["followers"] and self._follows.get(user, 0.0) < now

    def follows(self, user: str, now: float) -> None:
        """Take that a viewer follows."""
        self._follows[user] = now + FOLLOWS_S

    def is_renamed(self, user: str, name: str) -> bool:
        """Note that a name is not shown; return whether that was known: one comes back often."""
        known = (user, name) in self._renamed
        self._renamed[user, name] = None
        if len(self._renamed) > MAX_TEXTS:
            self._renamed.popitem(last=False)
        return known

    def forget(self, now: float) -> None:
        """Drop what is too old to matter."""
        self._spoke = {user: at for user, at in self._spoke.items() if now - at < 300}
        self._follows = {user: until for user, until in self._follows.items() if until >= now}

    def _expect_slow(self, user: str, slow_s: int, now: float) -> None:
        wait_s = self._spoke.get(user, -1e9) + slow_s - now
        if slow_s and wait_s > 0:
            detail = f"one message in {slow_s} s"
            raise CommandError("rate_limited", detail, retry_ms=round(wait_s * 1000))

    def _expect_new(self, text: str, now: float, *, alone: bool) -> None:
        key = fingerprint(text)
        if now - self._said.get(key, -1e9) < UNIQUE_S:
            raise CommandError("not_allowed", "somebody has just said that")
        if alone:
            return
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > MAX_TEXTS:
            self._said.popitem(last=False)
