"""Questions to the host: a queue that votes sort, bounded, with its times."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

import harness
from harness import Pair, commit
from liveroom import Op


PAUSE_MS = 60_000


async def broken(worker: harness.Worker, room: str) -> list[Any]:
    """Return what the auditor finds broken."""
    (found,) = await commit(worker, room, Op("sys.check", "", {}))
    assert {"qa.items", "qa.bound", "qa.shown"} <= found["counted"].keys()
    rows: list[Any] = found.get("broken", [])
    return rows


def asked_by(user: str, text: str = "?") -> Op:
    """Return what the script is asked when a user asks."""
    return Op("qa.ask", user, {"text": text, "name": user.upper()})


def vote(user: str, question: int) -> Op:
    """Return what the script is asked when a user votes."""
    return Op("qa.upvote", user, {"question": question})


def skew(worker: harness.Worker, ms: int) -> None:
    """Move the worker's time on."""
    worker.node.store.skew_ms += ms


async def queue(host: harness.Client, **page: Any) -> list[int]:
    """Return the numbers of the host's queue, in order."""
    return [row["question"] for row in (await host.ask("qa.list", **page))["questions"]]


async def test_qa_from_the_question_to_the_answer(pair: Pair, room: str) -> None:
    """Asked on one worker, voted up and answered on another; everyone is shown all of it."""
    first, second = pair
    await first.open_room(room)
    host, ann, bob = (
        await second.control(room), await first.join(room, "ann"), await second.join(room, "bob"),
    )  # fmt: skip

    assert await ann.ask("qa.ask", text=" 有 货 吗？\u202e\n") == {"question": 1}
    asked = (await bob.event("qa.asked", question=1))["d"]
    user = {"id": "ann", "name": ann.hello["name"]}
    assert (asked["user"], asked["text"]) == (user, "有 货 吗？")
    assert await bob.ask("qa.upvote", question=1) == {"question": 1, "votes": 1}
    row = {**asked, "votes": 1}
    for client in (host, ann, bob):
        await client.state("qa", lambda d: d == {"open": 1, "top": [row], "answered": 0})

    skew(second, 5000)
    answer = await host.ask("qa.answer", question=1, text="有")
    assert 5000 <= answer["took_ms"] < 15_000
    for client in (host, ann, bob):
        told = (await client.event("qa.answered", question=1))["d"]
        assert told == {
            "question": 1, "user": user, "asked": "有 货 吗？", "text": "有", "by": "host",
            "took_ms": answer["took_ms"],
        }  # fmt: skip
        shown = await client.state("qa", lambda d: d["answered"] == 1)
        assert shown == {
            "open": 0, "top": [], "answered": 1, "median_answer_ms": answer["took_ms"],
        }  # fmt: skip
    assert await broken(first, room) == []


async def test_qa_queue_is_votes_then_time(worker: harness.Worker, room: str) -> None:
    """The queue and the first ten of the state; of equal votes the earlier question comes first."""
    await worker.open_room(room)
    host = await worker.control(room)
    await commit(worker, room, *(asked_by(f"u{n}") for n in range(1, 13)))
    votes = {5: 3, 9: 3, 2: 1, 12: 5}
    await commit(
        worker, room, *(vote(f"v{i}", number) for number, n in votes.items() for i in range(n))
    )

    wanted = [12, 5, 9, 2, 1, 3, 4, 6, 7, 8, 10, 11]
    assert await queue(host) == wanted
    assert await queue(host, offset=2, limit=3) == wanted[2:5]
    assert await queue(host, offset=12) == []
    shown = await host.state("qa", lambda d: d["top"][0]["question"] == 12)
    assert [row["question"] for row in shown["top"]] == wanted[:10]
    assert [row["votes"] for row in shown["top"]] == [5, 3, 3, 1, 0, 0, 0, 0, 0, 0]
    assert shown["open"] == 12
    page = await host.ask("qa.list", limit=1)
    assert (page["status"], page["total"], page["questions"][0]["votes"]) == ("open", 12, 5)
    assert await broken(worker, room) == []


async def test_qa_vote_counts_once_on_whatever_worker(pair: Pair, room: str) -> None:
    """Tabs on two workers, repeated and at once, are one vote; the asker has none."""
    first, second = pair
    await first.open_room(room)
    ann, bob, tab = (
        await first.join(room, "ann"), await first.join(room, "bob"), await second.join(room, "bob"),
    )  # fmt: skip
    await ann.ask("qa.ask", text="?")

    answers = await asyncio.gather(*(c.ask("qa.upvote", question=1) for c in (bob, tab) * 4))
    assert answers == [{"question": 1, "votes": 1}] * 8
    assert await ann.refused("qa.upvote", question=1) == "not_eligible"
    shown = await ann.state("qa", lambda d: d["top"][0]["votes"] > 0)
    assert shown["top"][0]["votes"] == 1
    assert await broken(first, room) == []


