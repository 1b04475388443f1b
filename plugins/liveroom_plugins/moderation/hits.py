"""What is found: hits, what excuses them, and which are left in the end (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .lexicon import Action, Levels, Pack, Pattern, Word


__all__ = ["Excuse", "Hit", "heaviest", "settle"]


class Hit(NamedTuple):
    """One finding: enough to act on it, to log it and to undo it.

    Args:
        rule: what was found, `pack:word` or `pack:id`.
        pack: where it stands.
        version: of that pack.
        category: of the entry.
        level: of the entry, 1 the gravest.
        action: what the pack says to do.
        start: index of the first character in the original text.
        end: index after the last.
        view: where it was found.
    """

    rule: str
    pack: str
    version: str
    category: str
    level: int
    action: Action
    start: int
    end: int
    view: str

    @classmethod
    def of(cls, entry: Word | Pattern, pack: Pack, span: tuple[int, int], view: str) -> Hit:
        """Return the hit of an entry at a place."""
        verdict = (entry.category, entry.level, entry.action)
        return cls(entry.rule, pack.name, pack.version, *verdict, *span, view)


class Excuse(NamedTuple):
    """A phrase in which one word (`rule`) or all of a pack (no `rule`) mean something else."""

    pack: str
    rule: str
    start: int
    end: int

    def covers(self, hit: Hit) -> bool:
        """Whether it explains a hit: it holds the hit, or a reader comes to it first."""
        if hit.rule != self.rule and (self.rule or hit.pack != self.pack):
            return False
        comes_first = self.start < hit.start < self.end
        return comes_first or (self.start <= hit.start and hit.end <= self.end)


def heaviest(hits: Iterable[Hit]) -> Action:
    """Return the heaviest action that the hits ask for."""
    return max((hit.action for hit in hits), default=Action.PASS)


def settle(hits: Iterable[Hit], excuses: Sequence[Excuse], levels: Levels) -> list[Hit]:
    """Leave out what is excused, what the room's levels let pass, and what was found before."""
    kept: list[Hit] = []
    last: dict[str, Hit] = {}
    for hit in sorted(hits, key=lambda hit: (hit.start, hit.end)):
        before = last.get(hit.rule)
        if (
            levels.admits(hit.category, hit.level)
            and not (before and before.end > hit.start)
            and not any(excuse.covers(hit) for excuse in excuses)
        ):
            last[hit.rule] = hit
            kept.append(hit)
    return kept
