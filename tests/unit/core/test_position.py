from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from liveroom.core.position import Position, Verdict, classify


NUMBERS = st.integers(0, 2**64 - 1)
SMALL = st.builds(Position, st.just("e"), st.integers(0, 4), st.integers(0, 2))


@given(NUMBERS, NUMBERS)
def test_position_survives_its_stream_id(seq: int, sub: int) -> None:
    """Format and parse are inverse, as text and as bytes."""
    position = Position("e", seq, sub)
    assert Position.parse("e", position.stream_id) == position
    assert Position.parse("e", position.stream_id.encode()) == position


@pytest.mark.parametrize(
    "wrong", ["", "5", "5-", "-5", "5-0-0", "a-0", "+5-0", " 5-0", "٥-0", b"\xb2-0", "5_0-0", "$"]
)
def test_position_refuses_what_is_no_stream_id(wrong: str | bytes) -> None:
    """Only two runs of ASCII digits pass; the error shows what came."""
    with pytest.raises(ValueError, match="expected '<seq>-<sub>', came"):
        Position.parse("e", wrong)


def test_position_orders_private_events_after_their_public_one() -> None:
    """412-0 < 412-1 < 412-2 < 413-0; numbers, not text."""
    ids = ["413-0", "412-10", "412-2", "412-1", "412-0", "9-0"]
    positions = [Position.parse("e", text) for text in ids]
    assert sorted(positions) == positions[::-1]


@pytest.mark.parametrize(
    ("have", "start", "end", "verdict"),
    [
        (5, 5, 7, Verdict.NEXT),
        (5, 5, 5, Verdict.NEXT),
        (5, 3, 5, Verdict.DUPLICATE),
        (5, 3, 4, Verdict.DUPLICATE),
        (5, 4, 6, Verdict.OVERLAP),
        (5, 6, 8, Verdict.GAP),
        (5, 6, 6, Verdict.GAP),
        (5, 4, 4, Verdict.NEXT),
    ],
)
def test_classify_judges_a_batch(have: int, start: int, end: int, verdict: Verdict) -> None:
    """Each verdict, and the batches without durable events behind, at and ahead of `have`."""
    assert classify(Position("e", have), Position("e", start), Position("e", end)) is verdict


def test_classify_knows_private_positions() -> None:
    """A batch that starts after 5-1 leaves a hole for one who has 5-0."""
    have = Position("e", 5, 0)
    assert classify(have, Position("e", 5, 1), Position("e", 6)) is Verdict.GAP
    assert classify(have, Position("e", 5, 0), Position("e", 5, 1)) is Verdict.NEXT


@pytest.mark.parametrize("epochs", ["xee", "eex", "exe", "exx"])
def test_classify_rejects_another_epoch(epochs: str) -> None:
    """Positions of two lives of the log are never compared."""
    have, start, end = (Position(epoch, 5) for epoch in epochs)
    assert classify(have, start, end) is Verdict.FOREIGN


@given(SMALL, SMALL, SMALL)
def test_classify_verdict_says_what_is_missing(have: Position, a: Position, b: Position) -> None:
    """Against the definition by sets: which of the batch's entries, and which before it, are here."""
    start, end = min(a, b), max(a, b)
    log = [Position("e", seq, sub) for seq in range(5) for sub in range(3)]
    batch = {p for p in log if start < p <= end}
    here = {p for p in log if p <= have}
    verdict = classify(have, start, end)
    assert (verdict is Verdict.GAP) == any(p not in here for p in log if p <= start)
    if verdict is Verdict.DUPLICATE:
        assert batch
        assert batch <= here
    if verdict is Verdict.OVERLAP:
        assert batch & here
        assert batch - here
    if verdict is Verdict.NEXT:
        assert not batch & here
