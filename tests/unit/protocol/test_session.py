"""The order of a conversation and the patience with bad commands."""

from __future__ import annotations

import pytest

from liveroom.errors import CloseError, CommandError
from liveroom.protocol.codec import Incoming
from liveroom.protocol.session import Act, Phase, Session


HELLO = Incoming("hello", 1, None, None)
PING = Incoming("sys.ping", 2, None, None)


def live() -> Session:
    session = Session()
    session.judge(HELLO)
    session.joined()
    return session


def bad_until_closed(session: Session) -> int:
    """Return how many bad commands are borne."""
    for count in range(1000):
        try:
            session.bad()
        except CloseError as exc:
            return count if exc.close.name == "policy" else -1
    return 1000


def test_session_goes_from_hello_to_live() -> None:
    """Join, hold, then run."""
    session = Session()
    phases = [session.phase]
    assert session.judge(HELLO) is Act.JOIN
    phases.append(session.phase)
    assert session.judge(PING) is Act.HOLD
    assert session.joined() == [PING]
    phases.append(session.phase)
    assert session.judge(PING) is Act.RUN
    assert session.held == []
    assert phases == [Phase.NEW, Phase.JOINING, Phase.LIVE]


@pytest.mark.parametrize("op", ["sys.ping", "danmaku.send", "", "x" * 500])
def test_session_ends_when_the_first_command_is_no_hello(op: str) -> None:
    """The reason names what came, cut short."""
    with pytest.raises(CloseError) as caught:
        Session().judge(Incoming(op, 1, None, None))
    assert caught.value.close.name == "bad_hello"
    assert len(caught.value.reason.encode()) <= 123


def test_session_refuses_a_second_hello_and_lives_on() -> None:
    """While joining, and later."""
    session = Session()
    session.judge(HELLO)
    with pytest.raises(CommandError, match="second"):
        session.judge(HELLO)
    session.joined()
    with pytest.raises(CommandError, match="second"):
        session.judge(HELLO)
    assert session.judge(PING) is Act.RUN


def test_session_holds_32_commands_and_refuses_more() -> None:
    """What was held is kept in order; what was refused is not."""
    session = Session()
    session.judge(HELLO)
    sent = [Incoming("sys.ping", number, None, None) for number in range(40)]
    refused = []
    for incoming in sent:
        try:
            session.judge(incoming)
        except CommandError as exc:
            refused.append((incoming, exc.code.name))
    assert session.joined() == sent[:32]
    assert refused == [(incoming, "rate_limited") for incoming in sent[32:]]


def test_session_has_no_patience_before_the_hello() -> None:
    """Whoever cannot even say hello speaks another language."""
    with pytest.raises(CloseError) as caught:
        Session().bad()
    assert caught.value.close.name == "bad_hello"


def test_session_ends_after_twenty_bad_commands() -> None:
    """The twenty-first is one too many."""
    assert bad_until_closed(live()) == 20


def test_session_forgives_one_bad_command_for_each_good_one() -> None:
    """But saves up no credit."""
    session = live()
    for _ in range(100):
        session.good()
    for _ in range(15):
        session.bad()
    for _ in range(5):
        session.good()
    assert bad_until_closed(session) == 10
