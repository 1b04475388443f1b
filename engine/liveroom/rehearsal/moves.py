"""What a simulated audience does about what it sees (pure; layer 9).

A state that opens something is a prompt: a share of the viewers answers it, each once, within some
seconds. What everyone does all the time (talk, like, give, ask) stands at the end.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple


__all__ = ["GIFTS", "Move", "Prompt", "answer", "prompt_of", "say"]

State = dict[str, Any]

GIFTS = ("rose", "rose", "rose", "heart")

_PHRASES = (
    "主播今天气色真好", "666", "这个颜色有货吗", "已下单", "哈哈哈哈", "What size at 175 cm?",
    "links please", "多少钱一件？包邮吗", "来了来了", "lol", "第一次来，点个关注", "求返场！",
    "Love this one", "老粉报到", "买过，质量很好", "how long is shipping to Berlin", "再讲一下尺码",
)  # fmt: skip
_QUESTIONS = ("有小码吗？", "When will it be back in stock?", "可以机洗吗？", "Is it waterproof?")


class Move(NamedTuple):
    """One command of one viewer; a keyed one moves goods."""

    op: str
    d: dict[str, Any]
    keyed: bool = False


class Prompt(NamedTuple):
    """Something that viewers answer.

    Args:
        id: what it is, so that it is answered once: `poll:lunch`.
        share: of the audience that answers.
        within_s: all of them have by then.
    """

    id: str
    share: float
    within_s: float


def prompt_of(name: str, d: State) -> Prompt | None:
    """Return what a state calls for; None: nothing."""
    kind, status = name.partition(":")[0], d.get("status")
    match kind, status:
        case "poll", "open":
            return Prompt(name, 0.7, 3.0)
        case "quiz", "open":
            return Prompt(name, 0.6, 3.0)
        case "lottery", "open":
            return Prompt(name, 0.8, 4.0)
        case "lottery", "drawn":
            return Prompt(f"claim:{d['lottery']}", 1.0, 1.0)
        case "stock", "running":
            return Prompt(f"flash:{d['sale']}", 0.6, 2.0)
        case "coupon", "running":
            return Prompt(name, 0.6, 1.0 if "rain" in d else 2.0)
        case "redpacket", "open":
            return Prompt(name, 0.5, 2.0)
        case _:
            return None


def answer(prompt: Prompt, d: State, user: str, rng: Random) -> list[Move]:
    """Return what one viewer does about it, in order."""
    match prompt.id.partition(":")[0]:
        case "poll":
            return [Move("poll.vote", {"poll": d["poll"], "options": _choices(d, rng)})]
        case "quiz":
            return [Move("quiz.answer", {"quiz": d["quiz"]} | _quiz_answer(d, rng))]
        case "lottery":
            return [*_conditions(d["conditions"]), Move("lottery.enter", _entry(d, rng))]
        case "claim":
            won = any(winner["user"] == user for winner in d.get("winners", ()))
            claim = {"lottery": d["lottery"], "contact": f"{user}@example.com"}
            return [Move("lottery.claim", claim, keyed=True)] if won else []
        case "coupon":
            claimed = Move("coupon.claim", {"drop": d["drop"]}, keyed=True)
            return [*_conditions(d.get("conditions", {})), claimed]
        case "redpacket":
            return [Move("redpacket.grab", {"packet": d["packet"]}, keyed=True)]
        case _:
            n = rng.randint(1, min(2, d["per_user"]))
            buy = {"sku": d["sku"], "n": n, "price": d["price"]}
            return [Move("flash.reserve", buy, keyed=True)]


def _choices(d: State, rng: Random) -> list[int]:
    """Return options; the first ones are liked better, so that results have a shape."""
    options = range(len(d["options"]))
    most = rng.randint(1, d["max_choices"]) if d["multiple"] else 1
    weights = [len(options) - n for n in options]
    return sorted(set(rng.choices(options, weights, k=most)))


def _quiz_answer(d: State, rng: Random) -> dict[str, Any]:
    if "options" in d:
        return {"option": rng.randrange(len(d["options"]))}
    return {"text": rng.choice(["moon", "the sun", "月亮", "no idea"])}


def _entry(d: State, rng: Random) -> dict[str, Any]:
    entry: dict[str, Any] = {"lottery": d["lottery"]}
    if rng.random() < 0.5:
        entry["nonce"] = rng.randbytes(8).hex()
    return entry


def _conditions(conditions: State) -> list[Move]:
    """Return what meets the conditions of a draw or a drop, as far as a viewer can in a moment."""
    moves = []
    if "danmaku" in conditions:
        moves.append(Move("danmaku.send", {"text": conditions["danmaku"]}))
    if conditions.get("follow"):
        moves.append(Move("viewer.follow", {}))
    if "likes" in conditions:
        full, rest = divmod(conditions["likes"], 100)
        moves += [Move("like.send", {"n": 100})] * full
        moves += [Move("like.send", {"n": rest})] if rest else []
    if "gift" in conditions:
        moves.append(Move("gift.send", {"gift": "rose", "n": 1 + conditions["gift"] // 100}, True))
    return moves


def say(rng: Random, top_questions: list[State]) -> Move:
    """Return something that a viewer does unasked."""
    match rng.choices(("talk", "like", "gift", "ask"), (60, 30, 4, 6))[0]:
        case "talk":
            return Move("danmaku.send", {"text": rng.choice(_PHRASES)})
        case "like":
            return Move("like.send", {"n": rng.randint(1, 10)})
        case "gift":
            return Move("gift.send", {"gift": rng.choice(GIFTS), "n": rng.choice((1, 1, 3))}, True)
        case _:
            if top_questions and rng.random() < 0.7:
                question = rng.choice(top_questions)["question"]
                return Move("qa.upvote", {"question": question})
            return Move("qa.ask", {"text": rng.choice(_QUESTIONS)})
