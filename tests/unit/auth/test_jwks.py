"""Keys by URL, from a real server on loopback: caching, rotation, storms, failures."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from liveroom.auth import jwks
from liveroom.auth.jwks import MAX_BYTES, JwksKeys
from liveroom.auth.keys import Algorithm, KeysUnavailable
from liveroom.auth.tokens import Issuer, TokenError, TokenUnchecked, Verifier, mint
from liveroom.errors import ConfigError


NOW = 1_800_000_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
StartServer = Callable[[web.Application], Awaitable[TestServer]]


@cache
def key_of(kid: str, algorithm: Algorithm = "ES256") -> Key:
    parameters: Any = {"kid": kid}
    if algorithm == "RS256":
        return RSAKey.generate_key(2048, parameters)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", parameters)
    return ECKey.generate_key("P-256", parameters)


def set_of(*keys: Key) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def token_of(key: Key, algorithm: Algorithm = "ES256", kid: str | None = "") -> str:
    return mint(
        key,
        user="u1",
        room="r1",
        role="viewer",
        ttl_s=600,
        now=NOW,
        alg=algorithm,
        kid=key.kid if kid == "" else kid,
    )


class Origin:
    """An issuer's server. `answer` may be a document or a handler; `gate` holds answers back."""

    def __init__(self) -> None:
        self.answer: Any = set_of(key_of("k1"))
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        self.arrived.set()
        await self.gate.wait()
        if callable(self.answer):
            response: web.StreamResponse = await self.answer(request)
            return response
        return web.json_response(self.answer)


class Clock:
    """Monotonic seconds, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def origin(aiohttp_server: StartServer) -> Origin:
    server = Origin()
    app = web.Application()
    app.router.add_get("/jwks", server.handle)
    server.url = str((await aiohttp_server(app)).make_url("/jwks"))
    return server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(origin: Origin, clock: Clock) -> AsyncIterator[JwksKeys]:
    source = JwksKeys(origin.url, "ES256", clock=clock)
    yield source
    await source.close()


@pytest.fixture
def verifier(keys: JwksKeys) -> Verifier:
    return Verifier([Issuer(keys)], clock=lambda: NOW)


async def refused(verifier: Verifier, token: str) -> str:
    with pytest.raises(TokenError) as caught:
        await verifier.verify(token)
    return caught.value.reason


async def test_first_token_fetches_the_set_and_the_rest_do_not(
    verifier: Verifier, origin: Origin
) -> None:
    """One request, then no task switch for the usual token."""
    token = token_of(key_of("k1"))

    assert verifier.verify_nowait(token) is None
    assert (await verifier.verify(token)).user == "u1"
    assert verifier.verify_nowait(token) is not None
    assert origin.calls == 1


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_every_family_by_url(origin: Origin, algorithm: Algorithm) -> None:
    """A set may mix families; the issuer's own counts."""
    origin.answer = set_of(key_of("r", "RS256"), key_of("e", "ES256"), key_of("o", "EdDSA"))
    kids: dict[Algorithm, str] = {"RS256": "r", "ES256": "e", "EdDSA": "o"}
    kid = kids[algorithm]
    verifier = Verifier([Issuer(JwksKeys(origin.url, algorithm))], clock=lambda: NOW)

    assert (await verifier.verify(token_of(key_of(kid, algorithm), algorithm))).user == "u1"
    for other, other_kid in kids.items():
        if other != algorithm:
            other_token = token_of(key_of(other_kid, other), other)
            assert await refused(verifier, other_token) == "algorithm"


async def test_joins_at_once_share_one_request(verifier: Verifier, origin: Origin) -> None:
    """A hundred viewers wait for the same answer."""
    origin.gate.clear()
    joins = [asyncio.create_task(verifier.verify(token_of(key_of("k1")))) for _ in range(100)]
    await origin.arrived.wait()
    origin.gate.set()

    accepted = await asyncio.gather(*joins)

    assert len(accepted) == 100
    assert origin.calls == 1


async def test_one_who_gives_up_does_not_stop_the_others(
    verifier: Verifier, origin: Origin
) -> None:
    """The request belongs to nobody."""
    origin.gate.clear()
    first = asyncio.create_task(verifier.verify(token_of(key_of("k1"))))
    await origin.arrived.wait()
    second = asyncio.create_task(verifier.verify(token_of(key_of("k1"))))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    origin.gate.set()

    assert (await second).user == "u1"
    assert first.cancelled()
    assert origin.calls == 1


async def test_storm_of_unknown_ids_makes_one_request_a_minute(
    verifier: Verifier, origin: Origin, clock: Clock
) -> None:
    """Made-up key ids are refused from memory."""
    good = token_of(key_of("k1"))
    await verifier.verify(good)
    strangers = [token_of(key_of("k1"), kid=f"x{n}") for n in range(50)]

    for seconds in range(180):
        clock.now += 1
        for token in strangers[:: 1 + seconds % 7]:
            assert await refused(verifier, token) == "signature"
        assert verifier.verify_nowait(good) is not None

    assert origin.calls == 1 + 3


