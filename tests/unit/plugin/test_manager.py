"""Plugins are verified once, called in order, and fail alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import pytest

from liveroom.auth.claims import Role
from liveroom.errors import CommandError, ConfigError
from liveroom.plugin.context import Call, Engine, Member, RoomHandle
from liveroom.plugin.manager import PluginManager, load_plugins
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, StateSpec, Surface, command
from liveroom.protocol.messages import Body, Empty
from liveroom.store.port import LogEntry, Op


ROOM = cast("RoomHandle", object())
MEMBER = cast("Member", object())
ENGINE = cast("Engine", object())
ENTRY = LogEntry(1, 0, None, b"{}")
CALL: Call[Body] = Call("a.do", Empty(), MEMBER, ROOM, "", "")


class Text(Body, frozen=True, kw_only=True):
    """A body."""

    text: str


class Recorder(Plugin):
    """Writes down every call of a hook."""

    name = "recorder"

    def __init__(self, name: str = "recorder", lines: list[str] | None = None) -> None:
        self.name = name  # type: ignore[misc]  # one class, many plugins
        self.lines = [] if lines is None else lines

    def note(self, hook: str) -> None:
        """Write down a hook."""
        self.lines.append(f"{self.name} {hook}")

    async def start(self, engine: Engine) -> None:
        self.note("start")

    async def stop(self) -> None:
        self.note("stop")

    def inspect(self, call: Call[Any]) -> Awaitable[None] | None:
        self.note("inspect")
        return None

    def joined(self, room: RoomHandle, member: Member) -> None:
        self.note("joined")

    def left(self, room: RoomHandle, member: Member) -> None:
        self.note("left")

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        self.note("observe")

    def accepted(self, call: Call[Any]) -> None:
        self.note("accepted")

    def published(self, room: RoomHandle, event: str, d: dict[str, Any], ts: int) -> None:
        self.note("published")

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        self.note("flush")
        return [Op(self.name, "", {})]


class Raiser(Recorder):
    """Raises after it has written down the call."""

    def note(self, hook: str) -> None:
        super().note(hook)
        raise ValueError(hook)


class Inspector(Plugin):
    """Inspects with a function of the test."""

    name = "inspector"

    def __init__(self, name: str, look: Callable[[], Awaitable[None] | None]) -> None:
        self.name = name  # type: ignore[misc]  # one class, many plugins
        self._look = look

    def inspect(self, call: Call[Any]) -> Awaitable[None] | None:
        return self._look()


def three() -> tuple[PluginManager, list[str], list[str]]:
    """Return a manager of a good, a raising and a good plugin; what they wrote; the faults."""
    lines: list[str] = []
    faults: list[str] = []
    plugins = [Recorder("a", lines), Raiser("b", lines), Recorder("c", lines)]
    return PluginManager(plugins, faults.append), lines, faults


def test_manager_collects_what_plugins_declare() -> None:
    """Commands with their bound handler and spec, events, states, Lua by name."""

    class Full(Plugin):
        name = "full"
        events = (EventSpec("full.done", Delivery.DURABLE, "Done."),)
        states = (StateSpec("full", "State."),)
        lua = "-- lua"

        @command("full.do", Text, role=Role.HOST, surfaces=[Surface.SERVICE], keyed=True)
        def do(self, call: Call[Text]) -> dict[str, Any]:
            """Do it.

            More about it.
            """
            return {"was": call.body.text}

    plugin = Full()
    manager = PluginManager([plugin, Recorder()])

    bound = manager.commands["full.do"]
    assert (bound.plugin, bound.spec.body, bound.spec.doc) == (plugin, Text, "Do it.")
    assert (bound.spec.role, bound.spec.keyed, bound.spec.inspected) == (Role.HOST, True, True)
    assert bound.spec.surfaces == {Surface.SERVICE}
    call: Call[Text] = Call("full.do", Text(text="x"), MEMBER, ROOM, "k", "h")
    assert bound.handle(call) == {"was": "x"}
    assert list(manager.events) == ["full.done"]
    assert list(manager.states) == ["full"]
    assert manager.lua == {"full": "-- lua"}


def test_manager_finds_commands_of_a_base_class() -> None:
    """A plugin may be derived from another; the override is what is called."""

    class Base(Plugin):
        name = "base"

        @command("x.do", Empty)
        def do(self, call: Call[Empty]) -> dict[str, Any]:
            """Do it."""
            return {"by": self.name}

    class Derived(Base):
        name = "derived"

    bound = PluginManager([Derived()]).commands["x.do"]
    assert bound.handle(Call("x.do", Empty(), MEMBER, ROOM, "", "")) == {"by": "derived"}
    with pytest.raises(ConfigError, match=r"x\.do"):
        PluginManager([Base(), Derived()])


@pytest.mark.parametrize("what", ["plugin", "event", "state", "command"])
def test_manager_refuses_a_name_that_is_taken(what: str) -> None:
    """The error says what is taken twice."""

    class One(Plugin):
        name = "one"
        events = (EventSpec("the.event", Delivery.DURABLE, ""),)
        states = (StateSpec("the.state", ""),)

        @command("the.command", Empty)
        def do(self, call: Call[Empty]) -> None:
            """Do it."""

    class Other(Plugin):
        name = "one" if what == "plugin" else "other"
        events = One.events if what == "event" else ()
        states = One.states if what == "state" else ()
        if what == "command":
            do = One.do

    taken = "one" if what == "plugin" else f"the.{what}"
    with pytest.raises(ConfigError) as caught:
        PluginManager([One(), Other()])
    assert caught.value.came == taken
    assert what in caught.value.expected


def test_manager_calls_hooks_in_order_past_one_that_raises() -> None:
    """All are called, the fault is told with the plugin's name."""
    manager, lines, faults = three()

    manager.joined(ROOM, MEMBER)
    manager.accepted(CALL)
    manager.published(ROOM, "danmaku", {}, 0)
    manager.observe(ROOM, ENTRY)
    manager.left(ROOM, MEMBER)

    hooks = ("joined", "accepted", "published", "observe", "left")
    assert lines == [f"{name} {hook}" for hook in hooks for name in "abc"]
    assert faults == ["b"] * 5


