"""Which keys may vouch for a token: algorithms, secrets, PEM (layer: leaf, beside errors).

An issuer signs with one algorithm and no other (RFC 8725, 3.1), so a key source carries its
algorithm and refuses keys that do not belong to it. What can go wrong with a key is found when it
is loaded, not when the first viewer knocks.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, Protocol

from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from liveroom.errors import ConfigError, LiveroomError


__all__ = [
    "ALGORITHMS",
    "MAX_TOKEN_BYTES",
    "Algorithm",
    "KeySource",
    "KeysUnavailable",
    "StaticKeys",
    "fits",
    "header_names",
    "jwk_key",
    "pem_keys",
    "registry_of",
    "secret_key",
    "signing_key",
]

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]

ALGORITHMS: Final[tuple[Algorithm, ...]] = ("HS256", "RS256", "ES256", "EdDSA")
MAX_TOKEN_BYTES: Final = 4096

_MIN_SECRET_BYTES: Final = 32  # RFC 7518, 3.2: at least the size of the hash
_MIN_SECRET_SYMBOLS: Final = 8  # "aaaa…" is long, not secret
_RSA_BITS: Final = range(2048, 8193)  # larger ones only cost the verifier time
_SAMPLES: Final = (b"your-256-bit-secret", b"a-string-secret-at-least", b"changeme", b"change-me")
_PUBLIC_MARKS: Final = (b"-BEGIN ", b"ssh-rsa ", b"ssh-ed25519 ", b"ecdsa-sha2-", b'"kty"')
_PEM_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)


class KeysUnavailable(LiveroomError):
    """The keys could not be had, so the token can be neither trusted nor refused for good.

    `retry_ms`: after how many milliseconds the source will ask again.
    """

    def __init__(self, retry_ms: int) -> None:
        super().__init__(retry_ms)
        self.retry_ms = retry_ms


class KeySource(Protocol):
    """Where an issuer's keys come from."""

    @property
    def algorithm(self) -> Algorithm:
        """The one algorithm that these keys sign with."""
        ...

    def lookup(self, kid: str | None) -> Sequence[Key] | None:
        """Return the keys that may have signed; None when `refresh` may find some.

        Raises:
            KeysUnavailable: nothing is known and asking is not due yet.
        """
        ...

    async def refresh(self) -> None:
        """Ask the origin of the keys, if that is due. Never raises for its failures."""
        ...


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """Keys from the configuration; several at once while they are being rotated."""

    algorithm: Algorithm
    keys: tuple[Key, ...]

    @classmethod
    def from_secrets(cls, *secrets: str | bytes) -> StaticKeys:
        """Take HS256 secrets: the current one and, during a rotation, the one before."""
        return cls("HS256", tuple(secret_key(secret) for secret in secrets))

    @classmethod
    def from_pem(cls, pem: str | bytes, algorithm: Algorithm) -> StaticKeys:
        """Take every key or certificate of a PEM text."""
        return cls(algorithm, pem_keys(pem, algorithm))

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigError("auth.keys", "at least one key", "none")
        for key in self.keys:
            if not fits(key, self.algorithm):
                raise ConfigError("auth.keys", f"keys for {self.algorithm}", key.key_type)

    def lookup(self, kid: str | None) -> Sequence[Key]:
        """Return all keys: there are few, and configured ones have no id."""
        return self.keys

    async def refresh(self) -> None:
        """Nothing to ask."""


class _OneAlgorithm(JWSRegistry):
    """The library's registry, which checks headers, narrowed to one algorithm."""

    max_payload_length = MAX_TOKEN_BYTES

    # The library's own would warn on each use of "EdDSA", the name that is in use everywhere
    # and that RFC 9864 renames. (It does not export the type that it returns.)
    def get_alg(self, name: str) -> Any:
        """Return the implementation of an allowed algorithm."""
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


@cache
def header_names(algorithm: Algorithm) -> frozenset[str]:
    """Return the values of the `alg` header that mean this algorithm (RFC 9864 for Ed25519)."""
    return frozenset({"EdDSA", "Ed25519"} if algorithm == "EdDSA" else {algorithm})


@cache
def registry_of(algorithm: Algorithm) -> JWSRegistry:
    """Return the library's registry that knows this algorithm only."""
    return _OneAlgorithm(algorithms=header_names(algorithm))


