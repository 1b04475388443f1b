"""What every viewer must have seen, judged from the bytes that it was sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import harness


__all__ = ["Seen", "agree", "seen_by"]

Seen = dict[tuple[str, int, int], dict[str, Any]]
"""(epoch, seq, sub) -> item."""


def seen_by(client: harness.Client) -> Seen:
    """Return a viewer's durable events after checking that they came in order, each once, no hole.

    A greeting (the answer to a hello or `sys.resume`) and `sys.gap` set the place to go on from.
    """
    seen: Seen = {}
    epoch, place, known = "", (0, 0), False
    for item in client.items:
        greeting = item.get("d") if "re" in item else None
        if isinstance(greeting, dict) and "epoch" in greeting and "resumed" in greeting:
            epoch, place, known = greeting["epoch"], (greeting["seq"], greeting["sub"]), True
        elif item.get("ev") == "sys.gap":
            epoch, known = item["d"]["epoch"], False
        elif "seq" in item:
            came = (item["seq"], item.get("sub", 0))
            if known:
                _expect_next(place, came, item)
            # A second greeting may go back: then the same comes again, equal.
            assert seen.setdefault((epoch, *came), item) == item, f"two events at {came}"
            place, known = came, True
    return seen


def _expect_next(place: tuple[int, int], came: tuple[int, int], item: dict[str, Any]) -> None:
    (seq, sub), (next_seq, next_sub) = place, came
    if next_sub:  # private: others in between go to other viewers
        assert next_seq == seq, f"after {place} came {item}"
        assert next_sub > sub, f"after {place} came {item}"
    else:
        assert next_seq == seq + 1, f"after {place} came {item}"


def agree(clients: Iterable[harness.Client]) -> Seen:
    """Return all that some viewer saw, after checking that no two saw different things."""
    union: Seen = {}
    for client in clients:
        for place, item in seen_by(client).items():
            assert union.setdefault(place, item) == item, f"two events at {place}"
    return union
