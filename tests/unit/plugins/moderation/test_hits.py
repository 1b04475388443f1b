"""Which hits are left."""

from __future__ import annotations

from liveroom_plugins.moderation.hits import Excuse, Hit, heaviest, settle
from liveroom_plugins.moderation.lexicon import Action, Levels


def hit(start: int, end: int, rule: str = "p:w", action: Action = Action.MASK) -> Hit:
    """Return a hit at a place."""
    return Hit(rule, "p", "1", "swearing", 2, action, start, end, "tight")


def test_hits_heaviest_action_decides() -> None:
    """Mute before reject before shadow before hold before mask; nothing is pass."""
    assert heaviest([hit(0, 1), hit(1, 2, action=Action.REJECT)]) is Action.REJECT
    assert heaviest([]) is Action.PASS


def test_hits_excuse_covers_its_own_pack_or_rule() -> None:
    """What it holds, and what begins within it."""
    assert Excuse("p", "", 0, 4).covers(hit(1, 3))
    assert Excuse("p", "", 0, 4).covers(hit(0, 4))
    assert Excuse("p", "p:w", 0, 4).covers(hit(2, 6))
    assert not Excuse("p", "", 0, 4).covers(hit(0, 6))
    assert not Excuse("p", "", 2, 6).covers(hit(0, 4))
    assert not Excuse("p", "p:x", 0, 4).covers(hit(1, 3))
    assert not Excuse("q", "", 0, 4).covers(hit(1, 3))


def test_hits_settle_keeps_one_of_each_rule_in_a_place() -> None:
    """In the order of the text; other rules in the same place stay."""
    hits = [hit(5, 7), hit(0, 2), hit(1, 3), hit(1, 3, "p:x")]

    assert settle(hits, [], Levels()) == [hit(0, 2), hit(1, 3, "p:x"), hit(5, 7)]
    assert settle(hits, [Excuse("p", "", 0, 3)], Levels()) == [hit(5, 7)]
    assert settle(hits, [], Levels(1)) == []
