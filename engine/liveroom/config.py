"""Every setting: unit, default and effect in one place (layer 0).

Read once at start from defaults, then a TOML file, then `LIVEROOM_*` environment variables, then
the command line; frozen afterwards. `liveroom config` prints what holds.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from liveroom.errors import ConfigError


__all__ = ["Settings", "describe", "load"]

ENV_PREFIX = "LIVEROOM_"


def _setting(default: Any, unit: str, effect: str, *, secret: bool = False) -> Any:
    """Declare a setting with what a reader of `liveroom config` needs to know."""
    meta = {"unit": unit, "effect": effect, "secret": secret}
    return field(default=default, metadata=meta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The engine's settings. Lists are comma separated in the environment."""

    # Where it listens.
    host: str = _setting("127.0.0.1", "address", "where viewers and the API are served")
    port: int = _setting(8080, "port", "0 takes a free one")
    ops_host: str = _setting(
        "127.0.0.1", "address", "where the ops page, /metrics, /healthz and /readyz are served"
    )
    ops_port: int = _setting(9090, "port", "0 takes a free one")
    workers: int = _setting(1, "processes", "each serves any room; all share the port")
    backlog: int = _setting(1024, "connections", "not yet accepted connections kept by the kernel")

    # The store.
    redis: str = _setting(
        "embedded",
        "URL",
        "embedded | redis://… | rediss://… | unix://… | "
        "redis+cluster://host:port,… | redis+sentinel://host:port,…/name",
        secret=True,
    )
    data: str = _setting(
        "", "directory", "where the embedded store keeps its log; empty: a private temporary one"
    )
    durability: str = _setting(
        "auto",
        "level",
        "reached before a money command is answered: auto (what the server gives) | memory | "
        "everysec | fsync | replica",
    )
    durability_replicas: int = _setting(1, "replicas", "acknowledgements that level replica needs")
    store_timeout_ms: int = _setting(2000, "ms", "deadline of one store call; then unavailable")
    commit_max_ops: int = _setting(
        128, "operations", "most operations in one script call; keeps the server under about 4 ms"
    )
    log_max_entries: int = _setting(
        10_000, "events", "durable events kept per room for resume (approximately)"
    )
    log_max_age_s: int = _setting(86_400, "s", "durable events older than this are trimmed")
    key_ttl_s: int = _setting(
        90_000, "s", "how long an idempotency key keeps its answer; at least 86400"
    )

    # The beat.
    beat_ms: int = _setting(100, "ms", "how often a busy room delivers, 20 to 500")
    danmaku_per_s: int = _setting(
        30, "messages/s", "danmaku shown to each viewer; the rest is shed"
    )
    enter_per_s: int = _setting(5, "messages/s", "entry effects shown per room; the rest is shed")
    recent_danmaku: int = _setting(50, "messages", "danmaku that a late joiner is given")
    deflate: bool = _setting(
        True, "yes/no", "offer permessage-deflate (one shared block per frame)"
    )
    deflate_min_bytes: int = _setting(256, "bytes", "frames below this go plain")

    # Connections.
    max_connections: int = _setting(
        0, "connections", "per worker; 0: the file limit less a reserve; more get 503"
    )
    max_per_ip: int = _setting(200, "connections", "per address (IPv6: per /64) and worker; 0: any")
    max_per_user: int = _setting(10, "connections", "per user and worker; 0: any")
    handshakes_per_s: float = _setting(50.0, "1/s", "per address; 0: any")
    messages_per_s: float = _setting(20.0, "1/s", "per connection, burst of 2 s; above: refused")
    bytes_per_s: float = _setting(32_768.0, "bytes/s", "per connection, burst of 2 s")
    api_per_s: float = _setting(
        1000.0,
        "1/s",
        "requests and commands over HTTP, per service and worker, burst of 2 s; above: 429; 0: any; "
        "a host or moderator has messages_per_s there, too",
    )
    max_message_bytes: int = _setting(65_536, "bytes", "largest client message; above: close 1009")
    max_commands: int = _setting(64, "commands", "most commands in one client message")
    hello_timeout_ms: int = _setting(5000, "ms", "a connection without hello by then is closed")
    heartbeat_s: float = _setting(25.0, "s", "how often a silent peer is pinged")
    dead_after_s: float = _setting(35.0, "s", "a peer silent for this long is dropped")
    slow_bytes: int = _setting(
        262_144, "bytes", "unsent bytes above which a viewer gets durable and latest items only"
    )
    slow_close_bytes: int = _setting(1_048_576, "bytes", "unsent bytes above which it is closed")
    slow_close_s: float = _setting(15.0, "s", "a viewer slow for this long is closed")
    origins: tuple[str, ...] = _setting(
        (), "origins", "exact allow-list for browsers; empty: same host only; *: any"
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "networks", "X-Forwarded-For is read from these only"
    )

    # Who may come in.
    dev: bool = _setting(False, "yes/no", "guests get a viewer token; never in production")
    jwt_secret: str = _setting(
        "",
        "text",
        "HS256 key; while it is changed the new one, a blank, the old one; each at least 32 bytes",
        secret=True,
    )
    jwt_public_key: str = _setting("", "file", "PEM of an RS256, ES256 or EdDSA key")
    jwt_algorithm: str = _setting("", "name", "RS256, ES256 or EdDSA, with a PEM or a JWKS URL")
    jwt_jwks_url: str = _setting("", "URL", "where the issuer publishes its keys")
    jwt_issuer: str = _setting("", "text", "required iss claim; empty: not checked")
    jwt_audience: str = _setting("", "text", "required aud claim; empty: not checked")

    # Rooms.
    auto_open: bool = _setting(False, "yes/no", "joining a room that does not exist opens it")
    resume_max: int = _setting(2000, "events", "most missed events that a resume sends")
    plugins: tuple[str, ...] = _setting(
        ("moderation", "coupons", "redpackets", "counters", "alerts"),
        "names",
        "what runs beside the built-in features: names, or module:Class; a list replaces this one",
    )
    plugin: dict[str, dict[str, Any]] = field(
        default_factory=dict,
        metadata={
            "unit": "tables",
            "effect": "what plugins are told: [plugin.NAME] in the file, or LIVEROOM_PLUGIN_NAME_KEY",
            "secret": True,
        },
    )

    # Webhooks to the commerce back end.
    webhook_url: str = _setting("", "URL", "where webhooks are sent; empty: nowhere")
    webhook_secret: str = _setting(
        "", "text", "signs webhooks: whsec_ and base64 of 24 to 64 bytes", secret=True
    )
    webhook_timeout_s: float = _setting(10.0, "s", "deadline of one webhook delivery")

    # Auditing.
    audit_every_s: float = _setting(
        20.0, "s", "how often a worker recomputes the invariants of each of its rooms"
    )

    # Running.
    drain_s: float = _setting(
        20.0, "s", "over which viewers are sent away at SIGTERM; exit within 30"
    )
    log_level: str = _setting("info", "name", "debug, info, warning or error")
    log_format: str = _setting("auto", "name", "json, console, or auto (console on a terminal)")

    @property
    def signing_secret(self) -> str:
        """The one of `jwt_secret` that new tokens are signed with; empty if there is none."""
        return next(iter(self.jwt_secret.split()), "")

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(name, f"{low} to {high}", value)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(name, " | ".join(allowed), getattr(self, name))


