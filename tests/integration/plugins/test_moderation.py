"""Moderation over the wire and over two workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

import harness
from drops import Hand, check, open_host, pass_time, run
from liveroom.errors import ConfigError
from liveroom.hub.hub import SWEEP_S, TOUCH_EVERY
from liveroom_plugins.moderation import Moderation
from liveroom_plugins.moderation.copies import READ_AGAIN_S
from moderated import PACK, every_byte, late_joiners_see, log_of, moderation, options, say


Pair = tuple[harness.Worker, harness.Worker]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack with one word for each action."""
    path = tmp_path / "mine.toml"
    path.write_text(PACK, encoding="utf-8")
    return path


def write(pack: Path, text: str) -> None:
    """Change a pack."""
    pack.write_text(text, encoding="utf-8")


@pytest.fixture
async def pair(store_url: str, start_worker: harness.StartWorker, pack: Path) -> Pair:
    """Two workers on the store."""
    first, second = [
        await start_worker(store_url, plugins=[Moderation(), Hand()], **options(pack))
        for _ in range(2)
    ]
    return first, second


@pytest.fixture
async def one(embedded_url: str, start_worker: harness.StartWorker, pack: Path) -> harness.Worker:
    """One worker on the engine's own store."""
    return await start_worker(embedded_url, plugins=[Moderation(), Hand()], **options(pack))


async def join(worker: harness.Worker, room: str, user: str, **claims: Any) -> harness.Client:
    """Join with further claims."""
    client = await worker.connect()
    token = worker.token(room, "viewer", user, **claims)
    client.hello = await client.ask("hello", room=room, token=token)
    return client


# Sanctions.


async def test_moderation_mute_holds_on_every_worker_until_it_is_over(
    pair: Pair, room: str
) -> None:
    """Everyone is told of it, the muted one also why; it ends by itself."""
    first, second = pair
    host = await open_host(first, room)
    ann, bob = await first.join(room, "ann"), await second.join(room, "ann")
    other = await second.join(room, "cat")

    answer = await host.ask("mod.mute", user="ann", seconds=60, reason="rude")
    assert answer["user"] == "ann"
    told = await other.event("mod.muted", user="ann")
    assert told["d"] == {"user": "ann", "until_ms": answer["until_ms"], "by": "host"}
    assert (await bob.event("mod.notice"))["d"]["reason"] == "rude"
    assert other.events("mod.notice") == []
    for client in (ann, bob):
        assert (await say(client, "hello"))["err"]["code"] == "muted"
        assert await client.refused("qa.ask", text="why?") == "muted"
    (row,) = (await host.ask("mod.list"))["mute"]
    assert (row["user"], row["name"], row["reason"]) == ("ann", ann.hello["name"], "rude")
    await check(first, room)

    await pass_time(pair, room, 61_000)
    await other.event("mod.unmuted", user="ann", by="")
    await bob.event("mod.notice", what="unmute")
    assert "d" in await say(bob, "hello again")
    assert (await host.ask("mod.list"))["mute"] == []
    await check(first, room)


async def test_moderation_unmute_lets_speak_again(pair: Pair, room: str) -> None:
    """What was lifted is lifted everywhere; a second time there is nothing to lift."""
    first, second = pair
    host, ann = await open_host(first, room), await second.join(room, "ann")
    await host.ask("mod.mute", user="ann", seconds=60)
    await ann.event("mod.notice", what="mute")
    assert await host.ask("mod.unmute", user="ann") == {"user": "ann", "lifted": True}
    await ann.event("mod.notice", what="unmute")
    assert "d" in await say(ann, "hello")
    assert await host.ask("mod.unmute", user="ann") == {"user": "ann", "lifted": False}


async def test_moderation_ban_closes_every_connection_and_keeps_out(pair: Pair, room: str) -> None:
    """4403 on both workers, and again at the door, until the ban is lifted."""
    first, second = pair
    host = await open_host(first, room)
    here, there = await first.join(room, "ann"), await second.join(room, "ann")

    assert await host.ask("mod.ban", user="ann", reason="spam") == {"user": "ann", "until_ms": 0}
    assert [await here.closed(), await there.closed()] == [4403, 4403]
    back = await second.connect()
    token = second.token(room, "viewer", "ann")
    assert await back.refused("hello", room=room, token=token) == "forbidden"
    assert await back.closed() == 4403

    await host.ask("mod.unban", user="ann")
    assert "d" in await say(await second.join(room, "ann"), "hello")
    await host.ask("mod.ban", user="ann", seconds=5)
    await check(first, room)
    await pass_time(pair, room, 6000)
    await second.join(room, "ann")


