"""The host console in a real browser: a show is opened, run, moderated and looked back at."""

from __future__ import annotations

import re
import time
from typing import Any, Final

import pytest

import harness
from e2e.browser import PHONE, OpenPage, Tab, axe
from liveroom.auth.tokens import mint
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.moderation import Moderation


pytest.importorskip("playwright", reason="needs playwright: pip install 'liveroom[dev]'")

from playwright.async_api import Locator, expect  # after the skip


HELD: Final = "加微信 vx abc1 领福利"
"""What the shipped pack of contacts holds back."""
XSS: Final = "<img src=x onerror=\"document.title='owned'\">"
LIP: Final[dict[str, Any]] = {
    "item": "lip",
    "title": "Lipstick",
    "currency": "CNY",
    "skus": [{"sku": "lip-red", "title": "Red", "price": 9900, "stock": 500}],
}
BAG: Final[dict[str, Any]] = {
    "item": "bag",
    "title": "Bag",
    "currency": "CNY",
    "skus": [{"sku": "bag-one", "price": 25900}],
}

pytestmark = pytest.mark.timeout(60)


class Console:
    """The console of one person."""

    def __init__(self, tab: Tab) -> None:
        self.page = tab.page
        self.faults = tab.faults
        self.shows = tab.shows
        self.has = tab.has

    def button(self, name: str | re.Pattern[str], within: str = "body") -> Locator:
        """Return a button by what it is called."""
        exact = isinstance(name, str)
        return self.page.locator(within).get_by_role("button", name=name, exact=exact)

    async def press(self, name: str | re.Pattern[str], within: str = "body") -> None:
        """Press a button."""
        await self.button(name, within).click()

    async def fill(self, **fields: str) -> None:
        """Fill in the dialog that is open, by the fields' names."""
        for name, text in fields.items():
            await self.page.locator(f"[name={name}]").fill(text)

    async def told(self, text: str | re.Pattern[str]) -> None:
        """Wait for a message at the screen's edge."""
        await expect(self.page.locator(".toast").filter(has_text=text)).to_be_visible()

    async def look_at(self, tab: str) -> None:
        """Choose a tab."""
        await self.page.get_by_role("tab", name=re.compile(f"^{tab}")).click()


