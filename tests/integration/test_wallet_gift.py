"""Money: wallets, gifts and their books, over every way that a payment can go."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

import harness
from harness import Pair, service
from liveroom import Op, Plugin
from liveroom.core.position import Position
from liveroom.features.wallet import DEMO_MONEY, MAX_AMOUNT, SHARDS


COMBO_OVER_MS = 6000


class Audit(Plugin):
    """Lets a test read the books as the script sees them."""

    name = "audit"
    lua = """
ops['audit.accounts'] = function() return hash('acc') end
ops['audit.ledger'] = function() return hash('ledger') end
"""


PLUGINS = (Audit,)


async def read(worker: harness.Worker, scope: str, op: str) -> dict[str, int]:
    """Return a book of a scope."""
    committed = await worker.node.hub.commit(scope, [Op(op, "", {})])
    assert committed.replies[0][:1] == b"+", committed.replies
    return {name: int(value) for name, value in orjson.loads(committed.replies[0][1:]).items()}


async def accounts(worker: harness.Worker) -> list[dict[str, int]]:
    """Return the accounts of every wallet shard."""
    return [await read(worker, f"~w{n:02d}", "audit.accounts") for n in range(SHARDS)]


async def rich(
    worker: harness.Worker, room: str, user: str, balance: int, role: str = "viewer"
) -> harness.Client:
    """Return a viewer with exactly so much money (a user of this test alone)."""
    reply = await service(worker, room, "wallet.topup", key=f"t-{room}", user=user, amount=balance)
    assert reply["d"] == {"balance": balance}
    path = "/ws" if role == "viewer" else "/control"
    return await worker.join(room, user, role, path=path)


async def balance_of(worker: harness.Worker, room: str, user: str) -> int:
    """Return a balance as the back end sees it (asking as the user would give demo money)."""
    balance: int = (await service(worker, room, "wallet.of", user=user))["d"]["balance"]
    return balance


async def test_wallet_topup_is_for_the_service_and_once_per_key(
    worker: harness.Worker, room: str
) -> None:
    """The same key adds once and is answered alike; viewers know no such command."""
    user = f"u-{room}"
    answers = [
        await service(worker, room, "wallet.topup", key="k", user=user, amount=500)
        for _ in range(2)
    ]
    assert answers[0]["d"] == answers[1]["d"] == {"balance": 500}
    other = await service(worker, room, "wallet.topup", key="k", user=user, amount=501)
    assert other["err"]["code"] == "key_mismatch"
    unkeyed = await service(worker, room, "wallet.topup", user=user, amount=1)
    assert unkeyed["err"]["code"] == "key_required"
    assert await balance_of(worker, room, user) == 500

    await worker.open_room(room)
    viewer = await worker.join(room, user)
    assert await viewer.refused("wallet.topup", key="v", user=user, amount=5) == "unknown_op"
    assert await viewer.refused("wallet.of", user=user) == "unknown_op"


async def test_wallet_refuses_amounts_that_are_none(worker: harness.Worker, room: str) -> None:
    """Zero, negative, fractions, text: `bad_request`; above the limit: `amount_too_large`."""
    user = f"u-{room}"
    bad: dict[str, tuple[Any, ...]] = {
        "bad_request": (0, -1, -(2**53) - 1, 1.5, "5", None, True, [5]),
        "amount_too_large": (MAX_AMOUNT + 1, 2**53 + 1, 2**64, 10**30),
    }
    for code, amounts in bad.items():
        for n, amount in enumerate(amounts):
            reply = await service(
                worker, room, "wallet.topup", key=f"{code}-{n}", user=user, amount=amount
            )
            assert reply["err"]["code"] == code, amount
    top = await service(worker, room, "wallet.topup", key="max", user=user, amount=MAX_AMOUNT)
    assert top["d"] == {"balance": MAX_AMOUNT}
    over = await service(worker, room, "wallet.topup", key="over", user=user, amount=1)
    assert over["err"]["code"] == "amount_too_large"
    assert await balance_of(worker, room, user) == MAX_AMOUNT


async def test_gift_of_a_guest_is_paid_with_demo_money_given_once(pair: Pair, room: str) -> None:
    """The first use of a wallet, on whatever worker and however many at once, begins it."""
    first, second = pair
    await first.open_room(room)
    token = f"guest:g-{room}"[:32]
    guests = [await worker.connect() for worker in (first, second)]
    for guest in guests:
        await guest.ask("hello", room=room, token=token)

    answers = await asyncio.gather(
        *(
            guests[n % 2].ask("gift.send", key=f"k{n}", gift="rose", n=2, combo=False)
            for n in range(10)
        )
    )

    assert min(answer["balance"] for answer in answers) == DEMO_MONEY - 10 * 200
    assert await guests[0].ask("wallet.get") == {"balance": DEMO_MONEY - 10 * 200}
    whole = await guests[1].command("gift.send", key="all", gift="rocket", n=2)
    assert whole["err"]["code"] == "insufficient_funds"
    shards = await accounts(first)
    assert [sum(shard.values()) for shard in shards] == [0] * SHARDS


async def test_wallet_that_was_topped_up_is_given_no_demo_money(
    worker: harness.Worker, room: str
) -> None:
    """What the back end puts in is all that is there."""
    await worker.open_room(room)
    viewer = await rich(worker, room, f"u-{room}", 5)
    assert await viewer.ask("wallet.get") == {"balance": 5}
    assert await viewer.refused("gift.send", key="k", gift="rose") == "insufficient_funds"


async def test_gift_beyond_the_balance_is_refused(worker: harness.Worker, room: str) -> None:
    """The refusal names balance and price; nothing is shown; after a top-up the key works."""
    await worker.open_room(room)
    user = f"u-{room}"
    viewer = await rich(worker, room, user, 199)

    reply = await viewer.command("gift.send", key="k", gift="rose", n=2)
    assert reply["err"]["code"] == "insufficient_funds"
    assert (reply["err"]["balance"], reply["err"]["price"]) == (199, 200)
    assert await balance_of(worker, room, user) == 199

    await service(worker, room, "wallet.topup", key="more", user=user, amount=1)
    answer = await viewer.ask("gift.send", key="k", gift="rose", n=2)
    assert (answer["value"], answer["balance"]) == (200, 0)
    await viewer.event("gift.sent", n=2)
    assert len(viewer.events("gift.sent")) == 1


async def test_gift_refuses_bad_counts_and_missing_keys(worker: harness.Worker, room: str) -> None:
    """Counts that are none, gifts that are none, a key that is missing or malformed."""
    await worker.open_room(room)
    user = f"u-{room}"
    clients = [
        await rich(worker, room, user, 1000),
        await worker.join(room, user, subprotocol=harness.MSGPACK),
    ]
    for client in clients:
        for n in (0, -1, 10_000, 2**53 + 1, 2**64 - 1, 1.5, "1", None, True):
            assert await client.refused("gift.send", key="k", gift="rose", n=n) == "bad_request", n
        assert await client.refused("gift.send", key="k", gift="unicorn") == "not_found"
        assert await client.refused("gift.send", gift="rose") == "key_required"
        for key in ("", "k" * 65, "white space", "k\n"):
            assert await client.refused("gift.send", key=key, gift="rose") == "bad_request", key
    assert await balance_of(worker, room, user) == 1000
    await clients[1].ask("gift.send", key="k", gift="rose")


async def test_gift_price_changed_meanwhile_gives_the_money_back(
    worker: harness.Worker, room: str
) -> None:
    """Nobody pays a price that was not shown: the room refuses, for good under this key."""
    await worker.open_room(room)
    user = f"u-{room}"
    host = await rich(worker, room, user, 1000, "host")
    dearer = [{"id": "rose", "name": "Rose", "price": 300}]

    # Both are judged before either is committed; the catalogue is committed first.
    gift = {"op": "gift.send", "id": 902, "key": "k", "d": {"gift": "rose"}}
    await host.send({"op": "gift.catalogue", "id": 901, "d": {"gifts": dearer}}, gift)
    assert "d" in await host.item(lambda item: item.get("re") == 901)
    refused = await host.item(lambda item: item.get("re") == 902)

    assert refused["err"]["code"] == "version_conflict"
    assert refused["err"]["price"] == 300
    assert await balance_of(worker, room, user) == 1000
    assert await host.refused("gift.send", key="k", gift="rose") == "version_conflict"
    answer = await host.ask("gift.send", key="k2", gift="rose")
    assert (answer["value"], answer["balance"]) == (300, 700)
    await host.event("gift.sent", value=300)
    assert len(host.events("gift.sent")) == 1


async def test_gift_into_a_room_that_closes_gives_the_money_back(
    worker: harness.Worker, room: str
) -> None:
    """The script judges once more: a gift that was on its way is not charged."""
    await worker.open_room(room)
    user = f"u-{room}"
    host = await rich(worker, room, user, 1000, "host")

    gift = {"op": "gift.send", "id": 902, "key": "k", "d": {"gift": "rose"}}
    await host.send({"op": "room.close", "id": 901}, gift)
    refused = await host.item(lambda item: item.get("re") == 902)

    assert refused["err"]["code"] == "not_allowed"
    assert await balance_of(worker, room, user) == 1000
    assert host.events("gift.sent") == []


async def test_gift_while_the_mode_forbids_it_is_not_charged(
    pair: Pair, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused at once where the mode is known, by the script where it is not known yet."""
    first, second = pair
    await first.open_room(room)
    user = f"u-{room}"
    host, viewer = await first.open_control(room), await rich(second, room, user, 1000)

    with monkeypatch.context() as patch:
        patch.setattr(second.node.hub, "on_publication", lambda _: None)  # heard of nothing
        await host.ask("room.mode", gift=False)
        assert await viewer.refused("gift.send", key="k", gift="rose") == "not_allowed"
    assert await balance_of(first, room, user) == 1000

    await host.ask("room.mode", gift=False)  # heard now
    await viewer.state("mode", lambda d: not d["gift"])
    assert await viewer.refused("gift.send", key="k2", gift="rose") == "not_allowed"
    assert await balance_of(first, room, user) == 1000
    assert (await read(first, room, "audit.ledger")) == {}

    await host.ask("room.mode", gift=True)
    await viewer.state("mode", lambda d: d["gift"])
    assert await viewer.refused("gift.send", key="k", gift="rose") == "not_allowed"  # its answer
    await viewer.ask("gift.send", key="k3", gift="rose")


