"""The opening handshake: every reason to refuse, and what an accepted one answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from liveroom.errors import ConfigError
from liveroom.protocol.handshake import (
    JSON,
    MSGPACK,
    Accepted,
    HandshakePolicy,
    HandshakeRefused,
    accept_handshake,
    accept_key,
)


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # the sample nonce of RFC 6455, 1.3
Headers = list[tuple[bytes, bytes]]


def request(**changes: bytes | list[bytes] | None) -> Headers:
    """A good request's fields; `None` takes one out, a list repeats it."""
    fields: dict[str, bytes | list[bytes] | None] = {
        "Host": b"room.example",
        "Upgrade": b"websocket",
        "Connection": b"Upgrade",
        "Sec-WebSocket-Version": b"13",
        "Sec-WebSocket-Key": KEY,
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    return [
        (name.encode(), value)
        for name, values in fields.items()
        if values is not None
        for value in (values if isinstance(values, list) else [values])
    ]


def accept(
    headers: Headers,
    policy: HandshakePolicy | None = None,
    *,
    method: str = "GET",
    version: tuple[int, int] = (1, 1),
) -> Accepted:
    return accept_handshake(method, version, headers, policy or HandshakePolicy())


def refusal(
    headers: Headers,
    policy: HandshakePolicy | None = None,
    *,
    method: str = "GET",
    version: tuple[int, int] = (1, 1),
) -> HandshakeRefused:
    with pytest.raises(HandshakeRefused) as caught:
        accept(headers, policy, method=method, version=version)
    return caught.value


def test_accept_key_gives_the_answer_of_the_rfc() -> None:
    """RFC 6455, 1.3."""
    assert accept_key(KEY.decode()) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_handshake_answers_a_plain_request_with_the_whole_response() -> None:
    """Nothing offered: no subprotocol header, no extension header, JSON is spoken."""
    assert accept(request()) == Accepted(
        response=(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"\r\n"
        ),
        subprotocol=JSON,
        deflate=False,
    )


def test_handshake_answers_a_browser() -> None:
    """What browsers send, with both choices made."""
    accepted = accept(
        request(
            Origin=b"https://room.example",
            Sec_WebSocket_Protocol=b"liveroom.v1.msgpack, liveroom.v1.json",
            Sec_WebSocket_Extensions=b"permessage-deflate; client_max_window_bits",
        )
    )
    assert accepted.subprotocol == MSGPACK
    assert accepted.deflate
    assert accepted.response.endswith(
        b"\r\nSec-WebSocket-Protocol: liveroom.v1.msgpack"
        b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover;"
        b" client_no_context_takeover\r\n\r\n"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": b"WebSocket"},
        {"Upgrade": b"h2c, websocket"},
        {"Upgrade": [b"h2c", b"websocket"]},
        {"Connection": b"keep-alive, Upgrade"},
        {"Connection": [b"keep-alive", b"upgrade"]},
        {"Sec_WebSocket_Key": b" " + KEY + b"\t"},
        {"Content_Length": b"0"},
        {"Host": b"[::1]:8080"},
    ],
)
def test_handshake_takes_every_valid_form(changes: dict[str, bytes | list[bytes]]) -> None:
    """Token lists, repeated list fields and any letter case are all HTTP."""
    assert accept(request(**changes)).response.startswith(b"HTTP/1.1 101 ")


def test_handshake_reads_field_names_in_any_case() -> None:
    """Field names have no case (RFC 9110, 5.1)."""
    headers = [(name.upper(), value) for name, value in request()]
    assert accept_handshake("GET", (1, 1), headers, HandshakePolicy()).response


