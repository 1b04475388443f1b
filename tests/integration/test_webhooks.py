"""Webhooks: signed, at least once, on schedule, whatever the receiver and the workers do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
import pytest
import structlog
from aiohttp import web

import harness
from harness import until
from liveroom import Op, Plugin
from liveroom.errors import ConfigError
from liveroom.features.webhooks import Webhooks
from liveroom.features.webhooks.courier import LEASE_SLACK_S
from liveroom.store.redis import base_key


KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
TIMEOUT_S = 2.0
LEASE_MS = round((TIMEOUT_S + LEASE_SLACK_S) * 1000) + 1
SCHEDULE_S = (5, 300, 1800, 7200, 18_000, 36_000)
JITTER = 1.1

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Shop(Plugin):
    """Writes webhooks, as the features that sell do."""

    name = "shop"
    lua = """
ops['shop.sell'] = function(op)
  emit('shop.sold', {sku = op.d.sku})
  for i = 1, op.d.times or 1 do webhook('order.paid', {sku = op.d.sku, i = i}) end
end
ops['shop.quiet'] = function(op) webhook('order.paid', op.d) end
ops['shop.junk'] = function(op)
  write('XADD', key('outbox'), '*', 't', 'junk', 'd', 'no { json')
  write('XADD', key('outbox'), '*', 'x', 'y', 'i', 'none')
  webhook('cut', {name = string.sub('é', 1, 1)})
  emit('shop.sold', {})
end
ops['shop.nudge'] = function() emit('shop.sold', {}) end
"""


class Got(NamedTuple):
    """A request that came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> Any:
        return orjson.loads(self.body)


async def taken(request: web.Request) -> web.StreamResponse:
    """Say yes."""
    return web.Response()


def status(number: int, **headers: str) -> Answer:
    """Answer with a status."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=number, headers=headers)

    return answer


class Receiver:
    """A commerce back end that listens."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Answer = taken
        self.url = ""
        self._changed = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Remember a request and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(headers, await request.read()))
        answer = self.answer
        self._changed.set()
        return await answer(request)

    def of(self, room: str) -> list[Got]:
        """Return what came about a room: the store holds those of other tests too."""
        return [got for got in self.got if got.message["data"]["room"] == room]

    async def count(self, room: str, number: int) -> list[Got]:
        """Wait until so many came about a room."""
        async with asyncio.timeout(harness.PATIENCE_S):
            while len(self.of(room)) < number:
                self._changed.clear()
                await self._changed.wait()
        return self.of(room)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hooks", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes everything until told otherwise."""
    async with receiving() as made:
        yield made


Sell = Callable[..., Awaitable[harness.Worker]]

_still: set[str] = set()


async def still(start_worker: harness.StartWorker, url: str) -> None:
    """Keep workers from sweeping by themselves: they would find the rooms of other tests."""
    if url not in _still:
        _still.add(url)
        keeper = await start_worker(url)
        body = {"name": "webhooks", "worker": "nobody", "ms": 10**12}
        await keeper.node.hub.commit("~sys", [Op("lease.take", "", body)])


@pytest.fixture
def start_shop(start_worker: harness.StartWorker, receiver: Receiver) -> Sell:
    """Start a worker with the shop: `await start_shop(store_url)`."""

    async def start(url: str, **settings: Any) -> harness.Worker:
        await still(start_worker, url)
        hooks = {
            "webhook_url": receiver.url,
            "webhook_secret": SECRET,
            "webhook_timeout_s": TIMEOUT_S,
        }
        return await start_worker(url, plugins=[Shop()], **hooks | settings)

    return start


@pytest.fixture
async def shop(store_url: str, start_shop: Sell) -> harness.Worker:
    """One worker with the shop, on every kind of store."""
    return await start_shop(store_url)


@pytest.fixture
async def local_shop(embedded_url: str, start_shop: Sell) -> harness.Worker:
    """One worker with the shop, on the embedded store."""
    return await start_shop(embedded_url)


