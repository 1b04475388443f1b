"""The wire as an AsyncAPI 3.0 document, built from the message types (layer 7, beside node).

`python -m liveroom.asyncapi > docs/asyncapi.yaml` writes the document of what is enabled by default. A
deployment with plugins of its own passes their manager to `document` and gets them described too.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom.auth.claims import Role
from liveroom.config import Settings
from liveroom.errors import ERRORS
from liveroom.features import builtin_plugins
from liveroom.front import SYSTEM_BODIES
from liveroom.plugin.manager import PluginManager, load_plugins
from liveroom.plugin.spec import Delivery, EventSpec, StateSpec, Surface
from liveroom.protocol.messages import MAX_SAFE, Body, envelope_type


__all__ = [
    "PROTOCOL_VERSION",
    "SYSTEM_DOCS",
    "document",
    "shipped_manager",
    "to_yaml",
]

PROTOCOL_VERSION = "1.0.0"
"""Of the wire: the major number is the one in the subprotocols' names."""

Number = Annotated[int, Meta(ge=0, le=MAX_SAFE)]
Re = Annotated[int | None, Meta(description="the command's `id`; null if it had none")]

_REF = "#/components/schemas/{name}"
_CHANNELS = {Surface.VIEWER: "viewer", Surface.CONTROL: "control", Surface.SERVICE: "service"}
_SOCKETS = (Surface.VIEWER, Surface.CONTROL)
SYSTEM_DOCS = {
    "hello": "The first message of a connection.",
    "sys.join": "Bring this control connection into one more room; answered like a hello.",
    "sys.leave": "Take this control connection out of a room that `sys.join` brought it into.",
    "sys.ping": "Ask for the server's time; returns `{now}` in ms.",
    "sys.resume": "Go on from a position, or take a fresh snapshot; answered like a hello.",
    "sys.token": "Go on under a new token of the same user and room; returns `{expires_ms}`.",
}


class Err(Struct):
    """Why a command was refused; some codes add fields of their own."""

    code: str
    msg: Annotated[str, Meta(description="for people; not part of the protocol")]
    retry_ms: Annotated[int, Meta(ge=0)] | UnsetType = UNSET


class Reply(Struct):
    """The answer to a command that was accepted."""

    re: Re
    d: dict[str, Any]


class Refusal(Struct):
    """The answer to a command that was refused."""

    re: Re
    err: Err


class Greeting(Struct):
    """`d` of the answer to `hello` and `sys.resume`: see docs/protocol.md."""

    session: str
    user: str
    name: str
    role: Role
    room: str
    epoch: str
    seq: Number
    sub: Number
    resumed: bool
    now: Annotated[int, Meta(description="server time, Unix ms")]
    beat_ms: Annotated[int, Meta(ge=20, le=500)]
    snapshot: dict[str, Any]
    states: list[dict[str, Any]]
    own: dict[str, Any]


class HelloReply(Struct):
    """The answer to `hello` and `sys.resume`."""

    re: Re
    d: Greeting


def shipped_manager(settings: Settings | None = None) -> PluginManager:
    """Return the features and the plugins that these settings enable, as a manager holds them."""
    settings = settings or Settings()
    return PluginManager([*builtin_plugins(settings), *load_plugins(settings.plugins)])


