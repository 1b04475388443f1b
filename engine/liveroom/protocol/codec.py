"""Client messages to commands, in both codecs (layer 2).

The usual message is decoded by one typed call. Only when that fails is it taken apart, so that each
bad command of a list gets its own error and the good ones still count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Union

import msgspec

from liveroom.errors import CommandError
from liveroom.protocol.messages import Body, Envelope, envelope_type


__all__ = ["CommandDecoder", "Incoming", "body_digest", "op_of"]


# ValueError: MessagePack strings that are not UTF-8.
_UNDECODABLE = (msgspec.DecodeError, RecursionError, ValueError)


class Incoming(NamedTuple):
    """One decoded command, or what is wrong with it (`error`, then `command` is None)."""

    op: str
    id: int | None
    key: str | None
    command: Envelope | None
    error: CommandError | None = None
    room: str | None = None


class CommandDecoder:
    """Decodes messages that hold one command or a list of commands.

    Args:
        bodies: op name -> body type.
        max_commands: a longer list is refused whole.
    """

    def __init__(self, bodies: Mapping[str, type[Body]], max_commands: int = 64) -> None:
        self.types = {op: envelope_type(op, body) for op, body in bodies.items()}
        union: Any = Union[tuple(self.types.values())]  # noqa: UP007  # built at run time
        self._max = max_commands
        self._one: dict[bool, Any] = {
            True: msgspec.msgpack.Decoder(union),
            False: msgspec.json.Decoder(union),
        }
        self._many: dict[bool, Any] = {
            True: msgspec.msgpack.Decoder(list[union]),
            False: msgspec.json.Decoder(list[union]),
        }
        self._raw: dict[bool, Any] = {
            True: msgspec.msgpack.Decoder(),
            False: msgspec.json.Decoder(),
        }

    def decode(self, data: bytes, *, binary: bool) -> list[Incoming]:
        """Return the commands of one message.

        Raises:
            CommandError: `bad_message` (not the codec's language) or `bad_request` (not a command
                or a list of at most `max_commands` of them).
        """
        try:
            if _is_list(data, binary):
                commands = self._many[binary].decode(data)
                if len(commands) <= self._max:
                    return [_good(command) for command in commands]
            else:
                return [_good(self._one[binary].decode(data))]
        except _UNDECODABLE:
            pass
        return self._take_apart(data, binary)

    def _take_apart(self, data: bytes, binary: bool) -> list[Incoming]:
        try:
            raw = self._raw[binary].decode(data)
        except _UNDECODABLE as exc:
            codec = "MessagePack" if binary else "JSON"
            raise CommandError("bad_message", f"expected {codec}: {exc}") from exc
        parts = raw if isinstance(raw, list) else [raw]
        if len(parts) > self._max:
            raise CommandError(
                "bad_request", f"expected at most {self._max} commands, came {len(parts)}"
            )
        return [self.convert(part) for part in parts]

    def convert(self, raw: Any) -> Incoming:
        """Return one command that is an object already, or what is wrong with it."""
        if not isinstance(raw, dict) or not isinstance(raw.get("op"), str):
            detail = 'expected an object with a string "op"'
            return Incoming("", None, None, None, CommandError("bad_request", detail))
        op, wanted = raw["op"][:64], raw.get("id")
        reply_id = wanted if type(wanted) is int and 0 <= wanted < 2**53 else None
        kind = self.types.get(op)
        if kind is None:
            error = CommandError("unknown_op", f"there is no command {op!r}")
            return Incoming(op, reply_id, None, None, error)
        try:
            return _good(msgspec.convert(raw, kind))
        except msgspec.ValidationError as exc:
            return Incoming(op, reply_id, None, None, CommandError("bad_request", str(exc)))


def op_of(command: Envelope) -> str:
    """Return the op name of a decoded command."""
    return command.__struct_config__.tag  # type: ignore[return-value]  # always a string here


def body_digest(op: str, body: Body) -> str:
    """Return what tells two bodies of one idempotency key apart, on whatever surface they came."""
    encoded = msgspec.json.encode(body, order="deterministic")
    return hashlib.blake2b(op.encode() + b"\n" + encoded, digest_size=12).hexdigest()


def _good(command: Envelope) -> Incoming:
    return Incoming(op_of(command), command.id, command.key, command, None, command.room)


def _is_list(data: bytes, binary: bool) -> bool:
    if not binary:
        return data[:1] != b"{" and data.lstrip()[:1] == b"["
    first = data[0] if data else 0
    return 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)
