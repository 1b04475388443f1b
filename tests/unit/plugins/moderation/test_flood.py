"""Repeats, waves and stretched text."""

from __future__ import annotations

import pytest

from liveroom_plugins.moderation.flood import Flood, FloodLimits, Verdict, shortened


def test_flood_same_text_of_one_user_is_a_repeat() -> None:
    """However it is dressed up; another text is none, and time heals."""
    flood = Flood()
    verdicts = [
        flood.judge("ann", text, at).verdict
        for text, at in [
            ("买它！", 0),
            ("买 它", 1_000),
            ("買它", 2_000),
            ("好看", 3_000),
            ("买它", 40_000),
        ]
    ]

    assert verdicts == [Verdict.PASS, Verdict.PASS, Verdict.REPEAT, Verdict.PASS, Verdict.PASS]


def test_flood_repeating_on_keeps_it_a_repeat() -> None:
    """The time runs from the last, not from the first."""
    flood = Flood(FloodLimits(repeats=1, repeat_ms=10))

    assert [flood.judge("ann", "a b", at).count for at in (0, 9, 18, 27, 37)] == [1, 2, 3, 4, 1]


def test_flood_same_text_of_many_users_is_a_wave() -> None:
    """It is folded with its count, not deleted; who repeats within it is folded too."""
    flood = Flood(FloodLimits(wave_users=3))
    judged = [
        flood.judge(user, "6" * (n + 3), n * 100)
        for n, user in enumerate(["ann", "bob", "cid", "dan", "ann", "ann"])
    ]

    assert [one.verdict for one in judged] == [Verdict.PASS] * 2 + [Verdict.FOLD] * 4
    assert judged[-1].count == 6
    assert judged[-1].users == 3


def test_flood_one_user_makes_no_wave() -> None:
    """Different users are counted, not messages."""
    flood = Flood(FloodLimits(wave_users=3))

    assert {flood.judge("ann", "666", at).verdict for at in range(9)} == {
        Verdict.PASS,
        Verdict.REPEAT,
    }


def test_flood_a_wave_ends() -> None:
    """When its users have not been heard for a while, it takes as many again."""
    flood = Flood(FloodLimits(wave_users=2, wave_ms=1_000))
    verdicts = [
        flood.judge(user, "666", at).verdict
        for user, at in [("ann", 0), ("bob", 900), ("cid", 1_950), ("dan", 2_900)]
    ]

    assert verdicts == [Verdict.PASS, Verdict.FOLD, Verdict.PASS, Verdict.FOLD]


def test_flood_users_of_long_ago_do_not_count() -> None:
    """A text that trickles in is no wave."""
    flood = Flood(FloodLimits(wave_users=3, wave_ms=1_000))

    assert {flood.judge(f"u{n}", "666", n * 600).verdict for n in range(20)} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("哈" * 39, Verdict.PASS),
        ("哈" * 40, Verdict.STRETCH),
        ("买它" * 30, Verdict.STRETCH),
        ("this is a rather long message, but it says a lot of different things", Verdict.PASS),
    ],
)
def test_flood_little_said_at_length_is_stretched(text: str, verdict: Verdict) -> None:
    """A long text of few different characters."""
    assert Flood().judge("ann", text, 0).verdict is verdict


def test_flood_shortened_text_keeps_six() -> None:
    """Runs of one character and of short phrases; the rest stays."""
    assert shortened("哈" * 50 + "好" + "买它" * 30) == "哈" * 6 + "好" + "买它" * 6
    assert shortened("nothing to do here") == "nothing to do here"


def test_flood_pressure_of_a_room() -> None:
    """Messages a second of late."""
    flood = Flood()
    for at in range(0, 10_000, 100):
        flood.judge("ann", f"text {at}", at)

    assert flood.per_second(9_999) == 10
    assert flood.per_second(60_000) == 0


def test_flood_memory_is_bounded() -> None:
    """The longest unused goes first."""
    flood = Flood(FloodLimits(said=10, texts=10, repeats=1))
    for n in range(1_000):
        flood.judge(f"u{n}", f"text {n}", n)
    flood.judge("u999", "text 999", 1_001)

    assert len(flood._said) <= 10
    assert len(flood._texts) <= 10
    assert flood.judge("u999", "text 999", 1_002).verdict is Verdict.REPEAT
    assert flood.judge("u1", "text 1", 1_003).verdict is Verdict.PASS


def test_flood_pictures_alone_have_a_key() -> None:
    """Text without letters is remembered too."""
    flood = Flood(FloodLimits(repeats=1))
    flood.judge("ann", "😂😂", 0)

    assert flood.judge("ann", "😂😂😂😂", 1).verdict is Verdict.REPEAT
    assert flood.judge("ann", "😭", 2).verdict is Verdict.PASS


def test_flood_what_nobody_hears_is_no_part_of_a_wave() -> None:
    """Its author repeats it as ever; within a wave of others it is one more."""
    flood = Flood(FloodLimits(wave_users=3, repeats=1))
    alone = [flood.judge(user, "666", 0, alone=True).verdict for user in ("x", "y", "z", "x")]
    others = [flood.judge(user, "666", 1).verdict for user in ("ann", "bob", "cid")]

    assert alone == [Verdict.PASS] * 3 + [Verdict.REPEAT]
    assert others == [Verdict.PASS, Verdict.PASS, Verdict.FOLD]
    assert flood.judge("x", "666", 2, alone=True).verdict is Verdict.FOLD
