"""Leaderboards: who gave, liked and answered most."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from liveroom.features.sources import lua_of
from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Plugin, StateSpec, command
from liveroom.protocol.messages import Body


__all__ = ["Rank", "Ranked", "RankedUser"]

Board = Literal["contribution", "likes", "quiz"]


class RankGet(Body, frozen=True, kw_only=True):
    """Which board."""

    board: Board


class RankedUser(Struct):
    """Whom a board shows."""

    id: str
    name: str


class Ranked(Struct):
    """A row of a board."""

    user: RankedUser
    score: int


class RankState(Struct):
    """`d` of the state `rank:<board>`; best first, equal scores by user id, the greater first."""

    board: Board
    top: list[Ranked]


class Rank(Plugin):
    """Adds up what other features note; shows the first ten of each board."""

    name = "rank"
    lua = lua_of("rank")
    states = (
        StateSpec(
            "rank",
            "`rank:<board>`: `{board, top: [{user: {id, name}, score}]}`, the first ten of "
            "`contribution`, `likes` or `quiz`.",
            RankState,
            rides=True,
        ),
    )

    @command("rank.get", RankGet)
    def get(self, call: Call[RankGet]) -> Commit:
        """Look at a board; returns `{board, rank, score, top}`, `rank` null without a score."""
        return Commit("rank.get", {"board": call.body.board}, idempotent=True)
