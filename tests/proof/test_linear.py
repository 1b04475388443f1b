"""The checker itself: it accepts what has an order, and nothing else."""

from __future__ import annotations

from math import inf

import pytest

from proof.linear import Operation, is_linearizable


def _register(state: int, op: Operation) -> int | None:
    kind, value = op.asked
    if kind == "write":
        return int(value)
    return state if op.told == state else None


def _op(began: float, ended: float, kind: str, value: int = 0, told: int | None = 0) -> Operation:
    return Operation(began, ended, (kind, value), told)


@pytest.mark.parametrize(
    ("history", "explained"),
    [
        ([_op(0, 1, "write", 5), _op(2, 3, "read", told=5)], True),
        ([_op(0, 1, "write", 5), _op(2, 3, "read", told=0)], False),
        ([_op(0, 3, "write", 5), _op(1, 2, "read", told=0)], True),
        ([_op(0, 3, "write", 5), _op(1, 2, "read", told=5)], True),
        # Seen, then not seen any more: no order explains that.
        (
            [_op(0, 9, "write", 5), _op(1, 2, "read", told=5), _op(3, 4, "read", told=0)],
            False,
        ),
        # Never answered: it may have happened, and if it has, it stays so.
        ([_op(0, inf, "write", 5, None), _op(1, 2, "read", told=0)], True),
        ([_op(0, inf, "write", 5, None), _op(1, 2, "read", told=5)], True),
        (
            [
                _op(0, inf, "write", 5, None),
                _op(1, 2, "read", told=5),
                _op(3, 4, "read", told=0),
            ],
            False,
        ),
    ],
)
def test_linear_tells_histories_apart(history: list[Operation], explained: bool) -> None:
    """Known histories of one register."""
    assert is_linearizable(history, 0, _register) is explained


def test_linear_gives_up_loudly() -> None:
    """A budget that is too small is not taken for an answer."""
    history = [_op(0, 9, "write", n) for n in range(12)] + [_op(10, 11, "read", told=99)]
    with pytest.raises(RuntimeError, match="not decided"):
        is_linearizable(history, 0, _register, budget=100)
