"""The gate: tokens, guests, rooms, surfaces, revocation, connections per user."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom.auth.claims import Claims, Role, TokenError, TokenExpired
from liveroom.auth.keys import StaticKeys
from liveroom.auth.tokens import Issuer, Verifier, mint
from liveroom.errors import CloseError
from liveroom.gate import Gate
from liveroom.plugin.spec import Surface
from liveroom.protocol.messages import Hello


SECRET = "correct-horse-battery-staple-0123456789"
NOW = 1_800_000_000.0


class Clock:
    """Unix seconds that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_gate(clock: Clock, *, guests: bool = False, max_per_user: int = 0) -> Gate:
    verifier = Verifier([Issuer(StaticKeys.from_secrets(SECRET))], clock=clock)
    return Gate(verifier, guests=guests, max_per_user=max_per_user, now_s=clock)


def token(user: str = "ann", room: str = "r1", role: str = "viewer", **more: Any) -> str:
    options: dict[str, Any] = {"ttl_s": 600, "now": NOW} | more
    return mint(SECRET, user=user, room=room, role=role, **options)


async def refusal(gate: Gate, hello: Hello, surface: Surface = Surface.VIEWER) -> str:
    with pytest.raises(CloseError) as caught:
        await gate.admit(hello, surface)
    return caught.value.close.name


async def test_gate_lets_a_valid_token_in(clock: Clock) -> None:
    """The claims are those of the token."""
    claims = await make_gate(clock).admit(Hello(room="r1", token=token()), Surface.VIEWER)
    assert (claims.user, claims.room, claims.role) == ("ann", "r1", Role.VIEWER)


@pytest.mark.parametrize(
    ("hello", "close"),
    [
        (Hello(room="r1"), "bad_token"),
        (Hello(room="r1", token="x"), "bad_token"),
        (Hello(room="r1", token="guest:ann"), "bad_token"),
        (Hello(room="r2", token=token()), "bad_token"),
        (Hello(room="r1", token=token()[:-3] + "AAA"), "bad_token"),
        (Hello(room="r1", token=token(now=NOW - 7200)), "token_expired"),
        (Hello(room="r1", token=token(now=NOW + 7200)), "bad_token"),
    ],
    ids=["none", "garbage", "guest", "other room", "signature", "expired", "not yet"],
)
async def test_gate_refuses(clock: Clock, hello: Hello, close: str) -> None:
    """Everything that is not a token for this room, now; the code says whether to come back."""
    assert await refusal(make_gate(clock), hello) == close


@pytest.mark.parametrize("role", list(Role))
async def test_control_surface_is_closed_to_viewers_alone(clock: Clock, role: Role) -> None:
    """From assistant upwards everyone may control; what they may do is judged per command."""
    gate, hello = make_gate(clock), Hello(room="r1", token=token(role=role.value))
    if role is Role.VIEWER:
        assert await refusal(gate, hello, Surface.CONTROL) == "bad_token"
    else:
        assert (await gate.admit(hello, Surface.CONTROL)).role is role


@pytest.mark.parametrize(
    ("text", "user", "name"),
    [("guest:bob", "guest-bob", "bob"), ("guest:小明", None, "小明"), ("", None, None)],
)
async def test_guests_are_viewers_with_the_name_they_chose(
    clock: Clock, text: str, user: str | None, name: str | None
) -> None:
    """In development only; a name that can be an id makes the same user again."""
    claims = await make_gate(clock, guests=True).admit(Hello(room="r1", token=text), Surface.VIEWER)
    assert (claims.role, claims.room, claims.issuer) == (Role.VIEWER, "r1", "guest")
    assert claims.user.startswith("guest-")
    assert user in (None, claims.user)
    assert claims.name == (name or claims.user)


async def test_guests_may_not_control(clock: Clock) -> None:
    """A guest is a viewer."""
    gate = make_gate(clock, guests=True)
    assert await refusal(gate, Hello(room="r1"), Surface.CONTROL) == "bad_token"


async def test_a_bad_token_does_not_become_a_guest(clock: Clock) -> None:
    """Where guests are allowed too."""
    gate = make_gate(clock, guests=True)
    assert await refusal(gate, Hello(room="r1", token="guest")) == "bad_token"


