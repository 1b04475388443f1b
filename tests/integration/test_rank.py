"""Leaderboards: who gave, liked and answered most, with names, in one order everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import harness
from harness import Pair, commit
from liveroom import Op
from liveroom.features.like import Likes


def likes_of(worker: harness.Worker) -> Likes:
    """Return the worker's feature, which tells who liked every two seconds."""
    return next(p for p in worker.node.manager.plugins if isinstance(p, Likes))


async def broken(worker: harness.Worker, room: str) -> list[Any]:
    """Return what the auditor finds broken."""
    (found,) = await commit(worker, room, Op("sys.check", "", {}))
    assert {"rank.top", "rank.contribution"} <= found["counted"].keys()
    rows: list[Any] = found.get("broken", [])
    return rows


def taps(**by_user: int) -> Op:
    """Return what the workers commit of who liked how often."""
    names = {user: user.upper() for user in by_user}
    return Op("like.users", "", {"taps": by_user, "names": names})


def has_score(score: int) -> Callable[[Any], bool]:
    """Return a check that a board's first has a score."""
    return lambda d: bool(d["top"][0]["score"] == score)


def place(user: str, score: int) -> dict[str, Any]:
    """Return a row of a board."""
    return {"user": {"id": user, "name": user.upper()}, "score": score}


async def test_rank_contribution_counts_gifts_of_both_workers(pair: Pair, room: str) -> None:
    """What everyone gave, in minor units, is shown to all and is what was paid."""
    first, second = pair
    await first.open_room(room)
    users = [f"{name}-{room}" for name in "abc"]
    ann, bob, eve = [
        await worker.join(room, user)
        for worker, user in zip((first, second, first), users, strict=True)
    ]
    for client in (ann, bob):
        await client.ask("wallet.get")

    await ann.ask("gift.send", key="1", gift="rose", n=3)
    await bob.ask("gift.send", key="1", gift="heart")
    await ann.ask("gift.send", key="2", gift="rose", combo=False)

    shown = {
        "board": "contribution",
        "top": [
            {"user": {"id": users[1], "name": bob.hello["name"]}, "score": 990},
            {"user": {"id": users[0], "name": ann.hello["name"]}, "score": 400},
        ],
    }
    for client in (ann, bob, eve):
        await client.state("rank:contribution", lambda d: d == shown)
    own = await ann.ask("rank.get", board="contribution")
    assert own == shown | {"rank": 2, "score": 400}
    none = await eve.ask("rank.get", board="contribution")
    assert none == shown | {"rank": None, "score": 0}
    late = await second.join(room)
    assert shown in [s["d"] for s in late.hello["states"] if s["st"] == "rank:contribution"]
    assert await broken(first, room) == []


async def test_rank_gift_that_is_refused_or_repeated_counts_for_nothing(
    worker: harness.Worker, room: str
) -> None:
    """A key has one effect; a refusal has none, on the board either."""
    await worker.open_room(room)
    viewer = await worker.join(room, f"u-{room}")
    await viewer.ask("wallet.get")

    for _ in range(2):
        await viewer.ask("gift.send", key="1", gift="rose")
    assert await viewer.refused("gift.send", key="1", gift="rose", n=2) == "key_mismatch"
    for _ in range(2):
        refused = await viewer.refused("gift.send", key="2", gift="rocket", n=9)
        assert refused == "insufficient_funds"

    assert (await viewer.ask("rank.get", board="contribution"))["score"] == 100
    assert await broken(worker, room) == []


async def test_rank_likes_are_told_by_every_worker(pair: Pair, room: str) -> None:
    """Taps are summed per user over workers, in the board after at most two seconds."""
    first, second = pair
    await first.open_room(room)
    ann, tab, bob = (
        await first.join(room, "ann"), await second.join(room, "ann"), await second.join(room, "bob"),
    )  # fmt: skip

    sent = ((ann, 3), (tab, 4), (bob, 6), (ann, 1))
    await asyncio.gather(*(client.ask("like.send", n=n) for client, n in sent))

    for client in (ann, bob):
        shown = await client.state("rank:likes", lambda d: sum(r["score"] for r in d["top"]) == 14)
        assert [(row["user"]["id"], row["score"]) for row in shown["top"]] == [
            ("ann", 8),
            ("bob", 6),
        ]
        assert shown["top"][0]["user"]["name"] == ann.hello["name"]
        await client.state("likes", lambda d: d["total"] == 14)
    assert (await bob.ask("rank.get", board="likes"))["rank"] == 2


