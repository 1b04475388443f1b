"""Rehearsals: a show before a simulated audience, and what its report is worth."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

import harness
from liveroom.config import load
from liveroom.errors import ConfigError, LiveroomError
from liveroom.rehearsal.play import Scene, rehearse
from liveroom.rehearsal.report import Report, lines
from liveroom.rehearsal.run import Demo, rehearse_as
from liveroom.rehearsal.wire import Refused, address_of
from liveroom.shows import Show, read_toml
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.redpackets import RedPackets


SHOW = """
title = "Six cues"
[[cues]]
cue = "shelf"
at_s = 0
op = "shelf.put"
d = { item = "lip", title = "Lip", currency = "CNY", skus = [{ sku = "red", price = 900, stock = 9 }] }
[[cues]]
cue = "poll"
at_s = 1
op = "poll.open"
d = { poll = "p", title = "?", options = ["a", "b"], seconds = 0 }
[[cues]]
cue = "result"
after = "poll"
at_s = 40
op = "poll.close"
d = { poll = "p" }
[[cues]]
cue = "draw"
after = "result"
at_s = 1
op = "lottery.open"
[cues.d]
lottery = "l"
title = "One"
prizes = [{ prize = "x", title = "X", n = 1 }]
seconds = 0
[[cues]]
cue = "now"
after = "draw"
at_s = 40
op = "lottery.freeze"
d = { lottery = "l" }
[[cues]]
cue = "bye"
op = "notice.set"
d = { text = "bye" }
"""
DROPS = """
[[cues]]
cue = "drop"
after = "poll"
at_s = 1
op = "coupon.drop"
d = { drop = "d", title = "1 off", quota = 3, kind = "amount", value = 100, valid_s = 60, seconds = 60 }
[[cues]]
cue = "drop-over"
after = "drop"
at_s = 40
op = "coupon.stop"
d = { drop = "d" }
[[cues]]
cue = "rain"
after = "drop"
op = "coupon.rain"
[cues.d]
rain = "r"
title = "1 off"
quota = 2
kind = "percent"
value = 1
valid_s = 60
seconds = 2
drops = 2
over_s = 1
[[cues]]
cue = "packet"
after = "drop"
op = "redpacket.send"
d = { packet = "p", total = 10, shares = 2, split = "random" }
"""


def scene(*workers: harness.Worker, room: str, viewers: int = 20, speed: float = 100.0) -> Scene:
    """Return a scene on workers of this process."""
    first = workers[0]
    return Scene(
        addresses=[address_of(worker.http) for worker in workers],
        room=room,
        tokens=lambda role, user: first.token(room, role, user),
        viewers=viewers,
        speed=speed,
        workers=len(workers),
    )


def quiet(text: str) -> None:
    """Say nothing."""


async def test_rehearsal_plays_a_show_to_its_end(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Everyone comes, votes and enters; what they were told is what the room counted."""
    workers = [await start_worker(embedded_url), await start_worker(embedded_url)]

    report = await rehearse(read_toml(SHOW), scene(*workers, room=room), quiet)

    assert report.ok, "\n".join(lines(report))
    assert (report.joined, report.reconnects) == (20, 0)
    assert (report.cues.fired, report.cues.failed, report.cues.waiting) == (6, {}, [])
    assert report.activities["poll:p"]["voters"] > 0
    assert len(report.activities["lottery:l"]["winners"]) == 1
    checks = {check.name: check.detail for check in report.checks}
    assert {"poll:p", "lottery:l", "lottery:l proof", "invariants of the room"} <= checks.keys()
    assert set(report.cues.jitter_ms) == {"shelf", "poll", "result", "draw", "now", "bye"}


