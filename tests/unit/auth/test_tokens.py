"""The checklist of RFC 8725, line by line, and the way back: what is minted is accepted."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from liveroom.auth.keys import ALGORITHMS, Algorithm, KeysUnavailable, StaticKeys
from liveroom.auth.tokens import (
    Claims,
    Issuer,
    Role,
    TokenError,
    TokenExpired,
    TokenUnchecked,
    Verifier,
    mint,
)
from liveroom.errors import ConfigError
from spoiled import spoiled


NOW = 1_800_000_000
DAY = 86_400
SECRET = "Zq3mX8vR1tL6wN0pK5sJ9dF2hG7bC4yA"
OTHER_SECRET = "yA4cB7gH2fD9jS5kP0nW6lT1rV8xM3qZ"
GOOD = {
    "sub": "u1",
    "room": "r1",
    "role": "viewer",
    "iat": NOW,
    "exp": NOW + 600,
    "jti": "j1",
}


@cache
def key_of(algorithm: Algorithm) -> Key:
    if algorithm == "RS256":
        return RSAKey.generate_key(2048)
    if algorithm == "ES256":
        return ECKey.generate_key("P-256")
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519")
    return OctKey.generate_key(256)


def verifier_of(*secrets: str, now: float = NOW, **settings: Any) -> Verifier:
    keys = StaticKeys.from_secrets(*(secrets or (SECRET,)))
    issuer = Issuer(keys, settings.pop("name", None), settings.pop("audience", None))
    return Verifier([issuer], clock=lambda: now, **settings)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(payload: Any, header: dict[str, Any] | None = None, secret: str | bytes = SECRET) -> str:
    """Sign by hand, so that anything can be said in the header."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = json.dumps({"alg": "HS256"} | (header or {})).encode()
    signed = f"{b64(head)}.{b64(body)}"
    algorithm = jws.JWSRegistry.algorithms["HS256"]
    raw = secret.encode() if isinstance(secret, str) else secret
    return f"{signed}.{b64(algorithm.sign(signed.encode(), OctKey(raw, raw)))}"


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims with some changed; None takes one out."""
    return {k: v for k, v in (GOOD | changes).items() if v is not None}


def reason_of(verifier: Verifier, token: str) -> str:
    with pytest.raises(TokenError) as caught:
        verifier.verify_nowait(token)
    return caught.value.reason


# What is accepted


def test_good_token_gives_its_claims() -> None:
    """Every claim arrives; the name defaults to the user."""
    assert verifier_of().verify_nowait(sign(GOOD)) == Claims(
        user="u1",
        name="u1",
        role=Role.VIEWER,
        room="r1",
        exp=NOW + 600,
        iat=NOW,
        jti="j1",
        issuer="",
    )


async def test_verify_waits_for_nothing_with_static_keys() -> None:
    """The waiting form gives the same as the other one."""
    verifier, token = verifier_of(), sign(GOOD)

    assert await verifier.verify(token) == verifier.verify_nowait(token)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_minted_token_is_accepted(algorithm: Algorithm) -> None:
    """A round trip in every algorithm."""
    key = key_of(algorithm)
    token = mint(
        key,
        user="shop:7",
        room="r1",
        role="host",
        name="小明",
        ttl_s=60,
        now=NOW + 0.7,
        jti="j9",
        alg=algorithm,
        issuer="shop",
        audience="live",
        kid="k1",
    )
    verifier = Verifier(
        [Issuer(StaticKeys(algorithm, (key,)), "shop", "live")], clock=lambda: NOW + 1
    )

    assert verifier.verify_nowait(token) == Claims(
        user="shop:7",
        name="小明",
        role=Role.HOST,
        room="r1",
        exp=NOW + 60,
        iat=NOW,
        jti="j9",
        issuer="shop",
    )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_pem_signs_and_verifies(algorithm: Algorithm) -> None:
    """The private PEM mints, the public PEM verifies."""
    key = key_of(algorithm)
    assert not isinstance(key, OctKey)
    private, public = key.as_pem(private=True), key.as_pem()
    token = mint(private, user="u1", room="r1", role="viewer", ttl_s=60, now=NOW, alg=algorithm)
    verifier = Verifier([Issuer(StaticKeys.from_pem(public, algorithm))], clock=lambda: NOW)

    accepted = verifier.verify_nowait(token)

    assert accepted is not None
    assert accepted.user == "u1"


def test_minted_ids_differ() -> None:
    """Each token can be revoked by itself."""
    arguments: dict[str, Any] = {"user": "u", "room": "r", "role": "viewer", "ttl_s": 9, "now": NOW}
    tokens = {mint(SECRET, **arguments) for _ in range(50)}

    assert len(tokens) == 50


def test_ed25519_has_two_names() -> None:
    """`EdDSA` and, since RFC 9864, `Ed25519`."""
    key = key_of("EdDSA")
    registry = jws.JWSRegistry(algorithms=["Ed25519"])
    token = jws.serialize_compact({"alg": "Ed25519"}, json.dumps(GOOD), key, registry=registry)
    verifier = Verifier([Issuer(StaticKeys("EdDSA", (key,)))], clock=lambda: NOW)

    assert verifier.verify_nowait(token) is not None


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"sub": None, "user": "u2"}, "user", "u2"),
        ({"sub": "u1", "user": "u2"}, "user", "u1"),
        ({"name": "  Bob\n"}, "name", "Bob"),
        ({"name": "\u202e"}, "name", "u1"),
        ({"sub": "x" * 64}, "name", "x" * 32),
        ({"exp": NOW + 10.9, "iat": NOW - 0.1}, "exp", NOW + 10),
        ({"role": "service", "room": "*"}, "room", "*"),
        ({"iss": "anyone"}, "issuer", "anyone"),
        ({"aud": ["a", "b"]}, "room", "r1"),
        ({"extra": {"deep": [1, 2]}}, "room", "r1"),
    ],
)
def test_claims_are_read(changes: dict[str, Any], field: str, value: object) -> None:
    """Optional and unknown claims, fractions of seconds, `user` in place of `sub`."""
    accepted = verifier_of().verify_nowait(sign(claims(**changes)))

    assert getattr(accepted, field) == value


@pytest.mark.parametrize("typ", ["JWT", "jwt", "live+jwt", "application/live+jwt"])
def test_types_that_are_accepted(typ: str) -> None:
    """The plain type and our own."""
    assert verifier_of().verify_nowait(sign(GOOD, {"typ": typ})) is not None


# What is refused


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": None}, "format"),
        ({"iat": None}, "format"),
        ({"jti": None}, "format"),
        ({"room": None}, "format"),
        ({"role": None}, "format"),
        ({"sub": None}, "user"),
        ({"sub": ""}, "user"),
        ({"sub": "", "user": "u1"}, "user"),
        ({"sub": "a b"}, "user"),
        ({"sub": 7}, "format"),
        ({"room": "r:1"}, "room"),
        ({"room": "*"}, "room"),
        ({"room": "*", "role": "host"}, "room"),
        ({"room": ["r1"]}, "format"),
        ({"role": "admin"}, "role"),
        ({"role": "Host"}, "role"),
        ({"role": ["host"]}, "format"),
        ({"jti": ""}, "jti"),
        ({"jti": "a\nb"}, "jti"),
        ({"jti": "j" * 129}, "jti"),
        ({"name": 5}, "format"),
        ({"exp": True}, "format"),
        ({"exp": str(NOW + 60)}, "format"),
        ({"exp": 10**400}, "format"),
        ({"exp": float("inf")}, "format"),
        ({"exp": float("nan")}, "format"),
        ({"exp": NOW + DAY + 1}, "life"),
        ({"exp": 1e308}, "life"),
        ({"iat": NOW + 31}, "not_yet"),
        ({"nbf": NOW + 31}, "not_yet"),
        ({"exp": NOW - 30, "iat": NOW - 60}, "expired"),
        ({"exp": NOW - 30, "iat": NOW - 60, "role": "admin"}, "role"),
    ],
)
def test_claims_that_are_refused(changes: dict[str, Any], reason: str) -> None:
    """Missing, of a wrong type, unknown, too early, too late, too long."""
    assert reason_of(verifier_of(), sign(claims(**changes))) == reason


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b'{"a":' * 500, b"[" * 2900])
def test_payloads_that_are_no_claims(body: bytes) -> None:
    """Signed nonsense, deeply nested nonsense included."""
    assert reason_of(verifier_of(), sign(body)) == "format"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "none"}, "algorithm"),
        ({"alg": "HS512"}, "algorithm"),
        ({"alg": "RS256"}, "algorithm"),
        ({"alg": "hs256"}, "algorithm"),
        ({"alg": None}, "algorithm"),
        ({"alg": ["HS256"]}, "algorithm"),
        ({"crit": ["exp"]}, "header"),
        ({"crit": []}, "header"),
        ({"jku": "https://evil.example/jwks"}, "header"),
        ({"x5u": "https://evil.example/cert"}, "header"),
        ({"x5c": ["AAAA"]}, "header"),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, "header"),
        ({"b64": True}, "header"),
        ({"zip": "DEF"}, "header"),
        ({"kid": "../../etc/passwd"}, "kid"),
        ({"kid": "x' OR '1'='1"}, "kid"),
        ({"kid": "k" * 129}, "kid"),
        ({"kid": ""}, "kid"),
        ({"kid": 7}, "kid"),
        ({"typ": "at+jwt"}, "type"),
        ({"typ": 5}, "type"),
        ({"x": "y" * 600}, "format"),
        ({"unknown": 1}, "header"),
    ],
)
def test_headers_that_are_refused(header: dict[str, Any], reason: str) -> None:
    """The signature is right in each case: the header alone is the fault."""
    assert reason_of(verifier_of(), sign(GOOD, header)) == reason


def test_unsigned_token_is_refused() -> None:
    """`none`, spelled in any way, with and without a signature."""
    body = b64(json.dumps(GOOD).encode())
    for name in ("none", "None", "NONE", ""):
        head = b64(json.dumps({"alg": name}).encode())
        assert reason_of(verifier_of(), f"{head}.{body}.") == "algorithm"
        assert reason_of(verifier_of(), f"{head}.{body}.AAAA") == "algorithm"


def test_other_secret_is_refused() -> None:
    """And so is a signature that was cut, emptied or changed."""
    good = sign(GOOD)
    head, body, signature = good.split(".")
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]

    for token in (
        sign(GOOD, secret=OTHER_SECRET),
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.{flipped}",
        f"{good}=",
        f"{head}.{b64(json.dumps(claims(role='host')).encode())}.{signature}",
    ):
        assert reason_of(verifier_of(), token) == "signature"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_hmac_with_the_public_key_is_refused(algorithm: Algorithm) -> None:
    """The confusion attack: HS256 signed with the text of the issuer's public key."""
    key = key_of(algorithm)
    assert not isinstance(key, OctKey)
    verifier = Verifier([Issuer(StaticKeys(algorithm, (key,)))], clock=lambda: NOW)

    for public in (key.as_pem(), key.as_pem().strip(), key.as_der()):
        assert reason_of(verifier, sign(GOOD, secret=public)) == "algorithm"
        assert reason_of(verifier, sign(GOOD, {"alg": algorithm}, secret=public)) == "signature"


