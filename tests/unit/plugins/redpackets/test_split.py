"""Splitting a red packet: whole, fair, and the same for everybody who recomputes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from liveroom_plugins.redpackets.split import _drawing, commitment_of, main, shares_of


VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "vectors" / "redpacket.json").read_text(encoding="utf-8")
)


def terms(case: dict[str, Any]) -> tuple[int, int, int, str, bytes]:
    """Return what a case is split by."""
    return (
        case["total"], case["shares"], case["min_share"], case["split"], bytes.fromhex(case["seed"]),
    )  # fmt: skip


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: f"{case['packet']}-{case['split']}")
def test_split_is_as_another_implementation_has_it(case: dict[str, Any]) -> None:
    """The vectors were made by a program in another language."""
    assert shares_of(*terms(case)) == case["amounts"]
    assert commitment_of(case["room"], case["packet"], *terms(case)) == case["commitment"]


@given(
    shares=st.integers(1, 300),
    min_share=st.integers(1, 1000),
    more=st.integers(0, 10**13 - 300_000),
    split=st.sampled_from(["equal", "random"]),
    seed=st.binary(min_size=32, max_size=32),
)
def test_split_any_packet_is_whole(
    shares: int, min_share: int, more: int, split: str, seed: bytes
) -> None:
    """As many shares as were wanted, none below the least, their sum is the total."""
    total = shares * min_share + more
    made = shares_of(total, shares, min_share, split, seed)
    assert len(made) == shares
    assert sum(made) == total
    assert min(made) >= min_share
    assert all(isinstance(amount, int) for amount in made)
    assert made == shares_of(total, shares, min_share, split, seed)
    if split == "equal":
        assert made == sorted(made, reverse=True)
        assert made[0] - made[-1] <= 1


def test_split_places_are_alike() -> None:
    """Over many seeds every place has the same mean, and none is above twice what is left."""
    rounds, shares, total = 3000, 10, 1000
    sums = [0] * shares
    for number in range(rounds):
        made = shares_of(total, shares, 1, "random", number.to_bytes(32, "big"))
        sums = [one + other for one, other in zip(sums, made, strict=True)]
    means = [one / rounds for one in sums]
    assert max(abs(mean - total / shares) for mean in means) < 6  # four standard deviations


@pytest.mark.parametrize(
    ("total", "shares", "min_share", "split", "seed"),
    [
        (9, 10, 1, "random", b"x" * 32),
        (99, 10, 10, "equal", b"x" * 32),
        (10, 0, 1, "equal", b"x" * 32),
        (10, -1, 1, "equal", b"x" * 32),
        (10, 2, -1, "equal", b"x" * 32),
        (10, 2, 1, "fair", b"x" * 32),
        (10, 2, 1, "random", b"x" * 31),
    ],
)
def test_split_refuses_what_cannot_be(
    total: int, shares: int, min_share: int, split: str, seed: bytes
) -> None:
    """With the amounts in the message."""
    with pytest.raises(ValueError, match=r"expected|cannot"):
        shares_of(total, shares, min_share, split, seed)


def test_split_words_that_would_favour_some_are_skipped() -> None:
    """2**64 is no multiple of 3: the last word would make 0 likelier."""
    below = _drawing(iter([2**64 - 1, 2**64 - 1, 5, 2**64 - 2]))
    assert [below(3), below(3)] == [2, 2]


def test_split_every_part_of_the_terms_is_committed_to() -> None:
    """Another room, packet, amount, way or seed has another commitment."""
    case = ("r", "p", 100, 5, 1, "random", b"s" * 32)
    changed = ("R", "P", 101, 6, 2, "equal", b"S" * 32)
    made = {
        commitment_of(*(*case[:at], changed[at], *case[at + 1 :]))  # type: ignore[arg-type]
        for at in range(len(case))
    }
    assert len(made | {commitment_of(*case)}) == 8


def test_split_program_prints_the_shares() -> None:
    """What a viewer runs; without the engine."""
    case = VECTORS[0]
    arguments = [
        str(case[name])
        for name in ("room", "packet", "total", "shares", "min_share", "split", "seed")
    ]
    module = "liveroom_plugins.redpackets.split"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    amounts = [f"{n} {amount}" for n, amount in enumerate(case["amounts"], 1)]
    assert done.stdout.splitlines() == [f"commitment {case['commitment']}", *amounts]


@pytest.mark.parametrize(
    "arguments",
    [[], ["r", "p", "x", "3", "1", "random", "00"], ["r", "p", "1", "3", "1", "equal", "00" * 32]],
)
def test_split_program_refuses_what_it_cannot_read(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and a sentence."""
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(("usage", "split:"))
