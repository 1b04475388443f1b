"""Where a caller comes from, and how much one address may ask (layer: leaf, pure)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Final

from liveroom.errors import ConfigError


__all__ = ["Address", "AddressLimits", "Network", "Verdict", "client_ip", "ip_bucket"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAX_HOPS: Final = 16
_MAX_HOP_CHARS: Final = 64
_IPV6_SITE: Final = ((1 << 64) - 1) << 64


def client_ip(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address of the caller behind the configured proxies.

    Read from the right: each proxy appends the address that it saw, so the first one that is not
    a trusted proxy is the last one that somebody trusted wrote down. What stands left of it is the
    caller's own claim. Where the header cannot be read, the peer stands for the caller.

    Args:
        peer: the address of the connection's other end.
        forwarded_for: the values of all `X-Forwarded-For` headers, in order.
        trusted: the networks of the proxies.
    """
    address = _parse(peer.partition("%")[0])
    if address is None:
        return peer
    if not _is_trusted(address, trusted):
        return str(address)
    return str(_last_untrusted(forwarded_for, trusted) or address)


def _last_untrusted(forwarded_for: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """Return the rightmost hop that is no proxy, the leftmost if all are, None for garbage."""
    address = None
    hops = ",".join(forwarded_for).rsplit(",", _MAX_HOPS)
    for hop in reversed(hops[-_MAX_HOPS:]):
        address = _parse_hop(hop.strip())
        if address is None or not _is_trusted(address, trusted):
            return address
    return address if len(hops) <= _MAX_HOPS else None


def _parse_hop(text: str) -> Address | None:
    """Read `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        return _parse(host) if bracket and _is_port(port) else None
    host, colon, port = text.partition(":")
    if "." in host and colon:
        return _parse(host) if _is_port(colon + port) else None
    return _parse(text)


def _is_port(text: str) -> bool:
    return not text or (text[0] == ":" and text[1:].isdecimal() and len(text) <= 6)


def _parse(text: str) -> Address | None:
    if len(text) > _MAX_HOP_CHARS or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


@lru_cache(maxsize=4096)
def ip_bucket(ip: str) -> str:
    """Return what is limited together: an IPv4 address, the /64 of an IPv6 address.

    Everything that is no address (a unix socket's peer) shares one bucket.
    """
    address = _parse(ip.partition("%")[0])
    if address is None:
        return "unknown"
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) & _IPV6_SITE)}/64"


class Verdict(StrEnum):
    """What `AddressLimits` says to a new connection."""

    ADMITTED = "admitted"
    TOO_FAST = "too_fast"
    TOO_MANY = "too_many"


class AddressLimits:
    """How many connections an address may hold, and how fast it may open them.

    Rates are token buckets, each kept as the one moment at which it will be full again. Full
    ones carry nothing and may be forgotten; under an attack from more than `max_addresses` the
    least recently seen go early.

    Args:
        max_connections_per_ip: open at the same time.
        handshakes_per_s: in the long run, refused ones for being too many included.
        burst: at once.
        max_addresses: how many rates are remembered.
    """

    def __init__(
        self,
        *,
        max_connections_per_ip: int,
        handshakes_per_s: float,
        burst: int,
        max_addresses: int = 100_000,
    ) -> None:
        _positive("max_connections_per_ip", max_connections_per_ip)
        _positive("handshakes_per_s", handshakes_per_s)
        _positive("handshake_burst", burst)
        _positive("max_addresses", max_addresses)
        self._max_connections = max_connections_per_ip
        self._interval_s = 1 / handshakes_per_s
        self._burst_s = burst / handshakes_per_s
        self._max_addresses = max_addresses
        self._open: dict[str, int] = {}
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def try_connect(self, bucket: str, now: float) -> Verdict:
        """Count a new connection in, or say why not. `now`: monotonic seconds.

        An admitted one must be given back with `release`, once.
        """
        if not self._take(bucket, now):
            return Verdict.TOO_FAST
        count = self._open.get(bucket, 0)
        if count >= self._max_connections:
            return Verdict.TOO_MANY
        self._open[bucket] = count + 1
        return Verdict.ADMITTED

    def release(self, bucket: str) -> None:
        """Count an admitted connection out."""
        count = self._open[bucket] - 1
        if count:
            self._open[bucket] = count
        else:
            del self._open[bucket]

    def connections(self, bucket: str) -> int:
        """Return how many connections are open from there."""
        return self._open.get(bucket, 0)

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._full_at.keys() | self._open.keys())

    def _take(self, bucket: str, now: float) -> bool:
        full_at = max(self._full_at.get(bucket, now), now) + self._interval_s
        # Sums of many intervals round: a nanosecond is not a refusal.
        if full_at - now > self._burst_s + 1e-9:
            self._full_at.move_to_end(bucket)
            return False
        self._full_at[bucket] = full_at
        self._full_at.move_to_end(bucket)
        if len(self._full_at) > self._max_addresses:
            self._full_at.popitem(last=False)
        return True


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"limits.{name}", "above 0", value)