def test_key_of_another_token_header_is_not_tried() -> None:
    """An ES256 token does not pass an RS256 issuer, though its signature is right."""
    token = mint(key_of("ES256"), user="u", room="r", role="viewer", ttl_s=60, now=NOW, alg="ES256")
    verifier = Verifier([Issuer(StaticKeys("RS256", (key_of("RS256"),)))], clock=lambda: NOW)

    assert reason_of(verifier, token) == "algorithm"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "\ud800",
        " " + sign(GOOD),
        "x" * 4097,
    ],
)
def test_text_that_is_no_token(token: str) -> None:
    """Refused before anything is computed."""
    assert reason_of(verifier_of(), token) == "format"


@pytest.mark.parametrize(
    "header", [b"[]", b'"alg"', b'"algb64"', b'["alg"]', b"5", b"null", b"{}", b"[" * 380]
)
def test_header_that_is_no_object(header: bytes) -> None:
    """JSON that is not an object with an algorithm never reaches the keys."""
    token = f"{b64(header)}.{b64(json.dumps(GOOD).encode())}.AAAA"

    assert reason_of(verifier_of(), token) in {"format", "header"}


def test_oversized_token_is_refused() -> None:
    """Above 4 KiB, though it is signed."""
    assert verifier_of().verify_nowait(sign(claims(pad="x" * 2600))) is not None
    assert reason_of(verifier_of(), sign(claims(pad="x" * 3000))) == "format"


