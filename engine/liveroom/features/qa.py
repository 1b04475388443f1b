"""Questions to the host: asked, voted up, answered, dropped."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from liveroom.auth.claims import Role
from liveroom.features.room import HOST_SURFACES, may
from liveroom.features.sources import lua_of
from liveroom.features.text import shown_text
from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, StateSpec, command
from liveroom.protocol.messages import Body, Empty
from liveroom.store.port import Op


__all__ = ["Questions"]

MAX_QUESTION, MAX_ANSWER = 200, 500
"""Characters, after what cannot be shown was taken out."""

Number = Annotated[int, Meta(ge=1, lt=2**26, description="the question's, from `qa.asked`")]
Status = Literal["open", "answered", "dropped"]


class QaAsk(Body, frozen=True, kw_only=True):
    """A question to the host."""

    text: Annotated[str, Meta(min_length=1, max_length=2 * MAX_QUESTION)]


class QaUpvote(Body, frozen=True, kw_only=True):
    """Which question should be answered."""

    question: Number


class QaAnswer(Body, frozen=True, kw_only=True):
    """Which question was answered, and what was said, if it is to be written down."""

    question: Number
    text: Annotated[str, Meta(max_length=2 * MAX_ANSWER)] | None = None


class QaDrop(Body, frozen=True, kw_only=True):
    """Which question is taken away."""

    question: Number


class QaList(Body, frozen=True, kw_only=True):
    """A page of the questions of one status."""

    status: Status = "open"
    offset: Annotated[int, Meta(ge=0, le=500)] = 0
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Asker(Struct):
    """Who asked."""

    id: str
    name: str


class QaAsked(Struct):
    """`d` of `qa.asked`; `asked_ms` is server time."""

    question: int
    user: Asker
    text: str
    asked_ms: int


class QaAnswered(Struct):
    """`d` of `qa.answered`; `asked` is the question's text, `by` a user id."""

    question: int
    user: Asker
    asked: str
    by: str
    took_ms: int
    text: str | UnsetType = UNSET


class QaDropped(Struct):
    """`d` of `qa.dropped`; `by` is a user id, "" when it had to make room for a newer one."""

    question: int
    by: str


class TopQuestion(Struct):
    """A row of the state `qa`."""

    question: int
    user: Asker
    text: str
    votes: int
    asked_ms: int


class QaState(Struct):
    """`d` of the state `qa`: most votes first, then the earlier; figures are of the session."""

    open: int
    top: list[TopQuestion]
    answered: int
    median_answer_ms: int | UnsetType = UNSET


class Questions(Plugin):
    """A queue that viewers sort with their votes and hosts work off."""

    name = "qa"
    lua = lua_of("qa")
    events = (
        EventSpec(
            "qa.asked",
            Delivery.DURABLE,
            "A question: `{question, user: {id, name}, text, asked_ms}`.",
            QaAsked,
        ),
        EventSpec(
            "qa.answered",
            Delivery.DURABLE,
            "`{question, user: {id, name}, asked, text?, by, took_ms}`; `asked` is what was asked.",
            QaAnswered,
        ),
        EventSpec(
            "qa.dropped",
            Delivery.DURABLE,
            "`{question, by}`; `by` is empty when it made room for a newer one.",
            QaDropped,
        ),
    )
    states = (
        StateSpec(
            "qa",
            "`{open, top: [{question, user: {id, name}, text, votes, asked_ms}], answered, "
            "median_answer_ms?}`, the first ten of the queue.",
            QaState,
            rides=True,
        ),
    )

    @command("qa.ask", QaAsk)
    def ask(self, call: Call[QaAsk]) -> Commit:
        """Ask the host something, once a minute; returns `{question}`, its number."""
        may(call, "talk")
        text = shown_text(call.body.text, MAX_QUESTION)
        hidden = {"hidden": True} if call.hidden else {}
        return Commit("qa.ask", {"text": text, "name": call.member.claims.name} | hidden)

    @command("qa.upvote", QaUpvote)
    def upvote(self, call: Call[QaUpvote]) -> Commit:
        """Vote for somebody else's question, once; returns `{question, votes}`."""
        return Commit("qa.upvote", {"question": call.body.question}, idempotent=True)

    @command("qa.answer", QaAnswer, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    def answer(self, call: Call[QaAnswer]) -> Commit:
        """Mark a question as answered; returns `{question, took_ms}`."""
        d = {"question": call.body.question}
        if call.body.text is None:
            return Commit("qa.answer", d)
        return Commit("qa.answer", d | {"text": shown_text(call.body.text, MAX_ANSWER)})

    @command("qa.drop", QaDrop, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    def drop(self, call: Call[QaDrop]) -> Commit:
        """Take a question away; returns nothing."""
        return Commit("qa.drop", {"question": call.body.question})

    @command("qa.list", QaList, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    async def list(self, call: Call[QaList]) -> bytes:
        """Look at the queue, or at what is finished; returns `{status, total, questions}`."""
        return await _look(call, structs.asdict(call.body))

    @command("qa.stats", Empty, role=Role.ASSISTANT, surfaces=HOST_SURFACES)
    async def stats(self, call: Call[Empty]) -> bytes:
        """Look at the figures; returns `{open, asked, answered, dropped, mean_ms?, median_ms?}`."""
        return await _look(call, {})


async def _look(call: Call[Any], d: dict[str, Any]) -> bytes:
    """Ask the script, outside the trail: who only looks changes nothing."""
    return await call.room.submit(Op(call.op, call.user, d))
