"""The law of polls: one at a time, one vote of a user, no vote after the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proof.model import (
    COMMANDS,
    DUE,
    Command,
    No,
    Reply,
    World,
    expect_open,
    looked_up,
    may,
    no,
    ok,
    one_step,
)


__all__ = ["Polls"]

FORGET_MS, VOTES_MS = 600_000, 86_400_000


class Poll(NamedTuple):
    """One poll; `ends` 0: until it is closed by hand."""

    content: str
    options: int
    choices: int
    change: bool
    ends: int
    status: str = "open"
    by: str = ""
    tally: tuple[int, ...] = ()
    kept: bool = True


@dataclass
class Polls:
    """What a room keeps of its polls."""

    polls: dict[str, Poll] = field(default_factory=dict)
    running: str = ""
    votes: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    """(poll, user) -> options."""

    def clone(self) -> Polls:
        """Return a copy."""
        return Polls(dict(self.polls), self.running, dict(self.votes))

    def tally(self, name: str) -> tuple[int, ...]:
        """Count the votes, or return what was counted before they were dropped."""
        poll = self.polls[name]
        if not poll.kept:
            return poll.tally
        counts = [0] * poll.options
        for (voted, _), options in self.votes.items():
            for option in options if voted == name else ():
                counts[option] += 1
        return tuple(counts)

    def voters(self, name: str) -> int:
        """Count who voted."""
        return sum(voted == name for voted, _ in self.votes)

    def visible(self) -> dict[str, Any]:
        """Return what can be read back."""
        return {
            "polls": {
                name: (poll.status, self.tally(name), self.voters(name), poll.by)
                for name, poll in self.polls.items()
            },
            "votes": {
                place: options for place, options in self.votes.items() if self.polls[place[0]].kept
            },
        }


def _part(world: World) -> Polls:
    part: Polls = world.more["polls"]
    return part


def _is_over(world: World, poll: Poll) -> bool:
    return poll.status != "open" or 0 < poll.ends <= world.now


def _get(world: World, name: str) -> Poll:
    polls = _part(world).polls
    if name not in polls:
        raise No("not_found")
    return polls[name]


def _result(world: World, name: str) -> dict[str, Any]:
    part = _part(world)
    return {
        "poll": name,
        "tally": list(part.tally(name)),
        "voters": part.voters(name),
        "by": part.polls[name].by,
    }


def _end(world: World, name: str, by: str) -> None:
    part = _part(world)
    part.polls[name] = part.polls[name]._replace(status="closed", by=by)
    part.running = ""
    world.timers.pop(f"poll.end|{name}", None)
    world.timers[f"poll.forget|{name}"] = world.now + FORGET_MS
    world.timers[f"poll.votes|{name}"] = world.now + VOTES_MS
    result = _result(world, name)
    world.tell("poll.closed", name, tuple(result["tally"]), result["voters"], by)


def _open(world: World, command: Command) -> Reply:
    expect_open(world)
    part, d = _part(world), command.d
    content = command.digest
    if d["poll"] in part.polls:
        poll = part.polls[d["poll"]]
        if poll.content != content:
            raise No("exists")
        return _opened(world, d["poll"], new=False)
    if part.running:
        if not _is_over(world, part.polls[part.running]):
            raise No("already_running", poll=part.running)
        _end(world, part.running, "")
    choices = len(d["options"]) if d["multiple"] else 1
    ends = world.now + d["seconds"] * 1000 if d["seconds"] else 0
    part.polls[d["poll"]] = Poll(content, len(d["options"]), choices, d["change"], ends)
    part.running = d["poll"]
    if ends:
        world.timers[f"poll.end|{d['poll']}"] = ends
    world.tell("poll.opened", d["poll"], ends)
    return _opened(world, d["poll"], new=True)


def _opened(world: World, name: str, *, new: bool) -> Reply:
    poll = _get(world, name)
    status = "closed" if _is_over(world, poll) else "open"
    return ok(poll=name, opened=new, status=status, ends_ms=poll.ends)


def _close(world: World, command: Command) -> Reply:
    name = command.d["poll"]
    poll = _get(world, name)
    if poll.status == "open":
        _end(world, name, "" if _is_over(world, poll) else command.user)
    return ok(**_result(world, name))


def _ask(world: World, command: Command) -> Reply:
    name = command.d["poll"]
    poll = _get(world, name)
    status = "closed" if _is_over(world, poll) else "open"
    result = _result(world, name)
    del result["by"]
    return ok(status=status, ends_ms=poll.ends, **result)


def _look(world: World, command: Command) -> Reply:
    may(world, command, "vote")
    return no("")


def _vote(world: World, command: Command) -> Reply:
    expect_open(world)
    name, options = command.d["poll"], tuple(sorted(command.d["options"]))
    poll, part = _get(world, name), _part(world)
    answer = ok(poll=name, options=list(options))
    before = part.votes.get((name, command.user)) if poll.kept else None
    if before == options:
        return answer
    if _is_over(world, poll):
        raise No("ended")
    for option in options:
        if option >= poll.options:
            raise No("not_found", option=option)
    if len(options) > poll.choices:
        raise No("bad_request")
    if before is not None and not poll.change:
        raise No("already_done")
    part.votes[name, command.user] = options
    return answer


def _time_up(world: World, name: str, at: int) -> None:
    if _part(world).polls[name].status == "open":
        _end(world, name, "")


def _drop_votes(world: World, name: str, at: int) -> None:
    part = _part(world)
    part.polls[name] = part.polls[name]._replace(kept=False, tally=part.tally(name))


COMMANDS["poll.open"] = one_step(_open)
COMMANDS["poll.close"] = one_step(_close)
COMMANDS["poll.result"] = one_step(_ask)
COMMANDS["poll.vote"] = looked_up(_look, _vote)
DUE["poll.end"] = _time_up
DUE["poll.votes"] = _drop_votes
DUE["poll.forget"] = lambda world, name, at: None
