"""Everything that a store holds, read in one atomic step from outside of every worker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

import servers
from liveroom.core.position import Position
from proof.system import ROOM


__all__ = ["Books", "Reader"]

_READ_ALL = """
local out = {}
for _, name in ipairs(redis.call('KEYS', 'lr:{*')) do
  local kind = redis.call('TYPE', name).ok
  local value
  if kind == 'hash' then value = redis.call('HGETALL', name)
  elseif kind == 'string' then value = redis.call('GET', name)
  elseif kind == 'zset' then value = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then value = redis.call('SMEMBERS', name)
  elseif kind == 'list' then value = redis.call('LRANGE', name, 0, -1)
  elseif kind == 'stream' then value = redis.call('XRANGE', name, '-', '+') end
  out[#out + 1] = {name, kind, value}
end
return out
"""
_SHARD = re.compile(r"^lr:\{(~w\d\d)\}:(.*)$")
_HERE = f"lr:{{{ROOM}}}"


class Books:
    """The whole store at one instant."""

    def __init__(self, rows: list[Any]) -> None:
        self.keys = {name: _value(kind, value) for name, kind, value in rows}
        self.accounts: dict[str, int] = {}
        self.holds: list[dict[str, Any]] = []
        self.shards: set[str] = set()
        for name, value in self.keys.items():
            found = _SHARD.match(name)
            if found:
                self.shards.add(found[1])
                self._add_shard(found[2], value)

    def _add_shard(self, part: str, value: Any) -> None:
        if part == "acc":
            for account, amount in value.items():
                name = "~room" if account == f"~room:{ROOM}" else account
                self.accounts[name] = self.accounts.get(name, 0) + int(amount)
        elif part == "held":
            self.holds += [orjson.loads(text) for text in value.values()]

    def get(self, part: str, default: Any = None) -> Any:
        """Return a key of the room."""
        return self.keys.get(f"{_HERE}:{part}", default)

    @property
    def base(self) -> dict[str, str]:
        """The room's own hash."""
        found: dict[str, str] = self.keys.get(_HERE, {})
        return found

    @property
    def position(self) -> Position:
        """Where the room's log stands."""
        base = self.base
        return Position(base.get("epoch", ""), int(base.get("seq", 0)), int(base.get("sub", 0)))

    @property
    def versions(self) -> dict[str, int]:
        """Version of each `latest` key that is shown."""
        shown = self.get("st", {})
        return {name: int(v) for name, v in self.get("stv", {}).items() if name in shown}

    @property
    def ledger(self) -> dict[str, int]:
        """The room's books."""
        return {name: int(amount) for name, amount in self.get("ledger", {}).items()}

    def log(self) -> list[dict[str, Any]]:
        """Return the room's durable events in order."""
        log = self.get("log", [])
        return [orjson.loads(flat["e"]) | {"to": flat.get("u", "")} for _, flat in log]

    def texts(self, prefix: str) -> dict[str, str]:
        """Return the room's strings whose name begins so: rest of the name -> text."""
        return {n: v for n, v in self._named(prefix) if isinstance(v, str)}

    def hashes(self, prefix: str) -> dict[str, dict[str, str]]:
        """Return the room's hashes whose name begins so: rest of the name -> hash."""
        return {n: v for n, v in self._named(prefix) if isinstance(v, dict)}

    def _named(self, prefix: str) -> Iterator[tuple[str, Any]]:
        start = f"{_HERE}:{prefix}"
        for name, value in self.keys.items():
            if name.startswith(start):
                yield name[len(start) :], value


class Reader:
    """Reads a store, and does to it what an operator could.

    Args:
        url: where it is; one server.
    """

    def __init__(self, url: str) -> None:
        self._link = servers.client(url, encoding_errors="replace")  # sketches of sets are bytes

    def read(self) -> Books:
        """Return everything."""
        return Books(self._link.eval(_READ_ALL, 0))

    def wipe(self) -> None:
        """Forget everything."""
        self._link.flushall()

    def forget_scripts(self) -> None:
        """Empty the script cache."""
        self._link.script_flush()

    def close(self) -> None:
        """Disconnect."""
        self._link.close()


def _value(kind: str, value: Any) -> Any:
    if kind == "hash":
        return dict(zip(value[::2], value[1::2], strict=True))
    if kind == "zset":
        return {name: float(score) for name, score in zip(value[::2], value[1::2], strict=True)}
    if kind == "stream":
        return [(place, dict(zip(f[::2], f[1::2], strict=True))) for place, f in value]
    return value
