"""Good messages with something wrong in them, for tests that feed decoders."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st


__all__ = ["spoiled"]

_PLACE = st.integers(0, 1 << 16)
_EDIT = st.tuples(
    st.sampled_from(["set", "drop", "put", "cut", "double"]), _PLACE, _PLACE, st.binary(max_size=3)
)


def spoiled(messages: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy: one of the messages, with up to four edits."""
    edits = st.lists(_EDIT, min_size=1, max_size=4)
    return st.builds(_edited, st.sampled_from(messages), edits)


def _edited(message: bytes, edits: Sequence[tuple[str, int, int, bytes]]) -> bytes:
    for kind, first, second, more in edits:
        size = max(1, len(message))
        begin, end = sorted((first % size, second % size))
        if kind == "set":
            message = message[:begin] + more + message[begin + len(more) :]
        elif kind == "drop":
            message = message[:begin] + message[end:]
        elif kind == "put":
            message = message[:begin] + more + message[begin:]
        elif kind == "cut":
            message = message[:begin]
        else:
            message = message[:end] + message[begin:]
    return message
