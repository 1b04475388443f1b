"""The mathematics of a draw: pure, and the same in every language (docs/draw-proof.md).

Everything is SHA-256 over bytes that are spelled out here. Work that grows with the entrants comes
in pieces (`MerkleTree.add`, `Ranking.add`, `Ranking.first`), so that whoever calls may pause between
them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final


__all__ = [
    "METHOD",
    "MerkleTree",
    "Ranking",
    "canonical",
    "commitment_of",
    "draw_key_of",
    "rules_hash_of",
]

METHOD: Final = "liveroom-draw-1"
"""Names this file's way of drawing; part of the rules, so another way gets another name."""

_SEED_LABEL: Final = b"liveroom-seed-1"
_DRAW_LABEL: Final = b"liveroom-draw-1"
_SCORE: Final = 32  # bytes
_LEAF, _NODE = b"\x00", b"\x01"  # RFC 6962: a leaf can never be taken for a node


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, whole numbers (RFC 8785)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def rules_hash_of(rules: str) -> bytes:
    """Return the hash of the rules' canonical text."""
    return hashlib.sha256(rules.encode()).digest()


def commitment_of(seed: bytes, room: str, lottery: str, rules_hash: bytes) -> bytes:
    """Return what is published of a seed before anybody can enter."""
    parts = (_SEED_LABEL, seed, room.encode(), lottery.encode(), rules_hash)
    return hashlib.sha256(b"|".join(parts)).digest()


def draw_key_of(seed: bytes, rules_hash: bytes, root: bytes, randomness: bytes = b"") -> bytes:
    """Return the key that decides everything: no part of it may be chosen after the others."""
    message = b"|".join((_DRAW_LABEL, rules_hash, root, randomness))
    return hmac.digest(seed, message, "sha256")


class MerkleTree:
    """The tree of RFC 6962 over the entrants, built as they come, in their final order.

    It keeps one hash per level: the roots of the complete subtrees that stand side by side.
    """

    def __init__(self) -> None:
        self.count = 0
        self._peaks: list[bytes] = []

    def add(self, entrants: Iterable[tuple[str, str]]) -> None:
        """Append (user, nonce) pairs."""
        for user, nonce in entrants:
            # Both are plain ASCII without quotes, so this is `canonical([user, nonce])`.
            self.append(f'["{user}","{nonce}"]'.encode())

    def root(self) -> bytes:
        """Return the root over what was added so far."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = hashlib.sha256(_NODE + peak + root).digest()
        return root

    def append(self, leaf: bytes) -> None:
        """Append one leaf."""
        node = hashlib.sha256(_LEAF + leaf).digest()
        rest = self.count
        while rest & 1:  # a complete subtree of the same size stands to the left
            node = hashlib.sha256(_NODE + self._peaks.pop() + node).digest()
            rest >>= 1
        self._peaks.append(node)
        self.count += 1


class Ranking:
    """The order of the entrants: ascending by score, which is HMAC-SHA256 of the user's id.

    Nothing is divided, so nothing is biased. Each row is the score and behind it the user, both as
    bytes, so they sort as they should; rows lie in 256 drawers by their first byte, because sorting
    one of them is short and sorting all of them at once is not.
    """

    def __init__(self, draw_key: bytes) -> None:
        self._keyed = hmac.new(draw_key, digestmod="sha256")
        self._drawers: list[list[bytes]] = [[] for _ in range(256)]

    def add(self, users: Iterable[str]) -> None:
        """Score users."""
        keyed, drawers = self._keyed, self._drawers
        for user in users:
            mac, name = keyed.copy(), user.encode()
            mac.update(name)
            row = mac.digest() + name
            drawers[row[0]].append(row)

    def first(self, n: int) -> Iterator[list[str]]:
        """Yield the first `n` users of the order, in pieces, and empty the drawers behind them.

        The pieces are empty at the end: to let go of a hundred thousand rows at once would take as
        long as to sort them.
        """
        for drawer in self._drawers:
            if n > 0:
                drawer.sort()
            yield [row[_SCORE:].decode() for row in drawer[: max(n, 0)]]
            n -= len(drawer)
            drawer.clear()
