"""The Python client against a real worker: seen, said, counted, and nothing missed on the way."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import harness
from drops import drop, topup
from liveroom_client import Event, Greeting, HostClient, LiveClient, LiveError, State, connect
from liveroom_client.codec import CodecName
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.moderation import Moderation
from liveroom_plugins.redpackets import RedPackets


PATIENCE_S = 8.0
SKU = {"sku": "s1", "title": "Mug", "price": 2000, "stock": 5}


@pytest.fixture
async def shop(embedded_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """One worker with everything that viewers are offered."""
    plugins = [Coupons(), RedPackets(), Moderation()]
    return await start_worker(embedded_url, plugins=plugins, danmaku_per_s=1000)


@pytest.fixture
async def host(shop: harness.Worker, room: str) -> AsyncIterator[HostClient]:
    """The host of an open room."""
    token = shop.token(room, "host", f"host-{room}")
    async with HostClient(f"ws://127.0.0.1:{shop.port}/control", room=room, token=token) as made:
        await made.open("Demo")
        yield made


def viewer(worker: harness.Worker, room: str, name: str, **options: Any) -> LiveClient:
    """Return a viewer of this test alone."""
    token = worker.token(room, "viewer", f"{name}-{room}", name=name)
    return connect(f"ws://127.0.0.1:{worker.port}/ws", room=room, token=token, **options)


async def seen(
    live: LiveClient, name: str, wanted: Callable[[Event], bool] = lambda _: True
) -> Event:
    """Read until an event comes."""
    async with asyncio.timeout(PATIENCE_S):
        async for item in live:
            if isinstance(item, Event) and item.name == name and wanted(item):
                return item
    raise AssertionError(f"no {name}")


async def until(check: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not check():  # noqa: ASYNC110 -- what is looked at tells nobody
            await asyncio.sleep(0.005)


def tasks_of_clients() -> list[Any]:
    """Return the tasks that clients have started and not ended."""
    coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
    return [one for one in coroutines if "liveroom_client" in one.cr_code.co_filename]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("compress", [False, True])
async def test_sdk_talks_and_is_heard(
    shop: harness.Worker, host: HostClient, room: str, codec: CodecName, compress: bool
) -> None:
    """In both codecs: greeting, a message seen by another, states, likes, the server's time."""
    options: dict[str, Any] = {"codec": codec, "compress": compress}
    async with (
        viewer(shop, room, "ann", **options) as ann,
        viewer(shop, room, "bob", **options) as bob,
    ):
        greeting = ann.state.greeting
        assert greeting is not None
        assert (greeting.user, greeting.role, greeting.resumed) == (f"ann-{room}", "viewer", False)
        assert ann.state.states["room"]["status"] == "open"

        number = await ann.send("你好", mode="top", color=255)
        event = await seen(bob, "danmaku")
        assert (event.d["id"], event.d["text"], event.d["mode"]) == (number, "你好", "top")
        for _ in range(5):
            ann.like()
        await until(lambda: bob.state.states.get("likes") == {"total": 5})
        assert abs(ann.server_now() - shop.node.store.skew_ms - _now_ms()) < 2000
        assert ann.state.figures.junk == bob.state.figures.junk == 0


def _now_ms() -> float:
    import time

    return time.time() * 1000


