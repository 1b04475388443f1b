"""The state of one connection's conversation: what may come when (layer 2, no I/O).

    NEW -- hello --> JOINING -- joined --> LIVE
                        '-- refused --> the connection closes

Commands that come right behind the hello are held until the join is done, so that a client may
write everything in one go.
"""

from __future__ import annotations

from enum import Enum, auto

from liveroom.errors import CloseError, CommandError
from liveroom.protocol.codec import Incoming


__all__ = ["Act", "Phase", "Session"]

_HELD = 32  # commands held while the join is on its way
_BAD_BURST = 20  # bad commands before the connection is closed; one is forgiven per good command


class Phase(Enum):
    """Where the conversation stands."""

    NEW = auto()
    JOINING = auto()
    LIVE = auto()


class Act(Enum):
    """What to do with a command."""

    JOIN = auto()
    HOLD = auto()
    RUN = auto()


# Module globals: reading a member off an enum class takes longer than the rest of `judge`.
_NEW = Phase.NEW
_LIVE = Phase.LIVE
_RUN = Act.RUN


class Session:
    """Judges the order of commands and the patience with bad ones."""

    __slots__ = ("_bad", "held", "phase")

    def __init__(self) -> None:
        self.phase = Phase.NEW
        self.held: list[Incoming] = []
        self._bad = 0

    def judge(self, incoming: Incoming) -> Act:
        """Return what to do with a well-formed command.

        Raises:
            CloseError: the first message is not a hello.
            CommandError: a second hello, or too much before the join is done.
        """
        is_hello = incoming.op == "hello"
        if self.phase is _NEW:
            if not is_hello:
                raise CloseError("bad_hello", f"expected hello first, came {incoming.op[:40]!r}")
            self.phase = Phase.JOINING
            return Act.JOIN
        if is_hello:
            raise CommandError("bad_request", "expected one hello, came a second")
        if self.phase is _LIVE:
            return _RUN
        if len(self.held) >= _HELD:
            raise CommandError("rate_limited", f"expected at most {_HELD} commands before the join")
        self.held.append(incoming)
        return Act.HOLD

    def joined(self) -> list[Incoming]:
        """Take that the join is done; return the commands that were held."""
        self.phase = Phase.LIVE
        held, self.held = self.held, []
        return held

    def good(self) -> None:
        """Forgive one bad command."""
        if self._bad:
            self._bad -= 1

    def bad(self) -> None:
        """Count a bad command. Raises CloseError when patience is at its end."""
        if self.phase is Phase.NEW:
            raise CloseError("bad_hello", "expected a valid hello as the first message")
        self._bad += 1
        if self._bad > _BAD_BURST:
            raise CloseError("policy", "too many bad messages")
