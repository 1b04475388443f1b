"""Discovers plugins, verifies what they declare, and calls their hooks in isolation (layer 4).

Every hook list holds only the plugins that override the hook: one that nobody uses costs a loop
over an empty tuple.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import msgspec
import structlog

from liveroom.auth.claims import Claims, Role
from liveroom.errors import CommandError, ConfigError, StoreError
from liveroom.plugin.context import Call, Engine, Member, RoomHandle
from liveroom.plugin.spec import CommandSpec, EventSpec, Plugin, Result, StateSpec, Surface
from liveroom.store.port import LogEntry, Op


__all__ = ["GROUP", "Bound", "PluginManager", "load_plugins"]

log = structlog.get_logger("liveroom.plugin")

GROUP = "liveroom.plugins"
"""The entry points by which a distribution gives its plugins short names."""

_A_PLUGIN = "the name of an installed plugin, or module:Class"

Fault = Callable[[str], None]


class Bound:
    """A command with the method that handles it and the plugin that it belongs to."""

    __slots__ = ("_audited", "_open_to", "handle", "plugin", "spec")

    def __init__(self, spec: CommandSpec, plugin: Plugin) -> None:
        self.spec = spec
        self.plugin = plugin
        self.handle: Callable[[Call[Any]], Result | Awaitable[Result]] = getattr(
            plugin, spec.handler
        )
        self._audited = spec.audited and spec.role is not Role.VIEWER
        roles = [role for role in Role if role.at_least(spec.role)]
        self._open_to = frozenset((surface, role) for surface in spec.surfaces for role in roles)

    def check(self, surface: Surface, role: Role, key: str | None) -> None:
        """Check that a caller may send this command here.

        Raises:
            CommandError: `unknown_op` on another surface, `forbidden`, `key_required`.
        """
        if (surface, role) not in self._open_to:
            raise self._denied(surface)
        if self.spec.keyed and not key:
            raise CommandError("key_required")

    def denial(self, surface: Surface, role: Role) -> CommandError | None:
        """Return why a caller may never send this command here; None: it may."""
        return None if (surface, role) in self._open_to else self._denied(surface)

    def _denied(self, surface: Surface) -> CommandError:
        spec = self.spec
        if surface not in spec.surfaces:
            return CommandError("unknown_op", f"{spec.op} is not a command of {surface.value}")
        return CommandError("forbidden", f"{spec.op} needs the role {spec.role.value}")

    def audit(self, claims: Claims, surface: Surface) -> str:
        """Return what the trail says of the caller; empty for what any viewer may do."""
        if not self._audited:
            return ""
        return f"{claims.user}|{claims.role.value}|{self.spec.op}|{surface.value}"


class PluginManager:
    """The plugins of a worker.

    Args:
        plugins: in order; hooks are called in this order.
        on_fault: told the plugin's name whenever one of its hooks raised.

    Raises:
        ConfigError: two plugins declare the same name, command or event.
    """

    def __init__(self, plugins: Sequence[Plugin], on_fault: Fault = lambda _: None) -> None:
        self.plugins = tuple(plugins)
        self._on_fault = on_fault
        self._started: list[Plugin] = []
        self.commands: dict[str, Bound] = {}
        self.events: dict[str, EventSpec] = {}
        self.states: dict[str, StateSpec] = {}
        names: dict[str, Plugin] = {}
        for plugin in self.plugins:
            _claim("plugin", names, plugin.name, plugin)
            for event in plugin.events:
                _claim("event", self.events, event.name, event)
            for state in plugin.states:
                _claim("state", self.states, state.name, state)
            for spec in _commands_of(plugin):
                _claim("command", self.commands, spec.op, Bound(spec, plugin))
        self._inspect = self._implementing("inspect")
        self._accepted = self._implementing("accepted")
        self._shown_name = self._implementing("shown_name")
        self._joined = self._implementing("joined")
        self._left = self._implementing("left")
        self._published = self._implementing("published")
        self._recorded = self._implementing("recorded")
        self._figures = self._implementing("figures")
        self._flush = self._implementing("flush")
        self._observe = self._implementing("observe")

    def state_rides(self, name: str) -> bool:
        """Tell whether a `latest` key may wait for something else to be delivered with."""
        spec = self.states.get(name) or self.states.get(name.partition(":")[0])
        return spec is not None and spec.rides

    def event_rides(self, name: str) -> bool:
        """Tell the same of an event; one that only another worker's plugins know does not wait."""
        spec = self.events.get(name)
        return spec is not None and spec.rides

    @property
    def lua(self) -> dict[str, str]:
        """The Lua source of each plugin that has any."""
        return {plugin.name: plugin.lua for plugin in self.plugins if plugin.lua}

    async def start(self, engine: Engine) -> None:
        """Start every plugin; one that cannot start stops the engine, with its name."""
        for plugin in self.plugins:
            try:
                await plugin.start(engine)
            except ConfigError:
                raise
            except Exception as exc:  # whatever it raised, its name is what helps
                raise ConfigError("plugins", f"{plugin.name} to start", repr(exc)) from exc
            self._started.append(plugin)

    async def stop(self) -> None:
        """Stop every plugin that was started, last first."""
        while self._started:
            plugin = self._started.pop()
            try:
                await plugin.stop()
            except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
                self._fault(plugin, "stop")

    def inspect(self, call: Call[Any]) -> list[Awaitable[None]]:
        """Have every inspector look at a command; return what has to be waited for.

        Raises:
            CommandError: an inspector refused it.
        """
        waits: list[tuple[Plugin, Awaitable[None]]] = []
        for plugin in self._inspect:
            try:
                wait = plugin.inspect(call)
            except CommandError:
                _discard(waits)
                raise
            except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
                self._fault(plugin, "inspect")
            else:
                if wait is not None:
                    waits.append((plugin, wait))
        return [self._finish(waits)] if waits else []

    def accepted(self, call: Call[Any]) -> None:
        """Tell that a command was carried out."""
        for plugin in self._accepted:
            try:  # by hand as in `inspect`: for every message of a room
                plugin.accepted(call)
            except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
                self._fault(plugin, "accepted")

    def named(self, room: RoomHandle, claims: Claims) -> Claims:
        """Return the claims with the name under which somebody is known in the room."""
        for plugin in self._shown_name:
            name = self._guard(plugin, plugin.shown_name, room, claims)
            if name is not None and name != claims.name:
                claims = msgspec.structs.replace(claims, name=name)
        return claims

    def joined(self, room: RoomHandle, member: Member) -> None:
        """Tell that a viewer is in the room."""
        for plugin in self._joined:
            self._guard(plugin, plugin.joined, room, member)

    def left(self, room: RoomHandle, member: Member) -> None:
        """Tell that a viewer has gone."""
        for plugin in self._left:
            self._guard(plugin, plugin.left, room, member)

    def expect_command(self, op: str, d: dict[str, Any], role: Role) -> None:
        """Check that a command could be run later (see `Engine.expect_command`)."""
        bound = self.commands.get(op)
        if bound is None:
            raise CommandError("unknown_op", f"there is no command {op!r}")
        denial = bound.denial(Surface.CONTROL, role)
        if denial is not None:
            raise denial
        body = bound.spec.body
        try:
            msgspec.convert(d, body)
        except msgspec.ValidationError as exc:
            raise CommandError("bad_request", str(exc)) from exc
        unknown = d.keys() - {field.encode_name for field in msgspec.structs.fields(body)}
        if unknown:
            detail = f"{op} has no field {min(unknown)!r}"
            raise CommandError("bad_request", detail)

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Show a durable event."""
        for plugin in self._observe:
            self._guard(plugin, plugin.observe, room, entry)

    def published(self, room: RoomHandle, event: str, d: dict[str, Any], ts: int) -> None:
        """Show an ephemeral event that was published on this worker."""
        for plugin in self._published:
            try:
                plugin.published(room, event, d, ts)
            except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
                self._fault(plugin, "published")

    def recorded(self, room: RoomHandle, record: Mapping[str, Any]) -> None:
        """Show what a plugin wants kept."""
        for plugin in self._recorded:
            self._guard(plugin, plugin.recorded, room, record)

    async def figures(self, name: str, room: RoomHandle) -> Mapping[str, float]:
        """Return the figures that a plugin has of a room (see `Engine.figures`)."""
        plugin = next((p for p in self._figures if p.name == name), None)
        if plugin is None:
            raise LookupError(f"no plugin {name!r} has figures")
        try:
            return await plugin.figures(room)
        except StoreError:
            return {}
        except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
            self._fault(plugin, "figures")
            return {}

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Return the operations that plugins gathered."""
        ops: list[Op] = []
        for plugin in self._flush:
            try:
                ops += list(plugin.flush(room))  # may be a generator: it has to run in here
            except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
                self._fault(plugin, "flush")
        return ops

    def fault(self, plugin: Plugin, where: str) -> None:
        """Log and count an exception of a plugin; call it while handling the exception."""
        self._fault(plugin, where)

    async def _finish(self, waits: list[tuple[Plugin, Awaitable[None]]]) -> None:
        """Wait for inspectors, one after the other. Raises CommandError."""
        try:
            while waits:
                plugin, wait = waits.pop(0)
                await self._finish_one(plugin, wait)
        finally:
            _discard(waits)

    async def _finish_one(self, plugin: Plugin, wait: Awaitable[None]) -> None:
        try:
            await wait
        except CommandError:
            raise
        except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
            self._fault(plugin, "inspect")

    def failed(self, op: str) -> None:
        """Log and count what went wrong in a command, or in its Lua handler."""
        bound = self.commands.get(op)
        if bound is None:
            log.error("command failed", op=op, exc_info=sys.exception())
        else:
            self._fault(bound.plugin, op)

    def _guard(self, plugin: Plugin, hook: Callable[..., Any], *args: Any) -> Any:
        try:
            return hook(*args)
        except Exception:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
            self._fault(plugin, hook.__name__)
            return None

    def _fault(self, plugin: Plugin, where: str) -> None:
        log.error("plugin fault", plugin=plugin.name, hook=where, exc_info=sys.exception())
        self._on_fault(plugin.name)

    def _implementing(self, hook: str) -> tuple[Plugin, ...]:
        base = getattr(Plugin, hook)
        return tuple(p for p in self.plugins if getattr(type(p), hook) is not base)


