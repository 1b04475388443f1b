"""Quizzes and riddles: answered once, judged by the server's clock, secret until they are over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.rank import Ranked
from liveroom.features.riddle import plain_answer
from liveroom.features.room import HOST_SURFACES
from liveroom.features.sources import lua_of
from liveroom.features.text import shown_text
from liveroom.features.wallet import MAX_AMOUNT
from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, StateSpec, command
from liveroom.protocol.messages import Body, Ident


__all__ = ["Quiz"]

MAX_QUESTION, MAX_TEXT = 200, 100
"""Characters, after what cannot be shown was taken out."""

Text = Annotated[str, Meta(min_length=1, max_length=2 * MAX_TEXT)]
OptionIndex = Annotated[int, Meta(ge=0, le=5, description="from 0")]
Mode = Literal["points", "elimination", "prize"]
Kind = Literal["choice", "riddle"]


class QuizOpen(Body, frozen=True, kw_only=True):
    """A question with options, of which `correct` is right; or a riddle with accepted answers."""

    quiz: Ident
    question: Annotated[str, Meta(min_length=1, max_length=2 * MAX_QUESTION)]
    options: Annotated[list[Text], Meta(min_length=2, max_length=6)] | None = None
    correct: OptionIndex | None = None
    riddle: Annotated[list[Text], Meta(min_length=1, max_length=10)] | None = None
    seconds: Annotated[int, Meta(ge=5, le=300)]
    points: Annotated[int, Meta(ge=1, le=1000)] = 100
    speed_bonus: Annotated[int, Meta(ge=0, le=1000)] = 0
    mode: Mode = "points"
    series: Ident | None = None
    prize: Annotated[int, Meta(ge=1, description="minor units")] | None = None


class QuizAnswer(Body, frozen=True, kw_only=True):
    """The number of an option, or a text for a riddle."""

    quiz: Ident
    option: OptionIndex | None = None
    text: Text | None = None


class QuizClose(Body, frozen=True, kw_only=True):
    """Which quiz ends now."""

    quiz: Ident


class QuizOpened(Struct):
    """`d` of `quiz.opened`; `ends_ms` is server time."""

    quiz: str
    question: str
    kind: Kind
    mode: Mode
    points: int
    speed_bonus: int
    seconds: int
    ends_ms: int
    options: list[str] | UnsetType = UNSET
    series: str | UnsetType = UNSET
    prize: int | UnsetType = UNSET


class QuizResult(Struct, kw_only=True):
    """What is known when a quiz is over; `share` is minor units for each who was right."""

    right: int
    answered: int
    top: list[Ranked]
    correct: int | UnsetType = UNSET
    counts: list[int] | UnsetType = UNSET
    accepted: list[str] | UnsetType = UNSET
    share: int | UnsetType = UNSET


class QuizClosed(QuizResult, kw_only=True):
    """`d` of `quiz.closed`."""

    quiz: str


class QuizState(QuizOpened, kw_only=True):
    """`d` of the state `quiz:<id>`; the fields after `answered` come when it is closed."""

    status: Literal["open", "closed"]
    answered: int
    right: int | UnsetType = UNSET
    top: list[Ranked] | UnsetType = UNSET
    correct: int | UnsetType = UNSET
    counts: list[int] | UnsetType = UNSET
    accepted: list[str] | UnsetType = UNSET
    share: int | UnsetType = UNSET


class Quiz(Plugin):
    """The right answer goes to the script and stays there until the quiz is closed."""

    name = "quiz"
    lua = lua_of("quiz")
    events = (
        EventSpec(
            "quiz.opened",
            Delivery.DURABLE,
            "`{quiz, question, kind: choice|riddle, options?, mode, points, speed_bonus, seconds, "
            "ends_ms, series?, prize?}`.",
            QuizOpened,
        ),
        EventSpec(
            "quiz.closed",
            Delivery.DURABLE,
            "`{quiz, correct?, counts?, accepted?, right, answered, share?, top}`: `correct` and "
            "`counts` of a choice, `accepted` of a riddle, `share` of a prize.",
            QuizClosed,
        ),
    )
    states = (
        StateSpec(
            "quiz",
            "`quiz:<id>`: what `quiz.opened` said, `status`, `answered`, and what `quiz.closed` said; "
            "null ten minutes after that.",
            QuizState,
            rides=True,
        ),
    )

    @command("quiz.open", QuizOpen, role=Role.HOST, surfaces=HOST_SURFACES, keyed=True)
    def open(self, call: Call[QuizOpen]) -> Commit:
        """Begin a quiz or a riddle; returns `{quiz, opened, ends_ms}`."""
        return Commit("quiz.open", _public(call.body) | _secret(call.body), durable=True)

    @command("quiz.answer", QuizAnswer)
    def answer(self, call: Call[QuizAnswer]) -> Commit:
        """Answer once; returns `{quiz, answered}`, which does not tell whether it was right."""
        body = call.body
        d = {"quiz": body.quiz, "name": call.member.claims.name} | _given(body)
        return Commit("quiz.answer", d, durable=True, idempotent=True)

    @command("quiz.close", QuizClose, role=Role.HOST, surfaces=HOST_SURFACES)
    def close(self, call: Call[QuizClose]) -> Commit:
        """End a quiz before its time; returns what `quiz.closed` says, also afterwards."""
        return Commit("quiz.close", {"quiz": call.body.quiz}, durable=True, idempotent=True)


def _public(body: QuizOpen) -> dict[str, Any]:
    _check_mode(body)
    d = {
        "quiz": body.quiz,
        "question": shown_text(body.question, MAX_QUESTION, "question"),
        "kind": "choice" if body.options is not None else "riddle",
        "options": body.options and _distinct(body.options, "options"),
        "seconds": body.seconds,
        "points": body.points,
        "speed_bonus": body.speed_bonus,
        "mode": body.mode,
        "series": body.series,
        "prize": body.prize,
    }
    return {name: value for name, value in d.items() if value is not None}


def _check_mode(body: QuizOpen) -> None:
    """Check that what belongs to one mode comes with it. Raises CommandError."""
    if (body.series is not None) != (body.mode == "elimination"):
        raise CommandError(
            "bad_request", "series: expected with the mode elimination, and only there"
        )
    if body.prize is not None and body.mode == "points":
        raise CommandError(
            "bad_request", "prize: expected only with the modes prize and elimination"
        )
    if body.prize is None and body.mode == "prize":
        raise CommandError("bad_request", "prize: expected with the mode prize")
    if body.prize is not None and body.prize > MAX_AMOUNT:
        detail = f"prize: expected at most {MAX_AMOUNT}, came {body.prize}"
        raise CommandError("amount_too_large", detail)


def _secret(body: QuizOpen) -> dict[str, Any]:
    """Return what is right: fields that no trail, state or event shows before the end."""
    if body.options is not None and body.riddle is None:
        if body.correct is None or body.correct >= len(body.options):
            raise CommandError("bad_request", "correct: expected the number of an option, from 0")
        return {"_correct": body.correct}
    if body.riddle is None or body.options is not None or body.correct is not None:
        raise CommandError("bad_request", "expected either options and correct, or riddle")
    accepted = _distinct(body.riddle, "riddle")
    return {"_accepted": accepted, "_plain": [_plain(text, "riddle") for text in accepted]}


def _given(body: QuizAnswer) -> dict[str, Any]:
    """Return the answer, secret like the right one: whoever is right names it."""
    if (body.option is None) == (body.text is None):
        raise CommandError("bad_request", "expected either option or text")
    if body.text is None:
        return {"_option": body.option}
    text = shown_text(body.text, MAX_TEXT)
    return {"_text": text, "_plain": _plain(text, "text")}


def _plain(text: str, field: str) -> str:
    plain = plain_answer(text)
    if not plain:
        raise CommandError("bad_request", f"{field}: expected more than spaces and punctuation")
    return plain


def _distinct(texts: list[str], field: str) -> list[str]:
    shown = [shown_text(text, MAX_TEXT, field) for text in texts]
    if len(set(shown)) != len(shown):
        raise CommandError("bad_request", f"{field}: expected different texts")
    return shown
