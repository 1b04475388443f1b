"""The viewer page in a real browser: what is said and given, how it comes back, what it refuses."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from aiohttp import WSMsgType, web

import harness
from e2e.browser import PHONE, OpenPage, OpenTab, Tab, axe
from liveroom.connection import Connection
from liveroom.protocol.items import event_item
from liveroom.web.page import page_routes
from liveroom_plugins.moderation import Moderation


if TYPE_CHECKING:
    from playwright.async_api import Locator

PLUGINS = (Moderation,)
XSS = (
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    '"><svg onload=document.title=1>',
    "javascript:document.title='owned'",
    "{{7*7}}${7*7}<b>bold</b>&lt;i&gt;",
)
OWNED = "document.querySelectorAll('img[src=x], script:not([src]), svg[onload], b b').length"

pytestmark = pytest.mark.timeout(120)


async def _live(tab: Tab) -> None:
    await tab.says("#link", "data-state", "live")


async def _talk(tab: Tab, text: str) -> None:
    await tab.page.locator("#text").fill(text)
    await tab.page.keyboard.press("Enter")


def _lines(tab: Tab, text: str | re.Pattern[str]) -> Locator:
    return tab.page.locator("#log li").filter(has_text=text)


async def _sees(tab: Tab, text: str | re.Pattern[str]) -> None:
    from playwright.async_api import expect

    await expect(_lines(tab, text)).to_have_count(1)


async def _give(tab: Tab, gift: str) -> None:
    await tab.page.locator("[data-open=gifts]").click()
    await tab.page.locator(f"[data-gift={gift}]").click()
    await _close_sheet(tab)


async def _has_money(tab: Tab, text: str) -> None:
    await tab.page.locator("[data-open=mine]").click()
    await tab.shows("#balance", text)
    await _close_sheet(tab)


async def _close_sheet(tab: Tab) -> None:
    """Close what lies over the page; what is in it is there a moment before it takes keys."""
    await tab.has("dialog[open]")
    await tab.page.keyboard.press("Escape")
    await tab.has("dialog[open]", 0)


def _connections(worker: harness.Worker, name: str) -> list[Connection]:
    connections = worker.node.front.connections
    return [c for c in connections if any(claims.name == name for claims in c.all_claims())]


async def test_viewer_page_two_tabs_talk_like_and_give(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """What one tab does, both see; the console stays clean (the policy blocked nothing)."""
    await worker.open_room(room, title="Evening show")
    ann = await open_tab("ann", locale="en-US", **PHONE)
    bob = await open_tab("bob", locale="en-US")
    for tab in (ann, bob):
        await _live(tab)
        await tab.shows("#title", "Evening show")
        await tab.shows("#online", "2")

    await _talk(ann, "hello from ann")
    await _talk(bob, XSS[0])
    for _ in range(3):
        await ann.page.locator("#like").click()
    for tab in (ann, bob):
        await _sees(tab, "hello from ann")
        await _sees(tab, XSS[0])
        await tab.shows("#likes", "3")

    await _has_money(bob, "1,000.00")
    await _give(bob, "rose")
    await _has_money(bob, "999.00")
    for tab in (ann, bob):
        await _sees(tab, re.compile(r"bob\s*sent.*Rose.*×1"))
        assert await tab.page.evaluate(OWNED) == 0
        assert await tab.page.title() == "Evening show"
        assert tab.faults == []


async def test_viewer_page_adds_a_wave_to_the_line_that_began_it(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """Seven say the same: four lines, and behind the last how many more."""
    from playwright.async_api import expect

    await worker.open_room(room)
    tab = await open_tab("ann", locale="en-US")
    await _live(tab)
    for n in range(7):
        await (await worker.join(room, f"u{n}")).ask("danmaku.send", text="666")

    await expect(_lines(tab, "666").last.locator(".more")).to_have_text("+3 say so, too")
    await expect(_lines(tab, "666")).to_have_count(4)
    assert tab.faults == []


async def test_viewer_page_speaks_chinese_and_takes_a_token(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """The browser's language is used; the token leaves the address bar and survives a reload."""
    await worker.open_room(room)
    token = worker.token(room, "viewer", "lan", name="小兰")

    tab = await open_tab(fragment=f"#token={token}", locale="zh-CN", color_scheme="dark")
    await _live(tab)
    await tab.shows("#link", "已连接")
    assert "token" not in tab.page.url
    await tab.page.reload()
    await _live(tab)
    await _talk(tab, "大家好")

    await _sees(tab, re.compile("小兰.*大家好"))
    assert await tab.page.get_by_role("button", name="礼物").is_visible()


