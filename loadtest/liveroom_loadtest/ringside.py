"""What the engine says at the end about the sale, the draw and its invariants."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liveroom import verify_draw
from liveroom_loadtest.desk import Desk


__all__ = ["Draw", "Sale", "audited", "drawn", "sold"]

_DRAWN_TRIES = 40
_EVERY_S = 0.25
_PAGE = 200


@dataclass
class Sale:
    """A sale, as viewers and engine tell it; over all rooms in which there was one."""

    total: int = 0
    available: int = 0
    held: int = 0
    faults: list[str] = field(default_factory=list)
    granted: dict[str, int] = field(default_factory=dict)

    def take(self, reservations: dict[str, int]) -> None:
        """Add what viewers of one process were granted."""
        for name in reservations.keys() & self.granted.keys():
            self.faults.append(f"reservation {name} was given to two")
        self.granted |= reservations

    @property
    def units(self) -> int:
        """Units that viewers were granted."""
        return sum(self.granted.values())


@dataclass
class Draw:
    """A draw, as viewers and engine tell it; over all rooms in which there was one."""

    wanted: int = 0
    winners: list[str] = field(default_factory=list)
    entered: set[str] = field(default_factory=set)
    perhaps_entered: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


async def sold(desk: Desk, rooms: Sequence[str], sku: str) -> Sale:
    """Return what the engine says of a sale. Raises DeskFailed."""
    sale = Sale()
    for room in rooms:
        stock = (await desk.states(room))[f"stock:{sku}"]
        sale.total += stock["total"]
        sale.available += stock["available"]
        sale.held += stock["reserved"] + stock["sold"]
        if stock["available"] + stock["reserved"] + stock["sold"] != stock["total"]:
            sale.faults.append(f"{room}: {stock}")
    return sale


async def drawn(desk: Desk, rooms: Sequence[str], lottery: str) -> Draw:
    """Return who won, after checking the proof. Raises DeskFailed."""
    draw = Draw()
    for room in rooms:
        shown = await _drawn(desk, room, lottery)
        if shown is None:
            draw.faults.append(f"{room}: was not drawn in time")
            continue
        draw.wanted += min(shown["entrants"], sum(prize["n"] for prize in shown["prizes"]))
        winners = await _winners(desk, room, lottery)
        if len(set(winners)) < len(winners):
            draw.faults.append(f"{room}: somebody won twice")
        draw.winners += winners
        why = await _unproven(await desk.proof(room, lottery))
        if why:
            draw.faults.append(f"{room}: {why}")
    return draw


async def _drawn(desk: Desk, room: str, lottery: str) -> dict[str, Any] | None:
    for _ in range(_DRAWN_TRIES):
        shown: dict[str, Any] = (await desk.states(room))[f"lottery:{lottery}"]
        if shown["status"] in ("drawn", "settled"):
            return shown
        await asyncio.sleep(_EVERY_S)
    return None


async def _winners(desk: Desk, room: str, lottery: str) -> list[str]:
    at: int | None = 0
    users: list[str] = []
    while at is not None:
        page = await desk.ask(room, "lottery.winners", lottery=lottery, at=at, limit=_PAGE)
        users += [winner["user"] for winner in page["winners"]]
        at = page.get("next")
    return users


async def _unproven(proof: bytes) -> str:
    """Have a proof checked by the program that shares no code with the engine; return what it says."""
    with tempfile.TemporaryDirectory(prefix="liveroom-proof-") as folder:
        file = Path(folder) / "proof.json"
        file.write_bytes(proof)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(verify_draw.__file__), str(file),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
    return said.decode(errors="replace").strip() if process.returncode else ""


async def audited(desk: Desk, rooms: Sequence[str]) -> int:
    """Have the invariants of every room recomputed; return how many do not hold. Raises DeskFailed."""
    broken = 0
    for room in rooms:
        broken += await desk.audit(room)
    return broken
