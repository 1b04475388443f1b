"""Commands and their answers; keys make them survive."""

from __future__ import annotations

from typing import Any

import pytest

from fakewire import Stage
from liveroom_client.errors import LiveError


def codes(stage: Stage) -> list[Any]:
    """Return the answers, errors by their codes."""
    return [one.code if isinstance(one, LiveError) else one for one in stage.answers]


def test_asks_are_answered_by_their_numbers() -> None:
    """In whatever order the replies come."""
    stage = Stage()
    stage.live()
    stage.ask("a")
    stage.ask("b", n=1)
    first, second = stage.last("a"), stage.last("b")
    assert second == {"op": "b", "id": first["id"] + 1, "d": {"n": 1}}

    stage.feed({"re": second["id"], "d": {"n": 2}}, {"re": first["id"], "d": {"n": 1}})
    assert stage.answers == [{"n": 2}, {"n": 1}]


def test_asks_are_refused_with_code_and_fields() -> None:
    """As the server says it."""
    stage = Stage()
    stage.live()
    stage.ask("gift.send", key="k", gift="rose")
    stage.refuse("gift.send", "insufficient_funds", price=5)

    (error,) = stage.answers
    assert (error.code, error.key, error.values) == ("insufficient_funds", "k", {"price": 5})


def test_asks_before_the_greeting_wait_for_it() -> None:
    """Never sent is never lost."""
    stage = Stage()
    stage.session.start()
    stage.ask("a")
    stage.ask("b", key="k")
    assert stage.ops() == []

    stage.arrive()
    assert stage.ops() == ["hello", "a", "b"]


def test_asks_without_a_key_fail_with_the_connection() -> None:
    """It may have happened: the caller decides."""
    stage = Stage()
    stage.live()
    stage.ask("a")
    stage.lose()

    assert codes(stage) == ["closed"]


def test_asks_with_a_key_are_sent_again_with_the_same_bytes() -> None:
    """Over as many connections as it takes, and once more after a silence."""
    stage = Stage()
    stage.live()
    stage.ask("gift.send", key="k", gift="rose")
    sent = stage.last("gift.send")
    stage.lose()
    stage.clock.pass_s(1)
    stage.arrive(resumed=True)
    assert [command for on, command in stage.io.sent if on == 2][1:] == [sent]
    stage.clock.pass_s(10)
    assert [command for on, command in stage.io.sent if on == 2][1:] == [sent, sent]
    assert stage.answers == []

    stage.reply(2, "gift.send", {"n": 1})
    stage.reply(2, "gift.send", {"n": 1})
    assert stage.answers == [{"n": 1}]


@pytest.mark.parametrize("code", ["outcome_unknown", "unavailable"])
def test_asks_with_a_key_are_repeated_while_undecided(code: str) -> None:
    """Not before retry_ms; without a key the caller is told."""
    stage = Stage()
    stage.live()
    stage.ask("gift.send", key="k")
    stage.refuse("gift.send", code, retry_ms=3000)
    stage.clock.pass_s(2.9)
    assert stage.ops().count("gift.send") == 1
    stage.clock.pass_s(0.2)
    assert stage.ops().count("gift.send") == 2
    stage.reply(1, "gift.send", {})
    stage.ask("a")
    stage.refuse("a", code)

    assert codes(stage) == [{}, code]


def test_asks_without_an_answer_time_out() -> None:
    """Those without a key, sent or not."""
    stage = Stage(reply_timeout_s=4)
    stage.session.start()
    stage.ask("a")
    stage.clock.pass_s(1)
    stage.arrive()
    stage.ask("b")
    stage.clock.pass_s(3.1)
    assert codes(stage) == ["timeout"]
    stage.clock.pass_s(1)
    assert codes(stage) == ["timeout", "timeout"]


def test_asks_that_were_given_up_are_not_sent_again() -> None:
    """The caller waits no longer; a late answer disturbs nobody."""
    stage = Stage()
    stage.live()
    ask = stage.session.ask("a", {}, stage.answer, key="k")
    stage.session.forget(ask)
    stage.lose()
    stage.clock.pass_s(1)
    stage.arrive(resumed=True)

    assert stage.ops(2) == ["hello"]
    stage.feed({"re": ask.id, "d": {}})
    assert stage.answers == []


def test_asks_end_with_the_client() -> None:
    """Everything that waits is told, and nothing is taken any more."""
    stage = Stage()
    stage.live()
    stage.ask("a", key="k")
    stage.session.end()
    assert codes(stage) == ["closed"]
    with pytest.raises(LiveError, match="closed"):
        stage.ask("b")
    assert stage.clock.waiting == 0


def test_asks_with_a_body_that_cannot_be_encoded_raise_at_once() -> None:
    """Nothing of it is kept."""
    stage = Stage()
    stage.live()
    with pytest.raises(TypeError):
        stage.ask("a", what=object())
    stage.session.end()
    assert stage.answers == []


@pytest.mark.parametrize("re", [None, "1", 1.0, True, [], {}, -1, 2**63])
def test_asks_are_not_answered_by_numbers_that_are_none(re: Any) -> None:
    """A refusal of something unreadable is told to who listens."""
    stage = Stage()
    stage.listen("sdk.refused")
    stage.live()
    stage.ask("a")
    stage.feed({"re": re, "err": {"code": "bad_request"}})

    assert stage.answers == []
    assert [error.code for error in stage.shown["sdk.refused"]] == ["bad_request"]


@pytest.mark.parametrize("err", [None, "no", {}, {"code": 1}])
def test_asks_refused_without_shape_are_bad_replies(err: Any) -> None:
    """Answered, though with nonsense."""
    stage = Stage()
    stage.live()
    stage.ask("a")
    stage.feed({"re": stage.last("a")["id"], "err": err})

    assert codes(stage) == ["bad_reply"]
