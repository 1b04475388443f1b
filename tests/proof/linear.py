"""Is there an order of these operations that explains what each was told?

The search of Wing and Gong with Lowe's memory of what was tried: an operation may be put next if no
other has ended before it began; what was told must be what the specification says at that point.
Histories are kept short by looking at each key (a SKU, a wallet) by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar


__all__ = ["Operation", "is_linearizable"]

S = TypeVar("S", bound=Hashable)


class Operation(NamedTuple):
    """Something that was asked at one time and answered at another; no answer: `told` is None."""

    began: float
    ended: float
    asked: Any
    told: Any


def is_linearizable(
    history: Sequence[Operation],
    initial: S,
    step: Callable[[S, Operation], S | None],
    budget: int = 2_000_000,
) -> bool:
    """Tell whether some order explains a history.

    Args:
        history: what happened; operations that were never answered have `ended` infinite, and may
            have happened or not.
        initial: the state before.
        step: returns the state after an operation, None if it could not have been told that.
        budget: most states to look at.

    Raises:
        RuntimeError: the budget was not enough to tell.
    """
    ops = sorted(history, key=lambda op: op.began)
    needed = sum(1 << i for i, op in enumerate(ops) if op.told is not None)
    seen: set[tuple[int, Any]] = set()
    stack: list[tuple[int, Any]] = [(0, initial)]
    while stack:
        done, state = stack.pop()
        if done & needed == needed:
            return True
        for index in _next(ops, done):
            after = step(state, ops[index])
            if after is None:
                continue
            place = (done | 1 << index, after)
            if place not in seen:
                seen.add(place)
                stack.append(place)
        if len(seen) > budget:
            raise RuntimeError(f"not decided after {budget} states")
    return False


def _next(ops: Sequence[Operation], done: int) -> list[int]:
    """Return what may come next: all that began before the first of the others ended."""
    found, first_end = [], float("inf")
    for index, op in enumerate(ops):
        if done >> index & 1:
            continue
        if op.began > first_end:
            break
        found.append(index)
        first_end = min(first_end, op.ended)
    found.reverse()  # the one that began first is tried first
    return found