@pytest.mark.parametrize(
    "changes",
    [
        {"Host": None},
        {"Host": b""},
        {"Host": [b"room.example", b"room.example"]},
        {"Host": b"room.example/path"},
        {"Host": b"user@room.example"},
        {"Upgrade": None},
        {"Upgrade": b"h2c"},
        {"Upgrade": b"websockets"},
        {"Connection": None},
        {"Connection": b"keep-alive"},
        {"Sec_WebSocket_Version": [b"13", b"13"]},
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Key": b""},
        {"Sec_WebSocket_Key": b"c2hvcnQ="},
        {"Sec_WebSocket_Key": b"dGhlIHNhbXBsZSBub25jZSE="},
        {"Sec_WebSocket_Key": b"dGhlIHNhbXBsZSBub25jZQ"},
        {"Sec_WebSocket_Key": b"dGhlIHNhbXBsZSBub25jZ!=="},
        {"Sec_WebSocket_Key": b"\xff" * 24},
        {"Sec_WebSocket_Key": [KEY, KEY]},
        {"Content_Length": b"5"},
        {"Content_Length": b"junk"},
        {"Content_Length": [b"0", b"5"]},
        {"Transfer_Encoding": b"chunked"},
        {"Origin": [b"https://room.example", b"https://room.example"]},
        {"Sec_WebSocket_Protocol": b"graphql-ws"},
        {"Sec_WebSocket_Protocol": b"liveroom.v1.json, b\xc3\xa4d"},
        {"Sec_WebSocket_Protocol": b"liveroom.v1.json, two words"},
        {"Sec_WebSocket_Protocol": b"LIVEROOM.V1.JSON"},
    ],
    ids=str,
)
def test_handshake_refuses_what_is_malformed(
    changes: dict[str, bytes | list[bytes] | None],
) -> None:
    """All 400."""
    assert refusal(request(**changes)).status == 400


@pytest.mark.parametrize("version", [(0, 9), (1, 0)])
def test_handshake_refuses_old_http(version: tuple[int, int]) -> None:
    """Upgrade came with HTTP/1.1."""
    assert refusal(request(), version=version).status == 400


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get"])
def test_handshake_refuses_other_methods_and_names_the_right_one(method: str) -> None:
    """405 carries Allow (RFC 9110, 15.5.6)."""
    refused = refusal(request(), method=method)
    assert (refused.status, refused.headers) == (405, (("Allow", "GET"),))


@pytest.mark.parametrize("version", [None, b"8", b"14", b"013", b"13, 8", b"x"])
def test_handshake_names_its_version_to_other_versions(version: bytes | None) -> None:
    """426 with the version that is spoken (RFC 6455, 4.4)."""
    refused = refusal(request(Sec_WebSocket_Version=version))
    assert refused.status == 426
    assert ("Sec-WebSocket-Version", "13") in refused.headers
    assert ("Upgrade", "websocket") in refused.headers


def test_refusal_says_what_was_expected_and_what_came() -> None:
    """For whoever writes a client."""
    refused = refusal(request(Sec_WebSocket_Version=b"8"))
    assert str(refused) == "426: expected WebSocket version 13, came 8"


SHOP = HandshakePolicy(origins=("https://shop.example",))
DEFAULT = HandshakePolicy()


@pytest.mark.parametrize(
    ("policy", "origin", "host"),
    [
        (SHOP, b"https://shop.example", b"room.example"),
        (SHOP, None, b"room.example"),
        (HandshakePolicy(origins=("*",)), b"https://evil.example", b"room.example"),
        (HandshakePolicy(origins=("*",)), b"null", b"room.example"),
        (HandshakePolicy(origins=("null",)), b"null", b"room.example"),
        (DEFAULT, None, b"room.example"),
        (DEFAULT, b"https://room.example", b"room.example"),
        (DEFAULT, b"https://room.example", b"ROOM.example:443"),
        (DEFAULT, b"http://room.example", b"room.example:80"),
        (DEFAULT, b"http://localhost:8080", b"localhost:8080"),
        (DEFAULT, b"http://[::1]:8080", b"[::1]:8080"),
        (
            HandshakePolicy(origins=("same-host", "https://shop.example")),
            b"https://shop.example",
            b"room.example",
        ),
    ],
)
def test_handshake_takes_allowed_origins(
    policy: HandshakePolicy, origin: bytes | None, host: bytes
) -> None:
    """The list whole, `*`, same-host with default ports, and clients that are no browser."""
    assert accept(request(Origin=origin, Host=host), policy).response


