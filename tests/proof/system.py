"""Workers that a test drives step by step over a real store, and kills in the middle of one.

Every worker is a whole `Node` (hub, plugins, store, command path) without sockets for viewers. Three
things are taken into the test's hands so that a run can be repeated:

- *Time* is what the test says. The commit script is the shipped one but for the line that reads the
  server's clock: there it takes `skew` as the time itself.
- *Background jobs and timers* do not run by themselves: the test calls `run_job` and `tick`. Due
  timers still run in the script, by whichever commit comes first.
- *Death.* A process that dies runs no more code, and its sockets are closed by the kernel, after what
  it had already given to the kernel was sent. `Member.kill` does the same to one worker of this
  process: its connections are dropped at once, it can open no other, nothing it still has waiting
  ever comes back, and its tasks are cancelled. Handlers of that cancellation may run, as nothing
  would in a dead process, but they cannot reach anything: the store is the only thing that workers
  share, and it is out of reach. What is left of the worker is its memory, which is let go of; a new
  worker starts from the store alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import itertools
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import orjson

import harness
from liveroom import front as front_module, node as node_module
from liveroom.auth.claims import ANY_ROOM, Claims, Role
from liveroom.caller import Caller, loaded_room
from liveroom.config import load
from liveroom.core.position import Position
from liveroom.features.lottery.drawing import ask
from liveroom.features.lottery.proof import checked_pieces
from liveroom.node import Node
from liveroom.plugin.spec import Plugin
from liveroom.protocol.codec import CommandDecoder
from liveroom.protocol.messages import Body
from liveroom.store.port import Op
from liveroom.store.script import Script, assemble
from proof.model import ROOM


__all__ = ["DEAD", "PLANTED", "ROOM", "Crash", "Member", "claims_of", "here"]

PATIENCE_S = 10.0
DEAD = b""
"""The reply of a worker that died before it gave one."""

PLANTED: list[tuple[str, str]] = []
"""Mistakes that are made in the script on purpose: (text, what stands there instead)."""

_CLOCK = "local now = clock[1] * 1000 + math.floor(clock[2] / 1000) + (request.skew or 0)"
_HERE: contextvars.ContextVar[Member | None] = contextvars.ContextVar("worker", default=None)
_names = itertools.count(1)


class Crash(BaseException):
    """A worker died here."""


def here() -> Member | None:
    """Return the worker whose code runs, if it is one's."""
    return _HERE.get()


def claims_of(user: str, role: Role = Role.VIEWER) -> Claims:
    """Return what a token of this user would say; the service's is for every room."""
    room = ANY_ROOM if role is Role.SERVICE else ROOM
    return Claims(user, f"name of {user}", role, room, 2**40, 0, "jti", "")


def by_the_test_clock(script: Script) -> Script:
    """Return the commit script with the time as the test gives it."""
    source = script.source
    for before, after in [(_CLOCK, "local now = request.skew"), *PLANTED]:
        assert source.count(before) == 1, f"this line has changed: {before}"
        source = source.replace(before, after)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_scripts: dict[tuple[str, ...], Script] = {}
_decoders: dict[tuple[str, ...], CommandDecoder] = {}


def _assemble_once(features: Mapping[str, str]) -> Script:
    text = tuple(features.values())
    if text not in _scripts:
        _scripts[text] = assemble(features)
    return _scripts[text]


def _decoder_once(bodies: Mapping[str, type[Body]], max_commands: int) -> CommandDecoder:
    names = tuple(bodies)
    if names not in _decoders:
        _decoders[names] = CommandDecoder(bodies, max_commands)
    return _decoders[names]


@contextmanager
def _remembered() -> Iterator[None]:
    """Have what is the same for every worker, and never changes, made once: starts are many."""
    modules: Any = node_module, front_module
    modules[0].assemble, modules[1].CommandDecoder = _assemble_once, _decoder_once
    try:
        yield
    finally:
        modules[0].assemble, modules[1].CommandDecoder = assemble, CommandDecoder


