"""Makes proofs of draws without a store: what the engine would have sent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from liveroom.features.lottery.draw import (
    METHOD,
    MerkleTree,
    Ranking,
    canonical,
    commitment_of,
    draw_key_of,
    rules_hash_of,
)
from liveroom.features.lottery.proof import checked_pieces, digest_of, in_slices


__all__ = ["OPENED_MS", "proof_text", "random_proof", "rules_text"]

OPENED_MS = 1_694_775_000_000

Entrant = tuple[str, str]


def rules_text(prizes: Sequence[tuple[str, int]], **changes: Any) -> str:
    """Return the rules of a draw of one minute."""
    rules = {
        "method": METHOD,
        "title": '抽奖 "one"',
        "prizes": [{"prize": prize, "title": prize.upper(), "n": n} for prize, n in prizes],
        "conditions": {},
        "seconds": 60,
        "exclude": {"staff": True, "users": [], "winners": "none"},
        "claim_s": 600,
        "reserves": 3,
        "redraws": 3,
    }
    return canonical(rules | changes)


def proof_text(
    seed: bytes,
    entrants: Sequence[Entrant],
    prizes: Sequence[tuple[str, int]],
    *,
    redraws: Sequence[Sequence[int]] = (),
    beacon: dict[str, Any] | None = None,
    came: dict[str, Any] | None = None,
    **fields: Any,
) -> str:
    """Return the proof of a draw.

    Args:
        seed: 32 bytes.
        entrants: (user, nonce) in any order.
        prizes: (id, how many).
        redraws: for each round the slots that were not claimed.
        beacon: what the rules say of one.
        came: its round.
        fields: of the proof, to be others.
    """
    rules = rules_text(prizes) if beacon is None else rules_text(prizes, beacon=beacon)
    hashed, order_of = rules_hash_of(rules), sorted(entrants)
    tree = MerkleTree()
    tree.add(order_of)
    randomness = bytes.fromhex(came["randomness"]) if came else b""
    key = draw_key_of(seed, hashed, tree.root(), randomness)
    ranking = Ranking(key)
    ranking.add(user for user, _ in order_of)
    names = [prize for prize, n in prizes for _ in range(n)][: len(entrants)]
    order = [u for piece in ranking.first(len(names) * 4) for u in piece]
    winners, reserves = order[: len(names)], order[len(names) :]
    body = {
        "v": 1,
        "room": "demo",
        "lottery": "l1",
        "rules_hash": hashed.hex(),
        "commitment": commitment_of(seed, "demo", "l1", hashed).hex(),
        "seed": seed.hex(),
        "root": tree.root().hex(),
        "draw_key": key.hex(),
        "opened_ms": OPENED_MS,
        "frozen_ms": OPENED_MS + 60_000,
        "sealed_ms": OPENED_MS + 60_100,
        "drawn_ms": OPENED_MS + 700_000,
        "reserves": reserves,
        "winners": [{"prize": p, "user": u} for p, u in zip(names, winners, strict=True)],
    } | ({} if came is None else {"beacon": came})
    body |= fields
    return asyncio.run(_written(body, rules, order_of, _given(redraws, reserves)))


def _given(redraws: Sequence[Sequence[int]], reserves: list[str]) -> list[dict[str, Any]]:
    left, rows = iter(reserves), []
    for number, slots in enumerate(redraws, start=1):
        at_ms = OPENED_MS + 700_000 + number * 600_001
        given = [[slot, user] for slot, user in zip(slots, left, strict=False)]
        rows.append({"round": number, "at_ms": at_ms, "given": given})
    return rows


async def _written(
    body: dict[str, Any], rules: str, entrants: list[Entrant], redraws: list[dict[str, Any]]
) -> str:
    digest = await digest_of(body | {"entrants": len(entrants)})
    rest = {"rules": rules, "redraws": redraws, "digest": digest}
    rows = in_slices([list(entrant) for entrant in entrants])
    pieces = [piece async for piece in checked_pieces(body | rest | {"entrants": rows})]
    return b"".join(pieces).decode()


def random_proof(rng: random.Random) -> str:
    """Return the proof of a small draw of any kind."""
    count = rng.randrange(12)
    users = {f"{rng.choice('aZ09')}{rng.choice('-.:_')}{rng.randrange(99)}" for _ in range(count)}
    entrants = [(user, rng.choice(["", "ab", f"{rng.getrandbits(256):064x}"])) for user in users]
    prizes = [(f"p{n}", rng.randrange(1, 4)) for n in range(rng.randrange(1, 4))]
    slots = range(min(len(entrants), sum(n for _, n in prizes)))
    free = len(entrants) - len(slots)
    redraws = (
        [sorted(rng.sample(slots, rng.randrange(1, len(slots) + 1)))] if free and slots else []
    )
    return proof_text(rng.randbytes(32), entrants, prizes, redraws=redraws)
