"""What viewers did that a running draw asks for: gathered on the worker, committed once a beat."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from liveroom.features.danmaku import DanmakuSend
from liveroom.features.like import LikeSend
from liveroom.plugin.context import Call, Member, RoomHandle
from liveroom.store.port import Op


__all__ = ["Attendance", "Facts", "running_draw"]

_PAGE = 200
"""Users per operation: holds the store for about a millisecond."""


def running_draw(room: RoomHandle) -> dict[str, Any] | None:
    """Return the state of the room's draw that is not over, as far as this worker knows."""
    running = room.state("lotteries")
    draw: dict[str, Any] | None = running and room.state(f"lottery:{running['running']}")
    return draw


class Attendance:
    """Since when each user has been in each room on this worker, over all of their connections.

    Args:
        now: seconds of a clock that never goes back. The script is told how long ago something
            was, so no two clocks are compared.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._here: dict[str, dict[str, tuple[int, float]]] = {}

    def enter(self, room: str, user: str) -> None:
        """Take that a connection came."""
        here = self._here.setdefault(room, {})
        connections, since = here.get(user, (0, self.now()))
        here[user] = (connections + 1, since)

    def leave(self, room: str, user: str) -> float | None:
        """Take that a connection went; return since when the user was here, if that was the last."""
        here = self._here.get(room, {})
        connections, since = here.pop(user, (0, self.now()))
        if connections > 1:
            here[user] = (connections - 1, since)
            return None
        if not here:
            self._here.pop(room, None)
        return since

    def here_ms(self, room: str, user: str) -> int:
        """Return for how long a user has been here; 0 for one who is not."""
        now = self.now()
        _, since = self._here.get(room, {}).get(user, (0, now))
        return _ms(now - since)

    def all(self, room: str) -> list[tuple[str, float]]:
        """Return who is here, and since when."""
        return [(user, since) for user, (_, since) in self._here.get(room, {}).items()]


class _Gathered:
    """The facts of one room since the last beat."""

    def __init__(self) -> None:
        self.likes: dict[str, int] = {}
        self.said: set[str] = set()
        self.watched: list[tuple[str, float, float]] = []


class Facts:
    """Gathers only what the running draw's conditions name."""

    def __init__(self, attendance: Attendance) -> None:
        self._attendance = attendance
        self._rooms: dict[str, _Gathered] = defaultdict(_Gathered)

    def take(self, call: Call[Any]) -> None:
        """Look at a command that was carried out."""
        if not call.room.state("lotteries"):  # nearly always
            return
        body = call.body
        if isinstance(body, LikeSend):
            if _asked(call.room, "likes") is not None:
                likes = self._rooms[call.room.id].likes
                likes[call.user] = likes.get(call.user, 0) + body.n
                call.room.mark()
        elif isinstance(body, DanmakuSend):
            keyword = _asked(call.room, "danmaku")
            if keyword is not None and _plain(keyword) in _plain(body.text):
                self._rooms[call.room.id].said.add(call.user)
                call.room.mark()

    def left(self, room: RoomHandle, member: Member) -> None:
        """Take that a connection went: what was watched until now counts."""
        since = self._attendance.leave(room.id, member.user)
        if since is not None and _asked(room, "watch_s") is not None:
            interval = (member.user, since, self._attendance.now())
            self._rooms[room.id].watched.append(interval)
            room.mark()

    def of_user(self, room: RoomHandle, user: str) -> Iterator[Op]:
        """Take out what one user did since the last beat: it must count before the entry."""
        gathered, draw = self._rooms.get(room.id), running_draw(room)
        if gathered is None or draw is None:
            return
        likes, said = gathered.likes.pop(user, 0), user in gathered.said
        gathered.said.discard(user)
        if likes or said:
            rows = [(user, likes)] if likes else []
            yield _op(draw, likes=rows, said=[user] if said else [])

    def flush(self, room: RoomHandle) -> Iterable[Op]:
        """Return what was gathered since the last beat."""
        gathered, draw = self._rooms.pop(room.id, None), running_draw(room)
        if gathered is None or draw is None:
            return
        for rows in _pages(list(gathered.likes.items())):
            yield _op(draw, likes=rows)
        for users in _pages(list(gathered.said)):
            yield _op(draw, said=users)
        yield from self._watched(draw, gathered.watched)

    def watching(self, room: RoomHandle) -> Iterable[Op]:
        """Return how long everybody who is here has watched, if the running draw asks for it."""
        draw = running_draw(room)
        if draw is not None and "watch_s" in draw["conditions"] and draw["status"] == "open":
            now = self._attendance.now()
            here = [(user, since, now) for user, since in self._attendance.all(room.id)]
            yield from self._watched(draw, here)

    def _watched(
        self, draw: dict[str, Any], intervals: list[tuple[str, float, float]]
    ) -> Iterator[Op]:
        now = self._attendance.now()
        for page in _pages(intervals):
            rows = [(user, _ms(now - since), _ms(now - until)) for user, since, until in page]
            yield _op(draw, watched=rows)


def _asked(room: RoomHandle, condition: str) -> Any:
    """Return what the running draw wants of a condition, if it takes entries; else None."""
    draw = running_draw(room)
    open_now = draw is not None and draw["status"] == "open"
    return draw["conditions"].get(condition) if draw is not None and open_now else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))


def _op(draw: dict[str, Any], **facts: list[Any]) -> Op:
    given = {name: rows for name, rows in facts.items() if rows}
    return Op("lottery.facts", "", {"lottery": draw["lottery"], **given})


def _pages(rows: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(rows), _PAGE):
        yield rows[first : first + _PAGE]
