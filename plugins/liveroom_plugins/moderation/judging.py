"""What is done about a text: the packs first, then the classifier, then the heaviest of both."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from liveroom import Call, Claims, Role

from .classifier import Classifier, Judgement, Question
from .hits import Hit, heaviest
from .lexicon import Action, Levels
from .masking import mask
from .matcher import Matcher


__all__ = [
    "HOST_TEXTS",
    "VIEWER_TEXTS",
    "Finding",
    "Said",
    "author_of",
    "entry_of",
    "find",
    "given",
    "rows_of",
    "texts_of",
    "with_answer",
]


class Said(NamedTuple):
    """How a command carries what a viewer says.

    Args:
        kind: of message, for the classifier and the log.
        field: of its body.
        spoken: whether it is talk in the room: under the modes, and held against repeats.
    """

    kind: str
    field: str
    spoken: bool


VIEWER_TEXTS: Final[Mapping[str, Said]] = {
    "danmaku.send": Said("danmaku", "text", True),
    "qa.ask": Said("qa", "text", True),
    "survey.answer": Said("survey", "text", False),
    "viewer.share": Said("share", "to", False),
}
"""Commands by which viewers say something."""

HOST_TEXTS: Final[Mapping[str, Sequence[str]]] = {
    "coupon.drop": ("title",),
    "coupon.rain": ("title",),
    "danmaku.send": ("text",),
    "lottery.open": ("title", "prizes"),
    "notice.set": ("text",),
    "poll.open": ("title", "options"),
    "qa.answer": ("text",),
    "quiz.open": ("question", "options"),
    "room.open": ("title", "tags"),
    "room.update": ("title", "tags"),
    "shelf.put": ("title", "label", "skus"),
}
"""Commands by which hosts show a text, and its fields; of a struct in a field the same ones."""


_PASS: Final = Action.PASS  # reading a member off an enum class takes longer


class Finding(NamedTuple):
    """What is to be done about a text and why.

    Args:
        action: what is to be done.
        text: what may be shown if it is no more than masking.
        reasons: for the log: rule, version and span of each hit.
    """

    action: Action
    text: str
    reasons: Sequence[Mapping[str, Any]]

    @property
    def rules(self) -> list[str]:
        """The names of the rules."""
        return [str(reason["rule"]) for reason in self.reasons]


def find(matcher: Matcher, text: str, level: int, levels: Mapping[str, int]) -> Finding:
    """Return what packs say of a text at a strictness."""
    hits = matcher.find(text, Levels(level, levels)) if level else []
    if not hits:
        return Finding(_PASS, text, ())
    action, reasons = heaviest(hits), list(map(_reason, hits))
    if action is Action.SHADOW:  # its author must not see that anything was found
        return Finding(action, text, reasons)
    spans = [(hit.start, hit.end) for hit in hits if hit.action >= Action.MASK]
    return Finding(action, mask(text, spans), reasons)


async def with_answer(found: Finding, classifier: Classifier, question: Question) -> Finding:
    """Return the heavier of a finding and what the classifier says of the same text."""
    judged = await classifier.ask(question)
    if judged.action is Action.PASS or judged.action < found.action:
        return found
    spans = judged.answer.spans if judged.answer else []
    text = found.text
    if judged.action is Action.MASK:
        whole = [(0, len(question.text))]
        known = [(reason["start"], reason["end"]) for reason in found.reasons]
        text = mask(question.text, [*(spans or whole), *known])
    return Finding(judged.action, text, [*found.reasons, _opinion(judged)])


def rows_of(found: Finding, action: str, user: str, kind: str, text: str) -> dict[str, Any]:
    """Return the row of the log."""
    row = {"action": action, "user": user, "kind": kind, "text": text}
    return row | ({"reasons": list(found.reasons)} if found.reasons else {})


def entry_of(call: Call[Any], found: Finding, text: str) -> dict[str, Any]:
    """Return what waits for a moderator: all that is needed to carry the command out later."""
    claims = call.member.claims
    return {
        "op": call.op, "body": orjson.dumps(given(call.body)).decode(),
        "kind": VIEWER_TEXTS[call.op].kind, "user": claims.user, "name": claims.name,
        "role": claims.role.value, "level": claims.level, "text": text, "rules": found.rules,
    }  # fmt: skip


def author_of(room: str, entry: Mapping[str, Any]) -> Claims:
    """Return who said what was held, for the moment of its publication."""
    now_s = int(time.time())
    return Claims(
        user=entry["user"], name=entry["name"], role=Role(entry["role"]), room=room,
        exp=now_s + 60, iat=now_s, jti="held", issuer="", level=entry["level"],
    )  # fmt: skip


def given(body: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a body that were sent."""
    return {k: v for k, v in msgspec.structs.asdict(body).items() if v is not None}


def texts_of(body: msgspec.Struct, fields: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield field and text of all that a body shows."""
    for field in fields:
        value = getattr(body, field, None)
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, str):
                yield field, part
            elif isinstance(part, msgspec.Struct):
                yield from texts_of(part, fields)


def _reason(hit: Hit) -> Mapping[str, Any]:
    return {
        "rule": hit.rule,
        "version": hit.version,
        "category": hit.category,
        "level": hit.level,
        "action": hit.action.name.lower(),
        "start": hit.start,
        "end": hit.end,
        "view": hit.view,
    }


def _opinion(judged: Judgement) -> Mapping[str, Any]:
    reason: dict[str, Any] = {"action": judged.action.name.lower()}
    if judged.answer is None:
        return reason | {"rule": f"classifier:{judged.outcome.value}"}
    label = judged.answer.label or judged.answer.verdict
    return reason | {"rule": f"classifier:{label}", "score": judged.answer.score}