async def test_sdk_iterates_greeting_states_and_events(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """In order, typed; the end of the client is the end of the loop."""
    async with viewer(shop, room, "ann") as ann:
        kinds: list[str] = []
        await host.notice("Hello")
        async for item in ann:
            kinds.append(type(item).__name__)
            if isinstance(item, Greeting):
                assert item.room == room
            if isinstance(item, State) and item.key == "notice":
                break
        assert kinds[0] == "Greeting"
        assert {"State", "Event"} <= set(kinds)
        await ann.close()
        assert [item async for item in ann if isinstance(item, Greeting)] == []
        with pytest.raises(LiveError, match="closed"):
            await ann.send("too late")


async def test_sdk_takes_part_in_everything(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """Each command of a viewer and those of the host behind it, once."""
    async with viewer(shop, room, "ann") as ann, viewer(shop, room, "bob") as bob:
        before = await ann.balance()
        gift = await ann.gift("rose", 2)
        assert (gift["n"], gift["value"], await ann.balance()) == (2, 200, before - 200)

        await host.open_poll("p1", "Red or blue?", ["red", "blue"], seconds=0)
        assert (await ann.vote("p1", 1))["options"] == [1]
        assert (await host.close_poll("p1"))["tally"] == [0, 1]

        await host.put_item("i1", title="Mug", currency="CNY", skus=[SKU])
        await host.pin("i1")
        await host.pin(None)
        await ann.click("i1")
        await ann.cart("i1", "s1")
        await host.arm("sale1", "s1", price=1000, total=2, per_user=1, run_s=600)
        await host.start_sale("s1")
        held = await ann.reserve("s1", price=1000)
        assert (held["n"], held["price"]) == (1, 1000)
        await ann.cancel(held["reservation"])
        await host.stop_sale("s1")

        prizes = [{"prize": "a", "title": "Mug", "n": 1, "value": 100}]
        await host.open_lottery("d1", "Draw", prizes, 0)
        assert (await bob.enter("d1"))["lottery"] == "d1"
        await host.freeze_lottery("d1")

        await host.open_quiz("q1", "2 + 2?", 60, options=["3", "4"], correct=1)
        assert (await bob.answer("q1", 1))["answered"]
        assert (await host.close_quiz("q1"))["right"] == 1

        number = await ann.question("How large?")
        assert (await bob.upvote(number))["votes"] == 1
        await host.answer_question(number, "Very")

        assert (await ann.follow())["following"]
        await ann.share("friend")
        assert (await ann.rank("contribution"))["rank"] == 1


async def test_sdk_claims_coupons_and_grabs_packets(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """What plugins offer has methods, too."""
    async with viewer(shop, room, "ann") as ann, viewer(shop, room, "bob") as bob:
        await topup(shop, f"host-{room}", 10_000)
        terms = drop()
        del terms["drop"]
        await host.drop_coupons("d1", **terms)
        assert (await ann.claim("d1"))["drop"] == "d1"
        with pytest.raises(LiveError) as caught:
            await ann.claim("d1")
        assert (caught.value.code, caught.value.again) == ("limit_reached", False)

        await host.send_packet("p1", 1000, 2, split="equal")
        shares = [await ann.grab("p1"), await bob.grab("p1")]
        assert [share["amount"] for share in shares] == [500, 500]


async def test_sdk_tells_what_was_refused(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """A typed error with the server's code, fields and key."""
    async with viewer(shop, room, "ann") as ann:
        with pytest.raises(LiveError) as caught:
            await ann.gift("rocket", 3)
        error = caught.value
        assert (error.code, error.again) == ("insufficient_funds", True)
        missing = error.values["price"] - error.values["balance"]
        await topup(shop, f"ann-{room}", missing + 400)
        assert (await ann.gift("rocket", 3, key=error.key or ""))["balance"] == 400
        for op, code in (("no.such", "unknown_op"), ("room.open", "unknown_op")):
            with pytest.raises(LiveError, match=code):
                await ann.ask(op)
        with pytest.raises(LiveError, match="version_conflict"):
            await host.mode(like=False, if_version=99)


async def test_sdk_refused_at_the_door(shop: harness.Worker, room: str) -> None:
    """No such room, a bad token, no such path: an error that says so, and no task left."""
    cases = [
        (f"ws://127.0.0.1:{shop.port}/ws", shop.token(room, "viewer", "ann"), "no_room"),
        (f"ws://127.0.0.1:{shop.port}/ws", "nonsense", "unauthorized"),
        (f"ws://127.0.0.1:{shop.port}/nowhere", "", "refused"),
    ]
    for url, token, code in cases:
        with pytest.raises(LiveError) as caught:
            async with connect(url, room=room, token=token):
                pass
        assert caught.value.code in (code, "bad_token"), url
        assert not caught.value.again
    assert tasks_of_clients() == []


async def test_sdk_hosts_two_rooms_on_one_connection(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """Commands, events and states of each are its own; figures come for those that are watched."""
    other = f"{room}-b"
    token = shop.token(other, "host", f"host-{room}")
    second = await host.join_room(other, token=token)
    await second.open("Other")
    await second.watch()
    await host.mode(like=False)
    stats = await seen(host, "stats")
    assert stats.room == other

    await until(lambda: host.state.states["mode"]["like"] is False)
    assert second.state.states["mode"]["like"] is True
    async with viewer(shop, other, "ann") as ann:
        await ann.send("hi")
        event = await seen(host, "danmaku")
        assert event.room == other
        await second.mute(f"ann-{other}", 60)
        await seen(ann, "mod.muted")
        with pytest.raises(LiveError, match="muted"):
            await ann.send("hi again")
    await host.leave_room(other)
    with pytest.raises(LiveError, match="no_room"):
        await second.open()


async def test_sdk_asks_for_a_token_before_each_connection(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """And for a new one when the last ends, on the same connection."""
    made: list[str] = []

    async def token() -> str:
        await asyncio.sleep(0)
        # Below a minute of life: the worker says at once that it ends.
        made.append(shop.token(room, "viewer", f"ann-{room}", ttl_s=30, jti=secrets.token_hex(4)))
        return made[-1]

    url = f"ws://127.0.0.1:{shop.port}/ws"
    async with connect(url, room=room, token=token) as ann:
        await until(lambda: len(made) >= 2)
        await ann.send("still here")
        assert ann.state.figures.connects == 1


async def test_sdk_reader_that_comes_late_begins_anew(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """Listeners are not held up by a reader that does not come; one that does gets a snapshot."""
    async with viewer(shop, room, "ann", inbox=5) as ann:
        texts: list[str] = []
        ann.on("notice", lambda event: texts.append(event.d["text"]))
        for n in range(20):
            await host.notice(f"n{n}")
        await until(lambda: len(texts) == 20)

        async with asyncio.timeout(PATIENCE_S):
            async for item in ann:
                assert isinstance(item, Greeting)
                break
        assert ann.state.states["notice"]["text"] == "n19"


async def test_sdk_slow_reader_misses_nothing_durable(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """A small inbox, many events, a reader that asks in between: each once, in order."""
    async with viewer(shop, room, "ann", inbox=4) as ann:
        iterator = aiter(ann)
        assert isinstance(await anext(iterator), Greeting)
        for n in range(40):
            await host.notice(f"n{n}")
        texts: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            async for item in iterator:
                if isinstance(item, Event) and item.name == "notice":
                    texts.append(item.d["text"])
                    await ann.balance()
                if len(texts) == 40:
                    break

        assert texts == [f"n{n}" for n in range(40)]


async def test_sdk_listeners_and_raw_hook(
    shop: harness.Worker, host: HostClient, room: str
) -> None:
    """By name, until they are taken off; everything comes raw."""
    async with viewer(shop, room, "ann", inbox=0) as ann:
        raw: list[Any] = []
        said: list[Event] = []
        ann.on("sdk.raw", raw.append)
        off = ann.on("danmaku", said.append)
        await ann.send("one")
        await until(lambda: len(said) == 1)
        off()
        await ann.send("two")
        await until(lambda: sum(item.get("ev") == "danmaku" for item in raw) == 2)
        assert len(said) == 1
        with pytest.raises(LiveError, match="inbox=0"):
            aiter(ann)


async def test_sdk_leaves_no_task_behind(shop: harness.Worker, room: str) -> None:
    """Also when it is closed in the middle of things."""
    await shop.open_room(room)
    ann = viewer(shop, room, "ann")
    await ann.join()
    ann.like(3)
    asked = asyncio.ensure_future(ann.ask("wallet.get", key=True))
    reading = asyncio.ensure_future(anext(aiter(ann)))
    never = viewer(shop, room, "bob")
    joining = asyncio.ensure_future(never.join())
    await asyncio.sleep(0)
    await asyncio.gather(ann.close(), never.close())
    results = await asyncio.gather(asked, reading, joining, return_exceptions=True)

    assert isinstance(results[0], LiveError | dict)
    assert isinstance(results[2], LiveError)
    assert tasks_of_clients() == []
