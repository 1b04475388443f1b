"""What a coupon may be worth, and how its code is read."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom import CommandError
from liveroom_plugins.coupons.shapes import Conditions, Terms, code_of, expect_terms


def terms(**changes: Any) -> Terms:
    """Return terms that can be."""
    given: dict[str, Any] = {
        "title": "10 off", "quota": 5, "kind": "amount", "value": 1000, "valid_s": 60,
    }  # fmt: skip
    return Terms(**given | changes)


def test_shapes_terms_hold_only_what_was_given() -> None:
    """Conditions that ask for nothing are none."""
    plain = {
        "title": "10 off", "quota": 5, "per_user": 1, "kind": "amount", "value": 1000,
        "valid_s": 60, "seconds": 300,
    }  # fmt: skip
    assert expect_terms(terms()) == plain
    assert expect_terms(terms(conditions=Conditions(follow=False))) == plain
    asked = expect_terms(terms(conditions=Conditions(level=2, follow=True), stacking="a"))
    assert asked == plain | {"conditions": {"level": 2, "follow": True}, "stacking": "a"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": "percent", "value": 100}, "bad_request"),
        ({"value": 10**13 + 1}, "amount_too_large"),
        ({"min_spend": 10**13 + 1}, "amount_too_large"),
        ({"min_spend": 999}, "bad_request"),
        ({"valid_until_ms": 1}, "bad_request"),
        ({"valid_s": None}, "bad_request"),
    ],
)
def test_shapes_terms_that_do_not_go_together_are_refused(
    changes: dict[str, Any], code: str
) -> None:
    """By their code."""
    with pytest.raises(CommandError) as refused:
        expect_terms(terms(**changes))
    assert refused.value.code.name == code


@pytest.mark.parametrize(
    ("typed", "code"),
    [("3-7qk2", "3-7QK2"), (" 1-OIL0 ", "1-0110"), ("", ""), ("1-ß", "1-SS")],
)
def test_shapes_code_is_read_as_it_was_issued(typed: str, code: str) -> None:
    """Small letters and look-alikes."""
    assert code_of(typed) == code
