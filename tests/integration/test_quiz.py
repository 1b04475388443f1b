"""Quizzes and riddles: one answer each, judged by the store's clock, secret until the end."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson

import harness
from harness import Pair, commit, pass_time
from liveroom import Op
from liveroom.core.position import Position


KEPT_MS = 600_000

CHOICE: dict[str, Any] = {
    "quiz": "q1", "question": "哪个最便宜？", "options": ["茶", "奶茶", "咖啡"], "correct": 1, "seconds": 10,
}  # fmt: skip
RIDDLE: dict[str, Any] = {
    "quiz": "r1", "question": "夜里亮？", "riddle": ["Mondlicht", "月亮"], "seconds": 60,
}  # fmt: skip


async def broken(worker: harness.Worker, room: str) -> list[Any]:
    """Return what the auditor finds broken."""
    (found,) = await commit(worker, room, Op("sys.check", "", {}))
    assert "quiz.board" in found["counted"]
    rows: list[Any] = found.get("broken", [])
    return rows


def answer_of(user: str, quiz: str, option: int) -> Op:
    """Return what the script is asked when a user answers."""
    return Op("quiz.answer", user, {"quiz": quiz, "name": user.upper(), "_option": option})


async def start(
    worker: harness.Worker, room: str, body: dict[str, Any] = CHOICE, **changes: Any
) -> harness.Client:
    """Open the room and a quiz in it; return its host."""
    await worker.open_room(room)
    host = await worker.control(room)
    await ask(host, body, **changes)
    return host


async def ask(
    host: harness.Client, body: dict[str, Any] = CHOICE, **changes: Any
) -> dict[str, Any]:
    """Open a quiz under a key of its own."""
    d = body | changes
    return await host.ask("quiz.open", key=f"open-{d['quiz']}", **d)


async def refused_open(host: harness.Client, body: dict[str, Any], key: str = "bad") -> str:
    """Return the code of the refusal to open."""
    return await host.refused("quiz.open", key=key, **body)


async def test_quiz_from_the_question_to_the_board(pair: Pair, room: str) -> None:
    """Answers of both workers, closed by the timer: result, points and names for everyone."""
    first, second = pair
    host = await start(first, room)
    ann, bob, eve = (
        await first.join(room, "ann"), await second.join(room, "bob"), await second.join(room, "eve"),
    )  # fmt: skip
    shown = next(s["d"] for s in ann.hello["states"] if s["st"] == "quiz:q1")
    opened = (await host.event("quiz.opened", quiz="q1"))["d"]
    assert shown == opened | {"status": "open", "answered": 0}
    assert opened == {
        "quiz": "q1", "question": CHOICE["question"], "options": CHOICE["options"], "kind": "choice",
        "mode": "points", "points": 100, "speed_bonus": 0, "seconds": 10, "ends_ms": opened["ends_ms"],
    }  # fmt: skip

    for client, option in ((ann, 1), (bob, 1), (eve, 2)):
        told = await client.ask("quiz.answer", quiz="q1", option=option)
        assert told == {"quiz": "q1", "answered": True}
    await host.state("quiz:q1", lambda d: d["answered"] == 3)

    await pass_time(first, room, 10_000)
    result = {
        "correct": 1, "counts": [0, 2, 1], "right": 2, "answered": 3,
        "top": [
            {"user": {"id": "bob", "name": bob.hello["name"]}, "score": 100},
            {"user": {"id": "ann", "name": ann.hello["name"]}, "score": 100},
        ],
    }  # fmt: skip
    for client in (host, ann, bob):
        assert (await client.event("quiz.closed", quiz="q1"))["d"] == {"quiz": "q1"} | result
        await client.state("quiz:q1", lambda d: d == opened | {"status": "closed"} | result)
        await client.state("rank:quiz", lambda d: d["top"] == result["top"])
        assert len(client.events("quiz.closed")) == 1
    assert (await ann.ask("rank.get", board="quiz"))["rank"] == 2
    assert await broken(first, room) == []


async def test_quiz_is_answered_once(pair: Pair, room: str) -> None:
    """The same answer again is the same reply; another one is refused, on whatever worker."""
    first, second = pair
    host = await start(first, room)
    ann, tab = await first.join(room, "ann"), await second.join(room, "ann")

    replies = await asyncio.gather(
        *(c.command("quiz.answer", quiz="q1", option=i % 2) for i, c in enumerate((ann, tab) * 4))
    )
    codes = sorted(reply.get("err", {}).get("code", "") for reply in replies)
    assert codes == [""] * 4 + ["already_done"] * 4
    assert (await host.ask("quiz.close", quiz="q1"))["answered"] == 1
    said = replies.index(next(reply for reply in replies if "d" in reply)) % 2
    again = await tab.ask("quiz.answer", quiz="q1", option=said)  # as a repeated message may come
    assert again == {"quiz": "q1", "answered": True}
    assert await tab.refused("quiz.answer", quiz="q1", option=1 - said) == "ended"
    assert await broken(first, room) == []


async def trail(worker: harness.Worker, room: str) -> list[dict[str, Any]]:
    """Return the room's trail."""
    (rows,) = await commit(worker, room, Op("sys.trail", "", {"after": "", "limit": 100}))
    return [orjson.loads(row["e"]) for row in rows["entries"]]


