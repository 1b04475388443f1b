"""One connection's membership in a room: what is written to it, and what not when it is slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from liveroom.auth.claims import Claims
from liveroom.protocol.items import Item, Message, event_item, frame_of


__all__ = ["Socket", "Viewer", "ViewerLimits"]


class Socket(Protocol):
    """What the hub needs of a connection."""

    write: Callable[[bytes], None]
    """Queues one frame; never waits. The transport's own method: a call less per viewer and beat."""

    def unsent(self) -> int:
        """Return how many bytes wait to be sent."""

    def close(self, name: str, detail: str = "") -> None:
        """Close with a row of the close-code table."""


class ViewerLimits:
    """When a viewer counts as slow; shared by all viewers of a worker."""

    __slots__ = ("close_bytes", "close_s", "slow_bytes")

    def __init__(self, *, slow_bytes: int, close_bytes: int, close_s: float) -> None:
        self.slow_bytes = slow_bytes
        self.close_bytes = close_bytes
        self.close_s = close_s


class Viewer:
    """A member of a room on this worker.

    Args:
        session: id of the connection.
        variant: its frame variant (bit 0: MessagePack, bit 1: deflate).
        label: the item that says which room a message is about, where the connection is in several.
        source: the channel that led into the room, as the hello says it.
    """

    __slots__ = (
        "__weakref__",
        "_limits",
        "_missed",
        "_slow_since",
        "_socket",
        "careful",
        "claims",
        "index",
        "label",
        "session",
        "source",
        "variant",
        "waiting",
        "write",
    )

    def __init__(
        self,
        socket: Socket,
        session: str,
        claims: Claims,
        variant: int,
        limits: ViewerLimits,
        label: Item | None = None,
        source: str = "",
    ) -> None:
        self._socket = socket
        self._limits = limits
        self._slow_since = 0.0
        self._missed: dict[str, int] = {}
        self.session = session
        self.claims = claims
        self.source = source
        self.variant = variant
        self.label = label
        self.write = socket.write
        """Queues one frame on the socket."""
        self.careful = False
        """Whether it may be slow and has to be looked at: more than `slow_bytes` waited lately."""
        self.waiting: list[Item] = []
        """Replies not yet written; they leave with the next frame or the next flush."""
        self.index = -1
        """Its place in the room's list of viewers; -1 while it is in none."""

    @property
    def user(self) -> str:
        """The user's id."""
        return self.claims.user

    @property
    def slow(self) -> bool:
        """Whether it is given durable and latest items only."""
        return self._slow_since > 0

    def close(self, name: str, detail: str = "") -> None:
        """End the connection."""
        self._socket.close(name, detail)

    def tell(self, event: str, d: dict[str, Any]) -> None:
        """Send a system event to this connection alone."""
        self.send([event_item(event, d)])

    def flush(self) -> None:
        """Write the replies that wait."""
        if self.waiting:
            self.send(self.waiting)
            self.waiting = []

    def send(self, items: Sequence[Item]) -> None:
        """Write items of this viewer alone as one message; never deflated, they may be secret."""
        if self.label is not None:
            items = [self.label, *items]
        self.write(frame_of(items, self.variant & 1))

    def deliver(self, full: Message, essential: Message | None, now: float) -> None:
        """Write the room's message, or of a slow viewer's only what is essential.

        Args:
            full: everything of this delivery.
            essential: its durable and latest items; None if it has none.
            now: monotonic seconds.
        """
        if self.waiting:
            self.flush()
        if self.careful:
            self._deliver_slowly(full, essential, now)
        else:
            self.write(full.frame(self.variant))

    def _deliver_slowly(self, full: Message, essential: Message | None, now: float) -> None:
        limits, unsent = self._limits, self._socket.unsent()
        if not self._slow_since:
            self._slow_since = now
        if unsent <= limits.slow_bytes // 2:
            self._recover()
            self.write(full.frame(self.variant))
            return
        if unsent > limits.close_bytes or now - self._slow_since > limits.close_s:
            self._socket.close("slow", f"{unsent} bytes could not be sent")
            return
        self.miss(full)
        if essential is not None:
            self.write(essential.frame(self.variant))

    def _recover(self) -> None:
        self._slow_since = 0.0
        self.careful = False
        self.tell_missed()

    def miss(self, full: Message) -> None:
        """Count what may be shed of a message that is not given to it."""
        for kind, count in full.sheddable.items():
            self._missed[kind] = self._missed.get(kind, 0) + count

    def tell_missed(self) -> None:
        """Tell what it was not given; one that is slow is told when it is not any more."""
        if self.slow or not self._missed:
            return
        missed, self._missed = self._missed, {}
        self.send([event_item("sys.shed", missed)])
