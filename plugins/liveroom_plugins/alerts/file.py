"""The file of the rules, read anew when it has changed."""

from __future__ import annotations

from pathlib import Path

from liveroom import ConfigError, Engine
from liveroom_plugins.alerts.rules import read_rules
from liveroom_plugins.alerts.watch import Pair


__all__ = ["RulesFile"]

_Mark = tuple[int, int, int]


class RulesFile:
    """Reads the rules.

    Args:
        path: of the file.
        engine: knows what there is to be looked at.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self._path = path
        self._engine = engine
        self._read: _Mark | None = None

    def changed(self) -> bool:
        """Tell whether it is another file than the one that was read last, or there is none now."""
        return self._mark() != self._read

    def read(self) -> list[Pair]:
        """Return the rules. Raises ConfigError; then it is not read again until it changes."""
        self._read = self._mark()
        try:
            data = self._path.read_bytes()
        except OSError as exc:
            raise ConfigError("plugin.alerts.rules", "a file that can be read", str(exc)) from exc
        return read_rules(data, self._path.name, self._engine)

    def _mark(self) -> _Mark | None:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_size, found.st_ino
