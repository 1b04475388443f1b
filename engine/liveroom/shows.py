"""Shows: the plan of a broadcast as a list of cues, and its files in TOML and JSON (layer 4).

A cue is a host command that is prepared before the show: `op` and its body `d`. With `at_s` it is
timed (from the start of the show, or with `after` from when that cue was carried out), without both
it waits for a click. What stands here is pure; whether a body is right is for the engine to say.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta, Struct

from liveroom.errors import CommandError, ConfigError
from liveroom.protocol.messages import Ident


__all__ = [
    "MAX_CUES",
    "Cue",
    "Cues",
    "Show",
    "Title",
    "check_cues",
    "cue_error",
    "cue_fields",
    "dump_show",
    "load_show",
    "read_json",
    "read_toml",
    "write_json",
    "write_toml",
]

MAX_CUES = 200
_MAX_AT_S = 86_400
_MAX_DEPTH = 32
_MAX_INT = 2**53 - 1
_MAX_PARTS = _MAX_DEPTH
# `a.a.a…`: what tomllib does for a key grows with the square of its parts, so 64 KB could hold a
# worker for half a minute. Looked for where a key may begin, and not within texts and comments; no
# step is taken twice. A text without its end is one, too: nothing behind it is parsed.
_LONG_KEY = re.compile(
    rf"""(?:^|[\[{{,])[ \t]*+(?:(?:[\w-]++|"")[ \t]*+\.[ \t]*+){{{_MAX_PARTS}}}""", re.MULTILINE
)
_TEXT = re.compile(
    r""""{3}(?:[^"\\]++|\\.?|"(?!""))*+(?:"{3,5}|\Z)"""
    r"""|'{3}(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)"""
    r"""|"(?:[^"\\\n]|\\[^\n])*+"?|'[^'\n]*+'?|#[^\n]*+""",
    re.DOTALL,
)

Seconds = Annotated[float, Meta(ge=0, le=_MAX_AT_S)]
Title = Annotated[str, Meta(max_length=100)]


class Cue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One prepared command: timed with `at_s`, chained with `after`, else fired by a click."""

    cue: Ident
    op: Annotated[str, Meta(min_length=1, max_length=64, description="a host command")]
    d: Annotated[dict[str, Any], Meta(description="its body")] = {}
    label: Annotated[str, Meta(max_length=80)] = ""
    at_s: Seconds | None = None
    after: Ident | None = None


Cues = Annotated[list[Cue], Meta(min_length=1, max_length=MAX_CUES)]


class Show(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan with its title."""

    title: Title = ""
    cues: Cues


def cue_error(cue: str, error: CommandError) -> CommandError:
    """Return the same refusal with the name of the cue that it is about."""
    detail = f"cue {cue}: {error.detail or error.code.sentence}"
    return CommandError(error.code.name, detail, cue=cue)


def check_cues(cues: Sequence[Cue]) -> None:
    """Check what cues say of each other.

    Raises:
        CommandError: `bad_request`, with the name of the cue: two of one name, `after` names no
            other cue or leads back to where it began, or a body is not plain JSON.
    """
    named: dict[str, Cue] = {}
    for cue in cues:
        if cue.cue in named:
            raise _bad(cue, "expected different names")
        if cue.at_s is not None and not math.isfinite(cue.at_s):
            raise _bad(cue, f"at_s: expected a number, came {cue.at_s}")
        odd = next(_odd_parts(cue.d), None)
        if odd is not None:
            raise _bad(cue, f"d: {odd}")
        named[cue.cue] = cue
    for cue in cues:
        if cue.after is not None and cue.after not in named:
            raise _bad(cue, f"after: there is no cue {cue.after}")
    for cue in cues:
        _check_chain(cue, named)


def _check_chain(cue: Cue, named: dict[str, Cue]) -> None:
    seen, at = {cue.cue}, cue
    while at.after is not None:
        if at.after in seen:
            raise _bad(cue, f"after: expected no circle, came back to {at.after}")
        seen.add(at.after)
        at = named[at.after]


def _bad(cue: Cue, detail: str) -> CommandError:
    return cue_error(cue.cue, CommandError("bad_request", detail))


