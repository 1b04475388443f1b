"""The feature: when rooms are visited, and the commands about what was given up (layer 5)."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from msgspec import Meta

from liveroom.auth.claims import Role
from liveroom.config import Settings
from liveroom.errors import CommandError
from liveroom.features.room import HOST_SURFACES
from liveroom.features.sources import lua_of
from liveroom.features.webhooks.courier import Courier
from liveroom.features.webhooks.message import event_ms, message_id
from liveroom.features.webhooks.sender import Sender
from liveroom.plugin.context import Call, Engine, RoomHandle
from liveroom.plugin.spec import Plugin, Result, command
from liveroom.protocol.messages import Body
from liveroom.store.port import LogEntry, Op
from liveroom.store.replies import refusal


__all__ = ["Webhooks"]

Place = Annotated[
    str, Meta(pattern=r"^[0-9]{1,15}-[0-9]{1,10}$(?!\n)", description="`id` of a dead webhook")
]


class Dead(Body, frozen=True, kw_only=True):
    """Which page of the dead webhooks."""

    after: Place | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class Redeliver(Body, frozen=True, kw_only=True):
    """One dead webhook by its `id`, or with `all` up to 500 of them, oldest first."""

    id: Place | None = None
    all: bool = False


class Webhooks(Plugin):
    """Delivers what handlers gave to `webhook(kind, body)`; does nothing without `webhook_url`.

    Raises:
        ConfigError: the URL, the secret or the deadline cannot be used.
    """

    name = "webhooks"
    lua = lua_of("webhooks")

    def __init__(self, settings: Settings) -> None:
        self._sender = Sender(settings) if settings.webhook_url else None
        self.courier: Courier | None = None

    async def start(self, engine: Engine) -> None:
        """Begin to deliver."""
        if self._sender is None:
            return
        self._sender.open()
        metrics = engine.metrics.webhooks
        self.courier = Courier(engine, self._sender, metrics)
        self.courier.start()

    async def stop(self) -> None:
        """Leave the rest to the other workers."""
        if self._sender is None:
            return
        if self.courier is not None:
            self.courier.close()
        await self._sender.close()

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Look into the outbox of a room in which something happened."""
        if self.courier is not None and room.id[0] != "~":
            self.courier.want(room.id)

    @command("webhook.dead", Dead, role=Role.HOST, surfaces=HOST_SURFACES)
    async def dead(self, call: Call[Dead]) -> Result:
        """List webhooks that were given up, and count all: see docs/webhooks.md."""
        page: dict[str, Any] = {"limit": call.body.limit}
        if call.body.after is not None:
            page["after"] = call.body.after
        reply = await call.room.submit(Op("webhook.dead", call.user, page))
        if reply[:1] != b"+":
            raise refusal(reply)
        answer: dict[str, Any] = orjson.loads(reply[1:].decode(errors="replace"))
        rows = answer.pop("entries", [])
        return {"entries": [_shown(call.room.id, row) for row in rows], **answer}

    @command("webhook.redeliver", Redeliver, role=Role.HOST, surfaces=HOST_SURFACES)
    async def redeliver(self, call: Call[Redeliver]) -> Result:
        """Try dead webhooks again, under the ids that they had; returns `{moved, left}`."""
        if (call.body.id is None) is not call.body.all:
            raise CommandError("bad_request", "expected either id or all")
        body = {} if call.body.id is None else {"id": call.body.id}
        reply = await call.room.submit(call.operation("webhook.redeliver", body))
        if self.courier is not None:
            self.courier.want(call.room.id)
        return reply


def _shown(room: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "webhook": message_id(room, row["i"]),
        "type": row["t"],
        "ts": event_ms(row["i"]),
        "attempts": row["n"],
        "why": row["why"],
        "body": row["d"],
    }
