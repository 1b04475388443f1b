"""A real browser for the tests of the pages: the machine's own, driven by Playwright.

`browser`, `open_page`, `open_tab` and `serve` are fixtures (tests/e2e/conftest.py hands them out); a machine
without a browser or without Playwright skips the tests that ask for them, and says what to install.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

import harness


if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

__all__ = ["PATIENCE_MS", "PHONE", "OpenPage", "OpenTab", "Serve", "Served", "Tab", "axe"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 10_000
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
"""Options of a tab on a phone."""

AXE = Path(__file__).parents[2] / "clients" / "node_modules" / "axe-core" / "axe.min.js"
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

OpenPage = Callable[..., Awaitable["Tab"]]
OpenTab = Callable[..., Awaitable["Tab"]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """One browser; what a test opens in it ends with the test."""
    pytest.importorskip("playwright", reason="needs playwright: pip install 'liveroom[dev]'")
    from playwright.async_api import async_playwright, expect

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("needs a browser on PATH: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        await browser.close()


class Tab:
    """One tab, and what its console said."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        """Errors of scripts and of the console (a breach of the content policy is one), in order."""
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    async def shows(self, where: str, text: Any) -> None:
        """Wait until an element's whole text is this (a string or a pattern)."""
        from playwright.async_api import expect

        await expect(self.page.locator(where)).to_have_text(text)

    async def has(self, where: str, count: int = 1) -> None:
        """Wait until so many elements are there."""
        from playwright.async_api import expect

        await expect(self.page.locator(where)).to_have_count(count)

    async def card(self, name: str) -> Locator:
        """Return the first card of that name (or that begins so) on a viewer's page, opened."""
        found = self.page.locator(f"[data-card^='{name}']").first
        toggle = found.locator(".card-toggle")
        await toggle.wait_for()
        await self.painted()  # a new card opens by itself
        if await toggle.get_attribute("aria-expanded") == "false":
            await toggle.click()
        return found

    async def painted(self) -> None:
        """Wait until what was asked for is drawn, and what follows from it."""
        await self.page.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    async def says(self, where: str, name: str, value: Any) -> None:
        """Wait until an element's attribute is this (a string or a pattern)."""
        from playwright.async_api import expect

        await expect(self.page.locator(where)).to_have_attribute(name, value)


@pytest.fixture
async def open_page(browser: Browser) -> OpenPage:
    """`await open_page(url, locale="zh-CN", color_scheme="dark", **PHONE)`: its own context."""

    async def open_one(url: str, **options: Any) -> Tab:
        context = await browser.new_context(**options)
        tab = Tab(await context.new_page())
        await tab.page.goto(url)
        return tab

    return open_one


@pytest.fixture
async def open_tab(open_page: OpenPage, worker: harness.Worker, room: str) -> OpenTab:
    """`await open_tab("ann", path="/host", fragment="#token=…", **options)`: a page of the room."""

    async def open_one(
        name: str = "", *, path: str = "/", fragment: str = "", **options: Any
    ) -> Tab:
        query = f"room={room}&name={name}" if name else f"room={room}"
        return await open_page(f"{worker.http}{path}?{query}{fragment}", **options)

    return open_one


class Served:
    """One `liveroom serve` in processes of its own."""

    def __init__(self, process: asyncio.subprocess.Process, said: str, log: Path) -> None:
        self.process = process
        self.log = log
        found = re.match(r"liveroom is ready: (\S+)/ \(room demo\) · ops (\S+)/\n", said)
        assert found, said
        self.http, self.ops = found[1], found[2]
        self.host_url = said.partition("host console: ")[2].strip()
        """The console's address with a host's token of the room `demo`."""

    def worker_pids(self) -> dict[int, int]:
        """Return the newest process id of each worker."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return {row["worker"]: row["pid"] for row in lines if row["event"] == "worker ready"}

    async def whole(self, workers: int) -> None:
        """Wait until so many workers are ready."""
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{self.ops}/status") as response:
                    rows = (await response.json())["workers"]
                if sum(row["ready"] for row in rows) == workers:
                    return
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        """Have it stop, if it runs, and wait."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        await self.process.wait()


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """`await serve("--workers", "2")`: an engine with the demo room, guests and a data directory."""
    running: list[Served] = []

    async def begin(*args: str, **env: str) -> Served:
        log = tmp_path / f"engine-{len(running)}.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LIVEROOM_")}
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "liveroom", "serve", "--dev", "--demo", "--port", "0",
                "--ops-port", "0", "--log-format", "json", "--drain-s", "1", *args,
                stdout=asyncio.subprocess.PIPE, stderr=stderr, env=clean | env, cwd=tmp_path,
            )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(30):
            lines = [await process.stdout.readline() for _ in range(2)]
        running.append(Served(process, b"".join(lines).decode(), log))
        return running[-1]

    yield begin
    for engine in running:
        await engine.end()


async def axe(page: Page, *, without: tuple[str, ...] = ()) -> list[str]:
    """Return what axe-core finds wrong in the page as it is now, one line for each element.

    Skips the rest of the test where axe-core is not installed (`make assets` installs it), so ask
    last.

    Args:
        page: is not left or loaded anew meanwhile.
        without: selectors of what is not looked at.
    """
    if not AXE.exists():
        pytest.skip("needs axe-core: make assets")
    # Through the debugger: the page's own policy would allow neither the script nor `eval`.
    session = await page.context.new_cdp_session(page)
    source = AXE.read_text(encoding="utf-8")
    await session.send("Runtime.evaluate", {"expression": source, "silent": True})
    await session.detach()
    found = await page.evaluate(
        "([exclude, rules]) => axe.run({ exclude }, { runOnly: rules, resultTypes: ['violations'] })",
        [[[selector] for selector in without], AXE_RULES],
    )
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:160]}: {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
