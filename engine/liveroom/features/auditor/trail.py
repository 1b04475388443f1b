"""The hash chain of a room's trail (pure).

Each entry carries the SHA-1 of the hash before it and its own text; the room remembers the last one.
Whoever changes, removes or puts in an entry without being able to rewrite all that follow breaks it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any


__all__ = ["Chain"]

Row = dict[str, Any]


class Chain:
    """Follows a trail page by page, from its beginning; `last` is the hash that it has come to."""

    def __init__(self) -> None:
        self.count = 0
        self.broken: list[Row] = []
        self.last = ""
        self._id = ""

    @property
    def after(self) -> str:
        """The id of the last entry that was taken, to ask for the next page; empty at the start."""
        return self._id

    def take(self, entries: Iterable[Row]) -> None:
        """Check the next entries: rows of `id`, `e` (the text) and `h` (the hash)."""
        for row in entries:
            text, shown = row.get("e", ""), row.get("h", "none")
            chained = hashlib.sha1(f"{self.last}{text}".encode(), usedforsecurity=False)
            self._expect("trail.chain", f"trail {row['id']}", chained.hexdigest(), shown)
            # Goes on from what is there: one broken link is one finding.
            self.last, self._id = shown, row["id"]
            self.count += 1

    def end(self, head: str | None) -> None:
        """Check that the last entry taken is the last one that the room wrote."""
        self._expect("trail.head", "trail", self.last or "none", head or "none")

    def _expect(self, what: str, key: str, expected: str, found: str) -> None:
        if expected != found:
            row = {"what": what, "key": key, "expected": expected, "found": found}
            self.broken.append(row)
