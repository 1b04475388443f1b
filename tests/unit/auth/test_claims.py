"""What a token's claims mean: roles, rooms, names, refresh."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st

from liveroom.auth.claims import (
    MAX_NAME,
    Claims,
    Role,
    TokenError,
    TokenExpired,
    TokenUnchecked,
    check_refresh,
    clean_name,
    valid_room,
    valid_user,
)
from liveroom.errors import CLOSES


def make(user: str = "u1", room: str = "r1", role: Role = Role.VIEWER, iat: int = 0) -> Claims:
    return Claims(
        user=user, name=user, role=role, room=room, exp=iat + 60, iat=iat, jti="j", issuer=""
    )


def test_roles_rank_from_viewer_to_service() -> None:
    """Each role may do what the ones before it may, and no more."""
    assert [role.rank for role in Role] == [0, 1, 2, 3, 4]
    assert Role.HOST.at_least(Role.MODERATOR)
    assert Role.HOST.at_least(Role.HOST)
    assert not Role.ASSISTANT.at_least(Role.MODERATOR)


def test_claims_cover_their_room_only() -> None:
    """A token for one room says nothing about another; "*" covers all."""
    assert make(room="r1").covers("r1")
    assert not make(room="r1").covers("r2")
    assert make(room="*", role=Role.SERVICE).covers("r2")


@dataclass
class Refresh:
    id: str
    new: Claims
    allowed: bool


REFRESHES = [
    Refresh("same", make(role=Role.MODERATOR), allowed=True),
    Refresh("lower role", make(role=Role.VIEWER), allowed=True),
    Refresh("higher role", make(role=Role.HOST), allowed=False),
    Refresh("other user", make(user="u2", role=Role.MODERATOR), allowed=False),
    Refresh("other room", make(room="r2", role=Role.MODERATOR), allowed=False),
    Refresh("every room", make(room="*", role=Role.MODERATOR), allowed=False),
]


@pytest.mark.parametrize("case", REFRESHES, ids=lambda case: case.id)
def test_refresh_keeps_user_and_room_and_never_widens(case: Refresh) -> None:
    """A new token on a live connection may not change who it is or give it more rights."""
    try:
        check_refresh(make(role=Role.MODERATOR), case.new)
        allowed = True
    except TokenError:
        allowed = False

    assert allowed == case.allowed


@pytest.mark.parametrize("text", ["u", "U-1.x_y", "shop:42", "a" * 64, "9"])
def test_user_ids_that_are_valid(text: str) -> None:
    """Letters, digits and _.:- up to 64, a letter or digit first."""
    assert valid_user(text)
    assert valid_room(text) == (":" not in text)


@pytest.mark.parametrize(
    "text", ["", "*", "-a", "a" * 65, "a b", "a\n", "é", "{room}", "a/b", "１", "a\x00"]
)
def test_ids_that_are_not_valid(text: str) -> None:
    """Nothing that could break a key, a log line or a URL, newline at the end included."""
    assert not valid_user(text)
    assert not valid_room(text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Bob", "Bob"),
        ("  Bob  ", "Bob"),
        ("a\nb\x1b[31m", "ab[31m"),
        ("\u202eevil\u2066", "evil"),
        ("a\u2028b\u2029c", "abc"),
        ("e\u0301", "é"),
        ("小明", "小明"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("\ud800x", "x"),
        ("\u200f \t", ""),
        ("x" * 40, "x" * 32),
        ("\u200badmin", "admin"),
        ("ad\u2060min\u00ad", "admin"),
        ("ad\u200dmin\u200d", "admin"),
        ("admin\ufe0f", "admin"),
        ("admin" + "\U000e0041" * 5, "admin"),
        ("admin\u3164", "admin"),
        ("\u200d\u200d", ""),
        ("\u3164", ""),
        ("\u2800", ""),
        ("\u0301", ""),
        ("👩" + "\u200d" * 9 + "💻", "👩\u200d💻"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("x" + "\u0302" * 31, "x" + "\u0302" * 4),
        ("x" + ("\u0302" * 4 + "\u200d") * 6, "x" + "\u0302" * 4),
        ("م" + ("\u0302" * 4 + "\u200c") * 5 + "م", "م" + "\u0302" * 4 + "\u200cم"),
        ("admin\U000e0100", "admin"),
        ("admin\u180b", "admin"),
        ("ad\u2065m\ufff0in\U000e0fff", "admin"),
        ("葛\U000e0100城", "葛\U000e0100城"),
        ("\u212a\u200dé", "Ké"),
    ],
)
def test_clean_name_takes_out_what_acts(raw: str, shown: str) -> None:
    """Controls, direction marks and what has no width go; text and emoji joiners stay."""
    assert clean_name(raw) == shown


@given(st.text())
def test_clean_name_is_bounded_and_stable(text: str) -> None:
    """At most 32 characters, no control left, and cleaning twice changes nothing."""
    name = clean_name(text)

    assert len(name) <= MAX_NAME
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in name)
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("error", "number", "reconnect"),
    [
        (TokenError("signature"), 4401, False),
        (TokenExpired(), 4001, True),
        (TokenUnchecked(5000), 1013, True),
    ],
)
def test_errors_name_the_close_code(error: TokenError, number: int, reconnect: bool) -> None:
    """Expired and unchecked tokens bring the client back, bad ones do not."""
    row = CLOSES[error.close]

    assert (row.number, row.reconnect) == (number, reconnect)


def test_error_reason_stays_inside() -> None:
    """Which check failed is for the log; the client reads one sentence for all of them."""
    wires = [TokenError(reason).to_wire() for reason in ("signature", "audience", "role")]

    assert wires[0] == {"code": "unauthorized", "msg": "the token is not valid here"}
    assert wires[0] == wires[1] == wires[2]
