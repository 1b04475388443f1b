"""The plugin: what is said is judged before it is shown, and moderators have the last word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from importlib import resources
from typing import Any, Final

import aiohttp
import msgspec
import orjson
import structlog

from liveroom import (
    HOST_SURFACES,
    Call,
    CommandError,
    Commit,
    Empty,
    Engine,
    LogEntry,
    Member,
    Op,
    Plugin,
    Result,
    Role,
    RoomHandle,
    StoreError,
    command,
)

from .classifier import Classifier, ClassifierLimits, HttpCaller, Question
from .copy import RoomCopy
from .flood import Verdict, shortened
from .judging import (
    HOST_TEXTS,
    VIEWER_TEXTS,
    Finding,
    author_of,
    entry_of,
    find,
    given,
    rows_of,
    texts_of,
    with_answer,
)
from .lexicon import Action
from .library import Library
from .options import read_options
from .shapes import EVENTS, STATES, Ban, Delete, HeldMessage, Mode, Mute, OfUser, ReadLog, Remove


__all__ = ["Moderation"]

log = structlog.get_logger("liveroom.moderation")

USER: Final = "~moderation"
"""In whose name rules mute: no token can be for this user."""
_CHANGED: Final = b'{"ev":"mod.changed"'
_READ_AGAIN_S: Final = 5.0
_MAX_ROWS: Final = 200
_HOLDS = frozenset({"mute", "unmute", "ban", "unban", "shadow", "unshadow"})


class Moderation(Plugin):
    """Sanctions, modes, words, a queue of what waits, and what is taken back."""

    name = "moderation"
    lua = (resources.files(__package__) / "moderation.lua").read_text(encoding="utf-8")
    events = EVENTS
    states = STATES

    def __init__(self) -> None:
        self._copies: dict[str, RoomCopy] = {}
        self._tasks: set[asyncio.Future[Any]] = set()
        self._approved: set[int] = set()
        self._session: aiohttp.ClientSession | None = None
        self._classifier: Classifier | None = None

    async def start(self, engine: Engine) -> None:
        """Read options and packs. Raises ConfigError."""
        self._engine = engine
        self._options = options = read_options(engine.settings.plugin.get("moderation", {}))
        self.library = Library(
            options.files(options.viewer_packs), options.files(options.host_packs)
        )
        await self.library.load()
        if options.classifier:
            self._classifier = self._make_classifier()
        if options.reload_s:
            engine.every(options.reload_s, self.library.reload)
        engine.every(_READ_AGAIN_S, self.read_again)

    async def stop(self) -> None:
        """Let go of the classifier's connections."""
        for task in self._tasks:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    def _make_classifier(self) -> Classifier:
        options = self._options
        self._session = aiohttp.ClientSession()
        token = options.classifier_token
        headers = {"Authorization": f"Bearer {token}"} if token else None
        call = HttpCaller(self._session, options.classifier, headers)
        limits = ClassifierLimits(deadline_s=options.classifier_ms / 1000)
        return Classifier(call, options.stand_ins(), limits)

    # The copy of the sanctions.

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Know the room; who was banned while coming in goes again."""
        copy = self._copy(room)
        if not copy.loaded:
            self._spawn(self._load(copy))
        copy.close_banned([member.user])

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Follow the sanctions; close whom they send away; tell the staff what waits."""
        if not entry.item.startswith(_CHANGED):
            return
        copy, d = self._copy(room), orjson.loads(entry.item)["d"]
        what = d["what"]
        if what in _HOLDS and not copy.hear(d):
            self._spawn(self._load(copy))
        if what in ("ban", "kick"):
            self._close(room, d["row"])
        elif what in ("held", "settled"):
            for member in room.members:
                if member.claims.role.at_least(Role.MODERATOR):
                    member.tell(f"mod.{what}", d["entry"])

    def read_again(self) -> None:
        """Compare with the store: what was missed is made good here."""
        now = self._engine.clock.monotonic()
        for name, copy in list(self._copies.items()):
            if self._engine.room(name) is not copy.room:
                del self._copies[name]
            else:
                copy.forget(now)
                self._spawn(self._load(copy))  # one room's trouble is not the others'

    def _copy(self, room: RoomHandle) -> RoomCopy:
        copy = self._copies.get(room.id)
        if copy is None or copy.room is not room:
            copy = self._copies[room.id] = RoomCopy(room)
        return copy

    async def _load(self, copy: RoomCopy) -> None:
        while not copy.take(await self._ask(copy.room, Op("mod.sync", "", {"rev": copy.rev}))):
            pass  # it was overtaken by a change; the next answer has it
        copy.close_banned(list(copy.bans))

    @staticmethod
    def _close(room: RoomHandle, row: dict[str, Any]) -> None:
        for member in room.of_user(row["user"]):
            if member.claims.role.rank < row["rank"]:
                member.close("banned", row.get("reason", ""))

    @staticmethod
    async def _ask(room: RoomHandle, op: Op) -> dict[str, Any]:
        """Return the script's answer. Raises StoreError, CommandError."""
        reply = await room.submit(op)
        if reply[:1] == b"-":
            refusal = orjson.loads(reply[1:])
            raise CommandError(refusal["code"], refusal["msg"])
        if reply[:1] != b"+":
            raise StoreError(reply.decode(errors="replace"))
        answer: dict[str, Any] = orjson.loads(reply[1:])
        return answer

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("not done now", error=str(task.exception()))

    # What is said.

    def inspect(self, call: Call[Any]) -> Awaitable[None] | None:
        """Judge what a command would show."""
        op = call.op
        copy = self._copy(call.room)
        if copy.bans and copy.under("ban", call.member) is not None:
            raise CommandError("forbidden", "you are banned from this room")
        if op not in VIEWER_TEXTS and op not in HOST_TEXTS:
            return None
        if id(call.member.claims) in self._approved:
            return None
        if call.role.at_least(Role.MODERATOR):
            self._expect_lawful(call)
            return None
        if op not in VIEWER_TEXTS:
            return None
        if copy.loaded and not copy.needs_follow(call.user, self._now()):
            return self._judge(call, copy)
        return self._closed(self._judge_later(call, copy))

    def _now(self) -> float:
        return self._engine.clock.monotonic()

    def _expect_lawful(self, call: Call[Any]) -> None:
        """Raise CommandError, `rejected`, if a host's text holds what adverts may not say."""
        for field, text in texts_of(call.body, HOST_TEXTS.get(call.op, ())):
            found = find(self.library.hosts, text, 4, {})
            if found.action > Action.PASS:
                self._note(call, found, "reject", text)
                rules = ", ".join(found.rules)
                raise CommandError("rejected", f"{field}: {rules}", found=list(found.reasons))

    async def _judge_later(self, call: Call[Any], copy: RoomCopy) -> None:
        if not copy.loaded:
            await self._load(copy)
        now = self._now()
        if copy.needs_follow(call.user, now):
            answer = await self._ask(call.room, Op("mod.follows", call.user, {}))
            if not answer["follows"]:
                raise CommandError("not_eligible", "only who follows the room may speak now")
            copy.follows(call.user, now)
        wait = self._judge(call, copy)
        if wait is not None:
            await wait

    @staticmethod
    async def _closed(work: Awaitable[None]) -> None:
        """Refuse what cannot be judged: an inspector's fault would let it pass."""
        try:
            await work
        except StoreError as exc:
            raise CommandError("unavailable", retry_ms=500) from exc

    def _judge(self, call: Call[Any], copy: RoomCopy) -> Awaitable[None] | None:
        """Judge a viewer's message; what needs no waiting is done at once."""
        self._expect_not_muted(call, copy)
        text: str = call.body.text
        copy.expect_mode(call, text, self._now())
        shown = self._without_flood(call, copy, text)
        mode = call.room.state("mod")
        level = mode["filter"] if mode else self._options.filter
        found = find(self.library.viewers, shown, level, {})
        if copy.under("shadow", call.member) is not None:
            found = Finding(Action.SHADOW, text, [{"rule": "shadowed"}])
        elif self._classifier is not None and found.action < Action.HOLD:
            return self._closed(self._ask_then_act(call, found, shown))
        return self._act(call, found, shown)

    def _expect_not_muted(self, call: Call[Any], copy: RoomCopy) -> None:
        row = copy.under("mute", call.member)
        if row is not None:
            left_ms = max(0, row["until_ms"] - self._engine.clock.wall_ms())
            raise CommandError("muted", row.get("reason", ""), retry_ms=left_ms)

    def _without_flood(self, call: Call[Any], copy: RoomCopy, text: str) -> str:
        """Return the text, shortened if it says little at length; refuse a repeat."""
        judged = copy.flood.judge(call.user, text, round(self._now() * 1000))
        if judged.verdict is Verdict.REPEAT:
            self._note(call, Finding(Action.REJECT, text, [{"rule": "repeat"}]), "reject", text)
            raise CommandError("rate_limited", "you have just said that", retry_ms=30_000)
        if judged.verdict is not Verdict.STRETCH:
            return text
        self._note(call, Finding(Action.MASK, text, [{"rule": "stretch"}]), "shorten", text)
        return shortened(text)

    async def _ask_then_act(self, call: Call[Any], found: Finding, text: str) -> None:
        assert self._classifier is not None, "looked at before"
        kind = VIEWER_TEXTS[call.op]
        question = Question(text, call.user, call.room.id, kind)
        found = await with_answer(found, self._classifier, question)
        self._expect_not_muted(call, self._copy(call.room))  # it took a while
        wait = self._act(call, found, text)
        if wait is not None:
            await wait

    def _act(self, call: Call[Any], found: Finding, text: str) -> Awaitable[None] | None:
        """Do what was found right."""
        action = found.action
        if action is Action.SHADOW and call.op != "danmaku.send":
            action = Action.REJECT  # what others are to vote for cannot be shown to one alone
        if action <= Action.MASK and found.text != call.body.text:
            call.body = msgspec.structs.replace(call.body, text=found.text)
        if action is Action.PASS:
            return None
        self._note(call, found, action.name.lower(), text)
        if action is Action.MASK:
            return None
        if action is Action.SHADOW:
            call.hidden = True
            return None
        if action is Action.HOLD:
            return self._closed(self._hold(call, found, text))
        if action is Action.MUTE:
            self._mute(call)
            raise CommandError("muted", retry_ms=self._options.mute_s * 1000)
        raise CommandError("rejected")

    async def _hold(self, call: Call[Any], found: Finding, text: str) -> None:
        answer = await self._ask(call.room, Op("mod.hold", call.user, entry_of(call, found, text)))
        raise CommandError("rejected", "a moderator will look at it", held=answer["id"])

    def _mute(self, call: Call[Any]) -> None:
        seconds, rank = self._options.mute_s, Role.ASSISTANT.rank
        until_ms = self._engine.clock.wall_ms() + seconds * 1000
        row = {"user": call.user, "until_ms": until_ms, "rank": rank}
        self._copy(call.room).impose("mute", row)
        op = Op("mod.mute", USER, {"user": call.user, "seconds": seconds, "rank": rank})
        self._spawn(self._ask(call.room, op))

    # The log.

    def _note(self, call: Call[Any], found: Finding, action: str, text: str) -> None:
        row = rows_of(found, action, call.user, VIEWER_TEXTS.get(call.op, call.op), text)
        self._copy(call.room).rows.append(row)
        call.room.mark()
        record = row | {"ts": self._engine.clock.wall_ms(), "kind": "moderation", "op": call.op}
        self._engine.record(call.room, record)

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Write what was done by itself into the room's log."""
        copy = self._copy(room)
        rows, copy.rows = copy.rows, []
        for at in range(0, len(rows), _MAX_ROWS):
            yield Op("mod.note", "", {"rows": rows[at : at + _MAX_ROWS]})

    # Commands.

    @command("mod.mute", Mute, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def mute(self, call: Call[Mute]) -> Commit:
        """Let a user not speak for a while; returns `{user, until_ms}`."""
        return _commit(call)

    @command("mod.unmute", OfUser, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def unmute(self, call: Call[OfUser]) -> Commit:
        """Let a user speak again; returns `{user, lifted}`."""
        return _commit(call)

    @command("mod.ban", Ban, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def ban(self, call: Call[Ban]) -> Commit:
        """Send a user away who may not come back; returns `{user, until_ms}`, 0: for good."""
        return _commit(call)

    @command("mod.unban", OfUser, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def unban(self, call: Call[OfUser]) -> Commit:
        """Let a user come again; returns `{user, lifted}`."""
        return _commit(call)

    @command("mod.kick", Remove, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def kick(self, call: Call[Remove]) -> Commit:
        """Close a user's connections everywhere; returns `{user}`."""
        return _commit(call)

    @command("mod.shadow", Ban, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def shadow(self, call: Call[Ban]) -> Commit:
        """Have a user's messages shown to that user alone; returns `{user, until_ms}`."""
        return _commit(call)

    @command("mod.unshadow", OfUser, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def unshadow(self, call: Call[OfUser]) -> Commit:
        """Have them shown to all again; returns `{user, lifted}`."""
        return _commit(call)

    @command("mod.mode", Mode, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def mode(self, call: Call[Mode]) -> Commit:
        """Change how viewers may speak; returns the state `mod`."""
        return Commit("mod.mode", given(call.body) | {"default": self._options.filter})

    @command("mod.delete", Delete, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def delete(self, call: Call[Delete]) -> Commit:
        """Take back a message, or all of a user's; returns `{forgotten}`, how many were kept."""
        if (call.body.id is None) == (call.body.user is None):
            raise CommandError("bad_request", "expected either id or user")
        return _commit(call)

    @command("mod.approve", HeldMessage, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    async def approve(self, call: Call[HeldMessage]) -> Result:
        """Have a held message published; returns `{id, answer}`, that of its command."""
        d = {"id": call.body.id, "how": "approved"}
        entry = await self._ask(call.room, call.operation("mod.settle", d))
        claims = author_of(call.room.id, entry)
        self._approved.add(id(claims))
        try:
            body = orjson.loads(entry["body"])
            answer = await self._engine.perform(call.room.id, claims, entry["op"], body)
        except (CommandError, StoreError):
            await self._ask(call.room, Op("mod.restore", call.user, entry))
            raise
        finally:
            self._approved.discard(id(claims))
        return {"id": call.body.id, "answer": answer}

    @command("mod.reject", HeldMessage, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def reject(self, call: Call[HeldMessage]) -> Commit:
        """Have a held message never shown; returns it."""
        return Commit("mod.settle", {"id": call.body.id, "how": "rejected"})

    @command("mod.list", Empty, role=Role.MODERATOR, surfaces=HOST_SURFACES, audited=False)
    def list(self, call: Call[Empty]) -> Commit:
        """Look at what waits and who may not speak; returns `{held, mute, ban, shadow}`."""
        return Commit("mod.list", {}, idempotent=True)

    @command("mod.log", ReadLog, role=Role.MODERATOR, surfaces=HOST_SURFACES, audited=False)
    async def read_log(self, call: Call[ReadLog]) -> Result:
        """Read what was done by itself; returns `{total, rows, packs, problem}`."""
        answer = await self._ask(call.room, call.operation("mod.log", given(call.body)))
        return answer | {"packs": self.library.versions, "problem": self.library.problem}


def _commit(call: Call[Any]) -> Commit:
    """Return the operation of a command's own name; the script knows how high its sender is."""
    d = given(call.body) | {"rank": call.role.rank}
    return Commit(call.op, d, durable=True, idempotent=True)