PARTS = st.binary(max_size=40).map(b64) | st.sampled_from(sign(GOOD).split("."))


@settings(deadline=None)
@given(st.text(max_size=60) | st.tuples(PARTS, PARTS, PARTS).map(".".join))
def test_any_text_is_accepted_or_a_token_error(text: str) -> None:
    """No input gives another exception, and none but the good token passes."""
    try:
        accepted = verifier_of().verify_nowait(text)
    except TokenError:
        return

    assert accepted is not None
    assert text == sign(GOOD)


@settings(max_examples=200, deadline=None)
@given(spoiled([sign(GOOD).encode()]).map(lambda data: data.decode("utf-8", "replace")))
def test_a_spoiled_token_is_refused(text: str) -> None:
    """However little was changed."""
    assume(text != sign(GOOD))
    assert reason_of(verifier_of(), text)


@pytest.mark.parametrize("part", range(3), ids=["header", "claims", "signature"])
def test_a_token_has_one_spelling(part: int) -> None:
    """The last bits of base64 that say nothing may not vary: a revoked token has no twin."""
    parts = sign(GOOD).split(".")
    for letter in set(ascii_letters + digits + "-_") - {parts[part][-1]}:
        other = [*parts]
        other[part] = parts[part][:-1] + letter
        assert reason_of(verifier_of(), ".".join(other))