def document(manager: PluginManager, settings: Settings) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of a worker with these plugins and settings."""
    commands = _Commands(manager)
    events = [event for event in manager.events.values() if not event.internal]
    types: list[Any] = [
        *commands.types.values(), *map(_event_type, events), *map(_state_type, manager.states.values()),
        HelloReply, Reply, Refusal,
    ]  # fmt: skip
    refs, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    schemas["Err"]["properties"]["code"] = {"enum": list(ERRORS)}
    for op in commands.keyed:
        schemas[commands.types[op].__name__]["required"].append("key")
    by_type = dict(zip(types, refs, strict=True))
    schemas["Item"] = {
        "title": "Item",
        "description": "One element of a server message. Ignore what you do not know.",
        "anyOf": list(refs[len(commands.types) :]),
    }
    return {
        "asyncapi": "3.0.0",
        "info": _info(),
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {_CHANNELS[s]: _channel(s, commands) for s in Surface},
        "operations": dict(_operations(commands)),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "messages": _messages(commands, by_type, settings),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


class _Commands:
    """Every command with its envelope, its text and where it may be sent."""

    def __init__(self, manager: PluginManager) -> None:
        bound = {op: b.spec for op, b in sorted(manager.commands.items())}
        bodies: dict[str, type[Body]] = SYSTEM_BODIES | {op: s.body for op, s in bound.items()}
        self.types = {op: envelope_type(op, body) for op, body in bodies.items()}
        self.docs = SYSTEM_DOCS | {
            op: f"{s.doc} Role: {s.role.value} or above." for op, s in bound.items()
        }
        self.keyed = {op for op, s in bound.items() if s.keyed}
        self._surfaces = {op: s.surfaces for op, s in bound.items()}

    def on(self, surface: Surface) -> list[str]:
        """Return the commands that may be sent there."""
        sockets = frozenset(_SOCKETS)
        return [op for op in self.types if surface in self._surfaces.get(op, sockets)]


def _event_type(spec: EventSpec) -> type[Struct]:
    """Return the item of an event, with the fields that its class adds."""
    fields: list[Any] = [("d", spec.body or dict[str, Any])]
    if spec.delivery is not Delivery.SYSTEM:
        fields.append(("ts", Annotated[int, Meta(description="server time, Unix ms")]))
    if spec.delivery is Delivery.DURABLE:
        sub = Annotated[int, Meta(ge=1, description="only on events that you alone are sent")]
        fields += [("seq", Annotated[int, Meta(ge=0)]), ("sub", sub | UnsetType, UNSET)]
    if spec.delivery is Delivery.EPHEMERAL:
        kept = Annotated[bool, Meta(description="shed for all others; you are its author")]
        fields.append(("kept", kept | UnsetType, UNSET))
    return msgspec.defstruct(
        _camel(spec.name) + "Event", fields, tag_field="ev", tag=spec.name, kw_only=True,
        namespace={"__doc__": f"{spec.delivery.value}: {spec.doc}"},
    )  # fmt: skip


def _state_type(spec: StateSpec) -> type[Struct]:
    """Return the item of a `latest` key; its name may go on behind a colon."""
    name = Annotated[str, Meta(pattern=f"^{re.escape(spec.name)}(:.+)?$")]
    fields: list[Any] = [
        ("st", name),
        ("v", Annotated[int, Meta(ge=1, description="grows within one epoch")]),
        ("d", (spec.body or dict[str, Any]) | None),
    ]
    doc = {"__doc__": f"latest: {spec.doc}"}
    return msgspec.defstruct(_camel(spec.name) + "StateItem", fields, namespace=doc)


def _info() -> dict[str, Any]:
    return {
        "title": "liveroom",
        "version": PROTOCOL_VERSION,
        "description": (
            "The wire of the live-room engine. Generated; docs/protocol.md explains it.\n"
            "On the sockets the codec is agreed by subprotocol: liveroom.v1.json (text messages)"
            " or liveroom.v1.msgpack (binary messages), with the same shapes."
        ),
        "license": {"name": "Apache-2.0"},
    }


def _servers() -> dict[str, Any]:
    host = "localhost:8080"
    return {
        "socket": {"host": host, "protocol": "ws", "description": "wss behind TLS"},
        "http": {"host": host, "protocol": "http", "description": "https behind TLS"},
    }


def _channel(surface: Surface, commands: _Commands) -> dict[str, Any]:
    names = commands.on(surface)
    if surface in _SOCKETS:
        answer = {"items": _ref("components", "messages", "items")}
        server, address = "socket", surface.value
    else:
        answer = {"answer": _ref("components", "messages", "answer")}
        server, address = "http", "/api/rooms/{room}/commands"
    sent = [*names, _list_of(surface)]
    channel: dict[str, Any] = {
        "address": address,
        "servers": [_ref("servers", server)],
        "messages": {name: _ref("components", "messages", name) for name in sent} | answer,
    }
    if server == "http":
        channel["parameters"] = {"room": {"description": "the room's id"}}
    else:
        channel["bindings"] = {"ws": {"method": "GET"}}
    return channel


def _operations(commands: _Commands) -> Iterator[tuple[str, dict[str, Any]]]:
    for surface in Surface:
        channel = _CHANNELS[surface]
        for name in [*commands.on(surface), _list_of(surface)]:
            yield f"{channel}_{name.replace('.', '_')}", _receive(channel, name, surface)
        if surface in _SOCKETS:
            yield (
                f"{channel}_items",
                {
                    "action": "send",
                    "channel": _ref("channels", channel),
                    "messages": [_ref("channels", channel, "messages", "items")],
                },
            )


def _list_of(surface: Surface) -> str:
    """Return the name of the message that holds several commands."""
    return f"commands.{_CHANNELS[surface]}"


def _receive(channel: str, name: str, surface: Surface) -> dict[str, Any]:
    answer = "items" if surface in _SOCKETS else "answer"
    operation: dict[str, Any] = {
        "action": "receive",
        "channel": _ref("channels", channel),
        "messages": [_ref("channels", channel, "messages", name)],
        "reply": {
            "channel": _ref("channels", channel),
            "messages": [_ref("channels", channel, "messages", answer)],
        },
    }
    if surface is Surface.SERVICE:
        operation["security"] = [_ref("components", "securitySchemes", "bearer")]
        operation["bindings"] = {"http": {"method": "POST"}}
    return operation


def _messages(
    commands: _Commands, by_type: Mapping[Any, Any], settings: Settings
) -> dict[str, Any]:
    messages: dict[str, Any] = {
        op: _command(op, by_type[kind], commands) for op, kind in commands.types.items()
    }
    for surface in Surface:
        listed = [by_type[commands.types[op]] for op in commands.on(surface)]
        messages[_list_of(surface)] = {
            "name": _list_of(surface),
            "summary": "Several commands in one message, begun in order.",
            "payload": {
                "type": "array",
                "items": {"oneOf": listed},
                "minItems": 1,
                "maxItems": settings.max_commands,
            },
        }
    messages["items"] = {
        "name": "items",
        "summary": "Every server message: a list of items.",
        "payload": {"type": "array", "minItems": 1, "items": {"$ref": _REF.format(name="Item")}},
    }
    messages["answer"] = {
        "name": "answer",
        "summary": "The answer over HTTP.",
        "payload": {
            "type": "object",
            "required": ["replies"],
            "properties": {
                "replies": {
                    "type": "array",
                    "description": "one for each command, in order",
                    "items": {"oneOf": [by_type[Reply], by_type[Refusal]]},
                }
            },
        },
    }
    return messages


def _command(op: str, schema: Any, commands: _Commands) -> dict[str, Any]:
    key = " Needs an idempotency key." if op in commands.keyed else ""
    return {
        "name": op,
        "summary": commands.docs[op] + key,
        "correlationId": {"location": "$message.payload#/id"},
        "payload": schema,
    }


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def _camel(name: str) -> str:
    return "".join(part.title() for part in re.split(r"[._-]", name))


# YAML. Scalars are written as JSON, which YAML 1.2 contains: no quoting rules to get wrong.

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_NOT_PLAIN = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


def to_yaml(value: Any) -> str:
    """Return a document of dicts, lists, strings, numbers, booleans and None as YAML."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterable[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{_key(key)}:", item, "  ")
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from _entry("-", item, "  ")
    else:
        yield json.dumps(value, ensure_ascii=False)


def _entry(head: str, item: Any, indent: str) -> Iterable[str]:
    lines = list(_lines(item))
    if not isinstance(item, dict | list | tuple) or not item:
        yield f"{head} {lines[0]}"
    elif head == "-":
        yield f"- {lines[0]}"
        yield from (indent + line for line in lines[1:])
    else:
        yield head
        yield from (indent + line for line in lines)


def _key(key: str) -> str:
    plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_PLAIN
    return key if plain else json.dumps(key, ensure_ascii=False)


def _main(write: Callable[[str], Any]) -> None:
    write("# Made by `python -m liveroom.asyncapi`; do not edit.\n")
    write(to_yaml(document(shipped_manager(), Settings())))


if __name__ == "__main__":
    _main(sys.stdout.write)
