"""Whose address counts behind proxies, and what an address may ask."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given, strategies as st

from liveroom.auth.clients import AddressLimits, Verdict, client_ip, ip_bucket
from liveroom.errors import ConfigError


TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        # Nobody trusted stands in front: the header is the caller's own claim.
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("203.0.113.9", ["10.0.0.1"], "203.0.113.9"),
        # Behind proxies: the rightmost hop that is none of them.
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1 , 10.0.0.2,10.0.0.3"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        # Several headers are one list.
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        # Proxies alone: the outermost of them.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # The forms that proxies write.
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1, ::ffff:10.0.0.9"], "198.51.100.1"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("fe80::1%eth0", [], "fe80::1"),
        # No header, no address: the peer.
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_client_ip(peer: str, headers: list[str], expected: str) -> None:
    """Trust only what a configured proxy has seen."""
    assert client_ip(peer, headers, TRUSTED) == expected


@pytest.mark.parametrize(
    "garbage",
    [
        "unknown",
        "_hidden",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.4:http",
        "1.2.3.4:",
        "[::1",
        "[::1]x",
        "::1%eth0",
        "1.2.3.4 5.6.7.8",
        "9" * 5000,
        "<script>",
        "\x00",
        ",",
        "198.51.100.1,",
    ],
)
def test_garbage_hop_counts_as_no_header(garbage: str) -> None:
    """What a trusted hop cannot have written is not guessed at: the peer stands."""
    assert client_ip("10.0.0.1", [f"198.51.100.1, {garbage}"], TRUSTED) == "10.0.0.1"


def test_garbage_left_of_the_caller_is_not_read() -> None:
    """The caller may write what it likes there."""
    assert client_ip("10.0.0.1", ["<x>, 198.51.100.1, 10.0.0.2"], TRUSTED) == "198.51.100.1"


def test_endless_chain_of_proxies_is_not_followed() -> None:
    """More than 16 trusted hops are nobody's set-up."""
    chain = ", ".join(["198.51.100.1"] + ["10.0.0.2"] * 16)

    assert client_ip("10.0.0.1", [chain], TRUSTED) == "10.0.0.1"
    assert client_ip("10.0.0.1", [chain[:-10]], TRUSTED) == "198.51.100.1"


@given(st.lists(st.text(max_size=20) | st.ip_addresses().map(str), max_size=6))
def test_spoofed_entries_on_the_left_never_change_the_bucket(spoofed: list[str]) -> None:
    """Whatever a caller sends, the proxy appends the truth behind it."""
    headers = [*spoofed, "198.51.100.1", "10.0.0.2"]

    assert client_ip("10.0.0.1", headers, TRUSTED) == "198.51.100.1"


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=4))
def test_client_ip_never_raises(peer: str, headers: list[str]) -> None:
    """Any header and any peer give a string."""
    assert isinstance(client_ip(peer, headers, TRUSTED), str)
    assert isinstance(client_ip("10.0.0.1", headers, TRUSTED), str)


@pytest.mark.parametrize(
    ("ip", "bucket"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("/run/liveroom.sock", "unknown"),
    ],
)
def test_ip_bucket(ip: str, bucket: str) -> None:
    """One IPv4 address, or one IPv6 site."""
    assert ip_bucket(ip) == bucket


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_addresses_of_one_site_share_a_bucket(address: IPv6Address, host: int) -> None:
    """All 2^64 addresses of a customer are one caller."""
    neighbour = IPv6Address(int(address) >> 64 << 64 | host)
    if address.ipv4_mapped or neighbour.ipv4_mapped:
        return

    assert ip_bucket(str(address)) == ip_bucket(str(neighbour))


def limits_of(
    connections: int = 1000, rate: float = 10, burst: int = 5, addresses: int = 1000
) -> AddressLimits:
    return AddressLimits(
        max_connections_per_ip=connections,
        handshakes_per_s=rate,
        burst=burst,
        max_addresses=addresses,
    )


