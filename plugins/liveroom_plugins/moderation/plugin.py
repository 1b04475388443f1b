"""The plugin: what is said is judged before it is shown, and moderators have the last word."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from importlib import resources
from typing import Any, Final

import aiohttp
import orjson

from liveroom import (
    HOST_SURFACES,
    Call,
    Claims,
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

from .asking import Errands, ask
from .classifier import Classifier, ClassifierLimits, HttpCaller
from .copies import READ_AGAIN_S, Copies
from .inspector import Inspector
from .judging import author_of, given
from .library import Library
from .options import read_options
from .outbox import DANMAKU
from .shapes import EVENTS, STATES, Ban, Delete, HeldMessage, Mode, Mute, OfUser, ReadLog, Remove


__all__ = ["Moderation"]

_CHANGED: Final = b'{"ev":"mod.changed"'
_FOR_STAFF: Final = frozenset({"held", "settled", "delayed", "dropped"})
_PARTS: Final = ("moderation.lua", "messages.lua")


def _lua() -> str:
    folder = resources.files(__package__)
    return "\n".join((folder / part).read_text(encoding="utf-8") for part in _PARTS)


class Moderation(Plugin):
    """Sanctions, modes, words, a queue of what waits, and what is taken back."""

    name = "moderation"
    lua = _lua()
    events = EVENTS
    states = STATES

    def __init__(self) -> None:
        self._errands = Errands()
        self._session: aiohttp.ClientSession | None = None

    async def start(self, engine: Engine) -> None:
        """Read options and packs. Raises ConfigError."""
        self._engine = engine
        self._options = options = read_options(engine.settings.plugin.get("moderation", {}))
        self.library = Library(
            options.files(options.viewer_packs), options.files(options.host_packs)
        )
        await self.library.load()
        self._copies = Copies(engine, self._errands)
        classifier = self._make_classifier() if options.classifier else None
        self._inspector = Inspector(
            engine, options, self.library, self._copies, self._errands, classifier
        )
        if options.reload_s:
            engine.every(options.reload_s, self.library.reload)
        engine.every(READ_AGAIN_S, self.read_again)

    async def stop(self) -> None:
        """Let go of the classifier's connections."""
        self._errands.stop()
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

    # Who comes, and what others have done.

    def shown_name(self, room: RoomHandle, claims: Claims) -> str:
        """Return a viewer's name as it may be shown."""
        return self._inspector.shown_name(room, claims)

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Know the room; who was banned while coming in goes again."""
        self._copies.begin(room).close_banned([member.user])

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Follow the sanctions; close whom they send away; tell the staff; show what was late."""
        if not entry.item.startswith(_CHANGED):
            return
        d = orjson.loads(entry.item)["d"]
        what, mine = d["what"], d.get("worker") == self._engine.worker
        self._copies.hear(room, d)
        if what in ("ban", "kick"):
            _close(room, d["row"])
        elif what in _FOR_STAFF:
            _tell_staff(room, f"mod.{what}", d["entry"])
        elif what == "show":
            _whisper(room, [row["d"] for row in d["rows"] if row.get("only")])
            if mine:
                self._show(room, d)
        elif what == "whisper" and not mine:
            _whisper(room, d["rows"])

    def read_again(self) -> None:
        """Compare with the store: what was missed is made good here."""
        self._copies.read_again()

    def _show(self, room: RoomHandle, d: dict[str, Any]) -> None:
        """Publish what was late; the same batch tells the store."""
        for row in d["rows"]:
            if not row.get("only"):
                room.publish(DANMAKU, row["d"])
        self._copies.of(room).outbox.shown(d["page"])

    # What is said.

    def inspect(self, call: Call[Any]) -> Awaitable[None] | None:
        """Judge what a command would show."""
        return self._inspector.inspect(call)

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Tell the store what was gathered."""
        return self._copies.of(room).outbox.take(self._engine.worker)

    # Commands.

    @command("mod.mute", Mute, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def mute(self, call: Call[Mute]) -> Commit:
        """Let a user not speak for a while; returns `{user, until_ms}`."""
        return _commit(call, **_name_of(call))

    @command("mod.unmute", OfUser, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def unmute(self, call: Call[OfUser]) -> Commit:
        """Let a user speak again; returns `{user, lifted}`."""
        return _commit(call)

    @command("mod.ban", Ban, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def ban(self, call: Call[Ban]) -> Commit:
        """Send a user away who may not come back; returns `{user, until_ms}`, 0: for good."""
        return _commit(call, **_name_of(call))

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
        return _commit(call, **_name_of(call))

    @command("mod.unshadow", OfUser, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def unshadow(self, call: Call[OfUser]) -> Commit:
        """Have them shown to all again; returns `{user, lifted}`."""
        return _commit(call)

    @command("mod.mode", Mode, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def mode(self, call: Call[Mode]) -> Commit:
        """Change how viewers may speak; returns the state `mod`."""
        unknown = (call.body.levels or {}).keys() - self.library.viewers.categories
        if unknown:
            known = ", ".join(sorted(self.library.viewers.categories))
            raise CommandError("bad_request", f"levels: expected {known}, came {min(unknown)}")
        return Commit("mod.mode", given(call.body) | {"default": self._options.filter})

    @command("mod.delete", Delete, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    def delete(self, call: Call[Delete]) -> Commit:
        """Take back a message, or all of a user's; returns `{forgotten, dropped}`."""
        if (call.body.id is None) == (call.body.user is None):
            raise CommandError("bad_request", "expected either id or user")
        return _commit(call)

    @command("mod.approve", HeldMessage, role=Role.MODERATOR, surfaces=HOST_SURFACES)
    async def approve(self, call: Call[HeldMessage]) -> Result:
        """Have a held message published; returns `{id, answer}`, that of its command."""
        d = {"id": call.body.id, "how": "approved"}
        entry = await ask(call.room, call.operation("mod.settle", d))
        claims = author_of(call.room.id, entry)
        self._inspector.approved.add(id(claims))
        try:
            body = orjson.loads(entry["body"])
            answer = await self._engine.perform(call.room.id, claims, entry["op"], body)
        except (CommandError, StoreError):
            await ask(call.room, Op("mod.restore", call.user, entry))
            raise
        finally:
            self._inspector.approved.discard(id(claims))
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
        answer = await ask(call.room, call.operation("mod.log", given(call.body)))
        return answer | {"packs": self.library.versions, "problem": self.library.problem}


def _commit(call: Call[Any], **more: Any) -> Commit:
    """Return the operation of a command's own name; the script knows how high its sender is."""
    d = given(call.body) | {"rank": call.role.rank} | more
    return Commit(call.op, d, durable=True, idempotent=True)


def _name_of(call: Call[Any]) -> dict[str, str]:
    """Return the name of whom a command is about, if this worker serves them."""
    here = call.room.of_user(call.body.user)
    return {"name": here[0].claims.name} if here else {}


def _close(room: RoomHandle, row: dict[str, Any]) -> None:
    for member in room.of_user(row["user"]):
        if member.claims.role.rank < row["rank"]:
            member.close("banned", row.get("reason", ""))


def _tell_staff(room: RoomHandle, event: str, entry: dict[str, Any]) -> None:
    for member in room.members:
        if member.claims.role.at_least(Role.MODERATOR):
            member.tell(event, entry)


def _whisper(room: RoomHandle, rows: list[dict[str, Any]]) -> None:
    """Show authors what only they see, where they are connected here, too."""
    for d in rows:
        own = room.of_user(d["user"]["id"])
        if own:
            room.publish(DANMAKU, d, member=own[0], only=True)
