"""The proof of a draw: one canonical JSON text, made in pieces (docs/draw-proof.md)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

from liveroom.features.lottery.draw import canonical


__all__ = ["VERSION", "checked_pieces", "digest_of", "in_slices", "winner_rows"]

VERSION: Final = 1

_SLICE = 250
_NOT_IN_DIGEST = {"digest", "redraws", "rules"}


async def in_slices(rows: Sequence[Any]) -> AsyncIterator[list[Any]]:
    """Yield a sequence in slices, with a pause after each."""
    for first in range(0, len(rows), _SLICE):
        yield list(rows[first : first + _SLICE])
        await asyncio.sleep(0)


async def winner_rows(
    prizes: Iterable[dict[str, Any]], users: AsyncIterator[list[str]]
) -> AsyncIterator[list[dict[str, str]]]:
    """Give the prizes to users, in listed order."""
    each = itertools.chain.from_iterable(itertools.repeat(p["prize"], p["n"]) for p in prizes)
    async for page in users:
        yield [{"prize": next(each), "user": user} for user in page]


async def digest_of(fields: dict[str, Any]) -> str:
    """Return the digest of a proof's fields, of which `entrants` is their number."""
    digest = hashlib.sha256()
    bound = {name: value for name, value in fields.items() if name not in _NOT_IN_DIGEST}
    async for piece in _pieces(bound):
        digest.update(piece.encode())
    return digest.hexdigest()


async def checked_pieces(fields: dict[str, Any]) -> AsyncIterator[bytes]:
    """Yield the text of a proof, which ends with the checksum of everything before it."""
    checksum = hashlib.sha256()
    held = b""
    async for piece in _pieces(fields):
        checksum.update(piece.encode())
        yield held
        held = piece.encode()
    assert held == b"}"
    yield f',"checksum":"{checksum.hexdigest()}"}}'.encode()


async def _pieces(fields: dict[str, Any]) -> AsyncIterator[str]:
    """Yield the canonical JSON of an object; a value may be an async iterator of list slices."""
    lead = "{"
    for name in sorted(fields):
        yield f'{lead}"{name}":'
        lead = ","
        value = fields[name]
        if isinstance(value, AsyncIterator):
            async for piece in _array(value):
                yield piece
        else:
            yield canonical(value)
    yield "}"


async def _array(slices: AsyncIterator[list[Any]]) -> AsyncIterator[str]:
    lead = "["
    async for rows in slices:
        if rows:
            yield lead + canonical(rows)[1:-1]
            lead = ","
    yield "[]" if lead == "[" else "]"
