"""The sweeps: who is pinged, who is dropped, what is done when; no clock but the given one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings, strategies as st

from liveroom.deadlines import Deadlines, Heartbeat, Peer
from liveroom.protocol.frame_builder import ping_frame


EVERY_S, DEAD_AFTER_S = 25.0, 35.0


class FakePeer:
    """Notes what is done to it."""

    def __init__(self, last_heard: float = 0.0) -> None:
        self.last_heard = last_heard
        self.pings = 0
        self.aborted_at: float | None = None
        self.now = 0.0
        self.write: Callable[[bytes], None] = self._on_write

    def _on_write(self, frame: bytes) -> None:
        assert frame == ping_frame()
        self.pings += 1

    def abort(self) -> None:
        self.aborted_at = self.now


class Bench:
    """A heartbeat and the seconds that pass for it."""

    def __init__(self) -> None:
        self.dead: list[Peer] = []
        self.heartbeat = Heartbeat(EVERY_S, DEAD_AFTER_S, self.on_dead)
        self.now = 0.0
        self.peers: list[FakePeer] = []

    def on_dead(self, peer: Peer) -> None:
        self.dead.append(peer)
        self.heartbeat.discard(peer)

    def add(self, count: int) -> list[FakePeer]:
        peers = [FakePeer(self.now) for _ in range(count)]
        for peer in peers:
            self.heartbeat.add(peer)
        self.peers += peers
        return peers

    def pass_seconds(self, count: int) -> None:
        for _ in range(count):
            self.now += 1.0
            for peer in self.peers:
                peer.now = self.now
            self.heartbeat.tick(self.now)


def test_heartbeat_pings_every_peer_once_per_round() -> None:
    """However many there are, each gets one ping in 25 seconds."""
    bench = Bench()
    peers = bench.add(60)

    bench.pass_seconds(25)

    assert [peer.pings for peer in peers] == [1] * 60


def test_heartbeat_spreads_the_pings() -> None:
    """Fifty peers that came at once are pinged two a second."""
    bench = Bench()
    peers = bench.add(50)
    told = []
    for _ in range(25):
        before = sum(peer.pings for peer in peers)
        bench.pass_seconds(1)
        told.append(sum(peer.pings for peer in peers) - before)
    assert set(told) == {2}


@pytest.mark.parametrize("died_at", range(0, 60, 7))
def test_heartbeat_drops_a_dead_peer_within_35_seconds(died_at: int) -> None:
    """Whenever it dies: at most 25 s until its ping, and 10 s for the pong that never comes."""
    bench = Bench()
    peers = bench.add(25)
    for _ in range(died_at):
        bench.pass_seconds(1)
        for peer in peers:
            peer.last_heard = bench.now

    bench.pass_seconds(9)
    assert bench.dead == []
    bench.pass_seconds(26)

    assert len(bench.dead) == 25
    assert all(peer.pings for peer in peers)
    assert len(bench.heartbeat) == 0


def test_heartbeat_forgives_late_ticks() -> None:
    """When the loop stood still for a minute, a peer that had answered before is kept."""
    bench = Bench()
    (peer,) = bench.add(1)
    bench.pass_seconds(9)
    peer.last_heard = bench.now
    bench.now += 60
    bench.pass_seconds(3)
    assert bench.dead == []


def test_heartbeat_keeps_a_peer_that_answers() -> None:
    """A pong within ten seconds of the ping is enough."""
    bench = Bench()
    (peer,) = bench.add(1)
    for _ in range(300):
        pings = peer.pings
        bench.pass_seconds(1)
        if peer.pings > pings:
            peer.last_heard = bench.now
    assert peer.aborted_at is None
    assert peer.pings == 12


def test_heartbeat_forgets_who_has_gone() -> None:
    """Nothing is written to it, and letting it go twice does no harm."""
    bench = Bench()
    one, two = bench.add(2)
    bench.heartbeat.discard(one)
    bench.heartbeat.discard(one)

    bench.pass_seconds(5)

    assert (one.pings, two.pings, len(bench.heartbeat)) == (0, 1, 1)


def test_deadlines_do_what_is_due_once_and_not_before() -> None:
    """To the second, never early."""
    deadlines, done = Deadlines(), []
    deadlines.set("a", 10.2, lambda: done.append("a"))

    deadlines.tick(10.9)
    assert done == []
    deadlines.tick(11.0)
    deadlines.tick(12.0)

    assert done == ["a"]
    assert len(deadlines) == 0


def test_deadlines_keep_one_time_per_key() -> None:
    """A new time replaces the old one; cancelling removes it; cancelling twice does no harm."""
    deadlines, done = Deadlines(), []
    deadlines.set("a", 1.0, lambda: done.append("old"))
    deadlines.set("a", 5.0, lambda: done.append("new"))
    deadlines.set("b", 5.0, lambda: done.append("b"))
    deadlines.cancel("b")
    deadlines.cancel("b")

    deadlines.tick(3.0)
    assert done == []
    deadlines.tick(9.0)

    assert done == ["new"]


def test_deadlines_may_be_set_for_the_past_and_while_one_is_done() -> None:
    """What is late already is done with the next tick, not in the same one and not never."""
    deadlines, done = Deadlines(), []

    def again() -> None:
        done.append("first")
        deadlines.set("a", 2.0, lambda: done.append("second"))

    deadlines.set("a", 4.0, again)
    deadlines.tick(8.0)
    assert done == ["first"]
    deadlines.tick(9.0)

    assert done == ["first", "second"]


def test_deadlines_survive_an_action_that_cancels_another() -> None:
    """Closing one connection may end the other's deadline in the same second."""
    deadlines, done = Deadlines(), []
    deadlines.set("a", 1.0, lambda: deadlines.cancel("later"))
    deadlines.set("later", 5.0, lambda: done.append("later"))

    deadlines.tick(2.0)
    deadlines.tick(9.0)

    assert done == []
    assert len(deadlines) == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.floats(0, 20), st.booleans()),
        max_size=30,
    )
)
def test_deadlines_agree_with_a_plain_model(steps: list[tuple[int, float, bool]]) -> None:
    """Whatever is set and cancelled: each key is done once, at the last time it was given."""
    deadlines = Deadlines()
    done: list[int] = []
    wanted: dict[int, float] = {}
    for key, at, cancelled in steps:
        if cancelled:
            deadlines.cancel(key)
            wanted.pop(key, None)
        else:
            deadlines.set(key, at, partial(done.append, key))
            wanted[key] = at
    assert len(deadlines) == len(wanted)
    for now in range(23):
        deadlines.tick(float(now))
        assert sorted(done) == sorted(key for key, at in wanted.items() if int(at) + 1 <= now)