@pytest.mark.parametrize(
    ("surface", "role", "key", "refused"),
    [
        (Surface.CONTROL, Role.HOST, "k", None),
        (Surface.CONTROL, Role.SERVICE, "k", None),
        (Surface.CONTROL, Role.HOST, None, "key_required"),
        (Surface.CONTROL, Role.ASSISTANT, None, "forbidden"),
        (Surface.VIEWER, Role.HOST, "k", "unknown_op"),
        (Surface.VIEWER, Role.VIEWER, None, "unknown_op"),
    ],
)
def test_bound_lets_through_whom_the_command_is_for(
    surface: Surface, role: Role, key: str | None, refused: str | None
) -> None:
    """Where first, then who, then with which key."""

    class Keyed(Plugin):
        name = "keyed"

        @command("keyed.do", Empty, role=Role.HOST, surfaces=(Surface.CONTROL,), keyed=True)
        def do(self, call: Call[Empty]) -> None:
            """Do it."""

    bound = PluginManager([Keyed()]).commands["keyed.do"]
    if refused is None:
        bound.check(surface, role, key)
        return
    with pytest.raises(CommandError) as caught:
        bound.check(surface, role, key)
    assert caught.value.code.name == refused


def test_manager_flush_keeps_the_operations_of_the_others() -> None:
    """Also when a plugin raises half-way through: it loses its own, the others none."""

    class HalfWay(Plugin):
        name = "half-way"

        def flush(self, room: RoomHandle) -> Iterable[Op]:
            yield Op("half", "", {})
            raise ValueError("half-way")

    lines: list[str] = []
    faults: list[str] = []
    plugins = [Recorder("a", lines), HalfWay(), Raiser("b", lines), Recorder("c", lines)]
    manager = PluginManager(plugins, faults.append)

    assert [op.name for op in manager.flush(ROOM)] == ["a", "c"]
    assert faults == ["half-way", "b"]


async def test_manager_starts_in_order_and_stops_in_reverse() -> None:
    """A plugin that cannot stop does not keep the others from it; nothing is stopped twice."""

    class Stuck(Recorder):
        async def stop(self) -> None:
            await super().stop()
            raise ValueError("stop")

    lines: list[str] = []
    faults: list[str] = []
    plugins = [Recorder("a", lines), Stuck("b", lines), Recorder("c", lines)]
    manager = PluginManager(plugins, faults.append)

    await manager.start(ENGINE)
    assert lines == ["a start", "b start", "c start"]
    await manager.stop()
    await manager.stop()
    assert lines[3:] == ["c stop", "b stop", "a stop"]
    assert faults == ["b"]


async def test_manager_names_the_plugin_that_cannot_start() -> None:
    """Its exception is the cause; a ConfigError of its own passes unchanged."""
    manager, lines, _ = three()
    with pytest.raises(ConfigError, match="b to start") as caught:
        await manager.start(ENGINE)
    assert isinstance(caught.value.__cause__, ValueError)
    assert lines == ["a start", "b start"]
    await manager.stop()  # only what was started
    assert lines[2:] == ["a stop"]

    class Wanting(Plugin):
        name = "wanting"

        async def start(self, engine: Engine) -> None:
            raise ConfigError("wanting_url", "a URL", "none")

    with pytest.raises(ConfigError, match="wanting_url"):
        await PluginManager([Wanting()]).start(ENGINE)


