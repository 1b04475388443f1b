"""What is known of one room: the position in its events and the newest states. Pure."""

from __future__ import annotations

from typing import Any, Literal

from liveroom_client.items import Greeting, Item, State


__all__ = ["RoomView", "Verdict"]

Verdict = Literal["apply", "drop", "gap"]


class RoomView:
    """One room as this client sees it; to be read, not to be changed.

    Attributes:
        room: its id.
        epoch, seq, sub: the position: of the last durable event that was handed on.
        states: key -> newest value; keys that are gone are absent.
        versions: key -> its `v`.
        snapshot: of the last greeting that was not resumed.
        own: of the last greeting.
        shed: kind -> how many items the server did not show, summed.
        greeting: who we are here; None before the first.
        link: the connection that it is followed on; 0: none.
        resuming: a `sys.resume` is on its way.
        lost: its history is over (`sys.gap`): nothing durable counts until the snapshot is there.
        behind: durable events are left on the server until they are read here.
        gaps: how often something was missing since a durable event last fitted.
    """

    __slots__ = (
        "behind", "epoch", "gaps", "greeting", "link", "lost", "own", "resuming", "room", "seq",
        "shed", "snapshot", "states", "sub", "versions",
    )  # fmt: skip

    def __init__(self, room: str) -> None:
        self.room = room
        self.epoch = ""
        self.seq = 0
        self.sub = 0
        self.states: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        self.snapshot: dict[str, Any] = {}
        self.own: dict[str, Any] = {}
        self.shed: dict[str, int] = {}
        self.greeting: Greeting | None = None
        self.link = 0
        self.resuming = False
        self.lost = False
        self.behind = False
        self.gaps = 0

    @property
    def position(self) -> Item | None:
        """What to resume from; None when only a snapshot helps."""
        if not self.epoch or self.lost:
            return None
        return {"epoch": self.epoch, "seq": self.seq, "sub": self.sub}

    def judge(self, seq: int, sub: int) -> Verdict:
        """Say what to do with a durable event (docs/protocol.md, section 6)."""
        if seq < self.seq or (seq == self.seq and sub <= self.sub):
            return "drop"
        return "apply" if seq == (self.seq if sub else self.seq + 1) else "gap"

    def move(self, seq: int, sub: int) -> None:
        """Go on to a durable event that fitted."""
        self.seq = seq
        self.sub = sub
        self.gaps = 0

    def greet(self, greeting: Greeting) -> bool:
        """Take a greeting; return whether everything begins anew. Raises ValueError."""
        fresh = not greeting.resumed
        if fresh:
            self.epoch, self.seq, self.sub = greeting.epoch, greeting.seq, greeting.sub
            self.snapshot = greeting.snapshot
            self.states = {}
            self.versions = {}
            self.gaps = 0
        elif greeting.epoch != self.epoch or self.lost:
            raise ValueError(f"resumed in {greeting.epoch!r}, but the position is of another epoch")
        self.greeting = greeting
        self.own = greeting.own
        self.lost = False
        self.behind = False
        return fresh

    def take_state(self, item: Item) -> State | None:
        """Take a value of a key; return it if it is newer. Raises KeyError, TypeError."""
        key, version, value = item["st"], item["v"], item["d"]
        if type(key) is not str or type(version) is not int:
            raise TypeError(f"expected a key and a version, came {key!r:.80} and {version!r:.80}")
        if version <= self.versions.get(key, -1):
            return None
        self.versions[key] = version
        if value is None:
            self.states.pop(key, None)
        else:
            self.states[key] = value
        return State(key, value, version, self.room)

    def take_shed(self, counts: Any) -> None:
        """Add up what a `sys.shed` tells. Raises AttributeError, TypeError."""
        for kind, n in counts.items():
            if type(n) is not int:
                raise TypeError(f"expected a number of {kind!r:.80}, came {n!r:.80}")
            self.shed[kind] = self.shed.get(kind, 0) + n

    def begin_anew(self) -> None:
        """Take a `sys.gap`: what was known is of a history that is over."""
        self.lost = True
        self.versions = {}
