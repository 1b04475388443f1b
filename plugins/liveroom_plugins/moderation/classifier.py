"""A second opinion from outside: a classifier asked over HTTP, within a deadline.

The pure part reads answers and decides what stands in for a missing one; the caller is injected, so
that it can be anything that takes a question and gives bytes. Whatever it does (hang, fail, answer
junk or without end), `Classifier.ask` returns a judgement within the deadline and counts the cause.

Protocol: `POST url` with `{"text", "user", "room", "kind"}`, answered with 200 and
`{"verdict": "allow"|"mask"|"hold"|"shadow"|"reject"|"mute", "label"?: str, "score"?: 0..1,
"spans"?: [[start, end], ...]}`; indices count code points of `text`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal

import aiohttp
import msgspec
from msgspec import Meta, Struct

from .lexicon import Action


__all__ = [
    "Answer",
    "Classifier",
    "ClassifierLimits",
    "Fallbacks",
    "HttpCaller",
    "Judgement",
    "JunkAnswer",
    "Outcome",
    "Question",
    "read_answer",
]

MAX_ANSWER = 16_384
"""Bytes of an answer that are read; a longer one is junk."""


class Question(Struct, frozen=True):
    """What is asked: a text, who says it where, and the class of the message (`danmaku`, `qa` …)."""

    text: str
    user: str
    room: str
    kind: str


class Answer(Struct, frozen=True):
    """What came back, in bounds; further fields are ignored."""

    verdict: Literal["allow", "mask", "hold", "shadow", "reject", "mute"]
    label: Annotated[str, Meta(max_length=64)] = ""
    score: Annotated[float, Meta(ge=0, le=1)] = 0.0
    spans: Annotated[list[tuple[int, int]], Meta(max_length=64)] = []


class Outcome(Enum):
    """How a question ended; each is counted."""

    ANSWERED = "answered"
    LATE = "late"  # no answer within the deadline
    FAILED = "failed"  # no connection, or a status that is not 200
    JUNK = "junk"  # an answer that is not one
    BUSY = "busy"  # too many questions open: not asked
    RESTING = "resting"  # too many failures in a row: not asked for a while


class JunkAnswer(ValueError):
    """An answer that cannot be read as one."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do about the message.

    Args:
        action: as the classifier says, or what stands in for it.
        outcome: how the question ended.
        answer: what came, where it could be read.
    """

    action: Action
    outcome: Outcome
    answer: Answer | None = None


Caller = Callable[[Question], Awaitable[bytes]]


def read_answer(raw: bytes, text: str) -> Answer:
    """Return the answer about a text.

    Raises:
        JunkAnswer: it is no answer, or its spans are not in the text.
    """
    if len(raw) > MAX_ANSWER:
        raise JunkAnswer(f"expected at most {MAX_ANSWER} bytes, came more")
    try:
        answer = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JunkAnswer(f"expected an answer, came {raw[:80]!r}: {error}") from error
    for low, high in answer.spans:
        if not 0 <= low < high <= len(text):
            raise JunkAnswer(f"expected spans within 0..{len(text)}, came [{low}, {high}]")
    return answer


_decoder = msgspec.json.Decoder(Answer)


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """What stands in for an answer that does not come, by class of message.

    Args:
        default: for classes that have none of their own; `PASS` fails open, `HOLD` closed.
        by_kind: classes of their own.
    """

    default: Action = Action.PASS
    by_kind: Mapping[str, Action] = field(default_factory=dict)

    def of(self, kind: str) -> Action:
        """Return what stands in for the answer about a message of this class."""
        return self.by_kind.get(kind, self.default)


@dataclass(frozen=True, slots=True)
class ClassifierLimits:
    """How much the classifier may cost.

    Args:
        deadline_s: after which its answer is not waited for.
        open_questions: how many may be open at a time on this worker.
        failures: after how many in a row it is left alone.
        rest_s: for how long.
    """

    deadline_s: float = 0.2
    open_questions: int = 64
    failures: int = 20
    rest_s: float = 5.0


class Classifier:
    """Asks within limits and always has a judgement.

    Args:
        call: puts the question; raises OSError or aiohttp.ClientError where it cannot.
        fallbacks: what stands in for a missing answer.
        limits: of time and number.
        now: seconds that only grow.
    """

    def __init__(
        self,
        call: Caller,
        fallbacks: Fallbacks | None = None,
        limits: ClassifierLimits | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self._call = call
        self._fallbacks = fallbacks or Fallbacks()
        self._limits = limits or ClassifierLimits()
        self._now = now or asyncio.get_running_loop().time
        self._open = 0
        self._failures = 0
        self._rests_until = 0.0

    async def ask(self, question: Question) -> Judgement:
        """Return what to do about a message, at the latest when the deadline is over."""
        refused = self._may_not_ask()
        outcome, answer = (refused, None) if refused else await self._asked(question)
        self.outcomes[outcome] += 1
        if not answer:
            return Judgement(self._fallbacks.of(question.kind), outcome)
        action = Action.PASS if answer.verdict == "allow" else Action[answer.verdict.upper()]
        return Judgement(action, outcome, answer)

    def _may_not_ask(self) -> Outcome | None:
        if self._now() < self._rests_until:
            return Outcome.RESTING
        return Outcome.BUSY if self._open >= self._limits.open_questions else None

    async def _asked(self, question: Question) -> tuple[Outcome, Answer | None]:
        self._open += 1
        try:
            outcome, answer = await self._answered(question)
        finally:
            self._open -= 1
        self._note(outcome)
        return outcome, answer

    async def _answered(self, question: Question) -> tuple[Outcome, Answer | None]:
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                raw = await self._call(question)
            return Outcome.ANSWERED, read_answer(raw, question.text)
        except TimeoutError:
            return Outcome.LATE, None
        except JunkAnswer:
            return Outcome.JUNK, None
        except (OSError, aiohttp.ClientError):
            return Outcome.FAILED, None

    def _note(self, outcome: Outcome) -> None:
        self._failures = 0 if outcome is Outcome.ANSWERED else self._failures + 1
        if self._failures >= self._limits.failures:
            self._failures = 0
            self._rests_until = self._now() + self._limits.rest_s


class HttpCaller:
    """Puts questions over HTTP on one connection pool.

    Args:
        session: of the plugin; closed by its owner.
        url: of the classifier.
        headers: sent along, such as an authorization.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._headers = {"Content-Type": "application/json", **(headers or {})}

    async def __call__(self, question: Question) -> bytes:
        """Return the bytes of the answer, one more than are allowed at most.

        Raises:
            aiohttp.ClientError: no connection, or a status that is not 200.
        """
        body = msgspec.json.encode(question)
        async with self._session.post(
            self._url, data=body, headers=self._headers, allow_redirects=False
        ) as response:
            if response.status != 200:
                raise aiohttp.ClientError(f"expected status 200, came {response.status}")
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > MAX_ANSWER:
                    break
            return bytes(raw)
