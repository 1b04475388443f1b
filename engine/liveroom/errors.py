"""Every way to say no, in one place (layer 0).

Two tables and one tree. `ERRORS` are the codes of replies (`{"re":3,"err":{"code":…}}`), `CLOSES`
the codes that end a connection. The number of a close code tells a client what to do: 1001, 1011,
1012, 1013 and 4000-4399 mean "come back", everything else from 4400 means "do not".

Exceptions carry values; the sentence is composed from them:

    LiveroomError
    ├── CommandError      one command refused: a row of ERRORS, sent as a reply
    ├── CloseError        the connection must end: a row of CLOSES
    ├── ConfigError       a setting is wrong: its name, what was expected, what came
    └── StoreError        the store did not do it
        ├── StoreUnavailable   certainly not executed: safe to send again
        └── OutcomeUnknown     may have been executed: ask again with the same key
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


__all__ = [
    "CLOSES",
    "ERRORS",
    "CloseCode",
    "CloseError",
    "CommandError",
    "ConfigError",
    "ErrorCode",
    "LiveroomError",
    "OutcomeUnknown",
    "StoreError",
    "StoreUnavailable",
]


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One reply code: `retry` says whether the same command may succeed later unchanged."""

    name: str
    http: int
    retry: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class CloseCode:
    """One close code: `reconnect` says whether the client should come back by itself."""

    number: int
    name: str
    reconnect: bool
    sentence: str


ERRORS: dict[str, ErrorCode] = {
    row.name: row
    for row in (
        # What was sent is wrong: sending it again unchanged cannot help.
        ErrorCode("bad_message", 400, False, "the message is not valid JSON or MessagePack"),
        ErrorCode("bad_request", 400, False, "the command does not have the expected shape"),
        ErrorCode("unknown_op", 400, False, "there is no such command here"),
        ErrorCode("key_required", 400, False, "this command needs an idempotency key"),
        ErrorCode("key_mismatch", 409, False, "this key was used with another body"),
        ErrorCode("amount_too_large", 400, False, "the amount is above the limit"),
        ErrorCode("unauthorized", 401, False, "the token is missing or not valid"),
        ErrorCode("forbidden", 403, False, "the role may not do this"),
        ErrorCode("not_found", 404, False, "there is no such thing in this room"),
        ErrorCode("no_room", 404, False, "there is no such room"),
        ErrorCode("room_closed", 409, False, "the room is closed"),
        ErrorCode("version_conflict", 409, False, "it was changed by someone else meanwhile"),
        # The rules of the room or of the thing say no.
        ErrorCode("not_allowed", 403, True, "the room's mode does not allow this now"),
        ErrorCode("muted", 403, True, "you are muted in this room"),
        ErrorCode("rejected", 422, False, "the content was rejected"),
        ErrorCode("rate_limited", 429, True, "too many of these in a short time"),
        ErrorCode("insufficient_funds", 402, True, "the balance is below the price"),
        ErrorCode("aborted", 409, False, "this transfer was given up; use a new key"),
        ErrorCode("exists", 409, False, "there is one of this name with another content"),
        ErrorCode("already_running", 409, True, "another one is still running"),
        ErrorCode("already_done", 409, False, "it was done before and cannot be changed"),
        ErrorCode("too_early", 425, True, "it has not begun yet"),
        ErrorCode("ended", 409, False, "it is over"),
        ErrorCode("sold_out", 409, True, "nothing is left now"),
        ErrorCode("limit_reached", 409, False, "you have had as many as one may have"),
        ErrorCode("not_eligible", 403, True, "you do not meet the conditions"),
        ErrorCode("below_held", 409, False, "less than what is held or sold"),
        ErrorCode("expired", 409, False, "the time to do it has passed"),
        ErrorCode("final", 409, False, "its state is final"),
        ErrorCode("amount_mismatch", 409, False, "the amount is not the price"),
        # The service says not now.
        ErrorCode("outcome_unknown", 503, True, "it may have happened; ask with the same key"),
        ErrorCode("unavailable", 503, True, "it was not done; try again"),
        ErrorCode("overloaded", 503, True, "the server is at its limit"),
        ErrorCode("internal", 500, True, "something failed on the server's side"),
    )
}

