"""One pipelined connection to one node: many callers, one socket, answers in order (layer 4).

While one write is on its way others queue behind it, so a busy worker sends many batches per
system call. Nothing is ever sent twice from here: a caller learns either that its commands
certainly never left (`StoreUnavailable`) or that nobody knows (`OutcomeUnknown`).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from liveroom.errors import OutcomeUnknown, StoreUnavailable


__all__ = ["Command", "Link", "next_reply"]

Command = tuple[bytes | str | int, ...]


class Link:
    """Commands to one node.

    Args:
        make: returns a fresh, unconnected redis-py connection.
        timeout_s: a reply later than this breaks the link, so that no answer can be taken for
            another's.
    """

    def __init__(self, make: Callable[[], AbstractConnection], timeout_s: float) -> None:
        self._make = make
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._connecting = asyncio.Lock()

    async def exchange(self, *commands: Command) -> list[Any]:
        """Send commands back to back and return their replies; an error reply is returned.

        Raises:
            StoreUnavailable: no connection could be made; nothing was sent.
            OutcomeUnknown: sent, but the connection broke or the time ran out.
        """
        connection = await self._connected()
        if not connection.is_connected:  # else redis-py would connect anew behind our back
            self._break("the connection was lost")
            raise StoreUnavailable("the connection was lost")
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in commands]
        self._waiting.extend(futures)
        packed = [pack_command(command) for command in commands]  # type: ignore[arg-type]  # its stub names a 1-tuple
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.send_packed_command(packed, check_health=False)
                return [await future for future in futures]
        except TimeoutError as exc:
            if connection is self._connection:  # else others go on over a new one
                self._break(f"no answer within {self._timeout_s} s")
            raise OutcomeUnknown(f"no answer within {self._timeout_s} s") from exc
        except RedisError as exc:
            if connection is self._connection:
                self._break(str(exc))
            raise OutcomeUnknown(str(exc)) from exc
        except RuntimeError as exc:  # uvloop takes no byte for a socket that it has closed
            if connection is self._connection:
                self._break(str(exc))
            raise StoreUnavailable(str(exc)) from exc

    async def close(self) -> None:
        """Close the connection; callers still waiting get OutcomeUnknown."""
        reader = self._reader
        self._break("closed")
        if reader is not None:
            await asyncio.gather(reader, return_exceptions=True)

    async def _connected(self) -> AbstractConnection:
        if self._connection is not None:
            return self._connection
        async with self._connecting:
            if self._connection is None:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> AbstractConnection:
        connection = self._make()
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]  # untyped in redis-py
        except BaseException as exc:
            # It may be open: only its greeting was not answered.
            await connection.disconnect(nowait=True)
            if isinstance(exc, RedisError | OSError | TimeoutError):
                raise StoreUnavailable(f"cannot connect: {exc}") from exc
            raise
        self._reader = asyncio.create_task(self._read(connection), name="store-link")
        return connection

    async def _read(self, connection: AbstractConnection) -> None:
        reason = "the connection was closed"
        try:
            while True:
                reply = await next_reply(connection)
                future = self._waiting.popleft()
                if not future.done():  # its caller may have gone
                    future.set_result(reply)
        except (RedisError, OSError, IndexError) as exc:
            reason = str(exc)
        finally:
            if connection is self._connection:
                self._break(reason)
            await connection.disconnect(nowait=True)

    def _break(self, reason: str) -> None:
        """Give up the connection and everything that waits on it."""
        waiting, self._waiting = self._waiting, deque()
        reader, self._reader = self._reader, None
        self._connection = None
        for future in waiting:
            if not future.done():
                future.set_exception(OutcomeUnknown(reason))
                future.exception()  # several of one caller: only the first is awaited
        if reader is not None and reader is not asyncio.current_task():
            reader.cancel()


async def next_reply(connection: AbstractConnection) -> Any:
    """Return the next reply, however long it takes; an error reply is returned, not raised."""
    try:
        return await connection.read_response(disable_decoding=True, timeout=math.inf)
    except ResponseError as exc:
        return exc
    except BusyLoadingError as exc:  # to redis-py the connection is broken; it is not
        return ResponseError(f"LOADING {exc}")