async def do(worker: harness.Worker, room: str, op: str, /, **d: Any) -> dict[str, Any]:
    """Run an operation in a room that the worker serves."""
    reply = await worker.node.hub.submit(room, Op(op, "", d))
    assert reply[:1] == b"+", reply
    answer: dict[str, Any] = orjson.loads(reply[1:])
    return answer


async def pending(worker: harness.Worker, room: str) -> int:
    """Return how many webhooks of a room wait, by the host's command."""
    host = await worker.control(room)
    waiting: int = (await host.ask("webhook.dead"))["pending"]
    await host.close()
    return waiting


async def counts(worker: harness.Worker, room: str) -> dict[str, int]:
    """Return the room's counts."""
    host = await worker.control(room)
    answer = await host.ask("webhook.dead")
    await host.close()
    del answer["entries"]
    return answer


async def until_counted(worker: harness.Worker, room: str, **wanted: int) -> None:
    """Wait until the room's counts have these values."""

    async def as_wanted() -> bool:
        return wanted.items() <= (await counts(worker, room)).items()

    await until(as_wanted)


async def until_failed(worker: harness.Worker, room: str, entry: str, attempts: int) -> None:
    """Wait until so many failed attempts of an entry are written down."""

    async def as_wanted() -> bool:
        number = await raw(worker, room, "HGET", "hookn", entry)
        return bool(number == b"%d" % attempts)

    await until(as_wanted)


async def raw(worker: harness.Worker, room: str, command: str, name: str, *args: str) -> Any:
    """Send a command to the store by hand; the name is that of a key of the room."""
    store: Any = worker.node.store
    base = base_key(room)
    return await store.ask(store._topology.address(base), command, f"{base}:{name}", *args)


def metric(worker: harness.Worker, name: str) -> float:
    """Return the sum of a metric over its labels."""
    lines = worker.node.metrics.render().decode().splitlines()
    rows = [line.split() for line in lines if line.partition("{")[0].split()[0] == name]
    return sum(float(row[-1]) for row in rows)


def webhooks(worker: harness.Worker) -> Webhooks:
    """Return the worker's feature."""
    return next(p for p in worker.node.manager.plugins if isinstance(p, Webhooks))


def check_signature(got: Got, key: bytes = KEY) -> None:
    """Verify a request as the specification says, with nothing of the engine's."""
    assert "." not in got.id
    signed = f"{got.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert f"v1,{expected}" in got.headers["webhook-signature"].split(" ")


# What is sent.


