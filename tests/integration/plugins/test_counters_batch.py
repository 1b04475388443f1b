"""The live figures are those of a batch over what happened: a busy room on two workers.

`COUNTERS_MINUTES=60 python -m pytest … --timeout 900` lets the show last for an hour, and so does
`python -m bench.hour`, which prints how far they are off.
"""

from __future__ import annotations

import os
from pathlib import Path

from busyshow import compare, play, running_show


MINUTES = int(os.environ.get("COUNTERS_MINUTES", "4"))
SEED = int(os.environ.get("COUNTERS_SEED", "1"))


async def test_live_figures_are_those_of_a_batch(store_url: str, room: str, tmp_path: Path) -> None:
    """In the middle of the show, at its end, and when orders went on after it.

    A batch over what the test noted by itself, and one over what the archive has.
    """
    async with running_show(store_url, room, tmp_path, SEED) as show:
        async for stands in play(show, MINUTES):
            running = stands == "in the middle"
            for source, compared in (await compare(show, closed=not running)).items():
                assert compared.wrong == {}, (source, stands)
                assert compared.count > 500
            if running:
                await show.shops[0].check(show.room)
