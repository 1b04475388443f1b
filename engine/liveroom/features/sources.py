"""Lua sources that lie beside the features."""

from __future__ import annotations

from importlib import resources


__all__ = ["lua_of"]


def lua_of(feature: str) -> str:
    """Return the text of `features/<feature>.lua`."""
    return (resources.files("liveroom.features") / f"{feature}.lua").read_text(encoding="utf-8")
