"""Draws that anybody can check: rules and seed are bound before the first entry (see docs)."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable
from importlib import resources
from typing import Any

import orjson
import structlog
from aiohttp import web

from liveroom.auth.claims import Role
from liveroom.errors import CommandError, StoreError
from liveroom.features.leases import take_lease
from liveroom.features.lottery.draw import commitment_of, rules_hash_of
from liveroom.features.lottery.drawing import Drawings, ask, entrants_of
from liveroom.features.lottery.facts import Attendance, Facts, running_draw
from liveroom.features.lottery.proof import VERSION, checked_pieces, winner_rows
from liveroom.features.lottery.rules import LotteryOpen, rules_of
from liveroom.features.lottery.shapes import (
    EVENTS,
    STATES,
    LotteryBeacon,
    LotteryClaim,
    LotteryEnter,
    LotteryOf,
    LotteryWinners,
)
from liveroom.features.room import HOST_SURFACES
from liveroom.features.text import shown_text
from liveroom.plugin.context import Call, Engine, Member, RoomHandle
from liveroom.plugin.spec import Commit, Plugin, Surface, command, open_to
from liveroom.store.port import LogEntry, Op


__all__ = ["Lottery"]

log = structlog.get_logger("liveroom.lottery")

_LOOK_NEAR_S = 2.0
_LOOK_FAR_S = 30.0
_WATCH_EVERY_S = 30.0
_PAGE = 250
_MAX_PROOFS = 4
_WRITE_BYTES = 32_768
_SEND_S = 120.0  # a proof that is not read by then is given up: it keeps others waiting
_PARTS = ("lottery.lua", "drawing.lua", "claims.lua")
_DRAWING = (b'{"ev":"lottery.frozen"', b'{"ev":"lottery.beacon"')


def _lua() -> str:
    folder = resources.files("liveroom.features.lottery")
    return "\n".join((folder / part).read_text(encoding="utf-8") for part in _PARTS)


class Lottery(Plugin):
    """Opens, fills, freezes, draws and settles; what is random was bound before anybody entered."""

    name = "lottery"
    lua = _lua()
    events = EVENTS
    states = STATES

    def __init__(self) -> None:
        self._rooms: set[str] = set()
        self._overdue: set[tuple[str, str]] = set()
        self._proofs = 0

    async def start(self, engine: Engine) -> None:
        """Begin looking for draws that wait for a worker."""
        self._engine = engine
        self.drawings = Drawings(engine)
        self.attendance = Attendance(engine.clock.monotonic)
        self._facts = Facts(self.attendance)
        engine.every(_LOOK_NEAR_S, self.look)
        engine.every(_LOOK_FAR_S, self.look_far)
        engine.every(_WATCH_EVERY_S, self.report_watching)

    async def stop(self) -> None:
        """Leave draws that are not finished to other workers."""
        await self.drawings.stop()

    # Hosts.

    @command("lottery.open", LotteryOpen, role=Role.HOST, surfaces=HOST_SURFACES, keyed=True)
    def open(self, call: Call[LotteryOpen]) -> Commit:
        """Open a draw; returns `{opened, lottery, rules_hash, commitment, opened_ms, ends_ms?}`."""
        rules = rules_of(call.body)
        rules_hash, seed = rules_hash_of(rules), secrets.token_bytes(32)
        body = {
            "lottery": call.body.lottery,
            "rules": rules,
            "rules_hash": rules_hash.hex(),
            "commitment": commitment_of(seed, call.room.id, call.body.lottery, rules_hash).hex(),
            "_seed": seed.hex(),
        }
        return Commit("lottery.open", body, durable=True)

    @command("lottery.freeze", LotteryOf, role=Role.HOST, surfaces=HOST_SURFACES)
    def freeze(self, call: Call[LotteryOf]) -> Commit:
        """Fix the entries of a draw without an end; returns `{lottery, frozen, entrants}`."""
        return _commit("lottery.freeze", call.body.lottery)

    @command("lottery.cancel", LotteryOf, role=Role.HOST, surfaces=HOST_SURFACES)
    def cancel(self, call: Call[LotteryOf]) -> Commit:
        """Give a draw up that is not drawn yet, for all to see; returns `{lottery, cancelled}`."""
        return _commit("lottery.cancel", call.body.lottery)

    @command("lottery.beacon", LotteryBeacon, role=Role.HOST, surfaces=HOST_SURFACES)
    def beacon(self, call: Call[LotteryBeacon]) -> Commit:
        """Bring the round that the rules name; returns `{lottery, accepted}`."""
        body = call.body
        if hashlib.sha256(bytes.fromhex(body.signature)).hexdigest() != body.randomness:
            raise CommandError("bad_request", "randomness: expected the signature's SHA-256")
        given = {"round": body.round, "randomness": body.randomness, "signature": body.signature}
        return _commit("lottery.beacon", body.lottery, **given)

    @command("lottery.winners", LotteryWinners, role=Role.HOST, surfaces=HOST_SURFACES)
    def winners(self, call: Call[LotteryWinners]) -> Commit:
        """Show who won and where to reach them; returns `{status, of, claimed, winners, next?}`."""
        body = {"lottery": call.body.lottery, "from": call.body.at, "limit": call.body.limit}
        return Commit("lottery.winners", body, idempotent=True)

    # Viewers.

    @command("lottery.enter", LotteryEnter)
    def enter(self, call: Call[LotteryEnter]) -> Commit:
        """Take part; returns `{lottery, nonce?}`, and the same when it is sent again."""
        for op in self._facts.of_user(call.room, call.user):
            call.room.submit(op).add_done_callback(_log_loss)
        claims = call.member.claims
        body = {
            "lottery": call.body.lottery,
            "nonce": (call.body.nonce or "").lower(),
            "name": claims.name,
            "level": claims.level,
            "staff": call.role is not Role.VIEWER,
            "here_ms": self.attendance.here_ms(call.room.id, call.user),
        }
        return Commit("lottery.enter", body, idempotent=True)

    @command(
        "lottery.claim",
        LotteryClaim,
        surfaces=(Surface.VIEWER, Surface.CONTROL, Surface.SERVICE),
        keyed=True,
    )
    def claim(self, call: Call[LotteryClaim]) -> Commit:
        """Claim what was won; returns `{lottery, prize, title, claimed_ms}`."""
        user, contact = call.body.user or call.user, call.body.contact
        if user != call.user and call.role is not Role.SERVICE:
            raise CommandError("forbidden", "only a back end may claim for somebody else")
        body = {"lottery": call.body.lottery, "user": user}
        if contact is not None:
            body["_contact"] = shown_text(contact, 200, "contact")
        return Commit("lottery.claim", body, durable=True)

    # What viewers do meanwhile.

    def accepted(self, call: Call[Any]) -> None:
        """Count likes and words that the running draw asks for."""
        self._facts.take(call)

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Begin counting a viewer's time."""
        self._rooms.add(room.id)
        self.attendance.enter(room.id, member.user)

    def left(self, room: RoomHandle, member: Member) -> None:
        """Count what a viewer has watched."""
        self._facts.left(room, member)

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Commit what the beat has gathered."""
        return self._facts.flush(room)

    async def report_watching(self) -> None:
        """Commit how long everybody has watched: that much a dead worker cannot take along."""
        for room_id in list(self._rooms):
            room = self._engine.room(room_id)
            for op in self._facts.watching(room) if room is not None else ():
                await self._engine.submit(room_id, op)

    # Drawing.

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Draw as soon as the entries are fixed and the beacon's round is known."""
        if entry.item.startswith(_DRAWING):
            self._rooms.add(room.id)
            self.drawings.begin(room.id, orjson.loads(entry.item)["d"]["lottery"])

    def look(self) -> None:
        """See to draws in rooms of this worker that nobody has drawn yet."""
        for room_id in list(self._rooms):
            room = self._engine.room(room_id)
            if room is None:
                self._rooms.discard(room_id)
                continue
            draw = running_draw(room)
            if draw is not None and _may_be_drawn(draw):
                self._see_to(room_id, draw["lottery"], overdue=draw.get("overdue", False))

    async def look_far(self) -> None:
        """See to draws in rooms that no worker serves: nobody else would notice."""
        if not await take_lease(self._engine, "~sys", "lottery", _LOOK_FAR_S - 1):
            return
        listed = await self._engine.submit("~sys", Op("rooms.list", "", {}))
        for room_id in orjson.loads(listed[1:])["rooms"]:
            if room_id in self._rooms:
                continue
            todo = await ask(self._engine, room_id, Op("lottery.todo", "", {}))
            if todo:
                self._see_to(room_id, todo["lottery"], overdue=todo.get("overdue", False))

    def _see_to(self, room: str, lottery: str, *, overdue: bool) -> None:
        if overdue and (room, lottery) not in self._overdue:
            self._overdue.add((room, lottery))
            log.warning("draw overdue", room=room, lottery=lottery)
        self.drawings.begin(room, lottery)

    # The proof.

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Serve proofs."""
        path = "/rooms/{room}/lotteries/{lottery}/proof"
        return [web.get(path, self._proof, allow_head=False)]

    @open_to(Role.VIEWER)
    async def _proof(self, request: web.Request) -> web.StreamResponse:
        room, lottery = request.match_info["room"], request.match_info["lottery"]
        if self._proofs >= _MAX_PROOFS:
            raise CommandError("overloaded", "other proofs are being sent", retry_ms=1000)
        self._proofs += 1
        try:
            head = await ask(self._engine, room, Op("lottery.proof", "", {"lottery": lottery}))
            return await self._send(request, self._fields(room, lottery, head))
        finally:
            self._proofs -= 1

    async def _send(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        response = web.StreamResponse(headers=headers)
        response.content_type = "application/json"
        response.charset = "utf-8"
        await response.prepare(request)
        waiting = bytearray()
        try:
            async with asyncio.timeout(_SEND_S):
                async for piece in checked_pieces(fields):
                    waiting += piece
                    if len(waiting) >= _WRITE_BYTES:
                        await response.write(bytes(waiting))
                        waiting.clear()
                await response.write(bytes(waiting))
        except (StoreError, TimeoutError) as exc:  # too late for a refusal: it must not look whole
            log.warning("proof cut off", error=repr(exc))
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
        return response

    def _fields(self, room: str, lottery: str, head: dict[str, Any]) -> dict[str, Any]:
        prizes, of, ordered = head.pop("prizes"), head.pop("of"), head.pop("ordered")
        head |= {"v": VERSION, "room": room, "lottery": lottery}
        head["entrants"] = entrants_of(self._engine, room, lottery)
        head["winners"] = winner_rows(prizes, self._ranked(room, lottery, 0, of))
        head["reserves"] = self._ranked(room, lottery, of, ordered)
        head["redraws"] = self._redraws(room, lottery)
        return head

    async def _ranked(
        self, room: str, lottery: str, first: int, past: int
    ) -> AsyncIterator[list[str]]:
        while first < past:
            body = {"lottery": lottery, "from": first, "limit": min(_PAGE, past - first)}
            users = (await ask(self._engine, room, Op("lottery.ranked", "", body)))["users"]
            if not users:
                return
            yield users
            first += len(users)

    async def _redraws(self, room: str, lottery: str) -> AsyncIterator[list[Any]]:
        first = 0
        while True:
            body = {"lottery": lottery, "from": first, "limit": 10}
            page = (await ask(self._engine, room, Op("lottery.redraws", "", body)))["redraws"]
            if not page:
                return
            yield page
            first += len(page)


def _may_be_drawn(draw: dict[str, Any]) -> bool:
    waits = "beacon" in draw and "randomness" not in draw["beacon"]
    return draw["status"] == "frozen" and not ("root" in draw and waits)


def _commit(op: str, lottery: str, **more: Any) -> Commit:
    return Commit(op, {"lottery": lottery, **more}, durable=True, idempotent=True)


def _log_loss(done: Any) -> None:
    if done.exception() is not None:
        log.warning("facts lost", error=str(done.exception()))