async def shown_by_api(worker: harness.Worker, room: str) -> bytes:
    """Return what the API shows the host of the room."""
    headers = {"Authorization": f"Bearer {worker.token(room, 'host', 'host')}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{worker.http}/api/rooms/{room}") as response,
    ):
        return await response.read()


async def all_told(worker: harness.Worker, room: str, clients: list[harness.Client]) -> str:
    """Return all that anybody was or could be shown: sockets, log, trail, snapshot, API."""
    log = await worker.node.store.read_log(room, Position("", 0, 0), 1000)
    parts = await commit(worker, room, Op("sys.snapshot", "", {}), Op("sys.sync", "", {}))
    seen = [[client.hello, client.items] for client in clients]
    texts = [orjson.dumps(part) for part in (seen, parts, await trail(worker, room))]
    told = [*texts, await shown_by_api(worker, room), *(entry.item for entry in log)]
    return b" ".join(told).decode().lower()


async def test_quiz_secret_is_nowhere_before_the_close(pair: Pair, room: str) -> None:
    """Neither sockets nor log, trail, states or the API tell the right answer to a riddle."""
    first, second = pair
    host = await start(first, room, RIDDLE, riddle=["Geheimnis"])
    ann, bob = await first.join(room, "ann"), await second.join(room, "bob")
    await ann.ask("quiz.answer", quiz="r1", text=" GEHEIMNIS! ")
    await bob.ask("quiz.answer", quiz="r1", text="something")
    assert await ann.refused("quiz.answer", quiz="r1", text="other") == "already_done"
    assert await refused_open(host, RIDDLE | {"riddle": ["x"]}) == "exists"
    late, again = await second.join(room, "eve"), await first.control(room)
    clients = [host, ann, bob, late, again]

    assert "geheimnis" not in await all_told(first, room, clients)
    opened = next(row for row in await trail(first, room) if row["op"] == "quiz.open")
    assert opened["d"].keys() == {
        "quiz", "question", "kind", "seconds", "points", "speed_bonus", "mode",
    }  # fmt: skip
    await host.ask("quiz.close", quiz="r1")
    await late.event("quiz.closed", quiz="r1")
    assert "geheimnis" in await all_told(first, room, clients)


