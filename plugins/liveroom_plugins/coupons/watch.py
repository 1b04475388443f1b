"""For how long users have watched (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator


__all__ = ["Stays"]

Stay = tuple[str, float, float]


class Stays:
    """Since when each user has been in each room on this worker, over all of their connections.

    A stay that has ended is kept for the script if somebody asks for it. The script is told how long
    ago something was, so no two clocks are compared.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._here: dict[str, dict[str, tuple[int, float]]] = {}
        self._ended: dict[str, list[Stay]] = {}

    def enter(self, room: str, user: str) -> None:
        """Take that a connection came."""
        here = self._here.setdefault(room, {})
        connections, since = here.get(user, (0, self._now()))
        here[user] = (connections + 1, since)

    def leave(self, room: str, user: str, *, counts: bool) -> bool:
        """Take that a connection went; return whether the stay is over and was kept."""
        here = self._here.get(room, {})
        connections, since = here.pop(user, (0, self._now()))
        if connections > 1:
            here[user] = (connections - 1, since)
            return False
        if not here:
            self._here.pop(room, None)
        if counts and connections:
            self._ended.setdefault(room, []).append((user, since, self._now()))
        return counts and connections > 0

    def here_ms(self, room: str, user: str) -> int:
        """Return for how long a user has been here; 0 for one who is not."""
        now = self._now()
        _, since = self._here.get(room, {}).get(user, (0, now))
        return _ms(now - since)

    def ended(self, room: str, page: int) -> Iterator[list[tuple[str, int, int]]]:
        """Take out the stays that have ended, in pages of rows: user, ms ago from, ms ago until.

        A user stands in a page once: the rows of one page are counted as if at once.
        """
        rows: dict[str, tuple[str, int, int]] = {}
        now = self._now()
        for user, since, until in self._ended.pop(room, ()):
            if user in rows or len(rows) == page:
                yield list(rows.values())
                rows.clear()
            rows[user] = (user, _ms(now - since), _ms(now - until))
        if rows:
            yield list(rows.values())


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))
