"""A room on the websockets library with its `broadcast`, on uvloop; run with the peers' own Python."""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import (  # type: ignore[import-not-found]
    ServerConnection,
    broadcast,
    serve,
)


viewers: set[ServerConnection] = set()


async def attend(viewer: ServerConnection) -> None:
    """Show what one says to all."""
    viewers.add(viewer)
    try:
        async for text in viewer:
            broadcast(viewers, text)
    finally:
        viewers.discard(viewer)


async def main(port: int) -> None:
    """Serve until ended."""
    async with serve(attend, "127.0.0.1", port, compression=None, backlog=4096):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