async def test_quiz_choice_tells_no_more_than_its_question(
    worker: harness.Worker, room: str
) -> None:
    """Before the close: which is right, how many chose what and who was right are not to be had."""
    host = await start(worker, room)
    await commit(worker, room, answer_of("a", "q1", 1), answer_of("b", "q1", 0))
    ann = await worker.join(room, "a")

    public = {
        "quiz", "question", "options", "kind", "mode", "points", "speed_bonus", "seconds", "ends_ms",
    }  # fmt: skip
    assert (await host.event("quiz.opened"))["d"].keys() == public
    shown = await host.state("quiz:q1", lambda d: d["answered"] == 2)
    assert shown.keys() == public | {"status", "answered"}
    opened = next(row for row in await trail(worker, room) if row["op"] == "quiz.open")
    assert opened["d"].keys() == public - {"ends_ms"}
    assert ann.hello["own"]["quiz"] == [{"quiz": "q1", "option": 1}]
    assert (await ann.ask("rank.get", board="quiz"))["score"] == 0
    told = await all_told(worker, room, [host, ann])
    assert not any(word in told for word in ('"correct"', '"right"', '"counts"', '"_'))


async def test_quiz_answer_after_the_end_is_refused(worker: harness.Worker, room: str) -> None:
    """By the store's time, not by whether the timer has run: there is none in this batch."""
    host = await start(worker, room)
    ends = (await host.event("quiz.opened"))["d"]["ends_ms"]
    ann = await worker.join(room, "ann")

    base = f"lr:{{{room}}}"
    await worker.node.store._execute(base, ("DEL", f"{base}:due"))  # a timer that never comes
    worker.node.store.skew_ms = 10_000
    late = await ann.command("quiz.answer", quiz="q1", option=1)
    assert (late["err"]["code"], late["err"]["ends_ms"]) == ("ended", ends)
    assert await refused_open(host, CHOICE | {"quiz": "q2"}) == "already_running"

    closed = await host.ask("quiz.close", quiz="q1")
    assert (closed["right"], closed["answered"]) == (0, 0)
    assert await ann.refused("quiz.answer", quiz="q1", option=1) == "ended"
    await ask(host, CHOICE, quiz="q2")
    assert await broken(worker, room) == []


async def test_quiz_bonus_falls_to_nothing(worker: harness.Worker, room: str) -> None:
    """Full at the start, linear, nothing at the end; whole numbers."""
    await start(worker, room, seconds=100, points=7, speed_bonus=1000)
    for user, ms in (("a", 0), ("b", 25_000), ("c", 24_000), ("d", 50_000)):
        worker.node.store.skew_ms += ms
        await commit(worker, room, answer_of(user, "q1", 1))
    host = await worker.control(room)

    closed = await host.ask("quiz.close", quiz="q1")
    scores = {row["user"]["id"]: row["score"] for row in closed["top"]}
    for user, full in (("a", 1007), ("b", 757), ("c", 517), ("d", 17)):
        assert full - 10 * 8 < scores[user] <= full, scores  # the test took up to eight seconds
    assert scores["a"] > scores["b"] > scores["c"] > scores["d"] >= 7
    assert closed["top"][0]["user"] == {"id": "a", "name": "A"}
    assert await broken(worker, room) == []


async def test_quiz_host_may_close_early_and_ask_again(worker: harness.Worker, room: str) -> None:
    """The result is the reply, also to those who ask later; it is told once."""
    host = await start(worker, room)
    ann = await worker.join(room, "ann")
    await ann.ask("quiz.answer", quiz="q1", option=0)

    closed = await host.ask("quiz.close", quiz="q1")
    assert closed == {
        "quiz": "q1", "correct": 1, "counts": [1, 0, 0], "right": 0, "answered": 1, "top": [],
    }  # fmt: skip
    assert await host.ask("quiz.close", quiz="q1") == closed
    await pass_time(worker, room, 20_000)
    assert await host.ask("quiz.close", quiz="q1") == closed
    await host.event("quiz.closed")
    assert len(host.events("quiz.closed")) == 1
    assert (await ann.ask("rank.get", board="quiz"))["top"] == []


