"""What becomes of messages: late, folded, whispered, deleted; and of other text by viewers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import harness
from drops import Hand, check, open_host, pass_time, run
from liveroom_plugins.counters import Counters
from liveroom_plugins.moderation import Moderation
from moderated import PACK, every_byte, late_joiners_see, log_of, moderation, options, say


Pair = tuple[harness.Worker, harness.Worker]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack with one word for each action."""
    path = tmp_path / "mine.toml"
    path.write_text(PACK, encoding="utf-8")
    return path


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
    plugins = [Moderation(), Counters(), Hand()]
    return await start_worker(embedded_url, plugins=plugins, **options(pack))


async def join_as(worker: harness.Worker, room: str, user: str, name: str) -> harness.Client:
    """Join under a name."""
    client = await worker.connect()
    token = worker.token(room, "viewer", user, name=name)
    client.hello = await client.ask("hello", room=room, token=token)
    return client


async def settled(host: harness.Client, *others: harness.Client) -> None:
    """Wait until everyone has what came before: events are in order."""
    title = f"mark {len(host.items)}"
    await host.ask("room.update", title=title)
    for client in (host, *others):
        await client.event("room.updated", title=title)


def texts(client: harness.Client) -> list[str]:
    """Return the messages that a client was shown."""
    return [item["d"]["text"] for item in client.events("danmaku")]


# Late.


async def delayed(host: harness.Client, message: str) -> None:
    """Wait until a moderator is told of a message."""

    def tells_of_it(item: dict[str, Any]) -> bool:
        messages = item["d"]["messages"] if item.get("ev") == "mod.delayed" else ()
        return message in [one["id"] for one in messages]

    await host.item(tells_of_it)


async def test_moderation_delay_shows_viewers_later_and_moderators_at_once(
    pair: Pair, room: str
) -> None:
    """The answer is that of any message; nobody sees it before, in no history either."""
    first, second = pair
    host, mod = await open_host(first, room), await second.control(room, "mod", "moderator")
    ann, far = await first.join(room, "ann"), await second.join(room, "far")
    await host.ask("mod.mode", delay_s=20)
    await ann.state("mod", lambda d: d["delay_s"] == 20)

    sent = await say(ann, "not yet, you doggone")
    assert sent["d"].keys() == {"id"}
    (seen,) = (await mod.event("mod.delayed"))["d"]["messages"]
    assert (seen["id"], seen["text"]) == (sent["d"]["id"], "not yet, you ***")
    await check(first, room)
    await say(host, "hosts do not wait")
    await far.event("danmaku", text="hosts do not wait")
    await late_joiners_see(second, room, "hosts do not wait")
    await pass_time(pair, room, 15_000)
    await settled(host, ann, far)
    assert b"not yet" not in every_byte(far) + every_byte(ann)

    await pass_time(pair, room, 6_000)
    for client in (ann, far, mod):
        shown = (await client.event("danmaku", text="not yet, you ***"))["d"]
        assert (shown["id"], shown["user"]["id"]) == (sent["d"]["id"], "ann")
    await late_joiners_see(second, room, "hosts do not wait", "not yet, you ***")
    assert await run(first, room, "hand.read", verb="HLEN", key="mod:showing", args=[]) == {
        "value": 0
    }
    assert await host.refused("mod.mode", delay_s=61) == "bad_request"


async def test_moderation_delayed_messages_can_be_dropped(pair: Pair, room: str) -> None:
    """One, or all of whoever is deleted, muted, banned or shadowed; nobody else is told."""
    first, second = pair
    host, far = await open_host(first, room), await second.join(room, "far")
    users = {n: await first.join(room, n) for n in ("ann", "bob", "cat", "dan", "eve", "fay")}
    await host.ask("mod.mode", delay_s=20)
    await users["fay"].state("mod")
    sent = {name: (await say(user, f"by {name}"))["d"]["id"] for name, user in users.items()}
    for message in sent.values():
        await delayed(host, message)

    assert await host.ask("mod.delete", id=sent["ann"]) == {"forgotten": 0, "dropped": 1}
    assert (await host.event("mod.dropped"))["d"] == {"ids": [sent["ann"]], "by": "host"}
    assert await host.ask("mod.delete", user="bob") == {"forgotten": 0, "dropped": 1}
    await host.ask("mod.mute", user="cat", seconds=60)
    await host.ask("mod.ban", user="dan")
    await host.ask("mod.shadow", user="eve")
    await check(first, room)
    await pass_time(pair, room, 21_000)
    await far.event("danmaku", text="by fay")
    await settled(host, far)
    assert texts(far) == ["by fay"]
    assert [e["d"] for e in far.events("danmaku.deleted")] == [{"user": "bob", "by": "host"}]


