"""What `[plugin.counters]` may say."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from liveroom import ConfigError, Settings


__all__ = ["Options"]

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000


class _Limit(NamedTuple):
    """A number that an option may be."""

    default: float
    low: float
    high: float
    unit: str


_LIMITS: Final = {
    "flush_ms": _Limit(1000, 100, 10_000, "ms"),
    "lost_s": _Limit(10, 5, 300, "s"),
    "keep_days": _Limit(30, 1, 400, "days"),
    "late_hours": _Limit(24, 1, 720, "h"),
    "messages": _Limit(20_000, 100, 200_000, "messages"),
}
_YES: Final = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}


class Options(NamedTuple):
    """How the counters work; docs/counters.md says what each is for."""

    flush_s: float
    lost_ms: int
    keep_ms: int
    late_ms: int
    messages: int
    acts: bool

    @classmethod
    def of(cls, settings: Settings) -> Options:
        """Read and check them. Raises ConfigError."""
        given = settings.plugin.get("counters", {})
        unknown = min(given.keys() - {*_LIMITS, "acts"}, default=None)
        if unknown is not None:
            expected = ", ".join([*_LIMITS, "acts"])
            raise ConfigError(f"plugin.counters.{unknown}", expected, "an unknown option")
        n = {name: _number(name, limit, given) for name, limit in _LIMITS.items()}
        keep_ms, late_ms = round(n["keep_days"] * _DAY_MS), round(n["late_hours"] * _HOUR_MS)
        if late_ms > keep_ms:
            expected = "at most keep_days"
            raise ConfigError("plugin.counters.late_hours", expected, given.get("late_hours"))
        lost_ms, acts = round(n["lost_s"] * 1000), _flag("acts", given.get("acts", True))
        return cls(n["flush_ms"] / 1000, lost_ms, keep_ms, late_ms, round(n["messages"]), acts)

    @property
    def beat_s(self) -> float:
        """How often a worker with viewers shows that it lives; a dead one's left when it last did."""
        return min(5.0, self.lost_ms / 3000)

    @property
    def for_store(self) -> dict[str, int]:
        """What the store goes by."""
        return {
            "lost_ms": self.lost_ms,
            "keep_ms": self.keep_ms,
            "late_ms": self.late_ms,
            "messages": self.messages,
        }


def _number(name: str, limit: _Limit, given: dict[str, Any]) -> float:
    came = given.get(name, limit.default)
    try:
        value = math.nan if isinstance(came, bool) else float(came)
    except (TypeError, ValueError):
        value = math.nan
    if not limit.low <= value <= limit.high:
        expected = f"{limit.low} to {limit.high} {limit.unit}"
        raise ConfigError(f"plugin.counters.{name}", expected, came)
    return value


def _flag(name: str, came: Any) -> bool:
    value = _YES.get(came) if isinstance(came, bool | str) else None
    if value is None:
        raise ConfigError(f"plugin.counters.{name}", "true or false", came)
    return value