async def test_quiz_opens_once(worker: harness.Worker, room: str) -> None:
    """Key, content and id: the same is answered alike, anything else is refused."""
    host = await start(worker, room)
    first = await ask(host)
    assert first == {"quiz": "q1", "opened": True, "ends_ms": first["ends_ms"]}
    assert await host.ask("quiz.open", key="other", **CHOICE) == first | {"opened": False}
    changed: tuple[dict[str, Any], ...] = (
        {"correct": 0}, {"points": 5}, {"seconds": 11}, {"options": ["茶", "奶茶"]},
    )  # fmt: skip
    for n, change in enumerate(changed):
        assert await refused_open(host, CHOICE | change, "open-q1") == "key_mismatch"
        assert await refused_open(host, CHOICE | change, f"k{n}") == "exists"
    other = await host.command("quiz.open", key="k9", **(CHOICE | {"quiz": "q2"}))
    assert (other["err"]["code"], other["err"]["quiz"]) == ("already_running", "q1")

    await host.ask("quiz.close", quiz="q1")
    assert (await host.ask("quiz.open", key="k10", **CHOICE))["opened"] is False
    assert await refused_open(host, CHOICE | {"correct": 0}, "k11") == "exists"
    assert len(host.events("quiz.opened")) <= 1
    assert (await ask(host, CHOICE, quiz="q2"))["opened"] is True


async def test_quiz_riddle_takes_what_is_written_otherwise(
    worker: harness.Worker, room: str
) -> None:
    """Case, width, spaces and punctuation make no difference; the accepted ones are shown after."""
    host = await start(worker, room, RIDDLE)
    texts = {
        "a": "MONDLICHT!",
        "b": "月 亮",
        "c": "「月亮」",
        "d": "Ｍｏｎｄ-licht",
        "e": "Sonne",
        "f": "月",
    }
    clients = {user: await worker.join(room, user) for user in texts}
    for user, text in texts.items():
        await clients[user].ask("quiz.answer", quiz="r1", text=text)
    assert await clients["a"].ask("quiz.answer", quiz="r1", text="MONDLICHT!\n") == {
        "quiz": "r1",
        "answered": True,
    }
    assert await clients["a"].refused("quiz.answer", quiz="r1", text="月亮") == "already_done"

    closed = await host.ask("quiz.close", quiz="r1")
    assert (closed["right"], closed["answered"]) == (4, 6)
    assert closed["accepted"] == RIDDLE["riddle"]
    assert {row["user"]["id"] for row in closed["top"]} == {"a", "b", "c", "d"}
    assert "counts" not in closed
    assert "correct" not in closed
    assert await broken(worker, room) == []


async def test_quiz_prize_is_announced_in_equal_shares(worker: harness.Worker, room: str) -> None:
    """The floor of the division, for each who was right; without any there is no share."""
    host = await start(worker, room, mode="prize", prize=1000)
    opened = (await host.event("quiz.opened"))["d"]
    assert (opened["mode"], opened["prize"]) == ("prize", 1000)
    await commit(worker, room, *(answer_of(f"u{n}", "q1", 1 if n else 0) for n in range(4)))
    assert (await host.ask("quiz.close", quiz="q1"))["share"] == 333
    await host.state("quiz:q1", lambda d: d.get("share") == 333)

    await ask(host, CHOICE, quiz="q2", mode="prize", prize=10**13)
    await commit(worker, room, answer_of("u1", "q2", 1))
    assert (await host.ask("quiz.close", quiz="q2"))["share"] == 10**13
    await ask(host, CHOICE, quiz="q3", mode="prize", prize=5)
    assert "share" not in await host.ask("quiz.close", quiz="q3")
    books = await worker.node.store._execute(f"lr:{{{room}}}", ("EXISTS", f"lr:{{{room}}}:ledger"))
    assert books == 0  # announced: nothing was moved