async def test_rehearsal_of_coupons_and_red_packets(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Viewers claim and grab; no coupon is issued beyond the quota, and the packet adds up."""
    plugins = [Coupons(), RedPackets()]
    worker = await start_worker(embedded_url, plugins=plugins)

    report = await rehearse(read_toml(SHOW + DROPS), scene(worker, room=room), quiet)

    assert report.ok, "\n".join(lines(report))
    assert report.activities["coupon:d"] == {"quota": 3, "claimed": 3}
    assert report.activities["coupon:r-2"] == {"quota": 2, "claimed": 2}
    grabbed = {"shares": 2, "taken": 2, "grabbed": 10, "refunded": 0}
    assert report.activities["redpacket:p"] == grabbed
    checks = {check.name for check in report.checks}
    assert {"coupon:d", "coupon:r-1 adds up", "redpacket:p adds up"} <= checks


async def test_rehearsal_outlives_lost_connections(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """Viewers and host come back, those who look resume; nothing is missed."""
    worker = await start_worker(embedded_url)
    hosts = await worker.open_control(room, "watching")
    playing = asyncio.create_task(
        rehearse(read_toml(SHOW), scene(worker, room=room, viewers=10), quiet)
    )
    await hosts.event("rundown.cue", cue="poll", status="fired")
    for connection in list(worker.node.front.connections):
        connection.close("restart")

    report = await playing

    assert report.cues.fired == 6
    assert report.reconnects >= 10
    assert [check for check in report.checks if not check.ok] == []


async def test_rehearsal_tells_what_went_wrong(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A cue that fails takes those after it along; the report says so and is not ok."""
    show = read_toml(
        '[[cues]]\ncue = "bad"\nat_s = 0\nop = "poll.close"\nd.poll = "none"\n'
        '[[cues]]\ncue = "after"\nafter = "bad"\nop = "notice.set"\nd.text = "x"\n'
        '[[cues]]\ncue = "good"\nop = "notice.set"\nd.text = "x"\n'
    )

    report = await rehearse(show, scene(await start_worker(embedded_url), room=room), quiet)

    assert not report.ok
    assert report.cues.failed["bad"].startswith("not_found")
    assert report.cues.waiting == ["after"]
    assert report.cues.fired == 1
    text = "\n".join(lines(report))
    assert "failed      bad: not_found" in text
    assert text.endswith("NOT OK")


async def test_rehearsal_needs_a_plan_that_the_engine_takes(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A command that does not exist is told before anybody comes."""
    show = read_toml('[[cues]]\ncue = "x"\nop = "poll.opne"\n')
    worker = await start_worker(embedded_url)

    with pytest.raises(Refused, match=r"rundown.put: unknown_op: cue x: .*poll\.opne"):
        await rehearse(show, scene(worker, room=room), quiet)


async def play_there(worker: harness.Worker, secret: str, **options: Any) -> Report:
    """Rehearse on a running engine, as `liveroom demo --url` does."""
    show = read_toml('[[cues]]\ncue = "x"\nat_s = 0\nop = "notice.set"\nd.text = "hello"\n')
    settings = load(environ={}, overrides={"jwt_secret": secret})
    demo = Demo(show=Path("unused"), viewers=3, url=worker.http, **options)
    return await rehearse_as(settings, demo, show, quiet)


async def test_rehearsal_on_a_running_engine(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """With the engine's secret, or with a host's token where guests may come in."""
    worker = await start_worker(embedded_url)

    signed = await play_there(worker, harness.SECRET, room=room)
    guests = await play_there(worker, "", room=room, token=worker.token(room, "host", "h"))

    assert (signed.ok, signed.joined) == (guests.ok, guests.joined) == (True, 3)
    with pytest.raises(ConfigError, match="token"):
        await play_there(worker, "", room=room)
    with pytest.raises(LiveroomError, match="4401"):
        await play_there(worker, "another-secret-of-at-least-32-bytes", room=room)


async def test_rehearsal_without_an_engine_says_so(room: str) -> None:
    """Nobody listens there."""
    show: Show = read_toml('[[cues]]\ncue = "x"\nop = "notice.set"\nd.text = "a"\n')
    settings = load(environ={}, overrides={"jwt_secret": harness.SECRET})

    with pytest.raises(LiveroomError, match=r"127\.0\.0\.1:9"):
        await rehearse_as(
            settings, Demo(show=Path("unused"), url="ws://127.0.0.1:9", room=room), show, quiet
        )


RUN = """
import sys
from pathlib import Path
from liveroom.config import load
from liveroom.rehearsal import Demo, run
show, told = map(Path, sys.argv[1:])
demo = Demo(show=show, viewers=5, workers=2, speed=50.0, json=told)
sys.exit(run(load(environ={}, overrides={"log_level": "error"}), demo))
"""


async def test_rehearsal_brings_its_own_engine(tmp_path: Path) -> None:
    """Two workers on a store of their own, with the plugins of the cues; the exit status tells."""
    show, told = tmp_path / "show.toml", tmp_path / "report.json"
    show.write_text(SHOW + DROPS)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, str(show), str(told),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = (await process.communicate())[0].decode()

    assert process.returncode == 0, said
    assert said.splitlines()[0] == "5 of 5 viewers are in room rehearsal"
    assert said.splitlines()[-1] == "ok"
    report = orjson.loads(told.read_bytes())
    assert report["ok"]
    assert (report["workers"], report["joined"], report["cues"]["fired"]) == (2, 5, 10)