def test_errors_hold_no_token_text() -> None:
    """A refusal may be logged and sent: nothing of the token or the secret is in it."""
    for token in (sign(GOOD, secret=OTHER_SECRET), sign(claims(role="sesame")), "sesame" * 20):
        with pytest.raises(TokenError) as caught:
            verifier_of().verify_nowait(token)
        told = f"{caught.value} {caught.value.to_wire()} {caught.value.args} {caught.value.reason}"

        assert caught.value.__cause__ is None
        assert not any(part in told for part in [*token.split("."), "sesame", SECRET])


# Time


@pytest.mark.parametrize(("leeway", "late"), [(0, 0), (30, 29.9), (60, 59.9)])
def test_leeway_is_granted_and_no_more(leeway: float, late: float) -> None:
    """`exp` and `iat` are judged with the leeway on the safe side of the clock."""
    token = sign(claims(exp=NOW + 10, iat=NOW))

    def at(now: float) -> Verifier:
        return verifier_of(leeway_s=leeway, now=now)

    assert at(NOW + 9.9 + late).verify_nowait(token) is not None
    assert reason_of(at(NOW + 10 + leeway), token) == "expired"
    assert at(NOW - late).verify_nowait(token) is not None
    assert reason_of(at(NOW - leeway - 0.5), token) == "not_yet"


def test_expired_is_told_from_bad() -> None:
    """The client may come back with a new token; one that was never good is terminal."""
    old = claims(exp=NOW - 100, iat=NOW - 200)

    with pytest.raises(TokenExpired):
        verifier_of().verify_nowait(sign(old))
    with pytest.raises(TokenError) as caught:
        verifier_of().verify_nowait(sign(old, secret=OTHER_SECRET))

    assert caught.value.close == "bad_token"


def test_longest_life_is_by_role() -> None:
    """Viewers and the others have their own maximum."""
    verifier = verifier_of(max_life_s=900, max_viewer_life_s=3600)

    assert verifier.verify_nowait(sign(claims(exp=NOW + 3600))) is not None
    assert reason_of(verifier, sign(claims(exp=NOW + 3601))) == "life"
    assert verifier.verify_nowait(sign(claims(exp=NOW + 900, role="host"))) is not None
    assert reason_of(verifier, sign(claims(exp=NOW + 901, role="host"))) == "life"


# Issuers


@pytest.mark.parametrize(
    ("aud", "reason"),
    [
        ("live", None),
        (["x", "live"], None),
        (None, "audience"),
        ("livex", "audience"),
        ([], "audience"),
    ],
)
def test_audience_is_exact(aud: object, reason: str | None) -> None:
    """A token for another audience, or for none, does not open this socket."""
    verifier, token = verifier_of(audience="live"), sign(claims(aud=aud))

    if reason is None:
        assert verifier.verify_nowait(token) is not None
    else:
        assert reason_of(verifier, token) == reason


def test_named_issuer_takes_its_own_only() -> None:
    """A wrong or missing `iss` is refused."""
    verifier = verifier_of(name="shop")

    assert verifier.verify_nowait(sign(claims(iss="shop"))) is not None
    assert reason_of(verifier, sign(claims(iss="shop2"))) == "issuer"
    assert reason_of(verifier, sign(GOOD)) == "issuer"