@pytest.fixture
async def worker(store_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """A worker with the plugins that the console knows of."""
    return await start_worker(store_url, plugins=[Moderation(), Coupons()])


async def console(
    open_page: OpenPage, worker: harness.Worker, room: str, role: str = "host", **options: Any
) -> Console:
    """Open the console as somebody of a role, whose id is the role's name."""
    options = {"locale": "en-US", "viewport": {"width": 1440, "height": 900}} | options
    token = worker.token(room, role, role, name=role.title())
    tab = await open_page(f"{worker.http}/host?room={room}#token={token}", **options)
    await tab.says(".link", "data-state", "live")
    return Console(tab)


async def shop(worker: harness.Worker, room: str) -> harness.Client:
    """Open the room with two items on its shelf; return another host of it."""
    host = await worker.open_control(room, "mei")
    await host.ask("room.open", title="Evening")
    await host.ask("shelf.put", **LIP)
    await host.ask("shelf.put", **BAG)
    return host


async def test_console_goes_live_and_runs_a_poll(
    worker: harness.Worker, open_page: OpenPage, room: str
) -> None:
    """The room is opened by the form; a double click makes one poll, whose votes are seen."""
    desk = await console(open_page, worker, room)
    await desk.fill(title=XSS)
    await desk.press("Go live")
    await desk.shows(".top h1", XSS)

    await desk.press("Poll", ".starters")
    await desk.fill(title="Which?", options="Red\nBlue")
    await desk.button("Start", "dialog").dblclick()
    card = desk.page.locator("[data-activity=poll]")
    await expect(card).to_have_count(1)
    viewer = await worker.join(room, "ann")
    (poll,) = [i["st"] for i in viewer.hello["states"] if i["st"].startswith("poll:")]
    await viewer.ask("poll.vote", poll=poll.removeprefix("poll:"), options=[1])
    await expect(card.locator(".bars li").nth(1)).to_contain_text("1")
    await desk.press("Close", "[data-activity=poll]")

    await expect(card.locator(".state")).to_have_text("closed")
    await desk.look_at("Records")
    row = desk.page.locator("tbody tr").filter(has_text="poll.open")
    await expect(row).to_contain_text("host")
    await expect(row).to_have_count(1)
    assert await desk.page.locator("img").count() == 0
    assert desk.faults == []


async def test_console_sells_what_was_confirmed(
    worker: harness.Worker, open_page: OpenPage, room: str
) -> None:
    """An item is explained and not any more; no sale begins before its amounts were confirmed."""
    host = await shop(worker, room)
    desk = await console(open_page, worker, room)
    await desk.press("Explain", "[data-item=bag]")
    await desk.has("[data-item=bag] .chip.now")
    await host.state("shelf", lambda d: d["pinned"] == "bag")
    await desk.press("Undo", ".toast")
    await desk.press("Move Bag up")
    await host.state("shelf", lambda d: d == {"items": ["bag", "lip"], "pinned": None})
    stock = desk.page.get_by_label("Stock of Lipstick · Red")
    await stock.fill("440")
    await stock.press("Enter")
    await host.state("item:lip", lambda d: d["skus"][0]["stock"] == 440)

    await desk.press("Flash sale: Lipstick · Red")
    await desk.fill(price="49", total="60")
    await desk.press("Arm", "dialog")
    card = desk.page.locator("[data-activity=flash]")
    await expect(card.locator(".state")).to_have_text("armed")
    await desk.press("Start now", "[data-activity=flash]")
    facts = desk.page.locator("dialog .facts")
    await expect(facts).to_contain_text("Lipstick · Red for ¥49.00")
    await expect(facts).to_contain_text("60 units, at most 1")
    await expect(facts).to_contain_text("¥2,940.00")
    await desk.page.keyboard.press("Escape")
    await expect(card.locator(".state")).to_have_text("armed")
    await desk.press("Start now", "[data-activity=flash]")
    await desk.press("Start", "dialog")
    await host.state("stock:lip-red", lambda d: d["status"] == "running")
    viewer = await worker.join(room, "ann")
    await viewer.ask("flash.reserve", key=f"{room}-1", sku="lip-red")
    await expect(card.locator(".figures")).to_contain_text("Held1")
    await desk.press("Stop", "[data-activity=flash]")
    await expect(facts).to_contain_text("0 units are sold, 1 are held")
    await desk.press("Stop", "dialog")

    await expect(card.locator(".state")).to_have_text("over")
    assert desk.faults == []


async def test_console_moderates(worker: harness.Worker, open_page: OpenPage, room: str) -> None:
    """A approves, R rejects; who is muted may speak again; a deletion waits for second thoughts."""
    await shop(worker, room)
    ann, bob = await worker.join(room, "ann"), await worker.join(room, "bob")
    desk = await console(open_page, worker, room, "moderator")
    lines = desk.page.locator(".line")
    assert await ann.refused("danmaku.send", text=HELD) == "rejected"
    assert await bob.refused("danmaku.send", text=f"{HELD}!") == "rejected"
    await desk.look_at("Held")
    await desk.has("[data-held]", 2)
    await desk.page.locator("[data-held]").first.focus()
    await desk.page.keyboard.press("a")
    await desk.has("[data-held]", 1)
    await desk.page.locator("[data-held]").focus()
    await desk.page.keyboard.press("r")
    await desk.has("[data-held]", 0)
    await expect(lines).to_have_count(1)
    await expect(lines).to_contain_text(HELD)

    await desk.press("Actions for ann")
    await desk.press("Mute 10 min")
    await desk.told("ann is muted")
    assert await ann.refused("danmaku.send", text="hello") == "muted"
    await desk.press("Undo", ".toast")
    await ann.event("mod.unmuted")

    await desk.press("Actions for ann")
    await desk.press("Delete")
    await expect(lines).to_have_class(re.compile("going"))
    await desk.press("Undo", ".toast")
    await expect(lines).not_to_have_class(re.compile("going"))
    await desk.press("Actions for ann")
    await desk.press("Delete")
    await desk.press("Now", ".toast")
    await bob.event("danmaku.deleted", by="moderator")
    await expect(lines).to_contain_text("deleted")

    await desk.press("Actions for ann")
    await desk.press("Ban", ".line-actions")
    await desk.press("Ban", "dialog")
    assert await ann.closed() == 4403
    await desk.look_at("Records")
    await desk.press("Unban")
    await bob.event("mod.unbanned", user="ann")
    assert desk.faults == []


async def test_console_shares_the_room_with_another_host(
    worker: harness.Worker, open_page: OpenPage, room: str
) -> None:
    """The later of two edits is shown beside the first; a plan with a mistake is told with its cue."""
    host = await shop(worker, room)
    desk = await console(open_page, worker, room)
    await desk.press("Edit title and cover")
    await host.ask("room.update", title="From Mei")
    await desk.shows(".top h1", "From Mei")
    await desk.fill(title="From the console")
    await desk.press("Save", "dialog")
    cells = desk.page.locator(".compare tbody td")
    await expect(cells).to_have_text(["From Mei", "From the console"])
    await desk.press("Apply mine all the same")
    await desk.shows(".top h1", "From the console")
    assert desk.faults == []

    plan = '[[cues]]\ncue = "hi"\nlabel = "Welcome"\nop = "notice.set"\nd = {{ {} = "Hello" }}\n'
    await desk.press("Load a plan")
    await desk.fill(text=plan.format("txt"))
    await desk.press("Load a plan", "dialog")
    await expect(desk.page.locator("dialog .refusal")).to_contain_text("hi")
    await desk.fill(text=plan.format("text"))
    await desk.press("Load a plan", "dialog")
    cue = desk.page.locator("[data-cue=hi]")
    await expect(cue).to_contain_text("Welcome")
    await desk.press("Start", ".rundown")
    await desk.press("Start", "dialog")
    await desk.press("Fire Welcome now")

    await host.state("notice", lambda d: d["text"] == "Hello")
    await expect(cue.locator(".how")).to_have_text("done")
    assert all("400" in fault for fault in desk.faults)  # the browser's word for the mistake


async def test_console_tells_who_may_what(
    worker: harness.Worker, open_page: OpenPage, room: str
) -> None:
    """A viewer stays out, an assistant comes in by a pasted token and is told what is for hosts."""
    await shop(worker, room)
    tab = await open_page(f"{worker.http}/host?room={room}", locale="zh-CN")
    page = tab.page
    an_hour_ago = time.time() - 3600
    old = mint(harness.SECRET, user="host", room=room, role="host", ttl_s=60, now=an_hour_ago)
    tokens = (
        (old, "登录已过期"),
        (worker.token(room, "viewer", "ann"), "不能用于这个直播间的控制台"),
        (worker.token(room, "assistant", "assistant"), ""),
    )
    for token, refusal in tokens:
        await page.locator("[name=token]").fill(token)
        await page.get_by_role("button", name="进入").click()
        if refusal:
            await expect(page.get_by_role("alert")).to_contain_text(refusal)
    await expect(page.locator(".top h1")).to_have_text("Evening")
    assert "token" not in page.url

    start = page.locator(".starters").get_by_role("button", name="投票", exact=True)
    await expect(start).to_be_disabled()
    await expect(start).to_have_attribute("title", "需要“主播”身份,你是“助理”")
    await start.click(force=True)
    await tab.has("dialog", 0)
    await expect(page.locator(".starters").get_by_role("button", name="发优惠券")).to_be_disabled()
    await tab.has(".starters button:has-text('红包')", 0)  # the plugin is not there
    assert tab.faults == []


async def test_console_has_no_barriers(
    worker: harness.Worker, open_page: OpenPage, room: str
) -> None:
    """Nothing for axe to find in any view, nor in a form with faults, nor dark on a phone."""
    host = await shop(worker, room)
    await host.ask("flash.arm", key=f"{room}-1", sale="s", sku="lip-red", price=4900, total=9)
    await host.ask("notice.set", text="Soon")
    ann = await worker.join(room, "ann")
    await ann.ask("danmaku.send", text="hello")
    await ann.ask("qa.ask", text="Is it red?")
    assert await ann.refused("danmaku.send", text=HELD) == "rejected"
    desk = await console(open_page, worker, room)
    found = []
    for views in (("Figures", "Held"), ("Records", "Questions")):
        for view in views:
            await desk.look_at(view)
        found += await axe(desk.page)
    await desk.look_at("Show")
    await desk.page.emulate_media(color_scheme="dark")
    await desk.page.set_viewport_size(PHONE["viewport"])
    found += await axe(desk.page)
    await desk.press("Lottery", ".starters")
    await desk.press("Start", "dialog")
    found += await axe(desk.page)

    assert found == []
    assert desk.faults == []