def _odd_parts(value: Any, depth: int = 0) -> Iterator[str]:
    """Tell what cannot be kept: TOML has dates and times, Python numbers that JSON has not."""
    if depth > _MAX_DEPTH:
        yield f"expected at most {_MAX_DEPTH} levels"
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _odd_parts(part, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"expected a number, came {value}"
    elif isinstance(value, int) and not -_MAX_INT <= value <= _MAX_INT:
        yield f"expected at most {_MAX_INT}, came {str(value)[:40]}"
    elif value is not None and not isinstance(value, str | int | float):
        yield f"expected no {type(value).__name__}, came {value}"


# Reading.


def read_json(data: bytes | str) -> Show:
    """Return the show of a JSON text. Raises CommandError `bad_message` or `bad_request`."""
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as exc:
        raise CommandError("bad_message", f"expected JSON: {exc}") from exc
    return _show_of(raw)


def read_toml(text: str) -> Show:
    """Return the show of a TOML text; a body that TOML cannot hold may stand there as JSON text.

    Raises:
        CommandError: `bad_message` or `bad_request`.
    """
    if _LONG_KEY.search(_TEXT.sub('""', text)):
        raise CommandError("bad_message", f"expected keys of at most {_MAX_PARTS} parts")
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise CommandError("bad_message", f"expected TOML: {exc}") from exc
    for cue in _tables(raw.get("cues")):
        if isinstance(cue.get("d"), str):
            cue["d"] = _body_of(cue)
    return _show_of(raw)


def load_show(path: Path) -> Show:
    """Return the show of a `.toml` or `.json` file.

    Raises:
        ConfigError: it cannot be read, or is not a show.
    """
    expected = "a show in a .toml or .json file"
    try:
        data = path.read_bytes()
        if path.suffix == ".json":
            return read_json(data)
        if path.suffix == ".toml":
            return read_toml(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(str(path), expected, str(exc)) from exc
    except CommandError as exc:
        raise ConfigError(str(path), expected, exc.detail) from exc
    raise ConfigError(str(path), expected, path.suffix)


def _show_of(raw: Any) -> Show:
    try:
        show = msgspec.convert(raw, Show)
    except msgspec.ValidationError as exc:
        raise CommandError("bad_request", _with_name(raw, str(exc))) from exc
    check_cues(show.cues)
    return show


def _with_name(raw: Any, sentence: str) -> str:
    """Put the name of a cue before a sentence that names only its number."""
    number = re.search(r"\$\.cues\[(\d+)\]", sentence)
    if number is None:
        return sentence
    name = raw["cues"][int(number[1])]
    name = name.get("cue", number[1]) if isinstance(name, dict) else number[1]
    return f"cue {name}: {sentence}"


def _tables(cues: Any) -> Iterator[dict[str, Any]]:
    return (cue for cue in cues if isinstance(cue, dict)) if isinstance(cues, list) else iter(())


def _body_of(cue: dict[str, Any]) -> Any:
    try:
        return json.loads(cue["d"])
    except (ValueError, RecursionError) as exc:
        detail = f"cue {cue.get('cue')}: d: expected a table or JSON: {exc}"
        raise CommandError("bad_request", detail) from exc


# Writing.


def cue_fields(cue: Cue) -> dict[str, Any]:
    """Return a cue as it is exported: what is given, in the order in which people read it."""
    fields: dict[str, Any] = {"cue": cue.cue}
    if cue.label:
        fields["label"] = cue.label
    if cue.at_s is not None:
        fields["at_s"] = int(cue.at_s) if cue.at_s == int(cue.at_s) else cue.at_s
    if cue.after is not None:
        fields["after"] = cue.after
    return fields | {"op": cue.op, "d": cue.d}


def write_json(show: Show) -> bytes:
    """Return the JSON text of a show."""
    fields = {"title": show.title, "cues": [cue_fields(cue) for cue in show.cues]}
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write_toml(show: Show) -> str:
    """Return the TOML text of a show."""
    parts = [f"title = {_toml(show.title)}\n"]
    for cue in show.cues:
        fields = cue_fields(cue)
        body = fields.pop("d")
        lines = ["[[cues]]", *(f"{name} = {_toml(value)}" for name, value in fields.items())]
        if _has_null(body):
            lines.append(f"d = {_toml(orjson.dumps(body).decode())}")
        elif body:
            lines += ["[cues.d]", *(f"{_key(name)} = {_toml(body[name])}" for name in body)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def dump_show(show: Show, path: Path) -> None:
    """Write a `.toml` or `.json` file. Raises ConfigError for another one."""
    if path.suffix == ".json":
        path.write_bytes(write_json(show))
    elif path.suffix == ".toml":
        path.write_text(write_toml(show), encoding="utf-8")
    else:
        raise ConfigError(str(path), "a .toml or .json file", path.suffix)


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


def _toml(value: Any) -> str:
    """Return a value on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():  # JSON escapes as TOML does, but for one character
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{_key(k)} = {_toml(v)}' for k, v in value.items())}}}"
        case _:
            return repr(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)
