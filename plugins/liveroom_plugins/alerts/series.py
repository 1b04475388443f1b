"""Series: what a rule looks at, and how it is sampled once a second.

`event:gift.sent/s`: durable events of a name, per second.
`sum:gift.sent.value/s`: the sum of a number in them, per second.
`said:danmaku/s`: ephemeral events of a kind, per second, those shed included.
`online.now`: a number in a state.
`stock:sku-1.available`: in a state with a key; `stock:*.available`: in each of them.
`likes.total/s`: by how much a number in a state grows, per second.
`figure:counters.paid/s`: a figure of another plugin, or by how much it grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from liveroom import Engine, LogEntry, RoomHandle


__all__ = ["Happened", "Series", "parse_series"]

_RATES: Final = ("event", "sum", "said")
_EXPECTED: Final = "event:NAME/s, sum:EVENT.FIELD/s, said:KIND/s, STATE.FIELD, STATE:KEY.FIELD or figure:PLUGIN.NAME"


class Series(NamedTuple):
    """A parsed name: `rate` tells whether its increase per second is what counts."""

    kind: str
    name: str
    path: tuple[str, ...]
    rate: bool

    @property
    def many(self) -> bool:
        """Whether it stands for one series of each key."""
        return self.name.endswith(":*")

    def keys(self, room: RoomHandle) -> Iterable[str]:
        """Return the keys that there are now; one empty key if it is a single series."""
        if not self.many:
            return [""]
        prefix = self.name[:-1]
        return [name[len(prefix) :] for name in room.states(prefix)]

    def read(self, key: str, happened: Happened, figures: Mapping[str, float]) -> float | None:
        """Return the number as it is now: of what happens, how often so far."""
        match self.kind:
            case "event":
                return happened.events[self.name]
            case "sum":
                return happened.sums[self.name, self.path]
            case "said":
                return happened.room.heard.get(self.name, 0)
            case "figure":
                return _number(figures.get(f"{self.name}.{'.'.join(self.path)}"))
            case _:
                state = happened.room.state(self.name[:-1] + key if self.many else self.name)
                return _number(_at(state, self.path))


class Happened:
    """The durable events of a room on this worker, counted by name, and what they add up to.

    Args:
        room: where.
        wanted: the series that are looked at.
    """

    def __init__(self, room: RoomHandle, wanted: Iterable[Series]) -> None:
        self.room = room
        self.events: Counter[str] = Counter()
        self.sums: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._paths: dict[str, set[tuple[str, ...]]] = {}
        self.want(wanted)

    def want(self, wanted: Iterable[Series]) -> None:
        """Look at these from now on; what was counted stays."""
        self._paths = {}
        for series in wanted:
            if series.kind in ("event", "sum"):
                self._paths.setdefault(series.name, set())
            if series.kind == "sum":
                self._paths[series.name].add(series.path)

    def add(self, entry: LogEntry) -> None:
        """Count one."""
        name = entry.item[7 : entry.item.index(b'"', 7)].decode()  # `ev` stands first
        paths = self._paths.get(name)
        if paths is None:
            return
        self.events[name] += 1
        if paths:
            d = orjson.loads(entry.item)["d"]
            for path in paths:
                self.sums[name, path] += _number(_at(d, path)) or 0  # type: ignore[assignment]


def parse_series(text: str, engine: Engine) -> Series:
    """Read a series' name.

    Raises:
        ValueError: it is none, or nothing of the kind is declared; says what was expected.
    """
    bare = text.removesuffix("/s")
    prefix, colon, rest = bare.partition(":")
    if colon and prefix in _RATES:
        return _of_events(prefix, rest, engine)
    if colon and prefix == "figure":
        name, path = _split(rest)
        if name not in engine.plugins:
            raise ValueError(f"figures of a plugin that there is; {name} is none")
        return Series("figure", name, path, rate=bare != text)
    name, path = _split(bare)
    base, colon, key = name.partition(":")
    declared = engine.states.get(name) or engine.states.get(base)
    if declared is None or (colon and not key):
        raise ValueError(
            f"a state that there is ({', '.join(sorted(engine.states))}), or {_EXPECTED}"
        )
    _expect_field(declared.body, path, name)
    return Series("state", name, path, rate=bare != text)


def _of_events(kind: str, rest: str, engine: Engine) -> Series:
    name, path = rest, tuple[str, ...]()
    if kind == "sum":
        parts = rest.split(".")
        cut = 1 if len(parts) == 2 else 2  # an event is called thing.verb, or by one word
        name, path = ".".join(parts[:cut]), tuple(parts[cut:])
    declared = engine.events.get(name)
    fleeting = declared is not None and declared.delivery.value == "ephemeral"
    if declared is None or fleeting != (kind == "said"):
        sort = "an ephemeral" if kind == "said" else "a durable"
        raise ValueError(f"{sort} event that there is; {name} is none")
    if kind == "sum":
        if not path or not all(path):
            raise ValueError("sum:EVENT.FIELD")
        _expect_field(declared.body, path, name)
    return Series(kind, name, path, rate=True)


def _split(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, rest = text.partition(".")
    path = tuple(rest.split("."))
    if not name or not all(path):
        raise ValueError(_EXPECTED)
    return name, path


def _expect_field(body: Any, path: tuple[str, ...], name: str) -> None:
    if not (isinstance(body, type) and issubclass(body, msgspec.Struct)):
        return  # nobody says what it looks like
    fields = [field.encode_name for field in msgspec.structs.fields(body)]
    if path[0] not in fields:
        raise ValueError(f"a field of {name} ({', '.join(fields)})")


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value