async def test_rank_likes_go_in_pages_and_with_the_last_of_them(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Each operation has a bounded number of users; a worker that stops tells what it still has."""
    first, second = await start_worker(embedded_url), await start_worker(embedded_url)
    await first.open_room(room)
    viewer = await second.join(room, "me")
    taps_of_room = likes_of(second)._taps[room]
    for n in range(601):
        taps_of_room.add(f"u{n:03d}", n + 1, f"Name {n}")
    pages = list(taps_of_room.pages())
    assert [len(page.body["taps"]) for page in pages] == [250, 250, 101]
    assert len(taps_of_room) == 0

    for page in pages:
        await commit(second, room, page)
    shown = await viewer.state("rank:likes", lambda d: d["top"][0]["score"] == 601)
    assert [row["user"]["name"] for row in shown["top"]] == [f"Name {600 - n}" for n in range(10)]

    taps_of_room.add("u000", 1000, "Name 0")
    await likes_of(second).stop()
    again = await first.join(room)
    board = await again.ask("rank.get", board="likes")
    assert board["top"][0] == {"user": {"id": "u000", "name": "Name 0"}, "score": 1001}


async def test_rank_order_is_score_then_user(worker: harness.Worker, room: str) -> None:
    """Equal scores stand by user id, the greater first; ten are shown, all have a place."""
    await worker.open_room(room)
    viewer = await worker.join(room, "k")
    await commit(worker, room, taps(**{chr(97 + n): 5 for n in range(12)}), taps(b=1, l=2))

    shown = await viewer.state("rank:likes")
    assert shown["top"] == [place("l", 7), place("b", 6)] + [place(c, 5) for c in "kjihgfed"]
    places = {}
    for user in ("l", "b", "k", "c", "a"):
        client = await worker.join(room, user)
        places[user] = (await client.ask("rank.get", board="likes"))["rank"]
    assert places == {"l": 1, "b": 2, "k": 3, "c": 11, "a": 12}


async def test_rank_state_changes_only_with_the_top(worker: harness.Worker, room: str) -> None:
    """Points below the tenth place are counted and not shown; a batch shows a board once."""
    await worker.open_room(room)
    viewer = await worker.join(room, "z")
    await commit(worker, room, taps(**{chr(97 + n): 50 for n in range(10)}))
    await commit(worker, room, *(taps(y=n) for n in range(1, 5)))
    await commit(worker, room, taps(x=49), taps(x=2))

    await viewer.state("rank:likes", lambda d: d["top"][0] == place("x", 51))
    versions = [item["v"] for item in viewer.items if item.get("st") == "rank:likes"]
    assert versions[-1] == 2
    assert (await viewer.ask("rank.get", board="likes"))["top"][0] == place("x", 51)
    (own,) = await commit(worker, room, Op("rank.get", "y", {"board": "likes"}))
    assert (own["rank"], own["score"]) == (12, 10)
    assert await broken(worker, room) == []


async def test_rank_points_of_one_step_add_up(worker: harness.Worker, room: str) -> None:
    """More users than one command takes, and operations of one batch that meet, lose nothing."""
    await worker.open_room(room)
    many = {f"u{n}": n for n in range(1, 2500)}
    await commit(worker, room, taps(**many), taps(u1=10, u2400=10), taps(u2400=10_000_000))

    wanted = {"u1": 11, "u2": 2, "u1001": 1001, "u2499": 2499, "u2400": 10_002_410}
    answers = await commit(
        worker, room, *(Op("rank.get", user, {"board": "likes"}) for user in wanted)
    )
    assert [answer["score"] for answer in answers] == list(wanted.values())


async def test_rank_shows_large_scores_exactly(worker: harness.Worker, room: str) -> None:
    """Scores are whole numbers up to 2^53, digit for digit."""
    await worker.open_room(room)
    viewer = await worker.join(room, "rich")
    most = 10**13
    await commit(worker, room, *(taps(rich=most) for _ in range(800)), taps(rich=7))

    shown = await viewer.state("rank:likes", lambda d: d["top"] == [place("rich", 800 * most + 7)])
    own = await viewer.ask("rank.get", board="likes")
    assert own == shown | {"rank": 1, "score": 800 * most + 7}


async def test_rank_points_that_are_none_are_not_counted(worker: harness.Worker, room: str) -> None:
    """Zero, negative, fractions, too many: the operation goes on, the board stays."""
    await worker.open_room(room)
    for n in (0, -1, 0.5, 10**13 + 1):
        await commit(worker, room, Op("like.users", "", {"taps": {"u": n}, "names": {}}))
    await commit(worker, room, taps(v=1))

    (own,) = await commit(worker, room, Op("rank.get", "u", {"board": "likes"}))
    assert own == {"board": "likes", "rank": None, "score": 0, "top": [place("v", 1)]}


async def test_rank_shows_the_newest_name(worker: harness.Worker, room: str) -> None:
    """A name is the one that the last points came with; without any the id stands for it."""
    await worker.open_room(room)
    viewer = await worker.join(room)
    await commit(worker, room, Op("like.users", "", {"taps": {"u": 2}, "names": {}}))
    shown = await viewer.state("rank:likes")
    assert shown["top"] == [{"user": {"id": "u", "name": "u"}, "score": 2}]

    for score, name in ((3, "Ün"), (4, '"\\{$1}%d')):
        await commit(worker, room, Op("like.users", "", {"taps": {"u": 1}, "names": {"u": name}}))
        shown = await viewer.state("rank:likes", has_score(score))
        assert shown["top"] == [{"user": {"id": "u", "name": name}, "score": score}]
    assert await broken(worker, room) == []


async def test_rank_refuses_boards_that_are_none(worker: harness.Worker, room: str) -> None:
    """Only the three that there are."""
    await worker.open_room(room)
    viewer = await worker.join(room)
    for board in ("", "names", "rank", "Likes", 5, None, "x" * 10_000):
        assert await viewer.refused("rank.get", board=board) == "bad_request", board
    assert await viewer.refused("rank.get") == "bad_request"


async def test_rank_auditor_names_a_board_that_was_tampered_with(
    worker: harness.Worker, room: str
) -> None:
    """A score that no gift explains is found, and so is a state that is not the board's."""
    await worker.open_room(room)
    viewer = await worker.join(room, f"u-{room}")
    await viewer.ask("wallet.get")
    await viewer.ask("gift.send", key="1", gift="rose")
    assert await broken(worker, room) == []

    await worker.node.store._execute(
        f"lr:{{{room}}}", ("ZINCRBY", f"lr:{{{room}}}:rank:contribution", 5, f"u-{room}")
    )
    found = {row["what"]: (row["expected"], row["found"]) for row in await broken(worker, room)}
    assert found["rank.contribution"] == ("100", "105")
    assert "rank.top" in found