CLOSES: dict[str, CloseCode] = {
    row.name: row
    for row in (
        CloseCode(1000, "normal", False, "done"),
        CloseCode(1001, "going_away", True, "the server goes away"),
        CloseCode(1002, "protocol_error", False, "RFC 6455 was broken"),
        CloseCode(1003, "unsupported", False, "text where binary was agreed, or the reverse"),
        CloseCode(1007, "bad_payload", False, "the text is not UTF-8, or the deflate data is bad"),
        CloseCode(1008, "policy", False, "too many bad or too many messages"),
        CloseCode(1009, "too_big", False, "the message is larger than the limit"),
        CloseCode(1011, "internal", True, "something failed on the server's side"),
        CloseCode(1012, "restart", True, "the worker restarts"),
        CloseCode(1013, "try_later", True, "the server is at its limit"),
        CloseCode(4001, "token_expired", True, "come back with a new token"),
        CloseCode(4003, "slow", True, "the connection could not keep up"),
        CloseCode(4008, "hello_timeout", True, "no hello came in time"),
        CloseCode(4009, "no_pong", True, "the connection was silent for too long"),
        CloseCode(4010, "position_lost", True, "the position cannot be continued"),
        CloseCode(4029, "flooding", True, "too many messages in a short time"),
        CloseCode(4400, "bad_hello", False, "the first message was not a valid hello"),
        CloseCode(4401, "bad_token", False, "the token is not valid here"),
        CloseCode(4403, "banned", False, "you may not be in this room"),
        CloseCode(4404, "no_room", False, "there is no such room"),
        CloseCode(4409, "too_many_sessions", False, "this user has too many connections"),
    )
}


class LiveroomError(Exception):
    """Base of everything that the engine raises on purpose."""


class CommandError(LiveroomError):
    """One command is refused; the connection lives on.

    Args:
        code: a name in `ERRORS`.
        detail: what was expected and what came, for people; the table's sentence if left out.
        retry_ms: after how many milliseconds a retry makes sense, where that is known.
        values: further fields of the reply's `err` object.
    """

    def __init__(
        self, code: str, detail: str = "", *, retry_ms: int | None = None, **values: Any
    ) -> None:
        super().__init__(code, detail)
        self.code = ERRORS[code]
        self.detail = detail
        self.retry_ms = retry_ms
        self.values = values

    def __str__(self) -> str:
        return f"{self.code.name}: {self.detail or self.code.sentence}"

    def to_wire(self) -> dict[str, Any]:
        """Return the `err` object of a reply."""
        err: dict[str, Any] = {"code": self.code.name, "msg": self.detail or self.code.sentence}
        if self.retry_ms is not None:
            err["retry_ms"] = self.retry_ms
        err.update(self.values)
        return err


class CloseError(LiveroomError):
    """The connection must end with this close code."""

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(name, detail)
        self.close = CLOSES[name]
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.close.number} {self.close.name}: {self.detail or self.close.sentence}"

    @property
    def reason(self) -> str:
        """The close frame's reason: at most 123 bytes of UTF-8 (RFC 6455, 5.5)."""
        text = self.detail or self.close.sentence
        return text.encode()[:120].decode(errors="ignore")


class ConfigError(LiveroomError):
    """A setting cannot be used."""

    def __init__(self, setting: str, expected: str, came: object) -> None:
        super().__init__(setting, expected, came)
        self.setting = setting
        self.expected = expected
        self.came = came

    def __str__(self) -> str:
        return f"{self.setting}: expected {self.expected}, came {self.came!r}"


class StoreError(LiveroomError):
    """The store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store could not be asked: certainly nothing was executed."""


class OutcomeUnknown(StoreError):
    """The answer was lost: the batch may have been executed. The same key tells."""
