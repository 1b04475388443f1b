"""What a pack's TOML may hold, and what is said when it holds something else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, ValidationError, convert

from liveroom import ConfigError


__all__ = [
    "GroupRow",
    "PackError",
    "PackRow",
    "PatternRow",
    "WordRow",
    "read_bytes",
    "read_row",
    "read_words",
]

MAX_BYTES = 16_777_216
_Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]
_Level = Annotated[int, Meta(ge=1, le=4)]
_Text = Annotated[str, Meta(min_length=1, max_length=64)]
_Ident = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
_Action = Literal["pass", "mask", "hold", "shadow", "reject", "mute"]
_View = Literal["plain", "digits"]
_CHOICES = {"action": get_args(_Action), "view": get_args(_View)}


class PackError(ConfigError):
    """A pack cannot be used: which file, which entry, what was expected and what came."""

    def __init__(self, file: Path, entry: str, expected: str, came: object) -> None:
        super().__init__(f"{file}: {entry}", expected, came)
        self.file = file
        self.entry = entry


class WordRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A word with something of its own; a bare string is a word without.

    Args:
        text: the word; it passes through the views that texts pass through.
        level: instead of the group's.
        action: instead of the group's.
        part: a Latin word that counts inside a longer one too.
        sound: true: its sound alone counts, even of two syllables; false: never; left out: where it
            has three syllables or more, and in pinyin.
        allow: phrases in which it means something else.
    """

    text: _Text
    level: _Level | None = None
    action: _Action | None = None
    part: bool = False
    sound: bool | None = None
    allow: list[_Text] = []


class GroupRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Words of one category; `file` names a text file beside the pack with one word a line."""

    category: _Name
    level: _Level = 1
    action: _Action = "mask"
    words: list[_Text | WordRow] = []
    file: str = ""


class PatternRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A regular expression over a view; `needs`: it is run only on texts with one of these."""

    id: _Ident
    category: _Name
    pattern: str
    level: _Level = 1
    action: _Action = "mask"
    view: _View = "plain"
    needs: list[_Text] = []


class PackRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole pack; `allow`: phrases in which no word of it counts."""

    name: _Name
    about: str
    sample: bool = False
    allow: list[_Text] = []
    group: list[GroupRow] = []
    pattern: list[PatternRow] = []


def read_row(file: Path, raw: bytes) -> PackRow:
    """Return the rows of a pack.

    Raises:
        PackError: it is not TOML, or something in it has not the type that it should have.
    """
    try:
        tree = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PackError(file, "the file", "TOML in UTF-8", str(error)) from error
    try:
        return convert(tree, PackRow)
    except ValidationError as error:
        raise _explained(file, tree, str(error)) from error


def read_words(file: Path, raw: bytes) -> list[str]:
    """Return the words of a text file; empty lines and those from `# ` on are left out."""
    try:
        lines = [line.strip() for line in raw.decode().splitlines()]
    except UnicodeDecodeError as error:
        raise PackError(file, "the file", "UTF-8", str(error)) from error
    words = []
    for number, word in enumerate(lines, 1):
        if len(word) > 64:
            raise PackError(file, f"line {number}", "at most 64 characters", word[:80])
        if word and not word.startswith("# "):
            words.append(word)
    return words


def read_bytes(file: Path) -> bytes:
    """Return what a file holds.

    Raises:
        PackError: it cannot be read, or it is larger than 16 MiB.
    """
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise PackError(file, "the file", f"at most {MAX_BYTES} bytes", size)
        return file.read_bytes()
    except OSError as error:
        raise PackError(file, "the file", "a readable file", error.strerror) from error


def _explained(file: Path, tree: Any, message: str) -> PackError:
    what, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    came = _at(tree, path)
    shown = f"fields {sorted(came)}" if isinstance(came, dict) else came
    return PackError(file, path or "the file", _expected(what, path), shown)


def _expected(what: str, path: str) -> str:
    """Say what a validation error would rather have seen."""
    if what.startswith("Invalid enum value"):
        return "one of " + ", ".join(_CHOICES[path.rpartition(".")[2]])
    what = re.sub(r", got `[^`]*`$", "", what)
    what = what.replace("Object missing required field", "a field")
    return what.replace("Object contains unknown field", "no field").removeprefix("Expected ")


def _at(tree: Any, path: str) -> Any:
    """Return what stands at a path such as `group[0].words[2].text`."""
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            tree = tree[key] if key else tree[int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return tree
