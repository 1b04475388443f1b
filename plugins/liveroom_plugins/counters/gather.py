"""What one worker sees of one session, gathered in memory and cut into pages for the store.

Pure: the clock is handed in, nothing is sent from here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from liveroom_plugins.counters.kinds import LETTERS
from liveroom_plugins.counters.mood import mood_of
from liveroom_plugins.counters.records import Record


__all__ = ["PAGE", "Gathering", "Page", "source_name"]

PAGE = 200
"""Viewers, rows of visits, and messages, in one page: it holds the store for about two milliseconds."""

_SOURCE = re.compile(r"[a-z0-9_.-]{1,32}")
_THERE = -1
_DELETED = 20
_BEYOND_MS = 60_000  # the store cuts what is beyond the end of a session


@lru_cache(1024)
def source_name(text: str) -> str:
    """Return under which name a source is counted: what cannot be one is `other`."""
    name = text.strip().lower()
    if not name:
        return ""
    return name if _SOURCE.fullmatch(name) else "other"


class _Here:
    """A user with at least one connection on this worker."""

    __slots__ = ("connections", "letters", "since", "source", "told")

    def __init__(self, since: int, source: str) -> None:
        self.connections = 1
        self.since = since
        self.source = source
        self.letters = ""
        self.told = False


class _Visit:
    """A row to tell: from when to when a user was here; `fresh`: the store was not told it began."""

    __slots__ = ("fresh", "past", "row_from", "source", "user")

    def __init__(self, user: str, here: _Here, past: int, *, fresh: bool) -> None:
        self.user = user
        self.source = here.source
        self.row_from = here.since
        self.past = past
        self.fresh = fresh


class _Item:
    """What viewers did with one item of the shelf."""

    __slots__ = ("carts", "clicks", "units", "users")

    def __init__(self) -> None:
        self.clicks = self.carts = self.units = 0
        self.users: set[str] = set()

    def cut(self) -> dict[str, Any]:
        """Take out what one page may hold."""
        body: dict[str, Any] = {"clicks": self.clicks, "carts": self.carts, "units": self.units}
        self.clicks = self.carts = self.units = 0
        users = [self.users.pop() for _ in range(min(PAGE, len(self.users)))]
        return body | ({"users": users} if users else {})


class Act(NamedTuple):
    """What somebody did; `units` of a cart."""

    kind: str
    user: str
    source: str
    item: str = ""
    units: int = 0


class Page(NamedTuple):
    """What is told at once; it is told again until the store has answered.

    `said`: of each message its id, user, source, server ms and mood (mood.py).
    `more`: not everything went into it, so another one follows.
    """

    number: int
    body: dict[str, Any]
    visits: list[_Visit]
    acts: Counter[Act]
    said: list[list[Any]]
    more: bool

    def records(self, worker: str, now: int, offset: int) -> Iterator[Record]:
        """Yield the visits and messages as the store has taken them."""
        for visit in self.visits:
            known: dict[str, Any] = {"ts": now, "user": visit.user, "via": worker}
            if visit.fresh:
                at = visit.row_from + offset
                yield Record(kind="enter", source=visit.source, at=at, **known)
            if visit.past != _THERE:
                yield Record(kind="leave", at=visit.past + offset, **known)
        for message, user, source, _, mood in self.said:
            yield Record(ts=now, kind="danmaku", user=user, source=source, id=message, mood=mood)

    def acts_as_records(self, now: int) -> Iterator[Record]:
        """Yield what else viewers did, that of one viewer together."""
        for act, times in self.acts.items():
            kind, user, source, item, units = act
            record = Record(
                ts=now, kind=kind, user=user, source=source, item=item, n=units or times
            )
            for _ in range(times if units else 1):
                yield record


class Gathering:
    """One session of one room on one worker.

    Args:
        now_ms: milliseconds of a clock that never goes back; the store knows by how much it differs.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now = now_ms
        self._here: dict[str, _Here] = {}
        self._visits: list[_Visit] = []
        self._beginning: dict[str, _Visit] = {}
        self._sums: dict[str, dict[str, int]] = {}
        self._letters: dict[str, str] = {}
        self._active: set[str] = set()
        self._items: dict[str, _Item] = {}
        self._acts: Counter[Act] = Counter()
        self._said: list[tuple[str, str, str, int, str]] = []  # with the text yet
        self._deleted: list[dict[str, Any]] = []
        self._number = now_ms()  # what is gathered anew later has larger ones

    @property
    def pending(self) -> bool:
        """Whether there is something to tell."""
        gathered = (self._visits, self._sums, self._letters, self._active, self._items)
        return any(gathered) or bool(self._said or self._deleted)

    @property
    def here(self) -> int:
        """How many viewers this worker has."""
        return len(self._here)

    # Visits.

    def enter(self, user: str, source: str, *, view: bool = True) -> None:
        """Take that a connection came.

        Args:
            user: whose.
            source: its channel.
            view: whether it is an entry, not one that was here a moment ago.
        """
        if view:
            self._add("views", source, 1)
            self._acts[Act("view", "", source)] += 1
        here = self._here.get(user)
        if here is not None:
            here.connections += 1
            return
        here = self._here[user] = _Here(self._now(), source)
        self._begin(user, here, fresh=True)

    def leave(self, user: str) -> None:
        """Take that a connection went."""
        here = self._here.get(user)
        if here is None:
            return
        here.connections -= 1
        if here.connections == 0:
            del self._here[user]
            self._end(user, here, self._now())

    def leave_all(self, *, over: bool = False) -> None:
        """Take that nobody is here any more; with `over` as the session is: they stayed till its end."""
        past = self._now() + (_BEYOND_MS if over else 0)
        for user, here in self._here.items():
            self._end(user, here, past)
        self._here.clear()

    def tell_anew(self) -> None:
        """Tell of everybody who is here once more: the store has forgotten this worker."""
        for user, here in self._here.items():
            if user not in self._beginning:
                self._begin(user, here, fresh=False)

    def _begin(self, user: str, here: _Here, *, fresh: bool) -> None:
        visit = self._beginning[user] = _Visit(user, here, _THERE, fresh=fresh)
        self._visits.append(visit)

    def _end(self, user: str, here: _Here, past: int) -> None:
        untold = self._beginning.pop(user, None)
        if untold is not None:
            untold.past = past
        else:
            self._visits.append(_Visit(user, here, past, fresh=False))

    # What viewers do.

    def act(self, user: str, kind: str, n: int, source: str) -> None:
        """Count an interaction."""
        self._add(kind, source, n)
        self._add("act", source, n)
        self._mark(user, LETTERS[kind] + "A")
        self._active.add(user)
        self._acts[Act(kind, user, source)] += n

    def say(self, message_id: str, user: str, ts: int, text: str) -> None:
        """Count a message; its mood is looked for when its page is cut, many at a time."""
        self._said.append((message_id, user, self.source_of(user), ts, text))
        self._active.add(user)

    def delete(self, ts: int, ids: list[str] | None, user: str | None) -> None:
        """Take back messages, or all that a user had said until then."""
        self._deleted.append({"t": ts, **({"i": ids} if user is None else {"u": user})})

    def click(self, user: str, item: str, source: str) -> None:
        """Count a look at an item."""
        self._add("click", source, 1)
        self._mark(user, LETTERS["click"])
        self._acts[Act("click", user, source, item)] += 1
        seen = self._items.setdefault(item, _Item())
        seen.clicks += 1
        seen.users.add(user)

    def cart(self, user: str, item: str, n: int, source: str) -> None:
        """Count units that were put into a cart."""
        self._add("cart", source, 1)
        self._mark(user, LETTERS["cart"])
        self._acts[Act("cart", user, source, item, n)] += 1
        seen = self._items.setdefault(item, _Item())
        seen.carts += 1
        seen.units += n

    def source_of(self, user: str) -> str:
        """Return the channel of a user who is here."""
        here = self._here.get(user)
        return "" if here is None else here.source

    def _add(self, kind: str, source: str, n: int) -> None:
        by_source = self._sums.setdefault(kind, {})
        by_source[source] = by_source.get(source, 0) + n

    def _mark(self, user: str, letters: str) -> None:
        here = self._here.get(user)
        known = here.letters if here is not None else self._letters.get(user, "")
        new = "".join(letter for letter in letters if letter not in known)
        if new:
            self._letters[user] = self._letters.get(user, "") + new
            if here is not None:
                here.letters += new

    # Pages.

    def page(self) -> Page:
        """Cut the next page; an empty one says that the worker lives."""
        visits, self._visits = self._visits[:PAGE], self._visits[PAGE:]
        for visit in visits:
            if self._beginning.get(visit.user) is visit:
                del self._beginning[visit.user]
        rows = [[v.user, v.source, v.row_from, v.past] for v in visits]
        letters = [[user, self._letters.pop(user)] for user in list(islice(self._letters, PAGE))]
        active = [self._active.pop() for _ in range(min(PAGE, len(self._active)))]
        sums, self._sums = self._sums, {}
        said = [[*row[:4], mood_of(row[4])] for row in self._said[:PAGE]]
        self._said = self._said[PAGE:]
        deleted, self._deleted = self._deleted[:_DELETED], self._deleted[_DELETED:]
        acts, self._acts = self._acts, Counter()
        body = {"v": rows, "a": letters, "p": active, "n": sums, "i": self._cut_items()}
        body |= {"d": said, "x": deleted}
        self._number += 1
        told = {name: part for name, part in body.items() if part}
        return Page(self._number, told, visits, acts, said, self.pending)

    def _cut_items(self) -> dict[str, Any]:
        cut, users = {}, 0
        for name, item in list(self._items.items()):
            if users >= PAGE:
                break
            cut[name] = item.cut()
            users += len(cut[name].get("users", ()))
            if not item.users:
                del self._items[name]
        return cut
