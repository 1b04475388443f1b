"""Rehearsals: a show played to its end before an audience that is simulated (layer 9).

    liveroom demo --show FILE [--viewers 500] [--workers 2] [--speed 1.0] [--json FILE]

Starts an engine of its own, opens a sandbox room, stores and starts the plan as a host would, and
has viewers talk, like, vote, enter, reserve, ask and answer as they see things open. Then it tells
what happened, and whether everything that the room counted is what the viewers were told.
"""

from __future__ import annotations

from liveroom.rehearsal.play import Scene, rehearse
from liveroom.rehearsal.run import Demo, run


__all__ = ["Demo", "Scene", "rehearse", "run"]
