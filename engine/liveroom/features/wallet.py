"""Wallets: balances in minor units, kept as double-entry postings in wallet shards.

A wallet lives in one of a fixed number of internal scopes, a room in its own: on a cluster they are
different slots and no script reaches both. So a payment in a room has three steps, each atomic and
idempotent under the transfer's id: *hold* in the payer's shard, the *effect* in the room, then
*settle* (or *void*, if the room refused) in the shard. Whoever dies in between, `Payments.recover` on
any worker asks the room what became of the transfer and finishes it. What a room pays to a user goes
the other way (`payouts.py`).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import orjson
import structlog
from msgspec import Meta, Struct, field

from liveroom.auth.claims import Role
from liveroom.config import Settings
from liveroom.errors import CommandError, StoreError
from liveroom.failpoints import declare, reach
from liveroom.features.payouts import OWED, Owed, Payouts
from liveroom.features.shards import SHARDS, shard_of
from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call, Engine, RoomHandle, expect_any_room
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, Surface, command
from liveroom.protocol.messages import Body, Empty
from liveroom.store.port import LogEntry, Op
from liveroom.store.replies import refusal


__all__ = ["MAX_AMOUNT", "SHARDS", "Payments", "Wallet", "shard_of", "transfer_id"]

MAX_AMOUNT = 10**13
"""The largest amount and balance, minor units: the script's JSON keeps 14 digits."""
DEMO_MONEY = 100_000
"""What a wallet of a server in development begins with, minor units."""

STALE_MS = 10_000
_RECOVER_EVERY_S = 5.0

_LOST = b'+{"lost":true}'

_HELD = declare("pay.held", "the money is held, the room was not asked")
_EFFECTED = declare("pay.effected", "the room has answered, the money is still held")
_SETTLING = declare("pay.settling", "the payment's outcome is known and final, not yet posted")
_RECOVERING = declare("pay.recovering", "a payment that was cut off was found")

log = structlog.get_logger("liveroom.wallet")

Amount = Annotated[int, Meta(ge=1, description="minor units")]


class Topup(Body, frozen=True, kw_only=True):
    """Money that came in from outside."""

    user: Annotated[str, Meta(min_length=1, max_length=64)]
    amount: Amount


class WalletOf(Body, frozen=True, kw_only=True):
    """Whose balance."""

    user: Annotated[str, Meta(min_length=1, max_length=64)]


class Posted(Struct):
    """`d` of `wallet.posted`: one amount moved from one account to another; minor units."""

    transfer: str
    source: str = field(name="from")
    target: str = field(name="to")
    amount: int


def transfer_id(room: str, user: str, key: str) -> str:
    """Return the id of the transfer that an idempotency key stands for."""
    text = f"{room}\n{user}\n{key}".encode()
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _look(user: str, demo: int = 0) -> Op:
    """Return what tells a balance; a wallet that never held any money begins with the demo money."""
    return Op("wallet.get", user, {"user": user} | ({"demo": demo} if demo else {}))


class Wallet(Plugin):
    """Balances, top-ups, and the recovery of payments that were cut off."""

    name = "wallet"
    lua = lua_of("wallet")
    events = (
        EventSpec(
            "wallet.posted",
            Delivery.DURABLE,
            "In the log of a wallet shard: `{transfer, from, to, amount}`.",
            Posted,
            internal=True,
        ),
        EventSpec(
            OWED,
            Delivery.DURABLE,
            "The room pays somebody: `{worker}` of the batch sees to it first.",
            Owed,
            internal=True,
        ),
    )

    def __init__(self, settings: Settings) -> None:
        self._demo = DEMO_MONEY if settings.dev else 0

    async def start(self, engine: Engine) -> None:
        """Begin looking for payments that were cut off."""
        self._engine = engine
        self._payments, self._payouts = Payments(engine), Payouts(engine)
        engine.every(_RECOVER_EVERY_S, self._payments.recover)
        self._payouts.start()

    def observe(self, room: RoomHandle, entry: LogEntry) -> None:
        """Have what a room pays credited."""
        self._payouts.observe(room, entry)

    @command("wallet.get", Empty)
    async def get(self, call: Call[Empty]) -> Any:
        """Return the sender's balance: `{balance}` in minor units."""
        return await self._submit(_look(call.user, self._demo))

    @command("wallet.topup", Topup, role=Role.SERVICE, surfaces=(Surface.SERVICE,), keyed=True)
    async def topup(self, call: Call[Topup]) -> Any:
        """Add money to a user's wallet; returns `{balance}`."""
        expect_any_room(call)
        amount = call.body.amount
        if amount > MAX_AMOUNT:
            raise CommandError("amount_too_large", f"expected at most {MAX_AMOUNT}, came {amount}")
        body = {"user": call.body.user, "amount": amount}
        op = call.operation("wallet.topup", body)
        op.user = call.body.user  # whose key it is
        return await self._submit(op, durable=True)

    @command("wallet.of", WalletOf, role=Role.SERVICE, surfaces=(Surface.SERVICE,), audited=False)
    async def of(self, call: Call[WalletOf]) -> Any:
        """Return a user's balance: `{balance}`."""
        expect_any_room(call)
        return await self._submit(_look(call.body.user))

    async def _submit(self, op: Op, *, durable: bool = False) -> bytes:
        return await self._engine.submit(shard_of(op.user), op, durable=durable)


