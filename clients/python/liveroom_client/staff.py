"""What hosts and moderators say, one thin method for each command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from liveroom_client.asking import Answer, Asking
from liveroom_client.commands import body
from liveroom_client.items import Item


__all__ = ["StaffCommands"]


class StaffCommands(Asking):
    """The commands of the control socket; all raise LiveError.

    Fields that are not named here are given by their names in docs/protocol.md and docs/activities.
    All that change something have a key made for them and are sent again until they are answered:
    a click counts once. `key` repeats an earlier one: that of its `LiveError`.
    """

    __slots__ = ()

    # The room.

    async def open(
        self, title: str | None = None, *, cover: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> Answer:  # fmt: skip
        """Go live; an open room stays as it is."""
        return await self.ask("room.open", body(title=title, cover=cover, tags=tags), key=True)

    async def update(self, *, if_version: int | None = None, **fields: Any) -> Answer:
        """Change title, cover or tags."""
        return await self.ask("room.update", fields, if_version=if_version, key=True)

    async def close_room(self) -> None:
        """Close the room: viewers stay connected, nothing more can be sent."""
        await self.ask("room.close", key=True)

    async def mode(
        self,
        *,
        talk: Literal["all", "hosts"] | None = None,
        like: bool | None = None,
        gift: bool | None = None,
        if_version: int | None = None,
    ) -> Answer:
        """Change what viewers may do; return the new mode."""
        d = body(talk=talk, like=like, gift=gift)
        return await self.ask("room.mode", d, if_version=if_version, key=True)

    async def notice(
        self, text: str, *, level: Literal["info", "warn"] | None = None,
        seconds: int | None = None,
    ) -> Answer:  # fmt: skip
        """Show a notice, or with an empty text none."""
        return await self.ask("notice.set", body(text=text, level=level, seconds=seconds), key=True)

    async def watch(self, on: bool = True) -> Answer:
        """Be told the room's figures once a second, as the event `stats`."""
        return await self.ask("stats.watch", {"on": on})

    async def gifts(self, gifts: Sequence[Item]) -> None:
        """Set the catalogue: `{id, name, price}` each."""
        await self.ask("gift.catalogue", {"gifts": list(gifts)}, key=True)

    # The shelf and flash sales.

    async def put_item(
        self, item: str, *, title: str, currency: str, skus: Sequence[Item], **more: Any
    ) -> Answer:
        """Put an item on the shelf, or replace it: `skus` of `{sku, title?, price, stock?}`."""
        d = {"item": item, "title": title, "currency": currency, "skus": list(skus), **more}
        return await self.ask("shelf.put", d, key=True)

    async def remove_item(self, item: str) -> None:
        """Take an item off the shelf."""
        await self.ask("shelf.remove", {"item": item}, key=True)

    async def order_items(self, items: Sequence[str]) -> Answer:
        """Put the items into another order."""
        return await self.ask("shelf.order", {"items": list(items)}, key=True)

    async def pin(self, item: str | None) -> Answer:
        """Say which item is explained now; None: none."""
        return await self.ask("shelf.pin", {"item": item}, key=True)

    async def stock(self, sku: str, stock: int) -> Answer:
        """Say how many there are of a SKU."""
        return await self.ask("shelf.stock", {"sku": sku, "stock": stock}, key=True)

    async def arm(
        self, sale: str, sku: str, *, price: int, total: int, key: str | bool = True, **more: Any
    ) -> Answer:
        """Arm a flash sale."""
        d = {"sale": sale, "sku": sku, "price": price, "total": total, **more}
        return await self.ask("flash.arm", d, key=key)

    async def start_sale(self, sku: str) -> Answer:
        """Start an armed sale now."""
        return await self.ask("flash.start", {"sku": sku}, key=True)

    async def stop_sale(self, sku: str) -> Answer:
        """End a sale now."""
        return await self.ask("flash.stop", {"sku": sku}, key=True)

    async def sale_stock(self, sku: str, total: int) -> Answer:
        """Change a sale's number of units."""
        return await self.ask("flash.stock", {"sku": sku, "total": total}, key=True)

    # Activities.

    async def open_poll(
        self, poll: str, title: str, options: Sequence[str], *, key: str | bool = True, **more: Any
    ) -> Answer:
        """Ask the viewers."""
        d = {"poll": poll, "title": title, "options": list(options), **more}
        return await self.ask("poll.open", d, key=key)

    async def close_poll(self, poll: str) -> Answer:
        """Close a poll; return its result."""
        return await self.ask("poll.close", {"poll": poll}, key=True)

    async def open_lottery(
        self,
        lottery: str,
        title: str,
        prizes: Sequence[Item],
        seconds: int,
        *,
        key: str | bool = True,
        **more: Any,
    ) -> Answer:
        """Open a draw: `prizes` of `{prize, title, n, value}`."""
        d = {"lottery": lottery, "title": title, "prizes": list(prizes), "seconds": seconds, **more}
        return await self.ask("lottery.open", d, key=key)

    async def freeze_lottery(self, lottery: str) -> Answer:
        """Fix the entries of a draw that has no end."""
        return await self.ask("lottery.freeze", {"lottery": lottery}, key=True)

    async def cancel_lottery(self, lottery: str) -> Answer:
        """Give a draw up, for all to see."""
        return await self.ask("lottery.cancel", {"lottery": lottery}, key=True)

    async def open_quiz(
        self, quiz: str, question: str, seconds: int, *, key: str | bool = True, **more: Any
    ) -> Answer:
        """Begin a quiz (`options`, `correct`) or a riddle (`riddle`)."""
        d = {"quiz": quiz, "question": question, "seconds": seconds, **more}
        return await self.ask("quiz.open", d, key=key)

    async def close_quiz(self, quiz: str) -> Answer:
        """End a quiz before its time."""
        return await self.ask("quiz.close", {"quiz": quiz}, key=True)

    async def answer_question(self, question: int, text: str | None = None) -> Answer:
        """Mark a viewer's question as answered."""
        return await self.ask("qa.answer", body(question=question, text=text), key=True)

    async def drop_question(self, question: int) -> None:
        """Take a viewer's question away."""
        await self.ask("qa.drop", {"question": question}, key=True)

    async def drop_coupons(self, drop: str, *, key: str | bool = True, **terms: Any) -> Answer:
        """Drop coupons: see docs/coupons.md for the terms."""
        return await self.ask("coupon.drop", {"drop": drop, **terms}, key=key)

    async def send_packet(
        self, packet: str, total: int, shares: int, *, key: str | bool = True, **more: Any
    ) -> Answer:
        """Send a red packet out of one's own wallet."""
        d = {"packet": packet, "total": total, "shares": shares, **more}
        return await self.ask("redpacket.send", d, key=key)

    # Moderation.

    async def mute(self, user: str, seconds: int, *, reason: str | None = None) -> Answer:
        """Let a user say nothing for a while."""
        return await self.ask("mod.mute", body(user=user, seconds=seconds, reason=reason), key=True)

    async def unmute(self, user: str) -> Answer:
        """Let a user talk again."""
        return await self.ask("mod.unmute", {"user": user}, key=True)

    async def ban(self, user: str, seconds: int = 0, *, reason: str | None = None) -> Answer:
        """Close a user's connections and let none in; 0 seconds: for good."""
        return await self.ask("mod.ban", body(user=user, seconds=seconds, reason=reason), key=True)

    async def unban(self, user: str) -> Answer:
        """Let a user in again."""
        return await self.ask("mod.unban", {"user": user}, key=True)

    async def kick(self, user: str) -> Answer:
        """Close a user's connections."""
        return await self.ask("mod.kick", {"user": user}, key=True)

    async def mod_mode(self, **fields: Any) -> Answer:
        """Change `slow_s`, `followers`, `level`, `emote_only`, `unique` or `filter`."""
        return await self.ask("mod.mode", fields, key=True)

    async def approve(self, held: str) -> Answer:
        """Carry out what was held, in its author's name."""
        return await self.ask("mod.approve", {"id": held}, key=True)

    async def reject(self, held: str) -> Answer:
        """Refuse what was held."""
        return await self.ask("mod.reject", {"id": held}, key=True)
