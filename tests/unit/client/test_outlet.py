"""Listeners by name; none of them disturbs another."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from fakewire import greeting
from liveroom_client.items import Event, State, greeting_of
from liveroom_client.outlet import Outlet


def test_outlet_calls_who_listens_to_a_name() -> None:
    """In the order in which they came, until they go."""
    outlet, seen = Outlet(), []
    first: Any = lambda event: seen.append(("first", event))  # noqa: E731
    second: Any = lambda event: seen.append(("second", event))  # noqa: E731
    outlet.on("like", first)
    outlet.on("like", second)
    event = Event("like", {"n": 1}, "demo", None, 0, 5, True)
    outlet.event("demo", "like", {"d": {"n": 1}, "ts": 5, "kept": True}, None)
    assert seen == [("first", event), ("second", event)]

    outlet.off("like", first)
    outlet.off("like", second)
    outlet.off("like", second)
    outlet.event("demo", "like", {"d": {}}, None)
    assert len(seen) == 2


def test_outlet_tells_states_by_key_by_kind_and_all() -> None:
    """`stock:a` is told to three names."""
    outlet = Outlet()
    seen: list[str] = []
    for name in ("state:stock:a", "state:stock", "sdk.state", "state:likes"):
        outlet.on(name, partial(_note, seen, name))
    outlet.state(State("stock:a", {}, 1, "demo"))
    outlet.state(State("likes", {}, 1, "demo"))

    assert seen == ["state:stock:a", "state:stock", "sdk.state", "state:likes", "sdk.state"]


def test_outlet_tells_a_greeting_that_begins_anew_twice() -> None:
    """As a greeting, and as a reset."""
    outlet, seen = Outlet(), []
    outlet.on("sdk.greeting", lambda _: seen.append("greeting"))
    outlet.on("sdk.reset", lambda _: seen.append("reset"))
    outlet.greeting(greeting_of(greeting(resumed=True)))
    outlet.greeting(greeting_of(greeting(resumed=False)))

    assert seen == ["greeting", "greeting", "reset"]


def test_outlet_survives_listeners_that_raise() -> None:
    """The others are called, the error is told, and an error in telling it is counted."""
    outlet = Outlet()
    seen: list[Any] = []

    def bad(_: Any) -> None:
        raise KeyError("oops")

    outlet.on("like", bad)
    outlet.on("like", seen.append)
    outlet.on("sdk.error", seen.append)
    outlet.on("sdk.error", bad)
    outlet.event("demo", "like", {"d": {}}, None)

    assert [type(one) for one in seen] == [KeyError, Event]
    assert outlet.failed == 2


def test_outlet_logs_what_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in a listener does not stay hidden."""
    outlet = Outlet()
    outlet.on("like", lambda _: 1 / 0)
    outlet.event("demo", "like", {"d": {}}, None)

    assert "a listener of like raised" in caplog.text


def test_outlet_refuses_coroutine_functions() -> None:
    """Nobody would await them."""

    async def listen(_: Any) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match="async for"):
        Outlet().on("like", listen)


def _note(seen: list[str], name: str, _: State) -> None:
    seen.append(name)
