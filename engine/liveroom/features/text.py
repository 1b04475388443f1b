"""Text that people typed: a viewer's is made fit to be shown, a host's is refused where it is not.

A viewer's message is cleaned and shown; a host who wrote a control character into a price list wants
to know of it.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from liveroom.errors import CommandError


__all__ = ["MAX_LINE", "WebAddress", "plain_text", "shown_text", "web_address"]

MAX_LINE = 100
"""Characters of a danmaku, of a title."""

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# ASCII as RFC 3986 has it, less what a browser would read as something else (the backslash).
WebAddress = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^https?://[!#-;=?-\[\]-~]+$(?!\n)",
        description="http or https, percent-encoded",
    ),
]


def shown_text(text: str, most: int, field: str = "text") -> str:
    """Return text that can be shown: NFC, no controls, nothing that turns the direction.

    Args:
        text: what came.
        most: the largest number of characters after that.
        field: its name, for the refusal.

    Raises:
        CommandError: `bad_request`, empty or longer.
    """
    if not text.isprintable():  # nor are the marks that turn the direction
        text = "".join(filter(_may_show, text))
    text = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(text) <= most:
        raise CommandError(
            "bad_request", f"{field}: expected 1 to {most} characters, came {len(text)}"
        )
    return text


def plain_text(text: str, field: str) -> str:
    """Return a text of one line in NFC, without space around it; at most 100 characters.

    Raises:
        CommandError: `bad_request`: nothing is left, it is too long, or it holds a control
            character or a mark that turns the direction.
    """
    text = unicodedata.normalize("NFC", text).strip()
    if shown_text(text, MAX_LINE, field) != text:
        raise CommandError("bad_request", f"{field}: expected text without control characters")
    return text


def web_address(address: str, field: str) -> str:
    """Return an address that names a host and hides none behind a user name.

    Raises:
        CommandError: `bad_request`.
    """
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:  # brackets that hold no address
        named = False
    if not named:
        raise CommandError("bad_request", f"{field}: expected a web address with a host")
    return address


def _may_show(char: str) -> bool:
    return char not in _BIDI and unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