async def test_moderation_kick_closes_and_lets_come_back(pair: Pair, room: str) -> None:
    """Whoever is kicked may come in again."""
    first, second = pair
    host, ann = await open_host(first, room), await second.join(room, "ann")
    assert await host.ask("mod.kick", user="ann") == {"user": "ann"}
    assert await ann.closed() == 4403
    await second.join(room, "ann")


async def test_moderation_staff_is_not_silenced_from_below(pair: Pair, room: str) -> None:
    """Nor by its equals, nor is a host's word undone by a moderator; viewers have no say."""
    first, second = pair
    host, mod = await open_host(first, room), await second.control(room, "mod", "moderator")
    ann = await first.join(room, "ann")
    await second.control(room, "mod2", "moderator")
    for user in ("host", "mod2", "mod"):
        assert await mod.refused("mod.mute", user=user, seconds=9) == "forbidden"
        assert await mod.refused("mod.ban", user=user) == "forbidden"
        assert await mod.refused("mod.kick", user=user) == "forbidden"
    await host.ask("mod.mute", user="mod2", seconds=60)
    await host.ask("mod.mute", user="ann", seconds=60)
    assert await mod.refused("mod.unmute", user="ann") == "forbidden"
    assert await mod.refused("mod.mute", user="ann", seconds=1) == "forbidden"
    assert await ann.refused("mod.mute", user="mod", seconds=1) == "unknown_op"
    assert await host.refused("mod.mute", user="a b", seconds=1) == "bad_request"
    assert await host.refused("mod.mute", user="ann", seconds=0) == "bad_request"


async def test_moderation_lost_messages_are_made_good(pair: Pair, room: str) -> None:
    """A sanction of which a worker never heard holds there after the next reading."""
    first, second = pair
    await open_host(first, room)
    ann, bob = await second.join(room, "ann"), await second.join(room, "bob")
    rows = {
        what: orjson.dumps({"user": user, "until_ms": 0, "by": "host", "rank": 3}).decode()
        for what, user in (("mute", "ann"), ("ban", "bob"))
    }
    await run(first, room, "hand.write", verb="HSET", key="mod:mute", args=["ann", rows["mute"]])
    await run(first, room, "hand.write", verb="HSET", key="mod:ban", args=["bob", rows["ban"]])
    await run(first, room, "hand.write", verb="HSET", key="mod", args=["rev", 7])

    (await moderation(second)).read_again()
    assert await bob.closed() == 4403
    assert (await say(ann, "hello"))["err"]["code"] == "muted"


async def test_moderation_sanctions_hold_though_every_message_of_the_store_is_lost(
    pair: Pair, room: str
) -> None:
    """Mute and ban with the next reading of the copy, a kick with the next of the log; both in 10 s."""
    assert READ_AGAIN_S < 10
    assert (TOUCH_EVERY + 2) * SWEEP_S < 10  # asks where the log is; then a hole is filled
    first, second = pair
    host = await open_host(first, room)
    ann, bob, cat = [await second.join(room, user) for user in ("ann", "bob", "cat")]
    hub = second.node.hub
    hub.on_publication = lambda publication: None  # type: ignore[method-assign]
    await host.ask("mod.mute", user="ann", seconds=60)
    await host.ask("mod.ban", user="bob")
    await host.ask("mod.kick", user="cat")

    (await moderation(second)).read_again()
    assert await bob.closed() == 4403
    assert (await ann.command("danmaku.send", text="x"))["err"]["code"] == "muted"
    for _ in range(2):
        hub.rooms[room].follower.sweep()
    assert await cat.closed() == 4403


# Modes.