async def test_gift_combo_counts_up_and_ends(pair: Pair, room: str) -> None:
    """Gifts of a kind count on within the window; its end is one more event, for everyone."""
    first, second = pair
    await first.open_room(room)
    user = f"u-{room}"
    viewer, far = await rich(first, room, user, 10_000), await second.join(room)

    for key, gift, n, combo in (
        ("1", "rose", 1, 1), ("2", "rose", 10, 11), ("3", "heart", 1, 1), ("4", "rose", 2, 13),
    ):  # fmt: skip
        answer = await viewer.ask("gift.send", key=key, gift=gift, n=n)
        assert answer["combo"] == combo
        await far.event("gift.sent", gift=gift, n=n, combo=combo, combo_end=False)
    alone = await viewer.ask("gift.send", key="5", gift="rose", n=3, combo=False)
    assert alone["combo"] == 3
    await far.event("gift.sent", gift="rose", n=3, combo=3, combo_end=True)

    first.node.store.skew_ms = COMBO_OVER_MS
    again = await viewer.ask("gift.send", key="6", gift="rose")
    assert again["combo"] == 1

    for client in (viewer, far):
        for gift, combo in (("rose", 13), ("heart", 1)):
            end = await client.event("gift.sent", gift=gift, n=0, value=0, combo_end=True)
            assert end["d"]["combo"] == combo
            assert end["d"]["user"] == {"id": user, "name": viewer.hello["name"]}
        await client.event("gift.sent", gift="rose", n=1, combo=1)
        assert len(client.events("gift.sent")) == 8
        seqs = [item["seq"] for item in client.events("gift.sent")]
        assert seqs == list(range(seqs[0], seqs[0] + 8))


