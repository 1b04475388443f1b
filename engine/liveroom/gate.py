"""Who may come in: tokens, revocations, guests, connections per user (layer 6)."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from liveroom.auth.claims import Claims, Role, TokenError, check_refresh, clean_name
from liveroom.auth.jwks import JwksKeys
from liveroom.auth.keys import KeySource, StaticKeys
from liveroom.auth.revocation import RevocationSet, RevokedToken, RevokedUser
from liveroom.auth.tokens import Issuer, Verifier
from liveroom.config import Settings
from liveroom.errors import CloseError, ConfigError
from liveroom.plugin.spec import Surface
from liveroom.protocol.messages import Hello


__all__ = ["Gate", "key_source", "verifier_of"]

log = structlog.get_logger("liveroom.gate")

MAX_TOKEN_LIFE_S = 86_400
_GUEST_LIFE_S = 86_400
_GUEST_NAME = re.compile(r"^guest:([^\x00-\x1f]{1,32})$")


class Gate:
    """Decides on every hello, and again when a token is revoked.

    Args:
        verifier: checks tokens; None: only guests come in.
        guests: whether a hello without a token gets a viewer's claims.
        max_per_user: connections of one user on this worker; 0: any number.
        now_s: Unix seconds.
    """

    def __init__(
        self,
        verifier: Verifier | None,
        *,
        guests: bool,
        max_per_user: int,
        now_s: Callable[[], float],
    ) -> None:
        self._verifier = verifier
        self._guests = guests
        self._max_per_user = max_per_user
        self._now_s = now_s
        self._open: dict[str, int] = {}
        self.revocations = RevocationSet(max_life_s=MAX_TOKEN_LIFE_S)

    async def claims_of(self, token: str) -> Claims:
        """Return the claims of a token. Raises TokenError."""
        if self._verifier is None:
            raise TokenError("verifier")
        claims = self._verifier.verify_nowait(token) or await self._verifier.verify(token)
        if self.revocations.revoked(claims):
            raise TokenError("revoked")
        return claims

    async def claims_for(self, token: str, room: str | None) -> Claims:
        """Return who asks over HTTP: in development a guest, too, as a viewer of the room asked about.

        Raises:
            TokenError: the token is not valid.
        """
        if room is not None and self._guests and _GUEST_NAME.match(token):
            return self._guest(Hello(room=room, token=token))
        return await self.claims_of(token)

    async def admit(self, hello: Hello, surface: Surface) -> Claims:
        """Return who says hello. Raises CloseError with the code to close with."""
        try:
            claims = await self._identify(hello)
        except TokenError as exc:
            raise CloseError(exc.close, exc.detail) from exc
        if not claims.covers(hello.room):
            raise CloseError("bad_token", "the token is for another room")
        if surface is Surface.CONTROL and not claims.role.at_least(Role.ASSISTANT):
            raise CloseError("bad_token", "a viewer may not control a room")
        return claims

    def enter(self, user: str) -> None:
        """Count a connection of a user in. Raises CloseError."""
        count = self._open.get(user, 0)
        if self._max_per_user and count >= self._max_per_user:
            raise CloseError("too_many_sessions")
        self._open[user] = count + 1

    def leave(self, user: str) -> None:
        """Count a connection out."""
        count = self._open[user] - 1
        if count:
            self._open[user] = count
        else:
            del self._open[user]

    async def refresh(self, old: Claims, token: str) -> Claims:
        """Return the claims under which a live connection goes on.

        Raises:
            CommandError: not valid, of another user or room, or with more rights.
        """
        claims = await self.claims_of(token)
        check_refresh(old, claims)
        return claims

    def revoke(self, row: dict[str, Any]) -> None:
        """Take a revocation: `{"jti", "until"}` or `{"user", "before"}`, in Unix seconds."""
        entry: RevokedToken | RevokedUser
        if "jti" in row:
            entry = RevokedToken(row["jti"], row["until"])
        else:
            entry = RevokedUser(row["user"], row["before"])
        self.revocations.apply([entry], self._now_s())

    async def _identify(self, hello: Hello) -> Claims:
        if hello.token and not (self._guests and _GUEST_NAME.match(hello.token)):
            return await self.claims_of(hello.token)
        if not self._guests:
            raise TokenError("missing")
        return self._guest(hello)

    def _guest(self, hello: Hello) -> Claims:
        """Return a viewer's claims; `guest:NAME` as the token keeps one name over reconnects."""
        named = _GUEST_NAME.match(hello.token)
        name = clean_name(named.group(1)) if named else ""
        user = f"guest-{_slug(name) if name else secrets.token_hex(4)}"
        now = int(self._now_s())
        return Claims(
            user=user,
            name=name or user,
            role=Role.VIEWER,
            room=hello.room,
            exp=now + _GUEST_LIFE_S,
            iat=now,
            jti="",
            issuer="guest",
        )


def _slug(name: str) -> str:
    """Return a part of a user id that stays the same for a name in any script."""
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", name):
        return name
    return hashlib.blake2b(name.encode(), digest_size=6).hexdigest()


def key_source(settings: Settings) -> KeySource | None:
    """Return the keys that the settings name; None: guests only.

    Raises:
        ConfigError: no keys and no `dev`, or keys that cannot be read.
    """
    if settings.jwt_jwks_url:
        return JwksKeys(settings.jwt_jwks_url, _algorithm(settings))
    if settings.jwt_public_key:
        return StaticKeys.from_pem(_pem(settings.jwt_public_key), _algorithm(settings))
    if settings.jwt_secret:
        return StaticKeys.from_secrets(*settings.jwt_secret.split())
    if settings.dev:
        return None
    expected = "a key to check tokens with (jwt_secret, jwt_public_key or jwt_jwks_url), or --dev"
    raise ConfigError("jwt_secret", f"{expected} for guests", "none")


def verifier_of(settings: Settings, keys: KeySource | None) -> Verifier | None:
    """Return what checks tokens under these keys."""
    if keys is None:
        return None
    return Verifier([Issuer(keys, settings.jwt_issuer or None, settings.jwt_audience or None)])


def _algorithm(settings: Settings) -> Any:
    if not settings.jwt_algorithm:
        raise ConfigError("jwt_algorithm", "RS256, ES256 or EdDSA beside the key", "none")
    return settings.jwt_algorithm


def _pem(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise ConfigError("jwt_public_key", "a readable PEM file", str(exc)) from exc
