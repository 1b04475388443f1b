"""Assembles `commit.lua` from the engine's two parts and the features' op handlers (layer 4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


__all__ = ["Script", "assemble"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the SHA-1 under which the server caches it.

    The SHA differs between versions of the engine, so two versions can serve one store.
    """

    source: str
    sha: str


def assemble(features: Mapping[str, str]) -> Script:
    """Return the commit script with the Lua of each feature (name -> source), in order.

    Each feature's source stands in its own `do … end`, so its locals are its own.
    """
    folder = resources.files("liveroom.store") / "lua"
    blocks = [(folder / "prelude.lua").read_text(encoding="utf-8")]
    blocks += [f"do -- {name}\n{source}\nend" for name, source in features.items()]
    blocks.append((folder / "dispatch.lua").read_text(encoding="utf-8"))
    source = "\n".join(blocks)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