async def test_rotation_keeps_two_keys_live(
    verifier: Verifier, origin: Origin, clock: Clock
) -> None:
    """The new key is found by its id, the old one counts until the set drops it."""
    old, new = token_of(key_of("k1")), token_of(key_of("k2"))
    await verifier.verify(old)
    origin.answer = set_of(key_of("k1"), key_of("k2"))
    clock.now += 60

    assert (await verifier.verify(new)).user == "u1"
    assert verifier.verify_nowait(old) is not None

    origin.answer = set_of(key_of("k2"))
    clock.now += 60
    await refused(verifier, token_of(key_of("k1"), kid="k9"))
    assert await refused(verifier, old) == "signature"
    assert verifier.verify_nowait(new) is not None


async def test_old_set_is_renewed_behind_the_scenes(
    keys: JwksKeys, verifier: Verifier, origin: Origin, clock: Clock
) -> None:
    """A dropped key stops counting without an unknown id; nobody waits for it."""
    token = token_of(key_of("k1"))
    await verifier.verify(token)
    origin.answer = set_of(key_of("k2"))
    origin.arrived.clear()
    clock.now += 599
    assert verifier.verify_nowait(token) is not None
    assert origin.calls == 1

    clock.now += 1
    assert verifier.verify_nowait(token) is not None
    await origin.arrived.wait()
    await keys.refresh()  # waits for the fetch that runs

    assert origin.calls == 2
    assert verifier.verify_nowait(token_of(key_of("k2"))) is not None
    assert await refused(verifier, token) == "signature"


async def test_refresh_asks_when_it_is_due_only(
    keys: JwksKeys, origin: Origin, clock: Clock
) -> None:
    """However often it is called, by whomever."""
    for seconds in (0, 1, 58, 1, 59, 1):
        clock.now += seconds
        await keys.refresh()

    assert origin.calls == 3


async def test_token_without_an_id_is_tried_on_all_keys(verifier: Verifier, origin: Origin) -> None:
    """The id is optional in RFC 7515; a key outside the set still fails."""
    origin.answer = set_of(key_of("k1"), key_of("k2"))

    assert (await verifier.verify(token_of(key_of("k2"), kid=None))).user == "u1"
    assert await refused(verifier, token_of(key_of("k3"), kid=None)) == "signature"


async def test_id_of_another_key_does_not_help(verifier: Verifier, origin: Origin) -> None:
    """The id picks the key; it does not vouch."""
    origin.answer = set_of(key_of("k1"), key_of("k2"))

    assert await refused(verifier, token_of(key_of("k2"), kid="k1")) == "signature"


async def test_hmac_with_a_key_of_the_set_is_refused(verifier: Verifier, origin: Origin) -> None:
    """HS256 over the public key, or over a shared secret that the set leaks, is no signature."""
    secret = "Zq3mX8vR1tL6wN0pK5sJ9dF2hG7bC4yA"
    origin.answer["keys"].append({"kty": "oct", "kid": "s", "k": "WnEzbVg4dlIxdEw2d04wcA"})
    token = mint(secret, user="u1", room="r1", role="viewer", ttl_s=60, now=NOW, kid="s")

    assert await refused(verifier, token) == "algorithm"
    assert origin.calls == 0


