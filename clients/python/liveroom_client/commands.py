"""What viewers say, one thin method for each command."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, cast

from liveroom_client.asking import Asking
from liveroom_client.items import Item


__all__ = [
    "EnterReply",
    "FollowReply",
    "GiftReply",
    "GrabReply",
    "Mode",
    "Reservation",
    "UpvoteReply",
    "ViewerCommands",
    "VoteReply",
    "body",
]

Mode = Literal["scroll", "top", "bottom"]


class GiftReply(TypedDict):
    """What a gift cost, and what is left."""

    gift: str
    n: int
    combo: int
    value: int
    balance: int


class VoteReply(TypedDict):
    """What the vote is now."""

    poll: str
    options: list[int]


class EnterReply(TypedDict, total=False):
    """The entry into a draw."""

    lottery: str
    nonce: str


class Reservation(TypedDict, total=False):
    """Units that are held until `expires_ms`."""

    reservation: str
    sale: str
    sku: str
    n: int
    price: int
    amount: int
    currency: str
    expires_ms: int


class GrabReply(TypedDict):
    """A share of a red packet, and how many are left."""

    packet: str
    amount: int
    share: int
    left: int


class UpvoteReply(TypedDict):
    """How many votes a question has now."""

    question: int
    votes: int


class FollowReply(TypedDict):
    """Whether the room is followed now, for the first time, and by how many."""

    following: bool
    new: bool
    total: int


def body(**fields: Any) -> Item:
    """Return a command's body; what is None is left out."""
    return {name: value for name, value in fields.items() if value is not None}


class ViewerCommands(Asking):
    """The viewers' commands; all raise LiveError.

    Those that give, take or say something once have a key made for them and are sent again under it
    until they are answered. `key` repeats an earlier one: that of its `LiveError`.
    """

    __slots__ = ()

    async def send(
        self, text: str, *, mode: Mode | None = None, color: int | None = None,
        reply_to: str | None = None,
    ) -> str:  # fmt: skip
        """Say something to the room; return the message's id."""
        said = await self.ask(
            "danmaku.send", body(text=text, mode=mode, color=color, reply_to=reply_to)
        )
        return str(said.get("id", ""))

    async def gift(
        self, gift: str, n: int = 1, *, combo: bool | None = None, key: str | bool = True
    ) -> GiftReply:
        """Send a gift."""
        d = body(gift=gift, n=n, combo=combo)
        return cast("GiftReply", await self.ask("gift.send", d, key=key))

    async def balance(self) -> int:
        """Return what is in the wallet, in minor units."""
        return int((await self.ask("wallet.get"))["balance"])

    async def vote(self, poll: str, *options: int, key: str | bool = True) -> VoteReply:
        """Vote in a poll."""
        d = {"poll": poll, "options": list(options)}
        return cast("VoteReply", await self.ask("poll.vote", d, key=key))

    async def enter(
        self, lottery: str, *, nonce: str | None = None, key: str | bool = True
    ) -> EnterReply:
        """Take part in a draw."""
        d = body(lottery=lottery, nonce=nonce)
        return cast("EnterReply", await self.ask("lottery.enter", d, key=key))

    async def claim_prize(
        self, lottery: str, *, contact: str | None = None, key: str | bool = True
    ) -> dict[str, Any]:
        """Claim what was won."""
        return await self.ask("lottery.claim", body(lottery=lottery, contact=contact), key=key)

    async def reserve(
        self, sku: str, n: int = 1, *, price: int | None = None, key: str | bool = True
    ) -> Reservation:
        """Reserve units of a flash sale; with `price` only at that one."""
        d = body(sku=sku, n=n, price=price)
        return cast("Reservation", await self.ask("flash.reserve", d, key=key))

    async def cancel(self, reservation: str) -> dict[str, Any]:
        """Give a reservation up."""
        return await self.ask("flash.cancel", {"reservation": reservation}, key=True)

    async def claim(self, drop: str, *, key: str | bool = True) -> dict[str, Any]:
        """Claim a coupon of a drop."""
        return await self.ask("coupon.claim", {"drop": drop}, key=key)

    async def grab(self, packet: str, *, key: str | bool = True) -> GrabReply:
        """Take a share of a red packet."""
        return cast("GrabReply", await self.ask("redpacket.grab", {"packet": packet}, key=key))

    async def question(self, text: str, *, key: str | bool = True) -> int:
        """Ask the host something; return the question's number."""
        return int((await self.ask("qa.ask", {"text": text}, key=key))["question"])

    async def upvote(self, question: int) -> UpvoteReply:
        """Vote for somebody else's question."""
        return cast("UpvoteReply", await self.ask("qa.upvote", {"question": question}, key=True))

    async def answer(
        self,
        quiz: str,
        option: int | None = None,
        *,
        text: str | None = None,
        key: str | bool = True,
    ) -> dict[str, Any]:
        """Answer a quiz by the number of an option, or a riddle by a text."""
        return await self.ask("quiz.answer", body(quiz=quiz, option=option, text=text), key=key)

    async def rank(self, board: Literal["contribution", "likes", "quiz"]) -> dict[str, Any]:
        """Look at a board."""
        return await self.ask("rank.get", {"board": board})

    async def follow(self, on: bool = True) -> FollowReply:
        """Follow the room, or stop to."""
        return cast("FollowReply", await self.ask("viewer.follow", {"on": on}))

    async def share(self, to: str | None = None) -> None:
        """Tell that the room was passed on."""
        await self.ask("viewer.share", body(to=to))

    async def click(self, item: str) -> None:
        """Tell that an item is looked at."""
        await self.ask("shelf.click", {"item": item})

    async def cart(self, item: str, sku: str, n: int = 1) -> None:
        """Tell that units were put into the cart."""
        await self.ask("shelf.cart", {"item": item, "sku": sku, "n": n})
