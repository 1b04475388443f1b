"""Coming, going, coming back: one client over all its connections."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from fakewire import Stage, greeting
from liveroom_client.errors import LiveError


def gift(seq: int) -> dict[str, Any]:
    """Return a durable event."""
    return {"ev": "gift.sent", "seq": seq, "d": {}}


def test_session_says_hello_with_what_it_has() -> None:
    """Room, token, fields of the caller; no position before the first greeting."""
    stage = Stage(hello={"client": "x/1"})
    stage.session.start()
    assert stage.status == "connecting"
    stage.session.opened(1, "tok")

    assert stage.last("hello") == {
        "op": "hello", "id": 1, "d": {"client": "x/1", "room": "demo", "token": "tok"},
    }  # fmt: skip
    stage.reply(1, "hello", greeting())
    assert stage.status == "live"


def test_session_comes_back_from_where_it_was() -> None:
    """With its position, after a random part of a bound that doubles."""
    stage = Stage(part=0.5)
    stage.listen("gift.sent")
    stage.live()
    stage.feed(gift(11))
    for wait in (0.25, 0.5, 1.0, 2.0):
        stage.lose()
        assert stage.status == "waiting"
        assert stage.session.retry_at == pytest.approx(stage.clock.now + wait)
        stage.clock.pass_s(wait)
        assert stage.status == "connecting"

    stage.arrive(gift(11), gift(12), resumed=True, seq=11)
    assert stage.last("hello")["d"]["resume"] == {"epoch": "e1", "seq": 11, "sub": 0}
    assert [event.seq for event in stage.shown["gift.sent"]] == [11, 12]


def test_session_counts_attempts_anew_once_a_connection_held() -> None:
    """30 s after its greeting."""
    stage = Stage()
    stage.live()
    for held, attempt in ((1, 1), (1, 2), (29, 3), (30, 1)):
        stage.clock.pass_s(held)
        stage.lose()
        assert stage.session.attempt == attempt
        stage.clock.pass_s(60)
        stage.arrive(resumed=True)


@pytest.mark.parametrize(
    ("code", "name"), [(4403, "banned"), (4404, "no_room"), (1008, "policy"), (1000, "normal")]
)
def test_session_ends_when_it_may_not_come_back(code: int, name: str) -> None:
    """What waits is told why."""
    stage = Stage()
    stage.live()
    stage.ask("a", key="k")
    stage.lose(code)

    assert stage.status == "ended"
    assert stage.session.error is not None
    assert stage.session.error.code == name
    assert [error.code for error in stage.answers] == [name]
    assert stage.clock.waiting == 0


def test_session_tells_what_the_hello_was_refused_with() -> None:
    """The refusal says more than the close code behind it."""
    stage = Stage()
    stage.session.start()
    stage.session.opened(1, "")
    stage.refuse("hello", "forbidden")
    stage.lose(4403)

    assert stage.session.error is not None
    assert (stage.session.error.code, stage.session.error.values["close"]) == ("forbidden", 4403)


def test_session_gives_up_a_hello_that_is_refused_and_not_closed() -> None:
    """Two seconds for the close frame, then it comes back as asked."""
    stage = Stage()
    stage.session.start()
    stage.session.opened(1, "")
    stage.refuse("hello", "unavailable", retry_ms=9000)
    stage.clock.pass_s(2)
    assert stage.io.closed == [(1, 1002)]
    assert stage.session.retry_at == pytest.approx(stage.clock.now + 9)


def test_session_gives_up_a_hello_without_an_answer() -> None:
    """A server that stalls does not hang a client."""
    stage = Stage(reply_timeout_s=10)
    stage.session.start()
    stage.session.opened(1, "")
    stage.clock.pass_s(13)

    assert stage.io.opened == [1, 2]


@pytest.mark.parametrize(("renewable", "status"), [(True, "waiting"), (False, "ended")])
def test_session_needs_a_new_token_after_4001(renewable: bool, status: str) -> None:
    """Where none can be had it is over."""
    stage = Stage(renewable=renewable)
    stage.live()
    stage.lose(4001)

    assert stage.status == status


def test_session_waits_as_long_as_retry_after_says() -> None:
    """At least."""
    stage = Stage()
    stage.session.start()
    stage.lose(0, status=503, retry_after_ms=7000)

    assert stage.session.retry_at == pytest.approx(stage.clock.now + 7)


def test_session_moves_without_missing_or_doubling() -> None:
    """A second connection is greeted before the first is closed; the old one only owes replies."""
    stage = Stage(part=0.5)
    stage.listen("gift.sent", "like")
    stage.live()
    stage.ask("a")
    stage.feed({"ev": "sys.reconnect", "d": {"after_ms": 1000, "spread_ms": 2000}}, gift(11))
    stage.clock.pass_s(1.9)
    assert stage.io.opened == [1]
    stage.clock.pass_s(0.1)
    assert stage.io.opened == [1, 2]
    stage.session.opened(2, "")
    assert stage.last("hello")["d"]["resume"]["seq"] == 11
    stage.feed(gift(12), link=1)
    assert stage.status == "live"

    stage.reply(2, "hello", greeting(resumed=True, seq=11), gift(12), gift(13))
    stage.feed(gift(13), {"ev": "like", "d": {}}, link=1)
    assert stage.io.closed == []
    stage.feed({"re": stage.last("a")["id"], "d": {}}, link=1)
    stage.ask("b")

    assert [event.seq for event in stage.shown["gift.sent"]] == [11, 12, 13]
    assert stage.shown["like"] == []
    assert (stage.answers, stage.io.closed) == ([{}], [(1, 1000)])
    assert stage.ops(2) == ["hello", "b"]
    assert stage.shown["sdk.status"] == ["connecting", "live"]


def test_session_keeps_to_the_time_of_sys_reconnect_when_it_is_closed_first() -> None:
    """The close within the window is what was announced."""
    stage = Stage(part=0.5)
    stage.live()
    stage.feed({"ev": "sys.reconnect", "d": {"after_ms": 0, "spread_ms": 20_000}})
    stage.clock.pass_s(4)
    stage.lose(1012)
    assert stage.status == "waiting"
    stage.clock.pass_s(5.9)
    assert stage.io.opened == [1]
    stage.clock.pass_s(0.2)
    assert stage.io.opened == [1, 2]


@pytest.mark.parametrize("code", [4409, 1013, 1006])
def test_session_stays_where_it_is_while_it_cannot_move(code: int) -> None:
    """The first connection is good until it closes."""
    stage = Stage()
    stage.listen("gift.sent")
    stage.live()
    stage.feed({"ev": "sys.reconnect", "d": {"after_ms": 0, "spread_ms": 0}})
    stage.clock.pass_s(0)
    stage.session.opened(2, "")
    stage.lose(code)
    stage.feed(gift(11), link=1)
    assert stage.status == "live"
    stage.session.lost(1, stage.session.lost_by or _restart())
    stage.clock.pass_s(30)

    assert stage.io.opened[:3] == [1, 2, 3]
    assert len(stage.shown["gift.sent"]) == 1


def test_session_asks_a_silent_server_whether_it_lives() -> None:
    """After 60 s; what answers, or pings, is heard; 10 s more and it is given up."""
    stage = Stage()
    stage.live()
    stage.clock.pass_s(59)
    stage.session.heard(1)
    stage.clock.pass_s(59)
    assert "sys.ping" not in stage.ops()
    stage.clock.pass_s(2)
    stage.reply(1, "sys.ping", {"now": 1_760_000_000_000})
    stage.clock.pass_s(61)
    assert stage.ops().count("sys.ping") == 2
    stage.clock.pass_s(10)

    assert stage.io.closed == [(1, 1002)]
    assert stage.status in ("waiting", "connecting")


def test_session_drops_a_connection_that_sends_junk() -> None:
    """What cannot be read may have held anything: resume finds out."""
    stage = Stage()
    stage.live()
    stage.session.feed(1, b"{", binary=False)

    assert stage.session.figures.junk == 1
    assert [error.code for error in stage.shown["sdk.error"]] == ["bad_reply"]
    assert stage.status == "waiting"


@pytest.mark.parametrize(
    "wrong",
    [
        None, [], {}, greeting(epoch=5), greeting(seq="x"), greeting(states=[5]),
        greeting(states=[{"st": "a"}]), greeting(resumed=True), greeting(resumed="no"),
        greeting(states=None), greeting(snapshot=[]),
    ],
    ids=lambda wrong: str(wrong)[-40:],
)  # fmt: skip
def test_session_drops_a_connection_whose_greeting_is_none(wrong: Any) -> None:
    """And tries another."""
    stage = Stage()
    stage.session.start()
    stage.session.opened(1, "")
    stage.reply(1, "hello", wrong)

    assert stage.status == "waiting"
    assert stage.session.figures.connects == 0


def test_session_does_not_ask_for_ever_for_what_is_missing() -> None:
    """A server that never gives it is left."""
    stage = Stage()
    stage.live()
    for n in range(20):
        if stage.status == "live":
            stage.feed(gift(1000 + n))
            stage.feed({"re": stage.last("sys.resume")["id"], "d": greeting(resumed=True)})

    assert stage.ops().count("sys.resume") == 5
    assert stage.status == "waiting"


def test_session_asks_again_when_resume_is_refused() -> None:
    """After retry_ms."""
    stage = Stage()
    stage.live()
    stage.feed(gift(15))
    stage.refuse("sys.resume", "unavailable", retry_ms=4000)
    stage.clock.pass_s(3.9)
    assert stage.ops().count("sys.resume") == 1
    stage.clock.pass_s(0.2)
    assert stage.ops().count("sys.resume") == 2


def test_session_goes_on_under_a_new_token() -> None:
    """Where one can be had."""
    stage = Stage(renewable=True)
    stage.live()
    stage.io.tokens["demo"] = "t2"
    stage.feed({"ev": "sys.token", "d": {"expires_ms": 1}})
    assert stage.last("sys.token")["d"] == {"token": "t2"}

    fixed = Stage()
    fixed.live()
    fixed.feed({"ev": "sys.token", "d": {"expires_ms": 1}})
    assert "sys.token" not in fixed.ops()


def test_session_skims_what_nobody_reads() -> None:
    """Counted, not decoded; replies and durable events are."""
    stage = Stage(skim=True)
    stage.listen("like", "gift.sent")
    stage.live()
    before = stage.session.figures.messages
    stage.feed({"ev": "like", "d": {}}, {"st": "a", "v": 1, "d": {}})
    stage.feed(gift(11))

    assert stage.session.figures.messages == before + 2
    assert (stage.shown["like"], len(stage.shown["gift.sent"])) == ([], 1)
    assert stage.main.states == {}


def test_session_ends_once_and_leaves_nothing() -> None:
    """No timer, no connection, no answer owed."""
    stage = Stage()
    stage.live()
    stage.ask("a")
    stage.session.end()
    stage.session.end(LiveError("banned"))
    stage.session.lost(1, _restart())
    stage.session.feed(1, b"[]", binary=False)

    assert stage.io.closed == [(1, 1000)]
    assert stage.clock.waiting == 0
    assert stage.session.error is None
    assert stage.shown["sdk.status"][-1] == "ended"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20) | st.floats(allow_nan=False) | st.text(max_size=4)
    | st.sampled_from(["demo", "b", "sys.gap", "sys.shed", "sys.reconnect", "sys.token", "e1"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["now", "epoch", "seq", "code", "after_ms"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_NAMES = st.sampled_from(["re", "ev", "st", "room", "seq", "sub", "v", "d", "err", "ts", "kept"])
_ITEMS = _VALUES | st.dictionaries(_NAMES, _VALUES, max_size=5)


@given(st.lists(st.lists(_ITEMS, max_size=4), max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_session_survives_whatever_comes(messages: list[list[Any]], greeted: bool) -> None:
    """No message raises, and the next connection works as if nothing had been."""
    stage = Stage(renewable=True, inbox=3)
    stage.session.start()
    if greeted:
        stage.arrive()
        stage.ask("a", key="k")
    else:
        stage.session.opened(1, "")
    for items in messages:
        stage.session.feed(1, orjson.dumps(items), binary=False)
        stage.clock.pass_s(1)
    stage.clock.pass_s(7200)
    stage.arrive(epoch="e9", seq=3)

    assert stage.status == "live"
    assert stage.main.position == {"epoch": "e9", "seq": 3, "sub": 0}
    stage.session.end()
    assert stage.clock.waiting == 0


def _restart() -> Any:
    from liveroom_client.reconnect import Loss

    return Loss(1012)
