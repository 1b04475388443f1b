"""How the client says no: one exception with a code, for refusals, closes and its own reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liveroom.errors import CLOSES, ERRORS, LiveroomError


__all__ = ["LOCAL_CODES", "LiveError", "error_of_close", "error_of_refusal"]

LOCAL_CODES: dict[str, bool] = {
    "timeout": True,  # no answer in time; what it was may have happened
    "closed": True,  # the connection was lost, or the client was closed
    "refused": False,  # the HTTP upgrade was answered with something else
    "token": True,  # the caller's own token source failed
    "bad_reply": False,  # an answer that does not have the shape of one
}
"""Codes besides those of the server -> whether the same command may succeed later."""

_SHOWN = 200


class LiveError(LiveroomError):
    """Something was refused or not answered.

    Args:
        code: a row of the tables of refusals and closes in docs/protocol.md, or of `LOCAL_CODES`.
        text: for people.
        op: the command that it is about, where there is one.
        key: its idempotency key: `ask(op, d, key=error.key)` asks for the same thing again.
        retry_ms: not before that, where the server said so.
        values: further fields (`price`, `balance`, `version`; of a close `close` and `status`).
    """

    def __init__(
        self,
        code: str,
        text: str = "",
        *,
        op: str = "",
        key: str | None = None,
        retry_ms: int | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.op = op
        self.key = key
        self.retry_ms = retry_ms
        self.values: dict[str, Any] = dict(values or {})

    def __str__(self) -> str:
        where = f"{self.op}: " if self.op else ""
        return f"{where}{self.code}" + (f": {self.text}" if self.text else "")

    @property
    def again(self) -> bool:
        """Whether the same command, with the same key, may succeed later."""
        if self.code in ERRORS:
            return ERRORS[self.code].retry
        if self.code in CLOSES:
            return CLOSES[self.code].reconnect
        return LOCAL_CODES.get(self.code, False)


def error_of_refusal(err: Any, op: str, key: str | None) -> LiveError:
    """Return the error of a reply's `err`, whatever came in its place."""
    if not isinstance(err, dict) or not isinstance(err.get("code"), str):
        return LiveError("bad_reply", f"expected a code, came {str(err)[:_SHOWN]}", op=op, key=key)
    more = {name: value for name, value in err.items() if name not in ("code", "msg", "retry_ms")}
    return LiveError(
        err["code"],
        str(err.get("msg", ""))[:_SHOWN],
        op=op,
        key=key,
        retry_ms=_whole(err.get("retry_ms")),
        values=more,
    )


def error_of_close(code: int, status: int, text: str, refusal: LiveError | None) -> LiveError:
    """Return why a room cannot be had: what the refusal of the hello said, else the close code."""
    values = {"close": code, "status": status}
    if refusal is not None:
        refusal.values.update(values)
        return refusal
    if status:
        return LiveError("refused", text or f"HTTP {status}", op="hello", values=values)
    row = next((row for row in CLOSES.values() if row.number == code), None)
    if row is None:
        return LiveError("closed", text or f"closed with {code}", op="hello", values=values)
    return LiveError(row.name, text or row.sentence, op="hello", values=values)


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
