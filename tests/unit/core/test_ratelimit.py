from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from liveroom.core.ratelimit import (
    ConnectionLimits,
    ConnectionQuota,
    Cooldown,
    NamedBuckets,
    TokenBucket,
    Verdict,
)
from liveroom.errors import ConfigError


RATES = st.floats(0.1, 1000)
BURSTS = st.floats(1, 100)
GAPS = st.lists(st.floats(0, 5), min_size=1, max_size=60)
STARTS = st.floats(0, 1e7)


def test_bucket_gives_its_burst_then_its_rate() -> None:
    """Three at once, then one per half second."""
    bucket = TokenBucket(2, 3)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert not bucket.take(10.9)
    assert bucket.take(11.0)


def test_bucket_saves_up_no_more_than_its_burst() -> None:
    """An hour of silence is worth one burst."""
    bucket = TokenBucket(2, 3)
    bucket.take(0.0, 3)
    assert [bucket.take(3600.0) for _ in range(4)] == [True, True, True, False]


def test_bucket_takes_all_of_n_or_nothing() -> None:
    """A refused take leaves the tokens for a smaller one."""
    bucket = TokenBucket(1, 5)
    assert bucket.take(0.0, 3)
    assert not bucket.take(0.0, 3)
    assert bucket.take(0.0, 2)


def test_bucket_above_its_burst_never_gives() -> None:
    """More than the burst cannot be had by waiting, and retry_after says so."""
    bucket = TokenBucket(1, 5)
    assert bucket.retry_after(0.0, 6) == math.inf
    assert not bucket.take(1e9, 6)


@pytest.mark.parametrize(
    ("rate", "burst", "wrong"), [(0, 1, "rate"), (-1, 1, "rate"), (1, 0.5, "burst")]
)
def test_bucket_refuses_a_bad_setting(rate: float, burst: float, wrong: str) -> None:
    """The error names the setting and what came."""
    with pytest.raises(ConfigError, match=f"^{wrong}: expected"):
        TokenBucket(rate, burst)


@given(RATES, BURSTS, STARTS, GAPS)
def test_bucket_never_exceeds_rate_times_time_plus_burst(
    rate: float, burst: float, now: float, gaps: list[float]
) -> None:
    """Over any run from the start the count of takes stays under the line."""
    bucket = TokenBucket(rate, burst)
    began, taken = now, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
        assert taken <= burst + rate * (now - began) + rate * 1e-5 + 1e-6


@given(RATES, BURSTS, STARTS, GAPS)
def test_bucket_retry_after_is_exact(
    rate: float, burst: float, now: float, gaps: list[float]
) -> None:
    """Waiting as told succeeds; it is 0 exactly when taking would succeed now."""
    bucket = TokenBucket(rate, burst)
    for gap in gaps:
        now += gap * 0.1
        wait = bucket.retry_after(now)
        assert bucket.take(now) is (wait <= 1e-6)
    wait = bucket.retry_after(now)
    if wait > 1e-3:
        assert not bucket.take(now + wait * 0.99 - 1e-5)
    assert bucket.take(now + wait)


