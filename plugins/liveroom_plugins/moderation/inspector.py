"""Judges what a command would show, and sees to what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from liveroom import Call, Claims, CommandError, Engine, Op, Role, RoomHandle

from .asking import Errands, ask, closed
from .classifier import Classifier, Question
from .copies import Copies
from .copy import RoomCopy
from .flood import Judgement, Verdict, shortened
from .judging import (
    HOST_TEXTS,
    VIEWER_TEXTS,
    Finding,
    Said,
    entry_of,
    find,
    rows_of,
    texts_of,
    with_answer,
)
from .lexicon import Action
from .library import Library
from .options import Options


__all__ = ["NEUTRAL_NAME", "USER", "Inspector"]

USER: Final = "~moderation"
"""In whose name rules mute: no token can be for this user."""
NEUTRAL_NAME: Final = "viewer"
"""Of whoever has a name that would have been refused as a message."""

_MAX_NAME: Final = 32
_SHOWN: Final = frozenset({Action.PASS, Action.MASK, Action.SHADOW})
_STAFF: Final = frozenset(role for role in Role if role.at_least(Role.MODERATOR))
# Module globals: reading a member off an enum class takes longer than a look into a dictionary.
_PASS: Final = Action.PASS
_SHADOW: Final = Action.SHADOW
_UNREMARKABLE: Final = Verdict.PASS


class Inspector:
    """Of one worker.

    Args:
        engine: the worker.
        options: of the plugin.
        library: the packs.
        copies: what is known of the rooms.
        errands: what is done in passing.
        classifier: somebody else to ask.
    """

    def __init__(
        self,
        engine: Engine,
        options: Options,
        library: Library,
        copies: Copies,
        errands: Errands,
        classifier: Classifier | None = None,
    ) -> None:
        self._engine = engine
        self._options = options
        self._library = library
        self._copies = copies
        self._errands = errands
        self._classifier = classifier
        self.approved: set[int] = set()
        """Ids of the claims in whose name a moderator publishes something now."""

    def inspect(self, call: Call[Any]) -> Awaitable[None] | None:
        """Judge a command. Raises CommandError."""
        op, copy = call.op, self._copies.of(call.room)
        if copy.bans and copy.under("ban", call.member) is not None:
            raise CommandError("forbidden", "you are banned from this room")
        said = VIEWER_TEXTS.get(op)
        if said is None and op not in HOST_TEXTS:
            return None
        if id(call.member.claims) in self.approved:
            return None
        if call.role in _STAFF:
            self._expect_lawful(call)
            return None
        if said is None or getattr(call.body, said.field) is None:
            return None
        now = self._now()
        if copy.loaded and not (said.spoken and copy.needs_follow(call.user, now)):
            return self._judge(call, copy, said, now)
        return closed(self._judge_later(call, copy, said))

    def shown_name(self, room: RoomHandle, claims: Claims) -> str:
        """Return a viewer's name as it may be shown: as it is, masked, or a neutral one."""
        name = claims.name
        if claims.role in _STAFF:
            return name
        found = find(self._library.viewers, name, *self._strictness(room))
        if found.action is _PASS:
            return name
        if not self._copies.of(room).is_renamed(claims.user, name):
            self._write(room, rows_of(found, "rename", claims.user, "name", name), "hello")
        return found.text[:_MAX_NAME] if found.action is Action.MASK else NEUTRAL_NAME

    def _now(self) -> float:
        return self._engine.clock.monotonic()

    def _strictness(self, room: RoomHandle) -> tuple[int, Mapping[str, int]]:
        mode = room.state("mod")
        if not mode:
            return self._options.filter, {}
        return mode["filter"], mode.get("levels", {})

    def _expect_lawful(self, call: Call[Any]) -> None:
        """Raise CommandError, `rejected`, if a host's text holds what adverts may not say."""
        for field, text in texts_of(call.body, HOST_TEXTS.get(call.op, ())):
            found = find(self._library.hosts, text, 4, {})
            if found.action > Action.PASS:
                self._note(call, found, "reject", text)
                rules = ", ".join(found.rules)
                raise CommandError("rejected", f"{field}: {rules}", found=list(found.reasons))

    async def _judge_later(self, call: Call[Any], copy: RoomCopy, said: Said) -> None:
        if not copy.loaded:
            await self._copies.load(copy)
        now = self._now()
        if said.spoken and copy.needs_follow(call.user, now):
            answer = await ask(call.room, Op("mod.follows", call.user, {}))
            if not answer["follows"]:
                raise CommandError("not_eligible", "only who follows the room may speak now")
            copy.follows(call.user, now)
        wait = self._judge(call, copy, said, self._now())
        if wait is not None:
            await wait

    def _judge(
        self, call: Call[Any], copy: RoomCopy, said: Said, now: float
    ) -> Awaitable[None] | None:
        """Judge what a viewer says; what needs no waiting is done at once."""
        self._expect_not_muted(call, copy)
        shown: str = getattr(call.body, said.field)
        alone = copy.under("shadow", call.member) is not None
        wave = ""
        if said.spoken:
            copy.expect_mode(call, shown, now, alone=alone)
            judged = copy.flood.judge(call.user, shown, round(now * 1000), alone=alone)
            if judged.verdict is not _UNREMARKABLE:
                wave = judged.key if judged.verdict is Verdict.FOLD else ""
                shown = self._without_flood(call, judged, shown)
        found = find(self._library.viewers, shown, *self._strictness(call.room))
        if alone:
            found = _shadowed(found, shown)
        elif self._classifier is not None and found.action < Action.HOLD:
            return closed(self._ask_then_act(call, self._classifier, found, shown, wave))
        return self._act(call, found, shown, wave)

    def _expect_not_muted(self, call: Call[Any], copy: RoomCopy) -> None:
        row = copy.under("mute", call.member)
        if row is not None:
            left_ms = max(0, row["until_ms"] - self._engine.clock.wall_ms())
            raise CommandError("muted", row.get("reason", ""), retry_ms=left_ms)

    def _without_flood(self, call: Call[Any], judged: Judgement, text: str) -> str:
        """Return the text, shortened if it says little at length; refuse a repeat."""
        if judged.verdict is Verdict.REPEAT:
            self._note(call, Finding(Action.REJECT, text, [{"rule": "repeat"}]), "reject", text)
            raise CommandError("rate_limited", "you have just said that", retry_ms=30_000)
        if judged.verdict is not Verdict.STRETCH:
            return text
        self._note(call, Finding(Action.MASK, text, [{"rule": "stretch"}]), "shorten", text)
        return shortened(text)

    async def _ask_then_act(
        self, call: Call[Any], classifier: Classifier, found: Finding, text: str, wave: str
    ) -> None:
        kind = VIEWER_TEXTS[call.op].kind
        question = Question(text, call.user, call.room.id, kind)
        found = await with_answer(found, classifier, question)
        self._expect_not_muted(call, self._copies.of(call.room))  # it took a while
        wait = self._act(call, found, text, wave)
        if wait is not None:
            await wait

    def _act(self, call: Call[Any], found: Finding, text: str, wave: str) -> Awaitable[None] | None:
        """Do what was found right."""
        action = found.action
        if action is not _PASS:
            self._note(call, found, action.name.lower(), text)
        if action in _SHOWN:
            self._show(call, found, text, wave)
            return None
        if action is Action.HOLD:
            return closed(self._hold(call, found, text))
        if action is Action.MUTE:
            self._mute(call)
            raise CommandError("muted", retry_ms=self._options.mute_s * 1000)
        raise CommandError("rejected")

    def _show(self, call: Call[Any], found: Finding, text: str, wave: str) -> None:
        """Let a command go on with what may be shown, to whom it may be shown."""
        said, hidden = VIEWER_TEXTS[call.op], found.action is _SHADOW
        shown = None if hidden and not said.spoken else found.text
        if shown != getattr(call.body, said.field):
            call.body = msgspec.structs.replace(call.body, **{said.field: shown})
        call.hidden = hidden
        if call.op != "danmaku.send":
            return
        mode = call.room.state("mod")
        if mode and mode.get("delay_s"):
            copy = self._copies.of(call.room)
            call.divert = lambda _, d: copy.outbox.delay(d, call.role.rank, only=hidden)
        elif hidden:
            call.divert = partial(_whisper, call, self._copies.of(call.room))
        elif wave and self._options.fold:
            call.divert = partial(_fold, call, self._copies.of(call.room), wave)

    async def _hold(self, call: Call[Any], found: Finding, text: str) -> None:
        answer = await ask(call.room, Op("mod.hold", call.user, entry_of(call, found, text)))
        raise CommandError("rejected", "a moderator will look at it", held=answer["id"])

    def _mute(self, call: Call[Any]) -> None:
        seconds, rank = self._options.mute_s, Role.ASSISTANT.rank
        until_ms = self._engine.clock.wall_ms() + seconds * 1000
        row = {"user": call.user, "until_ms": until_ms, "rank": rank}
        self._copies.of(call.room).impose("mute", row)
        op = Op("mod.mute", USER, {"user": call.user, "seconds": seconds, "rank": rank})
        self._errands.run(ask(call.room, op))

    def _note(self, call: Call[Any], found: Finding, action: str, text: str) -> None:
        said = VIEWER_TEXTS.get(call.op)
        kind = call.op if said is None else said.kind
        self._write(call.room, rows_of(found, action, call.user, kind, text), call.op)

    def _write(self, room: RoomHandle, row: dict[str, Any], op: str) -> None:
        self._copies.of(room).outbox.log(row)
        record = row | {"ts": self._engine.clock.wall_ms(), "kind": "moderation", "op": op}
        self._engine.record(room, record)


def _shadowed(found: Finding, shown: str) -> Finding:
    """Return what becomes of a shadowed user's text: refused as anybody's, else shown to them."""
    if found.action > Action.SHADOW:
        return found
    text = found.text if found.action is Action.MASK else shown
    return Finding(Action.SHADOW, text, [*found.reasons, {"rule": "shadowed"}])


def _whisper(call: Call[Any], copy: RoomCopy, event: str, d: dict[str, Any]) -> None:
    call.room.publish(event, d, member=call.member, only=True)
    copy.outbox.whisper(d)


def _fold(call: Call[Any], copy: RoomCopy, key: str, event: str, d: dict[str, Any]) -> None:
    """Show a message to its author; the others are told how many there are."""
    call.room.publish(event, d, member=call.member, only=True, counted=True)
    copy.outbox.fold(key, d["text"])