async def test_gift_catalogue_is_set_by_the_host(pair: Pair, room: str) -> None:
    """The host's list replaces the built-in one everywhere; two hosts do not fight over it."""
    first, second = pair
    await first.open_room(room)
    user = f"u-{room}"
    host, viewer = await first.open_control(room), await rich(second, room, user, 1000)
    await viewer.ask("gift.send", key="1", gift="rose", combo=False)
    gifts = [{"id": "tea", "name": "奶茶", "price": 7}, {"id": "rose", "name": "R", "price": 9}]

    await host.ask("gift.catalogue", gifts=gifts, if_version=0)
    assert await viewer.state("gifts") == {"gifts": gifts}
    answer = await viewer.ask("gift.send", key="2", gift="tea", n=3)
    assert (answer["value"], answer["balance"]) == (21, 879)
    assert await viewer.refused("gift.send", key="3", gift="rocket") == "not_found"

    late = await host.command("gift.catalogue", gifts=gifts, if_version=0)
    assert (late["err"]["code"], late["err"]["version"]) == ("version_conflict", 1)
    wrong: tuple[dict[str, Any], ...] = (
        {"price": 0}, {"price": 10**9 + 1}, {"price": 1.5}, {"id": "T!"}, {"name": ""},
    )  # fmt: skip
    for listed in ([], [gifts[0], gifts[0]], *([gifts[0] | change] for change in wrong)):
        assert await host.refused("gift.catalogue", gifts=listed) == "bad_request", listed


