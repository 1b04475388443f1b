"""Where items go that are shown: listeners by name, the inbox of `async for`, the raw hook. Pure."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from liveroom_client.inbox import Inbox
from liveroom_client.items import Event, Greeting, Item, State


__all__ = ["Listener", "Outlet"]

Listener = Callable[[Any], object]

_LOG = logging.getLogger("liveroom_client")


class Outlet:
    """Hands on what came; a listener that raises disturbs nobody: `sdk.error` is told, else the log.

    Attributes:
        inbox: what `async for` reads; None: nobody will.
        raw: whether somebody listens to `sdk.raw`.
        failed: how often a listener raised.
    """

    __slots__ = ("_listeners", "failed", "inbox", "raw")

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self.inbox: Inbox | None = None
        self.raw = False
        self.failed = 0

    def on(self, name: str, fn: Listener) -> None:
        """Call a function with what comes under a name. Raises TypeError."""
        if inspect.iscoroutinefunction(fn):
            raise TypeError(f"expected a plain function for {name!r}; to await, use `async for`")
        self._listeners.setdefault(name, []).append(fn)
        self.raw = "sdk.raw" in self._listeners

    def off(self, name: str, fn: Listener) -> None:
        """Call it no more."""
        found = [other for other in self._listeners.get(name, ()) if other != fn]
        if found:
            self._listeners[name] = found
        else:
            self._listeners.pop(name, None)
        self.raw = "sdk.raw" in self._listeners

    def emit(self, name: str, value: Any) -> None:
        """Call those who listen to a name."""
        for fn in self._listeners.get(name, ()):
            try:
                fn(value)
            except Exception as exc:  # noqa: BLE001 -- the caller's code: whatever it raises
                self._tell_failure(name, exc)

    def _tell_failure(self, name: str, exc: Exception) -> None:
        self.failed += 1
        if name == "sdk.error" or "sdk.error" not in self._listeners:
            _LOG.error("a listener of %s raised", name, exc_info=exc)
        else:
            self.emit("sdk.error", exc)

    # What comes.

    def admits(self) -> bool:
        """Whether a durable event finds room with the reader."""
        return self.inbox is None or self.inbox.admits()

    def event(self, room: str, name: str, item: Item, seq: int | None, sub: int = 0) -> None:
        """Hand on an event; nothing is made of it if nobody wants it."""
        inbox = self.inbox
        if inbox is None and name not in self._listeners:
            return
        event = Event(name, item.get("d"), room, seq, sub, item.get("ts"), item.get("kept") is True)
        if inbox is not None:
            if seq is None:
                inbox.put_ephemeral(event)
            else:
                inbox.put_durable(event)
        if name in self._listeners:
            self.emit(name, event)

    def state(self, state: State) -> None:
        """Hand on a newer value of a key: to its own listeners, those of its kind, and all."""
        if self.inbox is not None:
            self.inbox.put_state(state)
        if self._listeners:
            kind, colon, _ = state.key.partition(":")
            self.emit(f"state:{state.key}", state)
            if colon:
                self.emit(f"state:{kind}", state)
            self.emit("sdk.state", state)

    def greeting(self, greeting: Greeting) -> None:
        """Hand on a greeting."""
        if self.inbox is not None:
            self.inbox.put_greeting(greeting)
        self.emit("sdk.greeting", greeting)
        if not greeting.resumed:
            self.emit("sdk.reset", greeting)
