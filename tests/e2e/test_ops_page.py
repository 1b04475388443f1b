"""The operations page in a real browser, on a running engine."""

from __future__ import annotations

import os
import re
import signal

import pytest

import harness
from e2e.browser import PHONE, OpenPage, Serve, Tab, axe


pytestmark = pytest.mark.timeout(120)


def _value(figure: str) -> str:
    return f"[data-figure={figure}] .value"


async def _join(url: str, user: str) -> harness.Client:
    client = await harness.Client.open(url.replace("http", "ws") + "/ws")
    client.hello = await client.ask("hello", room="demo", token=f"guest:{user}")
    return client


async def _tap(client: harness.Client, tab: Tab, figure: str) -> None:
    """Tap until the page shows that something happens."""
    from playwright.async_api import expect

    moving = re.compile(r"^[\d.,]*[1-9][\d.,]* ?(/s|ms|s)$")
    shown = tab.page.locator(_value(figure))
    for _ in range(40):
        await client.command("like.send")
        if moving.match(await shown.inner_text()):
            return
        await tab.page.wait_for_timeout(100)
    await expect(shown).to_have_text(moving)


async def test_ops_page_shows_workers_rooms_and_what_moves(
    serve: Serve, open_page: OpenPage
) -> None:
    """Figures follow the engine second by second; the console and axe have nothing to say."""
    engine = await serve("--workers", "2", "--data", "data")
    tab = await open_page(engine.ops, locale="en-US")
    await tab.shows("[data-chip=state]", "Ready")
    await tab.shows("[data-chip=durability]", "Durability fsync")
    await tab.has("[data-worker]", 2)
    await tab.shows("[data-worker='0'] td:first-of-type", "Ready")
    await tab.shows(_value("rooms"), re.compile("[1-9]"))
    await tab.shows(_value("memory"), re.compile(r"[1-9].* [KM]B"))

    viewers = [await _join(engine.http, f"v{n}") for n in range(3)]
    await tab.shows(_value("viewers"), "3")
    for figure in ("commands", "deliveries", "commit50", "commit99", "beat"):
        await _tap(viewers[0], tab, figure)
    await tab.shows(_value("queue"), "0 B")
    await tab.shows(_value("errors"), "0/s")
    await tab.says("[data-figure=viewers] path", "d", re.compile(r"^M[\d. ]+(L[\d. ]+){2,}$"))
    for viewer in viewers:
        await viewer.close()
    await tab.shows(_value("viewers"), "0")

    assert tab.faults == []
    assert await axe(tab.page) == []


async def test_ops_page_tells_a_restart_and_the_end(serve: Serve, open_page: OpenPage) -> None:
    """A worker that died is counted; an engine that has gone is said, not shown as it was."""
    engine = await serve("--workers", "2", "--data", "data")
    tab = await open_page(engine.ops, locale="en-US")
    await tab.shows("[data-worker='1'] td:last-of-type", "0")

    os.kill(engine.worker_pids()[1], signal.SIGKILL)
    await tab.shows("[data-worker='1'] td:last-of-type", "1 !")
    await tab.shows("[data-worker='1'] td:first-of-type", "Ready")

    await engine.end()
    await tab.shows("[data-chip=state]", re.compile("^No answer since"))


async def test_ops_page_on_a_phone_in_chinese_and_dark(serve: Serve, open_page: OpenPage) -> None:
    """Nothing is wider than the screen; the texts and the colours follow the browser."""
    engine = await serve("--data", "data")
    tab = await open_page(engine.ops, locale="zh-CN", color_scheme="dark", **PHONE)
    await tab.shows("[data-chip=state]", "就绪")
    await tab.shows("h1", "liveroom · 运行状态")
    await tab.shows(_value("rooms"), "1")

    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await tab.page.evaluate(wide)
    assert tab.faults == []
    assert await axe(tab.page) == []
