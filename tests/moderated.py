"""Rooms with moderation, for tests: a pack with one word for each action, talk and what comes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

import harness
from liveroom_plugins.moderation import Moderation


__all__ = [
    "PACK",
    "every_byte",
    "late_joiners_see",
    "log_of",
    "moderation",
    "options",
    "say",
]

PACK = """
name = "mine"
about = "for tests"
[[group]]
category = "swearing"
level = 1
action = "mask"
words = ["doggone", {text = "waitplease", action = "hold"}, {text = "ghostword", action = "shadow"},
  {text = "neverever", action = "reject"}, {text = "bigtrouble", action = "mute"}]
"""


def options(pack: Path, **more: Any) -> dict[str, Any]:
    """Return settings with these options of the plugin."""
    return {"plugin": {"moderation": {"viewer_packs": [str(pack)], **more}}}


async def say(client: harness.Client, text: str) -> dict[str, Any]:
    """Send a message; return the reply item."""
    return await client.command("danmaku.send", text=text)


async def moderation(worker: harness.Worker) -> Moderation:
    """Return the plugin of a worker."""
    return next(p for p in worker.node.hub.manager.plugins if isinstance(p, Moderation))


async def log_of(host: harness.Client, total: int) -> dict[str, Any]:
    """Return the log when it has so many rows: they are written with the beat."""
    async with asyncio.timeout(harness.PATIENCE_S):
        while (answer := await host.ask("mod.log"))["total"] != total:
            pass
    return answer


async def late_joiners_see(worker: harness.Worker, room: str, *texts: str) -> None:
    """Wait until the history is this; a snapshot is shared for a beat."""
    async with asyncio.timeout(harness.PATIENCE_S):
        while True:
            late = await worker.join(room)
            if [item["d"]["text"] for item in late.hello["snapshot"]["danmaku"]] == [*texts]:
                return


def every_byte(client: harness.Client) -> bytes:
    """Return all that a client was sent."""
    return orjson.dumps([client.hello, client.messages])