async def test_gate_without_keys_takes_no_tokens(clock: Clock) -> None:
    """Only guests come in."""
    gate = Gate(None, guests=True, max_per_user=0, now_s=clock)
    assert await refusal(gate, Hello(room="r1", token=token())) == "bad_token"
    assert (await gate.admit(Hello(room="r1"), Surface.VIEWER)).issuer == "guest"


async def test_a_revoked_token_is_refused(clock: Clock) -> None:
    """By its id."""
    gate = make_gate(clock)
    gate.revoke({"jti": "t-1", "until": int(NOW) + 600})
    assert await refusal(gate, Hello(room="r1", token=token(jti="t-1"))) == "bad_token"
    assert (await gate.admit(Hello(room="r1", token=token()), Surface.VIEWER)).user == "ann"


async def test_tokens_of_a_revoked_user_are_refused_until_a_newer_one(clock: Clock) -> None:
    """All that were given out before the moment, none after it."""
    gate = make_gate(clock)
    gate.revoke({"user": "ann", "before": int(NOW) + 5})
    assert await refusal(gate, Hello(room="r1", token=token())) == "bad_token"
    clock.now = NOW + 10
    fresh = token(now=clock.now)
    assert (await gate.admit(Hello(room="r1", token=fresh), Surface.VIEWER)).user == "ann"


def test_connections_of_a_user_are_counted(clock: Clock) -> None:
    """The third of two is refused, until one has gone; other users are not concerned."""
    gate = make_gate(clock, max_per_user=2)
    gate.enter("ann")
    gate.enter("ann")
    with pytest.raises(CloseError) as caught:
        gate.enter("ann")
    assert caught.value.close.name == "too_many_sessions"
    gate.enter("bob")
    gate.leave("ann")
    gate.enter("ann")


def test_zero_means_any_number_of_connections(clock: Clock) -> None:
    """And each may leave again."""
    gate = make_gate(clock)
    for _ in range(50):
        gate.enter("ann")
    for _ in range(50):
        gate.leave("ann")
    with pytest.raises(KeyError):
        gate.leave("ann")


async def claims_of(gate: Gate, text: str) -> Claims:
    return await gate.claims_of(text)


async def test_refresh_takes_a_later_token_of_the_same_user(clock: Clock) -> None:
    """The new end is that of the new token."""
    gate = make_gate(clock)
    old = await claims_of(gate, token())
    clock.now = NOW + 500
    new = await gate.refresh(old, token(now=clock.now))
    assert new.exp == old.exp + 500


@pytest.mark.parametrize(
    "change",
    [{"user": "bob"}, {"room": "r2"}, {"role": "moderator"}, {"role": "host"}],
    ids=["user", "room", "moderator", "host"],
)
async def test_refresh_gives_no_other_identity_and_no_more_rights(
    clock: Clock, change: dict[str, str]
) -> None:
    """Who wants those connects anew."""
    gate = make_gate(clock)
    old = await claims_of(gate, token(role="assistant"))
    with pytest.raises(TokenError):
        await gate.refresh(old, token(**({"role": "assistant"} | change)))


async def test_refresh_takes_no_expired_and_no_revoked_token(clock: Clock) -> None:
    """A refresh is judged like a hello."""
    gate = make_gate(clock)
    old = await claims_of(gate, token())
    with pytest.raises(TokenExpired):
        await gate.refresh(old, token(now=NOW - 7200))
    gate.revoke({"jti": "t-1", "until": int(NOW) + 600})
    with pytest.raises(TokenError):
        await gate.refresh(old, token(jti="t-1"))


async def test_gate_knows_guests_over_http_in_development_alone(clock: Clock) -> None:
    """A guest's token is that of a viewer of the room asked about; elsewhere it is no token."""
    claims = await make_gate(clock, guests=True).claims_for("guest:ann", "r1")
    assert (claims.name, claims.room, claims.role) == ("ann", "r1", Role.VIEWER)
    for gate, room in ((make_gate(clock), "r1"), (make_gate(clock, guests=True), None)):
        with pytest.raises(TokenError):
            await gate.claims_for("guest:ann", room)
