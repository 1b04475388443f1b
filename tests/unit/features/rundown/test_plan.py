"""What a plan may hold; the example is one that every engine takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liveroom.auth.claims import Role
from liveroom.config import Settings
from liveroom.errors import CommandError
from liveroom.features import builtin_plugins
from liveroom.features.rundown.plan import MAX_BYTES, capped, checked
from liveroom.features.rundown.shapes import RundownPut
from liveroom.plugin.manager import PluginManager
from liveroom.shows import Cue, load_show
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.redpackets import RedPackets


EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "show.toml"


def anything(op: str, d: dict[str, Any], role: Role) -> None:
    """Take every command."""


def test_plan_of_the_example_is_right() -> None:
    """Thirty cues: timed, chained, clicked; of many commands; each with the body that it needs."""
    show = load_show(EXAMPLE)
    manager = PluginManager([*builtin_plugins(Settings()), Coupons(), RedPackets()])

    d = checked(RundownPut(title=show.title, cues=show.cues), Role.HOST, manager.expect_command)

    assert len(d["_cues"]) == 30
    assert sum(cue.after is not None for cue in show.cues) >= 10
    assert sum(cue.at_s is None and cue.after is None for cue in show.cues) == 2
    assert len({cue.op for cue in show.cues}) >= 12


def test_plan_times_are_milliseconds() -> None:
    """A chained cue without a time follows at once; one without both has no time."""
    cues = [
        Cue(cue="a", op="o", at_s=1.2345), Cue(cue="b", op="o", after="a"), Cue(cue="c", op="o"),
    ]  # fmt: skip

    rows = checked(RundownPut(cues=cues), Role.HOST, anything)["_cues"]

    times = [{name: row[name] for name in ("at_ms", "after") if name in row} for row in rows]
    assert times == [{"at_ms": 1234}, {"at_ms": 0, "after": "a"}, {}]


def test_plan_digest_tells_plans_apart() -> None:
    """The same plan has the same digest, whatever version was seen; another has not."""
    plan = RundownPut(title="t", cues=[Cue(cue="a", op="o")])
    same = RundownPut(title="t", cues=[Cue(cue="a", op="o")], if_version=3)
    other = RundownPut(title="t", cues=[Cue(cue="a", op="o", at_s=0)])

    digests = [checked(p, Role.HOST, anything)["digest"] for p in (plan, same, other)]

    assert digests[0] == digests[1] != digests[2]


def test_plan_is_bounded() -> None:
    """All bodies together."""
    body = {"text": "x" * (MAX_BYTES // 4)}
    cues = [Cue(cue=f"c{n}", op="o", d=body) for n in range(4)]

    with pytest.raises(CommandError, match=f"at most {MAX_BYTES} bytes"):
        checked(RundownPut(cues=cues), Role.HOST, anything)


@pytest.mark.parametrize(
    ("role", "runs_as"),
    [(Role.MODERATOR, Role.MODERATOR), (Role.HOST, Role.HOST), (Role.SERVICE, Role.HOST)],
)
def test_plan_runs_as_a_host_at_most(role: Role, runs_as: Role) -> None:
    """A back end that starts a show is its host."""
    assert capped(role) is runs_as


def test_plan_asks_about_each_command_in_the_right_role() -> None:
    """The engine is asked with the body as it is, and the cue is named when it refuses."""
    asked = []

    def refuse(op: str, d: dict[str, Any], role: Role) -> None:
        asked.append((op, d, role))
        raise CommandError("forbidden")

    with pytest.raises(CommandError, match="forbidden: cue a: the role may not do this") as caught:
        checked(RundownPut(cues=[Cue(cue="a", op="o", d={"x": 1})]), Role.SERVICE, refuse)

    assert asked == [("o", {"x": 1}, Role.HOST)]
    assert caught.value.values == {"cue": "a"}