async def test_moderation_modes_limit_viewers_alone(pair: Pair, room: str) -> None:
    """Slow, emotes, level, followers, unique; hosts may always."""
    first, second = pair
    host, ann = await open_host(first, room), await second.join(room, "ann")

    async def mode(**fields: Any) -> None:
        before = {"slow_s": 0, "emote_only": False, "level": 0, "followers": False, "unique": False}
        shown = await host.ask("mod.mode", **(before | fields))
        await ann.state("mod", lambda d: d == shown)

    await mode(slow_s=300)
    assert "d" in await say(ann, "one")
    slow = (await say(ann, "two"))["err"]
    assert slow["code"] == "rate_limited"
    assert 290_000 < slow["retry_ms"] <= 300_000
    await mode(emote_only=True)
    assert (await say(ann, "words"))["err"]["code"] == "not_allowed"
    assert "d" in await say(ann, "🎉👍🏽[笑]")
    await mode(level=5)
    assert (await say(ann, "three"))["err"]["code"] == "not_eligible"
    assert "d" in await say(await join(second, room, "old", level=5), "four")
    await mode(followers=True)
    assert (await say(ann, "five"))["err"]["code"] == "not_eligible"
    await ann.ask("viewer.follow")
    bob = await second.join(room, "bob")
    assert (await say(bob, "never"))["err"]["code"] == "not_eligible"
    await mode(unique=True)
    assert "d" in await say(bob, "something new")
    assert (await say(await second.join(room, "cat"), "Something  NEW"))["err"]["code"] == (
        "not_allowed"
    )
    assert "d" in await say(host, "something new")
    assert await host.refused("mod.mode", slow_s=301) == "bad_request"
    assert await host.refused("mod.mode", slow_s=1, if_version=0) == "version_conflict"


async def test_moderation_followers_mode_lets_followers_speak(
    one: harness.Worker, room: str
) -> None:
    """Whoever follows may speak."""
    host, ann = await open_host(one, room), await one.join(room, "ann")
    await host.ask("mod.mode", followers=True)
    await ann.state("mod")
    await ann.ask("viewer.follow")
    assert "d" in await say(ann, "here I am")


async def test_moderation_repeats_are_refused_and_waves_are_not(
    one: harness.Worker, room: str
) -> None:
    """The third time within half a minute is too often for one; many may say the same."""
    await open_host(one, room)
    ann = await one.join(room, "ann")
    assert "d" in await say(ann, "buy buy")
    assert "d" in await say(ann, "buy  BUY")
    assert (await say(ann, "buy buy"))["err"]["code"] == "rate_limited"
    for number in range(8):
        assert "d" in await say(await one.join(room, f"u{number}"), "666")


# Words.


async def test_moderation_masks_what_a_pack_masks(pair: Pair, room: str) -> None:
    """Everyone sees the mask, late joiners too; the log has rule, version and span."""
    first, second = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    bob = await second.join(room, "bob")
    assert "d" in await say(ann, "you d.o.g.g.o.n.e one")
    assert (await bob.event("danmaku"))["d"]["text"] == "you *** one"
    await late_joiners_see(second, room, "you *** one")

    log = await log_of(host, 1)
    (reason,) = log["rows"][0]["reasons"]
    assert (log["rows"][0]["action"], log["rows"][0]["user"]) == ("mask", "ann")
    assert (reason["rule"], reason["start"], reason["end"]) == ("mine:doggone", 4, 17)
    assert reason["version"] == log["packs"]["mine"]


async def test_moderation_rejects_and_mutes(pair: Pair, room: str) -> None:
    """A word may be refused, or silence whoever says it, on both workers."""
    first, second = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    twin = await second.join(room, "ann")
    assert (await say(ann, "neverever"))["err"]["code"] == "rejected"
    assert await ann.refused("qa.ask", text="neverever?") == "rejected"
    assert (await say(ann, "bigtrouble"))["err"]["code"] == "muted"
    assert (await say(ann, "sorry"))["err"]["code"] == "muted"
    await twin.event("mod.muted", user="ann", by="~moderation")
    assert (await say(twin, "sorry"))["err"]["code"] == "muted"
    assert [row["action"] for row in (await log_of(host, 3))["rows"]] == [
        "mute", "reject", "reject",
    ]  # fmt: skip


async def test_moderation_hosts_may_not_say_superlatives(one: harness.Worker, room: str) -> None:
    """Titles, notices and what the host says are held against the law of adverts; praise is not."""
    host = await open_host(one, room)
    ann = await one.join(room, "ann")
    refused = (await host.command("notice.set", text="全网最低价"))["err"]
    assert refused["code"] == "rejected"
    assert refused["found"][0]["rule"].startswith("ads_cn:")
    assert await host.refused("danmaku.send", text="全网最低价") == "rejected"
    assert await host.refused("room.update", title="全网最低价") == "rejected"
    assert "d" in await say(ann, "全网最低价")
    await host.ask("notice.set", text="最后一件")