async def test_viewer_page_comes_back_and_goes_on(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """A tab whose connection was cut sees what it missed, once, and a gift given meanwhile."""
    await worker.open_room(room)
    buyer = await worker.join(room, "buyer")
    await buyer.ask("wallet.get")
    tab = await open_tab("小王", locale="en-US")
    await _live(tab)
    (first,) = _connections(worker, "小王")
    await buyer.ask("gift.send", key=f"{room}-1", gift="rose", combo=False)
    await _sees(tab, "Rose")

    first.close("restart")
    await buyer.ask("gift.send", key=f"{room}-2", gift="heart", combo=False)

    await _sees(tab, "Heart")
    await _sees(tab, "Rose")
    await _live(tab)
    (second,) = _connections(worker, "小王")
    assert second is not first
    (now,), (before,) = second.all_claims(), first.all_claims()
    assert now.user == before.user


async def _has_moved(worker: harness.Worker, name: str, before: Connection) -> bool:
    now = _connections(worker, name)
    return len(now) == 1 and now[0] is not before


async def test_viewer_page_moves_and_a_gift_is_paid_once(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """`sys.reconnect` is followed; a gift given while the connection is down is sent after it."""
    from playwright.async_api import expect

    await worker.open_room(room)
    tab = await open_tab("mover", locale="en-US")
    await _live(tab)
    await _has_money(tab, "1,000.00")
    (first,) = _connections(worker, "mover")

    async with tab.page.expect_event("websocket"):
        first.tell(event_item("sys.reconnect", {"after_ms": 0, "spread_ms": 50}))
    # The page shows the old connection as live until the new one is: cut the one that it moved to.
    await harness.until(lambda: _has_moved(worker, "mover", first))
    await _live(tab)
    await tab.page.context.set_offline(True)
    for connection in _connections(worker, "mover"):
        connection.abort()
    await expect(tab.page.locator("#link")).not_to_have_attribute("data-state", "live")
    await _give(tab, "rose")
    await tab.page.context.set_offline(False)

    await _live(tab)
    await _sees(tab, re.compile(r"mover\s*sent.*×1"))
    await _has_money(tab, "999.00")


async def test_viewer_page_stays_away_when_told_so(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """A room that does not exist, and a ban, are said in words and not asked for again."""
    lost = await open_tab("ann", locale="en-US")
    await lost.says("#link", "data-state", "ended")
    await lost.shows("#link", "There is no such room")

    await worker.open_room(room)
    host = await worker.control(room)
    token = worker.token(room, "viewer", "rude", name="Rude")
    tab = await open_tab(fragment=f"#token={token}", locale="zh-CN")
    await _live(tab)
    await host.ask("mod.ban", user="rude")

    await tab.says("#link", "data-state", "ended")
    await tab.shows("#link", "你已被禁止进入本直播间")


async def test_viewer_page_tells_what_the_moderators_do(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """Muted: said with its end, and the field is closed; a deleted message leaves the list."""
    from playwright.async_api import expect

    await worker.open_room(room)
    host = await worker.control(room)
    token = worker.token(room, "viewer", "loud", name="Loud")
    tab = await open_tab(fragment=f"#token={token}", locale="en-US")
    await _live(tab)
    await _talk(tab, "an insult")
    await _sees(tab, "an insult")

    await host.ask("mod.delete", user="loud")
    await expect(_lines(tab, "an insult")).to_have_count(0)
    await host.ask("mod.mute", user="loud", seconds=600)
    await tab.shows("#silenced", re.compile(r"You are muted until \d"))
    await expect(tab.page.locator("#text")).to_be_disabled()
    await host.ask("mod.unmute", user="loud")
    await expect(tab.page.locator("#text")).to_be_enabled()
    await host.ask("room.mode", talk="hosts")
    await tab.shows("#silenced", "Only the host speaks now")


async def test_viewer_page_works_by_keyboard(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """Every control is reached with Tab in the order of the screen; a dialog keeps the focus."""
    await worker.open_room(room)
    tab = await open_tab("keys", locale="en-US")
    await _live(tab)
    keyboard = tab.page.keyboard
    focused = "document.activeElement.id || document.activeElement.dataset.open || document.activeElement.ariaLabel || document.activeElement.textContent"

    reached = []
    for _ in range(11):
        await keyboard.press("Tab")
        reached.append(await tab.page.evaluate(focused))
    assert reached[:2] == ["Follow", "ranks"]
    assert reached[2:6] == ["questions", "mine", "Hide flying messages", "Share"]
    assert reached[6:] == ["Chat", "text", "Send", "gifts", "like"]

    await keyboard.press("Enter")
    await tab.shows("#likes", "1")
    await keyboard.press("Shift+Tab")
    await keyboard.press("Enter")
    await tab.has("[data-sheet=gifts]")
    await tab.page.locator("[data-gift=heart]").focus()
    await keyboard.press("Enter")
    await tab.shows("#balance", "990.10")
    await keyboard.press("Escape")
    await tab.has("[data-sheet=gifts]", 0)
    assert await tab.page.evaluate(focused) == "gifts"


@pytest.mark.parametrize("size", ["phone", "desk"])
async def test_viewer_page_is_accessible(
    worker: harness.Worker, open_tab: OpenTab, room: str, size: str
) -> None:
    """axe finds nothing wrong in light and dark, with cards, lists and a sheet open."""
    await worker.open_room(room, title="Evening show")
    host = await worker.control(room)
    skus = [{"sku": "red", "title": "Red", "price": 9900, "stock": 4}]
    link = "https://shop.example/lip"
    await host.ask("shelf.put", item="lip", title="Lipstick", currency="CNY", link=link, skus=skus)
    await host.ask("shelf.pin", item="lip")
    await host.ask("notice.set", text="Free shipping")
    sale: dict[str, Any] = {"sale": "s1", "sku": "red", "price": 5900, "total": 3}
    await host.ask("flash.arm", key="a", **sale, starts_in_s=0)
    await host.ask("poll.open", key="p", poll="p", title="Which?", options=["One", "Two"])
    options = PHONE if size == "phone" else {"viewport": {"width": 1280, "height": 800}}
    tab = await open_tab("eve", locale="en-US", **options)
    await _live(tab)
    await _talk(tab, "hello")
    await _sees(tab, "hello")
    await tab.has("[data-card]", 2)

    found = await axe(tab.page)
    await tab.page.emulate_media(color_scheme="dark")
    found += await axe(tab.page)
    await tab.page.locator("[data-open=gifts]").click()
    found += await axe(tab.page)
    assert found == []


# A server that lies.


@pytest.fixture
async def liar(unused_tcp_port_factory: Any) -> AsyncIterator[str]:
    """A server with the page, whose room is full of what no room has."""
    app = web.Application()
    app.router.add_routes(page_routes())
    app.router.add_get("/ws", _lie)
    runner = web.AppRunner(app)
    await runner.setup()
    port = unused_tcp_port_factory()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def _lie(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("liveroom.v1.msgpack",))
    await socket.prepare(request)
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            continue
        came = msgpack.unpackb(message.data)
        for command in came if isinstance(came, list) else [came]:
            reply = {"re": command.get("id"), "d": _greeting() if command["op"] == "hello" else {}}
            await socket.send_bytes(msgpack.packb([reply]))
            if command["op"] == "hello":
                await socket.send_bytes(msgpack.packb(_junk()))
    return socket


def _greeting() -> dict[str, Any]:
    user = {"id": "u", "name": XSS[0], "role": "host"}
    said = [
        {"id": f"m{i}", "user": user, "text": t, "mode": "?", "color": -1}
        for i, t in enumerate(XSS)
    ]
    skus = [{"sku": "s", "title": XSS[1], "price": 100}]
    item = {
        "item": "i",
        "title": XSS[0],
        "link": XSS[3],
        "image": XSS[3],
        "currency": "CNY",
        "skus": skus,
    }
    question = {"question": 1, "user": user, "text": XSS[1], "votes": 1, "asked_ms": 0}
    poll = {
        "poll": "p",
        "title": XSS[0],
        "options": [*XSS],
        "status": "open",
        "ends_ms": 0,
        "voters": 0,
    }
    states = {
        "room": {"status": "open", "title": XSS[0], "cover": XSS[3], "stream": XSS[3]},
        "notice": {"text": XSS[1], "level": "'><b>", "until_ms": 0},
        "shelf": {"items": ["i", "gone"], "pinned": "i"},
        "item:i": item,
        "qa": {"open": 1, "top": [question], "answered": 0},
        "gifts": {"gifts": [{"id": "odd", "name": XSS[2], "price": 1}]},
        "poll:p": poll | {"multiple": False, "max_choices": 1, "change": False, "hidden": False},
        "poll:broken": {"poll": 7},
        "stock:s": None,
        "lottery:l": "not an object",
        "quiz:q": {"quiz": "q", "status": "open", "options": 3},
        "unknown": {"what": XSS[0]},
    }
    return {
        "session": "s", "user": "me", "name": XSS[0], "role": "viewer", "room": "r", "epoch": "e",
        "seq": 0, "sub": 0, "resumed": False, "now": 1_760_000_000_000, "beat_ms": 100,
        "snapshot": {"danmaku": [{"ev": "danmaku", "ts": 1, "d": d} for d in said]},
        "states": [{"st": name, "v": 1, "d": d} for name, d in states.items()],
        "own": {"flash": 7, "poll": None, "qa": {"asked": 3}},
    }  # fmt: skip


def _junk() -> list[Any]:
    user = {"id": "x", "name": XSS[2]}
    return [
        {"ev": "no.such.event", "d": {"text": XSS[0]}},
        {"no": "item"},
        {
            "ev": "gift.sent",
            "seq": 1,
            "ts": 1,
            "d": {"gift": XSS[0], "n": 1, "combo": 1, "user": user},
        },
        {"ev": "gift.sent", "seq": 2, "ts": 1, "d": {}},
        {"ev": "danmaku", "ts": 1, "d": {"id": "last", "user": user, "text": "still here"}},
    ]


async def test_viewer_page_shows_lies_as_text_or_not_at_all(liar: str, open_page: OpenPage) -> None:
    """Markup is text wherever it comes; no link but https; a state of another shape harms itself."""
    tab = await open_page(f"{liar}/?room=r&name=eve", locale="en-US")
    await _live(tab)

    await _sees(tab, "still here")
    said = await tab.page.locator("#log .text").all_inner_texts()
    assert [text for text in said if text in XSS] == [*XSS]
    await tab.shows("#title", XSS[0])
    await tab.shows(".notice", re.compile(re.escape(XSS[1])))
    await tab.has("[data-card='poll:p'] .option", len(XSS))
    await tab.has("[data-item=i]")
    await tab.has("a[href], img, video", 0)
    await tab.page.locator("[data-open=questions]").click()
    await tab.shows("[data-question='1'] p", re.compile(re.escape(XSS[1])))
    await _close_sheet(tab)
    await tab.page.locator("[data-open=gifts]").click()
    await tab.shows("[data-gift=odd] bdi", XSS[2])
    assert await tab.page.evaluate(OWNED) == 0
    assert await tab.page.title() == XSS[0]
    assert tab.faults == []