class _Nowhere:
    """The topology of a worker that is dead: no connection can be made."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def refresh(self) -> None:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()

    def address(self, key: str) -> str:
        """Return where it used to be."""
        return self._address

    def addresses(self) -> list[str]:
        """Return nothing: nobody is there."""
        return []

    def connection(self, address: str) -> NoReturn:
        """Refuse."""
        raise ConnectionError("this worker is dead")

    async def close(self) -> None:
        """Do nothing."""


class Member:
    """One worker.

    Args:
        url: the store's.
        now_ms: the time that its commits carry.
        plugins: beside the built-in ones.
        settings: of the node, beside the defaults of tests.
    """

    def __init__(
        self, url: str, now_ms: int, plugins: Sequence[Plugin] = (), **settings: Any
    ) -> None:
        self.name = f"worker {next(_names)}"
        self.alive = True
        self.dead = asyncio.Event()
        self.jobs: dict[str, Callable[[], Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._context = contextvars.copy_context()
        self._context.run(_HERE.set, self)
        patient = {"dev": False, "store_timeout_ms": 8000}  # a busy disk is not what is tried here
        made = load(environ={}, overrides=harness.DEFAULTS | patient | settings)
        with _remembered():
            self.node = Node(made, url, plugins)
        self.node.store._script = by_the_test_clock(self.node.store._script)
        self.node.store.skew_ms = now_ms
        hub: Any = self.node.hub
        hub.every = self._take_job
        hub.schedule_due = lambda room: None
        plugin = {made.name: made for made in self.node.manager.plugins}
        self._lottery: Any = plugin["lottery"]
        self._webhooks: Any = plugin["webhooks"]

    def _take_job(self, seconds: float, job: Callable[[], Any]) -> None:
        self.jobs[getattr(job, "__qualname__", type(job).__name__)] = job

    # Running its code.

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something as this worker's code."""
        return asyncio.get_running_loop().create_task(work, context=self._context)

    def owns(self, task: asyncio.Task[Any]) -> None:
        """Take that a task was made by this worker's code."""
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not self.alive and not task.cancelled():
            task.exception()  # a crash is no surprise

    async def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something as this worker's code; return its result, `DEAD` if the worker dies first."""
        task = self.spawn(work)
        end = asyncio.create_task(self.dead.wait())
        await asyncio.wait({task, end}, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if not self.alive:
            return DEAD
        assert task.done(), f"{self.name} did not finish within {PATIENCE_S} s"
        return task.result()

    async def start(self) -> None:
        """Start the node and load the room."""
        await self.do(self._start())

    async def _start(self) -> None:
        await self.node.start()
        self._lottery.drawings.begin = lambda room, lottery: None  # see `draw`
        await loaded_room(self.node.hub, ROOM)

    async def ask(self, user: str, role: Role, op: str, d: dict[str, Any], key: str = "") -> bytes:
        """Have it run a command as it came over the wire; return the reply item."""
        reply: bytes = await self.do(self._ask(claims_of(user, role), op, d, key))
        return reply

    async def _ask(self, claims: Claims, op: str, d: dict[str, Any], key: str) -> bytes:
        front = self.node.front
        room = await loaded_room(self.node.hub, ROOM)
        raw = {"op": op, "d": d, "id": 1} | ({"key": key} if key else {})
        (reply,) = await Caller(front, room, claims).run([front.decoder.convert(raw)])
        return reply

    @property
    def courier(self) -> Any:
        """What delivers its webhooks."""
        return self._webhooks.courier

    async def draw(self, lottery: str) -> None:
        """Have it see to a draw, as it does by itself when one is frozen."""
        await self.do(self._lottery.drawings._run(ROOM, lottery))

    async def proof(self, lottery: str) -> str:
        """Return the file that proves a draw."""
        return str(await self.do(self._proof(lottery)))

    async def _proof(self, lottery: str) -> str:
        hub = self.node.hub
        head = await ask(hub, ROOM, Op("lottery.proof", "", {"lottery": lottery}))
        fields = self._lottery._fields(ROOM, lottery, head)
        return b"".join([piece async for piece in checked_pieces(fields)]).decode()

    async def tick(self) -> None:
        """Commit nothing: due timers of the room run."""
        await self.do(self.node.hub.commit(ROOM, []))

    async def run_job(self, name: str) -> None:
        """Run one of its background jobs once."""
        await self.do(self._job(self.jobs[name]))

    async def _job(self, job: Callable[[], Any]) -> None:
        made = job()
        if made is not None:
            await made

    async def check(self, scopes: Iterable[str]) -> list[dict[str, Any]]:
        """Have the features' own checks look at scopes; return what is broken."""
        look = Op("sys.check", "", {"full": True})
        commits = [self.node.hub.commit(scope, [look]) for scope in scopes]
        broken: list[dict[str, Any]] = []
        for committed in await self.do(_all(commits)):
            reply: bytes = committed.replies[0]
            assert reply[:1] == b"+", reply
            broken += orjson.loads(reply[1:]).get("broken", [])
        return broken

    # What it knows of the room.

    async def catch_up(self, position: Position, versions: dict[str, int]) -> None:
        """Wait until it has applied the room's log and states up to here."""
        follower = self.node.hub.rooms[ROOM].follower
        began = time.monotonic()
        asked = began
        while not self._has(position, versions):
            now = time.monotonic()
            assert now - began < PATIENCE_S, (
                f"{self.name} is at {follower.position}, not {position}"
            )
            if now - asked > 0.1:  # sweeps would do it
                asked = now
                await self.do(_call(follower.resync))
            await asyncio.sleep(0.0005)

    def _has(self, position: Position, versions: dict[str, int]) -> bool:
        follower = self.node.hub.rooms[ROOM].follower
        states = follower.states
        return follower.position == position and all(
            name in states and states[name].version >= version for name, version in versions.items()
        )

    # Its end.

    def kill(self) -> None:
        """Die at once (see the head of this file)."""
        if not self.alive:
            return
        self.alive = False
        self.dead.set()
        store: Any = self.node.store
        for link in [*store._links.values(), *store._channels.values()]:
            _drop(link._connection)
        address = next(iter(store._links), "")
        store._topology = _Nowhere(address)
        store._execute = _never
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()

    async def bury(self) -> None:
        """Wait until nothing of a killed worker runs any more."""
        async with asyncio.timeout(PATIENCE_S):
            while left := list(self._tasks):
                for task in left:
                    task.cancel()
                await asyncio.wait(left)
        await self._webhooks.stop()  # its sockets: else they are closed when they are found

    async def stop(self) -> None:
        """End in order."""
        if self.alive:
            await self.do(self.node.stop())
            self.alive = False
        await self.bury()


async def _never(*_: Any, **__: Any) -> None:
    await asyncio.get_running_loop().create_future()


async def _all(works: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    return await asyncio.gather(*works)


async def _call(work: Callable[[], None]) -> None:
    work()


def _drop(connection: Any) -> None:
    """Close a connection as the kernel does when its process has gone."""
    writer = None if connection is None else connection._writer
    if writer is not None:
        writer.transport.abort()


def own_tasks(
    loop: asyncio.AbstractEventLoop,
    work: Any,
    *,
    name: str | None = None,
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    """Make a task, known to the worker whose code made it (a task factory)."""
    task = asyncio.Task(work, loop=loop, name=name, context=context)
    owner = here() if context is None else context.get(_HERE)
    if owner is not None:
        owner.owns(task)
        if not owner.alive:
            task.cancel()
    return task
