"""The host of a rehearsal: stores the plan, starts it, clicks what waits for a click (layer 9)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import orjson

from liveroom.errors import LiveroomError
from liveroom.rehearsal.wire import Address, Line, LineError
from liveroom.shows import Cue, Show, cue_fields


__all__ = ["Director", "RehearsalFailed", "faster", "latest_s"]

_OVER = ("fired", "failed", "skipped")
_SLACK_S = 30.0
_AGAIN_S = 0.3

Item = dict[str, Any]


class RehearsalFailed(LiveroomError):
    """The show could not be played to its end."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


def faster(show: Show, speed: float) -> Show:
    """Return the show with all times divided; what activities last stays, as it is their rules."""
    return Show(title=show.title, cues=[_faster(cue, speed) for cue in show.cues])


def _faster(cue: Cue, speed: float) -> Cue:
    fields = cue_fields(cue)
    if cue.at_s is not None:
        fields["at_s"] = cue.at_s / speed
    return Cue(**fields)


def latest_s(cues: Sequence[Cue]) -> float:
    """Return how long a show lasts at most if nobody waits with a click, in seconds."""
    timed = (cue.at_s or 0.0 for cue in cues if cue.after is None)
    return max(timed, default=0.0) + sum(cue.at_s or 0.0 for cue in cues if cue.after is not None)


class Director:
    """One host on the control socket.

    Args:
        address: of a worker.
        token: a host's, for the room.
        show: the plan.
        click_s: how long a cue that waits for a click is left waiting when its turn has come.
    """

    def __init__(
        self, address: Address, token: str, room: str, show: Show, *, click_s: float = 0.5
    ) -> None:
        self._address = address
        self._token = token
        self._room = room
        self._show = show
        self._click_s = click_s
        self._line: Line | None = None
        self._status: dict[str, str] = {}
        self._moved = asyncio.Event()
        self.started_ms = 0

    async def open(self) -> None:
        """Connect, open the room, store the plan. Raises LiveroomError."""
        await self._connect()
        await self.ask("room.open", {"title": self._show.title or "Rehearsal"})
        await self.ask("wallet.get", {})  # what a development server gives newcomers
        cues = [cue_fields(cue) for cue in self._show.cues]
        await self.ask("rundown.put", {"title": self._show.title, "cues": cues})

    async def play(self) -> None:
        """Start the show and see it through. Raises LiveroomError."""
        started = await self.ask("rundown.start", {}, key=secrets.token_hex(8))
        self.started_ms = started["started_ms"]
        limit_s = latest_s(self._show.cues) + self._click_s * len(self._show.cues) + _SLACK_S
        try:
            async with asyncio.timeout(limit_s):
                await self._see_through()
        except TimeoutError as exc:
            waiting = [name for name, status in self._status.items() if status not in _OVER]
            late = ", ".join(waiting)
            raise RehearsalFailed(f"not over after {limit_s:.0f} s; waiting: {late}") from exc
        await self.ask("rundown.stop", {})

    async def ask(self, op: str, d: Item, key: str = "") -> Any:
        """Send a command until it is answered. Raises LiveroomError."""
        for _ in range(3):
            assert self._line is not None, "opened"
            try:
                return await self._line.ask(op, d, key)
            except LineError:
                await asyncio.sleep(_AGAIN_S)
                await self._connect()
        raise RehearsalFailed(f"{op}: the control connection does not hold")

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()

    async def _connect(self) -> None:
        line = self._line = await Line.open(self._address, "/control", self._take)
        hello: Item = {"room": self._room, "token": self._token}
        await line.ask("hello", hello)

    async def _see_through(self) -> None:
        """Click each cue that waits for it when all before it are over; return at the end."""
        await self._catch_up()
        for index, cue in enumerate(self._show.cues):
            if cue.at_s is None and cue.after is None:
                await self._until_over(self._show.cues[:index])
                await asyncio.sleep(self._click_s)
                await self.ask("rundown.fire", {"cue": cue.cue})
        await self._until_over(self._show.cues)

    async def _until_over(self, cues: Sequence[Cue]) -> None:
        while not all(self._is_over(cue) for cue in cues):
            self._moved.clear()
            assert self._line is not None, "opened"
            ended = asyncio.create_task(self._line.ended.wait())
            moved = asyncio.create_task(self._moved.wait())
            done, other = await asyncio.wait({ended, moved}, return_when=asyncio.FIRST_COMPLETED)
            for task in other:
                task.cancel()
            if ended in done:
                await asyncio.sleep(_AGAIN_S)
                await self._connect()
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Ask how far everything is: steps are told, not remembered."""
        shown = await self.ask("rundown.get", {})
        for row in shown["progress"]:
            # A step that was told while the answer was on its way is newer than the answer.
            if self._status.get(row["cue"]) not in _OVER:
                self._status[row["cue"]] = row["status"]
        self._moved.set()

    def _is_over(self, cue: Cue) -> bool:
        """Whether nothing more comes of a cue; one whose predecessor failed waits for ever."""
        if self._status.get(cue.cue) in _OVER:
            return True
        before = next((c for c in self._show.cues if c.cue == cue.after), None)
        if before is None:
            return False
        status = self._status.get(before.cue)
        return status in ("failed", "skipped") or (status != "fired" and self._is_over(before))

    def _take(self, payload: bytes) -> None:
        for item in orjson.loads(payload):
            if "re" in item:
                assert self._line is not None, "it was opened"
                self._line.take_reply(item)
            elif item.get("ev") == "rundown.cue":
                self._status[item["d"]["cue"]] = item["d"]["status"]
                self._moved.set()