def test_burst_then_rate() -> None:
    """Five at once, then one each 100 ms; another address is not touched."""
    limits = limits_of()

    assert [limits.try_connect("a", 0.0) for _ in range(6)] == [Verdict.ADMITTED] * 5 + [
        Verdict.TOO_FAST
    ]
    assert limits.try_connect("b", 0.0) is Verdict.ADMITTED
    assert limits.try_connect("a", 0.05) is Verdict.TOO_FAST
    assert limits.try_connect("a", 0.1) is Verdict.ADMITTED
    assert limits.try_connect("a", 0.1) is Verdict.TOO_FAST


def test_refused_attempts_cost_nothing() -> None:
    """A storm does not push the next admission away."""
    limits = limits_of(burst=1, rate=1)
    limits.try_connect("a", 0.0)

    refused = [limits.try_connect("a", 0.001 * n) for n in range(900)]

    assert set(refused) == {Verdict.TOO_FAST}
    assert limits.try_connect("a", 1.0) is Verdict.ADMITTED


def test_open_connections_are_counted() -> None:
    """The third waits until one of the two is released."""
    limits = limits_of(connections=2)

    assert limits.try_connect("a", 0.0) is Verdict.ADMITTED
    assert limits.try_connect("a", 1.0) is Verdict.ADMITTED
    assert limits.try_connect("a", 2.0) is Verdict.TOO_MANY
    limits.release("a")
    assert limits.connections("a") == 1
    assert limits.try_connect("a", 3.0) is Verdict.ADMITTED


def test_release_of_what_was_not_admitted_is_a_bug() -> None:
    """Counts that could go below zero would let more in."""
    with pytest.raises(KeyError):
        limits_of().release("a")


def test_clock_that_steps_back_admits_no_more() -> None:
    """The bucket is not refilled by a smaller time."""
    limits = limits_of(burst=1)
    limits.try_connect("a", 100.0)

    assert limits.try_connect("a", 50.0) is Verdict.TOO_FAST


def test_million_addresses_stay_bounded() -> None:
    """A flood of addresses forgets the oldest rates, never an open connection."""
    limits = limits_of(connections=1, addresses=1000)
    assert limits.try_connect("held", 0.0) is Verdict.ADMITTED
    source = random.Random(1)
    seen = 0
    for n in range(1_000_000):
        bucket = f"{source.getrandbits(32):x}"
        if limits.try_connect(bucket, n * 1e-6) is Verdict.ADMITTED:
            limits.release(bucket)
            seen += 1
    assert seen > 990_000
    assert len(limits) <= 1001
    assert limits.try_connect("held", 2.0) is Verdict.TOO_MANY


def test_address_in_use_is_remembered_under_a_flood() -> None:
    """The one that keeps knocking stays known while quiet ones are forgotten."""
    limits = limits_of(burst=1, rate=0.001, addresses=10)
    limits.try_connect("a", 0.0)
    for n in range(100):
        limits.try_connect(str(IPv4Address(n)), 0.0)
        assert limits.try_connect("a", 0.0) is Verdict.TOO_FAST


@given(
    st.lists(st.floats(0, 0.3), min_size=1, max_size=60),
    st.integers(1, 5),
    st.floats(1, 50),
)
def test_never_more_than_burst_plus_rate(gaps: list[float], burst: int, rate: float) -> None:
    """Over any time from the start, at most `burst + rate * t` are admitted."""
    limits = limits_of(burst=burst, rate=rate)
    now, admitted = 0.0, 0
    for gap in gaps:
        now += gap
        admitted += limits.try_connect("a", now) is Verdict.ADMITTED
        assert admitted <= burst + rate * now + 1e-6


@pytest.mark.parametrize(
    "setting", ["max_connections_per_ip", "handshakes_per_s", "burst", "max_addresses"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_must_be_positive(setting: str, value: float) -> None:
    """Zero would mean nobody, or everybody: neither is guessed."""
    good = {"max_connections_per_ip": 1, "handshakes_per_s": 1, "burst": 1, "max_addresses": 1}
    with pytest.raises(ConfigError):
        AddressLimits(**good | {setting: value})  # type: ignore[arg-type]  # on purpose
