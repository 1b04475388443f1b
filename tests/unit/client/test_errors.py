"""Errors carry what the server said, and whether to try again."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom.errors import CLOSES, ERRORS
from liveroom_client.errors import LOCAL_CODES, LiveError, error_of_close, error_of_refusal


def test_errors_tell_whether_the_same_may_succeed_later() -> None:
    """By the tables of refusals and of closes."""
    for code, row in ERRORS.items():
        assert LiveError(code).again is row.retry
    for code in set(CLOSES) - set(ERRORS):
        assert LiveError(code).again is CLOSES[code].reconnect
    assert {code: LiveError(code).again for code in LOCAL_CODES} == LOCAL_CODES
    assert not LiveError("of_the_future").again


def test_errors_hold_what_a_refusal_says() -> None:
    """Code, text, retry_ms, and the fields of that code."""
    err = {"code": "insufficient_funds", "msg": "too dear", "retry_ms": 5, "price": 200}
    error = error_of_refusal(err, "gift.send", "k1")

    assert (error.code, error.text, error.op, error.key) == (
        "insufficient_funds", "too dear", "gift.send", "k1",
    )  # fmt: skip
    assert (error.retry_ms, error.values) == (5, {"price": 200})
    assert str(error) == "gift.send: insufficient_funds: too dear"


@pytest.mark.parametrize("err", [None, 5, "no", [], {}, {"code": 7}, {"code": None}])
def test_errors_of_no_shape_are_bad_replies(err: Any) -> None:
    """Whatever came in the place of a refusal."""
    assert error_of_refusal(err, "x", None).code == "bad_reply"


@pytest.mark.parametrize("wrong", ["9", -1, 1.5, True, None])
def test_errors_take_no_nonsense_for_a_wait(wrong: Any) -> None:
    """Only a whole number from 0 on."""
    assert error_of_refusal({"code": "unavailable", "retry_ms": wrong}, "x", None).retry_ms is None


def test_errors_name_why_a_room_cannot_be_had() -> None:
    """By the close code, the HTTP status, or what the hello was answered."""
    assert error_of_close(4403, 0, "", None).code == "banned"
    assert error_of_close(4403, 0, "", None).values == {"close": 4403, "status": 0}
    assert error_of_close(4444, 0, "", None).code == "closed"
    assert error_of_close(0, 404, "", None).code == "refused"
    told = LiveError("forbidden", op="hello")
    assert error_of_close(4403, 0, "", told) is told
    assert told.values["close"] == 4403
