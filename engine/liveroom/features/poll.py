"""Polls: one at a time, one vote per identity, counted in the script that takes the vote."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import orjson
from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.room import HOST_SURFACES, may
from liveroom.features.sources import lua_of
from liveroom.features.text import plain_text
from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Delivery, EventSpec, Plugin, StateSpec, command
from liveroom.protocol.messages import Body, Ident


__all__ = ["Polls"]

MAX_OPTIONS = 10
MIN_SECONDS, MAX_SECONDS = 15, 1800

Index = Annotated[int, Meta(ge=0, lt=MAX_OPTIONS, description="of an option, from 0")]


class PollOpen(Body, frozen=True, kw_only=True):
    """A question; `seconds` 0: until it is closed by hand."""

    poll: Ident
    title: Annotated[str, Meta(min_length=1, max_length=60)]
    options: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=25)]],
        Meta(min_length=2, max_length=MAX_OPTIONS),
    ]
    multiple: bool = False
    max_choices: (
        Annotated[int, Meta(ge=1, le=MAX_OPTIONS, description="if multiple; else all of them")]
        | None
    ) = None
    seconds: Annotated[int, Meta(ge=0, le=MAX_SECONDS, description="0, or 15 to 1800")] = 60
    change: bool = False
    hidden: bool = False


class PollOf(Body, frozen=True, kw_only=True):
    """Which poll."""

    poll: Ident


class PollVote(Body, frozen=True, kw_only=True):
    """The options that the sender chooses."""

    poll: Ident
    options: Annotated[list[Index], Meta(min_length=1, max_length=MAX_OPTIONS)]


class PollOpened(Struct):
    """`d` of `poll.opened`; `ends_ms` 0: until it is closed by hand."""

    poll: str
    title: str
    options: list[str]
    multiple: bool
    max_choices: int
    change: bool
    hidden: bool
    ends_ms: int
    by: str


class PollClosed(Struct):
    """`d` of `poll.closed`: votes by option; `by` is empty when the time was up."""

    poll: str
    tally: list[int]
    voters: int
    by: str


class PollState(Struct):
    """`d` of the state `poll:<poll>`; no `tally` while it is hidden and open."""

    poll: str
    title: str
    options: list[str]
    multiple: bool
    max_choices: int
    change: bool
    hidden: bool
    status: Literal["open", "closed"]
    ends_ms: int
    voters: int
    tally: list[int] | UnsetType = UNSET


class Polls(Plugin):
    """The script judges every vote by its own clock; a closed result never changes."""

    name = "poll"
    lua = lua_of("poll")
    events = (
        EventSpec(
            "poll.opened",
            Delivery.DURABLE,
            "`{poll, title, options, multiple, max_choices, change, hidden, ends_ms, by}`.",
            PollOpened,
        ),
        EventSpec(
            "poll.closed",
            Delivery.DURABLE,
            "The result: `{poll, tally, voters, by}`; `by` is empty when the time was up.",
            PollClosed,
        ),
    )
    states = (
        StateSpec(
            "poll",
            "`poll:<poll>`: `{poll, title, options, multiple, max_choices, change, hidden, "
            "status: open|closed, ends_ms, voters, tally?}`; no tally while it is hidden; null ten "
            "minutes after the close.",
            PollState,
        ),
    )

    @command("poll.open", PollOpen, role=Role.HOST, surfaces=HOST_SURFACES, keyed=True)
    def open(self, call: Call[PollOpen]) -> Commit:
        """Ask the viewers; returns `{poll, opened, status, ends_ms}`."""
        return Commit("poll.open", _checked(call.body), durable=True)

    @command("poll.close", PollOf, role=Role.HOST, surfaces=HOST_SURFACES)
    def close(self, call: Call[PollOf]) -> Commit:
        """Close a poll; returns `{poll, tally, voters, by}`, the same every time."""
        return Commit("poll.close", {"poll": call.body.poll}, durable=True, idempotent=True)

    @command("poll.result", PollOf, role=Role.ASSISTANT, surfaces=HOST_SURFACES, audited=False)
    def result(self, call: Call[PollOf]) -> Commit:
        """Tell how a poll stands, hidden or not; returns `{poll, status, ends_ms, tally, voters}`."""
        return Commit("poll.result", {"poll": call.body.poll}, idempotent=True)

    @command("poll.vote", PollVote)
    def vote(self, call: Call[PollVote]) -> Commit:
        """Vote, once or with a change of mind where the poll allows it; returns `{poll, options}`."""
        may(call, "vote")  # no mode says so: an open poll is open to all in the room
        options = sorted(set(call.body.options))
        if len(options) != len(call.body.options):
            raise CommandError("bad_request", "options: expected each once")
        body = {"poll": call.body.poll, "options": options}
        return Commit("poll.vote", body, idempotent=True)


def _checked(body: PollOpen) -> dict[str, Any]:
    """Return what the script opens. Raises CommandError."""
    if 0 < body.seconds < MIN_SECONDS:
        raise CommandError("bad_request", f"seconds: expected 0 or at least {MIN_SECONDS}")
    options = [plain_text(option, f"option {n}") for n, option in enumerate(body.options)]
    if len(set(options)) != len(options):
        raise CommandError("bad_request", "options: expected different texts")
    content = {
        "title": plain_text(body.title, "title"),
        "options": options,
        "multiple": body.multiple,
        "max_choices": _choices(body),
        "seconds": body.seconds,
        "change": body.change,
        "hidden": body.hidden,
    }
    digest = hashlib.blake2b(orjson.dumps(content), digest_size=12).hexdigest()
    return {"poll": body.poll, "content": digest, **content}


def _choices(body: PollOpen) -> int:
    most = len(body.options) if body.multiple else 1
    if body.max_choices is None:
        return most
    if body.max_choices > most:
        raise CommandError("bad_request", f"max_choices: expected at most {most}")
    return body.max_choices
