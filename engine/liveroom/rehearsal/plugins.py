"""Which plugins a show needs (layer 9)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points

from liveroom.config import Settings
from liveroom.errors import ConfigError
from liveroom.features import builtin_plugins
from liveroom.plugin.manager import GROUP, PluginManager, load_plugins
from liveroom.shows import Show


__all__ = ["plugins_of"]


def plugins_of(show: Show, settings: Settings) -> tuple[str, ...]:
    """Return the names of the configured plugins, and of installed ones whose commands are cues.

    A command that nobody has is left alone: the engine says so when it is given the plan.

    Raises:
        ConfigError: a plugin of the configuration cannot be used.
    """
    configured = [*builtin_plugins(settings), *load_plugins(settings.plugins)]
    missing = {cue.op for cue in show.cues} - PluginManager(configured).commands.keys()
    return (*settings.plugins, *(_with_any_of(missing) if missing else ()))


def _with_any_of(ops: set[str]) -> Iterator[str]:
    """Yield the installed plugins that have one of these commands."""
    for name in sorted(entry_points(group=GROUP).names):
        try:
            made = load_plugins([name])
        except ConfigError:  # it cannot be used here, and nobody asked for it
            continue
        if ops & PluginManager(made).commands.keys():
            yield name
