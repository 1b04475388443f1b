"""The mathematics of a draw: known answers, no bias, and the same whatever the pieces are."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from liveroom.features.lottery.draw import (
    MerkleTree,
    Ranking,
    canonical,
    commitment_of,
    draw_key_of,
    rules_hash_of,
)


VECTORS = json.loads(
    (Path(__file__).parents[3] / "vectors" / "draw.json").read_text(encoding="utf-8")
)

# The leaves and roots of the Certificate Transparency test suite (RFC 6962).
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
             "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
CT_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def ranked(key: bytes, users: list[str], n: int) -> list[str]:
    """Return the first of the order."""
    ranking = Ranking(key)
    ranking.add(users)
    return [user for piece in ranking.first(n) for user in piece]


@pytest.mark.parametrize(("count", "root"), CT_ROOTS.items())
def test_draw_tree_is_that_of_rfc_6962(count: int, root: str) -> None:
    """Roots of a published test suite."""
    tree = MerkleTree()
    for leaf in CT_LEAVES[:count]:
        tree.append(bytes.fromhex(leaf))
    assert (tree.root().hex(), tree.count) == (root, count)


def naive_root(leaves: list[bytes]) -> bytes:
    """Return the root as RFC 6962 defines it: split at the largest power of two."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\x00" + leaves[0] if leaves else b"").digest()
    cut = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + naive_root(leaves[:cut]) + naive_root(leaves[cut:])).digest()


def test_draw_tree_is_the_same_in_any_pieces() -> None:
    """Page by page or at once; each leaf is the canonical JSON of its entrant."""
    rng = random.Random(1)
    for count in range(70):
        entrants = [(f"u{n:03d}", "ab" * rng.randrange(3)) for n in range(count)]
        tree = MerkleTree()
        first = 0
        while first < count:
            size = rng.randrange(1, 9)
            tree.add(entrants[first : first + size])
            first += size
        assert tree.root() == naive_root([canonical(list(e)).encode() for e in entrants])


def test_draw_ranking_is_by_score_then_user() -> None:
    """The drawers and pieces change nothing; as many as are asked for, each once."""
    rng = random.Random(2)
    for count in (0, 1, 2, 50, 700):
        users, key = [f"user-{n}" for n in range(count)], rng.randbytes(32)
        scored = [(hmac.digest(key, user.encode(), "sha256"), user) for user in users]
        expected = [user for _, user in sorted(scored)]
        rng.shuffle(users)
        for n in (0, 1, count // 2, count, count + 5):
            assert ranked(key, users, n) == expected[:n]


def chi_square(counts: Counter[Any], kinds: int, total: int) -> float:
    """Return how far counts are from even."""
    expected = total / kinds
    return sum((n - expected) ** 2 / expected for n in counts.values()) + expected * (
        kinds - len(counts)
    )


def test_draw_favours_nobody() -> None:
    """Who is first, who is last, and which two come first, over many draws: even by chi-square."""
    users, rng, draws = [f"u{n}" for n in range(12)], random.Random(3), 12_000
    first: Counter[str] = Counter()
    last: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for _ in range(draws):
        order = ranked(draw_key_of(rng.randbytes(32), b"r" * 32, b"m" * 32), users, 12)
        first[order[0]] += 1
        last[order[-1]] += 1
        pairs[order[0], order[1]] += 1

    # Critical values for p = 0.01 with 11 and 131 degrees of freedom.
    assert chi_square(first, 12, draws) < 24.72
    assert chi_square(last, 12, draws) < 24.72
    assert chi_square(pairs, 132, draws) < 171.57


def test_draw_depends_on_everything_that_goes_in() -> None:
    """Each bit of seed, rules, root and randomness gives another key; no two inputs run together."""
    parts = [bytes([n]) * 32 for n in range(4)]
    base = draw_key_of(*parts)
    for which in range(4):
        for bit in range(0, 256, 37):
            changed = bytearray(parts[which])
            changed[bit // 8] ^= 1 << (bit % 8)
            other = [*parts[:which], bytes(changed), *parts[which + 1 :]]
            assert draw_key_of(*other) != base
    assert draw_key_of(*parts[:3]) != base
    seed, hashed = parts[0], parts[1]
    assert commitment_of(seed, "ab", "c", hashed) != commitment_of(seed, "a", "bc", hashed)


@pytest.mark.parametrize("case", VECTORS["draws"], ids=lambda case: str(case["name"]))
def test_draw_vectors(case: dict[str, Any]) -> None:
    """What tests/vectors/draw.json pins for every implementation."""
    seed, hashed = bytes.fromhex(case["seed"]), rules_hash_of(case["rules"])
    tree = MerkleTree()
    tree.add([(user, nonce) for user, nonce in case["entrants"]])
    key = draw_key_of(seed, hashed, tree.root(), bytes.fromhex(case["randomness"]))
    users = [user for user, _ in case["entrants"]]

    assert canonical(json.loads(case["rules"])) == case["rules"]
    assert hashed.hex() == case["rules_hash"]
    assert commitment_of(seed, case["room"], case["lottery"], hashed).hex() == case["commitment"]
    assert tree.root().hex() == case["root"]
    assert key.hex() == case["draw_key"]
    assert ranked(key, users, len(users)) == case["order"]
