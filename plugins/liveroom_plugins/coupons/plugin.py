"""The plugin: commands of hosts, viewers and the back end; what a worker remembers."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from importlib import resources
from typing import Any

import orjson
from aiohttp.web import AbstractRouteDef
from prometheus_client import Counter

from liveroom import (
    HOST_SURFACES,
    Call,
    CommandError,
    Commit,
    ConfigError,
    Empty,
    Engine,
    LogEntry,
    Member,
    Op,
    Plugin,
    Role,
    RoomHandle,
    SoldOut,
    Surface,
    command,
)
from liveroom_plugins.coupons.routes import CouponRoutes
from liveroom_plugins.coupons.shapes import (
    EVENTS,
    MAX_QUOTA,
    STATES,
    Claim,
    CouponDrop,
    CouponRain,
    OfCoupon,
    OfDrop,
    OfOrder,
    StopDrop,
    code_of,
    expect_terms,
)
from liveroom_plugins.coupons.watch import Stays


__all__ = ["Coupons"]

LOCK_MINUTES = 15
MAX_LOCK_MINUTES = 1440

_MAX_RAIN_ID = 29  # the drops' names are longer by up to three characters
_PAGE = 200  # stays per operation: holds the store for about a millisecond
_SERVICE = (Surface.SERVICE,)


def _lua() -> str:
    folder = resources.files(__package__)
    return "\n".join(
        (folder / name).read_text(encoding="utf-8")
        for name in ("coupons.lua", "redeem.lua", "rain.lua")
    )


class Coupons(Plugin):
    """At every instant issued = unused + locked + used + expired <= quota."""

    name = "coupons"
    lua = _lua()
    events = EVENTS
    states = STATES

    def __init__(self) -> None:
        self._sold_out = SoldOut()
        self._routes = CouponRoutes()

    async def start(self, engine: Engine) -> None:
        """Take the engine's handle and the options."""
        self._worker = engine.worker
        self._routes.engine = engine
        self._stays = Stays(engine.clock.monotonic)
        self._lock_ms = 60_000 * _lock_minutes(engine)
        self._unasked = Counter(
            "liveroom_coupons_refused_unasked",
            "Claims refused as sold out without asking the store",
            registry=engine.metrics.registry,
        )

    def routes(self) -> Iterable[AbstractRouteDef]:
        """Return the routes of the back end."""
        return self._routes.all()

    # The host.

    @command("coupon.drop", CouponDrop, role=Role.HOST, surfaces=HOST_SURFACES, keyed=True)
    def drop(self, call: Call[CouponDrop]) -> Commit:
        """Drop coupons; returns `{dropped, drop, status, quota, claimed, starts_ms, ends_ms}`."""
        body = call.body
        d = expect_terms(body) | {"drop": body.drop, "starts_in_s": body.starts_in_s}
        d["content"] = _content_of(d)
        if body.if_version is not None:
            d["if_version"] = body.if_version
        return Commit("coupon.drop", d, durable=True)

    @command("coupon.rain", CouponRain, role=Role.HOST, surfaces=HOST_SURFACES, keyed=True)
    def rain(self, call: Call[CouponRain]) -> Commit:
        """Let coupons rain; returns `{rained, rain, drops, spread_ms, starts_ms, ends_ms, …}`."""
        body = call.body
        _expect_rain(body)
        d = expect_terms(body) | {"rain": body.rain}
        d["content"] = _content_of(d | {"over_s": body.over_s, "drops": body.drops})
        d["offsets"] = _offsets(body)
        d["spread_ms"] = body.over_s * 1000 // body.drops
        return Commit("coupon.rain", d, durable=True)

    @command("coupon.stop", StopDrop, role=Role.HOST, surfaces=HOST_SURFACES)
    def end(self, call: Call[StopDrop]) -> Commit:
        """End a drop now; returns `{stopped, drop, quota, claimed}`."""
        d: dict[str, Any] = {"drop": call.body.drop}
        if call.body.if_version is not None:
            d["if_version"] = call.body.if_version
        return Commit("coupon.stop", d, durable=True, idempotent=True)

    @command("coupon.show", OfDrop, role=Role.HOST, surfaces=HOST_SURFACES, audited=False)
    def show(self, call: Call[OfDrop]) -> Commit:
        """Count a drop's coupons; returns `{issued, unused, locked, used, expired, …}`."""
        return Commit("coupon.show", {"drop": call.body.drop}, idempotent=True)

    # The viewer.

    @command("coupon.claim", Claim, keyed=True)
    def claim(self, call: Call[Claim]) -> Commit:
        """Claim one; returns `{coupon, code, drop, title, kind, value, …, valid_until_ms}`."""
        drop = call.body.drop
        shown = call.room.state(f"coupon:{drop}")
        sold_out = shown is not None and shown["status"] == "sold_out"
        if sold_out and self._sold_out.never_took(call, drop):
            self._unasked.inc()
            raise CommandError("sold_out", "nothing is left", left=0)
        d = {
            "drop": drop,
            "level": call.member.claims.level,
            "here_ms": self._stays.here_ms(call.room.id, call.user),
            "_salt": secrets.token_hex(16),
        }
        return Commit("coupon.claim", d, durable=True)

    @command("coupon.mine", Empty)
    def mine(self, call: Call[Empty]) -> Commit:
        """List the sender's coupons with their codes, the newest first; returns `{coupons}`."""
        return Commit("coupon.mine", {}, idempotent=True)

    # The back end.

    @command("coupon.ask", OfCoupon, role=Role.SERVICE, surfaces=_SERVICE, audited=False)
    def ask(self, call: Call[OfCoupon]) -> Commit:
        """Ask what became of a coupon; returns `{coupon, state, user, value, …}`."""
        return Commit("coupon.ask", _of(call.body), idempotent=True)

    @command("coupon.lock", OfOrder, role=Role.SERVICE, surfaces=_SERVICE)
    def lock(self, call: Call[OfOrder]) -> Commit:
        """Lock a coupon for an order, for a while; returns as `coupon.ask`."""
        d = _for(call.body) | {"lock_ms": self._lock_ms}
        return Commit("coupon.lock", d, durable=True, idempotent=True)

    @command("coupon.use", OfOrder, role=Role.SERVICE, surfaces=_SERVICE)
    def use(self, call: Call[OfOrder]) -> Commit:
        """Use a coupon up for an order; returns as `coupon.ask`."""
        return Commit("coupon.use", _for(call.body), durable=True, idempotent=True)

    @command("coupon.release", OfOrder, role=Role.SERVICE, surfaces=_SERVICE)
    def release(self, call: Call[OfOrder]) -> Commit:
        """Unlock a coupon that an order did not use; returns as `coupon.ask`."""
        return Commit("coupon.release", _for(call.body), durable=True, idempotent=True)

    # What the worker remembers.

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Begin counting a viewer's time."""
        self._stays.enter(room.id, member.user)

    def left(self, room: RoomHandle, member: Member) -> None:
        """Count what a viewer has watched, if a drop asks for it."""
        live = room.state("coupons")
        if self._stays.leave(room.id, member.user, counts=bool(live and live["watch"])):
            room.mark()

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Commit the stays that have ended."""
        for rows in self._stays.ended(room.id, _PAGE):
            yield Op("coupon.watched", "", {"rows": rows})

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Learn who has claimed."""
        if not entry.item.startswith(b'{"ev":"coupon.'):
            return
        event = orjson.loads(entry.item)
        d = event["d"]
        match event["ev"]:
            case "coupon.dropped":
                self._sold_out.began(room, d["drop"])
            case "coupon.taken":
                self._sold_out.took(room, d["drop"], set(d["users"]))
                self._tell_tabs(room, d)
            case "coupon.ended":
                self._sold_out.ended(room, d["drop"])
            case _:  # a rain, a coupon that was used
                pass

    def _tell_tabs(self, room: RoomHandle, d: dict[str, Any]) -> None:
        """Tell those who claimed at their other connections; the one that asked has the answer."""
        for user, coupon in zip(d["users"], d["coupons"], strict=True):
            tabs = room.of_user(user)
            if tabs and (len(tabs) > 1 or d["worker"] != self._worker):
                told = {"coupon": coupon, "drop": d["drop"], "valid_until_ms": d["valid_until_ms"]}
                for member in tabs:
                    member.tell("coupon.granted", told)


