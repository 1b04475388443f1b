"""A room on python-socketio with aiohttp and uvloop, default options; run with the peers' own Python."""

import asyncio
import sys

import socketio
import uvloop
from aiohttp import web


ROOM = "room"

sio = socketio.AsyncServer(async_mode="aiohttp")


@sio.event  # type: ignore[untyped-decorator]
async def connect(sid: str, environ: dict[str, object]) -> None:
    """Take a viewer into the room."""
    await sio.enter_room(sid, ROOM)


@sio.event  # type: ignore[untyped-decorator]
async def danmaku(sid: str, text: str) -> None:
    """Show what one says to all."""
    await sio.emit("danmaku", text, room=ROOM)


async def main(port: int) -> None:
    """Serve until ended."""
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
