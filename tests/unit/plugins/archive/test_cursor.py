"""What a piece of a log adds: whatever is trimmed and whenever it is read, nothing goes unseen."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, strategies as st

from liveroom import History, LogEntry, Position
from liveroom_plugins.archive.cursor import Cursor, Shown, diverged, judge, lost


EPOCH = "100-a"


class Log:
    """A room's log as the store keeps it: numbered, and trimmed from the front."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.dropped = 0
        self.seq = self.sub = 0

    def add(self, *, private: bool, name: str = "x.y", d: str = "{}") -> None:
        if private:
            self.sub += 1
        else:
            self.seq, self.sub = self.seq + 1, 0
        item = f'{{"ev":"{name}","seq":{self.seq},"ts":{1000 + self.count},"d":{d}}}'
        user = "u1" if private else None
        self.entries.append(LogEntry(self.seq, self.sub, user, item.encode()))

    @property
    def count(self) -> int:
        return self.dropped + len(self.entries)

    def trim(self, keep: int) -> None:
        gone = max(0, len(self.entries) - keep)
        self.dropped += gone
        del self.entries[:gone]

    def read(self, cursor: Cursor, limit: int) -> History:
        after = cursor.before
        found = [e for e in self.entries if (e.seq, e.sub) > (after.seq, after.sub)]
        return History(Position(EPOCH, self.seq, self.sub), self.dropped, found[:limit])


class Step(NamedTuple):
    publics: int
    privates: int
    keep: int
    reads: int


STEPS = st.lists(
    st.builds(
        Step,
        publics=st.integers(0, 4),
        privates=st.integers(0, 3),
        keep=st.integers(0, 20),
        reads=st.integers(0, 3),
    ),
    max_size=12,
)


@given(STEPS, st.integers(2, 5))
def test_cursor_every_entry_is_archived_once_or_counted_as_missing(
    steps: list[Step], limit: int
) -> None:
    """For any order of writing, trimming and reading: rows and gaps add up to all there ever was."""
    log, cursor = Log(), Cursor(EPOCH)
    places: list[tuple[int, int]] = []
    missing = 0
    for step in steps:
        for _ in range(step.publics):
            log.add(private=False)
        for _ in range(step.privates):
            log.add(private=True)
        log.trim(step.keep)
        for _ in range(step.reads):
            history = log.read(cursor, limit)
            assert not diverged(cursor, history)
            page = judge("r", cursor, history)
            places += [(row["seq"], row["sub"]) for row in page.rows]
            missing += sum(gap.missing for gap in page.gaps)
            cursor = page.end
    unread = [e for e in log.entries if (e.seq, e.sub) > cursor.place]
    unseen = max(0, log.dropped - cursor.n)

    assert places == sorted(set(places))
    assert len(places) + missing + len(unread) + unseen == log.count


def test_cursor_another_entry_at_its_place_is_another_history() -> None:
    """A store that lost writes gives the same number to another event."""
    log, other = Log(), Log()
    for _ in range(3):
        log.add(private=False)
        other.add(private=False, d='{"other":1}')
    cursor = judge("r", Cursor(EPOCH), log.read(Cursor(EPOCH), 9)).end

    assert diverged(cursor, other.read(cursor, 9))
    assert not diverged(cursor, log.read(cursor, 9))


def test_cursor_ahead_of_the_log_is_another_history() -> None:
    """The store went back."""
    log = Log()
    for _ in range(3):
        log.add(private=False)
    cursor = judge("r", Cursor(EPOCH), log.read(Cursor(EPOCH), 9)).end
    log.entries.pop()
    log.seq -= 1

    assert diverged(cursor, log.read(cursor, 9))


def test_cursor_entry_that_vanished_without_being_trimmed_is_another_history() -> None:
    """Fewer were dropped than were read, and yet the one at the cursor is not there."""
    log = Log()
    for _ in range(3):
        log.add(private=False)
    cursor = judge("r", Cursor(EPOCH), log.read(Cursor(EPOCH), 9)).end
    log.entries.clear()

    assert diverged(cursor, log.read(cursor, 9))


def test_cursor_hole_in_the_log_is_noted() -> None:
    """Somebody deleted from the middle: what is known to be missing is said."""
    log = Log()
    for private in (False, False, True, False, False):
        log.add(private=private)
    del log.entries[1:3]

    page = judge("r", Cursor(EPOCH), log.read(Cursor(EPOCH), 9))

    assert [(gap.kind, gap.seq, gap.missing) for gap in page.gaps] == [("hole", 1, 1)]
    assert len(page.rows) == 3


def test_cursor_rows_belong_to_the_session_that_was_opened_last() -> None:
    """What comes before the first opening belongs to none, what comes after a close to the last."""
    log = Log()
    log.add(private=False)
    log.add(private=False, name="room.opened", d='{"title":"One"}')
    log.add(private=True)
    log.add(private=False, name="room.updated", d='{"title":"New"}')
    log.add(private=False, name="room.closed")
    log.add(private=True)
    log.add(private=False, name="room.opened", d='{"title":"Two"}')

    page = judge("r", Cursor(EPOCH), log.read(Cursor(EPOCH), 9))

    assert [row["session"] for row in page.rows] == [0, 1001, 1001, 1001, 1001, 1001, 1006]
    assert [tuple(change) for change in page.changes] == [(1001, "New", 1004), (1006, "Two", None)]
    assert page.end.session == 1006


@pytest.mark.parametrize("rest", [0, 2])
def test_cursor_opening_that_was_dropped_is_what_the_room_shows(rest: int) -> None:
    """Whether or not something is left that says so, what comes next belongs there."""
    log = Log()
    log.add(private=False, name="room.opened", d='{"title":"One"}')
    for _ in range(rest):
        log.add(private=False)
    log.trim(rest)
    history = log.read(Cursor(EPOCH), 9)
    assert lost(Cursor(EPOCH), history) == 1

    page = judge("r", Cursor(EPOCH), history, Shown(1000, "One"))

    assert page.end.session == 1000
    assert {row["session"] for row in page.rows} <= {1000}
    assert [tuple(change) for change in page.changes] == [(1000, "One", None)]


def test_cursor_opening_of_an_earlier_session_wins_over_what_is_shown_now() -> None:
    """The room was opened anew since: the log says so in time."""
    log = Log()
    log.add(private=False)
    log.add(private=False, name="room.opened", d='{"title":"One"}')
    log.add(private=False)
    log.add(private=False, name="room.opened", d='{"title":"Two"}')
    log.trim(3)

    page = judge("r", Cursor(EPOCH), log.read(Cursor(EPOCH), 9), Shown(1003, "Two"))

    assert [row["session"] for row in page.rows] == [1001, 1001, 1003]
