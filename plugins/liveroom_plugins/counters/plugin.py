"""Live figures of a session for whoever sells: who came, stayed, took part and bought."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import msgspec
import orjson
import structlog
from aiohttp import web

from liveroom import (
    HOST_SURFACES,
    Call,
    CommandError,
    Commit,
    Engine,
    LogEntry,
    Member,
    Op,
    Plugin,
    Result,
    Role,
    RoomHandle,
    StoreError,
    Surface,
    command,
    json_answer,
    open_to,
    shown_text,
)
from liveroom_plugins.counters.audience import Audience
from liveroom_plugins.counters.figures import ALIASES, metrics_of, row_of
from liveroom_plugins.counters.gather import source_name
from liveroom_plugins.counters.options import Options
from liveroom_plugins.counters.records import Record
from liveroom_plugins.counters.sender import Sender
from liveroom_plugins.counters.shapes import (
    EVENTS,
    MAX_AMOUNT,
    CountersWatch,
    ExposurePut,
    OrderPut,
    SegmentMark,
    SurveyAnswer,
)


__all__ = ["Counters"]

log = structlog.get_logger("liveroom.counters")

_PARTS = ("session.lua", "viewers.lua", "said.lua", "pages.lua", "orders.lua", "read.lua")
_VIEWER = Role.VIEWER  # reading a member off an enum class takes longer
_DONE = frozenset({"like.send", "viewer.share", "shelf.click", "shelf.cart"})
"""Commands by which viewers do what is counted when it was accepted."""
_TICK_S = 0.1
_TELL_S = 1.0
_FORGET_S = 10.0
_BY = ("minute", "source", "item", "segment", "survey")
_SHOWN = ("session", "opened_ms", "closed_ms", "now", "currency", "segment")


def _lua() -> str:
    folder = resources.files("liveroom_plugins.counters")
    return "\n".join((folder / part).read_text(encoding="utf-8") for part in _PARTS)


class Counters(Plugin):
    """Workers gather in memory and tell the store once a second; the store adds up.

    What the store decides itself (gifts, votes, orders, …) it counts in the same step. A worker that
    dies takes along what it gathered since it told last: a second of likes, danmaku, shares and clicks,
    and up to five of its viewers' time. What is in no log is told to whoever keeps records.
    """

    name = "counters"
    lua = _lua()
    events = EVENTS

    def __init__(self) -> None:
        self._watched: dict[str, dict[str, Member]] = {}

    async def start(self, engine: Engine) -> None:
        """Begin telling the store, and those who watch. Raises ConfigError."""
        self._engine = engine
        self._options = Options.of(engine.settings)
        self.audience = Audience(
            self._sender, engine.clock.monotonic, lambda room: engine.room(room) is not None
        )
        engine.every(_TICK_S, self._tick)
        engine.every(_TELL_S, self._tell)
        engine.every(_FORGET_S, self.audience.forget)

    async def stop(self) -> None:
        """Tell what is left; the rooms are gone, so it goes to the store by itself."""
        for sender in self.audience:
            room_id = sender.room.id

            async def commit(op: Op, room_id: str = room_id) -> bytes:
                return (await self._engine.commit(room_id, [op])).replies[0]

            try:
                await sender.finish(commit)
            except StoreError as exc:
                log.warning("counters lost", room=room_id, error=str(exc))
                return

    def _sender(self, room: RoomHandle, session: int) -> Sender:
        engine = self._engine
        now = engine.clock.monotonic
        options = self._options

        def keep(room: RoomHandle, record: Record) -> None:
            self._engine.record(room, {**msgspec.to_builtins(record), "session": session})

        return Sender(room, session, engine.worker, now, options=options, journal=keep)

    # What viewers do.

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Count an entry, and the time from now on."""
        sender = self.audience.current(room)
        if sender is not None:
            self.audience.enter(sender, member)

    def left(self, room: RoomHandle, member: Member) -> None:
        """Count the time until now."""
        self.audience.leave(room, member)
        watchers = self._watched.get(room.id)
        if watchers is not None:
            self._unwatch(room.id, member)

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Begin and end sessions: whoever is in a room that opens is a viewer of it."""
        if entry.item.startswith(b'{"ev":"room.opened"'):
            opened_ms = orjson.loads(entry.item)["ts"]
            self.audience.end(room, opened_ms)
            for member in room.members:
                self.audience.enter(self.audience.session(room, opened_ms), member)
        elif entry.item.startswith(b'{"ev":"room.closed"'):
            self.audience.end(room)
        elif entry.item.startswith(b'{"ev":"danmaku.deleted"'):
            self._deleted(room, orjson.loads(entry.item))

    def _deleted(self, room: RoomHandle, event: dict[str, Any]) -> None:
        """Have messages taken back, by whichever worker is first."""
        self.audience.current(room)
        d = event["d"]
        for sender in self.audience.of_room(room.id):
            sender.gathering.delete(event["ts"], d.get("ids"), d.get("user"))

    def published(self, room: RoomHandle, event: str, d: dict[str, Any], ts: int) -> None:
        """Count a viewer's message that the room is shown."""
        if event == "danmaku" and d["user"]["role"] == _VIEWER:
            sender = self.audience.current(room)
            if sender is not None:
                sender.gathering.say(d["id"], d["user"]["id"], ts, d.get("text", ""))
                if sender.due:  # it rides with the message: a quiet room is committed once
                    room.mark()

    def accepted(self, call: Call[Any]) -> None:
        """Count what a viewer did."""
        if call.op not in _DONE or call.role is not _VIEWER:
            return
        sender = self.audience.current(call.room)
        if sender is None:
            return
        gathering, user, op = sender.gathering, call.user, call.op
        if op == "like.send":
            gathering.act(user, "like", call.body.n, source_name(call.member.source))
        elif op == "viewer.share":
            gathering.act(user, "share", 1, source_name(call.member.source))
        elif op == "shelf.click":
            gathering.click(user, call.body.item, source_name(call.member.source))
        elif op == "shelf.cart":
            body, source = call.body, source_name(call.member.source)
            gathering.cart(user, body.item, body.n, source)

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Tell what was gathered; the answer is waited for, so it is not handed back."""
        for sender in self.audience.of_room(room.id):
            if sender.due:
                sender.send()
        return ()

    def _tick(self) -> None:
        for sender in self.audience:
            if sender.due:
                sender.room.mark()

    @command("survey.answer", SurveyAnswer)
    def survey(self, call: Call[SurveyAnswer]) -> Commit:
        """Say how satisfied one is, once a session; returns `{score}`."""
        body: dict[str, Any] = {"score": call.body.score}
        if call.body.text is not None:
            body["text"] = shown_text(call.body.text, 500, "text")
        return Commit("survey.answer", body, idempotent=True)

    # Hosts.

    @command("segment.mark", SegmentMark, role=Role.HOST, surfaces=HOST_SURFACES)
    def segment(self, call: Call[SegmentMark]) -> Commit:
        """Begin a segment of the show, for the figures; returns `{segment, marked}`."""
        name = shown_text(call.body.name, 64, "name")
        return Commit("segment.mark", {"name": name}, idempotent=True)

    @command(
        "counters.watch",
        CountersWatch,
        role=Role.HOST,
        surfaces=(Surface.CONTROL,),
        audited=False,
    )
    def watch(self, call: Call[CountersWatch]) -> Result:
        """Be told the session's figures once a second, or no more; returns `{watching}`."""
        if call.body.on:
            self._watched.setdefault(call.room.id, {})[call.member.session] = call.member
        else:
            self._unwatch(call.room.id, call.member)
        return {"watching": call.body.on}

    def _unwatch(self, room_id: str, member: Member) -> None:
        watchers = self._watched.get(room_id, {})
        watchers.pop(member.session, None)
        if not watchers:
            self._watched.pop(room_id, None)

    async def figures(self, room: RoomHandle) -> Mapping[str, float]:
        """Return the metrics that have a value, those of kinds as `kinds.like`; none: no session."""
        read = await room.submit(Op("counters.read", "", {}))
        if read[:1] != b"+":
            return {}
        metrics = metrics_of(orjson.loads(read[1:]))
        kinds = {f"kinds.{kind}": row["n"] for kind, row in metrics.pop("kinds").items()}
        return {name: n for name, n in (metrics | kinds).items() if n is not None}

    async def _tell(self) -> None:
        rooms = list(self._watched)
        done = await asyncio.gather(*map(self._tell_room, rooms), return_exceptions=True)
        for room, error in zip(rooms, done, strict=True):
            if error is not None:
                log.warning("counters not shown", room=room, error=str(error))

    async def _tell_room(self, room_id: str) -> None:
        read = await self._engine.submit(room_id, Op("counters.read", "", {}))
        if read[:1] != b"+":
            return  # no session yet
        raw = orjson.loads(read[1:])
        told = {name: raw[name] for name in _SHOWN if name in raw} | {"metrics": metrics_of(raw)}
        for member in list(self._watched.get(room_id, {}).values()):
            member.tell("counters", told)

    # The commerce back end.

    @command("order.put", OrderPut, role=Role.SERVICE, surfaces=(Surface.SERVICE,), audited=False)
    def order(self, call: Call[OrderPut]) -> Commit:
        """Tell how an order stands; returns `{order, status, changed, session?}`."""
        body = call.body
        if body.amount > MAX_AMOUNT:
            detail = f"expected at most {MAX_AMOUNT}, came {body.amount}"
            raise CommandError("amount_too_large", detail)
        return Commit("order.put", _given(body), durable=True, idempotent=True)

    @command(
        "exposure.put", ExposurePut, role=Role.SERVICE, surfaces=(Surface.SERVICE,), audited=False
    )
    async def exposure(self, call: Call[ExposurePut]) -> Result:
        """Tell where the room was shown to whom; returns `{counted}`, those that were new."""
        body = call.body
        if (body.viewers is None) == (body.count is None):
            raise CommandError("bad_request", "expected either viewers or count")
        reply = await call.room.submit(call.operation("exposure.put", _given(body)))
        if reply[:1] != b"+":
            return reply
        answer = orjson.loads(reply[1:])
        self._engine.record(call.room, _exposed(body, answer))
        return {"counted": answer["counted"]}

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Serve the figures."""
        stats, sessions = "/rooms/{room}/stats", "/rooms/{room}/sessions"
        return [
            web.get(stats, self._stats, allow_head=False),
            web.get(sessions, self._sessions, allow_head=False),
        ]

    @open_to(Role.HOST)
    async def _stats(self, request: web.Request) -> web.Response:
        room, body = request.match_info["room"], dict[str, str]()
        by, session = request.query.get("by"), request.query.get("session")
        if by is not None and by not in _BY:
            raise CommandError("bad_request", f"by: expected {', '.join(_BY)}")
        if session is not None and not (session.isascii() and session.isdigit()):
            raise CommandError("bad_request", "session: expected the ms at which it was opened")
        body |= {"by": by} if by else {}
        body |= {"session": session} if session else {}
        raw = await self._ask(room, Op("counters.read", "", body))
        shown = {name: raw[name] for name in _SHOWN if name in raw}
        shown |= {"room": room, "metrics": metrics_of(raw), "aliases": ALIASES}
        if by:
            rows = [row_of(by, row, raw["opened_ms"]) for row in raw["rows"]]
            shown |= {"by": by, "rows": sorted(rows, key=lambda row: _order(by, row))}
        return json_answer(shown)

    @open_to(Role.HOST)
    async def _sessions(self, request: web.Request) -> web.Response:
        """List the sessions that are kept, newest first."""
        op = Op("counters.sessions", "", {})
        return json_answer(await self._ask(request.match_info["room"], op))

    async def _ask(self, room: str, op: Op) -> dict[str, Any]:
        reply = (await self._engine.commit(room, [op])).replies[0]
        answer: dict[str, Any] = orjson.loads(reply[1:]) if reply[:1] != b"!" else {}
        if reply[:1] == b"+":
            return answer
        raise CommandError(answer.get("code", "internal"), answer.get("msg", ""))


def _given(body: Any) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in body.__struct_fields__}
    if given.get("source") is not None:
        given["source"] = source_name(given["source"])
    return {name: value for name, value in given.items() if value is not None}


def _exposed(body: ExposurePut, answer: Mapping[str, Any]) -> dict[str, Any]:
    record = Record(
        ts=answer["now"],
        kind="exposure",
        name=body.placement,
        window=body.window,
        item=body.item or "",
        source=source_name(body.source or ""),
        n=body.count or 0,
        users=tuple(body.viewers or ()),
        session=answer["session"],
    )
    told: dict[str, Any] = msgspec.to_builtins(record)
    return told


def _order(by: str, row: dict[str, Any]) -> tuple[float, str]:
    if by in ("minute", "survey"):
        return float(row.get("minute", -row.get("ts", 0))), ""
    return -float(row["paid_amount"]), str(row[by])