@pytest.mark.parametrize(
    ("policy", "origin", "host"),
    [
        (SHOP, b"https://evil.example", b"room.example"),
        (SHOP, b"https://shop.example.evil.example", b"room.example"),
        (SHOP, b"https://evilshop.example", b"room.example"),
        (SHOP, b"http://shop.example", b"room.example"),
        (SHOP, b"https://shop.example:8443", b"room.example"),
        (SHOP, b"https://room.example", b"room.example"),
        (SHOP, b"null", b"room.example"),
        (SHOP, b"", b"room.example"),
        (DEFAULT, b"https://evil.example", b"room.example"),
        (DEFAULT, b"https://room.example:8443", b"room.example"),
        (DEFAULT, b"http://localhost:3000", b"localhost:8080"),
        (DEFAULT, b"https://room.example", b"room.example:80"),
        (DEFAULT, b"https://room.example/", b"room.example"),
        (DEFAULT, b"https://user@room.example", b"room.example"),
        (DEFAULT, b"ftp://room.example", b"room.example"),
        (DEFAULT, b"null", b"null"),
        (DEFAULT, b"same-host", b"room.example"),
        (DEFAULT, b"https://[room", b"room.example"),
        (DEFAULT, b"https://room.example:99999", b"room.example:99999"),
        (DEFAULT, b"https://r\xf6\xf6m.example", b"room.example"),
        (HandshakePolicy(origin_required=True), None, b"room.example"),
    ],
)
def test_handshake_refuses_foreign_origins(
    policy: HandshakePolicy, origin: bytes | None, host: bytes
) -> None:
    """Compared whole: no prefix, suffix, scheme or port will do instead."""
    assert refusal(request(Origin=origin, Host=host), policy).status == 403


@pytest.mark.parametrize(
    "origin", ["https://Shop.example", "https://shop.example/", "shop.example"]
)
def test_policy_refuses_an_origin_that_no_browser_sends(origin: str) -> None:
    """It would refuse every viewer without a word."""
    with pytest.raises(ConfigError, match="origins"):
        HandshakePolicy(origins=(origin,))


@pytest.mark.parametrize(
    ("offered", "chosen", "answered"),
    [
        (b"liveroom.v1.json", JSON, True),
        (b"liveroom.v1.msgpack", MSGPACK, True),
        (b"liveroom.v1.json, liveroom.v1.msgpack", JSON, True),
        (b"graphql-ws,liveroom.v1.msgpack", MSGPACK, True),
        ([b"graphql-ws", b"liveroom.v1.msgpack"], MSGPACK, True),
        (b", liveroom.v1.json ,,", JSON, True),
        (b"", JSON, False),
        (None, JSON, False),
    ],
)
def test_handshake_chooses_the_first_known_subprotocol(
    offered: bytes | list[bytes] | None, chosen: str, answered: bool
) -> None:
    """The client's order wins; one that was not offered is never named."""
    accepted = accept(request(Sec_WebSocket_Protocol=offered))
    assert accepted.subprotocol == chosen
    assert (f"Sec-WebSocket-Protocol: {chosen}\r\n".encode() in accepted.response) is answered


@pytest.mark.parametrize(
    "offer",
    [
        b"permessage-deflate",
        b"permessage-deflate; client_max_window_bits",
        b"permessage-deflate; client_max_window_bits=8",
        b'permessage-deflate; client_max_window_bits="10"',
        b"permessage-deflate ;\tserver_no_context_takeover;client_no_context_takeover",
        b"permessage-deflate; server_max_window_bits = 15",
        b"permessage-deflate; server_max_window_bits=10, permessage-deflate",
        [b"permessage-deflate; server_max_window_bits=10", b"permessage-deflate"],
        b"x-webkit-deflate-frame; a=b, permessage-deflate",
        b",, permessage-deflate",
    ],
)
def test_handshake_takes_deflate(offer: bytes | list[bytes]) -> None:
    """The first offer that can be kept (RFC 7692, 5.1)."""
    accepted = accept(request(Sec_WebSocket_Extensions=offer))
    assert accepted.deflate
    assert b"server_no_context_takeover; client_no_context_takeover" in accepted.response