async def test_qa_one_question_a_minute(worker: harness.Worker, room: str) -> None:
    """Judged by the store's clock, per user and room; the refusal says how long to wait."""
    await worker.open_room(room)
    ann, bob = await worker.join(room, "ann"), await worker.join(room, "bob")
    assert await ann.ask("qa.ask", text="1", key="k") == {"question": 1}

    again = await ann.command("qa.ask", text="2")
    assert again["err"]["code"] == "rate_limited"
    assert 0 < again["err"]["retry_ms"] <= PAUSE_MS
    assert await ann.ask("qa.ask", text="1", key="k") == {"question": 1}
    assert await ann.refused("qa.ask", text="2", key="k") == "key_mismatch"
    assert await bob.ask("qa.ask", text="3") == {"question": 2}

    skew(worker, again["err"]["retry_ms"])
    assert await ann.ask("qa.ask", text="4") == {"question": 3}
    assert len(ann.events("qa.asked")) <= 3
    assert await broken(worker, room) == []


async def test_qa_keeps_two_hundred_open(worker: harness.Worker, room: str) -> None:
    """The next one drops the oldest of those with the fewest votes, for all to see."""
    await worker.open_room(room)
    host = await worker.control(room)
    await commit(worker, room, *(asked_by(f"u{n}") for n in range(1, 201)))
    await commit(worker, room, vote("v", 1), vote("v", 2), vote("w", 2), vote("v", 4))

    await commit(worker, room, asked_by("a"), asked_by("b"))
    for number in (3, 5):
        dropped = await host.event("qa.dropped", question=number)
        assert dropped["d"]["by"] == ""
    await host.state("qa", lambda d: d["open"] == 200 and d["top"][0]["question"] == 2)
    assert (await host.ask("qa.list", status="dropped"))["total"] == 2

    everyone = [vote(f"x{n}", n) for n in range(1, 203) if n not in (2, 3, 5)]
    await commit(worker, room, *everyone)
    await commit(worker, room, asked_by("c"))
    await host.event("qa.dropped", question=6)
    await commit(worker, room, asked_by("d"))
    await host.event("qa.dropped", question=203)  # without a vote now
    assert len(host.events("qa.dropped")) == 4
    assert await broken(worker, room) == []


async def test_qa_finished_questions_are_bounded(worker: harness.Worker, room: str) -> None:
    """The newest 500 of each kind are kept; what is forgotten leaves nothing behind."""
    await worker.open_room(room)
    host = await worker.control(room)
    for start in range(1, 503, 100):
        numbers = range(start, min(start + 100, 503))
        await commit(worker, room, *(asked_by(f"u{n}") for n in numbers))
        await commit(worker, room, *(Op("qa.answer", "h", {"question": n}) for n in numbers))

    page = await host.ask("qa.list", status="answered", limit=200)
    assert page["total"] == 500
    assert [row["question"] for row in page["questions"]] == list(range(502, 302, -1))
    last = await host.ask("qa.list", status="answered", offset=499)
    assert [row["question"] for row in last["questions"]] == [3]
    assert await host.refused("qa.answer", question=2) == "not_found"
    assert await host.refused("qa.answer", question=3) == "final"
    forgotten, kept = await worker.join(room, "u2"), await worker.join(room, "u3")
    assert "qa" not in forgotten.hello["own"]
    assert kept.hello["own"]["qa"]["asked"][0]["status"] == "answered"
    assert (await host.ask("qa.stats"))["answered"] == 502
    assert await broken(worker, room) == []


