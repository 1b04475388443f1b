"""The auditor: what is wrong is named, what is sound is left alone, and the trail tells the truth."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import orjson
import pytest

import harness
from drops import topup
from harness import until
from liveroom import Op, Plugin
from liveroom.auditing import Report, run_audit
from liveroom.config import load
from liveroom.errors import ConfigError, StoreError
from liveroom.features.auditor import Auditor
from liveroom.features.wallet import shard_of
from liveroom.store.redis import base_key


QUICK_S = 0.1
BY_HAND_S = 300.0
"""An interval in which no audit happens by itself during a test."""
TURN_MS = 271_000
"""What the lease of such an audit lasts, and a second."""


class Shop(Plugin):
    """Keeps a stock that can be counted two ways."""

    name = "shop"
    lua = """
-- Keys: `shop` hash (total, left), `shop.sold` list.
ops['shop.stock'] = function(op) write('HSET', key('shop'), 'total', op.d.n, 'left', op.d.n) end
ops['shop.sell'] = function(op)
  local left = tonumber(call('HGET', key('shop'), 'left') or 0)
  if left < 1 then fail('sold_out', 'nothing is left') end
  write('HINCRBY', key('shop'), 'left', -1)
  write('RPUSH', key('shop.sold'), op.u)
  emit('shop.sold', {left = left - 1})
end
checks.shop = function(report)
  local shop = hash('shop')
  local expected = tonumber(shop.total or 0) - call('LLEN', key('shop.sold'))
  report('shop.stock', 'shop left', expected, tonumber(shop.left or 0))
  if shop.trouble then error('no such thing') end
  for i = 1, tonumber(shop.many or 0) do report(i, nil, 'a', string.char(200 + i % 50)) end
end
"""


@pytest.fixture
async def quick(store_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """A worker that audits all the time."""
    return await start_worker(store_url, plugins=[Shop()], audit_every_s=QUICK_S)


@pytest.fixture
async def slow(embedded_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """A worker that audits when a test says so."""
    return await start_worker(embedded_url, plugins=[Shop()], audit_every_s=BY_HAND_S)


async def raw(worker: harness.Worker, scope: str, command: str, name: str, *args: str) -> Any:
    """Change the store by hand; the name is that of a key of the scope, or empty for its base."""
    store: Any = worker.node.store
    base = base_key(scope)
    full = f"{base}:{name}" if name else base
    return await store.ask(store._topology.address(base), command, full, *args)


async def do(worker: harness.Worker, scope: str, op: str, user: str = "u", /, **d: Any) -> Any:
    """Run an operation."""
    committed = await worker.node.hub.commit(scope, [Op(op, user, d)])
    assert committed.replies[0][:1] == b"+", committed.replies
    return orjson.loads(committed.replies[0][1:])


def metric(worker: harness.Worker, name: str, **labels: str) -> float:
    """Return a metric's value, 0 if it was never counted; without labels the sum over them."""
    shown = ",".join(f'{label}="{value}"' for label, value in labels.items())
    lines = worker.node.metrics.render().decode().splitlines()
    rows = [line for line in lines if line.startswith((f"{name} ", f"{name}{{{shown}"))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in rows)


async def until_metric(worker: harness.Worker, name: str, least: float, **labels: str) -> None:
    """Wait until a metric has come so far."""

    async def reached() -> bool:
        return metric(worker, name, **labels) >= least

    await until(reached)


async def audit(worker: harness.Worker) -> None:
    """Have a worker audit now, as it does by itself every `audit_every_s`."""
    auditor = next(p for p in worker.node.manager.plugins if isinstance(p, Auditor))
    await auditor.audit()


# What is wrong.


