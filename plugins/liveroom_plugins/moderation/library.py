"""The packs in force, and their change while the worker runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from liveroom import ConfigError

from .lexicon import load_pack
from .matcher import Matcher


__all__ = ["Library"]

log = structlog.get_logger("liveroom.moderation")

_Stamps = dict[str, tuple[int, int]]


class _Files(NamedTuple):
    viewers: Sequence[Path]
    hosts: Sequence[Path]


class Library:
    """Two matchers, read in a thread; a pack that cannot be used leaves the former in force.

    Args:
        viewers: packs that viewers' text is held against.
        hosts: packs for the text of hosts.
    """

    def __init__(self, viewers: Sequence[Path], hosts: Sequence[Path]) -> None:
        self._files = _Files(viewers, hosts)
        self._stamps: _Stamps = {}
        self.viewers = Matcher([])
        self.hosts = Matcher([])
        self.problem = ""

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the packs in force, by name."""
        return {**self.viewers.versions, **self.hosts.versions}

    async def load(self) -> None:
        """Read all packs. Raises ConfigError: one cannot be used."""
        self._stamps, self.viewers, self.hosts = await asyncio.to_thread(self._read)

    async def reload(self) -> None:
        """Read them again if a file has changed."""
        if await asyncio.to_thread(self._stamped) == self._stamps:
            return
        try:
            await self.load()
        except ConfigError as exc:
            self.problem = str(exc)
            self._stamps = await asyncio.to_thread(self._stamped)  # until it changes again
            log.warning("packs not taken, the old ones hold", error=self.problem)
        else:
            self.problem = ""
            log.info("packs taken", **self.versions)

    def _read(self) -> tuple[_Stamps, Matcher, Matcher]:
        stamps = self._stamped()  # before: what is written meanwhile is read the next time
        viewers, hosts = (Matcher([load_pack(path) for path in paths]) for paths in self._files)
        for matcher in (viewers, hosts):
            matcher.find("warm")  # the tables are made at the first use
        return stamps, viewers, hosts

    def _stamped(self) -> _Stamps:
        """Return what tells that a pack, or a list of words beside one, has changed."""
        paths = {path for paths in self._files for path in paths}
        lists = {beside for path in paths for beside in path.parent.glob("*.txt")}
        found = {}
        for path in paths | lists:
            try:
                stat = path.stat()
            except OSError:
                continue
            found[str(path)] = (stat.st_mtime_ns, stat.st_size)
        return found
