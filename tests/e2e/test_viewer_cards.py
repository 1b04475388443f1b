"""What goes on in a room, as the viewer page shows it: each card does what it says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

import harness
from e2e.browser import PHONE, OpenTab
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.redpackets import RedPackets


if TYPE_CHECKING:
    from playwright.async_api import Locator, Route

PLUGINS = (Coupons, RedPackets)

pytestmark = pytest.mark.timeout(120)


async def _text(found: Locator, text: str | re.Pattern[str]) -> None:
    from playwright.async_api import expect

    await expect(found).to_contain_text(text)


async def _units(card: Locator, available: int, reserved: int, sold: int) -> None:
    from playwright.async_api import expect

    for name, n in (("available", available), ("reserved", reserved), ("sold", sold)):
        await expect(card.locator(f"[data-units={name}] b")).to_have_text(str(n))


async def _shelf(worker: harness.Worker, room: str) -> harness.Client:
    await worker.open_room(room)
    host = await worker.control(room)
    skus = [{"sku": "red", "title": "Red", "price": 9900, "stock": 9}]
    link = "http://plain.example/lip"
    await host.ask("shelf.put", item="lip", title="Lipstick", currency="CNY", link=link, skus=skus)
    await host.ask("shelf.pin", item="lip")
    return host


async def test_viewer_card_flash_sale_is_honest_to_the_last_unit(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """Reserved with its countdown, sold out, given back; the units add up at each step."""
    from playwright.async_api import expect

    host = await _shelf(worker, room)
    other = await worker.join(room, "other")
    tab = await open_tab("ann", locale="en-US", **PHONE)
    sale: dict[str, Any] = {"sale": "s1", "sku": "red", "price": 5900, "total": 2, "hold_s": 60}
    await host.ask("flash.arm", key="a", **sale, starts_in_s=0)

    card = await tab.card("stock:red")
    await _text(card, "¥59.00")
    await _units(card, 2, 0, 0)
    await card.get_by_role("button", name="Reserve").click()
    await _text(card.locator("[data-reservation]"), re.compile(r"within 0:5\d|within 1:00"))
    await _units(card, 1, 1, 0)
    held = await other.ask("flash.reserve", key="o", sku="red", n=1)
    await _units(card, 0, 2, 0)
    await _text(card, "Sold out")

    await card.get_by_role("button", name="Give it back").click()
    await expect(card.locator("[data-reservation]")).to_have_count(0)
    await _units(card, 1, 1, 0)
    await other.ask("flash.cancel", reservation=held["reservation"])
    await _units(card, 2, 0, 0)
    await host.ask("flash.stop", sku="red")
    await _text(card, "The sale is over")
    await tab.page.locator("[data-open=shelf]").click()
    await _text(tab.page.locator("[data-item=lip]"), "Showing now")
    await tab.has("[data-item=lip] a", 0)  # it was no https address
    assert tab.faults == []


async def test_viewer_card_poll_shows_bars_to_all(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """A vote by one tap; the other tab sees it counted; the result stays, and can be put away."""
    from playwright.async_api import expect

    await worker.open_room(room)
    host = await worker.control(room)
    tab = await open_tab("ann", locale="zh-CN", **PHONE)
    options = ["面条", "米饭"]
    await host.ask("poll.open", key="p", poll="p", title="吃什么?", options=options)
    card = await tab.card("poll:p")
    await card.get_by_role("button", name="米饭").click()
    await _text(card, "1 人已投票")
    await _text(card.locator(".option").nth(1), "100%")

    voter = await worker.join(room, "voter")
    await voter.ask("poll.vote", poll="p", options=[0])
    await _text(card.locator(".option").nth(0), "50%")
    await tab.page.reload()
    card = await tab.card("poll:p")
    await _text(card, "2 人已投票")
    await host.ask("poll.close", poll="p")
    await _text(card, "投票结果")
    await card.get_by_role("button", name="关闭").click()
    await expect(card).to_have_count(0)
    assert tab.faults == []


async def test_viewer_card_draw_is_verified_in_the_page(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """Entered, drawn, won; the proof holds in the page, and does not once a winner is exchanged."""
    await worker.open_room(room)
    host = await worker.control(room)
    for n in range(3):
        await worker.join(room, f"u{n}")
    tab = await open_tab("ann", locale="en-US")
    prizes = [{"prize": "tea", "title": "Tea", "n": 5}]
    await host.ask(
        "lottery.open", key="l", lottery="l1", title="Draw", prizes=prizes, seconds=0, claim_s=60
    )
    card = await tab.card("lottery:l1")
    await card.get_by_role("button", name="Enter the draw").click()
    await _text(card, "You are in")
    for n in range(3):
        await (await worker.join(room, f"u{n}")).ask("lottery.enter", lottery="l1")
    await host.ask("lottery.freeze", lottery="l1")
    await _text(card, "You won: Tea")

    verify = card.get_by_role("button", name="Verify in this page")
    await verify.click()
    await _text(card.locator("[data-finding=good]"), "The draw holds")
    await _text(card, "The winners are the first of the order")
    await tab.page.route("**/proof", _exchange_winners)
    await verify.click()
    await _text(card.locator("[data-finding=bad]"), "does not hold: The file is whole")
    assert tab.faults == []

    await card.get_by_role("textbox", name="Where to send it").fill("Harbour Street 1")
    await card.get_by_role("button", name="Claim").click()
    await _text(card, "Claimed")


async def _exchange_winners(route: Route) -> None:
    proof = await (await route.fetch()).json()
    proof["winners"].reverse()
    await route.fulfill(body=json.dumps(proof, separators=(",", ":"), ensure_ascii=False))


async def test_viewer_card_coupon_and_red_packet_are_taken_once(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """A coupon is claimed and kept, a red packet opened; the money is in the wallet."""
    await worker.open_room(room)
    host = await worker.control(room)
    sender = await worker.join(room)
    await sender.ask("wallet.get")
    tab = await open_tab("carla", locale="en-US", **PHONE)
    drop: dict[str, Any] = {"drop": "d1", "title": "Welcome", "quota": 1, "kind": "amount"}
    await host.ask("coupon.drop", key="d", **drop, value=1000, min_spend=5000, valid_s=3600)
    card = await tab.card("coupon:d1")
    await _text(card, "10.00 off")
    await card.get_by_role("button", name="Claim").click()
    await _text(card, "It is yours")
    await _text(card, "Sold out")

    await sender.ask("redpacket.send", key="r", packet="p1", total=1000, shares=1, split="equal")
    card = await tab.card("redpacket:p1")
    await card.locator(".seal").click()
    await _text(card, "You got 10.00")

    await tab.page.locator("[data-open=mine]").click()
    await tab.shows("#balance", "1,010.00")
    await _text(tab.page.locator(".owned"), "Welcome")
    await _text(tab.page.locator(".owned code"), re.compile(r"^\w+-\w{20}$"))
    assert tab.faults == []


async def test_viewer_sends_a_red_packet(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """From the gifts: it is paid for at once, and everybody may open it; one at a time."""
    await worker.open_room(room)
    ann = await worker.join(room, "ann")
    tab = await open_tab("dora", locale="en-US", **PHONE)
    await tab.page.locator("[data-open=gifts]").click()
    form = tab.page.locator(".packet-form")
    await form.get_by_label("Amount in all").fill("12.5")
    await form.get_by_label("Shares").fill("1")
    await form.get_by_role("button", name="Send").click()

    sent = (await ann.event("redpacket.sent"))["d"]
    assert (sent["total"], sent["shares"]) == (1250, 1)
    await tab.shows("#balance", "987.50")
    await form.get_by_label("Amount in all").fill("5")
    await form.get_by_role("button", name="Send").click()
    await _text(tab.page.locator(".toasts"), "Another one is still running")
    taken = await ann.ask("redpacket.grab", key="g", packet=sent["packet"])
    assert taken["amount"] == 1250
    assert tab.faults == []


async def test_viewer_card_quiz_and_questions_are_answered(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """One answer to the quiz, right at the close; a question asked, seconded and answered."""
    from playwright.async_api import expect

    await worker.open_room(room)
    host = await worker.control(room)
    tab = await open_tab("ann", locale="en-US")
    quiz: dict[str, Any] = {"quiz": "q1", "question": "Cheapest?", "options": ["Tea", "Coffee"]}
    await host.ask("quiz.open", key="q", **quiz, correct=0, seconds=60)
    card = await tab.card("quiz:q1")
    await card.get_by_role("button", name="Tea").click()
    await expect(card.get_by_role("button", name="Coffee")).to_be_disabled()
    await host.ask("quiz.close", quiz="q1")
    await _text(card, "You were right!")

    asker = await worker.join(room, "asker")
    await asker.ask("qa.ask", text="Is it waterproof?")
    await tab.page.locator("[data-open=questions]").click()
    await tab.page.get_by_role("button", name="I want to know, too: Is it waterproof?").click()
    await _text(tab.page.locator("[data-question='1'] b"), "1")
    await tab.page.get_by_role("textbox", name="Ask the host").fill("Does it come in blue?")
    await tab.page.get_by_role("button", name="Ask", exact=True).click()
    await tab.has("[data-question]", 2)
    await host.ask("qa.answer", question=2, text="From May on.")
    await _text(tab.page.locator(".question.done"), "From May on.")
    assert tab.faults == []


async def test_viewer_page_shows_notice_follow_ranks_and_refusals(
    worker: harness.Worker, open_tab: OpenTab, room: str
) -> None:
    """What stands around the stage follows the room; a refusal is said in words."""
    await worker.open_room(room)
    host = await worker.control(room)
    tab = await open_tab("nora", locale="en-US")
    await host.ask("notice.set", text="Free shipping", level="warn")
    await tab.shows(".notice.warn", re.compile("Free shipping"))
    await tab.page.get_by_role("button", name="Follow").click()
    await tab.says(".follow", "aria-pressed", "true")
    await _text(tab.page.locator(".meta"), "1 followers")

    await tab.page.locator("[data-open=gifts]").click()
    await tab.page.get_by_role("button", name="×66").click()
    await tab.page.locator("[data-gift=rocket]").click()
    await _text(tab.page.locator(".toasts"), "Your balance is too low")
    await tab.page.get_by_role("button", name="×10", exact=True).click()
    await tab.page.locator("[data-gift=rose]").click()
    await tab.shows("#balance", "990.00")
    await tab.page.keyboard.press("Escape")
    await tab.page.locator("[data-open=ranks]").click()
    await _text(tab.page.locator(".board .me"), "nora10.00")
    await tab.page.keyboard.press("Escape")
    await host.ask("room.close")
    await _text(tab.page.locator(".strips"), "The show is over")
    assert tab.faults == []
