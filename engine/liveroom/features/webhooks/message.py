"""What is sent: the id, the body and the signature of a webhook (pure).

The form is that of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, one signature for
each secret, so that a receiver may change to a new secret while the old one still holds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from liveroom.errors import ConfigError


__all__ = ["Entry", "Signer", "body_of", "event_ms", "message_id"]

PREFIX = "whsec_"
MIN_SECRET, MAX_SECRET = 24, 64

_UNSAFE = re.compile(r"[^A-Za-z0-9-]")
_PLACE = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
_LAST_MS = 253_402_300_799_999  # the last that a date can say


class Entry(NamedTuple):
    """A webhook in a room's outbox.

    Args:
        id: its place in the stream, which says when it happened.
        kind: its type.
        body: what the handler gave, as JSON.
        first: the id that it was first sent under; not that of its place if it has been dead.
        attempts: how many have failed.
    """

    id: str
    kind: str
    body: str
    first: str
    attempts: int

    @classmethod
    def read(cls, row: dict[str, Any]) -> Entry:
        """Return the entry of a row of `webhook.take`; junk in the stream makes an odd one."""
        first = row.get("i", "")
        if not _PLACE.fullmatch(first):
            first = row["id"]
        return cls(row["id"], row.get("t", ""), row.get("d", ""), first, row["n"])


class Signer:
    """Makes the headers of a message.

    Args:
        keys: the secrets as bytes; the first is the newest.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def parse(cls, text: str) -> Signer:
        """Read `webhook_secret`: one or more `whsec_…`, separated by spaces. Raises ConfigError."""
        secrets = text.split()
        if not secrets:
            raise ConfigError("webhook_secret", _EXPECTED, "none")
        return cls([_key(secret) for secret in secrets])

    def headers(self, message: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the three headers of one attempt.

        Args:
            message: the id; the same for every attempt.
            timestamp: of this attempt, Unix s.
            body: the very bytes that are sent.
        """
        content = f"{message}.{timestamp}.".encode() + body
        signatures = [hmac.new(key, content, hashlib.sha256).digest() for key in self._keys]
        return {
            "webhook-id": message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(
                "v1," + base64.b64encode(signature).decode() for signature in signatures
            ),
        }


_EXPECTED = (
    f"{PREFIX} and base64 of {MIN_SECRET} to {MAX_SECRET} bytes; several separated by spaces"
)


def _key(secret: str) -> bytes:
    """Return a secret's bytes. Raises ConfigError, without a word of the secret."""
    if not secret.startswith(PREFIX):
        raise ConfigError("webhook_secret", _EXPECTED, "something without the prefix")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ConfigError("webhook_secret", _EXPECTED, "something that is not base64") from exc
    if not MIN_SECRET <= len(key) <= MAX_SECRET:
        raise ConfigError("webhook_secret", _EXPECTED, f"one of {len(key)} bytes")
    return key


def message_id(scope: str, entry: str) -> str:
    """Return the id that receivers tell repetitions by: one for each entry of each room.

    It holds no full stop, which separates the parts of what is signed; whatever else a room's name
    may hold is spelled out, so that no two rooms share an id.
    """
    safe = _UNSAFE.sub(lambda match: f"_{ord(match[0]):02x}", scope)
    return f"{safe}_{entry}"


def event_ms(entry: str) -> int:
    """Return when an entry was written: the store's time in ms."""
    return min(int(entry.partition("-")[0]), _LAST_MS)


def body_of(scope: str, entry: Entry) -> bytes:
    """Return the body of an entry, the same bytes for every attempt."""
    seconds, ms = divmod(event_ms(entry.first), 1000)
    stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
    data = {"room": scope, **_data(entry.body)}
    return orjson.dumps({"type": entry.kind, "timestamp": stamp, "data": data})


def _data(text: str) -> dict[str, Any]:
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:  # a plugin's own text: pass it on rather than lose it
        data = text
    return data if isinstance(data, dict) else {"value": data}