async def test_audit_leaves_a_busy_room_alone(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Gifts, sales and edits from two workers, audited all the while: nothing is found."""
    pair = [
        await start_worker(store_url, plugins=[Shop()], audit_every_s=QUICK_S) for _ in range(2)
    ]
    await pair[0].open_room(room)
    hosts = [await worker.control(room, f"host{n}") for n, worker in enumerate(pair)]
    await do(pair[0], room, "shop.stock", n=100_000)
    users = [f"u{n}-{room}" for n in range(4)]
    for user in users:
        await topup(pair[0], user, 10**9)
    viewers = [await pair[n % 2].join(room, user) for n, user in enumerate(users)]

    async def give(n: int, viewer: harness.Client) -> None:
        for i in range(100_000):
            await viewer.ask("gift.send", key=f"g{i}", gift="rose", n=1 + i % 3)
            await do(pair[n % 2], room, "shop.sell")
            if i % 10 == 0:
                await hosts[n % 2].ask("room.update", title=f"{n} {i}")

    giving = [asyncio.create_task(give(n, viewer)) for n, viewer in enumerate(viewers)]
    for worker in pair:
        await until_metric(worker, "liveroom_audits_total", 80)
    for task in giving:
        task.cancel()
    await asyncio.gather(*giving, return_exceptions=True)
    checked = await hosts[0].ask("audit.check")
    assert checked["sound"], checked
    assert {"log.position", "states.version", "ledger.sum", "money.paid", "shop.stock"} <= set(
        checked["counted"]
    )
    for worker, host in zip(pair, hosts, strict=True):
        assert metric(worker, "liveroom_invariants_broken_total") == 0
        assert host.events("audit.alarm") == []


CORRUPTIONS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "stock": (("HINCRBY", "shop", "left", "3"), "shop.stock", "shop left"),
    "ledger": (("HINCRBY", "ledger", "host", "500"), "ledger.sum", "ledger"),
    "position": (("HINCRBY", "", "seq", "7"), "log.position", "seq"),
    "state": (("HINCRBY", "stv", "room", "1"), "states.version", "st room"),
    "head": (("HSET", "", "trail", "0" * 40), "trail.head", "trail"),
    "trouble": (("HSET", "shop", "trouble", "1"), "shop", "shop"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
async def test_audit_names_what_was_changed_by_hand(
    quick: harness.Worker, room: str, name: str
) -> None:
    """The hosts are told the check and the key; it is counted; the command says the same."""
    change, what, key = CORRUPTIONS[name]
    await quick.open_room(room)
    host, viewer = await quick.control(room), await quick.join(room, "ann")
    moderator = await quick.control(room, "mod", "moderator")
    await do(quick, room, "shop.stock", n=10)
    await do(quick, room, "shop.sell")
    assert (await host.ask("audit.check"))["sound"]

    await raw(quick, room, change[0], *change[1:])
    alarm = await host.event("audit.alarm")
    assert alarm["d"]["room"] == room
    assert [(row["what"], row["key"]) for row in alarm["d"]["broken"]] == [(what, key)]
    assert metric(quick, "liveroom_invariants_broken_total", what=what) >= 1
    assert metric(quick, "liveroom_invariants_broken_now") >= 1
    checked = await host.ask("audit.check")
    assert not checked["sound"]
    assert [row["what"] for row in checked["broken"]] == [what]
    for other in (viewer, moderator):
        await other.ask("sys.ping")
        assert other.events("audit.alarm") == []


async def test_audit_bears_with_odd_checks_and_many_findings(
    quick: harness.Worker, room: str
) -> None:
    """Names that are none, bytes that are no text, more than anybody reads: told once, in part."""
    await quick.open_room(room)
    host = await quick.control(room)
    await raw(quick, room, "HSET", "shop", "many", "70")
    alarm = (await host.event("audit.alarm"))["d"]
    assert (len(alarm["broken"]), alarm["more"]) == (20, 30)
    assert alarm["broken"][0] == {"what": "1", "key": "", "expected": "a", "found": "\ufffd"}
    audits = metric(quick, "liveroom_audits_total")
    await until_metric(quick, "liveroom_audits_total", audits + 60)
    await host.ask("sys.ping")
    assert len(host.events("audit.alarm")) == 1
    assert len((await host.ask("audit.check"))["broken"]) == 70


async def test_audit_finds_a_hole_in_the_log(quick: harness.Worker, room: str) -> None:
    """One entry that is gone from between others."""
    await quick.open_room(room)
    host = await quick.control(room)
    for _ in range(3):
        await host.ask("room.update", title="x")
    assert (await host.ask("audit.check"))["sound"]
    await raw(quick, room, "XDEL", "log", "2-0")
    (row,) = (await host.event("audit.alarm"))["d"]["broken"]
    assert (row["what"], row["expected"], row["found"]) == ("log.hole", "the next of 1-0", "3-0")
    await raw(quick, room, "XDEL", "log", "4-0")
    (row,) = (await host.ask("audit.check"))["broken"][:1]
    assert (row["what"], row["expected"], row["found"]) == ("log.last", "4-0", "3-0")


async def test_audit_takes_a_trimmed_log_for_what_it_is(slow: harness.Worker, room: str) -> None:
    """Old entries go, all of them after a while; that is no hole."""
    await slow.open_room(room)
    host = await slow.control(room)
    for _ in range(5):
        await host.ask("room.update", title="x")
    await raw(slow, room, "XTRIM", "log", "MAXLEN", "2")
    assert (await host.ask("audit.check"))["sound"]
    await raw(slow, room, "XTRIM", "log", "MAXLEN", "0")
    assert (await host.ask("audit.check"))["sound"]


async def test_audit_finds_a_trail_entry_that_was_removed(quick: harness.Worker, room: str) -> None:
    """The link behind it does not fit any more."""
    await quick.open_room(room)
    host = await quick.control(room)
    for n in range(3):
        await host.ask("room.update", title=str(n))
    entries = (await host.ask("audit.read"))["entries"]
    await raw(quick, room, "XDEL", "trail", entries[2]["id"])
    (row,) = (await host.event("audit.alarm"))["d"]["broken"]
    assert (row["what"], row["key"]) == ("trail.chain", f"trail {entries[3]['id']}")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"{user}": 5}, "wallet.sum"),
        ({"{user}": -5, "~outside": 5}, "wallet.negative"),
        ({"~held": 7, "~outside": -7}, "wallet.held"),
    ],
    ids=["sum", "negative", "held"],
)
async def test_audit_names_a_wallet_that_was_changed_by_hand(
    quick: harness.Worker, room: str, changes: dict[str, int], what: str
) -> None:
    """No host is told of wallets: it is logged and counted, and over when it is put right."""
    user = f"u-{room}"
    shard = shard_of(user)
    await do(quick, shard, "lease.take", name="touch", worker="x", ms=1)  # the shard exists
    found = "liveroom_invariants_broken_total"
    before = metric(quick, found, what=what)

    async def change(sign: int) -> None:
        for account, amount in changes.items():
            by = str(sign * amount)
            await raw(quick, shard, "HINCRBY", "acc", account.format(user=user), by)

    await change(1)
    try:
        await until_metric(quick, found, before + 1, what=what)
        assert metric(quick, "liveroom_invariants_broken_now") >= 1
    finally:
        await change(-1)

    async def over() -> bool:
        return metric(quick, "liveroom_invariants_broken_now") == 0

    await until(over)


# Money in two places.


async def money_found(host: harness.Client) -> dict[str, Any]:
    """Return what is found of the room's money; other features may count it too."""
    broken = (await host.ask("audit.check"))["broken"]
    row: dict[str, Any] = next(row for row in broken if row["what"] == "money.paid")
    return row


async def test_audit_compares_money_paid_with_the_wallets(slow: harness.Worker, room: str) -> None:
    """The books of the room and of the wallets, each sound by itself, must agree."""
    await slow.open_room(room)
    user = f"u-{room}"
    await topup(slow, user, 1000)
    host, viewer = await slow.control(room), await slow.join(room, user)
    await viewer.ask("gift.send", key="k", gift="rose", n=2)

    async def settled() -> bool:
        return bool(await raw(slow, shard_of(user), "HGET", "acc", f"~room:{room}") == b"200")

    await until(settled)
    assert (await host.ask("audit.check"))["sound"]

    for paid, expected in ((300, 200), (100, 200)):
        off = paid - 200
        await raw(slow, room, "HINCRBY", "ledger", "~paid", str(-off))
        await raw(slow, room, "HINCRBY", "ledger", "host", str(off))
        row = await money_found(host)
        assert row == {
            "what": "money.paid", "key": "ledger ~paid", "expected": expected, "found": paid,
        }  # fmt: skip
        await raw(slow, room, "HINCRBY", "ledger", "~paid", str(off))
        await raw(slow, room, "HINCRBY", "ledger", "host", str(-off))
    assert (await host.ask("audit.check"))["sound"]


async def test_audit_bears_with_payments_that_are_on_their_way(
    slow: harness.Worker, room: str
) -> None:
    """Held before, and after the effect, is both right; more than is held is not."""
    await slow.open_room(room)
    user = f"u-{room}"
    shard = shard_of(user)
    await topup(slow, user, 1000)
    host = await slow.control(room)
    hold = {"t": f"t-{room}", "user": user, "amount": 100, "room": room, "key": "k", "digest": "d"}
    await do(slow, shard, "wallet.hold", user, **hold)
    assert (await host.ask("audit.check"))["sound"]

    gift = {"gift": "rose", "n": 1, "combo": False, "price": 100, "name": "u", "staff": False}
    keyed = Op("gift.send", user, gift | {"balance": 900}, "k", "d")
    await slow.node.hub.commit(room, [keyed])
    assert (await host.ask("audit.check"))["sound"]

    await do(slow, room, "gift.send", user, **gift | {"balance": 900})  # of nobody's money
    row = await money_found(host)
    assert (row["expected"], row["found"]) == (100, 200)

    await do(slow, shard, "wallet.settle", t=hold["t"])
    row = await money_found(host)
    assert (row["expected"], row["found"]) == (100, 200)


# Who tells whom, and when.


async def test_audit_tells_again_when_it_changes_or_after_ten_minutes(
    store_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """One worker of two audits in its turn; the hosts of both are told, once."""
    pair = [
        await start_worker(store_url, plugins=[Shop()], audit_every_s=BY_HAND_S) for _ in range(2)
    ]
    await pair[0].open_room(room)
    hosts = [await worker.control(room, f"host{n}") for n, worker in enumerate(pair)]
    turns = 0

    async def round_of_audits() -> None:
        nonlocal turns
        turns += 1
        for worker in pair:
            worker.node.store.skew_ms = turns * TURN_MS
        await audit(pair[turns % 2])
        await audit(pair[(turns + 1) % 2])  # finds that it is done

    async def told(number: int) -> None:
        for host in hosts:

            async def reached(host: harness.Client = host) -> bool:
                return len(host.events("audit.alarm")) >= number

            await until(reached)
            await host.ask("sys.ping")
            assert len(host.events("audit.alarm")) == number

    await round_of_audits()
    await told(0)
    await raw(pair[0], room, "HINCRBY", "ledger", "host", "5")
    await round_of_audits()
    await told(1)
    await round_of_audits()  # as it was, 4.5 minutes later
    await told(1)
    await raw(pair[0], room, "HINCRBY", "ledger", "host", "1")
    await round_of_audits()
    await told(2)
    await round_of_audits()
    await round_of_audits()
    await told(2)
    await round_of_audits()  # 13.5 minutes later
    await told(3)
    rounds = sum(metric(worker, "liveroom_invariants_broken_total") for worker in pair)
    assert rounds == 6

    await raw(pair[0], room, "HINCRBY", "ledger", "host", "-6")
    await round_of_audits()
    assert await raw(pair[0], room, "HLEN", "alarms") == 0
    await raw(pair[0], room, "HINCRBY", "ledger", "host", "6")
    await round_of_audits()
    await told(4)


async def test_audit_tells_the_back_end_too(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """With webhooks an alarm is put into the room's outbox."""
    hooks = {
        "webhook_url": "http://127.0.0.1:9/",
        "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    worker = await start_worker(embedded_url, audit_every_s=QUICK_S, **hooks)
    await worker.open_room(room)
    host = await worker.control(room)
    await raw(worker, room, "HINCRBY", "ledger", "host", "5")
    await host.event("audit.alarm")
    ((_, fields),) = await raw(worker, room, "XRANGE", "outbox", "-", "+")
    assert fields[1] == b"audit.alarm"
    assert orjson.loads(fields[3])["broken"][0]["what"] == "ledger.sum"


async def test_audit_leaves_no_trace_in_a_room_that_is_not_there(
    slow: harness.Worker, room: str
) -> None:
    """Whoever looks does not make it."""
    assert await do(slow, room, "audit.round", worker="w", ms=1000) == {"skipped": True}
    assert (await do(slow, room, "audit.look"))["exists"] is False
    assert await raw(slow, room, "EXISTS", "") == 0


# The trail.

BOTH_WAYS = {"after": "1-1", "before": "2-1"}


def before_of(entries: list[dict[str, str]]) -> str:
    """Return where to go on backwards; from the end at first."""
    return entries[-1]["id"] if entries else ""


async def test_audit_reads_the_trail_page_by_page(quick: harness.Worker, room: str) -> None:
    """Who did what and how it ended, each entry chained to the one before."""
    await quick.open_room(room)
    host = await quick.control(room)
    for n in range(4):
        await host.ask("room.update", title=str(n))
    assert await host.refused("room.update", title="x", if_version=99) == "version_conflict"

    entries: list[dict[str, str]] = []
    after: dict[str, str] = {}
    while (answer := await host.ask("audit.read", limit=2, **after))["entries"]:
        entries += answer["entries"]
        after = {"after": entries[-1]["id"]}
    last = ""
    for entry in entries:
        last = hashlib.sha1((last + entry["e"]).encode()).hexdigest()
        assert entry["h"] == last
    assert answer["head"] == last
    told = [orjson.loads(entry["e"]) for entry in entries]
    assert [row["op"] for row in told] == ["room.open", *["room.update"] * 5]
    assert {row["user"] for row in told} == {"host"}
    assert [row.get("code") for row in told] == [None] * 5 + ["version_conflict"]

    backwards: list[dict[str, str]] = []
    while page := (await host.ask("audit.read", limit=4, before=before_of(backwards)))["entries"]:
        backwards += page
    assert backwards == entries[::-1]


async def test_audit_commands_are_for_hosts(slow: harness.Worker, room: str) -> None:
    """Moderators and viewers are refused; so are odd bodies. Reading leaves no entry."""
    await slow.open_room(room)
    viewer = await slow.join(room, "ann")
    moderator = await slow.control(room, "mod", "moderator")
    host = await slow.control(room)
    for op in ("audit.read", "audit.check"):
        assert await viewer.refused(op) == "unknown_op"
        assert await moderator.refused(op) == "forbidden"
        await host.ask(op)
    for d in ({"limit": 0}, {"limit": 201}, {"after": "-"}, {"after": "1-1 "}, BOTH_WAYS):
        assert await host.refused("audit.read", **d) == "bad_request", d
    assert len((await host.ask("audit.read"))["entries"]) == 1


# From outside.


async def report_of(store_url: str, room: str, **options: Any) -> Report:
    """Run `liveroom audit` on a room."""
    settings = load(environ={}, overrides={"redis": store_url})
    return await asyncio.to_thread(run_audit, settings, room, plugins=[Shop()], **options)


async def test_audit_from_outside_finds_a_room_sound(
    store_url: str, slow_on: harness.Worker, room: str
) -> None:
    """It reads the whole trail, more than a page of it."""
    await slow_on.open_room(room)
    host = await slow_on.control(room)
    for n in range(205):
        await host.ask("room.update", title=str(n))
    report = await report_of(store_url, room, full=True)
    assert (report.sound, report.broken, report.trail) == (True, [], 206)
    assert report.head == (await host.ask("audit.read", limit=1))["head"]
    assert f"{room}: sound" in report.to_text()
    assert orjson.loads(report.to_json())["sound"] is True


async def test_audit_from_outside_names_what_is_broken(
    store_url: str, slow_on: harness.Worker, room: str
) -> None:
    """Also what lies far back in the trail, and more than one thing."""
    await slow_on.open_room(room)
    host = await slow_on.control(room)
    for n in range(150):
        await host.ask("room.update", title=str(n))
    entries = (await host.ask("audit.read", limit=200))["entries"]
    await raw(slow_on, room, "XDEL", "trail", entries[9]["id"])
    await raw(slow_on, room, "HINCRBY", "ledger", "host", "5")
    report = await report_of(store_url, room)
    assert not report.sound
    assert [(row["what"], row["key"]) for row in report.broken] == [
        ("ledger.sum", "ledger"),
        ("trail.chain", f"trail {entries[10]['id']}"),
    ]
    assert "BROKEN ledger.sum at ledger: expected 0, found 5" in report.to_text()
    assert f"{room}: 2 broken" in report.to_text()
    await raw(slow_on, room, "XADD", "trail", "*", "e", "{}", "h", "f" * 40)
    forged = await report_of(store_url, room)
    assert [row["what"] for row in forged.broken[2:]] == ["trail.chain", "trail.head"]


async def test_audit_from_outside_needs_a_room_and_a_store(
    store_url: str, slow_on: harness.Worker, room: str
) -> None:
    """Each with a sentence; internal scopes can be looked at too."""
    with pytest.raises(StoreError, match=room):
        await report_of(store_url, room)
    for name in ("", "a b", "~", "x" * 65):
        with pytest.raises(ConfigError):
            await report_of(store_url, name)
    with pytest.raises(ConfigError):
        await report_of("embedded", room)
    with pytest.raises(StoreError):
        await report_of("unix:///nowhere/store.sock", room)
    assert (await report_of(store_url, "~sys")).sound


@pytest.fixture
async def slow_on(store_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """A worker that audits when a test says so, on every kind of store."""
    return await start_worker(store_url, plugins=[Shop()], audit_every_s=BY_HAND_S)


@pytest.mark.parametrize("value", [0.0, -1.0, 3601.0, float("nan")])
async def test_audit_interval_that_is_none_stops_the_start(
    embedded_url: str, start_worker: harness.StartWorker, value: float
) -> None:
    """With the setting's name."""
    with pytest.raises(ConfigError, match="audit_every_s"):
        await start_worker(embedded_url, audit_every_s=value)