def _lock_minutes(engine: Engine) -> int:
    came = engine.settings.plugin.get("coupons", {}).get("lock_minutes", LOCK_MINUTES)
    try:
        minutes = int(came)
    except (TypeError, ValueError):
        minutes = 0
    if isinstance(came, bool | float) or not 1 <= minutes <= MAX_LOCK_MINUTES:
        raise ConfigError("plugin.coupons.lock_minutes", f"1 to {MAX_LOCK_MINUTES}", came)
    return minutes


def _of(body: OfCoupon) -> dict[str, Any]:
    return {"_code": code_of(body.code)}


def _for(body: OfOrder) -> dict[str, Any]:
    return {"_code": code_of(body.code), "order": body.order}


def _content_of(d: dict[str, Any]) -> str:
    """Return what two drops of one name have in common if they are the same."""
    text = orjson.dumps(d, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _expect_rain(body: CouponRain) -> None:
    """Raise CommandError unless a rain can be so."""
    if len(body.rain) > _MAX_RAIN_ID:
        raise CommandError("bad_request", f"rain: expected at most {_MAX_RAIN_ID} characters")
    if body.seconds == 0:
        raise CommandError("bad_request", "seconds: expected at least 1 in a rain")
    if body.drops * body.quota > MAX_QUOTA:
        raise CommandError("bad_request", f"drops times quota: expected at most {MAX_QUOTA}")


def _offsets(body: CouponRain) -> list[int]:
    """Return when the drops begin, ms from now: one in each part of the time, anywhere in it."""
    part = body.over_s * 1000 // body.drops
    first = body.starts_in_s * 1000
    return [first + part * number + secrets.randbelow(part) for number in range(body.drops)]
