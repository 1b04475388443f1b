"""A show played faster, and how long it may take."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom.rehearsal.director import Director, faster, latest_s
from liveroom.rehearsal.wire import Address
from liveroom.shows import Cue, Show


CUES = [
    Cue(cue="a", op="o", at_s=10, d={"seconds": 60}),
    Cue(cue="b", op="o", after="a", at_s=5),
    Cue(cue="c", op="o", label="by hand"),
]


def test_director_divides_the_times_of_a_show() -> None:
    """What an activity lasts is its own rule and stays."""
    made = faster(Show(title="t", cues=CUES), 2.0)

    assert [cue.at_s for cue in made.cues] == [5.0, 2.5, None]
    assert made.cues[0].d == {"seconds": 60}
    assert faster(Show(title="t", cues=CUES), 1.0).cues == CUES


def test_director_knows_how_long_a_show_is() -> None:
    """The last timed cue, and all that is chained."""
    assert latest_s(CUES) == 15
    assert latest_s(CUES[2:]) == 0


async def test_director_keeps_a_step_that_overtook_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was told while the plan was asked for is newer than the answer."""
    director = Director(Address("127.0.0.1", 1, secure=False), "t", "r", Show(title="t", cues=CUES))

    async def ask(op: str, d: dict[str, Any], key: str = "") -> Any:
        director._take(b'[{"ev":"rundown.cue","d":{"cue":"a","status":"fired"}}]')
        return {"progress": [{"cue": c, "status": "waiting"} for c in ("a", "b", "c")]}

    monkeypatch.setattr(director, "ask", ask)
    await director._catch_up()

    assert director._status == {"a": "fired", "b": "waiting", "c": "waiting"}
