"""What a valid token says about a caller, and how a refusal is told (layer: leaf, beside errors).

A refusal is a `CommandError` that also names how the connection ends:

    TokenError            terminal: close 4401
    ├── TokenExpired      come back with a new token: close 4001
    └── TokenUnchecked    the keys could not be fetched, try later: close 1013
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from liveroom.errors import CommandError


__all__ = [
    "ANY_ROOM",
    "MAX_LEVEL",
    "MAX_NAME",
    "Claims",
    "Role",
    "TokenError",
    "TokenExpired",
    "TokenUnchecked",
    "check_refresh",
    "clean_name",
    "valid_room",
    "valid_user",
]

ANY_ROOM: Final = "*"
MAX_NAME: Final = 32  # characters
MAX_LEVEL: Final = 1000

_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_ROOM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# Controls, formats (what turns the direction, what has no width), surrogates, line separators.
_STRIPPED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0") | frozenset(
    map(chr, range(0xFFF0, 0xFFF9))
)
_BLANK_BLOCK: Final = range(0xE0000, 0xE1000)  # never anything to be seen, save for the variants
_BLANK_VARIANTS: Final = range(0xE0100, 0xE01F0)
# Joiners and variants that change nothing that can be seen: beside ASCII, or one after the other.
_IDLE: Final = re.compile(
    r"(?<=[\x00-\x7f])[\u200c\u200d\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]+"
    r"|[\u200c\u200d]+(?=[\x00-\x7f]|$)"
    r"|(?<=[\u200c\u200d])[\u200c\u200d]+"
)
_EDGES: Final = re.compile(r"^[\s\u200c\u200d\ufe00-\ufe0f]+|[\s\u200c\u200d]+$")
_MAX_MARKS: Final = 4  # on one letter; more climb over the lines around


class Role(StrEnum):
    """What a caller may do, from the least to the most."""

    VIEWER = "viewer"
    ASSISTANT = "assistant"
    MODERATOR = "moderator"
    HOST = "host"
    SERVICE = "service"

    @property
    def rank(self) -> int:
        """0 for a viewer, growing with what the role may do."""
        return _RANKS[self]

    def at_least(self, other: Role) -> bool:
        """Tell whether this role may do all that `other` may."""
        return _RANKS[self] >= _RANKS[other]  # asked for every message


_RANKS: Final = {role: rank for rank, role in enumerate(Role)}


class Claims(msgspec.Struct, frozen=True):
    """What a valid token says. Times are whole seconds since 1970."""

    user: str
    name: str
    role: Role
    room: str
    exp: int
    iat: int
    jti: str
    issuer: str
    level: int = 0
    """The user's fan level, as the issuer says it."""

    def covers(self, room: str) -> bool:
        """Tell whether the token is for this room."""
        return self.room in (room, ANY_ROOM)


class TokenError(CommandError):
    """The token is not accepted; the sentence for the client tells no more than that.

    `reason` is one word for logs and metrics, `close` a name in `CLOSES`.
    """

    close = "bad_token"

    def __init__(
        self,
        reason: str,
        detail: str = "the token is not valid here",
        *,
        code: str = "unauthorized",
        retry_ms: int | None = None,
    ) -> None:
        super().__init__(code, detail, retry_ms=retry_ms)
        self.reason = reason


class TokenExpired(TokenError):
    """The token was good until its `exp`."""

    close = "token_expired"

    def __init__(self) -> None:
        super().__init__("expired", "the token has expired")


class TokenUnchecked(TokenError):
    """The issuer's keys cannot be had now, so nothing is known about the token."""

    close = "try_later"

    def __init__(self, retry_ms: int) -> None:
        detail = "tokens cannot be checked now"
        super().__init__("keys", detail, code="unavailable", retry_ms=retry_ms)


def check_refresh(old: Claims, new: Claims) -> None:
    """Check that a live connection may go on under the new token: same user, no more rights.

    Raises:
        TokenError: another user or room, or a higher role.
    """
    same = new.user == old.user and new.room == old.room
    if not same or not old.role.at_least(new.role):
        raise TokenError("refresh")


def valid_user(user: str) -> bool:
    """Tell whether this can be a user id: 1-64 of `A-Za-z0-9_.:-`, a letter or digit first."""
    return _USER.fullmatch(user) is not None


def valid_room(room: str) -> bool:
    """Tell whether this can be a room id: as a user id, without the colon."""
    return _ROOM.fullmatch(room) is not None


def clean_name(text: str) -> str:
    """Return a name that can be shown: NFC, nothing invisible that acts, at most 32 characters.

    What could break a line, colour a terminal or turn the direction of the text is taken out, and
    what has no width, so that two names that differ can be told apart. Joiners stay where emoji and
    several scripts need them. What nothing is left of to be seen is no name: empty.
    """
    if text.isascii() and text.isprintable():
        return text.strip()[:MAX_NAME].rstrip()
    text = unicodedata.normalize("NFC", "".join(filter(_may_show, text)))
    text = _EDGES.sub("", _IDLE.sub("", "".join(_without_piles(text))))
    # What parted a letter from its mark may have gone: they are composed anew.
    text = _EDGES.sub("", unicodedata.normalize("NFC", text)[:MAX_NAME])
    return text if any(unicodedata.category(char)[0] in "LNPS" for char in text) else ""


def _may_show(char: str) -> bool:
    if char in _BLANK or (ord(char) in _BLANK_BLOCK and ord(char) not in _BLANK_VARIANTS):
        return False
    return char in _JOINERS or unicodedata.category(char) not in _STRIPPED_CATEGORIES


def _without_piles(text: str) -> Iterator[str]:
    """Yield the characters less the marks above the fourth on one letter."""
    pile = 0
    for char in text:
        if char not in _JOINERS:  # what comes behind one climbs on
            pile = pile + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if pile <= _MAX_MARKS:
            yield char
