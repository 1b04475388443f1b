"""Who a caller is: reads and mints the signed tokens (layer: leaf, above keys).

A token is a JWT in compact form, checked by the rules of RFC 8725: the issuer decides the
algorithm, headers that point elsewhere are refused, and what is not understood is not trusted.
A usual token is checked without a task switch (`verify_nowait`); only keys that are not known yet
make the caller wait. What the claims mean and how a refusal is told stands in `claims`.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.util import json_b64decode, urlsafe_b64decode

from liveroom.auth.claims import (
    ANY_ROOM,
    MAX_LEVEL,
    MAX_NAME,
    Claims,
    Role,
    TokenError,
    TokenExpired,
    TokenUnchecked,
    check_refresh,
    clean_name,
    valid_room,
    valid_user,
)
from liveroom.auth.keys import (
    MAX_TOKEN_BYTES,
    Algorithm,
    KeySource,
    KeysUnavailable,
    header_names,
    registry_of,
    signing_key,
)
from liveroom.errors import ConfigError


__all__ = [
    "Claims",
    "Issuer",
    "Role",
    "TokenError",
    "TokenExpired",
    "TokenUnchecked",
    "Verifier",
    "check_refresh",
    "mint",
]

_DAY_S: Final = 86_400
_MAX_LEEWAY_S: Final = 60
_TYP: Final = "live+jwt"

_KID: Final = re.compile(r"[A-Za-z0-9_.:=+/@~-]{1,128}")
_JTI: Final = re.compile(r"[!-~]{1,128}")
_ROLES: Final = {role.value: role for role in Role}
_TYPES: Final = frozenset({"jwt", _TYP})
# Headers that change how a token is read, or tell the reader where to find the key.
_FORBIDDEN_HEADERS: Final = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"})


@dataclass(frozen=True, slots=True)
class Issuer:
    """Someone whose tokens are accepted.

    Args:
        keys: the keys and, with them, the one algorithm.
        name: what `iss` must be; None takes the tokens that no named issuer claims.
        audience: what `aud` must hold; None does not look at `aud`.
    """

    keys: KeySource
    name: str | None = None
    audience: str | None = None


class _Payload(msgspec.Struct, frozen=True):
    """The claims that are read, as they come."""

    role: str
    room: str
    exp: float
    iat: float
    jti: str
    sub: str | None = None
    user: str | None = None
    name: str | None = None
    nbf: float | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    level: int | None = None


_decode_payload = msgspec.json.Decoder(_Payload).decode


class _Parts(NamedTuple):
    """A token taken apart, its segments as they came."""

    header: bytes
    payload: _Payload
    signed: bytes
    signature: bytes


class _Header(NamedTuple):
    """What a header says that was found sound."""

    alg: str
    kid: str | None


class Verifier:
    """Turns tokens into claims.

    Args:
        issuers: at least one; names differ, one at most is unnamed.
        leeway_s: how far clocks may differ, 0-60 seconds.
        max_life_s: the longest `exp - iat` of a token, in seconds.
        max_viewer_life_s: the same for viewers' tokens.
        clock: seconds since 1970.

    Raises:
        ConfigError: one of these is out of its range.
    """

    def __init__(
        self,
        issuers: Sequence[Issuer],
        *,
        leeway_s: float = 30,
        max_life_s: float = _DAY_S,
        max_viewer_life_s: float = _DAY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 0 <= leeway_s <= _MAX_LEEWAY_S:
            raise ConfigError("auth.leeway_s", f"0 to {_MAX_LEEWAY_S}", leeway_s)
        self._named = {issuer.name: issuer for issuer in issuers}
        if not issuers or len(self._named) != len(issuers):
            names = [issuer.name for issuer in issuers]
            raise ConfigError("auth.issuers", "at least one, with different names", names)
        self._leeway_s = leeway_s
        self._max_life_s = dict.fromkeys(Role, max_life_s) | {Role.VIEWER: max_viewer_life_s}
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """Return the claims of a token, fetching its issuer's keys if they are not known.

        Raises:
            TokenError: see the module.
        """
        claims = self.verify_nowait(token)
        if claims is None:
            await self._issuer_of(_open(token).payload).keys.refresh()
            claims = self.verify_nowait(token)
        if claims is None:
            raise TokenUnchecked(1000)
        return claims

    def verify_nowait(self, token: str) -> Claims | None:
        """Return the claims of a token, or None when `verify` has to fetch keys first.

        Raises:
            TokenError: see the module.
        """
        parts = _open(token)
        issuer = self._issuer_of(parts.payload)
        algorithm = issuer.keys.algorithm
        header = _header(parts.header, algorithm)
        keys = _lookup(issuer.keys, header.kid)
        if keys is None:
            return None
        if not any(_signed_by(parts, key, header.alg, algorithm) for key in keys):
            raise TokenError("signature")
        return self._claims(issuer, parts.payload)

    def _issuer_of(self, payload: _Payload) -> Issuer:
        issuer = self._named.get(payload.iss) or self._named.get(None)
        if issuer is None:
            raise TokenError("issuer")
        return issuer

    def _claims(self, issuer: Issuer, payload: _Payload) -> Claims:
        if issuer.audience is not None and not _is_for(payload.aud, issuer.audience):
            raise TokenError("audience")
        claims = _read(payload)
        self._check_times(payload, claims.role)
        return claims

    def _check_times(self, payload: _Payload, role: Role) -> None:
        now, leeway = self._clock(), self._leeway_s
        if max(payload.iat, payload.nbf or 0) > now + leeway:
            raise TokenError("not_yet")
        if payload.exp - payload.iat > self._max_life_s[role]:
            raise TokenError("life")
        if payload.exp <= now - leeway:
            raise TokenExpired


def _open(token: str) -> _Parts:
    """Take a token apart. Nothing in it may be believed yet."""
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise TokenError("format")
    try:
        header, body, signature = token.encode().split(b".")
        payload = _decode_payload(urlsafe_b64decode(body))
    except (ValueError, TypeError, RecursionError):
        raise TokenError("format") from None
    return _Parts(header, payload, header + b"." + body, signature)


@lru_cache(maxsize=256)
def _header(segment: bytes, algorithm: Algorithm) -> _Header:
    """Read and check a header; it is kept, for all tokens of an issuer have the same few."""
    header = _read_header(segment)
    sound = isinstance(header, dict) and "alg" in header
    if not sound or not _FORBIDDEN_HEADERS.isdisjoint(header):
        raise TokenError("header")
    alg, typ, kid = header.get("alg"), header.get("typ", _TYP), header.get("kid")
    if not isinstance(alg, str) or alg not in header_names(algorithm):
        raise TokenError("algorithm")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in _TYPES:
        raise TokenError("type")
    if not (kid is None or _is_kid(kid)):
        raise TokenError("kid")
    try:
        registry_of(algorithm).check_header(header)
    except JoseError:
        raise TokenError("header") from None
    return _Header(alg, kid)


def _read_header(segment: bytes) -> Any:
    try:
        registry_of("HS256").validate_header_size(segment)
        return json_b64decode(segment)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise TokenError("format") from None


def _lookup(source: KeySource, kid: str | None) -> Sequence[Key] | None:
    """Ask an issuer for the keys that a header may mean."""
    try:
        return source.lookup(kid)
    except KeysUnavailable as error:
        raise TokenUnchecked(error.retry_ms) from None


def _is_kid(kid: object) -> bool:
    return isinstance(kid, str) and ".." not in kid and _KID.fullmatch(kid) is not None


def _signed_by(parts: _Parts, key: Key, alg: str, algorithm: Algorithm) -> bool:
    model = registry_of(algorithm).get_alg(alg)
    try:
        model.check_key(key)
        return model.verify(parts.signed, urlsafe_b64decode(parts.signature), key)
    except (JoseError, ValueError, TypeError):
        return False


def _is_for(aud: str | list[str] | None, audience: str) -> bool:
    return aud == audience or (isinstance(aud, list) and audience in aud)


def _read(payload: _Payload) -> Claims:
    role = _ROLES.get(payload.role)
    if role is None:
        raise TokenError("role")
    user = payload.user if payload.sub is None else payload.sub
    if user is None or not valid_user(user):
        raise TokenError("user")
    if not (valid_room(payload.room) or (payload.room == ANY_ROOM and role is Role.SERVICE)):
        raise TokenError("room")
    if _JTI.fullmatch(payload.jti) is None:
        raise TokenError("jti")
    if not 0 <= (payload.level or 0) <= MAX_LEVEL:
        raise TokenError("level")
    return Claims(
        user=user,
        name=clean_name(payload.name or "") or user[:MAX_NAME],
        role=role,
        room=payload.room,
        exp=int(payload.exp),
        iat=int(payload.iat),
        jti=payload.jti,
        issuer=payload.iss or "",
        level=payload.level or 0,
    )


def mint(
    key: str | bytes | Key,
    *,
    user: str,
    room: str,
    role: Role | str,
    ttl_s: int,
    now: float,
    name: str | None = None,
    jti: str | None = None,
    alg: Algorithm = "HS256",
    issuer: str | None = None,
    audience: str | None = None,
    kid: str | None = None,
    level: int | None = None,
) -> str:
    """Sign a token.

    Args:
        key: the HS256 secret, the private key in PEM, or a loaded key.
        user: becomes `sub`.
        room: a room id, or "*" with the role `service`.
        role: what the bearer may do there.
        ttl_s: seconds from `now` to `exp`.
        now: seconds since 1970.
        name: what others see; the user id if left out.
        jti: the token's own id; 128 random bits if left out.
        alg: the algorithm.
        issuer: becomes `iss`.
        audience: becomes `aud`.
        kid: the id of the key, for a verifier that reads a JWK set.
        level: the user's fan level, 0 to 1000.

    Raises:
        ConfigError: the key cannot sign, or no verifier would take such a token.
    """
    iat = int(now)
    payload = _Payload(
        role=role,
        room=room,
        exp=iat + ttl_s,
        iat=iat,
        jti=jti or secrets.token_urlsafe(16),
        sub=user,
        name=clean_name(name or "") or None,
        iss=issuer,
        aud=audience,
        level=level,
    )
    _check_mintable(payload)
    fields = {k: v for k, v in msgspec.structs.asdict(payload).items() if v is not None}
    header = {"alg": alg, "typ": _TYP} | ({"kid": kid} if kid else {})
    body = msgspec.json.encode(fields)
    return jws.serialize_compact(header, body, signing_key(key, alg), registry=registry_of(alg))


def _check_mintable(payload: _Payload) -> None:
    if payload.exp <= payload.iat:
        raise ConfigError("ttl_s", "above 0", payload.exp - payload.iat)
    try:
        _read(payload)
    except TokenError as error:
        came = payload.sub if error.reason == "user" else getattr(payload, error.reason)
        raise ConfigError(error.reason, "what a token may hold", came) from None
