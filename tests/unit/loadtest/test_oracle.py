"""The oracle: what it lets pass, and every fault that it has to find."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from liveroom_loadtest.oracle import Ledger, Track, account, mark_of, unequal_ends


def event(seq: int, sub: int = 0, **d: Any) -> dict[str, Any]:
    item: dict[str, Any] = {"ev": "notice", "seq": seq, "ts": 1, "d": d}
    return item | ({"sub": sub} if sub else {})


def greeting(seq: int, *, resumed: bool = False, epoch: str = "e") -> dict[str, Any]:
    return {"epoch": epoch, "seq": seq, "sub": 0, "resumed": resumed}


def follow(ledger: Ledger, *items: dict[str, Any], user: str = "u", seq: int = 0) -> Track:
    track = Track(ledger, user, "r")
    track.greeted(greeting(seq))
    track.take(map(mark_of, items))
    return track


def test_oracle_lets_a_whole_sequence_pass() -> None:
    """Public events one after another, private ones between them with their own number."""
    ledger = Ledger()
    track = follow(ledger, event(5), event(5, 2), event(5, 7), event(6), seq=4)

    assert (track.seq, track.sub, ledger.fault_count) == (6, 0, 0)
    assert track.resume == {"epoch": "e", "seq": 6, "sub": 0}


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([event(1), event(3)], "3-0 notice"),
        ([event(2)], "came after a hole"),
        ([event(1), event(1)], "came again"),
        ([event(1), event(2), event(1)], "came again"),
        ([event(1), event(1, 3), event(1, 3)], "came again"),
        ([event(2, 1)], "came after a hole"),
    ],
)
def test_oracle_finds_holes_and_doubles(items: list[dict[str, Any]], words: str) -> None:
    """Each is one fault, and what comes behind it in order is none."""
    ledger = Ledger()
    track = follow(ledger, *items)
    track.take([mark_of(event(track.seq + 1))])

    assert ledger.fault_count == 1
    assert words in ledger.faults[0]


def test_oracle_finds_two_payloads_at_one_place() -> None:
    """Two viewers of one process."""
    ledger = Ledger()
    follow(ledger, event(1, text="a"), user="u1")
    follow(ledger, event(1, text="a"), user="u2")
    assert ledger.fault_count == 0

    follow(ledger, event(1, text="b"), user="u3")
    assert ledger.fault_count == 1


def test_oracle_finds_two_payloads_at_one_place_across_processes() -> None:
    """What another process saw comes as JSON; private events are not compared."""
    ledgers = [Ledger(), Ledger(), Ledger()]
    follow(ledgers[0], event(1, text="a"), event(2), event(2, 1, to="u1"))
    follow(ledgers[1], event(1, text="a"), event(2), event(2, 1, to="u2"))
    follow(ledgers[2], event(1, text="a"), event(2, text="?"))

    total = Ledger()
    for ledger in ledgers[:2]:
        total.merge(orjson.loads(orjson.dumps(ledger.to_plain())))
    assert (total.fault_count, total.named("notice")) == (0, 2)
    total.merge(ledgers[2].to_plain())
    assert total.fault_count == 1


def test_oracle_mark_is_of_the_content_not_of_the_order_of_fields() -> None:
    """As a worker that read the log may write them in another order."""
    item = event(1, a=1, b=2)
    assert mark_of(item) == mark_of(dict(reversed(item.items())))
    assert mark_of(item) != mark_of(event(1, a=1, b=3))


def test_oracle_counts_gifts_without_the_ends_of_combos() -> None:
    """An end is `gift.sent` with `n` 0."""
    ledger = Ledger()
    gifts = [{"ev": "gift.sent", "seq": n + 1, "d": {"n": n}} for n in range(3)]
    follow(ledger, *gifts)
    assert ledger.named("gift.sent") == 2


def test_oracle_holds_a_resumed_greeting_to_the_position() -> None:
    """Resumed elsewhere is a fault; a fresh start is none."""
    ledger = Ledger()
    track = follow(ledger, event(1))
    assert track.greeted(greeting(1, resumed=True))
    assert not track.greeted(greeting(9, epoch="f"))
    assert ledger.fault_count == 0

    track.greeted(greeting(8, epoch="f", resumed=True))
    assert "was resumed at" in ledger.faults[0]


def test_oracle_account() -> None:
    """Accepted = delivered + shed, exactly."""
    assert account(10, 7, 3) == ""
    assert account(10, 7, 2) == "accepted 10 != delivered 7 + shed 2"


def test_oracle_finds_viewers_who_ended_elsewhere() -> None:
    """One that lost the last event stands out, in whatever process it is."""
    assert unequal_ends([{"r": {"e:5": 3}}, {"r": {"e:5": 2}, "s": {"e:1": 1}}]) == []
    (found,) = unequal_ends([{"r": {"e:5": 3}}, {"r": {"e:4": 1}}])
    assert "'e:5': 3" in found


def test_oracle_names_the_first_faults_and_counts_all() -> None:
    """A broken engine does not fill the memory."""
    ledger = Ledger()
    for number in range(100):
        ledger.fault(str(number))
    assert (len(ledger.faults), ledger.fault_count) == (20, 100)