class Payments:
    """Pays for things in rooms out of wallets."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._demo = DEMO_MONEY if engine.settings.dev else 0

    async def pay(self, call: Call[Any], amount: int, op: Op) -> bytes:
        """Hold the amount, have the room do `op`, settle; return the room's reply.

        The room's handler must store a refusal under the key (`fail(…, final)`), so that nobody can
        get the effect after the money went back.

        Args:
            call: the command; its key names the transfer.
            amount: minor units.
            op: what the room does for it; carries the call's key and digest.

        Raises:
            CommandError: `insufficient_funds`, `aborted`.
            StoreError: nobody knows: the same key tells.
        """
        shard, transfer = shard_of(call.user), transfer_id(call.room.id, call.user, call.key)
        hold = {
            "t": transfer,
            "user": call.user,
            "amount": amount,
            "room": call.room.id,
            "key": call.key,
            "digest": call.digest,
        }
        if self._demo:  # not within the hold: its refusal would take the money back
            await self._engine.submit(shard, _look(call.user, self._demo))
        held = await self._engine.submit(shard, Op("wallet.hold", call.user, hold), durable=True)
        if held[:1] != b"+":
            raise refusal(held)
        reach(_HELD)
        answer = orjson.loads(held[1:])
        op.body["balance"] = answer["balance"]
        if answer["closed"]:  # nothing is held for it: the room may only repeat its answer
            await self._outcome(hold)
        reply = await call.room.submit(op, durable=True)
        reach(_EFFECTED)
        if reply[:1] == b"+":
            await self._finish(shard, hold, done=True)
        else:
            await self._resolve(shard, hold)
        return reply

    async def begun(self, call: Call[Any]) -> bool:
        """Return whether a payment under the call's key was begun, whatever became of it.

        Then `pay` must have the word, though the command could not begin now: what was paid for is
        answered as it was, and what was cut off is refused for good.
        """
        transfer = transfer_id(call.room.id, call.user, call.key)
        op = Op("wallet.begun", call.user, {"t": transfer})
        reply = await self._engine.submit(shard_of(call.user), op)
        if reply[:1] != b"+":
            raise refusal(reply)
        known: bool = orjson.loads(reply[1:])["begun"]
        return known

    async def recover(self) -> None:
        """Finish payments that were cut off: the room's record says how."""
        for number in range(SHARDS):
            await self._recover_shard(f"~w{number:02d}")

    async def _recover_shard(self, shard: str) -> None:
        body = {"older_ms": STALE_MS, "limit": 50}
        committed = await self._engine.commit(shard, [Op("wallet.stale", "", body)])
        for row in orjson.loads(committed.replies[0][1:])["stale"]:
            reach(_RECOVERING)
            try:
                await self._resolve(shard, row)
            except StoreError as exc:
                log.warning("payment not recovered yet", transfer=row["t"], error=str(exc))

    async def _resolve(self, shard: str, hold: dict[str, Any]) -> None:
        """Ask the room what became of a transfer, and settle or void it accordingly."""
        done = await self._outcome(hold)
        log.info("payment resolved", transfer=hold["t"], done=done)
        await self._finish(shard, hold, done=done)

    async def _outcome(self, hold: dict[str, Any]) -> bool:
        """Return whether the room had the effect; if it had not, it never will."""
        body = {"key": hold["key"], "digest": hold["digest"]}
        op = Op("payment.outcome", hold["user"], body)
        reply = await self._engine.submit(hold["room"], op, durable=True)
        if reply[:1] != b"+":
            raise StoreError(reply.decode(errors="replace"))
        done: bool = orjson.loads(reply[1:])["done"]
        return done

    async def _finish(self, shard: str, hold: dict[str, Any], *, done: bool) -> None:
        reach(_SETTLING)
        op = Op("wallet.settle" if done else "wallet.void", "", hold)
        try:
            reply = await self._engine.submit(shard, op)
            if done and reply == _LOST and await self._outcome(hold):
                sure = Op("wallet.settle", "", hold | {"sure": True})
                await self._engine.submit(shard, sure)
        except StoreError as exc:  # the recovery will do it
            log.warning("payment not settled yet", transfer=hold["t"], error=str(exc))
