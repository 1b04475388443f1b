"""When to come back, and how long to wait (docs/protocol.md, section 11). Pure."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from liveroom.errors import CLOSES


__all__ = [
    "LOST",
    "Action",
    "Loss",
    "action_of",
    "backoff_ms",
    "close_name",
    "retry_after_ms",
    "spread_ms",
]

Action = Literal["reconnect", "reconnect_with_new_token", "stop"]

BASE_MS = 500
CAP_MS = 30_000
STEADY_S = 30.0
"""A connection that lived so long after its greeting sets the attempts back to 0."""

LOST = 1006
"""What a connection that ended without a close frame is reported as."""

_MAX_WAIT_MS = 3_600_000
"""However long the server says; a wrong number must not keep a client away for ever."""
_BY_NUMBER = {row.number: row for row in CLOSES.values()}
_LOCAL_RECONNECT = frozenset({1005, LOST, 1014})
_TOKEN_EXPIRED = CLOSES["token_expired"].number
_STATUS_RECONNECT = frozenset({101, 429, *range(500, 600)})
"""101: an upgrade that then broke its rules, which is no answer of ours."""


class Loss(NamedTuple):
    """How a connection ended, or why there was none.

    Attributes:
        code: the close code; 0 when the upgrade was answered with an HTTP status.
        status: that status, or 0.
        retry_after_ms: its Retry-After.
        text: the close's reason, or what failed.
    """

    code: int
    status: int = 0
    retry_after_ms: int = 0
    text: str = ""


def action_of(loss: Loss) -> Action:
    """Return what to do about it."""
    if loss.status:
        return "reconnect" if loss.status in _STATUS_RECONNECT else "stop"
    if loss.code == _TOKEN_EXPIRED:
        return "reconnect_with_new_token"
    if loss.code in _LOCAL_RECONNECT or 4000 <= loss.code < 4400:
        return "reconnect"
    row = _BY_NUMBER.get(loss.code)
    return "reconnect" if row is not None and row.reconnect else "stop"


def close_name(code: int) -> str:
    """Return the name of a close code in the table, or an empty text."""
    row = _BY_NUMBER.get(code)
    return row.name if row is not None else ""


def backoff_ms(attempt: int, part: float) -> int:
    """Return the wait before an attempt: a random part, 0 to 1, of a bound that doubles."""
    return round(part * min(CAP_MS, BASE_MS << min(attempt, 20)))


def spread_ms(after_ms: Any, spread: Any, part: float) -> int:
    """Return the wait that `sys.reconnect{after_ms, spread_ms}` asks for."""
    return _within(after_ms) + round(part * _within(spread))


def _within(value: Any) -> int:
    if not isinstance(value, int):
        return 0
    return min(max(value, 0), _MAX_WAIT_MS)


def retry_after_ms(header: str | None) -> int:
    """Return what a Retry-After in seconds asks for; 0 if it is none."""
    if header is None or not header.isascii() or not header.strip().isdigit():
        return 0
    return _within(int(header.strip()[:9]) * 1000)
