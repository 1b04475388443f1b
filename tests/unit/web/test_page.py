"""The shipped files and the headers that keep the pages safe."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator, Iterable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from liveroom.web.page import HEADERS, ops_page_routes, page_routes, policy, static_files


Client = TestClient[web.Request, web.Application]

FILES = static_files()
ASSETS = [f"/static/{name}" for name in FILES if "/" not in name and not name.endswith(".html")]
VIEWER_PAGES = ["/", "/host"]
SDK = "/sdk/liveroom.js"
PATHS = [*VIEWER_PAGES, SDK, *ASSETS]
IMMUTABLE = "public, max-age=31536000, immutable"


async def _client(routes: Iterable[web.AbstractRouteDef]) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_routes(routes)
    plain = {"Accept-Encoding": "identity"}
    async with TestClient(TestServer(app), auto_decompress=False, headers=plain) as client:
        yield client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """What the viewers' listener serves."""
    async for client in _client(page_routes()):
        yield client


@pytest.fixture
async def ops() -> AsyncIterator[Client]:
    """What the ops listener serves of the pages."""
    async for client in _client(ops_page_routes()):
        yield client


@pytest.mark.parametrize("path", PATHS)
async def test_page_files_are_served_with_safe_headers(client: Client, path: str) -> None:
    """Every file has its type and the policy, and nothing may be sniffed or framed."""
    response = await client.get(path)

    assert response.status == 200
    assert HEADERS.items() <= dict(response.headers).items()
    rules = response.headers["Content-Security-Policy"].split("; ")
    assert not any("unsafe" in rule or "*" in rule for rule in rules)
    assert {
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'",
        "require-trusted-types-for 'script'", "trusted-types 'none'",
    } <= set(rules)  # fmt: skip
    expected = {"js": "text/javascript", "css": "text/css", "md": "text/plain"}
    kind = expected.get(path.rpartition(".")[2], "text/html")
    assert response.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert await response.read()


@pytest.mark.parametrize("path", PATHS)
async def test_page_files_are_revalidated_by_etag(client: Client, path: str) -> None:
    """A browser that has the file gets 304 and no body; another tag gets the file."""
    tag = (await client.get(path)).headers["ETag"]

    same = await client.get(path, headers={"If-None-Match": f'"other", {tag}'})
    other = await client.get(path, headers={"If-None-Match": '"other"'})
    head = await client.head(path)

    assert (same.status, await same.read()) == (304, b"")
    assert same.headers["ETag"] == tag
    assert HEADERS.items() <= dict(same.headers).items()
    assert other.status == 200
    assert (head.status, head.headers["ETag"]) == (200, tag)


@pytest.mark.parametrize("path", PATHS)
async def test_page_only_what_has_a_hash_in_its_name_is_kept(client: Client, path: str) -> None:
    """Pages and the SDK are asked about each time, so that a new version is seen at once."""
    response = await client.get(path)

    hashed = re.search(r"-[\w-]{8}\.(js|css|svg|woff2)$", path)
    assert response.headers["Cache-Control"] == (IMMUTABLE if hashed else "no-cache")


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip, deflate, br", True), ("*", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False),
        ("gzip; q=0.00", False), ("identity", False), ("", False), ("x-gzip2", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [SDK, *ASSETS[:3]])
async def test_page_files_are_packed_for_who_takes_it(
    client: Client, path: str, accepted: str, packed: bool
) -> None:
    """The packed body is the same file under a tag of its own; caches are told what it hangs on."""
    plain = await client.get(path)
    response = await client.get(path, headers={"Accept-Encoding": accepted})
    body = await response.read()

    assert response.headers.get("Content-Encoding") == ("gzip" if packed else None)
    assert response.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert (gzip.decompress(body) if packed else body) == await plain.read()
    assert (response.headers["ETag"] == plain.headers["ETag"]) is not packed
    known = {"Accept-Encoding": accepted, "If-None-Match": plain.headers["ETag"]}
    assert (await client.get(path, headers=known)).status == 304


async def test_page_sdk_may_be_imported_by_any_page(client: Client) -> None:
    """The SDK alone is open to other origins."""
    for path in PATHS:
        allowed = (await client.get(path)).headers.get("Access-Control-Allow-Origin")
        assert allowed == ("*" if path == SDK else None), path


@pytest.mark.parametrize(
    "path",
    [
        "/static/", "/static/../page.py", "/static/%2e%2e/page.py", "/static/nothing.js",
        "/static/viewer.html", "/static/sdk/liveroom.js", "/sdk/", "/sdk/../page.py", "/host/x",
    ],
)  # fmt: skip
async def test_page_serves_nothing_else(client: Client, path: str) -> None:
    """Only the shipped files are reachable, each at its one address."""
    assert (await client.get(path)).status == 404


async def test_page_of_operations_is_for_the_ops_listener_alone(
    client: Client, ops: Client
) -> None:
    """Each listener has its own page at `/`."""
    assert "operations" in await (await ops.get("/")).text()
    assert "operations" not in await (await client.get("/")).text()
    assert (await ops.get("/host")).status == 404
    assert (await ops.get(ASSETS[0])).status == 200


@pytest.mark.parametrize("host", ["live.example", "10.0.0.1:8080", "[::1]:8080", "a.b-c.test:1"])
def test_page_policy_names_the_hosts_own_sockets(host: str) -> None:
    """For browsers whose 'self' does not cover WebSockets."""
    assert f"connect-src 'self' ws://{host} wss://{host};" in policy(host)


@pytest.mark.parametrize(
    "host", ["", "*", "a; script-src *", "a b", "a\r\nx: y", "a:port", "[::1", "a,b", "ü.test"]
)
def test_page_policy_takes_no_other_text_from_the_request(host: str) -> None:
    """A host that is none adds nothing."""
    assert "connect-src 'self'; " in policy(host)