async def test_qa_stats_of_the_session(worker: harness.Worker, room: str) -> None:
    """Mean and median of the times to an answer; a room that is opened again begins anew."""
    await worker.open_room(room)
    host = await worker.control(room)
    assert await host.ask("qa.stats") == {"open": 0, "asked": 0, "answered": 0, "dropped": 0}
    asked = await commit(worker, room, *(asked_by(f"u{n}") for n in range(5)))
    assert [row["question"] for row in asked] == [1, 2, 3, 4, 5]

    took = []
    for number, pause in ((1, 1000), (2, 3000), (3, 60_000), (4, 100_000)):
        skew(worker, pause)
        took.append((await host.ask("qa.answer", question=number))["took_ms"])
    assert await host.ask("qa.drop", question=5) == {}
    assert await host.ask("qa.stats") == {
        "open": 0, "asked": 5, "answered": 4, "dropped": 1,
        "mean_ms": sum(took) // 4, "median_ms": (took[1] + took[2]) // 2,
    }  # fmt: skip

    await host.ask("room.close")
    await host.ask("room.open")
    assert await host.ask("qa.stats") == {"open": 0, "asked": 0, "answered": 0, "dropped": 0}
    await commit(worker, room, asked_by("u9"))
    skew(worker, 7000)
    (answer,) = await commit(worker, room, Op("qa.answer", "host", {"question": 6}))
    stats = await host.ask("qa.stats")
    assert (stats["asked"], stats["answered"], stats["dropped"]) == (1, 1, 0)
    assert stats["median_ms"] == stats["mean_ms"] == answer["took_ms"]
    assert await broken(worker, room) == []


async def test_qa_own_part_of_whoever_comes_back(worker: harness.Worker, room: str) -> None:
    """One's questions with what became of them, and what one voted for."""
    await worker.open_room(room)
    host, ann = await worker.control(room), await worker.join(room, "ann")
    assert "qa" not in ann.hello["own"]
    await commit(worker, room, asked_by("ann", "a"), asked_by("bob", "b"), asked_by("eve", "c"))
    skew(worker, PAUSE_MS)
    await commit(worker, room, asked_by("ann", "d"), vote("ann", 3), vote("ann", 2), vote("bob", 1))
    await host.ask("qa.answer", question=1, text="so")

    own = (await worker.join(room, "ann")).hello["own"]["qa"]
    assert own["upvoted"] == [3, 2]
    assert [(row["question"], row["status"], row["votes"]) for row in own["asked"]] == [
        (1, "answered", 1),
        (4, "open", 0),
    ]
    assert (own["asked"][0]["answer"], own["asked"][0]["by"]) == ("so", "host")
    bob = (await worker.join(room, "bob")).hello["own"]["qa"]
    assert ([row["question"] for row in bob["asked"]], bob["upvoted"]) == ([2], [1])

    for number in (2, 3, 4):
        await host.ask("qa.drop", question=number)
    own = (await worker.join(room, "ann")).hello["own"]["qa"]
    assert own["upvoted"] == []  # nothing is open: votes are for nothing
    assert [row["status"] for row in own["asked"]] == ["answered", "dropped"]


async def test_qa_votes_of_an_eager_user_stay_known(worker: harness.Worker, room: str) -> None:
    """Who votes for a thousand questions is still counted once for each that is open."""
    await worker.open_room(room)
    await commit(worker, room, asked_by("first"), vote("me", 1))
    for start in range(2, 902, 150):
        numbers = range(start, start + 150)
        await commit(worker, room, *(asked_by(f"u{n}") for n in numbers))
        await commit(worker, room, *(vote("me", n) for n in numbers))
        await commit(worker, room, *(Op("qa.drop", "h", {"question": n}) for n in numbers))

    own = (await worker.join(room, "me")).hello["own"]["qa"]
    assert own["upvoted"][0] == 1
    assert len(own["upvoted"]) < 700
    assert await commit(worker, room, vote("me", 1)) == [{"question": 1, "votes": 1}]
    assert await broken(worker, room) == []


async def test_qa_follows_the_rooms_mode(worker: harness.Worker, room: str) -> None:
    """Where viewers may not talk they may not ask, but vote; staff may; nobody in a closed room."""
    await worker.open_room(room)
    host, ann, bob = (
        await worker.control(room), await worker.join(room, "ann"), await worker.join(room, "bob"),
    )  # fmt: skip
    await host.ask("room.mode", talk="hosts")
    await ann.state("mode", lambda d: d["talk"] == "hosts")

    assert await ann.refused("qa.ask", text="?") == "not_allowed"
    assert await host.ask("qa.ask", text="?") == {"question": 1}
    assert await bob.ask("qa.upvote", question=1) == {"question": 1, "votes": 1}

    await host.ask("room.close")
    await ann.state("room", lambda d: d["status"] == "closed")
    for client in (ann, host):
        assert await client.refused("qa.ask", text="?") == "room_closed"
    assert await ann.refused("qa.upvote", question=1) == "room_closed"
    assert await host.refused("qa.answer", question=1) == "room_closed"
    assert await host.ask("qa.drop", question=1) == {}
    raw = await worker.node.hub.commit(room, [asked_by("late")])  # judged by the script too
    assert b'"room_closed"' in raw.replies[0]