def secret_key(secret: str | bytes) -> OctKey:
    """Load an HS256 secret.

    Raises:
        ConfigError: too short, a well-known sample, or a public key (the HS/RS confusion of
            RFC 8725, 2.1). The error never holds the secret.
    """
    raw = secret.encode() if isinstance(secret, str) else secret
    _refuse_weak(raw)
    try:
        return OctKey.import_key(raw)
    except (ValueError, JoseError):
        raise ConfigError("auth.secret", "a random secret", "a public key") from None


def _refuse_weak(raw: bytes) -> None:
    if any(mark in raw for mark in _PUBLIC_MARKS):
        raise ConfigError("auth.secret", "a random secret", "a key file")
    if len(raw) < _MIN_SECRET_BYTES:
        expected = f"at least {_MIN_SECRET_BYTES} random bytes"
        raise ConfigError("auth.secret", expected, f"{len(raw)} bytes")
    if len(set(raw)) < _MIN_SECRET_SYMBOLS or any(s in raw.lower() for s in _SAMPLES):
        raise ConfigError("auth.secret", "a random secret", "a sample or a pattern")


def pem_keys(pem: str | bytes, algorithm: Algorithm) -> tuple[Key, ...]:
    """Load every public key, private key or certificate of a PEM text.

    Raises:
        ConfigError: no key in it, a key that cannot be read, or one of another algorithm.
    """
    raw = pem.encode() if isinstance(pem, str) else pem
    blocks = [m.group() for m in _PEM_BLOCK.finditer(raw) if m.group(1) != b"EC PARAMETERS"]
    if not blocks:
        raise ConfigError("auth.pem", "PEM blocks", f"{len(raw)} bytes without one")
    return tuple(_pem_key(block, algorithm) for block in blocks)


def _pem_key(block: bytes, algorithm: Algorithm) -> Key:
    if algorithm == "HS256":
        raise ConfigError("auth.pem", "RS256, ES256 or EdDSA", algorithm)
    try:
        key = _load(block, algorithm)
    except (ValueError, TypeError, JoseError):
        raise ConfigError("auth.pem", f"a key for {algorithm}", "another block") from None
    if not fits(key, algorithm):
        raise ConfigError("auth.pem", f"a key for {algorithm}", "another size or curve")
    return key


def jwk_key(value: Any, algorithm: Algorithm) -> Key | None:
    """Load one member of a JWK set; None when it is not a sound key for this algorithm.

    A shared secret is never one: who can read the set could sign with it.
    """
    if algorithm == "HS256" or not isinstance(value, dict):
        return None
    try:
        key = _load(value, algorithm) if _meant_for(value, algorithm) else None
    except (ValueError, TypeError, KeyError, JoseError):
        return None
    return key if key is not None and fits(key, algorithm) else None


def _meant_for(value: dict[str, Any], algorithm: Algorithm) -> bool:
    return (
        value.get("kty") == _KEY_TYPES[algorithm]
        and value.get("use", "sig") == "sig"
        and "verify" in value.get("key_ops", ("verify",))
        and value.get("alg", algorithm) in header_names(algorithm)
    )


def _load(value: bytes | dict[str, Any], algorithm: Algorithm) -> Key:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes: `fits` decides
        return _LOADERS[algorithm](value)


def fits(key: Key, algorithm: Algorithm) -> bool:
    """Tell whether the key is of the algorithm's type, curve and a sound size."""
    if isinstance(key, OctKey):
        return algorithm == "HS256"
    if isinstance(key, RSAKey):
        return algorithm == "RS256" and key.raw_value.key_size in _RSA_BITS
    if isinstance(key, ECKey):
        return algorithm == "ES256" and key.curve_name == "P-256"
    return algorithm == "EdDSA" and key.curve_name == "Ed25519"


def signing_key(key: str | bytes | Key, algorithm: Algorithm) -> Key:
    """Load what signs: a secret (HS256), a private key in PEM, or a key that is loaded already.

    Raises:
        ConfigError: it cannot sign with this algorithm.
    """
    if isinstance(key, (str, bytes)):
        loaded = secret_key(key) if algorithm == "HS256" else pem_keys(key, algorithm)[0]
    else:
        loaded = key
    if not fits(loaded, algorithm) or not loaded.is_private:
        raise ConfigError("auth.key", f"a private key for {algorithm}", loaded.key_type)
    return loaded


_KEY_TYPES: Final[dict[Algorithm, str]] = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_LOADERS: Final[dict[Algorithm, Callable[[Any], Key]]] = {
    "RS256": RSAKey.import_key,
    "ES256": ECKey.import_key,
    "EdDSA": OKPKey.import_key,
}