async def test_moderation_delayed_messages_survive_the_worker_that_was_to_show_them(
    pair: Pair, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the store: what was not shown within 5 s is shown by another worker, once."""
    first, second = pair
    host = await open_host(first, room)
    ann, far = await first.join(room, "ann"), await second.join(room, "far")
    await host.ask("mod.mode", delay_s=5)
    await ann.state("mod")
    await say(ann, "from the grave")
    await host.event("mod.delayed")
    monkeypatch.setattr(await moderation(first), "_show", lambda room, d: None)

    await pass_time(pair, room, 6_000)
    async with asyncio.timeout(harness.PATIENCE_S):
        while not far.events("danmaku"):  # the first may be named again
            for worker in pair:
                worker.node.store.skew_ms += 6_000
            await second.node.hub.commit(room, [])
            await settled(host, far)
    await pass_time(pair, room, 6_000)
    await settled(host, far)
    assert texts(far) == ["from the grave"]
    await check(first, room)


async def test_moderation_what_waits_is_not_shown_in_a_closed_room(pair: Pair, room: str) -> None:
    """Nor in the next session."""
    first, _ = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    await host.ask("mod.mode", delay_s=5)
    await ann.state("mod")
    await say(ann, "too late")
    await host.event("mod.delayed")
    await host.ask("room.close")
    await host.ask("room.open")
    await pass_time(pair, room, 6_000)
    await settled(host)
    assert texts(host) == []


# Folded.


async def test_moderation_waves_are_folded_into_a_line_with_a_count(pair: Pair, room: str) -> None:
    """From the fifth user on its author alone is shown it; none is lost to the count."""
    first, second = pair
    host, far = await open_host(first, room), await second.join(room, "far")
    crowd = [await first.join(room, f"u{n}") for n in range(9)]
    for viewer in crowd:
        assert "d" in await say(viewer, "666")
    async with asyncio.timeout(harness.PATIENCE_S):
        while sum(item["d"]["n"] for item in far.events("danmaku.wave")) < 5:
            await settled(host, far)

    assert {item["d"]["text"] for item in far.events("danmaku.wave")} == {"666"}
    assert texts(far) == ["666"] * 4
    await crowd[8].event("danmaku", text="666")
    own = [e for e in crowd[8].events("danmaku") if e["d"]["user"]["id"] == "u8"]
    assert len(own) == 1
    await late_joiners_see(second, room, *["666"] * 4)


async def test_moderation_waves_need_not_be_folded(
    embedded_url: str, start_worker: harness.StartWorker, pack: Path, room: str
) -> None:
    """Clients that do not know of counts are shown every one."""
    worker = await start_worker(embedded_url, plugins=[Moderation()], **options(pack, fold=False))
    host = await open_host(worker, room)
    for n in range(7):
        await say(await worker.join(room, f"u{n}"), "666")
    async with asyncio.timeout(harness.PATIENCE_S):
        while len(texts(host)) < 7:
            await settled(host)
    assert host.events("danmaku.wave") == []


async def test_moderation_folded_messages_count(one: harness.Worker, room: str) -> None:
    """The figures have all of them."""
    host = await open_host(one, room)
    crowd = [await one.join(room, f"u{n}") for n in range(7)]
    for viewer in crowd:
        await say(viewer, "666")
    await host.ask("counters.watch")
    await host.item(
        lambda item: (
            item.get("ev") == "counters" and item["d"]["metrics"]["kinds"]["danmaku"]["n"] == 7
        )
    )


async def test_moderation_deleted_messages_count_no_more(one: harness.Worker, room: str) -> None:
    """The figures follow, of one message and of all of a user's."""
    host, ann = await open_host(one, room), await one.join(room, "ann")
    bob = await one.join(room, "bob")
    first = (await say(ann, "first"))["d"]["id"]
    for client, text in ((ann, "second"), (bob, "third"), (ann, "fourth")):
        await say(client, text)
    await host.ask("counters.watch")

    async def counted(n: int) -> None:
        await host.item(
            lambda item: (
                item.get("ev") == "counters" and item["d"]["metrics"]["kinds"]["danmaku"]["n"] == n
            )
        )

    await counted(4)
    await host.ask("mod.delete", id=first)
    await counted(3)
    await host.ask("mod.delete", user="ann")
    await counted(1)


# Shadows.


async def test_moderation_shadowed_authors_see_it_on_every_worker(pair: Pair, room: str) -> None:
    """Nobody else is sent a byte, wherever they are."""
    first, second = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    there, far = await second.join(room, "ann"), await second.join(room, "far")
    sent = await say(ann, "a ghostword here")
    for client in (ann, there):
        shown = await client.event("danmaku", text="a ghostword here")
        assert shown["d"]["id"] == sent["d"]["id"]
        assert shown.keys() == {"ev", "ts", "d"}
    await settled(host, ann, there, far)
    assert texts(ann) == texts(there) == ["a ghostword here"]
    late = await second.join(room, "late")
    for client in (far, host, late):
        assert b"ghostword" not in every_byte(client)


async def test_moderation_shadowed_authors_wait_for_the_delay_as_any(pair: Pair, room: str) -> None:
    """Then they see it, on every worker; moderators are not told of it, nor anybody else."""
    first, second = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    there, far = await second.join(room, "ann"), await second.join(room, "far")
    await host.ask("mod.mode", delay_s=20)
    await settled(host, ann)
    assert (await say(ann, "a ghostword here"))["d"].keys() == {"id"}
    async with asyncio.timeout(harness.PATIENCE_S):
        while not (await run(first, room, "hand.read", verb="HLEN", key="mod:late", args=[]))[
            "value"
        ]:
            pass
    await settled(host, ann, there)
    assert texts(ann) == texts(there) == []
    await pass_time(pair, room, 21_000)
    for client in (ann, there):
        await client.event("danmaku", text="a ghostword here")
    await settled(host, far)
    for client in (far, host):
        assert b"ghostword" not in every_byte(client)


async def test_moderation_shadowed_questions_are_answered_as_any(pair: Pair, room: str) -> None:
    """A number that nobody else gets, the event, the pause; hosts and others see nothing of it."""
    first, second = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    far, bob = await second.join(room, "far"), await second.join(room, "bob")
    await host.ask("mod.shadow", user="ann")
    await settled(host, ann, far)

    assert await ann.ask("qa.ask", text="who hears me?") == {"question": 1}
    mine = (await ann.event("qa.asked"))["d"]
    assert mine.keys() == {"question", "user", "text", "asked_ms"}
    assert await ann.refused("qa.ask", text="and now?") == "rate_limited"
    assert await bob.ask("qa.ask", text="and me?") == {"question": 2}
    assert (await far.event("qa.asked"))["d"]["question"] == 2
    assert (await host.ask("qa.list"))["total"] == 1
    await settled(host, far)
    for client in (far, host, bob):
        assert b"who hears" not in every_byte(client)
    await check(first, room)


async def test_moderation_shadowed_users_are_refused_what_everyone_is(
    pair: Pair, room: str
) -> None:
    """Masks, refusals and repeats are as ever; what they say does not count against others."""
    first, _ = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    bob = await first.join(room, "bob")
    await host.ask("mod.shadow", user="ann")
    await host.ask("mod.mode", unique=True)
    await settled(host, ann)
    assert (await say(ann, "neverever"))["err"]["code"] == "rejected"
    await say(ann, "you doggone")
    await ann.event("danmaku", text="you ***")
    await say(ann, "the same")
    assert "d" in await say(bob, "the same")
    assert (await say(ann, "the same"))["err"]["code"] == "not_allowed"


# Names and other text.


async def test_moderation_names_of_viewers_are_looked_at(pair: Pair, room: str) -> None:
    """Masked or made neutral before anybody is shown them; hosts are called as they like."""
    first, second = pair
    host, far = await open_host(first, room), await second.join(room, "far")
    masked = await join_as(first, room, "ann", "d o g g o n e Ann")
    neutral = await join_as(first, room, "bob", "neverever")
    assert masked.hello["name"] == "*** Ann"
    assert neutral.hello["name"] == "viewer"
    await say(masked, "hello")
    assert (await far.event("danmaku"))["d"]["user"]["name"] == "*** Ann"
    await neutral.ask("qa.ask", text="why?")
    assert (await far.event("qa.asked"))["d"]["user"]["name"] == "viewer"
    token = first.token(room, "viewer", "ann", name="neverever")
    await masked.ask("sys.token", token=token)
    await say(masked, "again")
    assert (await far.event("danmaku", text="again"))["d"]["user"]["name"] == "viewer"
    again = await join_as(first, room, "bob", "neverever")
    assert again.hello["name"] == "viewer"
    assert b"neverever" not in every_byte(far)
    rows = (await log_of(host, 3))["rows"]
    assert [(row["action"], row["user"], row["text"]) for row in rows] == [
        ("rename", "ann", "neverever"),
        ("rename", "bob", "neverever"),
        ("rename", "ann", "d o g g o n e Ann"),
    ]


async def test_moderation_names_of_guests_are_looked_at(one: harness.Worker, room: str) -> None:
    """Whoever chooses a name for a day, too."""
    await open_host(one, room)
    client = await one.connect()
    client.hello = await client.ask("hello", room=room, token="guest:neverever 1")
    assert client.hello["name"] == "viewer"


async def test_moderation_where_it_was_shared_is_looked_at(pair: Pair, room: str) -> None:
    """Masked, refused, not for the muted, and without it for the shadowed."""
    first, second = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    far = await second.join(room, "far")
    await ann.ask("viewer.share", to="doggone chat")
    assert (await far.event("viewer.share"))["d"]["to"] == "*** chat"
    assert await ann.refused("viewer.share", to="neverever") == "rejected"
    await host.ask("mod.shadow", user="ann")
    await settled(host, ann)
    assert await ann.ask("viewer.share", to="quiet place") == {}
    await host.ask("mod.mute", user="ann", seconds=60)
    await ann.event("mod.notice", what="mute")
    assert await ann.refused("viewer.share", to="a place") == "muted"
    assert await ann.ask("viewer.share") == {}
    await settled(host, far)
    assert b"quiet place" not in every_byte(far)


async def test_moderation_survey_texts_are_looked_at(one: harness.Worker, room: str) -> None:
    """The score counts whatever the text is; a muted user's text is refused, a shadow's not kept."""
    host = await open_host(one, room)
    ann, bob, cat = [await one.join(room, user) for user in ("ann", "bob", "cat")]
    assert await ann.ask("survey.answer", score=5, text="doggone good") == {"score": 5}
    assert await bob.refused("survey.answer", score=1, text="neverever") == "rejected"
    await host.ask("mod.shadow", user="cat")
    await host.ask("mod.mute", user="bob", seconds=60)
    await settled(host, bob, cat)
    assert await bob.refused("survey.answer", score=1, text="bad") == "muted"
    assert await bob.ask("survey.answer", score=1) == {"score": 1}
    assert await cat.ask("survey.answer", score=2, text="hear me") == {"score": 2}
    session = (await run(one, room, "hand.read", verb="HGET", key="counters", args=["session"]))[
        "value"
    ]
    kept = await run(
        one, room, "hand.read", verb="LRANGE", key=f"counters:{session}:vt", args=[0, -1]
    )
    assert "*** good" in str(kept)
    assert "hear me" not in str(kept)


async def test_moderation_texts_of_activities_are_held_against_the_law(
    one: harness.Worker, room: str
) -> None:
    """Polls, quizzes and draws are host's text as a notice is."""
    host = await open_host(one, room)
    law = "全网最低价"
    poll = {"poll": "p", "title": "?"}
    assert await host.refused("poll.open", key="1", options=[law, "no"], **poll) == "rejected"
    prizes = [{"prize": "a", "title": law, "n": 1}]
    draw = {"lottery": "l", "title": "x", "seconds": 60}
    assert await host.refused("lottery.open", key="2", prizes=prizes, **draw) == "rejected"
    assert "d" in await host.command("poll.open", key="3", options=["yes", "no"], **poll)


async def test_moderation_categories_have_levels_of_their_own(pair: Pair, room: str) -> None:
    """A room may let one category pass and be strict in the others."""
    first, _ = pair
    host, ann = await open_host(first, room), await first.join(room, "ann")
    mode = await host.ask("mod.mode", levels={"swearing": 0}, filter=4)
    assert mode["levels"] == {"swearing": 0}
    await ann.state("mod", lambda d: d["levels"] == {"swearing": 0})
    await say(ann, "you doggone")
    await host.event("danmaku", text="you doggone")
    assert (await host.ask("mod.mode", slow_s=0))["levels"] == {"swearing": 0}
    assert (await host.ask("mod.mode", levels={}))["levels"] == {}
    await ann.state("mod", lambda d: d["levels"] == {} and d["filter"] == 4)
    await say(ann, "oh you doggone")
    await host.event("danmaku", text="oh you ***")
    assert await host.refused("mod.mode", levels={"nonsense": 1}) == "bad_request"
    assert await host.refused("mod.mode", levels={"swearing": 5}) == "bad_request"
