"""The reference tables of the documents, rendered from the declarations (layer 7, beside node).

`python -m liveroom.reference docs/*.md` writes each table anew between its two markers,
`<!-- table: NAME -->` and `<!-- end of table -->`; a test fails when one is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from liveroom.asyncapi import SYSTEM_DOCS, shipped_manager
from liveroom.config import Settings, describe
from liveroom.errors import CLOSES, ERRORS
from liveroom.front import SYSTEM_BODIES
from liveroom.plugin.spec import CommandSpec, EventSpec, Surface


__all__ = ["TABLES", "fill", "shape_of"]

_LIMITS = (
    "hello_timeout_ms", "heartbeat_s", "dead_after_s", "max_message_bytes", "max_commands",
    "messages_per_s", "bytes_per_s", "api_per_s", "handshakes_per_s", "max_per_ip", "max_per_user",
    "slow_bytes", "slow_close_bytes", "slow_close_s", "danmaku_per_s", "enter_per_s",
    "recent_danmaku", "resume_max", "log_max_entries", "log_max_age_s", "key_ttl_s",
    "beat_ms", "deflate_min_bytes",
)  # fmt: skip
_NO_NEWLINE = r"(?!\n)"  # needed by Python's regular expressions alone
_BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def fill(text: str) -> str:
    """Return a document with the content between its markers rendered anew.

    Raises:
        KeyError: a marker names no table.
    """
    return _BLOCK.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n\n{m[3]}", text)


def shape_of(body: type) -> str:
    """Return the fields of a struct on one line: `text: string, 1 to 500 characters; …`."""
    (_,), schemas = msgspec.json.schema_components([body])
    schema = schemas[body.__name__]
    required = schema.get("required", ())
    fields = schema["properties"].items()
    parts = [
        f"`{name}{'' if name in required else '?'}`: {_kind(field, schemas)}{_default(field)}"
        for name, field in fields
    ]
    return "; ".join(parts) or "—"


def _kind(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _kind(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        some = [option for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(_kind(option, schemas) for option in some)
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind: str = schema.get("type", "any")
    if kind == "array":
        return f"list of {_kind(schema['items'], schemas)}{_range(schema, 'Items', '')}"
    if kind == "object" and "properties" in schema:
        return "{" + ", ".join(schema["properties"]) + "}"
    if kind == "string" and "pattern" in schema:
        return f"string, `{schema['pattern'].removesuffix(_NO_NEWLINE)}`"
    return kind + _range(schema, "imum", "") + _range(schema, "Length", " characters")


def _range(schema: dict[str, Any], what: str, unit: str) -> str:
    low, high = schema.get("min" + what), schema.get("max" + what)
    if high is None:
        return "" if low is None else f", at least {low}{unit}"
    return f", {low or 0} to {high}{unit}"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value is None or value == "" else f" (else {msgspec.json.encode(value).decode()})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _errors() -> str:
    rows = [(f"`{e.name}`", str(e.http), _yes(e.retry), e.sentence) for e in ERRORS.values()]
    return _table(("code", "HTTP", "may succeed later unchanged", "meaning"), rows)


def _closes() -> str:
    rows = [(str(c.number), f"`{c.name}`", _yes(c.reconnect), c.sentence) for c in CLOSES.values()]
    return _table(("number", "name", "come back", "meaning"), rows)


def _commands(wanted: Callable[[CommandSpec], bool]) -> str:
    specs = [bound.spec for _, bound in sorted(shipped_manager().commands.items())]
    rows = [
        (f"`{s.op}`", s.role.value, _yes(s.keyed), shape_of(s.body), s.doc)
        for s in specs
        if wanted(s)
    ]
    return _table(("command", "least role", "key needed", "`d`", "what it does"), rows)


def _system_commands() -> str:
    rows = [(f"`{op}`", shape_of(body), SYSTEM_DOCS[op]) for op, body in SYSTEM_BODIES.items()]
    return _table(("command", "`d`", "what it does"), rows)


def _events() -> str:
    events = shipped_manager().events.values()
    rows = [(f"`{e.name}`", e.delivery.value, _budget(e), e.doc) for e in events if not e.internal]
    return _table(("event", "class", "shown per second", "`d`"), rows)


def _budget(event: EventSpec) -> str:
    if event.delivery.value != "ephemeral":
        return "all"
    return "`danmaku_per_s`" if event.per_s is None else f"{event.per_s:g}"


def _states() -> str:
    rows = [(f"`{s.name}`", s.doc) for s in shipped_manager().states.values()]
    return _table(("state", "`d`"), rows)


def _settings(names: Sequence[str] = ()) -> str:
    rows = [
        (f"`{name}`", f"`{value}`" if value else "empty", unit, effect)
        for name, value, unit, effect in describe(Settings())
        if not names or name in names
    ]
    return _table(("setting", "default", "unit", "effect"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "errors": _errors,
    "closes": _closes,
    "system-commands": _system_commands,
    "viewer-commands": lambda: _commands(lambda s: Surface.VIEWER in s.surfaces),
    "host-commands": lambda: _commands(
        lambda s: Surface.CONTROL in s.surfaces and Surface.VIEWER not in s.surfaces
    ),
    "service-commands": lambda: _commands(lambda s: s.surfaces == {Surface.SERVICE}),
    "events": _events,
    "states": _states,
    "limits": lambda: _settings(_LIMITS),
    "settings": _settings,
}
"""Marker name -> renderer."""


def _main(paths: Iterable[str]) -> None:
    for path in map(Path, paths):
        text = path.read_text(encoding="utf-8")
        path.write_text(fill(text), encoding="utf-8")


if __name__ == "__main__":
    _main(sys.argv[1:])
