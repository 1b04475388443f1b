"""A viewer, fed with bytes: it greets, counts, checks, and finds what was planted."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from liveroom.protocol.frame_builder import close_frame, ping_frame, text_frame
from liveroom_loadtest.crowd import Crowd, Part
from liveroom_loadtest.scenario import made_from
from liveroom_loadtest.viewer import NotIn, Viewer
from liveroom_loadtest.wire import PONG_FRAME, Address


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
GREETING = [{"re": 0, "d": {"epoch": "e", "seq": 7, "sub": 0, "resumed": False}}]


class Wire:
    """Keeps what a viewer writes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


def frame(*items: Any) -> bytes:
    return text_frame(orjson.dumps(list(items)))


def durable(seq: int, text: str = "x") -> dict[str, Any]:
    return {"ev": "notice", "seq": seq, "d": {"text": text}}


@pytest.fixture
def crowd() -> Crowd:
    """Four viewers of one room, none of them connected."""
    part = Part(0, 1, Address("127.0.0.1", 1), "127.0.0.1", ["r"], "", "run", 20)
    return Crowd(part, made_from({"title": "t", "crowd": {"viewers": 4}}))


async def greeted(viewer: Viewer) -> Wire:
    wire, done = Wire(), viewer.begin()
    viewer.connection_made(wire)  # type: ignore[arg-type]  # all of a transport that it uses
    viewer.data_received(SWITCH)
    viewer.data_received(frame(*GREETING))
    assert await done is False
    return wire


async def test_viewer_takes_frames_however_they_are_cut(crowd: Crowd) -> None:
    """Byte by byte, and several at once."""
    stream = frame(durable(8)) + ping_frame() + frame({"ev": "like", "d": {}}) + frame(durable(9))
    for size in (1, 3, len(stream)):
        viewer = crowd.viewers[size % 4]
        wire = await greeted(viewer)
        for at in range(0, len(stream), size):
            viewer.data_received(stream[at : at + size])
        assert viewer.track.seq == 9
        assert PONG_FRAME in wire.written
    assert crowd.ledger.fault_count == 0
    assert crowd.second.events == 9


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ([durable(8), durable(8)], "came again"),
        ([durable(8), durable(10)], "came after a hole"),
        ([durable(9)], "came after a hole"),
    ],
)
async def test_viewer_finds_a_planted_hole_or_double(
    crowd: Crowd, planted: list[Any], words: str
) -> None:
    """In one frame, and spread over several, which others have had already."""
    await greeted(crowd.viewers[0])
    await greeted(crowd.viewers[1])
    crowd.viewers[0].data_received(frame(*planted))
    for item in planted:
        crowd.viewers[1].data_received(frame(item))

    assert crowd.ledger.fault_count == 2
    assert all(words in fault for fault in crowd.ledger.faults)


async def test_viewers_find_a_planted_difference(crowd: Crowd) -> None:
    """The same place, another content for one of them."""
    for number, text in enumerate(["x", "x", "y", "x"]):
        await greeted(crowd.viewers[number])
        crowd.viewers[number].data_received(frame(durable(8, text)))

    assert crowd.ledger.fault_count == 1


async def test_viewers_accounts_find_a_planted_loss(crowd: Crowd) -> None:
    """Five accepted: shown or told as shed, or it is a fault."""
    shown = {"ev": "danmaku", "d": {"text": "@1~x"}}
    for viewer in crowd.viewers:
        await greeted(viewer)
    crowd.judge_from_now()
    for number, viewer in enumerate(crowd.viewers):
        viewer.data_received(frame(shown, shown, shown))
        if number != 2:
            viewer.data_received(frame({"ev": "sys.shed", "d": {"danmaku": 2}}))

    stand = crowd.stand({"r": 5}, [])
    assert (stand["judged"], stand["wrong"]) == (4, 1)
    assert stand["wrong_first"] == ["load2 in r: accepted 5 != delivered 3 + shed 0"]
    assert crowd.stand({"r": 5}, ["r"])["judged"] == 0, "not where something is not known"


async def test_viewer_that_is_refused_is_told_why(crowd: Crowd) -> None:
    """By the upgrade, the reply or the close; some may try again."""
    cases = [
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", True),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", False),
        (SWITCH + close_frame(1013, "full"), True),
        (SWITCH + close_frame(4404, "no room"), False),
        (SWITCH + frame({"re": 0, "err": {"code": "overloaded", "retry_ms": 5}}), True),
    ]
    viewer = crowd.viewers[0]
    for data, again in cases:
        done = viewer.begin()
        viewer.connection_made(Wire())  # type: ignore[arg-type]  # all of a transport that it uses
        viewer.data_received(data)
        with pytest.raises(NotIn) as caught:
            await done
        assert caught.value.again is again, data


async def test_viewer_is_told_replies_and_their_absence(crowd: Crowd) -> None:
    """A lost connection answers nothing."""
    viewer, replies = crowd.viewers[0], []
    await greeted(viewer)
    viewer.ask("like.send", {}, lambda _, item: replies.append(item))
    viewer.ask("like.send", {}, lambda _, item: replies.append(item))
    viewer.data_received(frame({"re": 1, "d": {}}))
    viewer.hang_up()
    viewer.connection_lost(None)
    viewer.ask("like.send", {}, lambda _, item: replies.append(item))

    assert replies == [{"re": 1, "d": {}}, None, None]


async def test_viewer_that_is_sent_junk_tells(crowd: Crowd) -> None:
    """It is a fault of the engine, and no end of the run."""
    viewer = crowd.viewers[0]
    await greeted(viewer)
    viewer.data_received(text_frame(b"{"))
    viewer.data_received(frame({"ev": "danmaku"}))
    assert crowd.ledger.fault_count == 2


async def test_viewers_who_are_away_at_the_end_are_missed(crowd: Crowd) -> None:
    """Whoever neither came nor gave up is an error of the run."""
    for viewer in crowd.viewers[:3]:
        await greeted(viewer)
    crowd.miss_at_the_end()

    assert crowd.problems == {"viewer away at the end": 1}
    assert (crowd.back_failed, crowd.second.errors) == (1, 1)
