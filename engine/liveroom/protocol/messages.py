"""The shapes of the wire that every feature shares (layer 2).

A command's envelope is a tagged struct per command; features add theirs to a `CommandDecoder`
(codec.py). Server messages are lists of items (items.py).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct


__all__ = [
    "IDENT_PATTERN",
    "KEY_PATTERN",
    "ROOM_PATTERN",
    "Body",
    "Empty",
    "Envelope",
    "Hello",
    "Ident",
    "JoinBody",
    "LeaveBody",
    "Resume",
    "ResumeBody",
    "TokenBody",
    "envelope_type",
]

# Python's $ also matches before a newline at the end; the look-ahead reads alike in JSON Schema.
ROOM_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$(?!\n)"
KEY_PATTERN = r"^[A-Za-z0-9_.:-]{1,64}$(?!\n)"
IDENT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$(?!\n)"

MAX_SAFE = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""

Key = Annotated[str, Meta(pattern=KEY_PATTERN, description="idempotency key, unique per user")]
Id = Annotated[int, Meta(ge=0, le=MAX_SAFE, description="chosen by the client; a reply is wanted")]
RoomId = Annotated[
    str,
    Meta(pattern=ROOM_PATTERN, description="of a control connection in several; else the hello's"),
]
Ident = Annotated[
    str,
    Meta(pattern=IDENT_PATTERN, description="of an activity or an article; the host chooses it"),
]


class Body(Struct, frozen=True, kw_only=True):
    """Base of command bodies. Unknown fields are ignored, so that shapes can grow."""


class Empty(Body, frozen=True, kw_only=True):
    """A command without arguments."""


class Resume(Struct, frozen=True, kw_only=True):
    """The position a client had: it has seen everything up to and including it."""

    epoch: Annotated[str, Meta(max_length=64)]
    seq: Annotated[int, Meta(ge=0, le=MAX_SAFE)]
    sub: Annotated[int, Meta(ge=0, le=MAX_SAFE)] = 0


class Hello(Body, frozen=True, kw_only=True):
    """The first message of a connection: who, where, and from which position on."""

    room: Annotated[str, Meta(pattern=ROOM_PATTERN)]
    token: Annotated[str, Meta(max_length=4096)] = ""
    resume: Resume | None = None
    client: Annotated[str, Meta(max_length=64, description="name/version")] = ""
    source: Annotated[str, Meta(max_length=32, description="channel that led into the room")] = ""


class ResumeBody(Body, frozen=True, kw_only=True):
    """`sys.resume`: go on from a position, or without one take a fresh snapshot."""

    resume: Resume | None = None


class JoinBody(Body, frozen=True, kw_only=True):
    """`sys.join`: bring this control connection into one more room."""

    room: Annotated[str, Meta(pattern=ROOM_PATTERN)]
    token: Annotated[str, Meta(max_length=4096)] = ""
    resume: Resume | None = None


class LeaveBody(Body, frozen=True, kw_only=True):
    """`sys.leave`: take this control connection out of a room that `sys.join` brought it into."""

    room: Annotated[str, Meta(pattern=ROOM_PATTERN)]


class TokenBody(Body, frozen=True, kw_only=True):
    """`sys.token`: go on under a new token of the same user and room."""

    token: Annotated[str, Meta(min_length=1, max_length=4096)]


class Envelope(Struct, frozen=True):
    """What every command has; the real types are made by `envelope_type`."""

    d: Body
    id: int | None = None
    key: str | None = None
    room: str | None = None


def envelope_type(op: str, body: type[Body]) -> type[Envelope]:
    """Return the struct of one command: `{"op": op, "id"?, "key"?, "room"?, "d": body}`.

    `d` may be left out where every field of the body has a default.
    """
    required = any(field.required for field in msgspec.structs.fields(body))
    d_field = ("d", body) if required else ("d", body, msgspec.field(default_factory=body))
    name = "".join(part.title() for part in op.replace(".", "_").split("_"))
    return msgspec.defstruct(  # type: ignore[return-value]  # structurally an Envelope
        name + "Command",
        [
            d_field,
            ("id", Id | None, None),
            ("key", Key | None, None),
            ("room", RoomId | None, None),
        ],
        tag_field="op",
        tag=op,
        frozen=True,
        kw_only=True,
        module=__name__,
    )