@pytest.mark.parametrize(
    "offer",
    [
        None,
        b"",
        b"x-webkit-deflate-frame",
        b"Permessage-Deflate",
        # Valid grammar, an offer that cannot be kept.
        b"permessage-deflate; server_max_window_bits",
        b"permessage-deflate; server_max_window_bits=14",
        b"permessage-deflate; server_max_window_bits=99",
        b"permessage-deflate; server_max_window_bits=015",
        b"permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
        b"permessage-deflate; client_max_window_bits=16",
        b"permessage-deflate; client_max_window_bits=7",
        b"permessage-deflate; client_max_window_bits=08",
        b"permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        b"permessage-deflate; server_no_context_takeover=1",
        b"permessage-deflate; client_no_context_takeover=true",
        b"permessage-deflate; mystery",
        # Not the grammar.
        b"permessage-deflate;",
        b"permessage-deflate; =15",
        b"permessage-deflate; client_max_window_bits=",
        b'permessage-deflate; client_max_window_bits="15',
        b'permessage-deflate; client_max_window_bits=""',
        b"permessage-deflate=1",
        b"permessage-deflate, ;",
        b"permessage-deflate; cl\xc3\xafent",
        b"permessage-deflate; a b",
        b"permessage-deflate\x00",
        b"permessage-deflate; x=" + b"a" * 8000 + b"\xff",
    ],
    ids=repr,
)
def test_handshake_declines_deflate_but_lives(offer: bytes | None) -> None:
    """Plain frames serve every client, so a bad offer costs the extension alone."""
    accepted = accept(request(Sec_WebSocket_Extensions=offer))
    assert not accepted.deflate
    assert b"Extensions" not in accepted.response


def test_handshake_names_the_window_that_was_asked_for() -> None:
    """An accepted server_max_window_bits must be answered (RFC 7692, 7.1.2.1)."""
    offer = b"permessage-deflate; server_max_window_bits=15"
    assert (
        b"; server_max_window_bits=15\r\n"
        in accept(request(Sec_WebSocket_Extensions=offer)).response
    )


def test_handshake_declines_deflate_when_it_is_off() -> None:
    """The operator's choice."""
    policy = HandshakePolicy(deflate=False)
    assert not accept(request(Sec_WebSocket_Extensions=b"permessage-deflate"), policy).deflate


NAMES = [name for name, _ in request()] + [
    b"Origin",
    b"Sec-WebSocket-Protocol",
    b"Sec-WebSocket-Extensions",
    b"Content-Length",
]
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([value for _, value in request()]),
    st.text(alphabet='permssag-dfl;=," 15\t*', max_size=40).map(str.encode),
)


def outcome(headers: Headers, policy: HandshakePolicy) -> tuple[int, list[str]]:
    """The status, and the header lines of a 101."""
    try:
        response = accept(headers, policy).response
    except HandshakeRefused as refused:
        return refused.status, []
    head, *lines = response.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    return int(head.split()[1]), lines


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4),
    st.sampled_from([HandshakePolicy(), SHOP, HandshakePolicy(origins=("*", "same-host"))]),
)
def test_handshake_answers_or_refuses_whatever_comes(
    extra: list[tuple[bytes, bytes]], policy: HandshakePolicy
) -> None:
    """Any bytes in any field: a 101 of known lines or a 4xx, never another exception."""
    replaced = {name for name, _ in extra}
    headers = [pair for pair in request() if pair[0] not in replaced] + extra
    status, lines = outcome(headers, policy)
    assert status in (101, 400, 403, 426)
    assert {line.partition(": ")[0] for line in lines} <= {
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
    }
