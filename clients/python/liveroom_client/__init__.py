"""Python client for live rooms: docs/python-sdk.md.

    async with connect("ws://127.0.0.1:8080/ws", room="demo", token="guest:ada") as live:
        async for item in live: ...

Layers, each importing only those before it:
    errors, reconnect, codec, items, clock     tables and shapes
    room, asks, inbox, outlet, likes           one thing each, without I/O
    reading, lobby, pulse, session             a client's conversation, without I/O
    transport                                  WebSockets of aiohttp
    commands, staff, client, host              what is public
"""

from __future__ import annotations

from liveroom_client.client import LiveClient, LiveState, connect
from liveroom_client.errors import LiveError
from liveroom_client.host import HostClient, HostedRoom
from liveroom_client.items import Event, Greeting, State


__all__ = [
    "Event",
    "Greeting",
    "HostClient",
    "HostedRoom",
    "LiveClient",
    "LiveError",
    "LiveState",
    "State",
    "connect",
]
