"""Revocation of tokens, by token id or by user, in the log of the system scope."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call, Engine, expect_any_room
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, Result, Surface, command
from liveroom.protocol.messages import Body


__all__ = ["Access"]

_SYSTEM = "~sys"


class Revoke(Body, frozen=True, kw_only=True):
    """One token by its id and end, or every token of a user that was issued until now."""

    jti: Annotated[str, Meta(max_length=128)] = ""
    until: Annotated[int, Meta(ge=0, description="the token's exp, Unix s")] = 0
    user: Annotated[str, Meta(max_length=64)] = ""


class Revoked(Struct):
    """`d` of `auth.revoked`: `jti` and `until`, or `user` and `before`; Unix s."""

    jti: str | UnsetType = UNSET
    until: int | UnsetType = UNSET
    user: str | UnsetType = UNSET
    before: int | UnsetType = UNSET


class Access(Plugin):
    """Keeps the list of revoked tokens; every worker follows its log."""

    name = "access"
    lua = lua_of("access")
    events = (
        EventSpec(
            "auth.revoked",
            Delivery.DURABLE,
            "A token or a user was revoked.",
            Revoked,
            internal=True,
        ),
    )

    async def start(self, engine: Engine) -> None:
        """Take the engine's handle."""
        self._engine = engine

    @command("auth.revoke", Revoke, role=Role.SERVICE, surfaces=(Surface.SERVICE,))
    async def revoke(self, call: Call[Revoke]) -> Result:
        """Revoke a token or all tokens of a user; live connections are closed on every worker."""
        expect_any_room(call)
        body = call.body
        if bool(body.jti) == bool(body.user):
            raise CommandError("bad_request", "expected either jti and until, or user")
        fields = {"jti": body.jti, "until": body.until} if body.jti else {"user": body.user}
        await self._engine.submit(_SYSTEM, call.operation("auth.revoke", fields))
        return None