async def test_moderation_shadowed_text_reaches_its_author_alone(pair: Pair, room: str) -> None:
    """The author is answered and shown as ever; nobody else is sent a byte of it."""
    first, second = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    twin, near = await first.join(room, "ann"), await first.join(room, "near")
    far = await second.join(room, "far")

    plain, hidden = await say(ann, "good day"), await say(ann, "a ghostword here")
    assert plain["d"].keys() == hidden["d"].keys() == {"id"}
    shape = (await ann.event("danmaku", text="good day"))["d"]
    for client in (ann, twin):
        mine = await client.event("danmaku", text="a ghostword here")
        assert mine["d"].keys() == shape.keys()
        assert mine.keys() == (await client.event("danmaku", text="good day")).keys()
        assert mine["d"]["id"] == hidden["d"]["id"]
    await say(near, "the last word")
    late = await second.join(room, "late")
    again = await first.join(room, "ann")
    for client in (near, far, late, again, host):
        if client not in (late, again):
            await client.event("danmaku", text="the last word")
        assert b"ghostword" not in every_byte(client)
    kept = await run(first, room, "hand.read", verb="LRANGE", key="keep:danmaku", args=[0, -1])
    assert "ghostword" not in str(kept)
    for worker in pair:
        heard = worker.node.hub.room(room)
        assert heard is not None
        assert heard.heard["danmaku"] == 2


async def test_moderation_shadowed_users_talk_to_themselves(pair: Pair, room: str) -> None:
    """Whoever is shadowed is not told so."""
    first, second = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    far = await second.join(room, "far")
    await host.ask("mod.shadow", user="ann", seconds=60)
    await host.ask("room.update", title="after it")  # events are heard in order
    await ann.event("room.updated", title="after it")
    assert "d" in await say(ann, "can you hear me")
    await ann.event("danmaku", text="can you hear me")
    await host.ask("mod.unshadow", user="ann")
    await host.ask("room.update", title="over")
    await ann.event("room.updated", title="over")
    assert "d" in await say(ann, "and now")
    await far.event("danmaku", text="and now")
    for client in (ann, far):
        assert b"shadow" not in every_byte(client)
    assert b"can you" not in every_byte(far)


# What waits.


async def test_moderation_held_messages_wait_for_a_moderator(pair: Pair, room: str) -> None:
    """Nobody sees it until it is approved; then it is its author's message."""
    first, second = pair
    host, mod = await open_host(first, room), await second.control(room, "mod", "moderator")
    ann, bob = await first.join(room, "ann"), await second.join(room, "bob")

    held = (await ann.command("danmaku.send", text="waitplease", color=255))["err"]
    assert held["code"] == "rejected"
    seen = (await mod.event("mod.held", id=held["held"]))["d"]
    assert (seen["user"], seen["text"], seen["rules"]) == ("ann", "waitplease", ["mine:waitplease"])
    assert [entry["id"] for entry in (await host.ask("mod.list"))["held"]] == [held["held"]]
    await check(first, room)
    assert b"waitplease" not in every_byte(bob)

    answer = await mod.ask("mod.approve", id=held["held"])
    shown = (await bob.event("danmaku"))["d"]
    assert (shown["text"], shown["color"], shown["user"]["id"]) == ("waitplease", 255, "ann")
    assert shown["id"] == answer["answer"]["id"]
    await host.event("mod.settled", id=held["held"], how="approved", by="mod")
    assert await host.refused("mod.approve", id=held["held"]) == "not_found"


async def test_moderation_held_messages_are_rejected_or_expire(pair: Pair, room: str) -> None:
    """The author is told; nobody ever sees them; a held question is asked when it is approved."""
    first, second = pair
    host, ann = await open_host(first, room), await second.join(room, "ann")
    one = (await say(ann, "waitplease one"))["err"]["held"]
    two = (await say(ann, "waitplease two"))["err"]["held"]
    three = (await ann.command("qa.ask", text="waitplease, why?"))["err"]["held"]
    await host.ask("mod.reject", id=one)
    await ann.event("mod.notice", what="rejected", held=one)
    await host.ask("mod.approve", id=three)
    assert (await ann.event("qa.asked"))["d"]["user"]["id"] == "ann"
    await pass_time(pair, room, 601_000)
    await ann.event("mod.notice", what="expired", held=two)
    assert await host.refused("mod.approve", id=two) == "not_found"
    assert (await host.ask("mod.list"))["held"] == []
    assert ann.events("danmaku") == []
    await check(first, room)


