"""Assembles `commit.lua` from the engine's two parts and the features' op handlers (layer 4).

A script is run anew for every batch, so what it defines costs time in the store each time: with all
features some 60 us a call, more than most batches. So a feature's source stands in a function that
is called when an op of its own, a timer or a note that it heeds comes up; which are its own is read
from the source here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources


__all__ = ["Script", "assemble"]

_WORD = re.compile(r"[A-Za-z_]\w*")
_TOP_LEVEL = re.compile(r"^local (?:function )?([A-Za-z_][\w, ]*?)(?: =|\()", re.MULTILINE)
_OWN = re.compile(r"""\b(?:ops|due)(?:\[['"]([\w.-]+)['"]\]|\.(\w+))""")
_HEEDS = re.compile(r"""\bheed\(['"](\w+)['"]""")
# Given new values while the script runs: a feature's copy would be of the past.
_PRIVATE = frozenset(
    {
        "writes",
        "emits",
        "pending_states",
        "afters",
        "seq",
        "sub",
        "changes",
        "load_heeders",
        "owing",
    }
)


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the SHA-1 under which the server caches it.

    The SHA differs between versions of the engine, so two versions can serve one store.
    """

    source: str
    sha: str


def assemble(features: Mapping[str, str]) -> Script:
    """Return the commit script with the Lua of each feature (name -> source), in order.

    Each feature's source stands in a function of its own, so its locals are its own.
    """
    folder = resources.files("liveroom.store") / "lua"
    prelude = (folder / "prelude.lua").read_text(encoding="utf-8")
    blocks = [prelude, _features(features, _names(prelude))]
    blocks.append((folder / "dispatch.lua").read_text(encoding="utf-8"))
    source = "\n".join(blocks)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _names(prelude: str) -> list[str]:
    """Return what the prelude gives to features, in order."""
    found = (name.strip() for names in _TOP_LEVEL.findall(prelude) for name in names.split(","))
    return [name for name in dict.fromkeys(found) if name not in _PRIVATE]


def _features(features: Mapping[str, str], api: list[str]) -> str:
    used = [_used(source, api) for source in features.values()]
    offered = dict.fromkeys(name for names in used for name in names)
    given = ", ".join(f"{name} = {name}" for name in offered)
    lines = [f"local api = {{{given}}}", "local features = {"]
    for (name, source), names in zip(features.items(), used, strict=True):
        lines.append(f"function(api) -- {name}\n{_locals(names)}\n{source}\nend,")
    lines.append("}")
    lines.append(f"local homes = {_index(features.values(), _prefixes)}")
    lines.append(f"local heeders = {_index(features.values(), _HEEDS.findall)}")
    return "\n".join(lines)


def _used(source: str, api: list[str]) -> list[str]:
    words = set(_WORD.findall(source))
    return [name for name in api if name in words]


def _locals(names: list[str]) -> str:
    """Return the line that takes from the table what a feature uses: cheaper than upvalues."""
    if not names:
        return ""
    return f"local {', '.join(names)} = {', '.join('api.' + name for name in names)}"


def _prefixes(source: str) -> list[str]:
    return [(quoted or plain).partition(".")[0] for quoted, plain in _OWN.findall(source)]


def _index(sources: Iterable[str], words_of: object) -> str:
    """Return a Lua table: word -> numbers of the features whose source has it."""
    assert callable(words_of)
    index: dict[str, list[int]] = {}
    for number, source in enumerate(sources, 1):
        for word in dict.fromkeys(words_of(source)):
            index.setdefault(word, []).append(number)
    rows = (f"['{word}'] = {{{', '.join(map(str, n))}}}" for word, n in index.items())
    return "{" + ", ".join(rows) + "}"
