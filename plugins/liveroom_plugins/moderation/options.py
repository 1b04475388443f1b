"""The options of `[plugin.moderation]`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from liveroom import ConfigError

from .classifier import Fallbacks
from .lexicon import SHIPPED, Action


__all__ = ["Options", "read_options"]

_NAME = "plugin.moderation"
_LISTS = ("viewer_packs", "host_packs")
_ACTIONS = "pass, mask, hold, shadow, reject or mute"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may set.

    Args:
        viewer_packs: names of shipped packs or TOML files, held against viewers' text.
        host_packs: the same for the text of hosts, articles, coupons and notices.
        filter: how strict a room is that says nothing else; 0 to 4.
        fold: whether of what many say at once all but the first are told as a count.
        mute_s: for how long whoever is muted by a rule may not speak.
        reload_s: how often the files are looked at; 0: never again.
        classifier: a URL to ask about viewers' text; empty: nobody is asked.
        classifier_token: sent along as a bearer token.
        classifier_ms: for how long its answer is waited for.
        fallback: what stands in for a missing answer.
        fallbacks: the same by kind of message: `danmaku`, `qa`, `survey` or `share`.
    """

    viewer_packs: tuple[str, ...] = ("abuse", "contact")
    host_packs: tuple[str, ...] = ("ads_cn",)
    filter: Annotated[int, Meta(ge=0, le=4)] = 2
    fold: bool = True
    mute_s: Annotated[int, Meta(ge=1, le=2_592_000)] = 600
    reload_s: Annotated[float, Meta(ge=0, le=3600)] = 0.5
    classifier: Annotated[str, Meta(pattern="^(https?://.+)?$")] = ""
    classifier_token: str = ""
    classifier_ms: Annotated[int, Meta(ge=1, le=5000)] = 200
    fallback: str = "pass"
    fallbacks: dict[str, str] = field(default_factory=dict)

    def files(self, packs: tuple[str, ...]) -> list[Path]:
        """Return where packs stand."""
        return [Path(name) if _is_path(name) else SHIPPED / f"{name}.toml" for name in packs]

    def stand_ins(self) -> Fallbacks:
        """Return what stands in for the classifier. Raises ConfigError."""
        by_kind = {
            kind: _action(f"fallbacks.{kind}", name) for kind, name in self.fallbacks.items()
        }
        return Fallbacks(_action("fallback", self.fallback), by_kind)


def read_options(given: Mapping[str, Any]) -> Options:
    """Return the options. Raises ConfigError: which, what was expected, what came."""
    known = {name: _listed(value) if name in _LISTS else value for name, value in given.items()}
    try:
        options = msgspec.convert(known, Options, strict=False)
    except msgspec.ValidationError as exc:
        what, _, where = str(exc).partition(" - at `$.")
        name = where.rstrip("`")
        came = known.get(name.partition("[")[0], sorted(known))
        raise ConfigError(f"{_NAME}.{name}".rstrip("."), what, came) from exc
    options.stand_ins()
    for name in (*options.viewer_packs, *options.host_packs):
        if not _is_path(name) and not (SHIPPED / f"{name}.toml").exists():
            shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.toml")))
            raise ConfigError(f"{_NAME}.packs", f"one of {shipped}, or a .toml file", name)
    return options


def _is_path(name: str) -> bool:
    return name.endswith(".toml")


def _listed(value: Any) -> Any:
    """Return a list; from the environment it comes as one text."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _action(name: str, came: str) -> Action:
    try:
        return Action[came.upper()]
    except KeyError as exc:
        raise ConfigError(f"{_NAME}.{name}", _ACTIONS, came) from exc
