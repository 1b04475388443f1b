"""Which keys are taken, and which are refused when they are loaded."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, strategies as st
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from liveroom.auth.keys import (
    ALGORITHMS,
    Algorithm,
    StaticKeys,
    fits,
    header_names,
    jwk_key,
    pem_keys,
    registry_of,
    secret_key,
    signing_key,
)
from liveroom.errors import ConfigError


SECRET = "Zq3mX8vR1tL6wN0pK5sJ9dF2hG7bC4yA"


@cache
def key_of(algorithm: Algorithm, bits: int = 2048) -> Key:
    if algorithm == "RS256":
        return RSAKey.generate_key(bits)
    if algorithm == "ES256":
        return ECKey.generate_key("P-256")
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519")
    return OctKey.generate_key(256)


def pem_of(key: Key, *, private: bool = False) -> bytes:
    assert not isinstance(key, OctKey)
    return key.as_pem(private=private)


ASYMMETRIC: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")


def test_secret_of_32_random_bytes_is_taken() -> None:
    """As text or as bytes."""
    assert secret_key(SECRET).raw_value == SECRET.encode()
    assert secret_key(SECRET.encode()).raw_value == SECRET.encode()


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "short",
        SECRET[:31],
        "a" * 64,
        "ababab" * 10,
        "a-string-secret-at-least-256-bits-long",
        "your-256-bit-secret-your-256-bit-secret",
        "ChangeMe-ChangeMe-ChangeMe-1234567890",
        '{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"1"}',
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0p host",
    ],
)
def test_weak_or_public_secrets_are_refused_without_showing_them(secret: str) -> None:
    """The engine does not start with a sample, short or public secret; the error hides it."""
    with pytest.raises(ConfigError) as caught:
        secret_key(secret)

    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_public_key_is_no_secret(algorithm: Algorithm) -> None:
    """The HS/RS confusion of RFC 8725, 2.1 cannot be configured, in PEM or in DER."""
    key = key_of(algorithm)
    assert not isinstance(key, OctKey)

    for raw in (key.as_pem(), key.as_der()):
        with pytest.raises(ConfigError):
            StaticKeys.from_secrets(raw)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_pem_is_loaded(algorithm: Algorithm) -> None:
    """Public and private keys, as text and as bytes."""
    key = key_of(algorithm)

    assert not pem_keys(pem_of(key), algorithm)[0].is_private
    assert pem_keys(pem_of(key, private=True).decode(), algorithm)[0].is_private


def test_pem_text_may_hold_two_keys() -> None:
    """Both are live while one replaces the other; text between them is ignored."""
    pem = pem_of(ECKey.generate_key()) + b"# the next one\n" + pem_of(ECKey.generate_key())

    assert len(StaticKeys.from_pem(pem, "ES256").keys) == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("other", ASYMMETRIC)
def test_pem_of_another_family_is_refused(algorithm: Algorithm, other: Algorithm) -> None:
    """One algorithm per issuer."""
    if algorithm == other:
        assert pem_keys(pem_of(key_of(other)), algorithm)
        return
    with pytest.raises(ConfigError):
        pem_keys(pem_of(key_of(other)), algorithm)


@pytest.mark.parametrize(
    "pem", ["", "nothing", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
)
def test_bad_pem_is_refused(pem: str) -> None:
    """A clear error at start, not a failure at the first token."""
    with pytest.raises(ConfigError):
        pem_keys(pem, "RS256")


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_small_rsa_keys_and_other_curves_do_not_fit() -> None:
    """RSA from 2048 bits, EC on P-256, OKP on Ed25519."""
    assert not fits(key_of("RS256", 1024), "RS256")
    assert not fits(ECKey.generate_key("P-384"), "ES256")
    assert not fits(OKPKey.generate_key("X25519"), "EdDSA")
    with pytest.raises(ConfigError):
        pem_keys(pem_of(key_of("RS256", 1024)), "RS256")


def test_static_keys_need_a_key_of_their_algorithm() -> None:
    """No key, or one of another kind, is an error of the configuration."""
    with pytest.raises(ConfigError):
        StaticKeys.from_secrets()
    with pytest.raises(ConfigError):
        StaticKeys("RS256", (secret_key(SECRET),))


async def test_static_keys_are_all_live() -> None:
    """During a rotation of a secret both count, whatever id the token names."""
    source = StaticKeys.from_secrets(SECRET, SECRET[::-1])
    await source.refresh()

    assert len(source.lookup(None)) == len(source.lookup("unknown")) == 2


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_signing_needs_a_private_key(algorithm: Algorithm) -> None:
    """A public key cannot sign, nor can one of another algorithm."""
    key = key_of(algorithm)

    assert signing_key(pem_of(key, private=True), algorithm).is_private
    with pytest.raises(ConfigError):
        signing_key(pem_of(key), algorithm)
    with pytest.raises(ConfigError):
        signing_key(key, "HS256")


def test_registry_knows_one_algorithm() -> None:
    """Everything else is refused by the library itself; Ed25519 has two names (RFC 9864)."""
    assert header_names("RS256") == {"RS256"}
    assert header_names("EdDSA") == {"EdDSA", "Ed25519"}
    for name in ("none", "HS256", "RS512", "PS256"):
        with pytest.raises(Exception, match="unsupported_algorithm"):
            registry_of("RS256").get_alg(name)


def jwk_of(algorithm: Algorithm, **members: Any) -> dict[str, Any]:
    return dict(key_of(algorithm).as_dict(private=False)) | members


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_jwk_of_the_family_is_taken(algorithm: Algorithm) -> None:
    """With the members that issuers usually add."""
    value = jwk_of(algorithm, use="sig", alg=algorithm, kid="k1")

    key = jwk_key(value, algorithm)

    assert key is not None
    assert key.kid == "k1"


@pytest.mark.parametrize(
    "value",
    [
        jwk_of("RS256"),
        jwk_of("ES256", use="enc"),
        jwk_of("ES256", key_ops=["sign"]),
        jwk_of("ES256", key_ops=7),
        jwk_of("ES256", alg="ES384"),
        jwk_of("ES256", alg=["ES256"]),
        jwk_of("ES256", kid=7),
        jwk_of("ES256", x="AAAA"),
        jwk_of("ES256", crv="P-999"),
        {"kty": "EC"},
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
        {},
        [],
        None,
        "EC",
    ],
)
def test_jwk_that_is_not_meant_is_skipped(value: Any) -> None:
    """Another family, another use, broken members: ignored without an error."""
    assert jwk_key(value, "ES256") is None


def test_shared_secret_in_a_set_is_never_taken() -> None:
    """Whoever can read the set could sign with it."""
    assert jwk_key({"kty": "oct", "k": "c2VjcmV0" * 8}, "HS256") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@given(
    algorithm=st.sampled_from(ASYMMETRIC),
    members=st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "p", "use", "alg", "key_ops"]), JSON
    ),
)
def test_jwk_with_any_members_never_raises(algorithm: Algorithm, members: dict[str, Any]) -> None:
    """A broken set of an issuer must not break the verifier."""
    value = json.loads(json.dumps(jwk_of(algorithm, **members)))

    key = jwk_key(value, algorithm)

    assert key is None or fits(key, algorithm)
