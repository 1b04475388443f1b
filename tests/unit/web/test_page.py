"""The page's files and the headers that keep it safe."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from liveroom.web.page import HEADERS, page_routes


PATHS = {
    "/": "text/html; charset=utf-8",
    "/static/app.js": "text/javascript; charset=utf-8",
    "/static/style.css": "text/css; charset=utf-8",
}

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_routes(page_routes(cast("Any", None)))
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(("path", "content_type"), PATHS.items())
async def test_page_files_are_served_with_safe_headers(
    client: Client, path: str, content_type: str
) -> None:
    """Every file has its type and the policy, and nothing may be sniffed or framed."""
    response = await client.get(path)

    assert response.status == 200
    assert response.headers["Content-Type"] == content_type
    assert HEADERS.items() <= dict(response.headers).items()
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert len(await response.read()) > 500


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


@pytest.mark.parametrize("path", ["/static/", "/static/../page.py", "/static/nothing.js"])
async def test_page_serves_nothing_else(client: Client, path: str) -> None:
    """Only the named files are reachable."""
    assert (await client.get(path)).status == 404


async def test_page_has_no_inline_script_or_style(client: Client) -> None:
    """The policy would block them; so there are none."""
    html = await (await client.get("/")).text()

    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\bstyle=|\bon\w+=|javascript:", html)


async def test_page_refers_only_to_files_that_are_served(client: Client) -> None:
    """Every address in the page is answered, from the same origin."""
    html = await (await client.get("/")).text()
    addresses = re.findall(r'(?:src|href)="([^"#]+)"', html)

    assert set(addresses) - {"data:,"} == set(PATHS) - {"/"}


async def test_page_script_writes_text_only(client: Client) -> None:
    """No way from a string to markup or code is used."""
    script = await (await client.get("/static/app.js")).text()

    risky = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc"
    assert not re.search(risky, script)


async def test_page_script_finds_the_elements_it_asks_for(client: Client) -> None:
    """Every id that the script names is in the page."""
    html = await (await client.get("/")).text()
    script = await (await client.get("/static/app.js")).text()

    wanted = set(re.findall(r'\$\("([\w-]+)"\)', script))
    assert len(wanted) >= 8
    assert wanted <= set(re.findall(r'\bid="([\w-]+)"', html))
