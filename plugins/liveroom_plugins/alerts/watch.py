"""One room under the rules: samples, verdicts, and which of them an alert is to be raised for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from liveroom import LogEntry, RoomHandle
from liveroom_plugins.alerts.judges import Firing, Judge, Verdict, judge_of, keep_s
from liveroom_plugins.alerts.rules import AnyRule, Rule
from liveroom_plugins.alerts.series import Happened, Series
from liveroom_plugins.alerts.track import Track


__all__ = ["Due", "Pair", "Watch"]

MOST_KEYS: Final = 200
"""Keys of one `*` that are looked at."""

Pair = tuple[AnyRule, Series]


class Due(NamedTuple):
    """What is to be done: raise an alert, or resolve it for a reason."""

    name: str
    rule: Rule | None
    key: str
    verdict: Verdict
    reason: str = ""


class _Instance:
    """A rule on one series."""

    def __init__(self, rule: AnyRule, series: Series, key: str) -> None:
        self.rule = rule
        self.series = series
        self.key = key
        self.name = f"{rule.name}/{key}" if key else rule.name
        self.track = Track(keep_s(rule, rate=series.rate), rate=series.rate)
        self.judge: Judge = judge_of(rule, rate=series.rate)
        self._clear_since: float | None = None

    def due(self, now: float, firing: Firing | None) -> Due | None:
        """Return what the newest sample calls for."""
        verdict = self.judge.judge(self.track, now, firing)
        if firing is None:
            self._clear_since = None
            return Due(self.name, self.rule, self.key, verdict) if verdict.holds else None
        if verdict.holds is not False:
            self._clear_since = None
            return None
        if self._clear_since is None:
            self._clear_since = now
        if now - self._clear_since < self.rule.clear_s:
            return None
        return Due(self.name, self.rule, self.key, verdict, "cleared")


class Watch:
    """A room on this worker.

    Args:
        room: the room.
        pairs: the rules with what each looks at.
    """

    def __init__(self, room: RoomHandle, pairs: Sequence[Pair]) -> None:
        self.room = room
        self._pairs: Sequence[Pair] = ()
        self._instances: dict[str, _Instance] = {}
        self._happened = Happened(room, ())
        self.set_rules(pairs)

    @property
    def idle(self) -> bool:
        """Whether no rule is for this room."""
        return not self._pairs

    @property
    def plugins(self) -> Iterable[str]:
        """Whose figures are looked at."""
        return {series.name for _, series in self._pairs if series.kind == "figure"}

    def set_rules(self, pairs: Sequence[Pair]) -> None:
        """Go by these rules from now on; one that is as it was goes on with what it has seen."""
        self._pairs = [(rule, series) for rule, series in pairs if rule.covers(self.room.id)]
        self._happened.want(series for _, series in self._pairs)
        current = {rule.name: rule for rule, _ in self._pairs}
        kept = self._instances.items()
        self._instances = {n: i for n, i in kept if current.get(i.rule.name) == i.rule}

    def forget(self) -> None:
        """Forget what was seen."""
        self._instances.clear()

    def observe(self, entry: LogEntry) -> None:
        """Count a durable event."""
        self._happened.add(entry)

    def sample(self, now: float, figures: Mapping[str, float]) -> None:
        """Read every series."""
        names = set()
        for instance in self._present():
            names.add(instance.name)
            value = instance.series.read(instance.key, self._happened, figures)
            instance.track.add(now, value)
        for name in self._instances.keys() - names:  # a key of a `*` that is gone
            del self._instances[name]

    def due(self, now: float, live: Mapping[str, Firing]) -> Iterator[Due]:
        """Yield what is to be done, once after each sample.

        Args:
            now: the time of the sample.
            live: the alerts that are raised, by name.
        """
        for name, instance in self._instances.items():
            due = instance.due(now, live.get(name))
            if due is not None:
                yield due
        for name in live.keys() - self._instances.keys():
            yield Due(name, None, "", Verdict(False), "gone")

    def _present(self) -> Iterator[_Instance]:
        for rule, series in self._pairs:
            for key in list(series.keys(self.room))[:MOST_KEYS]:
                name = f"{rule.name}/{key}" if key else rule.name
                instance = self._instances.get(name)
                if instance is None:
                    instance = self._instances[name] = _Instance(rule, series, key)
                yield instance