def test_cooldown_shuts_after_a_breach_for_ten_seconds() -> None:
    """Three in two seconds are fine, the fourth costs ten seconds, then all three are back."""
    chat = Cooldown()
    assert [chat.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert chat.retry_after(4.0) == pytest.approx(6.0)
    assert not chat.take(9.99)
    assert [chat.take(10.0) for _ in range(3)] == [True, True, True]


def test_cooldown_is_not_prolonged_by_trying() -> None:
    """Attempts during the cool-off are refused and change nothing."""
    chat = Cooldown()
    for _ in range(4):
        chat.take(0.0)
    assert not any(chat.take(tenth / 10) for tenth in range(100))
    assert chat.take(10.0)


def test_cooldown_lets_a_steady_speaker_speak() -> None:
    """One message per two thirds of a second never breaks the rule."""
    chat = Cooldown()
    assert all(chat.take(second * 2 / 3) for second in range(300))


def test_cooldown_of_zero_is_a_plain_bucket() -> None:
    """Without a cool-off only the rate counts, and retry_after is the bucket's."""
    chat = Cooldown(1, 1, 0)
    assert chat.take(0.0)
    assert not chat.take(0.5)
    assert chat.retry_after(0.5) == pytest.approx(0.5)
    assert chat.take(1.0)


def test_cooldown_refuses_a_negative_cooloff() -> None:
    """The setting is named."""
    with pytest.raises(ConfigError, match="cooloff_s"):
        Cooldown(1, 1, -1)


def test_connection_is_refused_over_its_messages_then_closed() -> None:
    """At twice the rate: the burst passes, then refusals, then the close at three seconds' debt."""
    limits = ConnectionLimits(ConnectionQuota(10, 10, 1e6, 1e6))
    verdicts = [limits.check(beat / 20, 1, 1) for beat in range(120)]
    assert verdicts[:19] == [Verdict.OK] * 19
    assert verdicts == sorted(verdicts)
    # One second of burst and three of debt, filled at one second per second: the fifth second.
    assert verdicts.index(Verdict.CLOSE) == pytest.approx(80, abs=2)


def test_connection_is_limited_by_bytes_too() -> None:
    """Few messages, but large ones."""
    limits = ConnectionLimits(ConnectionQuota(1000, 1000, 1000, 1000))
    assert limits.check(0.0, 1, 1000) is Verdict.OK
    assert limits.check(0.0, 1, 1000) is Verdict.REFUSE
    assert limits.retry_after(0.0) == pytest.approx(1.0)
    assert limits.check(0.0, 1, 3000) is Verdict.CLOSE


def test_connection_that_waits_as_told_is_let_in() -> None:
    """Refused messages count, so the wait covers them; after it the connection is fine."""
    limits = ConnectionLimits(ConnectionQuota(10, 10, 1e6, 1e6))
    assert limits.check(0.0, 10, 10) is Verdict.OK
    assert limits.check(0.0, 10, 10) is Verdict.REFUSE
    wait = limits.retry_after(0.0)
    assert wait == pytest.approx(1.1)
    assert limits.check(wait, 1, 1) is Verdict.OK


@given(st.lists(st.tuples(st.floats(0.1, 3), st.integers(1, 10)), max_size=50), STARTS)
def test_connection_below_both_rates_is_never_refused(
    turns: list[tuple[float, int]], now: float
) -> None:
    """Each turn sends what its gap has earned, at any clock reading."""
    limits = ConnectionLimits(ConnectionQuota(100, 10, 1e6, 1e6))
    for gap, messages in turns:
        now += gap
        assert limits.check(now, messages, messages * 1000) is Verdict.OK


@given(st.lists(st.tuples(st.floats(0, 0.05), st.integers(1, 5)), max_size=400))
def test_connection_never_gets_more_than_its_quota(turns: list[tuple[float, int]]) -> None:
    """What passes stays under the line, and so does what is refused before the close."""
    limits = ConnectionLimits(ConnectionQuota(10, 10, 1e9, 1e9, close_after_s=3))
    now, passed, seen = 0.0, 0, 0
    for gap, messages in turns:
        now += gap
        verdict = limits.check(now, messages, 1)
        passed += messages * (verdict is Verdict.OK)
        assert passed <= 10 + 10 * now + 1e-3
        if verdict is Verdict.CLOSE:
            break
        seen += messages
        assert seen <= 10 + 10 * now + 30 + 1e-3


@pytest.mark.parametrize("place", range(5))
def test_quota_refuses_zeros(place: int) -> None:
    """Every value is checked."""
    values = [1.0] * 5
    values[place] = 0.0
    with pytest.raises(ConfigError):
        ConnectionQuota(*values)


def test_limits_are_small() -> None:
    """No instance carries a dict: there is one per connection and per user."""
    quota = ConnectionQuota(1, 1, 1, 1)
    for small in (TokenBucket(1, 1), Cooldown(), ConnectionLimits(quota), quota):
        assert not hasattr(small, "__dict__")


def test_named_buckets_are_apart_and_bounded() -> None:
    """Each name has a rate of its own; the least recently seen are forgotten first."""
    buckets = NamedBuckets(rate=2.0, burst=4, most=3)

    assert [buckets.take("a", 0.0, 2) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert buckets.take("b", 0.0, 4) == 0.0
    assert buckets.take("a", 1.0, 2) == 0.0
    for number in range(1000):
        assert buckets.take(f"n{number}", 1.0) == 0.0
        buckets.take("a", 1.0)
    assert len(buckets) == 3
    assert buckets.take("a", 1.0) > 0.0


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0.5)])
def test_named_buckets_refuse_what_is_out_of_range(rate: float, burst: float) -> None:
    """When they are made, not when the first name comes."""
    with pytest.raises(ConfigError):
        NamedBuckets(rate, burst)