async def test_webhook_is_signed_and_says_what_happened(
    shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """Headers and body as Standard Webhooks has them; taken once, it is gone from the outbox."""
    await shop.open_room(room)
    now_ms = (await shop.node.hub.commit(room, [])).now_ms
    await do(shop, room, "shop.sell", sku="tea")

    (got,) = await receiver.count(room, 1)
    check_signature(got)
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("liveroom/")
    assert abs(int(got.headers["webhook-timestamp"]) * 1000 - now_ms) < 60_000
    message = got.message
    assert message["type"] == "order.paid"
    assert message["data"] == {"room": room, "sku": "tea", "i": 1}
    assert message["timestamp"].endswith("Z")
    await until_counted(shop, room, pending=0, delivered=1, retrying=0, dead=0)
    assert len(receiver.of(room)) == 1
    assert metric(shop, "liveroom_webhooks_delivered_total") == 1
    assert metric(shop, "liveroom_webhooks_pending") == 0


async def test_webhook_rotation_signs_with_every_secret(
    embedded_url: str, start_shop: Sell, receiver: Receiver, room: str
) -> None:
    """While a secret is changed, receivers of both can check."""
    newer = secrets.token_bytes(24)
    both = f"whsec_{base64.b64encode(newer).decode()} {SECRET}"
    worker = await start_shop(embedded_url, webhook_secret=both)
    await worker.open_room(room)
    await do(worker, room, "shop.sell", sku="tea")

    (got,) = await receiver.count(room, 1)
    check_signature(got, newer)
    check_signature(got, KEY)
    assert len(got.headers["webhook-signature"].split(" ")) == 2


async def test_webhooks_of_a_burst_all_come_once(
    shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """More than one batch; each with an id of its own."""
    await shop.open_room(room)
    await do(shop, room, "shop.sell", sku="tea", times=50)

    got = await receiver.count(room, 50)
    assert {one.message["data"]["i"] for one in got} == set(range(1, 51))
    assert len({one.id for one in got}) == 50
    await until_counted(shop, room, pending=0, delivered=50)
    assert len(receiver.of(room)) == 50


async def test_webhook_junk_in_the_outbox_is_passed_on(
    local_shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """A plugin's text that is no JSON does not stop what comes behind it."""
    await local_shop.open_room(room)
    await do(local_shop, room, "shop.junk")
    await do(local_shop, room, "shop.sell", sku="tea")

    got = {one.message["type"]: one.message["data"] for one in await receiver.count(room, 4)}
    assert got.keys() == {"junk", "", "cut", "order.paid"}
    assert got["junk"] == {"room": room, "value": "no { json"}
    assert got["cut"] == {"room": room, "name": "\ufffd"}
    await until_counted(local_shop, room, pending=0)


async def test_webhook_nothing_is_kept_without_a_url(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """No outbox grows where nobody listens, and nothing can be put into it."""
    worker = await start_worker(embedded_url, plugins=[Shop()])
    await worker.open_room(room)
    await do(worker, room, "shop.sell", sku="tea")
    assert await raw(worker, room, "EXISTS", "outbox") == 0
    host = await worker.control(room)
    assert await host.refused("webhook.redeliver", all=True) == "not_allowed"
    assert (await host.ask("webhook.dead"))["entries"] == []


# Receivers that fail.


async def test_webhook_is_tried_again_on_schedule(
    shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """After 500: again 5 s later by the store's clock, not before, with the same id and body."""
    receiver.answer = status(500)
    await shop.open_room(room)
    await do(shop, room, "shop.sell", sku="tea")
    (first,) = await receiver.count(room, 1)
    await until_failed(shop, room, first.id.rpartition("_")[2], 1)

    receiver.answer = taken
    shop.node.store.skew_ms = 2000
    await do(shop, room, "shop.sell", sku="later")
    await receiver.count(room, 2)
    assert receiver.of(room)[1].id != first.id
    await until_counted(shop, room, delivered=1, pending=1, retrying=1)

    shop.node.store.skew_ms = round(SCHEDULE_S[0] * 1000 * JITTER)
    await do(shop, room, "shop.nudge")
    again = (await receiver.count(room, 3))[2]
    assert (again.id, again.body) == (first.id, first.body)
    assert again.headers["webhook-timestamp"] > first.headers["webhook-timestamp"]
    check_signature(again)
    await until_counted(shop, room, pending=0, retrying=0, delivered=2)
    assert metric(shop, "liveroom_webhook_failures_total") == 1


async def test_webhook_is_given_up_and_delivered_by_hand(
    shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """After the last attempt it stands among the dead; redelivered it has the id that it had."""
    receiver.answer = status(503)
    await shop.open_room(room)
    await do(shop, room, "shop.sell", sku="tea")
    await receiver.count(room, 1)
    entry = receiver.of(room)[0].id.rpartition("_")[2]
    for n, seconds in enumerate(SCHEDULE_S, 1):
        await until_failed(shop, room, entry, n)
        shop.node.store.skew_ms += round(seconds * 1000 * JITTER)
        await do(shop, room, "shop.nudge")
        await receiver.count(room, n + 1)
    await until_counted(shop, room, pending=0, retrying=0, dead=1, given_up=1)
    assert len({got.id for got in receiver.of(room)}) == 1

    host = await shop.control(room)
    (row,) = (await host.ask("webhook.dead"))["entries"]
    assert row["webhook"] == receiver.of(room)[0].id
    assert (row["type"], row["attempts"], row["why"]) == ("order.paid", 7, "status 503")
    assert orjson.loads(row["body"]) == {"sku": "tea", "i": 1}
    assert metric(shop, "liveroom_webhooks_dead_total") == 1

    receiver.answer = taken
    assert await host.ask("webhook.redeliver", id=row["id"]) == {"moved": 1, "left": 0}
    got = await receiver.count(room, 8)
    assert (got[7].id, got[7].body) == (got[0].id, got[0].body)
    await until_counted(shop, room, pending=0, dead=0, delivered=1, redelivered=1)
    assert await host.refused("webhook.redeliver", id=row["id"]) == "not_found"


async def test_webhook_that_is_gone_is_given_up_at_once(
    local_shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """410: no further attempt; all of them can be put back, page by page."""
    receiver.answer = status(410)
    await local_shop.open_room(room)
    await do(local_shop, room, "shop.sell", sku="tea", times=12)
    await receiver.count(room, 12)
    await until_counted(local_shop, room, pending=0, dead=12)

    host = await local_shop.control(room)
    seen: list[str] = []
    after: dict[str, str] = {}
    while page := (await host.ask("webhook.dead", limit=5, **after))["entries"]:
        seen += [row["webhook"] for row in page]
        after = {"after": page[-1]["id"]}
    assert len(set(seen)) == len(seen) == 12

    receiver.answer = taken
    assert await host.ask("webhook.redeliver", all=True) == {"moved": 12, "left": 0}
    got = await receiver.count(room, 24)
    assert {one.id for one in got[12:]} == set(seen)
    await until_counted(local_shop, room, pending=0, dead=0, delivered=12)


async def test_webhook_redirects_are_not_followed(
    local_shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """A message is for the URL that was configured and no other."""
    async with receiving() as elsewhere:
        receiver.answer = status(307, Location=elsewhere.url)
        await local_shop.open_room(room)
        await do(local_shop, room, "shop.sell", sku="tea")
        (got,) = await receiver.count(room, 1)
        await until_failed(local_shop, room, got.id.rpartition("_")[2], 1)
        assert elsewhere.got == []


async def test_webhook_waits_as_long_as_the_receiver_asks(
    local_shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """Retry-After beyond the schedule holds; without limits it does not."""
    receiver.answer = status(429, **{"Retry-After": "60"})
    await local_shop.open_room(room)
    await do(local_shop, room, "shop.sell", sku="tea")
    (got,) = await receiver.count(room, 1)
    entry = got.id.rpartition("_")[2]
    await until_failed(local_shop, room, entry, 1)
    now_ms = (await local_shop.node.hub.commit(room, [])).now_ms
    due_ms = float(await raw(local_shop, room, "ZSCORE", "hooktry", entry))
    assert 50_000 < due_ms - now_ms <= 60_000

    receiver.answer = status(503, **{"Retry-After": "99999999"})
    local_shop.node.store.skew_ms = 60_000
    await do(local_shop, room, "shop.nudge")
    await until_failed(local_shop, room, entry, 2)
    now_ms = (await local_shop.node.hub.commit(room, [])).now_ms
    due_ms = float(await raw(local_shop, room, "ZSCORE", "hooktry", entry))
    assert 3_500_000 < due_ms - now_ms <= 3_600_000


class Rude:
    """A server that answers with bytes of its own, or not at all."""

    def __init__(self, answer: bytes, *, close: bool) -> None:
        self._answer = answer
        self._close = close
        self.asked = 0
        self._gone = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a request's head and be rude."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        writer.write(self._answer)
        if not self._close:
            await self._gone.wait()
        writer.transport.abort() if not self._answer else writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve; yield the URL."""
        server = await asyncio.start_server(self.handle, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            self._gone.set()


@pytest.mark.parametrize(
    ("answer", "close", "reason"),
    [
        (b"", True, "connection"),
        (b"", False, "timeout"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", True, None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", True, None),
        (b"HTTP/1.1 999 \xff\xfe\r\n\r\n", True, None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", True, None),
    ],
    ids=["reset", "hangs", "junk", "endless-header", "odd-status", "odd-chunks"],
)
async def test_webhook_receiver_that_answers_no_http_is_a_failed_attempt(
    embedded_url: str, start_shop: Sell, room: str, answer: bytes, close: bool, reason: str | None
) -> None:
    """Counted, to be tried again; the worker lives on."""
    rude = Rude(answer, close=close)
    async with rude.serving() as url:
        worker = await start_shop(embedded_url, webhook_url=url, webhook_timeout_s=0.3)
        await worker.open_room(room)
        await do(worker, room, "shop.sell", sku="tea")
        (entry,) = [
            row[0].decode() for row in await raw(worker, room, "XRANGE", "outbox", "-", "+")
        ]
        await until_failed(worker, room, entry, 1)
        assert metric(worker, "liveroom_webhook_failures_total") == 1
    if reason is not None:
        assert f'reason="{reason}"'.encode() in worker.node.metrics.render()
    assert await pending(worker, room) == 1


@pytest.mark.parametrize(
    ("answer", "close"),
    [
        (HEAD + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 200_000, False),
        (HEAD + b"Content-Length: 10\r\n\r\nshort", True),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", True),
    ],
    ids=["huge", "short", "gzip"],
)
async def test_webhook_is_taken_whatever_stands_behind_the_status(
    embedded_url: str, start_shop: Sell, room: str, answer: bytes, close: bool
) -> None:
    """2xx has decided; a body is read as far as it is cheap."""
    rude = Rude(answer, close=close)
    async with rude.serving() as url:
        worker = await start_shop(embedded_url, webhook_url=url)
        await worker.open_room(room)
        await do(worker, room, "shop.sell", sku="tea")
        await until_counted(worker, room, pending=0, delivered=1)
    assert rude.asked == 1


async def test_webhook_receiver_that_is_down_uses_up_few_attempts(
    local_shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """After ten failures in a row nothing is begun for a while; when it is back, all comes."""
    receiver.answer = status(500)
    await local_shop.open_room(room)
    await do(local_shop, room, "shop.sell", sku="tea", times=100)
    await receiver.count(room, 10)
    receiver.answer = taken

    async def all_came() -> bool:
        return len({got.id for got in receiver.of(room)}) == 100

    await until(all_came)
    # What was on its way, and single attempts.
    assert 10 <= metric(local_shop, "liveroom_webhook_failures_total") <= 24


async def test_webhook_log_tells_no_secret(
    embedded_url: str, start_shop: Sell, receiver: Receiver, room: str
) -> None:
    """Neither the secret nor what stands in the URL, though a failure is told."""
    receiver.answer = status(500)
    with structlog.testing.capture_logs() as lines:
        worker = await start_shop(embedded_url, webhook_url=receiver.url + "?token=hunter22")
        await worker.open_room(room)
        await do(worker, room, "shop.sell", sku="tea")
        (got,) = await receiver.count(room, 1)
        await until_failed(worker, room, got.id.rpartition("_")[2], 1)
    told = [line for line in lines if line["event"] == "webhook not taken"]
    assert [(line["webhook"], line["why"]) for line in told] == [(got.id, "status 500")]
    assert not any(word in str(lines) for word in ("hunter22", SECRET, SECRET[6:]))


# Workers that die.


class Gate:
    """Holds answers back until it is opened."""

    def __init__(self) -> None:
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let the answers go."""
        self._open.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take it, late."""
        await self._open.wait()
        return web.Response()


async def test_webhook_of_a_worker_that_hangs_is_taken_over(
    store_url: str, start_shop: Sell, receiver: Receiver, room: str
) -> None:
    """While the lease holds nobody else sends; then another does, under the same id."""
    pair = [await start_shop(store_url, webhook_timeout_s=30.0) for _ in range(2)]
    await pair[0].open_room(room)
    for worker in pair:
        await worker.join(room, "ann")  # both serve the room
    gate = Gate()
    receiver.answer = gate.answer
    await do(pair[0], room, "shop.sell", sku="tea")
    await receiver.count(room, 1)
    for worker in pair:
        assert (await do(worker, room, "webhook.take", worker="x", limit=8, lease_ms=1))["busy_ms"]

    receiver.answer = taken
    for worker in pair:
        worker.node.store.skew_ms = 36_000
    await do(pair[0], room, "shop.nudge")
    first, second = await receiver.count(room, 2)
    assert (first.id, first.body) == (second.id, second.body)
    await until_counted(pair[0], room, pending=0, delivered=1)
    gate.open()  # the first one's answer comes after all, and changes nothing
    await do(pair[0], room, "shop.sell", sku="milk")
    await until_counted(pair[0], room, pending=0, delivered=2)
    assert len(receiver.of(room)) == 3


async def test_webhook_of_a_worker_that_stopped_is_sent_again(
    embedded_url: str, start_shop: Sell, receiver: Receiver, room: str
) -> None:
    """It went between sending and telling: the next one sends it again, under the same id.

    Nobody is in the room by then: the sweep finds it.
    """
    gate = Gate()
    receiver.answer = gate.answer
    async with harness.running_worker(
        embedded_url, plugins=[Shop()], webhook_url=receiver.url, webhook_secret=SECRET
    ) as dying:
        await dying.open_room(room)
        await do(dying, room, "shop.sell", sku="tea")
        await receiver.count(room, 1)

    receiver.answer = taken
    worker = await start_shop(embedded_url)
    worker.node.store.skew_ms = LEASE_MS + 10_000
    courier = webhooks(worker).courier
    assert courier is not None
    assert worker.node.hub.room(room) is None
    await courier.sweep()
    first, second = await receiver.count(room, 2)
    assert (first.id, first.body) == (second.id, second.body)
    gate.open()
    await until_counted(worker, room, pending=0, delivered=1)


async def test_webhook_without_an_event_is_found_by_the_sweep(
    store_url: str, start_shop: Sell, receiver: Receiver, room: str
) -> None:
    """Whoever comes first sweeps, when it starts and every 15 s; nobody else does meanwhile."""
    first = await start_shop(store_url)
    await first.open_room(room)
    await until_listed(first, room)
    await do(first, room, "shop.quiet", sku="tea")
    await do(first, "~w07", "shop.quiet", room=room, sku="purse")
    assert receiver.of(room) == []
    try:
        await raw(first, "~sys", "DEL", "lease:webhooks")
        second = await start_shop(store_url)
        got = await receiver.count(room, 2)
        holder = await raw(first, "~sys", "GET", "lease:webhooks")
    finally:
        await raw(first, "~sys", "SET", "lease:webhooks", "nobody|9999999999999")
    assert {one.message["data"]["sku"] for one in got} == {"tea", "purse"}
    await until_counted(second, room, pending=0, delivered=1)
    assert len(receiver.of(room)) == 2
    assert holder.partition(b"|")[0].decode() == second.node.worker


async def until_listed(worker: harness.Worker, room: str) -> None:
    """Wait until the room stands in the list of rooms."""

    async def listed() -> bool:
        return room in (await do(worker, "~sys", "rooms.list"))["rooms"]

    await until(listed)


async def test_webhook_report_that_was_lost_is_told_again(
    local_shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """Telling twice how an attempt ended counts once."""
    receiver.answer = status(500)
    await local_shop.open_room(room)
    await do(local_shop, room, "shop.sell", sku="tea")
    (got,) = await receiver.count(room, 1)
    entry = got.id.rpartition("_")[2]
    await until_failed(local_shop, room, entry, 1)
    row = {"id": entry, "n": 0, "why": "x", "gone": False, "after_ms": 0, "jitter": 0}
    body = {"worker": local_shop.node.worker, "ok": [], "failed": [row]}
    local_shop.node.store.skew_ms = 6000
    taken_now = await do(
        local_shop, room, "webhook.take", worker=local_shop.node.worker, limit=1, lease_ms=9000
    )
    assert taken_now["entries"][0]["n"] == 1
    await do(local_shop, room, "webhook.done", **body)
    assert await raw(local_shop, room, "HGET", "hookn", entry) == b"1"
    other = body | {"worker": "another", "failed": [row | {"n": 1}]}
    await do(local_shop, room, "webhook.done", **other)
    assert await raw(local_shop, room, "HGET", "hookn", entry) == b"1"
    twice = {"worker": "another", "ok": [entry], "failed": []}
    assert (await do(local_shop, room, "webhook.done", **twice))["delivered"] == 1
    assert (await do(local_shop, room, "webhook.done", **twice))["delivered"] == 0


async def test_webhook_dead_are_bounded(
    local_shop: harness.Worker, receiver: Receiver, room: str
) -> None:
    """The oldest of 10,000 makes room; how many were given up is still known."""
    await local_shop.open_room(room)
    store: Any = local_shop.node.store
    base = base_key(room)
    fill = (
        "for i = 1, 10000 do redis.call('XADD', KEYS[1], '*', 't', 'old', 'd', '{}', 'i', '1-1',"
        " 'n', 7, 'why', 'x') end"
    )
    await store.ask(store._topology.address(base), "EVAL", fill, "1", f"{base}:dead")
    receiver.answer = status(410)
    await do(local_shop, room, "shop.sell", sku="tea", times=3)
    await until_counted(local_shop, room, dead=10_000, given_up=3)

    host = await local_shop.control(room)
    receiver.answer = taken
    assert await host.ask("webhook.redeliver", all=True) == {"moved": 500, "left": 9500}
    await receiver.count(room, 503)


# Who may, and what stops the start.


async def test_webhook_commands_are_for_hosts(local_shop: harness.Worker, room: str) -> None:
    """Moderators and viewers are refused; so are odd bodies."""
    await local_shop.open_room(room)
    viewer = await local_shop.join(room, "ann")
    moderator = await local_shop.control(room, "mod", "moderator")
    host = await local_shop.control(room)
    commands: tuple[tuple[str, dict[str, Any]], ...] = (
        ("webhook.dead", {}),
        ("webhook.redeliver", {"all": True}),
    )
    for op, d in commands:
        assert await viewer.refused(op, **d) == "unknown_op"
        assert await moderator.refused(op, **d) == "forbidden"
    odd: tuple[tuple[str, dict[str, Any]], ...] = (
        ("webhook.dead", {"limit": 0}),
        ("webhook.dead", {"limit": 101}),
        ("webhook.dead", {"after": "+"}),
        ("webhook.redeliver", {}),
        ("webhook.redeliver", {"id": "1-1", "all": True}),
        ("webhook.redeliver", {"id": "99999999999999999999-0"}),
    )
    for op, d in odd:
        assert await host.refused(op, **d) == "bad_request", (op, d)
    assert await host.refused("webhook.redeliver", id="1-1") == "not_found"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("webhook_url", "ftp://shop.example/"),
        ("webhook_url", "shop.example/hooks"),
        ("webhook_url", "https://"),
        ("webhook_url", "https://shop.example:99999/"),
        ("webhook_url", "https://user:hunter22@shop.example/"),
        ("webhook_secret", ""),
        ("webhook_secret", base64.b64encode(KEY).decode()),
        ("webhook_secret", "whsec_hunter22"),
        ("webhook_secret", "whsec_" + base64.b64encode(KEY[:23]).decode()),
        ("webhook_secret", "whsec_" + base64.b64encode(bytes(65)).decode()),
        ("webhook_secret", SECRET + " hunter22"),
        ("webhook_timeout_s", 0.0),
        ("webhook_timeout_s", float("inf")),
    ],
)
async def test_webhook_settings_that_cannot_be_used_stop_the_start(
    embedded_url: str, start_shop: Sell, setting: str, value: Any
) -> None:
    """With the setting's name and no word of a secret."""
    with pytest.raises(ConfigError) as refused:
        await start_shop(embedded_url, **{setting: value})
    assert refused.value.setting == setting
    assert "hunter22" not in str(refused.value)
