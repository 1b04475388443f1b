"""Commands without a socket: those of the HTTP API, and those that a plugin has run (layer 7)."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Sequence
from typing import Any

import orjson

from liveroom.auth.claims import Claims, Role
from liveroom.errors import CloseError, CommandError, OutcomeUnknown, StoreError
from liveroom.front import Front
from liveroom.hub.hub import Hub
from liveroom.hub.room import Room
from liveroom.plugin.context import Call
from liveroom.plugin.manager import Bound
from liveroom.plugin.spec import Commit, Result, Surface
from liveroom.protocol.codec import Incoming, body_digest
from liveroom.protocol.items import refusal_item
from liveroom.store.replies import refusal


__all__ = ["Caller", "Performer", "loaded_room", "refusal_of"]


async def loaded_room(hub: Hub, room_id: str) -> Room:
    """Return a room whose states are known. Raises CommandError `unavailable`."""
    room = hub.room_for(room_id)
    room.idle_since = hub.clock.monotonic()
    try:
        async with asyncio.timeout(hub.settings.store_timeout_ms / 1000):
            await room.follower.loaded.wait()
    except TimeoutError as exc:
        raise CommandError("unavailable", "the room is not loaded yet", retry_ms=500) from exc
    return room


class Caller:
    """Who speaks without a socket: a `Member` all the same.

    Args:
        front: what it shares with the connections: decoder, plugins, tasks to settle.
        room: where it speaks.
        claims: of its token, which covers the room.
    """

    def __init__(self, front: Front, room: Room, claims: Claims) -> None:
        self.session = f"http-{secrets.token_hex(8)}"
        self.claims = claims
        self.source = ""
        self._front = front
        self._room = room
        service = claims.role is Role.SERVICE
        self._surface = Surface.SERVICE if service else Surface.CONTROL

    @property
    def user(self) -> str:
        """The user's id."""
        return self.claims.user

    def close(self, name: str, detail: str = "") -> None:
        """Do nothing: there is no socket."""

    def tell(self, event: str, d: dict[str, Any]) -> None:
        """Do nothing: there is no socket."""

    async def run(self, commands: Sequence[Incoming]) -> list[bytes]:
        """Run commands one after the other; return their reply items as JSON.

        Like those of a socket they go on when the client has gone, and a drain waits for them.
        """
        done: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()

        async def run_all() -> None:
            items = [await self._item(incoming) for incoming in commands]
            if not done.done():
                done.set_result(items)

        self._front.spawn(run_all())
        return await done

    async def result(self, incoming: Incoming) -> dict[str, Any] | bytes | None:
        """Run one command; return its answer, or the script's reply.

        Raises:
            CommandError: it was refused before the script.
            StoreError: it was not done, or nobody knows.
        """
        if incoming.error is not None:
            raise self._denied(incoming) or incoming.error
        bound = self._bound(incoming)
        call = self._call(incoming, bound)
        manager = self._front.hub.manager
        for wait in manager.inspect(call) if bound.spec.inspected else ():
            await wait
        made = bound.handle(call)
        result: Result = await made if inspect.isawaitable(made) else made
        if isinstance(result, Commit):
            result = await self._front.committed(call, result)
        if isinstance(result, bytes):
            if result[:1] == b"!":
                manager.failed(incoming.op)
            _check_stored(result)
        if not isinstance(result, bytes) or result[:1] == b"+":
            manager.accepted(call)
        return result

    async def _item(self, incoming: Incoming) -> bytes:
        metrics = self._front.hub.metrics
        try:
            result = await self.result(incoming)
        except Exception as exc:  # noqa: BLE001  # isolation: any fault of a plugin stays its own
            metrics.refused.inc()
            return refusal_item(incoming.id, self._refusal_for(exc, incoming)).json
        stored = result if isinstance(result, bytes) else b"+" + orjson.dumps(result or {})
        accepted = stored[:1] == b"+"
        (metrics.accepted if accepted else metrics.refused).inc()
        number = b"null" if incoming.id is None else b"%d" % incoming.id
        return b'{"re":%b,"%b":%b}' % (number, b"d" if accepted else b"err", stored[1:])

    def _denied(self, incoming: Incoming) -> CommandError | None:
        bound = self._front.hub.manager.commands.get(incoming.op)
        return None if bound is None else bound.denial(self._surface, self.claims.role)

    def _bound(self, incoming: Incoming) -> Bound:
        bound = self._front.hub.manager.commands.get(incoming.op)
        if bound is None:  # a command of the connection itself, such as hello
            detail = f"{incoming.op} is not a command of {self._surface.value}"
            raise CommandError("unknown_op", detail)
        bound.check(self._surface, self.claims.role, incoming.key)
        return bound

    def _call(self, incoming: Incoming, bound: Bound) -> Call[Any]:
        assert incoming.command is not None, "decoded"
        if incoming.room not in (None, self._room.id):
            detail = f"expected commands for {self._room.id!r}, came one for {incoming.room!r}"
            raise CommandError("bad_request", detail)
        body, key = incoming.command.d, incoming.key or ""
        digest = body_digest(incoming.op, body) if key else ""
        audit = bound.audit(self.claims, self._surface)
        return Call(incoming.op, body, self, self._room, key, digest, audit)

    def _refusal_for(self, exc: Exception, incoming: Incoming) -> CommandError:
        error = refusal_of(exc)
        if error is None:
            manager = self._front.hub.manager
            manager.fault(manager.commands[incoming.op].plugin, incoming.op)
            error = CommandError("internal")
        return error


class Performer:
    """Runs commands that plugins ask for (`Engine.perform`)."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def perform(
        self, room_id: str, claims: Claims, op: str, d: dict[str, Any], key: str
    ) -> dict[str, Any]:
        """Run one command (see `Engine.perform`)."""
        front = self._front
        if not claims.covers(room_id):
            raise CommandError("forbidden", f"the token is not for {room_id!r}")
        raw = {"op": op, "d": d} | ({"key": key} if key else {})
        caller = Caller(front, await loaded_room(front.hub, room_id), claims)
        result = await caller.result(front.decoder.convert(raw))
        if not isinstance(result, bytes):
            return result or {}
        if result[:1] != b"+":
            raise refusal(result)
        answer: dict[str, Any] = orjson.loads(result[1:])
        return answer


def refusal_of(exc: Exception) -> CommandError | None:
    """Return what is told for an exception; None: it is a fault."""
    match exc:
        case CommandError():
            return exc
        case CloseError():
            return CommandError("forbidden", exc.detail or exc.close.sentence)
        case OutcomeUnknown():
            return CommandError("outcome_unknown", retry_ms=500)
        case StoreError():
            return CommandError("unavailable", retry_ms=500)
        case _:
            return None


def _check_stored(reply: bytes) -> None:
    """Raise what cannot be passed on as it is: a fault, or a refusal without its sentence."""
    if reply[:1] == b"!" or (reply[:1] == b"-" and b'"msg"' not in reply):
        raise refusal(reply)
