from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from liveroom.core.position import Position
from liveroom.core.ring import Entry, Ring
from liveroom.errors import ConfigError


USERS = st.sampled_from([None, None, None, "ann", "bob"])
LOGS = st.lists(st.tuples(USERS, st.integers(0, 30)), max_size=60)


def at(seq: int, sub: int = 0) -> Position:
    return Position("e", seq, sub)


def log_of(rows: list[tuple[str | None, int]]) -> list[Entry]:
    """A room's log: public events count `seq` up, private ones `sub`."""
    log: list[Entry] = []
    position = at(0)
    for number, (user, size) in enumerate(rows):
        step = at(position.seq + 1) if user is None else at(position.seq, position.sub + 1)
        position = step
        log.append(Entry(position, user, b"%d " % number + b"x" * size))
    return log


def visible(log: list[Entry], position: Position, user: str | None) -> list[bytes]:
    return [e.item for e in log if e.position > position and e.user in (None, user)]


@given(LOGS, st.integers(1, 20), st.integers(1, 400), st.sampled_from([None, "ann", "eve"]))
def test_ring_answers_wholly_or_not_at_all(
    rows: list[tuple[str | None, int]], max_entries: int, max_bytes: int, user: str | None
) -> None:
    """From every position: exactly what a scan of the whole log gives, or None below the reach."""
    log = log_of(rows)
    ring = Ring(max_entries, max_bytes)
    ring.reset(at(0))
    for entry in log:
        ring.append(*entry)
        assert len(ring) <= max_entries
        assert ring.size <= max_bytes
        assert ring.newest == entry.position
    reach = ring.reach
    assert reach is not None
    for position in [at(0), *(entry.position for entry in log), at(10**6)]:
        expected = None if position < reach else visible(log, position, user)
        assert ring.after(position, user) == expected


@given(LOGS, st.integers(1, 20), st.integers(1, 400), st.data())
def test_ring_prepend_equals_having_been_there(
    rows: list[tuple[str | None, int]], max_entries: int, max_bytes: int, data: st.DataObject
) -> None:
    """Starting in the middle and reading the rest from the log ends as appending all of it."""
    log = log_of(rows)
    middle = data.draw(st.integers(0, len(log)))
    first = data.draw(st.integers(0, middle))
    late, early = Ring(max_entries, max_bytes), Ring(max_entries, max_bytes)
    early.reset(at(0))
    late.reset(log[middle - 1].position if middle else at(0))
    for entry in log:
        early.append(*entry)
    for entry in log[middle:]:
        late.append(*entry)
    late.prepend(log[first:middle], reach=log[first - 1].position if first else at(0))
    late.prepend(log[:first], reach=at(0))
    assert (late.reach, late.oldest, late.newest) == (early.reach, early.oldest, early.newest)
    assert (len(late), late.size) == (len(early), early.size)
    for entry in log:
        assert late.after(entry.position, "ann") == early.after(entry.position, "ann")


def test_ring_knows_nothing_before_it_is_told() -> None:
    """An empty ring has no answer; the first append makes it reach back to that entry."""
    ring = Ring(10, 1000)
    assert (ring.reach, ring.oldest, ring.newest) == (None, None, None)
    assert ring.after(at(0), None) is None
    ring.append(at(5), None, b"five")
    assert ring.after(at(4), None) is None
    assert ring.after(at(5), None) == []
    assert (ring.reach, ring.oldest, ring.newest) == (at(5), at(5), at(5))


def test_ring_prepend_fills_one_that_knows_nothing() -> None:
    """The log as read is a start; where the read began is the reach."""
    ring = Ring(10, 1000)
    ring.prepend([Entry(at(4), None, b"four"), Entry(at(5), None, b"five")], reach=at(3))
    assert ring.after(at(3), None) == [b"four", b"five"]
    assert (ring.reach, ring.oldest, ring.newest) == (at(3), at(4), at(5))
    nothing = Ring(10, 1000)
    nothing.prepend([], reach=at(3))
    nothing.append(at(4), None, b"four")
    assert nothing.after(at(3), None) == [b"four"]