async def test_qa_answering_and_dropping_is_for_staff(worker: harness.Worker, room: str) -> None:
    """Assistants may; viewers know no such command, on the control socket they are refused."""
    await worker.open_room(room)
    viewer = await worker.join(room, "ann")
    await viewer.ask("qa.ask", text="1")
    bodies: dict[str, dict[str, Any]] = {
        "qa.answer": {"question": 1}, "qa.drop": {"question": 1}, "qa.list": {}, "qa.stats": {},
    }  # fmt: skip
    for op, d in bodies.items():
        assert await viewer.refused(op, **d) == "unknown_op", op

    helper = await worker.control(room, "helper", "assistant")
    assert await queue(helper) == [1]
    assert (await helper.ask("qa.answer", question=1))["question"] == 1
    answered = await viewer.event("qa.answered", question=1)
    assert answered["d"]["by"] == "helper"
    assert "text" not in answered["d"]
    (trail,) = await commit(worker, room, Op("sys.trail", "", {"after": "", "limit": 100}))
    steered = [orjson.loads(row["e"])["op"] for row in trail["entries"]]
    assert steered == ["room.open", "qa.answer"]  # who only looks leaves no trace


async def test_qa_finished_is_final(worker: harness.Worker, room: str) -> None:
    """What was answered or dropped takes no votes, no answer and is not dropped again."""
    await worker.open_room(room)
    host, viewer = await worker.control(room), await worker.join(room, "ann")
    await commit(worker, room, asked_by("a"), asked_by("b"))
    await host.ask("qa.answer", question=1)
    await host.ask("qa.drop", question=2)

    for number in (1, 2):
        assert await viewer.refused("qa.upvote", question=number) == "final"
        assert await host.refused("qa.answer", question=number) == "final"
        assert await host.refused("qa.drop", question=number) == "final"
    assert (await host.ask("qa.stats"))["answered"] == 1


async def test_qa_refuses_bad_bodies(worker: harness.Worker, room: str) -> None:
    """Texts that are none or too long, numbers that are none, pages that are none."""
    await worker.open_room(room)
    host, viewer = await worker.control(room), await worker.join(room, "ann")
    texts = ("", " \n\u202e ", "x" * 201, "x" * 1_000, "\u0000", None, 5, ["x"])
    for text in texts:
        assert await viewer.refused("qa.ask", text=text) == "bad_request", text
    assert await viewer.refused("qa.ask") == "bad_request"
    assert await viewer.ask("qa.ask", text="长" * 200) == {"question": 1}
    for text in ("", "  ", "x" * 501):
        assert await host.refused("qa.answer", question=1, text=text) == "bad_request"

    for op, client in (("qa.upvote", viewer), ("qa.answer", host), ("qa.drop", host)):
        for number in (0, -1, 1.5, "1", None, True, 2**26, 2**64 - 1):
            assert await client.refused(op, question=number) == "bad_request", number
        assert await client.refused(op, question=99) == "not_found"
    for page in ({"status": "new"}, {"limit": 0}, {"limit": 201}, {"offset": -1}, {"offset": 501}):
        assert await host.refused("qa.list", **page) == "bad_request", page


async def test_qa_text_cannot_break_out(worker: harness.Worker, room: str) -> None:
    """What looks like markup, JSON or a format comes out as it went in."""
    await worker.open_room(room)
    host = await worker.control(room)
    texts = ['"},"votes":9}', "%s %d %%", "<b>\\u0041</b>", "a\\", '","answered":7']
    asked = [asked_by(f"u{n}", text) for n, text in enumerate(texts)]
    await commit(worker, room, *asked)

    shown = await host.state("qa", lambda d: d["open"] == len(texts))
    assert [row["text"] for row in shown["top"]] == texts
    listed = await host.ask("qa.list")
    assert [row["text"] for row in listed["questions"]] == texts
    assert [row["votes"] for row in listed["questions"]] == [0] * len(texts)
    own = (await worker.join(room, "u0")).hello["own"]["qa"]
    assert own["asked"][0]["text"] == texts[0]
    assert await broken(worker, room) == []


async def test_qa_auditor_names_a_count_that_was_tampered_with(
    worker: harness.Worker, room: str
) -> None:
    """Votes that nobody gave are found."""
    await worker.open_room(room)
    await commit(worker, room, asked_by("a"), vote("v", 1))
    base = f"lr:{{{room}}}"
    await worker.node.store._execute(base, ("ZINCRBY", f"{base}:qa:open", 2**26, "1"))

    found = {row["what"]: (row["expected"], row["found"]) for row in await broken(worker, room)}
    assert found["qa.votes"] == (1, 2)
