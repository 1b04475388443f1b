"""How well the packs hold against evasion, and whether they leave honest text alone.

`python -m liveroom_plugins.moderation.corpus` prints the table. The evasive half is made by code from
the shipped packs (ten transforms, seeded); the benign half is a text file.
"""

from __future__ import annotations

from .measure import Report, Row, benign_lines, evasive_cases, measure, shipped_matchers
from .transforms import TRANSFORMS, Transform


__all__ = [
    "TRANSFORMS",
    "Report",
    "Row",
    "Transform",
    "benign_lines",
    "evasive_cases",
    "measure",
    "shipped_matchers",
]
