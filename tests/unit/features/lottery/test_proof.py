"""The text of a proof: canonical, whole, and the same in any pieces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

from liveroom.features.lottery.draw import canonical
from liveroom.features.lottery.proof import checked_pieces, digest_of, in_slices, winner_rows


async def slices(*parts: list[Any]) -> AsyncIterator[list[Any]]:
    """Yield lists."""
    for part in parts:
        yield part


async def test_proof_text_is_canonical_and_ends_with_its_checksum() -> None:
    """Whatever slices the lists came in, empty ones too."""
    for rows in (slices(), slices([]), slices([1], [], [2, 3]), slices([1, 2, 3])):
        fields = {"rules": "{}", "a": rows, "v": 1}
        text = b"".join([piece async for piece in checked_pieces(fields)]).decode()
        value = json.loads(text)
        checksum = value.pop("checksum")
        assert checksum == hashlib.sha256(canonical(value).encode()).hexdigest()
        assert text == canonical(value)[:-1] + f',"checksum":"{checksum}"}}'


async def test_proof_digest_leaves_out_what_comes_later() -> None:
    """Redraws change the text and not the digest; the rules are in it by their hash."""
    fields = {"v": 1, "entrants": 2, "rules_hash": "00"}
    digest = await digest_of(fields)
    assert digest == hashlib.sha256(canonical(fields).encode()).hexdigest()
    assert await digest_of(fields | {"redraws": [1], "rules": "x", "digest": "y"}) == digest
    assert await digest_of(fields | {"entrants": 3}) != digest


async def test_proof_gives_prizes_in_listed_order() -> None:
    """Over pages, and to as many as there are."""
    prizes = [{"prize": "a", "n": 2}, {"prize": "b", "n": 2}]
    pages = [page async for page in winner_rows(prizes, slices(["u1"], ["u2", "u3"]))]
    assert [(row["prize"], row["user"]) for page in pages for row in page] == [
        ("a", "u1"), ("a", "u2"), ("b", "u3"),
    ]  # fmt: skip


async def test_proof_slices_are_all_there_is() -> None:
    """Nothing is lost at the edges."""
    for count in (0, 1, 249, 250, 251, 1000):
        rows = list(range(count))
        assert [row async for part in in_slices(rows) for row in part] == rows
