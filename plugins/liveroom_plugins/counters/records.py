"""One row of what happened in a room, as an archive keeps it: what a session's figures derive from."""

from __future__ import annotations

from msgspec import Struct


__all__ = ["Record"]


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that counts. Times are server ms.

    Args:
        ts: when it was counted; it belongs to the minute and the segment of this moment.
        kind: `enter` and `leave` (a user on one worker), `view`; a kind of interaction; `click`,
            `cart`; `order`, `exposure`, `survey`, `answer`, `segment`. One may stand for `n` views,
            likes, shares or clicks.
        user: who; of `exposure` nobody, see `users`.
        source: the channel; "" where none is known.
        via: of a visit: the worker. Of one user and worker visits do not overlap.
        at: of a visit: the moment itself, as `ts` is up to a few seconds later.
        item: of the shelf.
        n: how many; of `survey` the score, of `answer` the ms until it, of `exposure` how many.
        amount: minor units, of `order` and `gift`.
        order: the order's id.
        status: of an order: created, paid or refunded.
        name: of a segment; of an exposure the placement.
        window: of an exposure.
        users: of an exposure: who was shown it; empty where only `n` is known.
        id: of `danmaku`.
        mood: of `danmaku`: see mood.py.
        deleted: of `danmaku`: when it was deleted; 0: it was not.
        session: to which this belongs, for those who do not know; 0: they do.
    """

    ts: int
    kind: str
    user: str = ""
    source: str = ""
    via: str = ""
    at: int = 0
    item: str = ""
    n: int = 1
    amount: int = 0
    order: str = ""
    status: str = ""
    name: str = ""
    window: str = ""
    users: tuple[str, ...] = ()
    id: str = ""
    mood: str = ""
    deleted: int = 0
    session: int = 0
