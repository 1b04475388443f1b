"""The report: jitter from the store's times, and what has to add up."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from liveroom.rehearsal.audience import Audience, Crowd, Outcome
from liveroom.rehearsal.moves import Move
from liveroom.rehearsal.report import Check, Report, Tally, cues_of, issued, lines


def row(cue: str, status: str = "fired", due: int = 1000, fired: int = 1020) -> dict[str, Any]:
    """Return a row of `progress`."""
    return {"cue": cue, "status": status, "due_ms": due, "fired_ms": fired}


def test_report_jitter_ends_when_the_effect_is_there() -> None:
    """At its event, if there is one of its feature in that time, else when it was told."""
    events = [
        {"ev": "poll.opened", "ts": 900}, {"ev": "poll.opened", "ts": 1007},
        {"ev": "gift.sent", "ts": 1001}, {"ev": "notice", "ts": 1003},
    ]  # fmt: skip
    ops = {"a": "poll.open", "b": "notice.set", "c": "danmaku.send"}

    cues = cues_of([row("a"), row("b"), row("c")], ops, events)

    assert cues.jitter_ms == {"a": 7, "b": 3, "c": 20}
    assert (cues.jitter_p50_ms, cues.jitter_p95_ms, cues.jitter_max_ms) == (7, 20, 20)
    assert (cues.total, cues.fired) == (3, 3)


def test_report_names_what_did_not_fire() -> None:
    """Failed with the error, the rest by name; of none there is no jitter."""
    failed = row("a", "failed") | {"error": {"code": "not_found", "msg": "no"}}

    cues = cues_of([failed, {"cue": "b", "status": "waiting"}], {"a": "o", "b": "o"}, [])

    assert (cues.fired, cues.failed, cues.waiting) == (0, {"a": "not_found: no"}, ["b"])
    assert cues.jitter_max_ms == 0


SALE = {"per_user": 2, "available": 6, "reserved": 1, "sold": 3, "total": 10}


@pytest.fixture
def audience() -> Audience:
    """Nobody, who saw a poll and a sale."""
    made = Audience(Crowd([], "r", str, 0))
    made.view.take_state({"st": "poll:p", "v": 1, "d": {"voters": 2}})
    made.view.take_state({"st": "stock:red", "v": 1, "d": SALE})
    return made


def tally_of(*outcomes: tuple[str, str, dict[str, Any], dict[str, Any]]) -> Tally:
    """Return what viewers were told: user, op, body, reply."""
    tally = Tally()
    for user, op, body, reply in outcomes:
        tally.take(Outcome(user, Move(op, body), reply))
    return tally


def test_report_compares_answers_with_counts(audience: Audience) -> None:
    """A voter counts once; units reserved are those held and those sold."""
    tally = tally_of(
        ("u", "poll.vote", {"poll": "p"}, {}), ("v", "poll.vote", {"poll": "p"}, {}),
        ("v", "poll.vote", {"poll": "p"}, {}),
        ("u", "flash.reserve", {}, {"sku": "red", "n": 2}),
        ("v", "flash.reserve", {}, {"sku": "red", "n": 2}),
    )  # fmt: skip
    tally.paid["stock:red"] = 3

    checks = {check.name: check for check in tally.checks(audience)}

    assert all(check.ok for check in checks.values()), checks
    assert checks["poll:p"].detail == "2 answered, 2 counted"


def test_report_finds_what_does_not_add_up(audience: Audience) -> None:
    """A vote too many in the room, unless one viewer never got an answer; a sale out of balance."""
    tally = tally_of(("u", "poll.vote", {"poll": "p"}, {}))
    audience.view.take_state({"st": "stock:red", "v": 2, "d": SALE | {"available": 7}})

    broken = [check.name for check in tally.checks(audience) if not check.ok]
    assert broken == ["poll:p", "stock:red", "stock:red paid", "stock:red adds up"]

    audience.unanswered["poll.vote"] = 1
    broken = [check.name for check in tally.checks(audience) if not check.ok]
    assert "poll:p" not in broken


PACKET = {"status": "done", "taken": 2, "grabbed": 90, "refunded": 10, "total": 100}


def checks_of_drops(claimed: int, packet: dict[str, Any], unanswered: int = 0) -> list[str]:
    """Return what does not hold after two claims and two grabs of 45 that were answered."""
    audience = Audience(Crowd([], "r", str, 0))
    audience.view.take_state({"st": "coupon:d", "v": 1, "d": {"claimed": claimed}})
    audience.view.take_state({"st": "redpacket:p", "v": 1, "d": packet})
    audience.unanswered["redpacket.grab"] = unanswered
    told: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = []
    for user in ("u", "v"):
        told.append((user, "coupon.claim", {}, {"drop": "d"}))
        told.append((user, "redpacket.grab", {}, {"packet": "p", "amount": 45}))
    return [check.name for check in tally_of(*told).checks(audience) if not check.ok]


def test_report_counts_coupons_and_red_packets() -> None:
    """What was claimed, grabbed and refunded is what the viewers were told, to the unit."""
    assert checks_of_drops(2, PACKET) == []
    assert checks_of_drops(3, PACKET | {"refunded": 11}) == ["coupon:d", "redpacket:p adds up"]
    assert checks_of_drops(2, PACKET | {"status": "open"}) == ["redpacket:p"]
    more = PACKET | {"taken": 3, "grabbed": 100, "refunded": 0}
    assert checks_of_drops(2, more) == ["redpacket:p", "redpacket:p money"]
    assert checks_of_drops(2, more, unanswered=1) == []


def test_report_adds_up_the_coupons_of_a_drop() -> None:
    """issued = unused + locked + used + expired <= quota."""
    shown = {"issued": 4, "unused": 1, "locked": 1, "used": 1, "expired": 1, "quota": 4}
    assert issued("coupon:d", shown).ok
    assert not issued("coupon:d", shown | {"quota": 3}).ok
    assert not issued("coupon:d", shown | {"used": 0}).ok


def test_report_is_ok_when_all_was_fired_and_all_holds() -> None:
    """Not otherwise, and the last line says which."""
    cues = cues_of([row("a")], {"a": "o"}, [])
    report = Report("t", "r", 1, 2, 2, 0, 1.0, cues, activities={"poll:p": {"voters": 2}})

    assert report.ok
    assert list(lines(report))[-1] == "ok"
    broken = replace(report, checks=[Check("money", ok=False, detail="1 lost")])
    assert not broken.ok
    assert list(lines(broken))[-2:] == ["  BROKEN      money: 1 lost", "NOT OK"]
