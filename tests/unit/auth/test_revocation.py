"""Which tokens stop counting, for how long, and how much is kept."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, strategies as st

from liveroom.auth.claims import Claims, Role
from liveroom.auth.revocation import RevocationSet, RevokedToken, RevokedUser
from liveroom.errors import ConfigError


NOW = 1_800_000_000
LIFE = 3600
LEEWAY = 60


def make(user: str = "u1", jti: str = "j1", iat: int = NOW) -> Claims:
    return Claims(
        user=user,
        name=user,
        role=Role.VIEWER,
        room="r1",
        exp=iat + LIFE,
        iat=iat,
        jti=jti,
        issuer="",
    )


def test_nothing_is_revoked_at_first() -> None:
    """An empty set refuses nobody."""
    revocations = RevocationSet(max_life_s=LIFE)

    assert len(revocations) == 0
    assert not revocations.revoked(make())


def test_token_is_revoked_by_id() -> None:
    """Only that token; the user's others go on."""
    revocations = RevocationSet(max_life_s=LIFE)

    assert revocations.apply([RevokedToken("j1", NOW + 100)], NOW) == 1

    assert revocations.revoked(make(jti="j1"))
    assert not revocations.revoked(make(jti="j2"))


def test_user_is_revoked_up_to_a_moment() -> None:
    """Tokens given before are refused, a new one is not, other users neither."""
    revocations = RevocationSet(max_life_s=LIFE)

    revocations.apply([RevokedUser("u1", NOW)], NOW)

    assert revocations.revoked(make(iat=NOW - 1))
    assert not revocations.revoked(make(iat=NOW))
    assert not revocations.revoked(make(user="u2", iat=NOW - 1))


def test_known_entries_are_no_news() -> None:
    """What comes by push comes by poll again; an earlier moment never takes one back."""
    revocations = RevocationSet(max_life_s=LIFE)
    revocations.apply([RevokedUser("u1", NOW)], NOW)
    revocations.apply([RevokedToken("j1", NOW + 9)], NOW)

    again: list[RevokedToken | RevokedUser]
    again = [RevokedUser("u1", NOW), RevokedUser("u1", NOW - 50), RevokedToken("j1", NOW + 5)]

    assert revocations.apply(again, NOW) == 0
    assert revocations.revoked(make(jti="x", iat=NOW - 1))


def test_entries_are_forgotten_when_no_token_can_live() -> None:
    """A token's after its end and the leeway, a user's after the longest life besides."""
    revocations = RevocationSet(max_life_s=LIFE)
    revocations.apply([RevokedToken("j1", NOW + 10)], NOW)
    revocations.apply([RevokedUser("u1", NOW)], NOW)

    revocations.prune(NOW + 10 + LEEWAY - 1)
    assert len(revocations) == 2
    revocations.prune(NOW + 10 + LEEWAY)
    assert len(revocations) == 1
    revocations.prune(NOW + LIFE + LEEWAY - 1)
    assert revocations.revoked(make(iat=NOW - 1))
    revocations.prune(NOW + LIFE + LEEWAY)
    assert len(revocations) == 0


def test_raised_moment_is_kept_to_its_own_end() -> None:
    """A later `until` for the same token outlives the first one."""
    revocations = RevocationSet(max_life_s=LIFE)
    revocations.apply([RevokedToken("j1", NOW + 10)], NOW)
    revocations.apply([RevokedToken("j1", NOW + 1000)], NOW)

    revocations.prune(NOW + 500)

    assert revocations.revoked(make())


def test_entries_that_are_over_are_not_taken() -> None:
    """An old record from the store costs nothing."""
    revocations = RevocationSet(max_life_s=LIFE)

    assert revocations.apply([RevokedToken("j1", NOW - LEEWAY)], NOW) == 0
    assert revocations.apply([RevokedUser("u1", NOW - LIFE - LEEWAY)], NOW) == 0
    assert len(revocations) == 0


def test_memory_is_bounded_and_overflow_is_counted() -> None:
    """Beyond the limit the entry that ends first goes, and somebody can see it."""
    revocations = RevocationSet(max_life_s=LIFE, max_tokens=100, max_users=10)
    revocations.apply((RevokedToken(f"j{n}", NOW + n) for n in range(1000)), NOW)
    revocations.apply((RevokedUser(f"u{n}", NOW + n) for n in range(1000)), NOW)

    assert len(revocations) == 110
    assert revocations.overflowed == 900 + 990
    assert revocations.revoked(make(user="x", jti="j999"))
    assert not revocations.revoked(make(user="x", jti="j899"))


def test_one_user_revoked_again_and_again_stays_one_entry() -> None:
    """Repeated cut-offs neither grow the set nor push others out."""
    revocations = RevocationSet(max_life_s=LIFE, max_users=10)
    revocations.apply([RevokedUser("other", NOW)], NOW)
    revocations.apply((RevokedUser("u1", NOW + n) for n in range(5000)), NOW)

    assert (len(revocations), revocations.overflowed) == (2, 0)
    assert len(revocations._users._order) <= 20
    assert revocations.revoked(make(user="other", iat=NOW - 1))


ENTRIES = st.lists(
    st.builds(RevokedToken, st.sampled_from("abc"), st.integers(NOW, NOW + 9))
    | st.builds(RevokedUser, st.sampled_from("xyz"), st.integers(NOW, NOW + 9)),
    max_size=20,
)


@given(ENTRIES, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(
    entries: list[RevokedToken | RevokedUser], random: Random
) -> None:
    """Push and poll may bring the same facts in any order."""
    shuffled = entries * 2
    random.shuffle(shuffled)
    one, two = RevocationSet(max_life_s=LIFE), RevocationSet(max_life_s=LIFE)
    one.apply(entries, NOW)
    two.apply(shuffled, NOW)

    probes = [make(user, jti, NOW + n) for user in "xyz" for jti in "abcd" for n in range(10)]
    assert [one.revoked(probe) for probe in probes] == [two.revoked(probe) for probe in probes]


def test_limits_must_be_positive() -> None:
    """A set that can hold nothing is an error of the configuration."""
    with pytest.raises(ConfigError):
        RevocationSet(max_life_s=LIFE, max_tokens=0)