async def test_quiz_elimination_lets_only_the_right_ones_go_on(pair: Pair, room: str) -> None:
    """A wrong answer and none are the end of a series; another series begins with everyone."""
    first, second = pair
    series: dict[str, Any] = {"mode": "elimination", "series": "s1"}
    host = await start(first, room, CHOICE, **series)
    users = {name: await worker.join(room, name) for name, worker in zip(
        ("right", "wrong", "absent", "once"), (first, second, first, second), strict=True
    )}  # fmt: skip

    async def play(quiz: str, **options: int) -> int:
        for name, option in options.items():
            await users[name].ask("quiz.answer", quiz=quiz, option=option)
        right: int = (await host.ask("quiz.close", quiz=quiz))["right"]
        return right

    assert await play("q1", right=1, wrong=0, once=1) == 2
    await ask(host, CHOICE, quiz="q2", **series)
    for name in ("wrong", "absent"):
        assert await users[name].refused("quiz.answer", quiz="q2", option=1) == "not_eligible"
    assert (await second.join(room, "absent")).hello["own"]["quiz"][0] == {
        "quiz": "q2",
        "out": True,
    }
    assert await play("q2", right=1) == 1

    await pass_time(first, room, KEPT_MS + 1)  # the first ones are forgotten, who survived is not
    await ask(host, CHOICE, quiz="q3", prize=100, **series)
    for name in ("wrong", "absent", "once"):
        assert await users[name].refused("quiz.answer", quiz="q3", option=1) == "not_eligible"
    assert await play("q3", right=0) == 0
    await ask(host, CHOICE, quiz="q4", **series)
    assert await users["right"].refused("quiz.answer", quiz="q4", option=1) == "not_eligible"
    await host.ask("quiz.close", quiz="q4")

    await ask(host, CHOICE, quiz="q5", mode="elimination", series="s2")
    assert await play("q5", right=1, wrong=1, absent=1, once=1) == 4
    assert await broken(first, room) == []


async def test_quiz_own_part_of_whoever_comes_back(worker: harness.Worker, room: str) -> None:
    """One's own answer while it runs; whether it was right only after the end."""
    host = await start(worker, room, speed_bonus=0)
    assert "quiz" not in (await worker.join(room, "ann")).hello["own"]
    await commit(worker, room, answer_of("ann", "q1", 1), answer_of("bob", "q1", 0))

    async def own(user: str) -> Any:
        return (await worker.join(room, user)).hello["own"].get("quiz")

    assert await own("ann") == [{"quiz": "q1", "option": 1}]
    assert await own("bob") == [{"quiz": "q1", "option": 0}]
    await host.ask("quiz.close", quiz="q1")
    assert await own("ann") == [{"quiz": "q1", "option": 1, "right": True, "score": 100}]
    assert await own("bob") == [{"quiz": "q1", "option": 0, "right": False, "score": 0}]

    await ask(host, RIDDLE)
    ann = await worker.join(room, "ann")
    await ann.ask("quiz.answer", quiz="r1", text=" Mond ")
    assert (await own("ann"))[0] == {"quiz": "r1", "text": "Mond"}
    assert await own("eve") is None


async def test_quiz_is_forgotten_after_a_while(worker: harness.Worker, room: str) -> None:
    """The state goes, the answers go; the id stays taken."""
    host = await start(worker, room)
    ann = await worker.join(room, "ann")
    await ann.ask("quiz.answer", quiz="q1", option=1)
    closed = await host.ask("quiz.close", quiz="q1")

    await pass_time(worker, room, KEPT_MS + 1)
    assert await ann.state("quiz:q1", lambda d: d is None) is None
    late = await worker.join(room, "ann")
    assert "quiz" not in late.hello["own"]
    assert not [s for s in late.hello["states"] if s["st"].startswith("quiz:")]
    assert await ann.refused("quiz.answer", quiz="q1", option=1) == "ended"
    assert await host.ask("quiz.close", quiz="q1") == closed
    assert await refused_open(host, CHOICE | {"points": 9}) == "exists"
    assert (await ann.ask("rank.get", board="quiz"))["score"] == 100
    assert await broken(worker, room) == []