def test_manager_asks_only_plugins_that_inspect() -> None:
    """A hook that nobody overrides is an empty loop; nothing has to be waited for."""

    class Plain(Plugin):
        name = "plain"

    assert PluginManager([Plain()]).inspect(CALL) == []
    manager, lines, faults = three()
    assert manager.inspect(CALL) == []
    assert lines == ["a inspect", "b inspect", "c inspect"]
    assert faults == ["b"]


async def test_manager_inspectors_may_wait_and_fail_alone() -> None:
    """They are waited for one after the other; a fault of one is its own, a refusal is final."""
    lines: list[str] = []
    faults: list[str] = []

    async def note(line: str, error: Exception | None = None) -> None:
        await asyncio.sleep(0)
        lines.append(line)
        if error is not None:
            raise error

    refusal = CommandError("rejected", "no")
    manager = PluginManager(
        [
            Inspector("a", lambda: note("a")),
            Inspector("b", lambda: note("b", ValueError("b"))),
            Inspector("c", lambda: note("c", refusal)),
            Inspector("d", lambda: note("d")),
        ],
        faults.append,
    )
    (wait,) = manager.inspect(CALL)
    with pytest.raises(CommandError) as caught:
        await wait
    assert caught.value is refusal
    assert lines == ["a", "b", "c"]  # and d is dropped without a warning
    assert faults == ["b"]


def test_manager_a_refusal_at_once_drops_what_would_be_waited_for() -> None:
    """No coroutine is left behind unawaited (that would be an error here)."""

    async def never() -> None:
        pytest.fail("awaited")

    def refuse() -> None:
        raise CommandError("rejected")

    manager = PluginManager([Inspector("a", never), Inspector("b", refuse)])
    with pytest.raises(CommandError):
        manager.inspect(CALL)


def test_manager_tells_what_may_ride_with_something_else() -> None:
    """States by their name or the part before the colon; what is unknown does not wait."""

    class Calm(Plugin):
        name = "calm"
        events = (
            EventSpec("calm.on", Delivery.EPHEMERAL, "", rides=True),
            EventSpec("calm.off", Delivery.EPHEMERAL, ""),
        )
        states = (StateSpec("calm", "", rides=True), StateSpec("tense", ""))

    manager = PluginManager([Calm()])
    states = ("calm", "calm:x", "tense", "tense:x", "unknown")
    assert [manager.state_rides(name) for name in states] == [True, True, False, False, False]
    events = ("calm.on", "calm.off", "unknown")
    assert [manager.event_rides(name) for name in events] == [True, False, False]


def test_manager_failed_counts_for_the_plugin_of_the_command() -> None:
    """A command of the engine itself is nobody's fault."""

    class One(Plugin):
        name = "one"

        @command("one.do", Empty)
        def do(self, call: Call[Empty]) -> None:
            """Do it."""

    faults: list[str] = []
    manager = PluginManager([One()], faults.append)
    manager.failed("one.do")
    manager.failed("sys.resume")
    manager.fault(manager.plugins[0], "elsewhere")
    assert faults == ["one", "one"]


def test_load_plugins_makes_what_is_named() -> None:
    """`module:Class`, made without arguments."""
    (plugin,) = load_plugins(["liveroom.features.room:RoomFeature"])
    assert plugin.name == "room"


def test_load_plugins_knows_the_shipped_ones_by_name() -> None:
    """As any distribution may name its own: by entry points."""
    names = ["moderation", "coupons", "redpackets", "counters", "alerts", "archive"]
    assert [plugin.name for plugin in load_plugins(names)] == names


def test_load_plugins_tells_which_names_there_are() -> None:
    """Whoever mistypes one is told what is installed."""
    with pytest.raises(ConfigError, match=r"no installed plugin is called so; there are .*coupons"):
        load_plugins(["coupon"])


@pytest.mark.parametrize(
    "path",
    [
        "no.such.module:Class", "liveroom.features.room:NoSuch", "liveroom.features.room",
        "", ":", "liveroom.config:load", "liveroom.config:Settings",
        "liveroom.features.danmaku:Danmaku",
    ],
)  # fmt: skip
def test_load_plugins_names_what_cannot_be_made(path: str) -> None:
    """No such module or class, no plugin, or one that needs arguments."""
    with pytest.raises(ConfigError) as caught:
        load_plugins([path])
    assert str(caught.value.came).startswith(path)
