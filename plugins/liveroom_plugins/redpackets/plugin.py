"""The plugin: sending, grabbing, and what a worker remembers."""

from __future__ import annotations

import secrets
from collections import deque
from importlib import resources
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from prometheus_client import Counter

from liveroom import (
    MAX_AMOUNT,
    Call,
    CommandError,
    Commit,
    ConfigError,
    Engine,
    LogEntry,
    Op,
    Payments,
    Plugin,
    Role,
    RoomHandle,
    SoldOut,
    command,
)
from liveroom_plugins.redpackets.shapes import EVENTS, STATES, Grab, PacketList, PacketSend
from liveroom_plugins.redpackets.split import SEED_BYTES, commitment_of, shares_of


__all__ = ["RedPackets"]

MAX_TOTAL = 2_000_000
"""Minor units in a packet, unless the options say something else."""
_SENDERS = ("all", "staff")
_REMEMBERED = 20  # packets of a room whose takers a worker knows


class RedPackets(Plugin):
    """At every end of a packet grabbed + refunded = total."""

    name = "redpackets"
    lua = (resources.files(__package__) / "redpackets.lua").read_text(encoding="utf-8")
    events = EVENTS
    states = STATES

    def __init__(self) -> None:
        self._sold_out = SoldOut()
        self._recent: WeakKeyDictionary[RoomHandle, deque[str]] = WeakKeyDictionary()

    async def start(self, engine: Engine) -> None:
        """Take the engine's handle and the options."""
        options = engine.settings.plugin.get("redpackets", {})
        self._max_total = _max_total(options.get("max_total", MAX_TOTAL))
        self._senders = _senders(options.get("senders", "all"))
        self._worker = engine.worker
        self._payments = Payments(engine)
        self._unasked = Counter(
            "liveroom_redpackets_refused_unasked",
            "Grabs refused as sold out without asking the store",
            registry=engine.metrics.registry,
        )

    @command("redpacket.send", PacketSend, keyed=True)
    async def send(self, call: Call[PacketSend]) -> Any:
        """Send a packet; returns `{sent, packet, total, commitment, starts_ms, ends_ms, balance}`."""
        body, sound = call.body, True
        _expect_shares(body)
        try:
            self._expect_allowed(call)
        except CommandError:
            if not await self._payments.begun(call):
                raise
            sound = False  # the room has its answer, or refuses
        op = Op("redpacket.send", call.user, _to_send(call, sound), call.key, call.digest)
        return await self._payments.pay(call, body.total, op)

    @command("redpacket.grab", Grab, keyed=True)
    def grab(self, call: Call[Grab]) -> Commit:
        """Take a share; returns `{packet, amount, share, left}`: it comes into the wallet."""
        packet = call.body.packet
        shown = call.room.state(f"redpacket:{packet}")
        empty = shown is not None and shown["left"] == 0
        if empty and self._sold_out.never_took(call, packet):
            self._unasked.inc()
            raise CommandError("sold_out", "nothing is left", left=0)
        d = {"packet": packet, "name": call.member.claims.name}
        return Commit("redpacket.grab", d, durable=True)

    @command("redpacket.list", PacketList)
    def grabs(self, call: Call[PacketList]) -> Commit:
        """List who got what, in the order of the shares; returns `{packet, status, taken, grabs}`."""
        body = call.body
        d = {"packet": body.packet, "after": body.after, "limit": body.limit}
        return Commit("redpacket.list", d, idempotent=True)

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Learn who has got something."""
        if not entry.item.startswith(b'{"ev":"redpacket.'):
            return
        event = orjson.loads(entry.item)
        d = event["d"]
        if event["ev"] == "redpacket.sent":
            self._began(room, d["packet"])
        elif event["ev"] == "redpacket.taken":
            self._sold_out.took(room, d["packet"], set(d["users"]))
            self._tell_tabs(room, d)

    def _began(self, room: RoomHandle, packet: str) -> None:
        """Remember the takers of a packet until many others have come."""
        recent = self._recent.setdefault(room, deque())
        recent.append(packet)
        if len(recent) > _REMEMBERED:
            self._sold_out.ended(room, recent.popleft())
        self._sold_out.began(room, packet)

    def _tell_tabs(self, room: RoomHandle, d: dict[str, Any]) -> None:
        """Tell those who grabbed at their other connections; the one that asked has the answer."""
        for user, amount in zip(d["users"], d["amounts"], strict=True):
            tabs = room.of_user(user)
            if tabs and (len(tabs) > 1 or d["worker"] != self._worker):
                for member in tabs:
                    member.tell("redpacket.grabbed", {"packet": d["packet"], "amount": amount})

    def _expect_allowed(self, call: Call[PacketSend]) -> None:
        """Raise CommandError unless the room is open and the options let the sender send so much."""
        room, total = call.room.state("room"), call.body.total
        if room is None or room["status"] != "open":
            raise CommandError("room_closed")
        if self._senders == "staff" and not call.role.at_least(Role.ASSISTANT):
            raise CommandError("not_allowed", "only hosts send packets here")
        if total > self._max_total:
            raise CommandError(
                "amount_too_large", f"expected at most {self._max_total}, came {total}"
            )


def _to_send(call: Call[PacketSend], sound: bool) -> dict[str, Any]:
    """Return the packet with its split: made now, and committed to, before anybody can grab."""
    body, seed = call.body, secrets.token_bytes(SEED_BYTES)
    terms = body.total, body.shares, body.min_share, body.split
    return {
        "packet": body.packet,
        "total": body.total,
        "shares": body.shares,
        "min_share": body.min_share,
        "split": body.split,
        "seconds": body.seconds,
        "countdown_s": body.countdown_s,
        "name": call.member.claims.name,
        "staff": call.role.at_least(Role.ASSISTANT),
        "sound": sound,
        "commitment": commitment_of(call.room.id, body.packet, *terms, seed),
        "_seed": seed.hex(),
        "_shares": shares_of(*terms, seed),
    }


def _expect_shares(body: PacketSend) -> None:
    """Raise CommandError unless the total is enough for the shares."""
    if body.total > MAX_AMOUNT:
        raise CommandError("amount_too_large", f"expected at most {MAX_AMOUNT}, came {body.total}")
    least = body.shares * body.min_share
    if body.total < least:
        raise CommandError("bad_request", f"total: expected at least {least}, came {body.total}")


def _max_total(came: object) -> int:
    try:
        most = int(str(came))
    except ValueError:
        most = 0
    if not 1 <= most <= MAX_AMOUNT:
        raise ConfigError("plugin.redpackets.max_total", f"1 to {MAX_AMOUNT}", came)
    return most


def _senders(came: object) -> str:
    if came not in _SENDERS:
        raise ConfigError("plugin.redpackets.senders", " or ".join(_SENDERS), came)
    return str(came)
