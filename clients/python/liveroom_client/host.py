"""The control socket: hosts, moderators and assistants, in one room or in several."""

from __future__ import annotations

import asyncio
from functools import partial

from liveroom_client.asking import Answer
from liveroom_client.client import LiveClient, LiveState, settle
from liveroom_client.items import Greeting, Item
from liveroom_client.staff import StaffCommands
from liveroom_client.transport import Token


__all__ = ["HostClient", "HostedRoom"]


class HostClient(StaffCommands, LiveClient):
    """A control connection; made as a LiveClient, with a URL that ends in `/control`."""

    __slots__ = ("_watched",)

    def _made(self) -> None:
        self._watched: set[tuple[str, str]] = set()
        self.on("sdk.greeting", self._watch_again)

    async def ask(
        self,
        op: str,
        d: Item | None = None,
        *,
        key: str | bool = False,
        if_version: int | None = None,
        room: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send any command and return the reply's `d`; see LiveClient.

        A `….watch` is said again on every new connection.
        """
        watch = (room or self._session.lobby.main.room, op)
        if op.endswith(".watch") and d is not None and d.get("on") is False:
            self._watched.discard(watch)  # with a lost answer the connection is lost, and the watch
        answer = await LiveClient.ask(
            self, op, d, key=key, if_version=if_version, room=room, timeout_s=timeout_s
        )
        if op.endswith(".watch"):
            (self._watched.add if answer.get("watching") else self._watched.discard)(watch)
        return answer

    async def join_room(self, room: str, *, token: Token = "") -> HostedRoom:
        """Come into one more room, and stay in it over reconnects.

        Args:
            room: its id.
            token: of the same user for that room; none if the hello's covers it.

        Raises:
            LiveError: it cannot be had.
        """
        self._transport.tokens[room] = token
        future: asyncio.Future[Greeting] = self._loop.create_future()
        self._session.lobby.join(room, partial(settle, future))
        await future
        return HostedRoom(self, room)

    async def leave_room(self, room: str) -> None:
        """Follow a room no longer."""
        self._watched = {watch for watch in self._watched if watch[0] != room}
        self._session.lobby.leave(room)

    def room(self, room: str) -> HostedRoom:
        """Return one of the rooms that were joined, to say and see things there."""
        return HostedRoom(self, room)

    def state_of(self, room: str) -> LiveState:
        """Return what is known of a room. Raises KeyError."""
        return LiveState(self._session, self._session.lobby.rooms[room], self._inbox)

    def _watch_again(self, greeting: Greeting) -> None:
        """The figures are sent to a connection, not to a client."""
        for room, op in self._watched:
            if room == greeting.room:
                self._session.tell(op, {"on": True}, room)


class HostedRoom(StaffCommands):
    """One room of a control connection in several: the same commands, said there."""

    __slots__ = ("_host", "name")

    def __init__(self, host: HostClient, name: str) -> None:
        self._host = host
        self.name = name

    @property
    def state(self) -> LiveState:
        """What is known of it."""
        return self._host.state_of(self.name)

    async def ask(
        self,
        op: str,
        d: Item | None = None,
        *,
        key: str | bool = False,
        if_version: int | None = None,
        room: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send any command about this room; see LiveClient."""
        return await self._host.ask(
            op, d, key=key, if_version=if_version, room=room or self.name, timeout_s=timeout_s
        )
