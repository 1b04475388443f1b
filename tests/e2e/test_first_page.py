"""The first page in a real browser: two tabs talk, like and give, and text stays text."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import harness
from liveroom.connection import Connection
from liveroom.protocol.items import event_item


pytest.importorskip("playwright", reason="needs playwright: pip install 'liveroom[e2e]'")

from playwright.async_api import Browser, Page, async_playwright, expect  # after the skip


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
XSS = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

pytestmark = pytest.mark.timeout(120)
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("needs a browser on PATH: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        await browser.close()


class Tab:
    """One tab in the room, and what its console said."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    async def live(self) -> None:
        """Wait until the tab is in the room."""
        await expect(self.page.locator("#link")).to_have_attribute("data-state", "live")

    async def talk(self, text: str) -> None:
        """Type a message and press Enter."""
        await self.page.locator("#text").fill(text)
        await self.page.keyboard.press("Enter")

    async def sees(self, text: str | re.Pattern[str]) -> None:
        """Wait for one line in the list."""
        await expect(self.page.locator("#log li").filter(has_text=text)).to_have_count(1)

    async def shows(self, where: str, text: str) -> None:
        """Wait for an element's text."""
        await expect(self.page.locator(where)).to_have_text(text)


OpenTab = Callable[..., Any]


@pytest.fixture
async def open_tab(browser: Browser, worker: harness.Worker, room: str) -> OpenTab:
    """`await open_tab("ann", locale="zh-CN", fragment="#token=…")`."""

    async def open_one(name: str, fragment: str = "", **options: Any) -> Tab:
        context = await browser.new_context(**options)
        tab = Tab(await context.new_page())
        query = f"room={room}&name={name}" if name else f"room={room}"
        await tab.page.goto(f"{worker.http}/?{query}{fragment}")
        return tab

    return open_one


async def test_page_two_tabs_talk_like_and_give(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """What one tab does, both see; the console stays clean (the policy blocked nothing)."""
    await worker.open_room(room, title="Evening show")
    ann, bob = await open_tab("ann", locale="en-US"), await open_tab("bob", locale="en-US")
    both = (ann, bob)
    for tab in both:
        await tab.live()
        await tab.shows("#title", "Evening show")
        await tab.shows("#online", "2")

    await ann.talk("hello from ann")
    await bob.talk(XSS)
    for tab in both:
        await tab.sees("hello from ann")
        await tab.sees(XSS)

    for _ in range(3):
        await ann.page.locator("#like").click()
    for tab in both:
        await tab.shows("#likes", "3")

    await bob.shows("#balance", "1,000.00")
    await bob.page.locator("[data-gift=rose]").click()
    await bob.shows("#balance", "999.00")
    for tab in both:
        await tab.sees(re.compile(r"bob\s*sent.*Rose.*×1"))

    for tab in both:
        assert await tab.page.locator("#log img, #log script, #flying img").count() == 0
        assert await tab.page.title() == "Evening show"
        assert tab.faults == []


async def test_page_speaks_chinese_and_takes_a_token(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """The browser's language is used; the token leaves the address bar and survives a reload."""
    await worker.open_room(room)
    token = worker.token(room, "viewer", "lan", name="小兰")

    tab = await open_tab("", f"#token={token}", locale="zh-CN", color_scheme="dark")
    await tab.live()
    await tab.shows("#link", "已连接")
    assert "token" not in tab.page.url
    await tab.page.reload()
    await tab.live()
    await tab.talk("大家好")

    await tab.sees(re.compile("小兰.*大家好"))


def _connections(worker: harness.Worker, name: str) -> list[Connection]:
    connections = worker.node.front.connections
    return [c for c in connections if any(claims.name == name for claims in c.all_claims())]


async def test_page_comes_back_and_goes_on(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """A tab whose connection was cut sees what it missed, once, and a gift given meanwhile."""
    await worker.open_room(room)
    buyer = await worker.join(room, "buyer")
    await buyer.ask("wallet.get")
    tab = await open_tab("小王", locale="en-US")
    await tab.live()
    (first,) = _connections(worker, "小王")
    await buyer.ask("gift.send", key=f"{room}-1", gift="rose", combo=False)
    await tab.sees("Rose")

    first.close("restart")
    await buyer.ask("gift.send", key=f"{room}-2", gift="heart", combo=False)

    await tab.sees("Heart")
    await tab.sees("Rose")
    await tab.live()
    (second,) = _connections(worker, "小王")
    assert second is not first
    (now,), (before,) = second.all_claims(), first.all_claims()
    assert now.user == before.user


async def test_page_moves_when_the_worker_leaves_and_a_gift_is_paid_once(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """`sys.reconnect` is followed; a gift given while the connection is down is sent after it."""
    await worker.open_room(room)
    tab = await open_tab("mover", locale="en-US")
    await tab.live()
    await tab.shows("#balance", "1,000.00")
    (first,) = _connections(worker, "mover")

    async with tab.page.expect_event("websocket"):
        first.tell(event_item("sys.reconnect", {"after_ms": 0, "spread_ms": 50}))
    await tab.live()
    await tab.page.context.set_offline(True)
    for connection in _connections(worker, "mover"):
        connection.abort()
    await expect(tab.page.locator("#link")).not_to_have_attribute("data-state", "live")
    await tab.page.locator("[data-gift=rose]").click()
    await tab.page.context.set_offline(False)

    await tab.live()
    await tab.sees(re.compile(r"mover\s*sent.*×1"))
    await tab.shows("#balance", "999.00")


async def test_page_stays_away_when_told_so(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """A room that does not exist is said in words, and not asked for again and again."""
    tab = await open_tab("ann", locale="en-US")

    await expect(tab.page.locator("#link")).to_have_attribute("data-state", "ended")
    await tab.shows("#link", "There is no such room")


async def test_page_works_by_keyboard(worker: harness.Worker, open_tab: OpenTab, room: str) -> None:
    """Every control is reached with Tab and works with Enter."""
    await worker.open_room(room)
    tab = await open_tab("keys", locale="en-US")
    await tab.live()
    keyboard = tab.page.keyboard

    reached = []
    for _ in range(7):
        await keyboard.press("Tab")
        focused = "document.activeElement.id || document.activeElement.dataset.gift"
        reached.append(await tab.page.evaluate(focused))
        if reached[-1] in ("like", "heart"):
            await keyboard.press("Enter")

    assert reached[:6] == ["like", "rose", "heart", "rocket", "log", "text"]
    await tab.shows("#likes", "1")
    await tab.shows("#balance", "990.10")