async def test_quiz_many_right_answers_reach_the_board_in_pages(pair: Pair, room: str) -> None:
    """Each is counted once, by timers that any worker runs, over any number of steps."""
    first, second = pair
    host = await start(first, room, seconds=300)
    viewer = await second.join(room, "z9")
    for start_at in range(0, 1201, 200):
        users = [f"u{n}" for n in range(start_at, min(start_at + 200, 1201))]
        await commit(first, room, *(answer_of(user, "q1", 1) for user in users))
    await commit(first, room, answer_of("z9", "q1", 1), answer_of("z1", "q1", 0))

    closed = await host.ask("quiz.close", quiz="q1")
    assert (closed["right"], closed["answered"]) == (1202, 1203)
    assert closed["top"][0] == {"user": {"id": "z9", "name": "Z9"}, "score": 100}
    await viewer.state("rank:quiz", lambda d: d["top"] == closed["top"])  # with the first page
    for worker in (first, second) * 10:  # two clocks, of which one may be behind: more than pages
        await pass_time(worker, room, 20)
    assert (await viewer.ask("rank.get", board="quiz"))["rank"] == 1
    places = await commit(
        first, room, *(Op("rank.get", user, {"board": "quiz"}) for user in ("u0", "u1200", "z1"))
    )
    assert [row["score"] for row in places] == [100, 100, 0]
    assert await broken(second, room) == []


async def test_quiz_answers_and_close_of_one_batch(worker: harness.Worker, room: str) -> None:
    """What comes before the close in a batch counts, what comes after it is over."""
    await start(worker, room)
    close = Op("quiz.close", "host", {"quiz": "q1"})
    committed = await worker.node.hub.commit(
        room, [answer_of("a", "q1", 1), close, answer_of("b", "q1", 1), close]
    )

    replies = committed.replies
    assert [reply[:1] for reply in replies] == [b"+", b"+", b"-", b"+"]
    assert b'"ended"' in replies[2]
    assert orjson.loads(replies[1][1:]) == orjson.loads(replies[3][1:])
    assert orjson.loads(replies[1][1:])["answered"] == 1
    late = await worker.join(room)
    shown = next(s["d"] for s in late.hello["states"] if s["st"] == "quiz:q1")
    assert (shown["status"], shown["answered"]) == ("closed", 1)
    assert await broken(worker, room) == []


async def test_quiz_refuses_answers_that_are_none(worker: harness.Worker, room: str) -> None:
    """Unknown quizzes and options, both kinds at once or none, huge texts, types that are wrong."""
    host = await start(worker, room)
    ann = await worker.join(room, "ann")
    assert await ann.refused("quiz.answer", quiz="q9", option=0) == "not_found"
    assert await ann.refused("quiz.answer", quiz="q1", option=3) == "not_found"
    assert await ann.refused("quiz.answer", quiz="q1", text="茶") == "bad_request"
    bodies: tuple[dict[str, Any], ...] = (
        {}, {"option": -1}, {"option": 6}, {"option": 1.5}, {"option": "1"}, {"option": True},
        {"option": 1, "text": "x"}, {"text": ""}, {"text": "x" * 101}, {"text": "x" * 20_000},
        {"text": "?!"}, {"text": "\u202e"}, {"option": 1, "quiz": "q 1"}, {"option": 1, "quiz": ""},
        {"option": 1, "quiz": "x" * 33}, {"option": 1, "quiz": "a:b"},
    )  # fmt: skip
    for body in bodies:
        assert await ann.refused("quiz.answer", **({"quiz": "q1"} | body)) == "bad_request", body
    assert await host.refused("quiz.answer", quiz="q1", option=1) == "not_eligible"
    assert await host.refused("quiz.close", quiz="q9") == "not_found"
    await host.ask("quiz.close", quiz="q1")

    await ask(host, RIDDLE)
    assert await ann.refused("quiz.answer", quiz="r1", option=0) == "bad_request"
    assert (await host.ask("quiz.close", quiz="r1"))["answered"] == 0