# Taking back.


async def test_moderation_delete_reaches_screens_and_late_joiners(pair: Pair, room: str) -> None:
    """One message or all of a user's; whoever resumes is told, too."""
    first, second = pair
    host, ann = await open_host(first, room), await second.join(room, "ann")
    bob, far = await first.join(room, "bob"), await second.join(room, "far")
    one = (await say(ann, "first"))["d"]["id"]
    for client, text in ((ann, "second"), (bob, "third"), (host, "fourth")):
        await say(client, text)
    for text in ("first", "second", "third", "fourth"):
        await far.event("danmaku", text=text)

    assert await host.ask("mod.delete", id=one) == {"forgotten": 1, "dropped": 0}
    assert (await far.event("danmaku.deleted"))["d"] == {"ids": [one], "by": "host"}
    mod = await second.control(room, "mod", "moderator")
    assert await mod.refused("mod.delete", user="host") == "forbidden"
    assert await mod.ask("mod.delete", user="ann") == {"forgotten": 1, "dropped": 0}
    await far.event("danmaku.deleted", user="ann")
    assert await host.refused("mod.delete") == "bad_request"

    await late_joiners_see(second, room, "third", "fourth")
    here = {name: far.hello[name] for name in ("epoch", "seq", "sub")}
    back = await second.join(room, "back", resume=here)
    assert back.hello["resumed"]
    await back.event("danmaku.deleted", user="ann")


# The classifier, the packs, the options.


async def test_moderation_classifier_has_a_say(
    embedded_url: str, start_worker: harness.StartWorker, room: str, pack: Path
) -> None:
    """What it says is done; when it hangs, its fallback stands in."""

    over = asyncio.Event()

    async def judge(request: web.Request) -> web.Response:
        text = (await request.json())["text"]
        if text == "hang":
            await over.wait()
        verdict = {"bad": "reject", "odd": "mask"}.get(text, "allow")
        return web.json_response({"verdict": verdict, "label": "mood"})

    app = web.Application()
    app.router.add_post("/", judge)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    settings = options(pack, classifier=url, classifier_ms=300, fallback="reject")
    try:
        worker = await start_worker(embedded_url, plugins=[Moderation()], **settings)
        await open_host(worker, room)
        ann, bob = await worker.join(room, "ann"), await worker.join(room, "bob")
        assert "d" in await say(ann, "fine")
        assert (await say(ann, "bad"))["err"]["code"] == "rejected"
        assert "d" in await say(ann, "odd")
        assert (await bob.event("danmaku", text="***"))["d"]["user"]["id"] == "ann"
        assert (await say(bob, "hang"))["err"]["code"] == "rejected"
    finally:
        over.set()
        await runner.cleanup()


async def test_moderation_packs_are_taken_while_it_runs(
    one: harness.Worker, room: str, pack: Path
) -> None:
    """A pack that cannot be used leaves the former in force, and the log of moderators says why."""
    host, ann = await open_host(one, room), await one.join(room, "ann")
    library = (await moderation(one)).library
    write(pack, PACK.replace("neverever", "somethingelse"))
    await library.reload()
    assert (await say(ann, "somethingelse"))["err"]["code"] == "rejected"
    assert "d" in await say(ann, "neverever")
    write(pack, "name = 3")
    await library.reload()
    assert "mine.toml" in (await host.ask("mod.log"))["problem"]
    assert (await say(ann, "oh somethingelse"))["err"]["code"] == "rejected"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("viewer_packs", ["nothing"]),
        ("filter", 5),
        ("mute_s", 0),
        ("fallback", "perhaps"),
        ("fallbacks", {"qa": "perhaps"}),
        ("classifier", "ftp://x"),
        ("colour", "red"),
        ("viewer_packs", ["/nowhere/pack.toml"]),
    ],
)
async def test_moderation_bad_options_are_named(
    embedded_url: str, start_worker: harness.StartWorker, name: str, value: Any
) -> None:
    """The worker does not start, and says which option."""
    settings = {"plugin": {"moderation": {name: value}}}
    with pytest.raises(ConfigError):
        await start_worker(embedded_url, plugins=[Moderation()], **settings)
