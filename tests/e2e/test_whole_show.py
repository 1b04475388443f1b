"""A whole show in a real browser: a host, two viewers, two workers, one of which is killed.

`make pictures` runs it with `--pictures docs/images`: the README's pictures are made by it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import harness
from e2e.browser import PHONE, OpenPage, Serve, Served, Tab


if TYPE_CHECKING:
    from playwright.async_api import Locator

LIPSTICK: dict[str, Any] = {
    "item": "lip", "title": "Velvet lipstick", "currency": "CNY", "label": "new",
    "skus": [
        {"sku": "red", "title": "Red", "price": 9900, "stock": 40},
        {"sku": "nude", "title": "Nude", "price": 8800, "stock": 25},
    ],
}  # fmt: skip
BAG: dict[str, Any] = {
    "item": "bag", "title": "Canvas bag", "currency": "CNY",
    "skus": [{"sku": "bag", "price": 25900, "stock": 12}],
}  # fmt: skip
CROWD = {
    "mira": "主播好美", "kenji": "first time here, hi everyone", "小兰": "这个颜色适合黄皮吗",
    "zoe": "looks gorgeous on camera", "大头": "已经下单了", "otto": "how long is shipping to Harbin",
}  # fmt: skip

CHATTER = (
    "能便宜点吗", "Is the red one back?", "已经下单了", "love the colour", "给个优惠券呗",
    "bought it last week, love it", "第一次来,支持一下", "so pretty", "主播讲讲尺码", "hello from Lisbon",
    "包包还有货吗", "can you show it closer?", "灯光好漂亮",
)  # fmt: skip
"""What is on the stage in the pictures; more lines than people, so that nobody repeats himself."""

pytestmark = pytest.mark.timeout(150)

Shoot = Callable[[Tab, str, Sequence[harness.Client]], Awaitable[None]]
People = Callable[..., Awaitable[harness.Client]]


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Shoot:
    """Keep a picture of a tab where `--pictures` says; else do nothing."""
    folder: str | None = request.config.getoption("--pictures")

    lines = itertools.cycle(CHATTER)

    async def take(tab: Tab, name: str, crowd: Sequence[harness.Client]) -> None:
        if folder is None:
            return
        for client, text in zip([*crowd, *crowd], lines, strict=False):
            await client.send({"op": "danmaku.send", "d": {"text": text}})
            await client.send({"op": "like.send", "d": {"n": 3}})
            await asyncio.sleep(0.35)  # for the picture: they are to be seen all over the stage
        # The README shows them small: one pixel of the picture for each of the page will do.
        await tab.page.screenshot(path=Path(folder) / f"{name}.png", scale="css")

    return take


@pytest.fixture
async def engine(serve: Serve) -> Served:
    """Two workers with a data directory, as `make run` would start them."""
    return await serve("--workers", "2", "--data", "data")


@pytest.fixture
async def people(engine: Served) -> AsyncIterator[People]:
    """`await people("guest:mira")`: somebody on the wire, in the demo room."""
    clients: list[harness.Client] = []

    async def come(token: str, path: str = "/ws") -> harness.Client:
        client = await harness.Client.open(engine.http.replace("http", "ws") + path)
        clients.append(client)
        client.hello = await client.ask("hello", room="demo", token=token)
        return client

    yield come
    for client in clients:
        await client.close()


async def _within(found: Locator, text: str | re.Pattern[str]) -> None:
    from playwright.async_api import expect

    await expect(found).to_contain_text(text)


async def _talk(tab: Tab, text: str) -> None:
    await tab.page.locator("#text").fill(text)
    await tab.page.keyboard.press("Enter")


async def _sees(tab: Tab, text: str | re.Pattern[str]) -> None:
    from playwright.async_api import expect

    await expect(tab.page.locator("#log li").filter(has_text=text)).to_have_count(1)


async def _press(tab: Tab, name: str, within: str = "body") -> None:
    await tab.page.locator(within).get_by_role("button", name=name, exact=True).click()


async def _fill(desk: Tab, **fields: str) -> None:
    for name, text in fields.items():
        await desk.page.locator(f"dialog [name='{name}']").first.fill(text)


async def _poll(desk: Tab, viewers: tuple[Tab, Tab]) -> None:
    """Both vote by a tap, and see the same result."""
    await _press(desk, "Poll", ".starters")
    await _fill(desk, title="Which colour first?", options="Red\nNude")
    await _press(desk, "Start", "dialog")
    for tab, choice in zip(viewers, ("Red", "Nude"), strict=True):
        card = await tab.card("poll:")
        await card.get_by_role("button", name=choice).click()
    for tab in viewers:
        await _within(await tab.card("poll:"), "50%")


async def _one_is_left(desk: Tab, ann: Tab, bob: Tab) -> None:
    """One unit, two who want it: one has it, the other is told so."""
    await _press(desk, "Flash sale: Velvet lipstick · Red")
    await _fill(desk, price="49", total="1")
    await _press(desk, "Arm", "dialog")
    await _press(desk, "Start now", "[data-activity=flash]")
    await _press(desk, "Start", "dialog")
    card, other = await ann.card("stock:red"), await bob.card("stock:red")
    await card.get_by_role("button", name="Reserve").click()
    await _within(card.locator("[data-reservation]"), "within")
    await _within(other, "Sold out")
    await _within(desk.page.locator("[data-activity=flash] .figures"), "Held1")


async def _draw(desk: Tab, viewers: tuple[Tab, Tab]) -> None:
    """Both enter, the host draws, and the page finds that the draw holds."""
    await _press(desk, "Lottery", ".starters")
    await _fill(desk, title="Tea for two", seconds="0")
    row = desk.page.locator("dialog").get_by_role("textbox", name=re.compile("^Prize"))
    await row.first.fill("Tea box")
    await _press(desk, "Start", "dialog")
    await desk.page.locator("dialog .danger").filter(has_text="Start").click()
    for tab in viewers:
        card = await tab.card("lottery:")
        await card.get_by_role("button", name="Enter the draw").click()
        await _within(card, "You are in")


async def _drawn(desk: Tab, viewers: tuple[Tab, Tab]) -> None:
    await _press(desk, "Draw now", "[data-activity=lottery]")
    await desk.page.locator("dialog").get_by_role("button", name=re.compile("^Draw")).click()
    for tab in viewers:
        card = await tab.card("lottery:")
        await card.get_by_role("button", name="Verify in this page").click()
        await _within(card.locator("[data-finding=good]"), "The draw holds")


async def _muted(desk: Tab, bob: Tab) -> None:
    """Who is muted is told so where he would write."""
    from playwright.async_api import expect

    await _press(desk, "Actions for bob")
    await _press(desk, "Mute 10 min")
    await _within(bob.page.locator("#silenced"), re.compile("muted", re.IGNORECASE))
    await expect(bob.page.locator("#text")).to_be_disabled()


async def _killed(engine: Served, people: People, viewers: tuple[Tab, Tab]) -> None:
    """Each worker dies once, so everybody is cut off; what is given meanwhile is seen once by all."""
    for worker in (0, 1):
        await engine.whole(2)
        os.kill(engine.worker_pids()[worker], signal.SIGKILL)
        giver = await people(f"guest:giver{worker}")
        await giver.ask("gift.send", key=f"give-{worker}", gift="rose", combo=False)
        for tab in viewers:
            await _sees(tab, re.compile(rf"giver{worker}\s*sent.*Rose"))
    for tab in viewers:
        await _sees(tab, re.compile(r"giver0\s*sent.*Rose"))
        await tab.says("#link", "data-state", "live")
    await _talk(viewers[0], "still here")
    for tab in viewers:
        await _sees(tab, "still here")


async def test_a_whole_show(
    engine: Served,
    open_page: OpenPage,
    people: People,
    shoot: Shoot,
) -> None:
    """Talk, vote, sell the last unit, draw, mute, lose a worker: both viewers see all of it once."""
    desk = await open_page(engine.host_url, locale="en-US", viewport={"width": 1440, "height": 900})
    await desk.says(".link", "data-state", "live")
    host = await people(engine.host_url.partition("#token=")[2], "/control")
    await host.ask("room.update", title="Friday evening: lips and bags")
    for item in (LIPSTICK, BAG):
        await host.ask("shelf.put", **item)
    await host.ask("shelf.pin", item="lip")
    url = f"{engine.http}/?room=demo"
    ann = await open_page(f"{url}&name=ann", locale="en-US", **PHONE)
    bob = await open_page(f"{url}&name=bob", locale="en-US", color_scheme="dark")
    viewers = (ann, bob)
    for tab in viewers:
        await tab.says("#link", "data-state", "live")
    crowd = [await people(f"guest:{name}") for name in CROWD]
    for client, text in zip(crowd, CROWD.values(), strict=True):
        await client.ask("danmaku.send", text=text)
    await _talk(ann, "hello from ann")
    await _talk(bob, "hello from bob")
    for tab in viewers:
        await _sees(tab, "hello from ann")
        await _sees(tab, "hello from bob")

    await _poll(desk, viewers)
    await _draw(desk, viewers)
    await shoot(ann, "viewer-phone", crowd)
    await _one_is_left(desk, ann, bob)
    await shoot(desk, "host-console", crowd)
    await _drawn(desk, viewers)
    await shoot(bob, "viewer-desktop", crowd)
    await _muted(desk, bob)
    await _killed(engine, people, viewers)

    for tab in (*viewers, desk):
        assert [fault for fault in tab.faults if "WebSocket" not in fault] == []
