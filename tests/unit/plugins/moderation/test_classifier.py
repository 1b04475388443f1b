"""A classifier that answers, hangs, fails and talks nonsense, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from liveroom_plugins.moderation.classifier import (
    MAX_ANSWER,
    Classifier,
    ClassifierLimits,
    Fallbacks,
    HttpCaller,
    JunkAnswer,
    Outcome,
    Question,
    read_answer,
)
from liveroom_plugins.moderation.lexicon import Action


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
QUESTION = Question("你好", "ann", "r1", "danmaku")
FALLBACKS = Fallbacks(Action.PASS, {"qa": Action.HOLD})


@asynccontextmanager
async def served(
    handler: Handler, limits: ClassifierLimits | None = None
) -> AsyncIterator[Classifier]:
    """Yield a classifier that asks this handler."""
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestServer(app) as server, ClientSession() as session:
        caller = HttpCaller(session, str(server.make_url("/")), {"Authorization": "Bearer x"})
        yield Classifier(caller, FALLBACKS, limits)


async def test_classifier_answer_decides() -> None:
    """The question goes out as JSON; the verdict, the label and the spans come back."""
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((await request.json(), request.headers["Authorization"]))
        return web.json_response({"verdict": "mask", "label": "x", "score": 0.9, "spans": [[0, 1]]})

    async with served(answer, ClassifierLimits(deadline_s=30)) as classifier:
        judgement = await classifier.ask(QUESTION)

    body = {"text": "你好", "user": "ann", "room": "r1", "kind": "danmaku"}
    assert asked == [(body, "Bearer x")]
    assert judgement.action is Action.MASK
    assert judgement.answer is not None
    assert judgement.answer.spans == [(0, 1)]
    assert classifier.outcomes == {Outcome.ANSWERED: 1}


@pytest.mark.parametrize(("kind", "action"), [("danmaku", Action.PASS), ("qa", Action.HOLD)])
async def test_classifier_that_hangs_is_replaced_by_class(kind: str, action: Action) -> None:
    """Open for one class, closed for another; the deadline holds."""
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    async with served(hang, ClassifierLimits(deadline_s=0.02)) as classifier:
        judgement = await classifier.ask(Question("t", "u", "r", kind))
        released.set()

    assert (judgement.action, judgement.outcome) == (action, Outcome.LATE)


async def test_classifier_that_answers_without_end_is_cut() -> None:
    """No more is read than an answer may have."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):  # the caller hangs up
            while True:
                await response.write(b" " * 65_536)
        return response

    async with served(endless, ClassifierLimits(deadline_s=30)) as classifier:
        assert (await classifier.ask(QUESTION)).outcome is Outcome.JUNK


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (500, b'{"verdict": "allow"}', Outcome.FAILED),
        (302, b'{"verdict": "allow"}', Outcome.FAILED),
        (204, b"", Outcome.FAILED),
        (200, b"", Outcome.JUNK),
        (200, b"<html>", Outcome.JUNK),
        (200, b'{"verdict": "maybe"}', Outcome.JUNK),
    ],
)
async def test_classifier_that_does_not_answer_is_replaced(
    status: int, body: bytes, outcome: Outcome
) -> None:
    """Other statuses are failures, other bodies junk; a redirect is not followed."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"})

    async with served(answer, ClassifierLimits(deadline_s=30)) as classifier:
        judgement = await classifier.ask(QUESTION)

    assert (judgement.action, judgement.outcome) == (Action.PASS, outcome)
    assert classifier.outcomes == {outcome: 1}


async def test_classifier_that_is_not_there_is_a_failure() -> None:
    """Nobody listens."""
    async with ClientSession() as session:
        caller = HttpCaller(session, "http://127.0.0.1:1/")
        judgement = await Classifier(caller, limits=ClassifierLimits(deadline_s=30)).ask(QUESTION)

    assert judgement.outcome is Outcome.FAILED


async def test_classifier_takes_so_many_questions_at_a_time() -> None:
    """One that hangs does not pile up tasks: what is above the bound is not asked."""
    released = asyncio.Event()

    async def wait(question: Question) -> bytes:
        await released.wait()
        return b'{"verdict": "allow"}'

    classifier = Classifier(wait, limits=ClassifierLimits(deadline_s=30, open_questions=2))
    first = [asyncio.create_task(classifier.ask(QUESTION)) for _ in range(2)]
    await asyncio.sleep(0)

    assert (await classifier.ask(QUESTION)).outcome is Outcome.BUSY
    released.set()
    assert [(await task).outcome for task in first] == [Outcome.ANSWERED] * 2
    assert (await classifier.ask(QUESTION)).outcome is Outcome.ANSWERED


async def test_classifier_that_keeps_failing_rests() -> None:
    """For a while it is not asked, then again."""
    now = [0.0]
    calls = []

    async def fail(question: Question) -> bytes:
        calls.append(question)
        raise ConnectionResetError

    limits = ClassifierLimits(failures=3, rest_s=5, deadline_s=30)
    classifier = Classifier(fail, limits=limits, now=lambda: now[0])
    outcomes = [(await classifier.ask(QUESTION)).outcome for _ in range(5)]
    now[0] = 5.0
    outcomes.append((await classifier.ask(QUESTION)).outcome)

    assert outcomes == [Outcome.FAILED] * 3 + [Outcome.RESTING] * 2 + [Outcome.FAILED]
    assert len(calls) == 4


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"verdict": 1}',
        b'{"verdict": "allow", "score": 2}',
        b'{"verdict": "mask", "spans": [[0, 9]]}',
        b'{"verdict": "mask", "spans": [[1, 1]]}',
        b'{"verdict": "mask", "spans": [[-1, 1]]}',
        b'{"verdict": "mask", "spans": [[0]]}',
        b"[" * MAX_ANSWER,
        b" " * (MAX_ANSWER + 1),
    ],
)
def test_classifier_junk_is_refused(raw: bytes) -> None:
    """What is no answer raises, with what came."""
    with pytest.raises(JunkAnswer, match="expected"):
        read_answer(raw, "你好")


def test_classifier_further_fields_are_ignored() -> None:
    """An answer may say more than is asked for."""
    assert read_answer(b'{"verdict": "hold", "model": "v3"}', "t").verdict == "hold"