async def stream_endlessly(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(2 + 2 * MAX_BYTES // 65536):
        await response.write(b" " * 65536)
    return response


async def send(body: bytes, status: int = 200, **headers: str) -> web.Response:
    return web.Response(
        body=body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


GOOD_BODY = json.dumps(set_of(key_of("k1"))).encode()

FAULTS: dict[str, Handler] = {
    "error": lambda _: send(GOOD_BODY, 500),
    "not found": lambda _: send(b"", 404),
    "redirect": lambda _: send(b"", 302, Location="/moved"),
    "empty": lambda _: send(b""),
    "no json": lambda _: send(b"<html>"),
    "no utf-8": lambda _: send(b"\xff\xfe\xff"),
    "too deep": lambda _: send(b"[" * 100_000),
    "a list": lambda _: send(b"[]"),
    "no list of keys": lambda _: send(b'{"keys":{}}'),
    "too large": lambda _: send(GOOD_BODY + b" " * MAX_BYTES),
    "endless": stream_endlessly,
    "compressed": lambda _: send(gzip.compress(GOOD_BODY), Content_Encoding="gzip"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_old_keys_serve_on_when_a_fetch_fails(
    verifier: Verifier, origin: Origin, clock: Clock, fault: str
) -> None:
    """Whatever the origin answers, who could join before can join now."""
    good = token_of(key_of("k1"))
    await verifier.verify(good)
    origin.answer = FAULTS[fault]
    clock.now += 60

    with pytest.raises(TokenUnchecked) as caught:
        await verifier.verify(token_of(key_of("k2")))

    assert caught.value.retry_ms == 60_000
    assert verifier.verify_nowait(good) is not None
    assert origin.calls == 2


async def test_redirect_is_not_followed(aiohttp_server: StartServer, clock: Clock) -> None:
    """The key comes from the configured place or from nowhere."""
    moved = Origin()
    app = web.Application()
    app.router.add_get("/moved", moved.handle)

    async def redirect(_: web.Request) -> web.Response:
        raise web.HTTPFound("/moved")

    app.router.add_get("/jwks", redirect)
    server = await aiohttp_server(app)
    source = JwksKeys(str(server.make_url("/jwks")), "ES256", clock=clock)

    await source.refresh()

    assert moved.calls == 0
    with pytest.raises(KeysUnavailable):
        source.lookup("k1")


async def test_slow_origin_is_given_up(
    verifier: Verifier, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time limit the caller is told to come back."""
    monkeypatch.setattr(jwks, "TIMEOUT_S", 0.05)
    origin.gate.clear()

    async with asyncio.timeout(2):
        assert await refused(verifier, token_of(key_of("k1"))) == "keys"
    origin.gate.set()


async def test_without_any_keys_the_retry_is_sooner(
    verifier: Verifier, origin: Origin, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed start is tried again after 5 s, and not before; the failure is logged."""
    good, token = origin.answer, token_of(key_of("k1"))
    origin.answer = FAULTS["error"]
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            assert await refused(verifier, token) == "keys"
    origin.answer = good
    clock.now += 4
    with pytest.raises(TokenUnchecked) as caught:
        verifier.verify_nowait(token)
    assert caught.value.retry_ms == 1000
    assert origin.calls == 1
    assert [record.message for record in caplog.records] == [
        "JWKS of 127.0.0.1 not fetched: ValueError"
    ]

    clock.now += 1
    assert (await verifier.verify(token)).user == "u1"


async def test_origin_that_refuses_the_connection(origin: Origin, clock: Clock) -> None:
    """Nobody listens there."""
    url = origin.url.replace("/jwks", "").rpartition(":")[0] + ":1/jwks"
    source = JwksKeys(url, "ES256", clock=clock)

    await source.refresh()

    with pytest.raises(KeysUnavailable) as caught:
        source.lookup("k1")
    assert caught.value.retry_ms == 5000


async def test_set_without_usable_keys_is_an_answer(
    verifier: Verifier, origin: Origin, clock: Clock
) -> None:
    """An issuer that withdraws its keys is believed."""
    token = token_of(key_of("k1"))
    await verifier.verify(token)
    origin.answer = {"keys": [{"kty": "EC"}, 7, None, *set_of(key_of("r", "RS256"))["keys"]]}
    clock.now += 60
    await refused(verifier, token_of(key_of("k2")))

    assert await refused(verifier, token) == "signature"


async def test_number_of_keys_is_bounded(keys: JwksKeys, origin: Origin) -> None:
    """A token without an id costs a bounded number of checks."""
    origin.answer = {"keys": set_of(key_of("k1"))["keys"] * 1000}

    await keys.refresh()

    assert len(keys.lookup(None) or ()) == jwks.MAX_KEYS


async def test_close_ends_a_running_fetch(
    keys: JwksKeys, verifier: Verifier, origin: Origin
) -> None:
    """Shutdown does not wait for the origin, and the waiter gets a clear answer."""
    origin.gate.clear()
    join = asyncio.create_task(verifier.verify(token_of(key_of("k1"))))
    await origin.arrived.wait()

    await keys.close()

    with pytest.raises(TokenUnchecked):
        await join
    origin.gate.set()


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example/.well-known/jwks.json",
        "https://10.0.0.1/jwks",
        "http://localhost:8080/jwks",
        "http://127.0.0.1/jwks",
        "http://[::1]:1/jwks",
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    """https anywhere, http on this host."""
    assert JwksKeys(url, "RS256").algorithm == "RS256"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.example/jwks",
        "http://login.example/jwks",
        "http://10.0.0.1/jwks",
        "http://localhost.evil.example/jwks",
        "http://127.0.0.1@evil.example/jwks",
        "https://user:sesame@login.example/jwks",
        "https:///jwks",
        "https://[::1/jwks",
        "file:///etc/passwd",
        "ftp://localhost/jwks",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    """No plain http over a network, no password in a URL, nothing but HTTP."""
    with pytest.raises(ConfigError) as caught:
        JwksKeys(url, "RS256")

    assert "sesame" not in str(caught.value)


def test_shared_secret_cannot_come_by_url() -> None:
    """HS256 has no public key to publish."""
    with pytest.raises(ConfigError):
        JwksKeys("https://login.example/jwks", "HS256")
