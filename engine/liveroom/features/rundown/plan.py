"""What a plan may hold, judged before the show (layer 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import orjson

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.rundown.shapes import RundownPut
from liveroom.features.text import shown_text
from liveroom.shows import Cue, check_cues, cue_error, cue_fields


__all__ = ["MAX_BYTES", "Expect", "capped", "checked"]

MAX_BYTES: Final = 262_144
"""A plan with all its bodies."""

_NOT_PLANNED: Final = frozenset({"rundown", "wallet", "auth", "sys", "stats", "webhook", "audit"})
"""What no cue runs: other cues, money without a room, and what answers one connection only."""
_MAX_TITLE, _MAX_LABEL = 100, 80

Expect = Callable[[str, dict[str, Any], Role], None]
"""Refuses a command that could not be run (`Engine.expect_command`)."""


def capped(role: Role) -> Role:
    """Return the role that a show runs under: a back end that starts one is its host, no more."""
    return role if Role.HOST.at_least(role) else Role.HOST


def checked(body: RundownPut, role: Role, expect: Expect) -> dict[str, Any]:
    """Return what the script stores of a plan.

    Args:
        body: the plan.
        role: of whoever stores it.
        expect: refuses a command that this role could not send.

    Raises:
        CommandError: a cue is wrong; the sentence and the field `cue` name it.
    """
    check_cues(body.cues)
    rows = [_row(cue, capped(role), expect) for cue in body.cues]
    title = shown_text(body.title, _MAX_TITLE, "title") if body.title else ""
    texts = [title, *(row["text"] for row in rows)]
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_BYTES:
        detail = f"expected a plan of at most {MAX_BYTES} bytes, came {size}"
        raise CommandError("bad_request", detail)
    digest = hashlib.blake2b("\n".join(texts).encode(), digest_size=12).hexdigest()
    # Secret like the right answers that it may hold: the room's trail keeps the digest alone.
    d: dict[str, Any] = {"title": title, "digest": digest, "_cues": rows}
    return d if body.if_version is None else d | {"if_version": body.if_version}


def _row(cue: Cue, role: Role, expect: Expect) -> dict[str, Any]:
    try:
        _expect_planned(cue.op)
        expect(cue.op, cue.d, role)
        if cue.label:
            cue = msgspec.structs.replace(cue, label=shown_text(cue.label, _MAX_LABEL, "label"))
    except CommandError as exc:
        raise cue_error(cue.cue, exc) from exc
    return dict(_timing(cue)) | {"cue": cue.cue, "text": orjson.dumps(cue_fields(cue)).decode()}


def _expect_planned(op: str) -> None:
    if op.partition(".")[0] in _NOT_PLANNED:
        raise CommandError("bad_request", f"{op} cannot be planned")


def _timing(cue: Cue) -> Iterator[tuple[str, Any]]:
    if cue.at_s is not None or cue.after is not None:
        yield "at_ms", round((cue.at_s or 0.0) * 1000)
    if cue.after is not None:
        yield "after", cue.after
