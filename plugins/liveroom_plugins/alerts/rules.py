"""Rules: what their file may say, and what is wrong with it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from liveroom import CommandError, ConfigError, Engine, Ident, Role
from liveroom_plugins.alerts.series import Series, parse_series


__all__ = [
    "MAX_RULES",
    "Action",
    "Change",
    "Deviation",
    "Missing",
    "Rule",
    "Severity",
    "Threshold",
    "read_rules",
]

MAX_RULES: Final = 200
_MAX_BYTES: Final = 262_144
_ROLE: Final = Role.HOST
"""What an automatic action may do: what the host could do by hand."""

Severity = Literal["info", "warning", "critical"]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Window = Annotated[float, Meta(ge=1, le=3600)]
Percent = Annotated[float, Meta(gt=0, le=100)]


class Action(Struct, frozen=True, forbid_unknown_fields=True):
    """A command that is run once when the alert is raised."""

    op: Annotated[str, Meta(min_length=1, max_length=64)]
    d: dict[str, Any] = {}


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every rule has.

    Args:
        name: unique in the file.
        series: what is looked at, once a second.
        severity: how bad it is.
        cooldown_s: for so long after its end it is not raised again.
        clear_s: it is over when it has not held for so long.
        rooms: patterns of room ids; one must match.
        text: the sentence that is shown; `{value}`, `{base}`, `{key}`, `{room}` are filled in.
        action: what is done about it, if anything.
    """

    name: Ident
    series: Annotated[str, Meta(min_length=1, max_length=200)]
    severity: Severity = "warning"
    cooldown_s: Seconds = 60.0
    clear_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    rooms: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)] = ("*",)
    text: Annotated[str, Meta(max_length=200)] = ""
    action: Action | None = None

    @property
    def kind(self) -> str:
        """What the file calls this kind of rule."""
        tag = self.__struct_config__.tag
        assert isinstance(tag, str), "each kind is tagged"
        return tag

    def covers(self, room: str) -> bool:
        """Tell whether the rule is for this room."""
        return any(fnmatchcase(room, pattern) for pattern in self.rooms)

    def wrong(self) -> str:
        """Return what the fields of this kind say that cannot be meant; empty if nothing."""
        return ""


class Threshold(Rule, frozen=True, kw_only=True, tag_field="kind", tag="threshold"):
    """Above or below a number, for a while; the mean of `over_s` is what is compared."""

    above: float | None = None
    below: float | None = None
    for_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    over_s: Annotated[float, Meta(ge=0, le=3600)] | None = None

    def wrong(self) -> str:
        """Return what cannot be meant."""
        return _either("above", self.above, "below", self.below)


class Change(Rule, frozen=True, kw_only=True, tag_field="kind", tag="change"):
    """The mean of `window_s` against that of the `against_s` before it, in percent."""

    fall: Percent | None = None
    rise: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    window_s: Window = 10.0
    against_s: Window = 60.0
    at_least: Annotated[float, Meta(ge=0)] = 0.0
    settle_s: Window = 600.0

    def wrong(self) -> str:
        """Return what cannot be meant."""
        return _either("fall", self.fall, "rise", self.rise)


class Deviation(Rule, frozen=True, kw_only=True, tag_field="kind", tag="deviation"):
    """So many standard deviations off the moving mean, both of which forget by `half_life_s`."""

    z: Annotated[float, Meta(ge=0.5, le=100)] = 4.0
    direction: Literal["both", "above", "below"] = "both"
    half_life_s: Annotated[float, Meta(ge=5, le=3600)] = 60.0
    after_s: Window | None = None
    for_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    over_s: Annotated[float, Meta(ge=0, le=3600)] | None = None
    min_std: Annotated[float, Meta(ge=0)] = 0.0
    settle_s: Window = 600.0


class Missing(Rule, frozen=True, kw_only=True, tag_field="kind", tag="missing"):
    """Nothing happened, or there was no value, for a while; with `always` also if it never began."""

    for_s: Annotated[float, Meta(ge=1, le=86_400)] = 30.0
    always: bool = False


AnyRule = Threshold | Change | Deviation | Missing
KINDS: Final = ("threshold", "change", "deviation", "missing")


def read_rules(data: bytes, where: str, engine: Engine) -> list[tuple[AnyRule, Series]]:
    """Return the rules of a file with what each looks at.

    Args:
        data: the file.
        where: its name, for the sentence.
        engine: knows which events, states and commands there are.

    Raises:
        ConfigError: it cannot be used; the sentence names the rule.
    """
    rows = _rows(data, where)
    read = [_rule(row, f"{where}: rule {_name(row, number)}") for number, row in rows]
    names = [rule.name for rule in read]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: rule {name}", "one rule of a name", "two")
    return [(rule, _checked(rule, f"{where}: rule {rule.name}", engine)) for rule in read]


def _rows(data: bytes, where: str) -> Sequence[tuple[int, Any]]:
    if len(data) > _MAX_BYTES:
        raise ConfigError(where, f"at most {_MAX_BYTES} bytes", len(data))
    try:
        content = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(where, "a TOML file", str(exc)) from exc
    unknown = content.keys() - {"rule"}
    rows = content.get("rule", [])
    if unknown or not isinstance(rows, list):
        raise ConfigError(where, "tables [[rule]]", min(unknown, default="another `rule`"))
    if len(rows) > MAX_RULES:
        raise ConfigError(where, f"at most {MAX_RULES} rules", len(rows))
    return list(enumerate(rows, 1))


def _name(row: Any, number: int) -> str:
    name = row.get("name") if isinstance(row, dict) else None
    return name if isinstance(name, str) else f"number {number}"


def _rule(row: Any, where: str) -> AnyRule:
    kind = row.get("kind") if isinstance(row, dict) else None
    if kind not in KINDS:
        raise ConfigError(where, "a kind: " + " | ".join(KINDS), kind)
    try:
        return msgspec.convert(row, AnyRule)  # type: ignore[no-any-return]
    except msgspec.ValidationError as exc:
        raise ConfigError(where, f"what a {kind} rule has", str(exc)) from exc


def _checked(rule: AnyRule, where: str, engine: Engine) -> Series:
    for field, value in _numbers(rule):
        if not math.isfinite(value):
            raise ConfigError(f"{where}: {field}", "a number", value)
    wrong = rule.wrong()
    if wrong:
        raise ConfigError(where, wrong, "neither or both")
    if rule.action is not None:
        _check_action(rule.action, f"{where}: action", engine)
    try:
        return parse_series(rule.series, engine)
    except ValueError as exc:
        raise ConfigError(f"{where}: series", str(exc), rule.series) from exc


def _numbers(rule: AnyRule) -> Iterator[tuple[str, float]]:
    for field, value in msgspec.structs.asdict(rule).items():
        if isinstance(value, float):
            yield field, value


def _check_action(action: Action, where: str, engine: Engine) -> None:
    if action.op.partition(".")[0] == "alert":
        raise ConfigError(where, "a command that is not about alerts", action.op)
    try:
        engine.expect_command(action.op, action.d, _ROLE)
    except CommandError as exc:
        raise ConfigError(where, "a command that a host may send", str(exc)) from exc


def _either(first: str, a: float | None, second: str, b: float | None) -> str:
    return "" if (a is None) != (b is None) else f"either `{first}` or `{second}`"