async def test_gift_keys_belong_to_their_user(pair: Pair, room: str) -> None:
    """The same key with another body is refused; the same key of another user is another key."""
    first, second = pair
    await first.open_room(room)
    users = [f"u{n}-{room}" for n in range(2)]
    one, two = await rich(first, room, users[0], 1000), await rich(second, room, users[1], 1000)

    answer = await one.ask("gift.send", key="same", gift="rose")
    assert await one.refused("gift.send", key="same", gift="rose", n=2) == "key_mismatch"
    assert await one.refused("gift.send", key="same", gift="heart") == "key_mismatch"
    assert await two.ask("gift.send", key="same", gift="rose", n=3) == answer | {
        "n": 3, "combo": 3, "value": 300, "balance": 700,
    }  # fmt: skip
    assert [await balance_of(first, room, user) for user in users] == [900, 700]

    # The same key at the same moment from two tabs on two workers: one effect, one answer.
    tab = await second.join(room, users[0])
    answers = await asyncio.gather(
        *(client.command("gift.send", key="race", gift="rose") for client in (one, tab) * 3)
    )
    assert all(reply.get("d") == answers[0]["d"] for reply in answers), answers
    assert await balance_of(first, room, users[0]) == 800
    await two.event("gift.sent", combo=2)
    assert len(two.events("gift.sent")) == 3


async def test_gift_books_agree(pair: Pair, room: str) -> None:
    """Wallets sum to nothing; what was paid is the host's credit and the sum of the log."""
    first, second = pair
    await first.open_room(room)
    users = [f"u{n}-{room}" for n in range(6)]
    clients = [await rich(pair[n % 2], room, user, 1500) for n, user in enumerate(users)]
    wanted = [("rose", 1), ("heart", 1), ("rose", 3), ("rocket", 1), ("rose", 2)]

    replies = await asyncio.gather(
        *(
            client.command("gift.send", key=f"k{i}", gift=gift, n=n)
            for i, (gift, n) in enumerate(wanted)
            for client in clients
        )
    )

    paid = sum(reply["d"]["value"] for reply in replies if "d" in reply)
    refused = {reply["err"]["code"] for reply in replies if "err" in reply}
    assert refused == {"insufficient_funds"}
    ledger = await read(first, room, "audit.ledger")
    assert ledger == {"host": paid, "~paid": -paid}
    log = await first.node.store.read_log(room, Position("", 0, 0), 1000)
    events = [orjson.loads(entry.item) for entry in log]
    gifts = [event for event in events if event["ev"] == "gift.sent"]
    assert sum(event["d"]["value"] for event in gifts) == paid
    assert len(gifts) == sum("d" in reply for reply in replies)
    shards = await accounts(second)
    assert [sum(shard.values()) for shard in shards] == [0] * SHARDS
    assert sum(shard.get(f"~room:{room}", 0) for shard in shards) == paid
    left = sum(shard.get(user, 0) for shard in shards for user in users)
    assert left == len(users) * 1500 - paid
    assert all(balance >= 0 for shard in shards for name, balance in shard.items()
               if not name.startswith("~"))  # fmt: skip