_RANGES = (
    ("port", 0, 65535),
    ("ops_port", 0, 65535),
    ("workers", 1, 256),
    ("beat_ms", 20, 500),
    ("key_ttl_s", 86_400, 31_536_000),
    ("store_timeout_ms", 50, 60_000),
    ("commit_max_ops", 1, 1000),
    ("max_commands", 1, 1000),
    ("max_message_bytes", 1024, 16_777_216),
    ("drain_s", 0.0, 25.0),
    ("danmaku_per_s", 1, 100_000),
)
_CHOICES = {
    "durability": ("auto", "memory", "everysec", "fsync", "replica"),
    "log_level": ("debug", "info", "warning", "error"),
    "log_format": ("auto", "json", "console"),
    "jwt_algorithm": ("", "RS256", "ES256", "EdDSA"),
}


def load(
    path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings that hold; later sources win.

    Raises:
        ConfigError: an unknown name, a value of the wrong type or out of its range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values.update(_from_toml(path))
    given = _from_environ(environ)
    tables = _merged(values.get("plugin", {}), given.get("plugin", {}))
    values.update(given)
    values.update({"plugin": tables})
    values.update({k: v for k, v in (overrides or {}).items() if v is not None})
    return Settings(**values)


def _merged(
    first: Mapping[str, dict[str, Any]], second: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    return {name: first.get(name, {}) | second.get(name, {}) for name in {**first, **second}}


def describe(settings: Settings) -> Iterable[tuple[str, str, str, str]]:
    """Yield (name, value, unit, effect) of every setting; secrets are shown as set or not."""
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.metadata["secret"]:
            default = value in (item.default, {})
            value = value if default else "(set)"
        yield item.name, _show(value), item.metadata["unit"], item.metadata["effect"]


def _show(value: object) -> str:
    if isinstance(value, tuple | dict):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(str(path), "a readable TOML file", str(exc)) from exc
    return {name: _convert(name, value) for name, value in data.items()}


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    for key, text in environ.items():
        name = key.removeprefix(ENV_PREFIX).lower()
        if not key.startswith(ENV_PREFIX) or name.startswith("test_"):
            continue
        if name.startswith("plugin_"):
            plugin, _, option = name.removeprefix("plugin_").partition("_")
            tables.setdefault(plugin, {})[option] = text
        else:
            values[name] = _convert(name, text)
    return values | ({"plugin": tables} if tables else {})


def _convert(name: str, value: Any) -> Any:
    kind = _TYPES.get(name)
    if kind is None:
        # The value is not shown: a secret under a misspelt name is still one.
        raise ConfigError(name, "the name of a setting (see `liveroom config`)", "an unknown one")
    try:
        return _CONVERTERS[kind](value)
    except (TypeError, ValueError) as exc:
        shown = type(value).__name__ if name in _SECRET else value
        raise ConfigError(name, kind, shown) from exc


def _to_bool(value: Any) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise ValueError(value)
    return words[str(value).lower()]


def _to_int(value: Any) -> int:
    if isinstance(value, bool | float):
        raise TypeError(value)
    return int(value)


def _to_tuple(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else list(value)
    return tuple(str(part).strip() for part in parts if str(part).strip())


def _to_tables(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise TypeError(value)
    return value


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


_CONVERTERS: dict[str, Any] = {
    "bool": _to_bool,
    "int": _to_int,
    "float": float,
    "str": _to_str,
    "tuple": _to_tuple,
    "dict": _to_tables,
}
_SECRET = {item.name for item in fields(Settings) if item.metadata["secret"]}
_TYPES = {
    name: getattr(hint, "__name__", None) or "tuple"
    for name, hint in get_type_hints(Settings).items()
}