def test_issuers_do_not_vouch_for_each_other() -> None:
    """The keys of one issuer are never tried on a token that names another."""
    verifier = Verifier(
        [
            Issuer(StaticKeys.from_secrets(SECRET), "a"),
            Issuer(StaticKeys("ES256", (key_of("ES256"),)), "b"),
            Issuer(StaticKeys.from_secrets(OTHER_SECRET)),
        ],
        clock=lambda: NOW,
    )

    assert verifier.verify_nowait(sign(claims(iss="a"))) is not None
    assert verifier.verify_nowait(sign(GOOD, secret=OTHER_SECRET)) is not None
    assert reason_of(verifier, sign(claims(iss="b"))) == "algorithm"
    assert reason_of(verifier, sign(claims(iss="a"), secret=OTHER_SECRET)) == "signature"
    assert reason_of(verifier, sign(claims(iss="c"))) == "signature"


def test_secret_rotation_keeps_two_live() -> None:
    """The old secret counts until it is taken out."""
    both, new = verifier_of(OTHER_SECRET, SECRET), verifier_of(OTHER_SECRET)

    assert both.verify_nowait(sign(GOOD)) is not None
    assert both.verify_nowait(sign(GOOD, secret=OTHER_SECRET)) is not None
    assert reason_of(new, sign(GOOD)) == "signature"


# Keys that come later


class LateKeys:
    """A source whose keys are known after `refresh`, if ever."""

    algorithm: Algorithm = "HS256"

    def __init__(self, *, comes: bool = True, retry_ms: int | None = None) -> None:
        self.comes = comes
        self.retry_ms = retry_ms
        self.known: Sequence[Key] | None = None

    def lookup(self, kid: str | None) -> Sequence[Key] | None:
        if self.retry_ms is not None:
            raise KeysUnavailable(self.retry_ms)
        return self.known

    async def refresh(self) -> None:
        if self.comes:
            self.known = StaticKeys.from_secrets(SECRET).keys


async def test_unknown_keys_are_fetched_by_verify_only() -> None:
    """The form that does not wait says None, and the other one fetches."""
    verifier = Verifier([Issuer(LateKeys())], clock=lambda: NOW)

    assert verifier.verify_nowait(sign(GOOD)) is None
    assert await verifier.verify(sign(GOOD)) is not None
    assert verifier.verify_nowait(sign(GOOD)) is not None


@pytest.mark.parametrize("source", [LateKeys(comes=False), LateKeys(retry_ms=4000)])
async def test_keys_that_do_not_come_are_no_verdict(source: LateKeys) -> None:
    """The client is asked to come back, not told that its token is bad."""
    verifier = Verifier([Issuer(source)], clock=lambda: NOW)

    with pytest.raises(TokenUnchecked) as caught:
        await verifier.verify(sign(GOOD))

    assert caught.value.code.name == "unavailable"
    assert caught.value.retry_ms == (source.retry_ms or 1000)


# Settings


@pytest.mark.parametrize("leeway", [-1, 61, float("nan")])
def test_leeway_outside_its_range_is_refused(leeway: float) -> None:
    """At most a minute (RFC 7519, 4.1.4: no more than a few minutes)."""
    with pytest.raises(ConfigError):
        verifier_of(leeway_s=leeway)


def test_issuers_must_differ() -> None:
    """None at all, or two of one name, is an error at start."""
    keys = StaticKeys.from_secrets(SECRET)
    for issuers in ([], [Issuer(keys), Issuer(keys)], [Issuer(keys, "a"), Issuer(keys, "a")]):
        with pytest.raises(ConfigError):
            Verifier(issuers)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"user": "a b"}, "user"),
        ({"room": "*"}, "room"),
        ({"role": "king"}, "role"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"jti": "a b"}, "jti"),
        ({"key": "short"}, "auth.secret"),
        ({"alg": "RS256"}, "auth.pem"),
    ],
)
def test_mint_refuses_what_no_verifier_takes(changes: dict[str, Any], setting: str) -> None:
    """The mistake is told where it is made."""
    arguments: dict[str, Any] = {
        "key": SECRET,
        "user": "u1",
        "room": "r1",
        "role": "viewer",
        "ttl_s": 60,
        "now": NOW,
    }
    with pytest.raises(ConfigError) as caught:
        mint(**arguments | changes)

    assert caught.value.setting == setting