async def test_quiz_refuses_quizzes_that_are_none(worker: harness.Worker, room: str) -> None:
    """Each field outside its limits, and what does not go together; nothing is opened by it."""
    await worker.open_room(room)
    host = await worker.control(room)
    choice: tuple[dict[str, Any], ...] = (
        {"correct": 3}, {"correct": None}, {"correct": -1}, {"options": ["a"]}, {"options": ["a", "a"]},
        {"options": ["a", " a "]}, {"options": list("abcdefg")}, {"options": ["a", "x" * 101]},
        {"options": ["a", "\u202e"]}, {"options": None}, {"riddle": ["x"]}, {"question": ""},
        {"question": " \n"}, {"question": "x" * 201}, {"seconds": 4}, {"seconds": 301},
        {"seconds": 10.5}, {"points": 0}, {"points": 1001}, {"speed_bonus": -1},
        {"speed_bonus": 1001}, {"mode": "fun"}, {"mode": "prize"}, {"prize": 5}, {"series": "s"},
        {"mode": "elimination"}, {"mode": "prize", "prize": 5, "series": "s"}, {"quiz": "a b"},
        {"mode": "prize", "prize": 0}, {"mode": "prize", "prize": -5}, {"mode": "prize", "prize": 1.5},
    )  # fmt: skip
    for change in choice:
        assert await refused_open(host, CHOICE | change) == "bad_request", change
    riddle: tuple[dict[str, Any], ...] = (
        {"riddle": []}, {"riddle": ["?!"]}, {"riddle": ["x"] * 2}, {"riddle": list("abcdefghijk")},
        {"correct": 0}, {"options": ["a", "b"]}, {"riddle": "x"}, {"riddle": ["x" * 101]},
    )  # fmt: skip
    for change in riddle:
        assert await refused_open(host, RIDDLE | change) == "bad_request", change
    for prize in (10**13 + 1, 2**63):
        body = CHOICE | {"mode": "prize", "prize": prize}
        assert await refused_open(host, body) == "amount_too_large"
    assert await host.refused("quiz.open", **CHOICE) == "key_required"
    assert await host.refused("quiz.close", quiz="q1") == "not_found"


async def test_quiz_is_opened_and_closed_by_hosts(worker: harness.Worker, room: str) -> None:
    """Not by viewers or moderators; in a closed room nothing is asked or answered."""
    host = await start(worker, room)
    viewer, moderator = await worker.join(room, "v"), await worker.control(room, "m", "moderator")
    for op, d in (("quiz.open", CHOICE), ("quiz.close", {"quiz": "q1"})):
        assert await viewer.refused(op, key="k", **d) == "unknown_op"
        assert await moderator.refused(op, key="k", **d) == "forbidden"

    await host.ask("room.close")
    assert await viewer.refused("quiz.answer", quiz="q1", option=1) == "room_closed"
    assert await refused_open(host, CHOICE | {"quiz": "q2"}) == "room_closed"
    await pass_time(worker, room, 10_000)
    await viewer.event("quiz.closed", quiz="q1")


async def test_quiz_auditor_names_a_score_that_was_tampered_with(
    worker: harness.Worker, room: str
) -> None:
    """A right one that nobody answered is found, and points that no quiz gave."""
    host = await start(worker, room)
    await commit(worker, room, answer_of("a", "q1", 1), answer_of("b", "q1", 0))
    base = f"lr:{{{room}}}"
    await worker.node.store._execute(base, ("ZADD", f"{base}:quiz:q1:s", 900, "b"))
    found = {row["what"] for row in await broken(worker, room)}
    assert {"quiz.right", "quiz.recount"} <= found

    await host.ask("quiz.close", quiz="q1")
    await worker.node.store._execute(base, ("ZINCRBY", f"{base}:rank:quiz", 1, "a"))
    found = {row["what"] for row in await broken(worker, room)}
    assert "quiz.board" in found
