"""What a simulated viewer does about what it sees."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from liveroom.auth.claims import Role
from liveroom.config import Settings
from liveroom.features import builtin_plugins
from liveroom.plugin.manager import PluginManager
from liveroom.rehearsal.moves import Move, Prompt, answer, prompt_of, say
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.redpackets import RedPackets


POLL = {"poll": "p", "options": ["a", "b", "c"], "multiple": True, "max_choices": 2}
QUIZ = {"quiz": "q", "options": ["a", "b"]}
RIDDLE = {"quiz": "q"}
SALE = {"sale": "s", "sku": "red", "per_user": 2, "price": 100}
DRAW = {"lottery": "l", "conditions": {"danmaku": "hi", "follow": True, "likes": 250, "gift": 100}}
DROP = {"drop": "d", "conditions": {"follow": True}}
OPEN: list[tuple[str, dict[str, Any], str]] = [
    ("poll:p", POLL | {"status": "open"}, "poll:p"),
    ("quiz:q", QUIZ | {"status": "open"}, "quiz:q"),
    ("quiz:q", RIDDLE | {"status": "open"}, "quiz:q"),
    ("stock:red", SALE | {"status": "running"}, "flash:s"),
    ("lottery:l", DRAW | {"status": "open"}, "lottery:l"),
    ("coupon:d", DROP | {"status": "running"}, "coupon:d"),
    ("coupon:r-1", {"drop": "r-1", "rain": "r", "status": "running"}, "coupon:r-1"),
    ("redpacket:p", {"packet": "p", "status": "open"}, "redpacket:p"),
]


def manager_of_all() -> PluginManager:
    """Return the commands that viewers of a rehearsal may send."""
    return PluginManager([*builtin_plugins(Settings()), Coupons(), RedPackets()])


@pytest.mark.parametrize(("name", "d", "expected"), OPEN)
def test_moves_answer_what_is_open_with_commands_that_there_are(
    name: str, d: dict[str, Any], expected: str
) -> None:
    """Whatever chance decides, each command exists and its body is right."""
    manager = manager_of_all()
    prompt = prompt_of(name, d)
    assert prompt is not None
    assert prompt.id == expected

    for seed in range(20):
        moves = answer(prompt, d, "u", Random(seed))
        assert moves
        for move in moves:
            bound = manager.commands[move.op]
            assert move.keyed == bound.spec.keyed
            manager.expect_command(move.op, move.d, Role.VIEWER)


@pytest.mark.parametrize(
    ("name", "d"),
    [
        ("poll:p", {"status": "closed"}), ("quiz:q", {"status": "closed"}),
        ("stock:red", {"status": "armed"}), ("stock:red", {"status": "sold_out"}),
        ("coupon:d", {"status": "sold_out"}), ("coupon:d", {"status": "planned"}),
        ("redpacket:p", {"status": "countdown"}), ("redpacket:p", {"status": "done"}),
        ("lottery:l", {"status": "frozen"}), ("room", {"status": "open"}), ("online", {"now": 1}),
    ],
)  # fmt: skip
def test_moves_leave_alone_what_is_not_open(name: str, d: dict[str, Any]) -> None:
    """Nothing to answer."""
    assert prompt_of(name, d) is None


def test_moves_meet_the_conditions_of_a_draw_first() -> None:
    """Say the word, follow, like often enough, give enough, then enter."""
    moves = answer(Prompt("lottery:l", 1.0, 1.0), DRAW, "u", Random(1))

    assert [move.op for move in moves] == [
        "danmaku.send", "viewer.follow", "like.send", "like.send", "like.send", "gift.send",
        "lottery.enter",
    ]  # fmt: skip
    assert sum(move.d["n"] for move in moves if move.op == "like.send") == 250


def test_moves_meet_the_conditions_of_a_drop_first() -> None:
    """Follow, then claim."""
    moves = answer(Prompt("coupon:d", 1.0, 1.0), DROP, "u", Random(1))

    assert [move.op for move in moves] == ["viewer.follow", "coupon.claim"]


def test_moves_claim_what_was_won() -> None:
    """Winners alone."""
    drawn = {"lottery": "l", "status": "drawn", "winners": [{"user": "u"}]}
    prompt = prompt_of("lottery:l", drawn)
    assert prompt == Prompt("claim:l", 1.0, 1.0)

    assert [move.op for move in answer(prompt, drawn, "u", Random(1))] == ["lottery.claim"]
    assert answer(prompt, drawn, "v", Random(1)) == []


def test_moves_unasked_are_commands_that_there_are() -> None:
    """All kinds come up, each with a body that is right."""
    manager, rng = manager_of_all(), Random(1)
    said: list[Move] = [say(rng, [{"question": 3}]) for _ in range(400)]

    for move in said:
        manager.expect_command(move.op, move.d, Role.VIEWER)
    ops = {move.op for move in said}
    assert ops == {"danmaku.send", "like.send", "gift.send", "qa.ask", "qa.upvote"}
    assert "qa.upvote" not in {say(rng, []).op for _ in range(200)}