def test_ring_refuses_older_entries_that_do_not_touch() -> None:
    """What was dropped while the log was read leaves a hole; the ring stays without one."""
    ring = Ring(2, 1000)
    ring.reset(at(4))
    for seq in (5, 6, 7):
        ring.append(at(seq), None, b"%d" % seq)
    assert not ring.prepend([Entry(at(3), None, b"3"), Entry(at(4), None, b"4")], reach=at(2))
    assert ring.reach == at(5)
    assert ring.after(at(4), None) is None
    assert ring.prepend([Entry(at(5), None, b"5")], reach=at(4))
    assert ring.after(at(5), None) == [b"6", b"7"]


def test_ring_first_appended_can_be_extended_backwards() -> None:
    """Nobody said what comes before the first entry, so the log may."""
    ring = Ring(10, 1000)
    ring.append(at(5), None, b"5")
    assert ring.prepend([Entry(at(3), None, b"3"), Entry(at(4), None, b"4")])
    assert ring.reach == at(3)
    assert ring.after(at(3), None) == [b"4", b"5"]


def test_ring_gives_private_entries_to_their_user_only() -> None:
    """One event for everyone, one for ann."""
    ring = Ring(10, 1000)
    ring.reset(at(0))
    ring.append(at(1), None, b"all")
    ring.append(at(1, 1), "ann", b"ann's")
    assert ring.after(at(0), "ann") == [b"all", b"ann's"]
    assert ring.after(at(0), "bob") == [b"all"]
    assert ring.after(at(0), None) == [b"all"]
    assert ring.after(at(1), "ann") == [b"ann's"]


def test_ring_drops_an_item_larger_than_itself() -> None:
    """It holds nothing then, but still knows where the log stands."""
    ring = Ring(10, 10)
    ring.reset(at(0))
    ring.append(at(1), None, b"small")
    ring.append(at(2), None, b"x" * 11)
    assert (len(ring), ring.size) == (0, 0)
    assert (ring.reach, ring.oldest, ring.newest) == (at(2), None, at(2))
    assert ring.after(at(1), None) is None
    assert ring.after(at(2), None) == []


def test_ring_lets_dropped_entries_go() -> None:
    """The dead part of the list stays under an eighth, however long the room lives."""
    ring = Ring(80, 10**6)
    for seq in range(1, 2000):
        ring.append(at(seq), None, b"x")
        assert len(ring._entries) <= 80 * 8 / 7 + 1
    assert ring.after(at(1919), None) == [b"x"] * 80
    assert ring.after(at(1918), None) is None


def test_ring_reset_begins_another_epoch() -> None:
    """Positions of the former epoch are answered with None afterwards."""
    ring = Ring(10, 1000)
    ring.append(at(5), "ann", b"five")
    ring.reset(Position("f", 0))
    ring.append(Position("f", 1), None, b"one")
    assert ring.after(at(5), "ann") is None
    assert ring.after(Position("f", 0), "ann") == [b"one"]
    assert (len(ring), ring.size) == (1, 3)


def test_ring_refuses_entries_out_of_order() -> None:
    """Backwards, twice the same, another epoch: each is named, and nothing is added."""
    ring = Ring(10, 1000)
    ring.append(at(5), None, b"five")
    for position in (at(4), at(5)):
        with pytest.raises(ValueError, match="expected an entry after 5-0"):
            ring.append(position, None, b"")
    with pytest.raises(ValueError, match="expected epoch 'e', came 'f'"):
        ring.append(Position("f", 6), None, b"")
    for wrong in (at(5), at(6), Position("f", 1)):
        with pytest.raises(ValueError, match="expected"):
            ring.prepend([Entry(wrong, None, b"")])
    assert ring.after(at(5), None) == []


@pytest.mark.parametrize(("max_entries", "max_bytes"), [(0, 1), (1, 0)])
def test_ring_refuses_a_bad_bound(max_entries: int, max_bytes: int) -> None:
    """Both bounds are at least 1."""
    with pytest.raises(ConfigError, match="at least 1"):
        Ring(max_entries, max_bytes)