def load_plugins(names: Iterable[str]) -> list[Plugin]:
    """Make the plugins named. Raises ConfigError.

    Args:
        names: each `module:Class`, or what a distribution calls it in its entry points of the
            group `liveroom.plugins`.
    """
    return [_load(name) for name in names]


def _load(name: str) -> Plugin:
    try:
        made = _class_of(name)()
    except (ImportError, AttributeError, LookupError, ValueError, TypeError) as exc:
        raise ConfigError("plugins", _A_PLUGIN, f"{name}: {exc}") from exc
    if not isinstance(made, Plugin):
        raise ConfigError("plugins", "a subclass of liveroom.Plugin", name)
    return made


def _class_of(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if colon:
        return getattr(import_module(module), attribute)
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        known = ", ".join(sorted(entry_points(group=GROUP).names))
        raise LookupError(f"no installed plugin is called so; there are {known}")
    return found.load()


def _commands_of(plugin: Plugin) -> Iterable[CommandSpec]:
    for _, method in inspect.getmembers(type(plugin), inspect.isfunction):
        spec = getattr(method, "__command__", None)
        if spec is not None:
            yield spec


def _discard(waits: Iterable[tuple[Plugin, Awaitable[None]]]) -> None:
    """Let go of what nobody will wait for."""
    for _, wait in waits:
        if inspect.iscoroutine(wait):
            wait.close()


def _claim(what: str, table: dict[str, Any], name: str, owner: Any) -> None:
    if name in table:
        raise ConfigError("plugins", f"one plugin per {what}", name)
    table[name] = owner
