"""The peer of the joins: aiohttp's own WebSocket, one message in, one out, nothing else."""

from __future__ import annotations

import json
import sys
import time

import uvloop
from aiohttp import web

from bench.child import Answer, serve_parent
from bench.machine import pin, raise_file_limit
from liveroom.protocol.handshake import JSON


__all__: list[str] = []


async def _serve(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=(JSON,), compress=False)
    await socket.prepare(request)
    async for _ in socket:
        await socket.send_str('[{"re":1,"d":{}}]')
    return socket


async def _stats(request: Answer) -> Answer:
    return {"cpu": time.process_time()}


async def _main() -> None:
    raise_file_limit()
    app = web.Application()
    app.router.add_get("/ws", _serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    await serve_parent({"port": runner.addresses[0][1]}, _stats)
    await runner.cleanup()


if __name__ == "__main__":
    pin(json.loads(sys.argv[1])["core"])
    uvloop.run(_main())
